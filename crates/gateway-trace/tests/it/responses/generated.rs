//! Random responses, sent whole and streamed, cut at random: they must tell the same.

use gateway_trace::{Call, End, Endpoint, Outcome, ReplyHead, TraceRecord};
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Map, Value, json};

use crate::generated::text;
use crate::hostile::check_types;
use crate::replay::{call, checked_record, cut_at, reply, value};

mod written;

/// A response before it is written in one form or the other.
#[derive(Debug, Clone)]
struct Generated {
    items: Vec<Item>,
    status: &'static str,
    usage: bool,
    /// Written as vLLM does: no events for parts of reasoning under the common name, no log
    /// probabilities but in the deltas.
    vllm: bool,
    names: bool,
}

/// Text in the pieces in which it is streamed.
type Pieces = Vec<String>;

#[derive(Debug, Clone)]
enum Item {
    Message(Vec<Part>),
    /// The parts of the summary and of the content.
    Reasoning(Vec<Pieces>, Vec<Pieces>),
    Function(Pieces),
    Custom(Pieces),
    Mcp(Pieces),
    Code(Pieces),
    /// Nobody knows it, and no event but its begin and end is about it.
    Later(String),
}

#[derive(Debug, Clone)]
enum Part {
    /// The pieces with the log probability of each, and the annotations.
    Text(Vec<(String, Option<f64>)>, bool, Vec<u8>),
    Refusal(Pieces),
}

fn pieces() -> impl Strategy<Value = Pieces> {
    prop::collection::vec(text(), 0..4)
}

fn part() -> impl Strategy<Value = Part> {
    let logprob = prop_oneof![9 => (-20.0..0.0).prop_map(Some), 1 => Just(None)];
    prop_oneof![
        4 => (
            prop::collection::vec((text(), logprob), 0..5),
            any::<bool>(),
            prop::collection::vec(any::<u8>(), 0..3),
        )
            .prop_map(|(pieces, logprobs, annotations)| Part::Text(pieces, logprobs, annotations)),
        1 => pieces().prop_map(Part::Refusal),
    ]
}

fn item() -> impl Strategy<Value = Item> {
    let parts = || prop::collection::vec(pieces(), 0..3);
    prop_oneof![
        3 => prop::collection::vec(part(), 0..3).prop_map(Item::Message),
        2 => (parts(), parts()).prop_map(|(summary, content)| Item::Reasoning(summary, content)),
        2 => pieces().prop_map(Item::Function),
        1 => pieces().prop_map(Item::Custom),
        1 => pieces().prop_map(Item::Mcp),
        1 => pieces().prop_map(Item::Code),
        1 => text().prop_map(Item::Later),
    ]
}

fn generated() -> impl Strategy<Value = Generated> {
    (
        prop::collection::vec(item(), 0..5),
        prop::sample::select(vec!["completed", "incomplete"]),
        any::<[bool; 3]>(),
    )
        .prop_map(|(items, status, [usage, vllm, names])| Generated {
            items,
            status,
            usage,
            vllm,
            names,
        })
}

fn record_of(call: &Call, streamed: bool, chunks: &[&[u8]], end: End) -> TraceRecord {
    let head = ReplyHead {
        status: 200,
        streamed,
        request_id: None,
    };
    let record = checked_record(call, &reply(call.meta.endpoint, head, chunks, end));
    check_types(&record);
    record
}

/// The record, in which a reply that came whole and an assembled one have the same name.
fn told(record: &TraceRecord) -> Map<String, Value> {
    let all: Value = serde_json::from_str(&record.to_json()).expect("a record is JSON");
    let mut members = all.as_object().expect("an object").clone();
    let whole = members.remove("raw_response").filter(|raw| !raw.is_null());
    let assembled = members.remove("assembled_response");
    members.insert("reply".to_owned(), whole.or(assembled).expect("a reply"));
    members.remove("event_ms");
    members["integrity"]["notes"]
        .as_array_mut()
        .expect("notes")
        .retain(|note| {
            !note
                .as_str()
                .expect("a note")
                .contains("those of the stream")
        });
    members
}

fn output_of(record: &TraceRecord) -> Value {
    let reply = record
        .assembled_response
        .as_ref()
        .or(record.raw_response.as_ref());
    value(reply.expect("a reply"))["output"].clone()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn streaming_equals_not_streaming(
        generated in generated(),
        order in prop::collection::vec(0usize..4, 0..60),
        cuts in prop::collection::vec(any::<Index>(), 0..12),
    ) {
        let call = call(Endpoint::Responses, &b"{\"input\":\"x\"}"[..]);
        let whole = record_of(&call, false, &[generated.whole().as_bytes()], End::Eof);
        let events = generated.events(&order).concat();

        let output = generated.at_its_end(json!(generated.output()));
        let stream = format!("{events}{}", generated.last_event(&output));
        let streamed = record_of(&call, true, &cut_at(&stream, &cuts), End::Eof);
        prop_assert_eq!(told(&streamed), told(&whole));
        prop_assert_eq!(streamed.outcome, Outcome::Completed);

        // A final event without output changes nothing but the notes.
        for empty in [json!([]), Value::Null] {
            let stream = format!("{events}{}", generated.last_event(&empty));
            let filled = record_of(&call, true, &[stream.as_bytes()], End::Eof);
            if !generated.items.is_empty() {
                let mut filled = told(&filled);
                filled["integrity"]["notes"] = json!([]);
                let mut whole = told(&whole);
                whole["integrity"]["notes"] = json!([]);
                prop_assert_eq!(filled, whole);
            }
        }

        // Nor does one that never comes, as far as items go.
        let cut = record_of(&call, true, &[events.as_bytes()], End::Broken);
        prop_assert_eq!(cut.outcome, Outcome::Truncated);
        prop_assert_eq!(output_of(&cut), output_of(&whole));
        prop_assert_eq!(&cut.response_message, &whole.response_message);
        prop_assert_eq!(&cut.logprobs, &whole.logprobs);
    }

    /// Wherever a stream is cut, the text that is recorded is the beginning of the text.
    #[test]
    fn a_cut_stream_is_a_beginning(generated in generated(), at in any::<Index>()) {
        let call = call(Endpoint::Responses, &b"{\"input\":\"x\"}"[..]);
        let events = generated.events(&[]);
        let kept = &events[..at.index(events.len() + 1)];
        let cut = record_of(&call, true, &[kept.concat().as_bytes()], End::Broken);
        let whole = record_of(&call, false, &[generated.whole().as_bytes()], End::Eof);
        for member in ["content", "refusal", "reasoning_content"] {
            let of = |record: &TraceRecord| {
                value(&record.response_message)[member].as_str().unwrap_or("").to_owned()
            };
            // The summary stands in until what was thought comes.
            let beginning = of(&whole).starts_with(&of(&cut));
            prop_assert!(beginning || member == "reasoning_content", "{} {}", of(&cut), of(&whole));
        }
        let raw = cut.assembled_response.map_or(String::new(), |all| all.as_str().to_owned());
        prop_assert!(!raw.contains("sequence_number") && !raw.contains("obfuscation"));
    }

    /// The items of a reply that a client sends back make the message of the reply again.
    #[test]
    fn an_echoed_reply_is_the_same_message(generated in generated()) {
        let first = call(Endpoint::Responses, &b"{\"input\":\"x\"}"[..]);
        let reply = record_of(&first, false, &[generated.whole().as_bytes()], End::Eof);
        let mut input = vec![json!({"role": "user", "content": "x"})];
        let echoed = generated.output();
        input.extend(echoed.iter().cloned());
        input.push(json!({"type": "function_call_output", "call_id": "call_0", "output": "y"}));
        let request = json!({"input": input}).to_string();
        let next = record_of(&call(Endpoint::Responses, request), false, &[b"{}"], End::Eof);
        let messages = value(&next.messages);
        let messages = messages.as_array().expect("an array");

        let message = value(&reply.response_message);
        prop_assert_eq!(&messages[0], &json!({"role": "user", "content": "x"}));
        let says = message != json!({});
        // Items of no message before it stand before it, those after it behind.
        let at = messages.iter().position(|one| one["role"] == "assistant");
        prop_assert_eq!(at.is_some(), says);
        if let Some(at) = at {
            prop_assert_eq!(&messages[at], &message);
        }
        let others = echoed.iter().filter(|item| {
            ["mcp_call", "code_interpreter_call", "later"].contains(&item["type"].as_str().expect("a type"))
        });
        for other in others.clone() {
            prop_assert!(messages.contains(other));
        }
        prop_assert_eq!(messages.len(), 2 + usize::from(says) + others.count());
        prop_assert_eq!(&messages[messages.len() - 1]["role"], &json!("tool"));
    }
}
