//! Whatever a client asks and an upstream answers, one honest record comes of it, and how the bytes
//! were cut never matters.

use bytes::Bytes;
use gateway_json::{Dialect, Kind, Value, parse};
use gateway_sse::Decoder;
use gateway_trace::{
    Call, CallError, CallMeta, End, Endpoint, Json, Outcome, Recorder, Reply, ReplyHead,
    TraceRecord, record, summary,
};

use super::{cut, seeded};

/// One exchange: two bytes say how to cut, one how the reply came and ended, then come the request,
/// a NUL and the reply's body.
pub fn check(endpoint: Endpoint, data: &[u8]) {
    let Some((seed, [how, exchange @ ..])) = seeded(data) else {
        return;
    };
    let nul = exchange.iter().position(|byte| *byte == 0);
    let (request, body) = exchange.split_at(nul.unwrap_or(exchange.len()));
    let body = body.get(1..).unwrap_or_default();
    let call = Call {
        meta: CallMeta::new("t", endpoint, 1.5e9),
        request: Bytes::copy_from_slice(request),
    };
    let how = How::of(*how);

    let reply = replay(endpoint, &how, &[body]);
    for pieces in [cut(body, seed), body.chunks(1).collect()] {
        assert_eq!(replay(endpoint, &how, &pieces), reply);
    }
    let trace = record(&call, &reply);
    check_json(&trace);
    check_halves(&call, &reply, &trace);
    if how.streamed && !how.small && trace.outcome == Outcome::Completed {
        check_assembled(&call, &reply, &trace);
    }
}

/// An exchange as [`check`] reads it.
#[must_use]
pub fn exchange(streamed: bool, request: &[u8], body: &[u8]) -> Vec<u8> {
    let how = if streamed { b'1' } else { b'0' };
    [b"cu", &[how][..], request, &[0], body].concat()
}

/// How a reply came and ended.
struct How {
    streamed: bool,
    status: u16,
    /// Only so little of it is kept that much is left out.
    small: bool,
    end: End,
}

impl How {
    fn of(byte: u8) -> Self {
        Self {
            streamed: byte & 1 == 1,
            status: if byte & 64 == 0 { 200 } else { 429 },
            small: byte & 128 != 0,
            end: match byte >> 1 & 7 {
                1 => End::CloseDelimited,
                2 => End::Broken,
                3 => End::ClientGone,
                4 => {
                    End::GatewayError(CallError::new("upstream_error", "upstream_timeout", "late"))
                }
                5 => End::Interrupted,
                _ => End::Eof,
            },
        }
    }
}

fn replay(endpoint: Endpoint, how: &How, pieces: &[&[u8]]) -> Reply {
    let max_record_bytes = if how.small { 512 } else { 1 << 20 };
    let mut recorder = Recorder::new(endpoint, max_record_bytes);
    let head = ReplyHead {
        status: how.status,
        streamed: how.streamed,
        request_id: None,
    };
    recorder.start(head, 1.0);
    let mut decoder = Decoder::new();
    for piece in pieces {
        let piece = Bytes::copy_from_slice(piece);
        if how.streamed {
            decoder.push(piece, &mut |event| {
                if let Some(data) = &event.data {
                    recorder.event(event.name.as_deref(), data, 2.0);
                }
            });
        } else {
            recorder.push(piece, 2.0);
        }
    }
    if let Some(data) = decoder.finish().and_then(|event| event.data) {
        recorder.event(None, &data, 2.0);
    }
    let so_far = recorder.snapshot(3.0);
    let reply = recorder.finish(how.end.clone(), 3.0);
    assert_eq!(so_far.body, reply.body);
    reply
}

/// The record is JSON of the types that strict readers demand.
fn check_json(trace: &TraceRecord) {
    let json = trace.to_json();
    assert!(!trace.snapshot().is_empty());
    // Nested as deep as JSON may, a body is too deep within the record: serde_json does not mind.
    serde_json::from_str::<&serde_json::value::RawValue>(&json).expect("a record is JSON");
    check_objects(&trace.messages, Value::elements);
    for choice in trace.choices.iter().flatten() {
        check_objects(&choice.message, std::iter::once);
    }
    for object in [&trace.response_message, &trace.metadata] {
        check_objects(object, std::iter::once);
    }
    let bodies = [
        &trace.raw_request,
        &trace.raw_response,
        &trace.assembled_response,
    ];
    for body in bodies.into_iter().flatten() {
        check_objects(body, std::iter::once);
    }
    if let Ok(root) = parse(json.as_bytes(), Dialect::Strict) {
        let counts = root.get("token_counts").expect("a field of every record");
        assert!(counts.members().all(|count| count.value.as_i64().is_some()));
        let logprobs = root.get("logprobs").expect("a field of every record");
        assert!(
            logprobs
                .elements()
                .all(|logprob| logprob.kind() == Kind::Number)
        );
    }
    assert_eq!(trace.error.is_none(), trace.outcome == Outcome::Completed);
}

/// What is in a field that holds one object or an array of them.
fn check_objects<'a, I: Iterator<Item = Value<'a>>>(json: &'a Json, all: impl Fn(Value<'a>) -> I) {
    let root = json.value().expect("JSON that is not too deep");
    assert!(all(root).all(Value::is_object), "{json}");
}

/// Both halves read back as they were written, and the short form says the same as the long one.
fn check_halves(call: &Call, reply: &Reply, trace: &TraceRecord) {
    let (mut intent, mut rest) = (Vec::new(), Vec::new());
    call.encode(&mut intent);
    reply.encode(&mut rest);
    assert_eq!(
        &Call::decode(intent.into()).expect("what was encoded"),
        call
    );
    assert_eq!(
        &Reply::decode(rest.into()).expect("what was encoded"),
        reply
    );

    let mut unread = reply.clone();
    unread.meta.digest = None;
    for reply in [reply, &unread] {
        let short = summary(call, reply);
        assert_eq!(short.model, trace.model);
        assert_eq!(short.finish_reason, trace.finish_reason);
        assert_eq!(short.has_error, trace.has_error);
    }
}

/// The whole reply that a stream amounts to is one that the upstream could have sent.
fn check_assembled(call: &Call, reply: &Reply, trace: &TraceRecord) {
    if reply.body.is_empty() {
        return;
    }
    let how = How::of(0);
    let whole = replay(call.meta.endpoint, &how, &[&reply.body]);
    let whole = record(call, &whole);
    assert_eq!(whole.outcome, Outcome::Completed, "{:?}", whole.error);
    assert_eq!(whole.response_message, trace.response_message);
    assert_eq!(whole.finish_reason, trace.finish_reason);
    assert_eq!(whole.choices, trace.choices);
    assert_eq!(whole.completion_token_ids, trace.completion_token_ids);
    assert_eq!(whole.logprobs, trace.logprobs);
    assert_eq!(whole.token_counts, trace.token_counts);
}
