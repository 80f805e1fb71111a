//! Replies that no upstream should send make honest records all the same.

use gateway_trace::{End, Endpoint, Outcome, Recorder, ReplyHead, record};

use crate::hostile::check_types;
use crate::replay::{call, stream, whole};

const MESSAGES: Endpoint = Endpoint::Messages;

/// Whole replies, or the messages that a stream begins with.
const REPLIES: [&str; 21] = [
    "{}",
    "[]",
    "null",
    "12",
    r#"{"content":null,"model":null,"usage":null,"stop_reason":null}"#,
    r#"{"content":"text","model":5,"usage":[],"stop_reason":{}}"#,
    r#"{"content":{},"usage":{"input_tokens":"3","output_tokens":null}}"#,
    r#"{"content":[null,5,"x",[],{}],"stop_reason":["end_turn"]}"#,
    r#"{"content":[{"type":null},{"type":5,"text":"a"},{"type":"text"},{"type":"text","text":null}]}"#,
    r#"{"content":[{"type":"thinking"},{"type":"thinking","thinking":[]},{"type":"redacted_thinking"}]}"#,
    r#"{"content":[{"type":"tool_use"},{"type":"tool_use","id":5,"name":[],"input":null}]}"#,
    r#"{"content":[{"type":"tool_use","id":null,"name":null,"input":[NaN]},{"type":"tool_use","input":-Infinity}]}"#,
    r#"{"content":[{"type":"text","text":"\ud800"}],"model":"\ud800","stop_reason":"\ud800"}"#,
    r#"{"content":[{"type":"tool_use","input":{"\ud800":"\ud800"}}]}"#,
    r#"{"content":[],"usage":{"input_tokens":123456789012345678901234567890,"output_tokens":1e400}}"#,
    r#"{"content":[],"usage":{"input_tokens":9223372036854775807,"cache_read_input_tokens":1}}"#,
    r#"{"content":[],"usage":{"input_tokens":-1.0,"output_tokens":2e0,"cache_read_input_tokens":{},"output_tokens_details":5}}"#,
    r#"{"content":[],"usage":{"output_tokens":NaN,"output_tokens_details":{"thinking_tokens":"x"}},"x":Infinity}"#,
    r#"{"content":[],"content":[{"type":"text","text":"b"}],"stop_reason":"x","stop_reason":"end_turn"}"#,
    r#"{"content":[],"prompt_token_ids":{},"token_ids":["x"],"logprobs":5,"weight_version":"x"}"#,
    r#"{"content":[],"":"","t\u0079pe":"message","\u0000":1}"#,
];

/// Events after a beginning.
const EVENTS: [&str; 23] = [
    "nonsense",
    "[]",
    "null",
    "{}",
    r#"{"type":null}"#,
    r#"{"type":["message_delta"],"delta":{}}"#,
    r#"{"type":"message_start","message":{"content":[{"type":"text","type":5,"text":"a","text":5}]}}"#,
    r#"{"type":"message_delta","delta":null,"usage":5}"#,
    r#"{"type":"message_delta","delta":{"content":"x","stop_reason":5,"usage":"x"},"usage":{"output_tokens":[]}}"#,
    r#"{"type":"message_delta","delta":{"stop_reason":NaN},"usage":{"output_tokens":Infinity}}"#,
    r#"{"type":"content_block_start","index":-1e99,"content_block":{"type":"text","text":5}}"#,
    r#"{"type":"content_block_start","index":9223372036854775807,"content_block":{"type":[],"text":{}}}"#,
    r#"{"type":"content_block_start","content_block":{"input":"x","citations":{},"partial_json":5}}"#,
    r#"{"type":"content_block_delta","index":7,"delta":{"type":5,"text":[]}}"#,
    r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":null}}"#,
    r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":{"a":NaN}}}"#,
    r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"\ud800"}}"#,
    r#"{"type":"content_block_delta","index":0,"delta":{"type":"citations_delta","citation":NaN}}"#,
    r#"{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":{}}}"#,
    r#"{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"\ud800\udc"}}"#,
    r#"{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"[NaN,123456789012345678901234567890]"}}"#,
    r#"{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"\ud800"},"id":NaN}"#,
    r#"{"type":"content_block_stop","index":{}}"#,
];

const ENDS: [End; 4] = [End::Eof, End::CloseDelimited, End::Broken, End::ClientGone];

#[test]
fn nothing_makes_a_record_fail() {
    let request = "{\"model\":\"m\"}";
    for reply in REPLIES {
        for end in ENDS {
            let record = whole(MESSAGES, request, 200, reply.as_bytes(), end.clone());
            let all = check_types(&record);
            assert_eq!(all["error"].is_null(), record.outcome == Outcome::Completed);
            let start = format!(r#"{{"type":"message_start","message":{reply}}}"#);
            check_types(&stream(MESSAGES, request, &[&start], end));
        }
    }
    let start = r#"{"type":"message_start","message":{"content":[{"type":"tool_use","text":"a","input":{}}]}}"#;
    for event in EVENTS {
        for before in [&[][..], &[start]] {
            for again in 1..3 {
                let mut events = before.to_vec();
                events.resize(before.len() + again, event);
                events.push(r#"{"type":"message_stop"}"#);
                let record = stream(MESSAGES, request, &events, End::Eof);
                check_types(&record);
                let read = before.is_empty() || record.assembled_response.is_some();
                assert!(read, "{events:?}");
            }
        }
    }
    let all: Vec<_> = [start].into_iter().chain(EVENTS).collect();
    let record = stream(MESSAGES, request, &all, End::Broken);
    check_types(&record);
}

/// A reply reads the same, whole or as the message that a stream begins with.
#[test]
fn a_hostile_reply_tells_the_same_in_a_stream() {
    for reply in REPLIES {
        let whole = whole(MESSAGES, "{}", 200, reply.as_bytes(), End::Eof);
        if whole.outcome != Outcome::Completed {
            continue;
        }
        let start = format!(r#"{{"type":"message_start","message":{reply}}}"#);
        let events = [&start, r#"{"type":"message_stop"}"#];
        let streamed = stream(MESSAGES, "{}", &events, End::Eof);
        let told = |record: &gateway_trace::TraceRecord| {
            let message = record.response_message.clone();
            (message, record.finish_reason.clone(), record.token_counts)
        };
        assert_eq!(told(&streamed), told(&whole), "{reply}");
    }
}

#[test]
fn a_whole_reply_without_content_is_unreadable() {
    for (reply, note) in [
        ("{}", None),
        (r#"{"content":null}"#, None),
        (
            r#"{"content":"a"}"#,
            Some("a content block of the reply could not be read"),
        ),
    ] {
        let record = whole(MESSAGES, "{}", 200, reply.as_bytes(), End::Eof);
        let code = record.error.as_ref().map(|error| error.code.as_str());
        assert_eq!(code, Some("unreadable_reply"), "{reply}");
        assert_eq!(record.response_message.as_str(), "{}");
        let notes: Vec<_> = record.integrity.notes.iter().map(String::as_str).collect();
        assert_eq!(notes, note.into_iter().collect::<Vec<_>>());
    }
}

/// As many blocks and members as a stream can hold cost no more than others.
#[test]
fn many_blocks_cost_no_more_than_others() {
    let mut recorder = Recorder::new(MESSAGES, 16 << 20);
    let head = ReplyHead {
        status: 200,
        streamed: true,
        request_id: None,
    };
    recorder.start(head, 0.0);
    for n in 0..6_000 {
        let index = (n * 7919) % 6_007;
        let event = format!(
            r#"{{"type":"content_block_start","index":{index},"content_block":{{"type":"text"}},"b{n}":1}}"#
        );
        recorder.event(None, event.as_bytes(), 1.0);
        let event = format!(
            r#"{{"type":"content_block_delta","index":0,"delta":{{"d{n}":"x","partial_json":"{n}"}}}}"#
        );
        recorder.event(None, event.as_bytes(), 1.0);
        let event =
            format!(r#"{{"type":"message_delta","delta":{{"m{n}":1}},"usage":{{"u{n}":1}}}}"#);
        recorder.event(None, event.as_bytes(), 1.0);
    }
    let reply = recorder.finish(End::Broken, 1.0);
    check_types(&record(&call(MESSAGES, "{}"), &reply));
}
