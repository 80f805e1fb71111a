//! What was sent comes back as it was sent: number for number, escape for escape, key for key.

use std::collections::BTreeMap;

use bytes::Bytes;
use gateway_trace::{Call, End, Endpoint, Json, Reply, ReplyHead, TraceRecord, record};

use crate::replay::{call, fixtures, reply, stream};

/// Texts that are awkward to give back, but for those that are no JSON objects: these are kept
/// as a value or a text.
fn awkward() -> BTreeMap<String, Bytes> {
    let mut all = fixtures("awkward");
    assert!(all.len() > 15, "{} files", all.len());
    let long = format!("{{\"long\":\"{}\"}}", "\\u00e9é".repeat(20_000));
    all.insert("long.json".to_owned(), long.into());
    all
}

/// How a body is kept.
fn kept(name: &str, body: &Bytes) -> String {
    let text = String::from_utf8_lossy(body);
    let trimmed = text.trim_matches([' ', '\t', '\n', '\r']);
    match name {
        "root-array.json" | "root-string.json" | "root-number.json" | "root-null.json" => {
            format!("{{\"_body\":{trimmed}}}")
        }
        "bom.json"
        | "not-a-number.json"
        | "invalid-utf8.json"
        | "two-values.json"
        | "trailing-comma.json"
        | "deep-129.json" => {
            format!(
                "{{\"_body\":{}}}",
                serde_json::to_string(&text).expect("JSON")
            )
        }
        _ => trimmed.to_owned(),
    }
}

/// The record of this exchange, when both halves have been to the journal and back.
fn journalled(call: &Call, reply: &Reply) -> TraceRecord {
    let (mut intent, mut rest) = (Vec::new(), Vec::new());
    call.encode(&mut intent);
    reply.encode(&mut rest);
    let call_again = Call::decode(intent.into()).expect("what was encoded");
    let reply_again = Reply::decode(rest.into()).expect("what was encoded");
    let trace = record(&call_again, &reply_again);
    assert_eq!(trace, record(call, reply));
    trace
}

fn text(json: &Option<Json>) -> &str {
    json.as_ref().map_or("none", Json::as_str)
}

#[test]
fn bodies_come_back_as_they_came() {
    for endpoint in Endpoint::ALL {
        for (name, body) in awkward() {
            let head = ReplyHead {
                status: 200,
                streamed: false,
                request_id: None,
            };
            let reply = reply(endpoint, head, &[&body], End::Eof);
            let trace = journalled(&call(endpoint, body.clone()), &reply);
            let kept = kept(&name, &body);
            assert_eq!(text(&trace.raw_request), kept, "{name} as a request");
            assert_eq!(text(&trace.raw_response), kept, "{name} as a reply");
            // They stand in the record as they are.
            let json = trace.to_json();
            let both = [
                format!("\"raw_request\":{kept},"),
                format!("\"raw_response\":{kept},"),
            ];
            assert!(both.iter().all(|member| json.contains(member)), "{name}");
        }
    }
}

/// Members that nobody knows, in requests, in their metadata and messages, and in chunks.
#[test]
fn members_come_back_as_they_came() {
    for (name, body) in awkward() {
        let kept = kept(&name, &body);
        // A line end in data is LF, however it was sent.
        let kept = kept.replace("\r\n", "\n").replace('\r', "\n");
        // What is as deep as it may be is too deep within something.
        if kept.starts_with("{\"_body\"") || name.starts_with("deep-") {
            continue;
        }
        let request = format!(
            r#"{{"metadata":{{"x":{kept},"rllm":{{}}}},"rllm":{kept},"messages":[{{"role":"user","x":{kept}}},{kept}]}}"#
        );
        let events = [
            format!(
                r#"{{"x":{kept},"choices":[{{"index":0,"x":{kept},"delta":{{"role":"assistant","content":"a","x":{kept},"tool_calls":[{{"index":0,"x":{kept}}}]}}}}]}}"#
            ),
            r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#.to_owned(),
            "[DONE]".to_owned(),
        ];
        let body: Vec<_> = events
            .iter()
            .flat_map(|event| gateway_sse::encode(None, event))
            .collect();
        let head = ReplyHead {
            status: 200,
            streamed: true,
            request_id: None,
        };
        let reply = reply(Endpoint::ChatCompletions, head, &[&body], End::Eof);
        let trace = journalled(&call(Endpoint::ChatCompletions, request), &reply);
        assert_eq!(
            text(&trace.raw_request),
            format!(
                r#"{{"metadata":{{"x":{kept}}},"messages":[{{"role":"user","x":{kept}}},{kept}]}}"#
            ),
            "{name}"
        );
        assert_eq!(
            trace.metadata.as_str(),
            format!(r#"{{"x":{kept}}}"#),
            "{name}"
        );
        assert_eq!(
            trace.messages.as_str(),
            format!(r#"[{{"role":"user","x":{kept}}},{kept}]"#),
            "{name}"
        );
        assert_eq!(
            text(&trace.assembled_response),
            format!(
                r#"{{"x":{kept},"choices":[{{"index":0,"x":{kept},"message":{{"role":"assistant","content":"a","x":{kept},"tool_calls":[{{"x":{kept}}}]}},"finish_reason":"stop"}}]}}"#
            ),
            "{name}"
        );
    }
}

/// The text of pieces is joined as it was spelled.
#[test]
fn pieces_are_joined_in_their_spelling() {
    let pieces = [
        r"\u00e9",
        "é",
        r"\ud83d",
        r"\ude00",
        r"\/\u0000",
        "\u{2028}",
        "",
        r#"\""#,
    ];
    let mut events: Vec<_> = pieces
        .iter()
        .map(|piece| {
            format!(r#"{{"choices":[{{"index":0,"delta":{{"content":"{piece}","tool_calls":[{{"index":0,"function":{{"arguments":"{piece}"}}}}]}},"logprobs":{{"content":[{{"token":"{piece}","logprob":-1.50e0}}]}}}}]}}"#)
        })
        .collect();
    events.push("[DONE]".to_owned());
    let events: Vec<_> = events.iter().map(String::as_str).collect();
    let trace = stream(Endpoint::ChatCompletions, "{}", &events, End::Eof);
    let joined = pieces.concat();
    let assembled = text(&trace.assembled_response).to_owned();
    for expected in [
        format!(r#""content":"{joined}","#),
        format!(r#""arguments":"{joined}""#),
        format!(r#"{{"token":"{}","logprob":-1.50e0}}"#, pieces[2]),
    ] {
        assert!(assembled.contains(&expected), "{expected} in {assembled}");
    }
    assert!(trace.to_json().contains(&assembled));
}

/// rLLM's keys go with their commas, and nothing else changes.
#[test]
fn only_the_keys_of_rllm_are_missing() {
    for (request, expected) in [
        (r#"{"rllm":{"session_id":"s"},"a":1.0}"#, r#"{"a":1.0}"#),
        (r#"{"a":1E+2 , "rl\u006cm" : {}}"#, r#"{"a":1E+2 }"#),
        (
            r#"{ "a" : "\ud800","rllm":1,"rllm":2, "b":-0 }"#,
            r#"{ "a" : "\ud800", "b":-0 }"#,
        ),
        (r#"{"metadata":{"rllm":{"a":1}},"a":1}"#, r#"{"a":1}"#),
        (
            r#"{"metadata":{"rllm":{},"k":123456789012345678901234567890}}"#,
            r#"{"metadata":{"k":123456789012345678901234567890}}"#,
        ),
        (
            r#"{"metadata":{"k":{"rllm":1}},"x":{"rllm":2}}"#,
            r#"{"metadata":{"k":{"rllm":1}},"x":{"rllm":2}}"#,
        ),
        (
            r#"{"metadata":[{"rllm":1}],"rllm":[]}"#,
            r#"{"metadata":[{"rllm":1}]}"#,
        ),
        (r#"{"rllm":{}}"#, "{}"),
    ] {
        let request_call = call(Endpoint::ChatCompletions, request.to_owned());
        let trace = journalled(&request_call, &Reply::interrupted(None));
        assert_eq!(text(&trace.raw_request), expected, "{request}");
        assert_eq!(trace.raw_response, None);
    }
}
