//! What a request's `instructions` and `input` become as messages.

use gateway_trace::{End, Endpoint, ReplyHead, TraceRecord};

use crate::hostile::check_types;
use crate::replay::{call, checked_record, reply};

fn record_of(request: &str) -> TraceRecord {
    let head = ReplyHead {
        status: 200,
        streamed: false,
        request_id: None,
    };
    let reply = reply(Endpoint::Responses, head, &[b"{\"output\":[]}"], End::Eof);
    let record = checked_record(&call(Endpoint::Responses, request.to_owned()), &reply);
    check_types(&record);
    record
}

#[track_caller]
fn check(input: &str, messages: &str) {
    let record = record_of(&format!("{{\"input\":{input}}}"));
    assert_eq!(record.messages.as_str(), messages, "{input}");
}

#[test]
fn instructions_come_first() {
    for (request, messages) in [
        (
            r#"{"input":"b","instructions":"a"}"#,
            r#"[{"role":"system","content":"a"},{"role":"user","content":"b"}]"#,
        ),
        (
            r#"{"instructions":"a"}"#,
            r#"[{"role":"system","content":"a"}]"#,
        ),
        (
            r#"{"instructions":null,"input":""}"#,
            r#"[{"role":"user","content":""}]"#,
        ),
        (
            r#"{"instructions":7}"#,
            r#"[{"role":"system","content":7}]"#,
        ),
        (r#"{"prompt":{"id":"pmpt_1"}}"#, "[]"),
        (r#"{"input":null}"#, "[]"),
        (r#"{"input":{"role":"user"}}"#, "[]"),
        (r#"{"input":[]}"#, "[]"),
    ] {
        assert_eq!(record_of(request).messages.as_str(), messages, "{request}");
    }
}

#[test]
fn messages_keep_their_roles() {
    check(
        r#"[{"role":"system","content":"a"},{"role":"developer","content":"b"},{"type":"message","role":"user","content":"c"},{"role":"critic","content":"d"}]"#,
        r#"[{"role":"system","content":"a"},{"role":"developer","content":"b"},{"role":"user","content":"c"},{"role":"critic","content":"d"}]"#,
    );
}

#[test]
fn parts_are_one_text_or_parts_as_chat_has_them() {
    for (content, expected) in [
        (
            r#"[{"type":"input_text","text":"a\n"},{"type":"input_text","text":"é\u00e9"}]"#,
            r#""a\né\u00e9""#,
        ),
        (
            r#"[{"type":"text","text":"a"},{"type":"output_text","text":"b"}]"#,
            r#""ab""#,
        ),
        (
            r#"[{"type":"input_text","text":"a"},{"type":"input_image","image_url":"data:image/png;base64,AAAA","detail":"high"}]"#,
            r#"[{"type":"text","text":"a"},{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA","detail":"high"}}]"#,
        ),
        (
            r#"[{"type":"input_image","image_url":null,"file_id":"f","detail":null}]"#,
            r#"[{"type":"image_url","image_url":{"file_id":"f"}}]"#,
        ),
        (r#"[{"type":"input_image"}]"#, r#"[{"type":"input_image"}]"#),
        (
            r#"[{"type":"input_image","image_url":{"url":"u"}}]"#,
            r#"[{"type":"input_image","image_url":{"url":"u"}}]"#,
        ),
        (
            r#"[{"type":"input_file","filename":"a.pdf","file_data":"AAAA"},{"type":"input_audio","n":1.0}]"#,
            r#"[{"type":"input_file","filename":"a.pdf","file_data":"AAAA"},{"type":"input_audio","n":1.0}]"#,
        ),
        (
            r#"[{"type":"refusal","refusal":"no"}]"#,
            r#"[{"type":"refusal","refusal":"no"}]"#,
        ),
        (
            r#"[{"type":"input_text","text":5},"x",null]"#,
            r#"[{"type":"input_text","text":5},{"type":"text","text":"x"},null]"#,
        ),
        ("[]", "[]"),
        ("null", "null"),
        (r#"{"a":1e3}"#, r#"{"a":1e3}"#),
    ] {
        check(
            &format!(r#"[{{"role":"user","content":{content}}}]"#),
            &format!(r#"[{{"role":"user","content":{expected}}}]"#),
        );
        check(
            &format!(r#"[{{"type":"function_call_output","call_id":"c","output":{content}}}]"#),
            &format!(r#"[{{"role":"tool","tool_call_id":"c","content":{expected}}}]"#),
        );
    }
    check(
        r#"[{"role":"user"}]"#,
        r#"[{"role":"user","content":null}]"#,
    );
    check(
        r#"[{"type":"custom_tool_call_output","output":"x"}]"#,
        r#"[{"role":"tool","content":"x"}]"#,
    );
}

#[test]
fn what_the_assistant_says_in_one_go_is_one_message() {
    check(
        r#"[{"type":"reasoning","id":"rs","encrypted_content":"g","summary":[{"type":"summary_text","text":"s"}],"content":null},
            {"type":"message","role":"assistant","phase":"commentary","content":[{"type":"output_text","text":"a","annotations":[]}]},
            {"type":"function_call","id":"fc","call_id":"c1","name":"f","arguments":"{\"x\":1.0}","status":"completed"},
            {"role":"assistant","content":"b"},
            {"type":"custom_tool_call","call_id":"c2","name":"g","input":"i"},
            {"type":"function_call_output","call_id":"c1","output":"o1"},
            {"type":"custom_tool_call_output","call_id":"c2","output":"o2"},
            {"type":"reasoning","summary":[{"text":"one"},{"text":""},{"text":"two"}],"content":[]},
            {"type":"reasoning","summary":[{"text":"unseen"}],"content":[{"type":"reasoning_text","text":"three"}]},
            {"role":"assistant","content":[{"type":"refusal","refusal":"n"},{"type":"refusal","refusal":"o"}]},
            {"role":"user","content":"u"},
            {"role":"assistant","content":[]}]"#,
        concat!(
            r#"[{"role":"assistant","content":"ab","reasoning_content":"s","tool_calls":["#,
            r#"{"id":"c1","type":"function","function":{"name":"f","arguments":"{\"x\":1.0}"}},"#,
            r#"{"id":"c2","type":"custom","custom":{"name":"g","input":"i"}}]},"#,
            r#"{"role":"tool","tool_call_id":"c1","content":"o1"},"#,
            r#"{"role":"tool","tool_call_id":"c2","content":"o2"},"#,
            r#"{"role":"assistant","content":null,"refusal":"no","reasoning_content":"one\n\ntwo\n\nthree"},"#,
            r#"{"role":"user","content":"u"},"#,
            r#"{"role":"assistant","content":null}]"#,
        ),
    );
    check(
        r#"[{"role":"assistant","content":[{"type":"output_text","text":"a"},{"type":"output_audio","id":1}]},{"role":"assistant","content":"b"}]"#,
        r#"[{"role":"assistant","content":[{"type":"text","text":"a"},{"type":"output_audio","id":1},{"type":"text","text":"b"}]}]"#,
    );
    check(
        r#"[{"type":"function_call","id":"fc","name":null,"arguments":{"a":1}},{"type":"function_call"}]"#,
        r#"[{"role":"assistant","content":null,"tool_calls":[{"id":"fc","type":"function","function":{"arguments":{"a":1}}},{"type":"function","function":{}}]}]"#,
    );
}

/// Other items stay as they are. In the midst of what the assistant says, they stand behind it;
/// a client's answer to a built-in tool comes after it, and another thing is said then.
#[test]
fn other_items_are_kept() {
    check(
        r#"[{"type":"item_reference","id":"rs_1"},{"type":"message","content":"no role"},5,{"n":1.0},null]"#,
        r#"[{"type":"item_reference","id":"rs_1"},{"type":"message","content":"no role"},{"content":5},{"n":1.0},{"content":null}]"#,
    );
    check(
        r#"[{"type":"reasoning"},{"type":"web_search_call","id":"ws"},{"role":"assistant","content":"a"},{"role":"user","content":"b"}]"#,
        r#"[{"role":"assistant","content":"a"},{"type":"web_search_call","id":"ws"},{"role":"user","content":"b"}]"#,
    );
    // The server's own tool has answered: the assistant goes on.
    check(
        r#"[{"type":"reasoning"},{"type":"shell_call","id":"sh"},{"type":"shell_call_output","id":"sho"},{"role":"assistant","content":"a"}]"#,
        r#"[{"role":"assistant","content":"a"},{"type":"shell_call","id":"sh"},{"type":"shell_call_output","id":"sho"}]"#,
    );
    check(
        r#"[{"type":"reasoning"},{"type":"computer_call","id":"cu"},{"type":"computer_call_output","call_id":"c"},{"role":"assistant","content":"a"},{"type":"mcp_approval_request","id":"m"},{"type":"mcp_approval_response","approve":true},{"role":"assistant","content":"b"}]"#,
        r#"[{"role":"assistant","content":null},{"type":"computer_call","id":"cu"},{"type":"computer_call_output","call_id":"c"},{"role":"assistant","content":"a"},{"type":"mcp_approval_request","id":"m"},{"type":"mcp_approval_response","approve":true},{"role":"assistant","content":"b"}]"#,
    );
}
