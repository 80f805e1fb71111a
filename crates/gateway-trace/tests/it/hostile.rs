//! Replies that no upstream should send make honest records all the same.

use bytes::Bytes;
use gateway_trace::{End, Endpoint, Outcome, Recorder, ReplyHead, TraceRecord, record};
use serde_json::{Value, json};

use crate::replay::{call, chat_stream, chat_whole, checked_record, reply, whole};

/// That a note of the record says this.
#[track_caller]
pub(crate) fn check_note(record: &TraceRecord, words: &str) {
    let notes = &record.integrity.notes;
    assert!(notes.iter().any(|note| note.contains(words)), "{notes:?}");
}

/// What the reference's strict client demands of every trace, and that its JSON is JSON.
#[track_caller]
pub(crate) fn check_types(record: &TraceRecord) -> Value {
    // Python reads numbers that no float can hold and lone surrogates; serde_json does not.
    let json = record
        .to_json()
        .replace("1e400", "1e300")
        .replace("\\\\ud800", "??")
        .replace("\\ud800", "?");
    let all: Value = serde_json::from_str(&json).unwrap_or_else(|error| panic!("{error}: {json}"));
    let object_or_null = |name: &str| {
        assert!(
            all[name].is_object() || all[name].is_null(),
            "{name}: {json}"
        );
    };
    let of = |name: &str, is: fn(&Value) -> bool| assert!(is(&all[name]), "{name}: {json}");
    of("trace_id", Value::is_string);
    of("session_id", Value::is_string);
    of("model", Value::is_string);
    of("response_message", Value::is_object);
    of("metadata", Value::is_object);
    of("token_counts", Value::is_object);
    of("latency_ms", Value::is_f64);
    of("timestamp", Value::is_f64);
    object_or_null("raw_request");
    object_or_null("raw_response");
    object_or_null("assembled_response");
    let array_of = |value: &Value, is: fn(&Value) -> bool| {
        value.as_array().is_some_and(|all| all.iter().all(is))
    };
    assert!(array_of(&all["messages"], Value::is_object), "{json}");
    assert!(array_of(&all["prompt_token_ids"], Value::is_i64), "{json}");
    assert!(
        array_of(&all["completion_token_ids"], Value::is_i64),
        "{json}"
    );
    assert!(
        all["logprobs"].is_null() || array_of(&all["logprobs"], Value::is_f64),
        "{json}"
    );
    assert!(
        all["token_counts"]
            .as_object()
            .is_some_and(|counts| counts.values().all(Value::is_i64)),
        "{json}"
    );
    assert!(
        all["finish_reason"].is_null() || all["finish_reason"].is_string(),
        "{json}"
    );
    for choice in all["choices"].as_array().into_iter().flatten() {
        assert!(choice["message"].is_object(), "{json}");
        assert!(array_of(&choice["token_ids"], Value::is_i64), "{json}");
    }
    assert!(record.snapshot().starts_with("{\n  \"trace_id\""), "{json}");
    all
}

const HOSTILE: [&str; 24] = [
    "{}",
    "[]",
    "null",
    "\"text\"",
    "12",
    r#"{"model":null,"choices":null,"usage":null}"#,
    r#"{"model":5,"choices":{},"usage":[]}"#,
    r#"{"choices":[]}"#,
    r#"{"choices":[null,5,"x",[]]}"#,
    r#"{"choices":[{}]}"#,
    r#"{"choices":[{"index":"0","message":null}]}"#,
    r#"{"choices":[{"index":-1e99,"message":"hello","delta":"hello"}]}"#,
    r#"{"choices":[{"message":{"role":5,"content":{},"tool_calls":"x"},"delta":{"role":5,"tool_calls":[null,5]},"finish_reason":7}]}"#,
    r#"{"choices":[{"message":{},"delta":{},"token_ids":"x","logprobs":[],"finish_reason":{}}],"usage":{"prompt_tokens":"3"}}"#,
    r#"{"choices":[{"message":{},"delta":{},"token_ids":[1,null,2.5],"logprobs":{"content":{}}}],"usage":{"prompt_tokens":null}}"#,
    r#"{"choices":[{"message":{},"delta":{},"token_ids":[1e400],"logprobs":{"content":[{"logprob":1e400},{"logprob":"x"},7]}}]}"#,
    r#"{"choices":[{"message":{},"delta":{},"logprobs":{"token_logprobs":"x"}}],"usage":{"completion_tokens":1e400}}"#,
    r#"{"choices":[{"message":{"content":NaN},"delta":{"content":NaN},"logprobs":{"content":[{"logprob":-Infinity}]}}]}"#,
    r#"{"choices":[{"message":{"content":"\ud800"},"delta":{"content":"\ud800"},"finish_reason":"\ud800"}],"model":"\ud800"}"#,
    r#"{"choices":[{"message":{},"delta":{},"token_ids":[123456789012345678901234567890]}]}"#,
    r#"{"choices":[{"message":{},"delta":{},"routing_matrices":[1],"routed_experts":{}}],"weight_version":"x","prompt_token_ids":{}}"#,
    "<html>502</html>",
    "{\"choices\":",
    "",
];

#[test]
fn defect_05_nothing_makes_a_record_fail() {
    for endpoint in Endpoint::ALL {
        for body in HOSTILE {
            for end in [
                End::Eof,
                End::CloseDelimited,
                End::Broken,
                End::ClientGone,
                End::Interrupted,
            ] {
                let record = whole(endpoint, "{\"model\":\"m\"}", 200, body.as_bytes(), end);
                let all = check_types(&record);
                assert_eq!(
                    all["error"].is_null(),
                    record.outcome == Outcome::Completed,
                    "{body}"
                );
                assert_eq!(all["model"], "m");
            }
            let events = [body, "[DONE]"];
            check_types(&crate::replay::stream(
                endpoint,
                "{\"model\":\"m\"}",
                &events,
                End::Eof,
            ));
        }
    }
}

#[test]
fn defect_05_a_good_reply_with_nulls_is_completed() {
    let record = chat_whole(
        r#"{"model":null,"choices":[{"index":0,"message":{"role":"assistant","content":"a"},"finish_reason":"stop"}],"usage":{"prompt_tokens":null,"completion_tokens":1}}"#,
    );
    assert_eq!(record.outcome, Outcome::Completed);
    assert_eq!(
        (record.token_counts.prompt, record.token_counts.completion),
        (None, Some(1))
    );
    assert!(!record.has_error);
}

#[track_caller]
fn check_unreadable(body: &str) {
    let record = chat_whole(body);
    assert_eq!(record.outcome, Outcome::UpstreamError, "{body}");
    assert_eq!(
        record.error.as_ref().map(|error| error.code.as_str()),
        Some("unreadable_reply"),
        "{body}"
    );
    assert!(record.has_error && record.integrity.ended);
}

#[test]
fn a_reply_without_a_message_is_unreadable() {
    for body in [
        "{}",
        "[]",
        "null",
        "",
        "<html>",
        "{\"choices\":[]}",
        "{\"choices\":null}",
        "{\"choices\":[{\"message\":null}]}",
    ] {
        check_unreadable(body);
    }
    let [completions, responses, messages, embeddings] = [
        Endpoint::Completions,
        Endpoint::Responses,
        Endpoint::Messages,
        Endpoint::Embeddings,
    ];
    for (endpoint, good, bad) in [
        (
            completions,
            r#"{"choices":[{"text":""}]}"#,
            r#"{"choices":[{"message":{}}]}"#,
        ),
        (responses, r#"{"output":[]}"#, r#"{"output":{}}"#),
        (messages, r#"{"content":[]}"#, r#"{"content":"x"}"#),
        (embeddings, r#"{"data":[]}"#, r#"{"data":null}"#),
    ] {
        assert_eq!(
            whole(endpoint, "{}", 200, good.as_bytes(), End::Eof).outcome,
            Outcome::Completed
        );
        let record = whole(endpoint, "{}", 200, bad.as_bytes(), End::Eof);
        assert_eq!(record.error.unwrap().code, "unreadable_reply");
    }
}

#[test]
fn a_stream_without_a_message_is_unreadable() {
    for events in [
        &["[DONE]"][..],
        &["{\"choices\":[]}", "[DONE]"],
        &["nonsense", "[DONE]"],
    ] {
        let record = chat_stream(events);
        assert_eq!(
            record.error.as_ref().map(|error| error.code.as_str()),
            Some("unreadable_reply"),
            "{events:?}"
        );
    }
}

#[test]
fn defect_17_what_json_cannot_say_is_null_where_it_is_parsed() {
    let body = r#"{"choices":[{"index":0,"message":{"role":"assistant","content":"a","x":NaN},"finish_reason":"stop","logprobs":{"content":[{"logprob":-Infinity}]}}]}"#;
    let record = chat_whole(body);
    assert_eq!(record.outcome, Outcome::Completed);
    let all = check_types(&record);
    assert_eq!(
        all["response_message"],
        json!({"role": "assistant", "content": "a", "x": null})
    );
    assert_eq!(all["raw_response"], json!({"_body": body}));
    assert_eq!(all["choices"][0]["logprobs"], json!([null]));
    check_note(&record, "NaN");

    let record = chat_stream(&[
        r#"{"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":"stop","score":Infinity}]}"#,
        "[DONE]",
    ]);
    let all = check_types(&record);
    assert_eq!(
        all["assembled_response"]["choices"][0]["score"],
        Value::Null
    );
}

#[test]
fn defect_17_lone_surrogates_are_kept() {
    let record = chat_whole(
        r#"{"choices":[{"index":0,"message":{"role":"assistant","content":"\ud800"}}]}"#,
    );
    assert_eq!(
        record.response_message.as_str(),
        r#"{"role":"assistant","content":"\ud800"}"#
    );
    assert!(record.to_json().contains(r#""content":"\ud800""#));
}

#[test]
fn too_deep_a_reply_is_kept_as_text() {
    let deep = format!("{{\"choices\":{}{}}}", "[".repeat(200), "]".repeat(200));
    let record = chat_whole(&deep);
    let all = check_types(&record);
    assert_eq!(all["raw_response"]["_body"], deep);
    assert_eq!(record.error.unwrap().code, "unreadable_reply");
}

#[test]
fn messages_that_are_no_objects_are_wrapped() {
    let request = r#"{"messages":["hi",{"role":"user"},null,[1.0]],"metadata":[1]}"#;
    let record = whole(Endpoint::ChatCompletions, request, 200, b"{}", End::Eof);
    assert_eq!(
        record.messages.as_str(),
        r#"[{"content":"hi"},{"role":"user"},{"content":null},{"content":[1.0]}]"#
    );
    assert_eq!(record.metadata.as_str(), "{}");
    for request in [r#"{"messages":{}}"#, "{}", "not JSON", ""] {
        let record = whole(Endpoint::ChatCompletions, request, 200, b"{}", End::Eof);
        assert_eq!(record.messages.as_str(), "[]", "{request}");
        check_types(&record);
    }
}

#[test]
fn memory_is_bounded_and_the_record_says_so() {
    let mut recorder = Recorder::new(Endpoint::ChatCompletions, 1000);
    recorder.start(
        ReplyHead {
            status: 200,
            streamed: true,
            request_id: None,
        },
        0.0,
    );
    let event = r#"{"choices":[{"index":0,"delta":{"content":"0123456789"}}]}"#;
    for _ in 0..10_000 {
        recorder.event(None, event.as_bytes(), 1.0);
    }
    recorder.event(None, b"[DONE]", 1.0);
    let reply = recorder.finish(End::Eof, 1.0);
    assert!(
        reply.body.len() < 2000
            && reply
                .meta
                .event_ms
                .as_ref()
                .is_some_and(|all| all.len() < 2000)
    );
    let record = record(&call(Endpoint::ChatCompletions, "{}"), &reply);
    assert_eq!(record.outcome, Outcome::Completed);
    check_note(&record, "max_record_bytes");

    for end in [End::Eof, End::CloseDelimited] {
        let mut recorder = Recorder::new(Endpoint::ChatCompletions, 1000);
        recorder.start(
            ReplyHead {
                status: 200,
                streamed: false,
                request_id: None,
            },
            0.0,
        );
        for _ in 0..100 {
            recorder.push(Bytes::from_static(&[b'['; 100]), 1.0);
        }
        let reply = recorder.finish(end.clone(), 1.0);
        assert_eq!(reply.body.len(), 1000);
        let expected = if end == End::Eof {
            Outcome::Completed
        } else {
            Outcome::Truncated
        };
        assert_eq!(reply.meta.outcome, expected);
    }
}

/// The events of a good stream, before and after what should not be there.
const BEFORE: &str =
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"a\"}}]}\n\n";
const AFTER: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";

fn chat_bytes(body: &str, end: End) -> TraceRecord {
    let head = ReplyHead {
        status: 200,
        streamed: true,
        request_id: None,
    };
    let reply = reply(Endpoint::ChatCompletions, head, &[body.as_bytes()], end);
    checked_record(&call(Endpoint::ChatCompletions, "{}"), &reply)
}

#[test]
fn lines_over_16_mib_are_passed_over_and_noted() {
    let long = "x".repeat((16 << 20) + 1);
    for line in [
        format!("data: {long}\n\n"),
        format!(": {long}\n\n"),
        format!("data: {{\ndata: \"{long}\"\n\n"),
        format!("{long}\r\r"),
    ] {
        let record = chat_bytes(&format!("{BEFORE}{line}{AFTER}"), End::Eof);
        assert_eq!(record.outcome, Outcome::Completed);
        assert_eq!(
            record.response_message.as_str(),
            r#"{"role":"assistant","content":"a"}"#
        );
        assert_eq!(
            record.integrity.notes,
            ["an event of the stream was too long to be read"]
        );
    }
    // Of a whole reply so much is kept as the recorder may keep.
    let body = format!("{{\"choices\":[{{\"message\":{{\"content\":\"{long}\"}}}}]}}");
    let record = chat_whole(&body);
    assert_eq!(record.outcome, Outcome::Completed);
    let all = check_types(&record);
    let kept = all["raw_response"]["_body"].as_str().expect("a text");
    assert!(kept.len() == 64 << 10 && body.starts_with(kept));
    check_note(&record, "max_record_bytes");
}

#[test]
fn what_comes_after_the_end_mark_is_not_recorded() {
    let good = chat_bytes(&format!("{BEFORE}{AFTER}"), End::Eof);
    assert_eq!(good.outcome, Outcome::Completed);
    for after in [
        BEFORE,
        AFTER,
        "data: [DONE]\n\n",
        "data: {\"error\":{\"message\":\"late\"}}\n\n",
        "event: error\ndata: late\n\n",
        "data: nonsense\n\n",
        "data: {\"usage\":{\"prompt_tokens\":1}}",
        "<html>",
        "\u{0}\r\r\n",
    ] {
        for end in [
            End::Eof,
            End::CloseDelimited,
            End::Broken,
            End::ClientGone,
            End::Interrupted,
        ] {
            let record = chat_bytes(&format!("{BEFORE}{AFTER}{after}"), end);
            assert_eq!(record, good, "{after:?}");
        }
    }
}

#[test]
fn a_stream_of_something_else_is_no_reply() {
    for body in [
        "<html>\n<body>502 Bad Gateway</body>\n</html>\n",
        "",
        "\n\n",
        ": nothing\n\n",
        "{\"choices\":[{\"message\":{}}]}",
        "data\n\n",
        "data: [1]\n\ndata: \"x\"\n\ndata: {\"choices\":{}}\n\n",
    ] {
        for end in [End::Eof, End::CloseDelimited, End::Broken] {
            let record = chat_bytes(body, end);
            assert_eq!(record.outcome, Outcome::Truncated, "{body:?}");
            assert_eq!(record.response_message.as_str(), "{}");
            check_types(&record);
        }
    }
}

#[test]
fn many_distinct_members_cost_no_more_than_others() {
    let mut recorder = Recorder::new(Endpoint::ChatCompletions, 8 << 20);
    recorder.start(
        ReplyHead {
            status: 200,
            streamed: true,
            request_id: None,
        },
        0.0,
    );
    for n in 0..20_000 {
        let event = format!(
            r#"{{"r{n}":1,"choices":[{{"index":{n},"delta":{{"d{n}":"x","tool_calls":[{{"index":{n}}}]}}}},{{"index":0,"delta":{{"e{n}":0}}}}]}}"#
        );
        recorder.event(None, event.as_bytes(), 1.0);
    }
    let reply = recorder.finish(End::Broken, 1.0);
    check_types(&record(&call(Endpoint::ChatCompletions, "{}"), &reply));
}

/// What is the same for each choice is not multiplied without end, nor said of each of them.
#[test]
fn many_choices_of_a_long_prompt_make_no_endless_record() {
    let ids = vec!["7"; 100_000].join(",");
    let choice = r#"{"message":{},"token_ids":[1],"logprobs":{"content":[null,null]}}"#;
    let choices = vec![choice; 10_000].join(",");
    let record = chat_whole(&format!(
        r#"{{"prompt_token_ids":[{ids}],"choices":[{choices}]}}"#
    ));
    assert_eq!(record.prompt_token_ids.len(), 100_000);
    let all = record.choices.as_deref().expect("choices");
    assert_eq!(all.len(), 10_000);
    let with = |choice: &&gateway_trace::ChoiceRecord| choice.prompt_token_ids.is_some();
    assert_eq!(all.iter().filter(with).count(), 83);
    assert_eq!(record.integrity.notes.len(), 64);
}

/// What that costs is counted: see `docs/benchmarks.md`.
#[test]
fn many_tool_calls_without_an_index_are_found_by_their_ids() {
    let call = |n| {
        format!(
            r#"{{"choices":[{{"delta":{{"tool_calls":[{{"id":"c{n}","function":{{"arguments":"1"}}}}]}}}}]}}"#
        )
    };
    let mut events: Vec<_> = (0..1000).chain([999, 0]).map(call).collect();
    events.push("[DONE]".to_owned());
    let events: Vec<_> = events.iter().map(String::as_str).collect();
    let message = crate::replay::value(&chat_stream(&events).response_message);
    let calls = message["tool_calls"].as_array().expect("calls");
    assert_eq!(calls.len(), 1000);
    let arguments = |n: usize| &calls[n]["function"]["arguments"];
    assert_eq!(
        (arguments(0), arguments(1), arguments(999)),
        (&json!("11"), &json!("1"), &json!("11"))
    );
}
