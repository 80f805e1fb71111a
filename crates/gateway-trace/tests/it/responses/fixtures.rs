//! OpenAI responses: the same reply whole and streamed, and streams that end before their time.

use std::path::PathBuf;

use bytes::Bytes;
use gateway_trace::{Call, End, Endpoint, EventKind, Outcome, Recorder, ReplyHead, TraceRecord};
use serde_json::Value;

use crate::replay::{call, checked_record, events, reply, stream, value, whole};

/// Replies that there are whole and streamed.
const PAIRS: [&str; 11] = [
    "custom-tool",
    "failed",
    "incomplete",
    "parallel-calls",
    "reasoning",
    "refusal",
    "server-tools",
    "text",
    "vllm-logprobs",
    "vllm-reasoning-call",
    "web-search",
];

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/responses/{name}"))
}

fn fixture(name: &str) -> Bytes {
    let path = path(name);
    std::fs::read(&path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        .into()
}

/// The call of a fixture; a client that wants a stream asks for one.
fn call_of(name: &str, streamed: bool) -> Call {
    let request = fixture(&format!("{name}.request.json"));
    if !streamed {
        return call(Endpoint::Responses, request);
    }
    let members = request.strip_prefix(b"{").expect("an object");
    let request = [&b"{\"stream\":true,"[..], members].concat();
    call(Endpoint::Responses, request)
}

fn record_of(name: &str, streamed: bool, chunks: &[&[u8]], end: End) -> TraceRecord {
    let head = ReplyHead {
        status: 200,
        streamed,
        request_id: None,
    };
    let reply = reply(Endpoint::Responses, head, chunks, end);
    checked_record(&call_of(name, streamed), &reply)
}

fn whole_of(name: &str) -> TraceRecord {
    let body = fixture(&format!("{name}.json"));
    record_of(name, false, &[&body], End::Eof)
}

fn stream_of(name: &str) -> TraceRecord {
    let body = fixture(&format!("{name}.sse"));
    record_of(name, true, &[&body], End::Eof)
}

/// What a record tells of a conversation, whichever way the reply came.
const TOLD: [&str; 13] = [
    "model",
    "messages",
    "prompt_token_ids",
    "response_message",
    "completion_token_ids",
    "logprobs",
    "finish_reason",
    "token_counts",
    "outcome",
    "error",
    "choices",
    "has_error",
    "integrity",
];

fn told(record: &TraceRecord) -> Value {
    let mut all: Value = serde_json::from_str(&record.to_json()).expect("a record is JSON");
    let members = all.as_object_mut().expect("a record is an object");
    members.retain(|name, _| TOLD.contains(&name.as_str()));
    all
}

/// The same for people, a line for each field.
fn told_in_lines(record: &TraceRecord) -> String {
    let json = record.to_json();
    let root = gateway_json::parse(json.as_bytes(), gateway_json::Dialect::Strict).expect("JSON");
    let told = root
        .members()
        .filter(|member| TOLD.contains(&member.key.text()));
    let lines = told.map(|member| format!("{}: {}", member.key.text(), member.value.text()));
    lines.collect::<Vec<_>>().join("\n")
}

/// The same, without what a stream alone can have to say.
fn told_without_notes(record: &TraceRecord) -> Value {
    let mut all = told(record);
    all["integrity"]["notes"] = Value::Null;
    all
}

#[test]
fn what_becomes_of_each() {
    for name in PAIRS {
        insta::assert_snapshot!(name, told_in_lines(&stream_of(name)));
    }
}

#[test]
fn a_streamed_record_in_full() {
    insta::assert_snapshot!("text-in-full", stream_of("text").snapshot());
}

#[test]
fn the_same_reply_whole_and_streamed_tells_the_same() {
    for name in PAIRS {
        let (whole, streamed) = (whole_of(name), stream_of(name));
        let assembled = streamed.assembled_response.as_ref().expect("assembled");
        let raw = whole.raw_response.as_ref().expect("raw");
        assert_eq!(value(assembled), value(raw), "{name}");
        let [whole, streamed] = [whole, streamed].map(|record| told_without_notes(&record));
        assert_eq!(streamed, whole, "{name}");
    }
}

/// Without its last event a stream has no usage and no end; its message is there.
#[test]
fn without_the_final_event_the_message_is_the_same() {
    for name in PAIRS.into_iter().filter(|name| *name != "failed") {
        let body = fixture(&format!("{name}.sse"));
        let text = std::str::from_utf8(&body).expect("UTF-8");
        let end = text.rfind("event: response.").expect("a final event");
        let cut = record_of(name, true, &[&body[..end]], End::Broken);
        let whole = whole_of(name);
        assert_eq!(cut.outcome, Outcome::Truncated, "{name}");
        assert_eq!(
            value(&cut.response_message),
            value(&whole.response_message),
            "{name}"
        );
        assert_eq!(cut.logprobs, whole.logprobs, "{name}");
        assert_eq!(cut.finish_reason, None, "{name}");
        let output =
            |json: Option<&gateway_trace::Json>| value(json.expect("a reply"))["output"].clone();
        assert_eq!(
            output(cut.assembled_response.as_ref()),
            output(whole.raw_response.as_ref()),
            "{name}"
        );
    }
}

/// Nothing but the fixtures' own words may stand in what is put together.
#[test]
fn wherever_a_stream_is_cut_the_record_is_a_beginning() {
    for name in PAIRS.into_iter().filter(|name| *name != "failed") {
        let body = fixture(&format!("{name}.sse"));
        let (events, _) = events(&[&body]);
        let whole = value(&whole_of(name).response_message);
        let mut recorder = Recorder::new(Endpoint::Responses, 1 << 20);
        let head = ReplyHead {
            status: 200,
            streamed: true,
            request_id: None,
        };
        recorder.start(head, 1.0);
        for (event_name, data) in &events[..events.len() - 1] {
            recorder.event(event_name.as_deref(), data, 2.0);
            let so_far = checked_record(&call_of(name, true), &recorder.snapshot(3.0));
            let assembled = so_far.assembled_response.expect("assembled");
            assert!(!assembled.as_str().contains("obfuscation"), "{name}");
            assert!(!assembled.as_str().contains("sequence_number"), "{name}");
            let message = value(&so_far.response_message);
            for member in ["content", "reasoning_content", "refusal"] {
                let of = |message: &Value| message[member].as_str().unwrap_or("").to_owned();
                assert!(of(&whole).starts_with(&of(&message)), "{name}: {message}");
            }
            let calls = |message: &Value| {
                message["tool_calls"]
                    .as_array()
                    .cloned()
                    .unwrap_or_default()
            };
            for (call, of_whole) in calls(&message).iter().zip(calls(&whole)) {
                assert_eq!(call["id"], of_whole["id"], "{name}");
                for (kind, text) in [("function", "arguments"), ("custom", "input")] {
                    let of = |call: &Value| call[kind][text].as_str().unwrap_or("").to_owned();
                    assert!(of(&of_whole).starts_with(&of(call)), "{name}: {message}");
                }
            }
        }
    }
}

/// Every split of the shorter streams, and many of the others.
#[test]
fn every_split_gives_the_same_record() {
    for name in PAIRS {
        let body = fixture(&format!("{name}.sse"));
        let all = events(&[&body]).0;
        let record = stream_of(name);
        let step = if body.len() < 7000 { 1 } else { 17 };
        for at in (0..=body.len()).step_by(step) {
            let split = [&body[..at], &body[at..]];
            assert_eq!(events(&split).0, all, "{name} split at {at}");
            if at % 391 == 0 {
                let split = record_of(name, true, &split, End::Eof);
                assert_eq!(split, record, "{name} split at {at}");
            }
        }
        let bytes: Vec<_> = body.chunks(1).collect();
        assert_eq!(record_of(name, true, &bytes, End::Eof), record, "{name}");
    }
}

#[test]
fn streams_that_end_before_their_time() {
    let truncated = record_of("truncated", true, &[&fixture("truncated.sse")], End::Broken);
    insta::assert_snapshot!("truncated", truncated.snapshot());
    let failed = stream_of("error-event");
    let [message, of_truncated] =
        [&failed, &truncated].map(|record| value(&record.response_message));
    assert_eq!(message, of_truncated);
    assert_eq!(failed.outcome, Outcome::UpstreamError);
    let error = failed.error.expect("an error");
    assert_eq!(error.code, "rate_limit_exceeded");
    assert!(error.message.starts_with("Rate limit reached"));
}

#[test]
fn a_final_event_without_output_is_filled() {
    let [filled, as_it_should_be] = ["empty-output", "parallel-calls"].map(stream_of);
    assert_eq!(
        told_without_notes(&filled),
        told_without_notes(&as_it_should_be)
    );
    assert_eq!(
        filled.integrity.notes,
        ["the final event has no output: the items of the stream stand in it"]
    );
    let of = |record: TraceRecord| {
        value(&record.assembled_response.expect("assembled"))["output"].clone()
    };
    assert_eq!(of(filled), of(as_it_should_be));
}

#[test]
fn a_response_in_the_background_is_told_honestly() {
    let record = whole_of("background");
    assert_eq!(record.outcome, Outcome::Completed);
    assert_eq!(record.finish_reason, None);
    assert_eq!(record.response_message.as_str(), "{}");
    assert_eq!(
        record.integrity.notes,
        ["the response goes on in the background: what becomes of it is not recorded"]
    );
}

/// Why a whole response ended.
#[track_caller]
fn check_reason(members: &str, expected: Option<&str>, has_error: bool) {
    let body = format!("{{\"object\":\"response\",{members}}}");
    let record = whole(Endpoint::Responses, "{}", 200, body.as_bytes(), End::Eof);
    assert_eq!(record.finish_reason.as_deref(), expected, "{members}");
    assert_eq!(record.has_error, has_error, "{members}");
    let event = format!(r#"{{"type":"response.completed","response":{body}}}"#);
    let streamed = stream(Endpoint::Responses, "{}", &[&event], End::Eof);
    assert_eq!(streamed.finish_reason, record.finish_reason, "{members}");
    assert_eq!(streamed.outcome, record.outcome, "{members}");
}

#[test]
fn why_a_response_ended() {
    let call = r#""output":[{"type":"function_call","name":"f","arguments":""}]"#;
    check_reason(r#""status":"completed","output":[]"#, Some("stop"), false);
    check_reason(
        &format!(r#""status":"completed",{call}"#),
        Some("tool_calls"),
        false,
    );
    check_reason(
        r#""output":[{"type":"custom_tool_call"},{"type":"message"}],"status":"completed""#,
        Some("tool_calls"),
        false,
    );
    check_reason(
        r#""status":"completed","output":[{"type":"web_search_call"}]"#,
        Some("stop"),
        false,
    );
    let incomplete =
        |reason: &str| format!(r#""status":"incomplete","incomplete_details":{reason},{call}"#);
    check_reason(
        &incomplete(r#"{"reason":"max_output_tokens"}"#),
        Some("length"),
        false,
    );
    check_reason(
        &incomplete(r#"{"reason":"content_filter"}"#),
        Some("content_filter"),
        true,
    );
    check_reason(
        &incomplete(r#"{"reason":"steered"}"#),
        Some("steered"),
        true,
    );
    check_reason(&incomplete("null"), Some("incomplete"), true);
    check_reason(
        r#""status":"cancelled","output":[]"#,
        Some("cancelled"),
        true,
    );
    check_reason(r#""status":"failed","output":[],"error":null"#, None, true);
    check_reason(
        r#""status":"completed","output":[],"error":{"message":"m"}"#,
        Some("stop"),
        true,
    );
    check_reason(r#""output":[]"#, None, false);
    check_reason(r#""status":"completed","output":null"#, None, true);
}

#[test]
fn a_failed_response_has_its_own_error() {
    let record = whole_of("failed");
    assert_eq!(record.outcome, Outcome::UpstreamError);
    let error = record.error.expect("an error");
    assert_eq!(
        (error.code.as_str(), error.message.as_str()),
        ("server_error", "The model failed to generate a response.")
    );
}

#[test]
fn names_of_events_may_be_missing_or_all_there_is() {
    let body = fixture("parallel-calls.sse");
    let expected = stream_of("parallel-calls");
    let events = events(&[&body]).0;
    for named in [true, false] {
        let lines: String = events
            .iter()
            .map(|(name, data)| {
                let data = std::str::from_utf8(data).expect("UTF-8");
                let name = std::str::from_utf8(name.as_ref().expect("a name")).expect("UTF-8");
                if named {
                    let mut data: Value = serde_json::from_str(data).expect("JSON");
                    data.as_object_mut().expect("an object").remove("type");
                    format!("event: {name}\ndata: {data}\n\n")
                } else {
                    format!("data: {data}\n\n")
                }
            })
            .collect();
        let record = record_of("parallel-calls", true, &[lines.as_bytes()], End::Eof);
        assert_eq!(told(&record), told(&expected));
    }
}

#[test]
fn token_ids_of_one_generation_are_those_of_the_call() {
    let body = |input: &str, output: &str| {
        format!(r#"{{"output":[],"input_messages":{input},"output_messages":{output}}}"#)
    };
    let tokens = |ids: &str| format!(r#"[{{"message":"x","tokens":{ids}}}]"#);
    let several = r#"[{"tokens":[1]},{"tokens":[2]},{"tokens":[3]}]"#;
    for (input, output, expected, notes) in [
        (
            tokens("[1,2]"),
            tokens("[3]"),
            (&[1_i64, 2][..], &[3_i64][..]),
            0,
        ),
        (tokens("[1]"), several.to_owned(), (&[1], &[]), 1),
        (tokens("[1,null]"), tokens("\"x\""), (&[], &[]), 1),
        (
            tokens("null"),
            r#"[{"role":"assistant","content":[]}]"#.to_owned(),
            (&[], &[]),
            0,
        ),
        ("null".to_owned(), "7".to_owned(), (&[], &[]), 0),
    ] {
        let body = body(&input, &output);
        let record = whole(Endpoint::Responses, "{}", 200, body.as_bytes(), End::Eof);
        let ids = (
            &record.prompt_token_ids[..],
            &record.completion_token_ids[..],
        );
        assert_eq!(ids, expected, "{body}");
        assert_eq!(record.integrity.notes.len(), notes, "{body}");
    }
}

#[test]
fn a_null_log_probability_keeps_its_place() {
    let body = r#"{"output":[{"type":"message","content":[{"type":"output_text","text":"a","logprobs":[{"logprob":-1.5},{"logprob":null}]}]},{"type":"message","content":[{"type":"output_text","text":"b","logprobs":[{"logprob":-2}]}]}]}"#;
    let record = whole(Endpoint::Responses, "{}", 200, body.as_bytes(), End::Eof);
    assert_eq!(record.logprobs, None);
    let choices = record.choices.expect("choices");
    assert_eq!(
        choices[0].logprobs.as_deref(),
        Some(&[Some(-1.5), None, Some(-2.0)][..])
    );
}

#[test]
fn a_recorder_says_what_ends_a_stream() {
    let response = |members: &str| format!(r#""response":{{"output":[],{members}}}"#);
    for (kind, members, expected) in [
        (
            "response.created",
            r#""status":"in_progress""#,
            EventKind::Data,
        ),
        (
            "response.completed",
            r#""status":"completed","error":null"#,
            EventKind::EndMark,
        ),
        (
            "response.incomplete",
            r#""status":"incomplete""#,
            EventKind::EndMark,
        ),
        ("response.failed", r#""status":"failed""#, EventKind::Error),
        (
            "response.completed",
            r#""status":"failed""#,
            EventKind::Error,
        ),
        (
            "response.completed",
            r#""error":{"message":"m"}"#,
            EventKind::Error,
        ),
    ] {
        let data = format!(r#"{{"type":"{kind}",{}}}"#, response(members));
        let mut recorder = Recorder::new(Endpoint::Responses, 1 << 20);
        let head = ReplyHead {
            status: 200,
            streamed: true,
            request_id: None,
        };
        recorder.start(head, 1.0);
        assert_eq!(
            recorder.event(None, data.as_bytes(), 2.0),
            expected,
            "{data}"
        );
        let outcome = recorder.finish(End::Eof, 3.0).meta.outcome;
        let expected = match expected {
            EventKind::Data => Outcome::Truncated,
            EventKind::EndMark => Outcome::Completed,
            EventKind::Error => Outcome::UpstreamError,
        };
        assert_eq!(outcome, expected, "{data}");
    }
}
