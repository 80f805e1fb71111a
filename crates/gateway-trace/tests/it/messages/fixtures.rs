//! Exchanges as the API has them, whole and streamed.

use gateway_trace::{Call, End, Endpoint, Outcome, ReplyHead, TraceRecord};
use serde_json::Value;

use crate::replay::{call, checked_record, events, reply, value};

/// Those that are there both whole and streamed.
const BOTH: [&str; 7] = [
    "text",
    "tools",
    "thinking",
    "web-search",
    "refusal",
    "pause",
    "vllm-tools",
];

fn read(file: &str) -> Vec<u8> {
    let path = format!(
        "{}/tests/fixtures/messages/{file}",
        env!("CARGO_MANIFEST_DIR")
    );
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn call_of(name: &str) -> Call {
    call(Endpoint::Messages, read(&format!("{name}.request.json")))
}

fn whole(name: &str, status: u16) -> TraceRecord {
    let body = read(&format!("{name}.json"));
    record_of(&call_of(name), status, false, &[&body], End::Eof)
}

fn streamed(name: &str) -> TraceRecord {
    let body = read(&format!("{name}.sse"));
    record_of(&call_of(name), 200, true, &[&body], End::Eof)
}

/// The record of a call whose reply comes in these chunks.
pub(super) fn record_of(
    call: &Call,
    status: u16,
    streamed: bool,
    chunks: &[&[u8]],
    end: End,
) -> TraceRecord {
    let head = ReplyHead {
        status,
        streamed,
        request_id: None,
    };
    checked_record(call, &reply(Endpoint::Messages, head, chunks, end))
}

/// What a record tells, with the reply in its own dialect under one name, however it came.
pub(super) fn told(record: &TraceRecord) -> Value {
    let mut all: Value = serde_json::from_str(&record.to_json()).expect("a record is JSON");
    let members = all.as_object_mut().expect("a record is an object");
    let mut replies = ["raw_response", "assembled_response"].map(|name| members.remove(name));
    let reply = replies
        .iter_mut()
        .filter_map(Option::take)
        .find(|reply| !reply.is_null());
    all["reply"] = reply.expect("a reply");
    all
}

#[test]
fn what_becomes_of_each() {
    for name in BOTH {
        insta::assert_snapshot!(name, streamed(name).snapshot());
    }
    insta::assert_snapshot!("error", whole("error", 400).snapshot());
    insta::assert_snapshot!("overloaded", streamed("overloaded").snapshot());
}

#[test]
fn the_same_reply_whole_and_streamed_tells_the_same() {
    for name in BOTH {
        let (whole, streamed) = (whole(name, 200), streamed(name));
        assert_eq!(whole.outcome, Outcome::Completed, "{name}");
        assert!(whole.raw_response.is_some() && streamed.assembled_response.is_some());
        let (whole, mut streamed) = (told(&whole), told(&streamed));
        if name.starts_with("vllm") {
            let reply = streamed["reply"].as_object_mut().expect("an object");
            reply.retain(|_, value| !value.is_null());
        }
        assert_eq!(streamed, whole, "{name}");
    }
}

/// Where a server writes nothing anew, it is the whole reply's text.
#[test]
fn an_assembled_message_is_the_whole_one_byte_for_byte() {
    for name in ["text", "refusal"] {
        let assembled = streamed(name).assembled_response.expect("a message");
        assert_eq!(assembled.as_str().as_bytes(), read(&format!("{name}.json")));
    }
}

#[test]
fn every_split_gives_the_same_record() {
    for name in BOTH.into_iter().chain(["overloaded"]) {
        let call = call_of(name);
        let body = read(&format!("{name}.sse"));
        let whole = streamed(name);
        let whole_events = events(&[&body]).0;
        for at in 0..=body.len() {
            let split = [&body[..at], &body[at..]];
            assert_eq!(events(&split).0, whole_events, "{name} split at {at}");
            if at % 53 == 0 {
                let record = record_of(&call, 200, true, &split, End::Eof);
                assert_eq!(record, whole, "{name} split at {at}");
            }
        }
        let bytes: Vec<_> = body.chunks(1).collect();
        assert_eq!(record_of(&call, 200, true, &bytes, End::Eof), whole);
    }
}

#[test]
fn events_need_no_names() {
    for name in BOTH.into_iter().chain(["overloaded"]) {
        let body = String::from_utf8(read(&format!("{name}.sse"))).expect("UTF-8");
        let lines = body.split_inclusive('\n');
        let bare: String = lines.filter(|line| !line.starts_with("event:")).collect();
        let record = record_of(&call_of(name), 200, true, &[bare.as_bytes()], End::Eof);
        assert_eq!(record, streamed(name), "{name}");
    }
}

#[test]
fn a_stream_that_breaks_off_keeps_what_came() {
    let body = String::from_utf8(read("tools.sse")).expect("UTF-8");
    let (begun, _) = body.split_once("b\\\\\\\" | tee").expect("a piece");
    let call = call_of("tools");
    let record = record_of(&call, 200, true, &[begun.as_bytes()], End::Broken);
    insta::assert_snapshot!("truncated", record.snapshot());
}

/// Wherever a stream breaks off, the record is of the beginning of the message.
#[test]
fn a_stream_may_break_off_anywhere() {
    for name in BOTH {
        let call = call_of(name);
        let body = read(&format!("{name}.sse"));
        let all = value(&streamed(name).response_message);
        for at in (0..body.len()).step_by(23) {
            let record = record_of(&call, 200, true, &[&body[..at]], End::Broken);
            let expected = if record.integrity.ended {
                Outcome::Completed
            } else {
                Outcome::Truncated
            };
            assert_eq!(record.outcome, expected, "{name} {at}");
            let message = value(&record.response_message);
            for key in ["content", "reasoning_content"] {
                let begun = message[key].as_str().unwrap_or_default();
                let whole = all[key].as_str().unwrap_or_default();
                assert!(whole.starts_with(begun), "{name} {at}: {begun}");
            }
            if let Some(assembled) = record.assembled_response {
                assert!(value(&assembled)["content"].is_array(), "{name} {at}");
            }
        }
    }
}
