//! Random replies, sent whole and streamed, cut at random: they must tell the same.

use gateway_trace::{End, Endpoint};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::fixtures::{record_of, told};
use crate::replay::{call, cut_at, value};

/// A reply before it is written in one form or the other.
#[derive(Debug, Clone)]
struct Generated {
    blocks: Vec<Block>,
    stop_reason: &'static str,
    /// Members that come at the end of a stream.
    container: Option<Value>,
    counts: [u32; 4],
}

/// A block, with what comes of it in pieces.
#[derive(Debug, Clone)]
enum Block {
    Text(Vec<String>, Option<Vec<Value>>),
    Thinking(Vec<String>, String),
    /// A tool's kind, name and input, and how many characters of that come in each piece.
    Tool(&'static str, String, Value, Vec<usize>),
    /// A block that comes in one piece.
    Whole(Value),
    /// A block of a kind that nobody knows, whose member comes in pieces.
    Unknown(Vec<String>),
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z \"\\\\{}]{0,6}",
        Just("é\u{2028}\u{1f600}".to_owned()),
        Just("\n\t\u{1}".to_owned()),
        Just(String::new()),
    ]
}

fn object() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1e6..1e6).prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    let any = leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((text(), inner), 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    });
    prop::collection::vec((text(), any), 0..4)
        .prop_map(|members| Value::Object(members.into_iter().collect()))
}

fn block() -> impl Strategy<Value = Block> {
    let pieces = || prop::collection::vec(text(), 0..4);
    let kinds = vec!["tool_use", "server_tool_use", "mcp_tool_use"];
    prop_oneof![
        (
            pieces(),
            prop::option::of(prop::collection::vec(object(), 0..3))
        )
            .prop_map(|(pieces, citations)| Block::Text(pieces, citations)),
        (pieces(), "[A-Za-z0-9+/]{0,8}={0,2}")
            .prop_map(|(pieces, signature)| Block::Thinking(pieces, signature)),
        (
            prop::sample::select(kinds),
            text(),
            object(),
            prop::collection::vec(0usize..7, 0..6)
        )
            .prop_map(|(kind, name, input, cuts)| Block::Tool(kind, name, input, cuts)),
        object().prop_map(|content| Block::Whole(
            json!({"type": "web_search_tool_result", "tool_use_id": "s", "content": [content]})
        )),
        text().prop_map(|data| Block::Whole(json!({"type": "redacted_thinking", "data": data}))),
        pieces().prop_map(Block::Unknown),
    ]
}

fn generated() -> impl Strategy<Value = Generated> {
    (
        prop::collection::vec(block(), 0..5),
        prop::sample::select(vec![
            "end_turn",
            "max_tokens",
            "tool_use",
            "refusal",
            "pause_turn",
        ]),
        prop::option::of(object()),
        any::<[u32; 4]>(),
    )
        .prop_map(|(blocks, stop_reason, container, counts)| Generated {
            blocks,
            stop_reason,
            container,
            counts,
        })
}

impl Block {
    fn whole(&self) -> Value {
        match self {
            Self::Text(pieces, None) => json!({"type": "text", "text": pieces.concat()}),
            Self::Text(pieces, Some(citations)) => {
                json!({"type": "text", "text": pieces.concat(), "citations": citations})
            }
            Self::Thinking(pieces, signature) => {
                json!({"type": "thinking", "thinking": pieces.concat(), "signature": signature})
            }
            Self::Tool(kind, name, input, _) => {
                json!({"type": kind, "id": "t", "name": name, "input": input})
            }
            Self::Whole(block) => block.clone(),
            Self::Unknown(pieces) => json!({"type": "later", "said": pieces.concat()}),
        }
    }

    /// What the block begins with, and its deltas.
    fn pieces(&self) -> (Value, Vec<Value>) {
        match self {
            Self::Text(pieces, citations) => {
                let text = |text: &String| json!({"type": "text_delta", "text": text});
                let cite = |it: &Value| json!({"type": "citations_delta", "citation": it});
                let mut start = json!({"type": "text", "text": ""});
                if citations.is_some() {
                    start["citations"] = json!([]);
                }
                let citations = citations.iter().flatten().map(cite);
                (start, citations.chain(pieces.iter().map(text)).collect())
            }
            Self::Thinking(pieces, signature) => {
                let think = |text: &String| json!({"type": "thinking_delta", "thinking": text});
                let sign = json!({"type": "signature_delta", "signature": signature});
                let start = json!({"type": "thinking", "thinking": "", "signature": ""});
                (start, pieces.iter().map(think).chain([sign]).collect())
            }
            Self::Tool(kind, name, input, cuts) => {
                let start = json!({"type": kind, "id": "t", "name": name, "input": {}});
                // The model writes it in its own way.
                let spelt = serde_json::to_string_pretty(input).expect("JSON");
                let spelt = spelt.replace('é', "\\u00e9");
                let mut rest = spelt.chars();
                let mut pieces: Vec<String> = cuts
                    .iter()
                    .map(|cut| rest.by_ref().take(*cut).collect())
                    .collect();
                pieces.push(rest.collect());
                let delta = |text| json!({"type": "input_json_delta", "partial_json": text});
                (start, pieces.into_iter().map(delta).collect())
            }
            Self::Whole(block) => (block.clone(), Vec::new()),
            Self::Unknown(pieces) => {
                let delta = |text: &String| json!({"type": "later_delta", "said": text});
                let start = json!({"type": "later", "said": ""});
                (start, pieces.iter().map(delta).collect())
            }
        }
    }
}

impl Generated {
    fn whole(&self) -> Value {
        let [input, cached, written, output] = self.counts;
        let content: Vec<_> = self.blocks.iter().map(Block::whole).collect();
        let mut message = json!({
            "id": "msg_1", "type": "message", "role": "assistant", "model": "m",
            "content": content, "stop_reason": self.stop_reason, "stop_sequence": null,
            "usage": {
                "input_tokens": input, "cache_read_input_tokens": cached,
                "cache_creation_input_tokens": written, "output_tokens": output,
                "cache_creation": {"ephemeral_5m_input_tokens": written},
            },
        });
        if let Some(container) = &self.container {
            message["container"] = container.clone();
        }
        message
    }

    /// The events of the stream; `order` says of which block the next one is.
    fn streamed(&self, order: &[usize]) -> String {
        let mut message = self.whole();
        message["content"] = json!([]);
        message["stop_reason"] = Value::Null;
        message["usage"]["output_tokens"] = 1.into();
        let mut events = vec![json!({"type": "message_start", "message": message})];
        let mut delta = Map::new();
        delta.insert("stop_reason".to_owned(), self.stop_reason.into());
        if let Some(container) = &self.container {
            events[0]["message"]["container"] = Value::Null;
            delta.insert("container".to_owned(), container.clone());
        }
        let mut queues: Vec<_> = self.blocks.iter().zip(0..).map(events_of).collect();
        let count = queues.len().max(1);
        for next in order {
            let event = queues.get_mut(next % count).and_then(Iterator::next);
            events.push(event.unwrap_or_else(|| json!({"type": "ping"})));
        }
        events.extend(queues.into_iter().flatten());
        let usage = json!({"output_tokens": self.counts[3], "input_tokens": null});
        events.push(json!({"type": "message_delta", "delta": delta, "usage": usage}));
        events.push(json!({"type": "message_stop"}));
        let event = |event: &Value| {
            format!(
                "event: {}\ndata: {event}\n\n",
                event["type"].as_str().expect("a type")
            )
        };
        events.iter().map(event).collect()
    }
}

fn events_of((block, index): (&Block, usize)) -> std::vec::IntoIter<Value> {
    let (start, deltas) = block.pieces();
    let mut events =
        vec![json!({"type": "content_block_start", "index": index, "content_block": start})];
    let delta = |delta| json!({"type": "content_block_delta", "index": index, "delta": delta});
    events.extend(deltas.into_iter().map(delta));
    events.push(json!({"type": "content_block_stop", "index": index}));
    events.into_iter()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn streaming_equals_not_streaming(
        generated in generated(),
        order in prop::collection::vec(0usize..5, 0..30),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let call = call(Endpoint::Messages, &b"{\"messages\":[]}"[..]);
        let body = generated.whole().to_string();
        let whole = record_of(&call, 200, false, &[body.as_bytes()], End::Eof);
        let stream = generated.streamed(&order);
        let streamed = record_of(&call, 200, true, &cut_at(&stream, &cuts), End::Eof);
        prop_assert_eq!(told(&streamed), told(&whole));
    }

    /// A client that sends a reply back, as it came or written anew, sends the reply's message.
    #[test]
    fn an_echo_is_the_reply(generated in generated()) {
        let reply = generated.whole();
        let body = serde_json::to_string_pretty(&reply).expect("JSON");
        let request = json!({"messages": [{"role": "assistant", "content": reply["content"]}]});
        let call = call(Endpoint::Messages, request.to_string());
        let record = record_of(&call, 200, false, &[body.as_bytes()], End::Eof);
        let messages = value(&record.messages);
        prop_assert_eq!(&messages[0], &value(&record.response_message));
    }
}
