//! Random replies, sent whole and streamed, cut at random: they must tell the same.

use gateway_trace::{Call, End, Endpoint, ReplyHead, TraceRecord};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::Value;

use crate::replay::{call, checked_record, cut_at, reply, told};

mod write;

/// A reply before it is written in one form or the other.
#[derive(Debug, Clone)]
struct Generated {
    endpoint: Endpoint,
    choices: Vec<Choice>,
    prompt: Vec<u32>,
    ids: bool,
    logprobs: bool,
    usage: bool,
    /// What is not there is spelled out as null in the whole reply.
    nulls: bool,
}

#[derive(Debug, Clone)]
struct Choice {
    tokens: Vec<Token>,
    /// How many tokens come in each chunk; the rest comes in one.
    grouping: Vec<usize>,
    /// Members of the message that are strings, in pieces.
    texts: Vec<(&'static str, Vec<String>)>,
    /// Thoughts in pieces; if there are any, the content comes in parts.
    thinking: Vec<String>,
    /// Whether a tool is a custom one, its id, its name and its arguments, in pieces.
    tools: Vec<(bool, String, String, Vec<String>)>,
    /// The name and the arguments of a function call, in pieces.
    function_call: Option<(String, Vec<String>)>,
    /// Data and transcript, in pieces.
    audio: Option<Vec<(String, String)>>,
    annotations: Vec<String>,
    /// The type of a detail of the reasoning, and its text in pieces.
    details: Vec<(&'static str, Vec<String>)>,
    finish_reason: &'static str,
}

#[derive(Debug, Clone)]
struct Token {
    text: String,
    id: u32,
    logprob: Option<f64>,
    alternatives: Vec<(String, f64)>,
}

/// How the stream is written.
#[derive(Debug, Clone)]
struct Writing {
    /// Which of the queues of chunks is next.
    order: Vec<Index>,
    /// Whether the next chunk goes into the same event as the one before it, if it may.
    together: Vec<bool>,
    /// Chunks and lines that say nothing, and the places they stand at.
    noise: Vec<(Index, &'static str)>,
    line_end: &'static str,
    field: &'static str,
    cuts: Vec<Index>,
    /// The index of every tool call, where it is not its own.
    call_index: Option<Value>,
}

pub(crate) fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z \"\\\\{}]{0,6}",
        Just("é\u{2028}\u{1f600}".to_owned()),
        Just("\n\r\t\u{1}".to_owned()),
        Just(String::new()),
    ]
}

fn pieces() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(text(), 1..4)
}

fn token() -> impl Strategy<Value = Token> {
    let logprob = prop_oneof![9 => (-20.0..0.0).prop_map(Some), 1 => Just(None)];
    let alternatives = prop::collection::vec((text(), -20.0..0.0), 0..3);
    (text(), 0u32..200_000, logprob, alternatives).prop_map(|(text, id, logprob, alternatives)| {
        Token {
            text,
            id,
            logprob,
            alternatives,
        }
    })
}

fn choice() -> impl Strategy<Value = Choice> {
    let texts = ["reasoning", "reasoning_content", "refusal", "unknown"];
    let details = ["reasoning.text", "reasoning.summary", "reasoning.encrypted"];
    let some = |most: usize| prop::collection::vec(pieces(), 0..most);
    (
        prop::collection::vec(token(), 0..8),
        prop::collection::vec(1usize..4, 0..6),
        prop::sample::subsequence(texts.to_vec(), 0..3),
        some(3),
        prop::collection::vec(text(), 0..3),
        prop::collection::vec(
            (any::<bool>(), "[a-z0-9]{4}", "[a-z_]{1,8}", pieces()),
            0..3,
        ),
        prop::option::weighted(0.2, ("[a-z_]{1,8}", pieces())),
        prop::option::weighted(0.2, prop::collection::vec((text(), text()), 1..4)),
        prop::collection::vec(text(), 0..3),
        prop::collection::vec((select(details.to_vec()), pieces()), 0..3),
        select(vec!["stop", "length", "tool_calls", "content_filter"]),
    )
        .prop_map(
            |(
                tokens,
                grouping,
                names,
                some,
                thinking,
                tools,
                function_call,
                audio,
                annotations,
                details,
                finish_reason,
            )| Choice {
                tokens,
                grouping,
                texts: names.into_iter().zip(some).collect(),
                thinking,
                tools,
                function_call,
                audio,
                annotations,
                details,
                finish_reason,
            },
        )
}

fn generated() -> impl Strategy<Value = Generated> {
    (
        select(vec![
            Endpoint::ChatCompletions,
            Endpoint::ChatCompletions,
            Endpoint::Completions,
        ]),
        prop::collection::vec(choice(), 1..4),
        prop::collection::vec(0u32..200_000, 1..6),
        any::<[bool; 4]>(),
    )
        .prop_map(
            |(endpoint, choices, prompt, [ids, logprobs, usage, nulls])| Generated {
                endpoint,
                choices,
                prompt,
                ids,
                logprobs,
                usage,
                nulls,
            },
        )
}

fn writing() -> impl Strategy<Value = Writing> {
    let noise = [
        ": keep-alive",
        "retry: 5",
        r#"data: {"choices":[]}"#,
        r#"data: {"choices":[],"usage":null,"obfuscation":"x"}"#,
        r#"data: {"choices":[{"index":0,"logprobs":null,"finish_reason":null}]}"#,
        r#"data: {"choices":[{"index":0,"delta":{},"finish_reason":null}]}"#,
        r#"data: {"choices":[{"index":0,"delta":{"content":null,"tool_calls":null,"refusal":null,"audio":null}}],"obfuscation":""}"#,
    ];
    (
        prop::collection::vec(any::<Index>(), 0..60),
        prop::collection::vec(any::<bool>(), 0..60),
        prop::collection::vec((any::<Index>(), select(noise.to_vec())), 0..4),
        select(vec!["\n", "\r\n", "\r"]),
        select(vec!["data: ", "data:"]),
        prop::collection::vec(any::<Index>(), 0..12),
        select(vec![None, None, Some(Value::Null), Some(0.into())]),
    )
        .prop_map(
            |(order, together, noise, line_end, field, cuts, call_index)| Writing {
                order,
                together,
                noise,
                line_end,
                field,
                cuts,
                call_index,
            },
        )
}

fn record_of(call: &Call, streamed: bool, chunks: &[&[u8]]) -> TraceRecord {
    let head = ReplyHead {
        status: 200,
        streamed,
        request_id: None,
    };
    checked_record(call, &reply(call.meta.endpoint, head, chunks, End::Eof))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn streaming_equals_not_streaming(generated in generated(), writing in writing()) {
        let call = call(generated.endpoint, &b"{\"messages\":[]}"[..]);
        let whole = record_of(&call, false, &[generated.whole().as_bytes()]);
        let stream = generated.streamed(&writing);
        let streamed = record_of(&call, true, &cut_at(&stream, &writing.cuts));
        prop_assert_eq!(told(&streamed), told(&whole));
    }
}
