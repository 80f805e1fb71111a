//! Assembles one long stream, so that its instructions can be counted: `linear SHAPE BYTES`.
//!
//! `docs/benchmarks.md` shows the counts for streams of growing length: the cost of a byte must not
//! grow with them.

use bytes::Bytes;
use gateway_sse::{Decoder, encode};
use gateway_trace::{Call, CallMeta, End, Endpoint, Outcome, Recorder, ReplyHead, record};

/// The data of the event with this number.
type Shape = fn(usize) -> String;

/// What grows with the stream.
const SHAPES: [(&str, Shape); 9] = [
    ("text", |n| {
        delta(0, &format!(r#""content":"word{} ""#, n % 97))
    }),
    ("tool-pieces", |n| tool(n % 8, n < 8)),
    ("tool-calls", |n| tool(n, true)),
    ("tool-ids", |n| {
        let call = format!(
            r#"{{"id":"call_{n}","type":"function","function":{{"name":"f","arguments":"{{}}"}}}}"#
        );
        delta(0, &format!(r#""tool_calls":[{call}]"#))
    }),
    ("choices", |n| {
        delta(n, r#""role":"assistant","content":"a""#)
    }),
    ("interleaved", |n| {
        delta(n * 31 % 64, r#""content":"word ""#)
    }),
    ("logprobs", |n| {
        let top: Vec<_> = (0..20)
            .map(|k| format!(r#"{{"token":"t{k}","logprob":-{n}.5,"bytes":[116]}}"#))
            .collect();
        let entry = format!(
            r#"{{"token":"t","logprob":-0.125,"bytes":[116],"top_logprobs":[{}]}}"#,
            top.join(",")
        );
        format!(
            r#"{{"choices":[{{"index":0,"delta":{{"content":"t"}},"token_ids":[{n}],"logprobs":{{"content":[{entry}]}}}}]}}"#
        )
    }),
    ("parts", |n| {
        delta(
            0,
            &format!(r#""content":[{{"type":"text","text":"a"}},{{"type":"image","n":{n}}}]"#),
        )
    }),
    ("members", |n| delta(0, &format!(r#""m{n}":"a""#))),
];

fn delta(index: usize, members: &str) -> String {
    format!(
        r#"{{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1763990401,"model":"m","choices":[{{"index":{index},"delta":{{{members}}},"logprobs":null,"finish_reason":null}}]}}"#
    )
}

fn tool(index: usize, first: bool) -> String {
    let name = if first {
        r#""id":"call","type":"function","#
    } else {
        ""
    };
    delta(
        0,
        &format!(
            r#""tool_calls":[{{"index":{index},{name}"function":{{"arguments":"{{\"a\": "}}}}]"#
        ),
    )
}

/// A stream of this shape with at least so many bytes.
fn stream(shape: &str, bytes: usize) -> Option<Bytes> {
    let mut stream = Vec::with_capacity(bytes + 4096);
    if shape == "line" {
        // One event alone.
        stream.extend_from_slice(&encode(
            None,
            &delta(0, &format!(r#""content":"{}""#, "word ".repeat(bytes / 5))),
        ));
    } else {
        let (_, event) = SHAPES.iter().find(|(name, _)| *name == shape)?;
        for n in 0.. {
            stream.extend_from_slice(&encode(None, &event(n)));
            if stream.len() >= bytes {
                break;
            }
        }
    }
    stream.extend_from_slice(b"data: [DONE]\n\n");
    Some(stream.into())
}

/// From the bytes, in pieces as a socket gives them, to the record's JSON.
#[inline(never)]
fn from_bytes_to_record(call: &Call, stream: &Bytes) -> (Outcome, usize) {
    let mut recorder = Recorder::new(call.meta.endpoint, 1 << 30);
    let head = ReplyHead {
        status: 200,
        streamed: true,
        request_id: None,
    };
    recorder.start(head, 0.0);
    let mut decoder = Decoder::new();
    for at in (0..stream.len()).step_by(8192) {
        let piece = stream.slice(at..stream.len().min(at + 8192));
        decoder.push(piece, &mut |event| {
            if let Some(data) = &event.data {
                recorder.event(event.name.as_deref(), data, 1.0);
            }
        });
    }
    let trace = record(call, &recorder.finish(End::Eof, 1.0));
    (trace.outcome, trace.to_json().len())
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let shape = arguments.next().unwrap_or_default();
    let bytes = arguments
        .next()
        .and_then(|bytes| bytes.parse().ok())
        .unwrap_or(1 << 20);
    let Some(stream) = stream(&shape, bytes) else {
        let names: Vec<_> = SHAPES.iter().map(|(name, _)| *name).collect();
        eprintln!(
            "linear SHAPE [BYTES], with a shape of: line {}",
            names.join(" ")
        );
        std::process::exit(2);
    };
    let call = Call {
        meta: CallMeta::new("t", Endpoint::ChatCompletions, 1.5e9),
        request: Bytes::from_static(b"{}"),
    };
    let (outcome, length) = from_bytes_to_record(&call, &stream);
    println!(
        "{shape}: {} bytes, {outcome:?}, a record of {length} bytes",
        stream.len()
    );
}
