//! How the events of a stream make one message.

use gateway_trace::{End, Endpoint, Outcome, Recorder, ReplyHead, TraceRecord, record};
use serde_json::{Value, json};

use crate::replay::{call, stream, value};

fn streamed(events: &[&str], end: End) -> TraceRecord {
    stream(Endpoint::Messages, "{\"model\":\"m\"}", events, end)
}

/// What the events make of a message, and what is noted of them.
#[track_caller]
fn check(events: &[&str], expected: &Value, notes: &[&str]) -> TraceRecord {
    let record = streamed(
        &[events, &[r#"{"type":"message_stop"}"#]].concat(),
        End::Eof,
    );
    let assembled = record.assembled_response.as_ref().map(value);
    assert_eq!(assembled.as_ref(), Some(expected), "{events:?}");
    assert_eq!(record.integrity.notes, notes, "{events:?}");
    record
}

const NOT_BEGUN: &str = "a content block went on that had never begun";
const NO_BLOCK: &str = "a content block of the reply could not be read";
const NO_MESSAGE: &str = "a part of the message could not be read";
const NO_INPUT: &str = "the input of a tool use is no JSON object: its arguments are what came";
const NOT_KNOWN: &str = "an event of the stream is of no known kind";

#[test]
fn blocks_may_come_side_by_side() {
    check(
        &[
            r#"{"type":"message_start","message":{"id":"m","content":[],"model":"a"}}"#,
            r#"{"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"t","name":"f","input":{}}}"#,
            r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":"a"}}"#,
            r#"{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"{\"x\":"}}"#,
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"b"}}"#,
            r#"{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":" 1.0}"}}"#,
            r#"{"type":"content_block_stop","index":1}"#,
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"c"}}"#,
        ],
        &json!({"id": "m", "model": "a", "content": [
            {"type": "text", "text": "abc"},
            {"type": "tool_use", "id": "t", "name": "f", "input": {"x": 1.0}},
        ]}),
        &[],
    );
}

#[test]
fn a_missing_index_is_the_next_or_the_latest() {
    check(
        &[
            r#"{"type":"content_block_start","content_block":{"type":"text","text":""}}"#,
            r#"{"type":"content_block_delta","delta":{"type":"text_delta","text":"a"}}"#,
            r#"{"type":"content_block_start","content_block":{"type":"thinking","thinking":""}}"#,
            r#"{"type":"content_block_delta","index":null,"delta":{"type":"thinking_delta","thinking":"b"}}"#,
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"c"}}"#,
            r#"{"type":"content_block_delta","index":"x","delta":{"type":"text_delta","text":"d"}}"#,
        ],
        &json!({"content": [{"type": "text", "text": "acd"}, {"type": "thinking", "thinking": "b"}]}),
        &[],
    );
}

#[test]
fn an_index_that_comes_again_is_another_block() {
    check(
        &[
            r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":"a"}}"#,
            r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"b"}}"#,
        ],
        &json!({"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}),
        &[],
    );
}

#[test]
fn a_block_that_never_began_is_noted() {
    for (delta, expected) in [
        (
            r#"{"type":"text_delta","text":"a"}"#,
            json!({"type": "text", "text": "a"}),
        ),
        (
            r#"{"type":"citations_delta","citation":{"x":1}}"#,
            json!({"type": "text", "text": "", "citations": [{"x": 1}]}),
        ),
        (
            r#"{"type":"thinking_delta","thinking":"a"}"#,
            json!({"type": "thinking", "thinking": "a"}),
        ),
        (
            r#"{"type":"signature_delta","signature":"a"}"#,
            json!({"type": "thinking", "thinking": "", "signature": "a"}),
        ),
        (
            r#"{"type":"input_json_delta","partial_json":"{\"a\":1}"}"#,
            json!({"type": "tool_use", "input": {"a": 1}}),
        ),
        (
            r#"{"type":"later_delta","later":"a"}"#,
            json!({"later": "a"}),
        ),
        (r#"{}"#, json!({})),
    ] {
        for index in ["\"index\":3,", ""] {
            let event = format!(r#"{{"type":"content_block_delta",{index}"delta":{delta}}}"#);
            check(&[&event], &json!({"content": [expected]}), &[NOT_BEGUN]);
        }
    }
}

#[test]
fn unknown_deltas_and_members_are_kept() {
    let record = check(
        &[
            r#"{"type":"message_start","message":{"id":"m","later":{"a":1.0},"prompt_token_ids":[1]},"beside":1}"#,
            r#"{"type":"content_block_start","index":0,"content_block":{"type":"compaction","content":null,"more":[1]},"a":"x"}"#,
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"compaction_delta","content":"s","encrypted_content":"e","more":[2]},"a":"y"}"#,
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"compaction_delta","content":"t","id":7},"token_ids":[5],"logprobs":null}"#,
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"citations_delta","citation":null,"type":"x"},"token_ids":[6]}"#,
            r#"{"type":"message_delta","delta":{"stop_reason":"compaction","container":{"id":"c"}},"context_management":{"applied_edits":[]}}"#,
        ],
        &json!({
            "id": "m", "later": {"a": 1.0}, "prompt_token_ids": [1], "beside": 1,
            "content": [{
                "type": "compaction", "content": "st", "more": [1, 2], "a": "xy", "encrypted_content": "e", "id": 7,
                "token_ids": [5, 6], "logprobs": null,
            }],
            "stop_reason": "compaction", "container": {"id": "c"}, "context_management": {"applied_edits": []},
        }),
        &[],
    );
    assert_eq!(record.finish_reason.as_deref(), Some("compaction"));
    assert!(record.has_error);
}

#[test]
fn unknown_events_are_noted() {
    check(
        &[
            r#"{"type":"message_start","message":{"content":null}}"#,
            r#"{"type":"later","index":0,"x":1}"#,
            r#"{"choices":[]}"#,
            r#"{"type":"ping","x":1}"#,
        ],
        &json!({"content": []}),
        &[NOT_KNOWN],
    );
}

#[test]
fn citations_are_one_array() {
    for citations in ["", r#""citations":[],"#, r#""citations":null,"#] {
        let start = format!(
            r#"{{"type":"content_block_start","index":0,"content_block":{{{citations}"type":"text","text":""}}}}"#
        );
        check(
            &[
                &start,
                r#"{"type":"content_block_delta","index":0,"delta":{"type":"citations_delta","citation":{"a":1e2}}}"#,
                r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"t"}}"#,
                r#"{"type":"content_block_delta","index":0,"delta":{"type":"citations_delta","citation":{"b":[]}}}"#,
            ],
            &json!({"content": [{"type": "text", "text": "t", "citations": [{"a": 1e2}, {"b": []}]}]}),
            &[],
        );
    }
}

#[test]
fn counts_grow_and_nulls_replace_nothing() {
    let record = check(
        &[
            r#"{"type":"message_start","message":{"usage":{"input_tokens":10,"cache_read_input_tokens":4,"output_tokens":1,"service_tier":"standard","server_tool_use":null}}}"#,
            r#"{"type":"message_delta","delta":{"stop_reason":null},"usage":{"input_tokens":25,"output_tokens":7,"cache_creation_input_tokens":3}}"#,
            r#"{"type":"message_delta","delta":{"stop_reason":"max_tokens","stop_sequence":null},"usage":{"input_tokens":null,"output_tokens":9,"output_tokens_details":{"thinking_tokens":2}}}"#,
            r#"{"type":"message_delta","delta":{"stop_reason":null},"usage":null}"#,
        ],
        &json!({
            "usage": {
                "input_tokens": 25, "cache_read_input_tokens": 4, "output_tokens": 9, "service_tier": "standard",
                "server_tool_use": null, "cache_creation_input_tokens": 3, "output_tokens_details": {"thinking_tokens": 2},
            },
            "stop_reason": "max_tokens", "stop_sequence": null, "content": [],
        }),
        &[],
    );
    let counts = record.token_counts;
    assert_eq!(
        [
            counts.prompt,
            counts.completion,
            counts.cached,
            counts.reasoning
        ],
        [Some(32), Some(9), Some(4), Some(2)]
    );
    assert_eq!(record.finish_reason.as_deref(), Some("length"));
}

#[test]
fn stop_reasons_in_the_words_of_openai() {
    for (reason, expected) in [
        (r#""end_turn""#, Some("stop")),
        (r#""stop_sequence""#, Some("stop")),
        (r#""max_tokens""#, Some("length")),
        (r#""tool_use""#, Some("tool_calls")),
        (r#""refusal""#, Some("refusal")),
        (r#""pause_turn""#, Some("pause_turn")),
        (
            r#""model_context_window_exceeded""#,
            Some("model_context_window_exceeded"),
        ),
        (r#""""#, None),
        ("null", None),
        ("5", None),
    ] {
        let body = format!(r#"{{"content":[],"stop_reason":{reason}}}"#).into_bytes();
        let whole = crate::replay::whole(Endpoint::Messages, "{}", 200, &body, End::Eof);
        let event = format!(r#"{{"type":"message_delta","delta":{{"stop_reason":{reason}}}}}"#);
        let record = streamed(&[&event], End::Eof);
        assert_eq!(whole.finish_reason.as_deref(), expected, "{reason}");
        assert_eq!(record.finish_reason.as_deref(), expected, "{reason}");
        let settled = !matches!(reason, r#""""# | "null");
        let outcome = if settled {
            Outcome::Completed
        } else {
            Outcome::Truncated
        };
        assert_eq!(record.outcome, outcome, "{reason}");
    }
}

/// The input of a tool use whose pieces these are.
#[track_caller]
fn check_input(pieces: &[&str], input: &Value, arguments: &str, notes: &[&str]) {
    let mut events = vec![
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","input":{}}}"#
            .to_owned(),
    ];
    events.extend(pieces.iter().map(|piece| {
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": piece}})
            .to_string()
    }));
    let events: Vec<_> = events.iter().map(String::as_str).collect();
    let record = check(
        &events,
        &json!({"content": [{"type": "tool_use", "input": input}]}),
        notes,
    );
    let message = value(&record.response_message);
    assert_eq!(message["tool_calls"][0]["function"]["arguments"], arguments);
}

#[test]
fn an_input_is_what_its_text_says() {
    check_input(&[], &json!({}), "{}", &[]);
    check_input(&["", ""], &json!({}), "{}", &[]);
    check_input(&[" \n"], &json!({}), "{}", &[]);
    check_input(
        &["{\"a\": \"\\u00", "e9\\n\", ", "\"b\":\t1}\n"],
        &json!({"a": "é\n", "b": 1}),
        "{\"a\":\"é\\n\",\"b\":1}",
        &[],
    );
}

#[test]
fn an_input_that_is_no_json_stays_a_text() {
    for text in [
        "{\"a\": \"b",
        "{\"a\": 1}}",
        "1],[2",
        "{},{}",
        "\",\"x\":\"",
        "{\"a\":\u{1}\"\"}",
    ] {
        check_input(&[text], &json!(text), text, &[NO_INPUT]);
    }
    // It is no object.
    check_input(&["[1, 2]"], &json!([1, 2]), "[1,2]", &[NO_INPUT]);
    check_input(&["\"a b\""], &json!("a b"), "a b", &[NO_INPUT]);
}

/// Everything that is no more than 128 deep in all can be read again.
#[test]
fn an_input_may_nest_as_deep_as_a_message_may() {
    for (depth, is_json) in [(125, true), (126, false)] {
        let input = format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
        let piece = json!({"type": "input_json_delta", "partial_json": input});
        let delta = json!({"type": "content_block_delta", "index": 0, "delta": piece}).to_string();
        let start =
            r#"{"type":"content_block_start","index":0,"content_block":{"type":"tool_use"}}"#;
        let record = streamed(&[start, &delta, r#"{"type":"message_stop"}"#], End::Eof);
        let spelt = if is_json {
            input
        } else {
            json!(input).to_string()
        };
        assert_eq!(
            record.assembled_response.expect("a message").as_str(),
            format!(r#"{{"content":[{{"type":"tool_use","input":{spelt}}}]}}"#)
        );
        assert_eq!(record.integrity.notes.is_empty(), is_json);
    }
}

#[test]
fn an_event_that_nests_too_deep_is_noted() {
    let citation = |depth: usize| {
        let event = format!(
            r#"{{"type":"content_block_delta","index":0,"delta":{{"type":"citations_delta","citation":{}1{}}}}}"#,
            "[".repeat(depth - 2),
            "]".repeat(depth - 2)
        );
        let start = r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":"a"}}"#;
        streamed(&[start, &event, r#"{"type":"message_stop"}"#], End::Eof)
    };
    let record = citation(126);
    assert_eq!(record.integrity.notes, [] as [&str; 0]);
    assert!(
        record
            .assembled_response
            .unwrap()
            .as_str()
            .contains("\"citations\":[[[[")
    );
    for depth in [127, 128] {
        let record = citation(depth);
        assert_eq!(
            record.integrity.notes,
            ["a part of the stream nests too deep and was left out"]
        );
        assert_eq!(
            record.assembled_response.unwrap().as_str(),
            r#"{"content":[{"type":"text","text":"a"}]}"#
        );
        assert_eq!(record.outcome, Outcome::Completed);
    }
}

#[test]
fn what_begins_twice_keeps_its_last_words() {
    check(
        &[
            r#"{"type":"message_start","message":{"id":"a","content":[{"type":"text","text":"x"}],"usage":{"input_tokens":1}}}"#,
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"y"}}"#,
            r#"{"type":"message_start","message":{"id":"b","content":[],"usage":{"output_tokens":2}}}"#,
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"z"}}"#,
        ],
        &json!({"id": "b", "content": [{"type": "text", "text": "xyz"}], "usage": {"input_tokens": 1, "output_tokens": 2}}),
        &[],
    );
}

#[test]
fn after_a_fallback_another_model_has_answered() {
    check(
        &[
            r#"{"type":"message_start","message":{"model":"a","content":[]}}"#,
            r#"{"type":"content_block_start","index":0,"content_block":{"type":"fallback","from":{"model":"a"},"to":{"model":"b"}}}"#,
        ],
        &json!({"model": "b", "content": [{"type": "fallback", "from": {"model": "a"}, "to": {"model": "b"}}]}),
        &[],
    );
}

#[test]
fn parts_of_a_wrong_kind_are_noted() {
    for (event, note) in [
        (r#"{"type":"message_start"}"#, NO_MESSAGE),
        (r#"{"type":"message_start","message":[]}"#, NO_MESSAGE),
        (r#"{"type":"message_delta","delta":"x"}"#, NO_MESSAGE),
        (
            r#"{"type":"message_start","message":{"content":"x"}}"#,
            NO_BLOCK,
        ),
        (
            r#"{"type":"message_start","message":{"content":["x"]}}"#,
            NO_BLOCK,
        ),
        (r#"{"type":"content_block_start","index":0}"#, NO_BLOCK),
        (
            r#"{"type":"content_block_start","content_block":null}"#,
            NO_BLOCK,
        ),
        (r#"{"type":"content_block_delta","delta":5}"#, NO_BLOCK),
    ] {
        let usage = r#"{"type":"message_delta","delta":{"stop_sequence":"x"}}"#;
        check(
            &[event, usage],
            &json!({"content": [], "stop_sequence": "x"}),
            &[note],
        );
    }
    // What stands beside it is kept.
    check(
        &[r#"{"type":"message_delta","usage":{"output_tokens":2}}"#],
        &json!({"usage": {"output_tokens": 2}, "content": []}),
        &[NO_MESSAGE],
    );
}

#[test]
fn a_stream_without_a_message_is_unreadable() {
    for events in [
        &[r#"{"type":"message_stop"}"#][..],
        &[r#"{"type":"ping"}"#, "[DONE]"],
        &[
            "nonsense",
            r#"{"type":"message_start"}"#,
            r#"{"type":"message_stop"}"#,
        ],
    ] {
        let record = streamed(events, End::Eof);
        let code = record.error.as_ref().map(|error| error.code.as_str());
        assert_eq!(code, Some("unreadable_reply"), "{events:?}");
        assert_eq!(record.assembled_response, None);
    }
}

#[test]
fn an_error_event_ends_a_message() {
    let start =
        r#"{"type":"message_start","message":{"id":"m","content":[{"type":"text","text":"a"}]}}"#;
    for error in [
        r#"{"type":"error","error":{"type":"t","message":"m"}}"#,
        r#"{"error":{"type":"t","message":"m"}}"#,
        r#"{"type":"message_delta","error":{"type":"t","message":"m"}}"#,
    ] {
        let record = streamed(&[start, error, r#"{"type":"message_stop"}"#], End::Eof);
        assert_eq!(record.outcome, Outcome::UpstreamError, "{error}");
        assert_eq!(record.error.map(|error| error.r#type).as_deref(), Some("t"));
        assert_eq!(
            record.response_message.as_str(),
            r#"{"role":"assistant","content":"a"}"#
        );
    }
}

#[test]
fn memory_is_bounded_and_the_record_says_so() {
    let events = [
        r#"{"type":"content_block_start","content_block":{"type":"text","text":"0123456789"}}"#,
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"0123456789"}}"#,
        r#"{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"0123456789"}}"#,
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"citations_delta","citation":{"a":1}}}"#,
        r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":1}}"#,
    ];
    for event in events {
        let mut recorder = Recorder::new(Endpoint::Messages, 1500);
        let head = ReplyHead {
            status: 200,
            streamed: true,
            request_id: None,
        };
        recorder.start(head, 0.0);
        for _ in 0..1000 {
            recorder.event(None, event.as_bytes(), 1.0);
        }
        recorder.event(None, br#"{"type":"message_stop"}"#, 1.0);
        let reply = recorder.finish(End::Eof, 1.0);
        assert!(reply.body.len() < 2000, "{event}");
        let record = record(&call(Endpoint::Messages, "{}"), &reply);
        assert_eq!(record.outcome, Outcome::Completed);
        let capped = |note: &String| note.contains("max_record_bytes");
        let grows = !event.contains("message_delta");
        assert_eq!(record.integrity.notes.iter().any(capped), grows, "{event}");
    }
}
