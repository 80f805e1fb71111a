//! Requests, in OpenAI's shape.

use gateway_trace::{End, Endpoint, ReplyHead, keys};

use crate::replay::{call, checked_record, reply, whole};

fn messages_of(request: &str) -> String {
    let head = ReplyHead {
        status: 200,
        ..ReplyHead::default()
    };
    let call = call(Endpoint::Messages, request.to_owned());
    let reply = reply(Endpoint::Messages, head, &[b"{\"content\":[]}"], End::Eof);
    checked_record(&call, &reply).messages.as_str().to_owned()
}

/// What becomes of the messages of a request.
#[track_caller]
fn check(messages: &str, expected: &str) {
    let request = format!("{{\"model\":\"m\",\"messages\":[{messages}]}}");
    assert_eq!(messages_of(&request), format!("[{expected}]"), "{messages}");
}

#[test]
fn strings_and_blocks_of_text_are_the_same() {
    let hi = r#"{"role":"user","content":"Hi there"}"#;
    check(hi, hi);
    check(r#"{ "content" : "Hi there", "role" : "user" }"#, hi);
    check(
        r#"{"role":"user","content":[{"type":"text","text":"Hi "},{"type":"text","text":"there"}]}"#,
        hi,
    );
    check(
        r#"{"role":"user","content":[{"type":"text","text":"Hi there","cache_control":{"type":"ephemeral"}}]}"#,
        hi,
    );
    check(
        r#"{"role":"user","content":[{"text":"\u00e9\ud83d","t\u0079pe":"text"},{"type":"text","text":"\ude00"}]}"#,
        r#"{"role":"user","content":"\u00e9\ud83d\ude00"}"#,
    );
    check(
        r#"{"role":"user","content":"a","later":[1.0]},{"role":"user","content":[],"later":1e3}"#,
        r#"{"role":"user","content":"a","later":[1.0]},{"role":"user","content":null,"later":1e3}"#,
    );
}

#[test]
fn the_system_prompt_comes_first() {
    let user = r#"{"role":"user","content":"Hi"}"#;
    for (system, expected) in [
        (
            r#"[{"type":"text","text":"x-anthropic-billing-header: cch=1f2e;"},{"type":"text","text":"You are."}]"#,
            Some(r#""You are.""#),
        ),
        (r#""Be brief.""#, Some(r#""Be brief.""#)),
        (
            r#"[{"type":"text","text":"Be "},{"type":"text","text":"brief.","cache_control":{"type":"ephemeral"}}]"#,
            Some(r#""Be brief.""#),
        ),
        (
            r#"[{"type":"text","text":"Be"},{"type":"later","x":1.0,"cache_control":{}}]"#,
            Some(r#"[{"type":"text","text":"Be"},{"type":"later","x":1.0}]"#),
        ),
        ("5", Some("5")),
        ("null", None),
        ("[]", None),
    ] {
        let request = format!(r#"{{"messages":[{user}],"system":{system}}}"#);
        let expected = match expected {
            Some(content) => format!(r#"[{{"role":"system","content":{content}}},{user}]"#),
            None => format!("[{user}]"),
        };
        assert_eq!(messages_of(&request), expected, "{system}");
    }
    // In the course of a conversation it stays where it is.
    check(
        &format!(r#"{user},{{"role":"system","content":[{{"type":"text","text":"Now!"}}]}}"#),
        &format!(r#"{user},{{"role":"system","content":"Now!"}}"#),
    );
}

#[test]
fn images_are_references_and_other_blocks_stay() {
    check(
        r#"{"role":"user","content":[
            {"type":"text","text":"a","cache_control":{}},
            {"type":"image","source":{"type":"url","url":"https://x/y?a=\u0026b"},"cache_control":{}},
            {"type":"image","source":{"type":"base64","media_type":"image/png","data":"iVBO\/w=="}},
            {"type":"image","source":{"type":"file","file_id":"f"},"cache_control":null},
            {"type":"document","source":{"type":"text","data":"d"},"title":1.0,"cache_control":{}},
            {"type":"search_result","content":[{"type":"text","text":"s"}]},
            {"type":"text","text":5},"odd",null]}"#,
        r#"{"role":"user","content":[{"type":"text","text":"a"},{"type":"image_url","image_url":{"url":"https://x/y?a=\u0026b"}},{"type":"image_url","image_url":{"url":"data:image/png;base64,iVBO\/w=="}},{"type":"image","source":{"type":"file","file_id":"f"}},{"type":"document","source":{"type":"text","data":"d"},"title":1.0},{"type":"search_result","content":[{"type":"text","text":"s"}]},{"type":"text","text":5},"odd",null]}"#,
    );
}

#[test]
fn tool_results_are_messages_of_their_own() {
    check(
        r#"{"role":"user","content":[
            {"type":"tool_result","tool_use_id":"a","content":"one"},
            {"type":"text","text":"Go on.","cache_control":{}},
            {"type":"tool_result","tool_use_id":"b","content":[{"type":"text","text":"two"},{"type":"text","text":"!"}],"is_error":true},
            {"type":"tool_result","tool_use_id":"c"},
            {"type":"tool_result","tool_use_id":"d","content":[{"type":"text","text":"x"},{"type":"image","source":{"type":"url","url":"u"}}]},
            {"type":"text","text":" Quick!"}]}"#,
        r#"{"role":"tool","tool_call_id":"a","content":"one"},{"role":"tool","tool_call_id":"b","content":"two!"},{"role":"tool","tool_call_id":"c","content":null},{"role":"tool","tool_call_id":"d","content":[{"type":"text","text":"x"},{"type":"image_url","image_url":{"url":"u"}}]},{"role":"user","content":"Go on. Quick!"}"#,
    );
    check(
        r#"{"role":"user","content":[{"type":"tool_result","content":{}}],"later":1}"#,
        r#"{"role":"tool","content":{}}"#,
    );
}

#[test]
fn assistants_think_and_call_tools() {
    check(
        r#"{"role":"assistant","content":[
            {"type":"thinking","thinking":"Hm.","signature":"s"},{"type":"redacted_thinking","data":"d"},
            {"type":"text","text":"On "},{"type":"text","text":"it.","cache_control":{}},
            {"type":"tool_use","id":"a","name":"f","input":{"x": [1.0, "\u00e9 \" "]},"cache_control":{}},
            {"type":"server_tool_use","id":"b","name":"web_search","input":{}},
            {"type":"tool_use","id":"c","name":"g","input":{}},{"type":"tool_use"},{"type":"tool_use","input":null},
            {"type":"tool_use","name":"h","input":[1, 2]}]}"#,
        r#"{"role":"assistant","content":"On it.","reasoning_content":"Hm.","tool_calls":[{"id":"a","type":"function","function":{"name":"f","arguments":"{\"x\":[1.0,\"é \\\" \"]}"}},{"id":"c","type":"function","function":{"name":"g","arguments":"{}"}},{"type":"function","function":{"arguments":"{}"}},{"type":"function","function":{"arguments":"{}"}},{"type":"function","function":{"name":"h","arguments":"[1,2]"}}]}"#,
    );
    // A prefill.
    check(
        r#"{"role":"user","content":"Which?"},{"role":"assistant","content":"The best is"}"#,
        r#"{"role":"user","content":"Which?"},{"role":"assistant","content":"The best is"}"#,
    );
}

#[test]
fn whatever_comes_messages_are_objects() {
    check(
        r#""hi",null,[1.0],{},{"role":5},{"content":[]},{"role":null,"content":{"a":1}}"#,
        r#"{"content":"hi"},{"content":null},{"content":[1.0]},{},{"role":5},{"content":null},{"role":null,"content":{"a":1}}"#,
    );
    for (request, expected) in [
        ("{}", "[]"),
        (r#"{"messages":{}}"#, "[]"),
        (r#"{"messages":"hi","system":[]}"#, "[]"),
        (
            r#"{"messages":"hi","system":"s"}"#,
            r#"[{"role":"system","content":"s"}]"#,
        ),
    ] {
        assert_eq!(messages_of(request), expected, "{request}");
    }
}

/// A reply that a client sends back is the message of the reply, byte for byte.
#[test]
fn an_echo_is_the_reply() {
    let content = r#"[{"type":"thinking","thinking":"Hm\n","signature":"s"},{"type":"text","text":"A","citations":null},
        {"type":"server_tool_use","id":"s","name":"web_search","input":{"q": 1}},{"type":"web_search_tool_result","content":[]},
        {"type":"text","text":"B\u00e9"},{"type":"tool_use","id":"a","name":"f","input":{"x": 1.0}}]"#;
    let reply = format!(r#"{{"role":"assistant","content":{content},"stop_reason":"tool_use"}}"#);
    let body = reply.into_bytes();
    let message = whole(Endpoint::Messages, "{}", 200, &body, End::Eof).response_message;
    check(
        &format!(r#"{{"role":"assistant","content":{content}}}"#),
        message.as_str(),
    );
}

/// Clients mark other blocks from turn to turn, and write text as blocks to be able to.
#[test]
fn marks_that_move_keep_a_session_in_line() {
    let line = |messages: &str| {
        let call = call(
            Endpoint::Messages,
            format!(r#"{{"system":"s","messages":[{messages}]}}"#),
        );
        keys(&call).and_then(|keys| keys.line).expect("messages")
    };
    let first = line(
        r#"{"role":"user","content":[{"type":"image","source":{"type":"url","url":"u"},"cache_control":{"type":"ephemeral"}}]},
        {"role":"user","content":[{"type":"text","text":"Hi","cache_control":{"type":"ephemeral"}}]}"#,
    );
    let second = line(
        r#"{"role":"user","content":[{"type":"image","source":{"type":"url","url":"u"}}]},{"role":"user","content":"Hi"},
        {"role":"assistant","content":[{"type":"tool_use","id":"t","name":"f","input":{}}]},
        {"role":"user","content":[{"type":"tool_result","tool_use_id":"t","content":"r","cache_control":{"type":"ephemeral"}}]}"#,
    );
    let third = line(
        r#"{"role":"user","content":[{"type":"image","source":{"type":"url","url":"u"}}]},{"role":"user","content":"Hi"},
        {"role":"assistant","content":[{"type":"tool_use","id":"t","name":"f","input":{}}]},
        {"role":"user","content":[{"type":"tool_result","tool_use_id":"t","content":[{"type":"text","text":"r"}]}]},
        {"role":"assistant","content":"Done."},{"role":"user","content":"Thanks"}"#,
    );
    assert_eq!(second.beginnings, [first.own]);
    assert_eq!(third.beginnings, [second.own, first.own]);
}
