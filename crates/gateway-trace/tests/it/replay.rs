//! Replays recorded exchanges.

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use gateway_sse::{Decoder, Event};
use gateway_trace::{
    Call, CallMeta, End, Endpoint, Identity, Recorder, Reply, ReplyHead, Summary, TraceRecord,
    record, summary,
};
use proptest::sample::Index;
use serde_json::Value;

use crate::schema;

/// A captured reply, its chunk framing undone.
#[derive(Debug, Clone)]
pub(crate) struct Captured {
    pub(crate) status: u16,
    pub(crate) streamed: bool,
    pub(crate) body: Bytes,
}

impl Captured {
    pub(crate) fn head(&self) -> ReplyHead {
        ReplyHead {
            status: self.status,
            streamed: self.streamed,
            request_id: None,
        }
    }
}

/// The folders with replies of each endpoint: in each, `<name>.json` is a whole reply, `<name>.sse`
/// the same one streamed, and `<name>.request.json` what was asked.
pub(crate) const FOLDERS: [(&str, Endpoint); 5] = [
    ("chat", Endpoint::ChatCompletions),
    ("completions", Endpoint::Completions),
    ("messages", Endpoint::Messages),
    ("responses", Endpoint::Responses),
    ("embeddings", Endpoint::Embeddings),
];

/// The files below `tests/fixtures/<folder>`, by name.
pub(crate) fn fixtures(folder: &str) -> BTreeMap<String, Bytes> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(folder);
    let entries = std::fs::read_dir(path).expect("a folder of fixtures");
    let read = |entry: std::io::Result<std::fs::DirEntry>| {
        let entry = entry.expect("an entry of a folder");
        let name = entry.file_name().into_string().expect("a name in UTF-8");
        (name, std::fs::read(entry.path()).expect("a file").into())
    };
    entries.map(read).collect()
}

/// That every way to cut a reply in two, and byte by byte, gives the same record.
///
/// A recorder is given a stream's events, and a record is a pure function of call and reply: a
/// split that gives the same events gives the same record. Every split of a stream is tried for its
/// events, and some are replayed to the record as well.
#[track_caller]
pub(crate) fn check_every_split(name: &str, call: &Call, captured: &Captured) {
    let body = &captured.body;
    let whole = replay(call, captured, &[body]);
    let whole_events = events(&[body]).0;
    for at in 0..=body.len() {
        let split = [&body[..at], &body[at..]];
        if captured.streamed {
            assert_eq!(events(&split).0, whole_events, "{name} split at {at}");
        }
        if at % if captured.streamed { 97 } else { 7 } == 0 {
            assert_eq!(
                replay(call, captured, &split),
                whole,
                "{name} split at {at}"
            );
        }
    }
    let bytes: Vec<_> = body.chunks(1).collect();
    assert_eq!(replay(call, captured, &bytes), whole, "{name} byte by byte");
}

/// Reads `tests/fixtures/captures/<name>.reply.http`.
pub(crate) fn captured(name: &str) -> Captured {
    let (head, body) = read(&format!("{name}.reply"));
    let status = head[9..12].parse().expect("a status");
    let head = head.to_ascii_lowercase();
    let body = if head.contains("transfer-encoding: chunked") {
        dechunk(&body)
    } else {
        body
    };
    Captured {
        status,
        streamed: head.contains("content-type: text/event-stream"),
        body: body.into(),
    }
}

/// The call of `tests/fixtures/captures/<name>.request.http`.
pub(crate) fn captured_call(name: &str) -> Call {
    let (head, body) = read(&format!("{name}.request"));
    let path = head.split(' ').nth(1).expect("a path");
    let endpoint =
        Endpoint::from_path(path.trim_start_matches("/v1/")).expect("a recordable endpoint");
    call(endpoint, body)
}

/// A call with this request.
pub(crate) fn call(endpoint: Endpoint, request: impl Into<Bytes>) -> Call {
    let mut meta = CallMeta::new(
        "01990000-0000-7000-8000-000000000001",
        endpoint,
        1_795_475_231.25,
    );
    meta.identity = Identity {
        session_id: Some("s-1".to_owned()),
        ..Identity::default()
    };
    let request = request.into();
    meta.stream = request
        .windows(13)
        .any(|window| window == b"\"stream\":true");
    Call { meta, request }
}

/// The events with data of a stream that comes in these chunks, and what is no complete event.
pub(crate) fn events(chunks: &[&[u8]]) -> (Vec<(Option<Bytes>, Bytes)>, Option<Bytes>) {
    let mut decoder = Decoder::new();
    let mut events = Vec::new();
    for chunk in chunks {
        decoder.push(Bytes::copy_from_slice(chunk), &mut |event| {
            events.extend(event.data.map(|data| (event.name, data)));
        });
    }
    (events, decoder.finish().and_then(|event| event.data))
}

/// What a recorder makes of a reply that comes in these chunks.
pub(crate) fn reply(endpoint: Endpoint, head: ReplyHead, chunks: &[&[u8]], end: End) -> Reply {
    let mut recorder = Recorder::new(endpoint, 1 << 20);
    let streamed = head.streamed;
    recorder.start(head, 3.0);
    if streamed {
        let mut take = |event: Event| match &event.data {
            _ if event.unread => recorder.push(event.raw, 7.5),
            Some(data) => {
                recorder.event(event.name.as_deref(), data, 7.5);
            }
            None => {}
        };
        let mut decoder = Decoder::new();
        for chunk in chunks {
            decoder.push(Bytes::copy_from_slice(chunk), &mut take);
        }
        decoder.finish().into_iter().for_each(take);
    } else {
        for chunk in chunks {
            recorder.push(Bytes::copy_from_slice(chunk), 7.5);
        }
    }
    recorder.finish(end, 9.0)
}

/// A stream in pieces, cut at these places.
pub(crate) fn cut_at<'a>(stream: &'a str, cuts: &[Index]) -> Vec<&'a [u8]> {
    let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
    cuts.sort_unstable();
    let mut pieces = Vec::new();
    let mut from = 0;
    for cut in cuts.into_iter().chain([stream.len()]) {
        pieces.push(&stream.as_bytes()[from..cut]);
        from = cut;
    }
    pieces
}

/// The record of a captured exchange whose reply comes in these chunks.
pub(crate) fn replay(call: &Call, captured: &Captured, chunks: &[&[u8]]) -> TraceRecord {
    checked_record(
        call,
        &reply(call.meta.endpoint, captured.head(), chunks, End::Eof),
    )
}

fn read(name: &str) -> (String, Vec<u8>) {
    let path = format!(
        "{}/tests/fixtures/captures/{name}.http",
        env!("CARGO_MANIFEST_DIR")
    );
    let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let end = bytes
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .expect("a head");
    let head = String::from_utf8(bytes[..end].to_vec()).expect("a head in UTF-8");
    (head, bytes[end + 4..].to_vec())
}

fn dechunk(mut bytes: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let line = bytes
            .windows(2)
            .position(|window| window == b"\r\n")
            .expect("a chunk size");
        let size = std::str::from_utf8(&bytes[..line]).expect("a chunk size in ASCII");
        let size = usize::from_str_radix(size, 16).expect("a chunk size in hexadecimal");
        if size == 0 {
            return body;
        }
        body.extend_from_slice(&bytes[line + 2..line + 2 + size]);
        bytes = &bytes[line + 2 + size + 2..];
    }
}

/// The record of a chat completion that comes as these events.
pub(crate) fn chat_stream(events: &[&str]) -> TraceRecord {
    stream(
        Endpoint::ChatCompletions,
        "{\"model\":\"m\",\"messages\":[]}",
        events,
        End::Eof,
    )
}

/// The record of a call whose reply comes as these events.
pub(crate) fn stream(
    endpoint: Endpoint,
    request: &'static str,
    events: &[&str],
    end: End,
) -> TraceRecord {
    let body: String = events
        .iter()
        .map(|event| format!("data: {event}\n\n"))
        .collect();
    let head = ReplyHead {
        status: 200,
        streamed: true,
        request_id: None,
    };
    checked_record(
        &call(endpoint, request),
        &reply(endpoint, head, &[body.as_bytes()], end),
    )
}

/// The record of a chat completion whose whole reply is this.
pub(crate) fn chat_whole(body: &str) -> TraceRecord {
    whole(
        Endpoint::ChatCompletions,
        "{\"model\":\"m\",\"messages\":[]}",
        200,
        body.as_bytes(),
        End::Eof,
    )
}

/// The record of a call whose whole reply is this.
pub(crate) fn whole(
    endpoint: Endpoint,
    request: &'static str,
    status: u16,
    body: &[u8],
    end: End,
) -> TraceRecord {
    let head = ReplyHead {
        status,
        streamed: false,
        request_id: None,
    };
    checked_record(
        &call(endpoint, request),
        &reply(endpoint, head, &[body], end),
    )
}

/// The value of a record's JSON, for comparisons.
pub(crate) fn value(json: &gateway_trace::Json) -> Value {
    serde_json::from_str(json.as_str()).expect("JSON")
}

/// Takes out, at any depth, members that say nothing: a whole reply spells out that it has no
/// refusal (`null`) and no annotations (`[]`), a stream does not mention them.
fn without_nothing(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.values_mut().for_each(without_nothing);
            members.retain(|_, value| !value.is_null() && *value != Value::Array(Vec::new()));
        }
        Value::Array(items) => items.iter_mut().for_each(without_nothing),
        _ => {}
    }
}

/// All that a record tells, with the whole reply under one name.
pub(crate) fn told(record: &TraceRecord) -> Value {
    let mut all: Value = serde_json::from_str(&record.to_json()).expect("a record is JSON");
    for name in ["raw_response", "assembled_response"] {
        let reply = all.as_object_mut().and_then(|all| all.remove(name));
        if let Some(mut reply) = reply.filter(|reply| !reply.is_null()) {
            without_nothing(&mut reply);
            all["reply"] = reply;
        }
    }
    without_nothing(&mut all["response_message"]);
    for choice in all["choices"].as_array_mut().into_iter().flatten() {
        without_nothing(&mut choice["message"]);
    }
    all
}

/// The record of both halves, which must fit the schema, and whose summary must say the same,
/// whoever has read the body.
pub(crate) fn checked_record(call: &Call, reply: &Reply) -> TraceRecord {
    let record = record(call, reply);
    schema::check(&record);
    let short = summary(call, reply);
    let expected = Summary {
        trace_id: record.trace_id.clone(),
        identity: record.identity.clone(),
        model: record.model.clone(),
        span_type: record.span_type,
        endpoint: record.endpoint,
        stream: record.stream,
        status: record.status,
        outcome: record.outcome,
        finish_reason: record.finish_reason.clone(),
        has_error: record.has_error,
        latency_ms: record.latency_ms,
        timestamp: record.timestamp,
    };
    assert_eq!(short, expected);
    let mut unread = reply.clone();
    unread.meta.digest = None;
    assert_eq!(summary(call, &unread), expected);
    if let Some(digest) = &reply.meta.digest {
        let counts = record.token_counts;
        assert_eq!(
            (digest.prompt_tokens, digest.completion_tokens),
            (counts.prompt, counts.completion)
        );
    }
    record
}
