//! Random replies, sent whole and streamed, cut at random: they must tell the same.

use gateway_trace::{Call, End, Endpoint, ReplyHead, TraceRecord};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::replay::{call, checked_record, reply};

/// A reply before it is written in one form or the other.
#[derive(Debug, Clone)]
struct Generated {
    endpoint: Endpoint,
    choices: Vec<Choice>,
    prompt: Vec<u32>,
    ids: bool,
    logprobs: bool,
    usage: bool,
}

#[derive(Debug, Clone)]
struct Choice {
    /// The text, the id and the log probability of each token.
    tokens: Vec<(String, u32, Option<f64>)>,
    /// How many tokens come in each chunk; the rest comes in one.
    grouping: Vec<usize>,
    reasoning: Vec<String>,
    /// A member that nobody knows.
    unknown: Vec<String>,
    /// The id, the name and the arguments of each tool call, in pieces.
    tools: Vec<(String, String, Vec<String>)>,
    finish_reason: &'static str,
}

pub(crate) fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z \"\\\\{}]{0,6}",
        Just("é\u{2028}\u{1f600}".to_owned()),
        Just("\n\t\u{1}".to_owned()),
        Just(String::new()),
    ]
}

fn choice() -> impl Strategy<Value = Choice> {
    let logprob = prop_oneof![9 => (-20.0..0.0).prop_map(Some), 1 => Just(None)];
    let pieces = || prop::collection::vec(text(), 0..4);
    (
        prop::collection::vec((text(), 0u32..200_000, logprob), 0..8),
        prop::collection::vec(1usize..4, 0..6),
        pieces(),
        pieces(),
        prop::collection::vec(("[a-z0-9]{4}", "[a-z_]{1,8}", pieces()), 0..3),
        prop::sample::select(vec!["stop", "length", "tool_calls", "content_filter"]),
    )
        .prop_map(
            |(tokens, grouping, reasoning, unknown, tools, finish_reason)| Choice {
                tokens,
                grouping,
                reasoning,
                unknown,
                tools,
                finish_reason,
            },
        )
}

fn generated() -> impl Strategy<Value = Generated> {
    (
        prop::sample::select(vec![Endpoint::ChatCompletions, Endpoint::Completions]),
        prop::collection::vec(choice(), 1..4),
        prop::collection::vec(0u32..200_000, 1..6),
        any::<[bool; 3]>(),
    )
        .prop_map(
            |(endpoint, choices, prompt, [ids, logprobs, usage])| Generated {
                endpoint,
                choices,
                prompt,
                ids,
                logprobs,
                usage,
            },
        )
}

impl Generated {
    fn is_chat(&self) -> bool {
        self.endpoint == Endpoint::ChatCompletions
    }

    fn root(&self, object: &str) -> Map<String, Value> {
        let root =
            json!({"id": "cmpl-1", "object": object, "created": 1_795_475_231, "model": "m"});
        root.as_object().expect("an object").clone()
    }

    fn usage(&self) -> Value {
        let completion: usize = self.choices.iter().map(|choice| choice.tokens.len()).sum();
        json!({"prompt_tokens": self.prompt.len(), "completion_tokens": completion})
    }

    /// The tokens' text, ids and log probabilities, as members of a choice.
    fn token_members(&self, tokens: &[(String, u32, Option<f64>)], into: &mut Map<String, Value>) {
        if self.ids {
            into.insert(
                "token_ids".to_owned(),
                tokens.iter().map(|token| token.1).collect(),
            );
        }
        if self.logprobs && !tokens.is_empty() {
            let logprobs = if self.is_chat() {
                let entry = |token: &(String, u32, Option<f64>)| json!({"token": token.0, "logprob": token.2});
                json!({"content": tokens.iter().map(entry).collect::<Vec<_>>()})
            } else {
                json!({"token_logprobs": tokens.iter().map(|token| token.2).collect::<Vec<_>>()})
            };
            into.insert("logprobs".to_owned(), logprobs);
        }
    }

    fn whole(&self) -> String {
        let mut root = self.root(if self.is_chat() {
            "chat.completion"
        } else {
            "text_completion"
        });
        let mut choices = Vec::new();
        for (index, choice) in self.choices.iter().enumerate() {
            let mut into = Map::new();
            into.insert("index".to_owned(), index.into());
            let content: String = choice.tokens.iter().map(|token| token.0.as_str()).collect();
            if self.is_chat() {
                let mut message = json!({"role": "assistant", "content": content});
                for (name, pieces) in [
                    ("reasoning", &choice.reasoning),
                    ("unknown", &choice.unknown),
                ] {
                    if !pieces.is_empty() {
                        message[name] = pieces.concat().into();
                    }
                }
                if !choice.tools.is_empty() {
                    let tool = |(id, name, arguments): &(String, String, Vec<String>)| json!({"id": id, "type": "function", "function": {"name": name, "arguments": arguments.concat()}});
                    message["tool_calls"] = choice.tools.iter().map(tool).collect();
                }
                into.insert("message".to_owned(), message);
            } else {
                into.insert("text".to_owned(), content.into());
                if self.ids {
                    into.insert("prompt_token_ids".to_owned(), self.prompt.clone().into());
                }
            }
            self.token_members(&choice.tokens, &mut into);
            into.insert("finish_reason".to_owned(), choice.finish_reason.into());
            choices.push(Value::Object(into));
        }
        root.insert("choices".to_owned(), choices.into());
        if self.ids && self.is_chat() {
            root.insert("prompt_token_ids".to_owned(), self.prompt.clone().into());
        }
        if self.usage {
            root.insert("usage".to_owned(), self.usage());
        }
        Value::Object(root).to_string()
    }

    /// The chunks of one choice, each a choice object.
    fn chunks_of(&self, index: usize, choice: &Choice) -> Vec<Value> {
        let mut chunks = Vec::new();
        let chat = self.is_chat();
        if chat {
            chunks.push(json!({"delta": {"role": "assistant", "content": ""}, "logprobs": null}));
            for (name, pieces) in [
                ("reasoning", &choice.reasoning),
                ("unknown", &choice.unknown),
            ] {
                chunks.extend(
                    pieces
                        .iter()
                        .map(|piece| json!({"delta": {name: piece, "content": null}})),
                );
            }
        }
        let mut tokens = choice.tokens.as_slice();
        for count in choice.grouping.iter().copied().chain([usize::MAX]) {
            let (group, rest) = tokens.split_at(count.min(tokens.len()));
            tokens = rest;
            let content: String = group.iter().map(|token| token.0.as_str()).collect();
            let mut chunk = Map::new();
            match (chat, content.is_empty()) {
                (true, true) => chunk.insert("delta".to_owned(), json!({})),
                (true, false) => chunk.insert("delta".to_owned(), json!({"content": content})),
                (false, _) => chunk.insert("text".to_owned(), content.into()),
            };
            self.token_members(group, &mut chunk);
            chunks.push(Value::Object(chunk));
        }
        for (position, (id, name, arguments)) in choice.tools.iter().enumerate().filter(|_| chat) {
            let call = json!({"index": position, "id": id, "type": "function", "function": {"name": name}});
            chunks.push(json!({"delta": {"tool_calls": [call]}}));
            for piece in arguments {
                let call = json!({"index": position, "function": {"arguments": piece}});
                chunks.push(json!({"delta": {"tool_calls": [call]}, "finish_reason": null}));
            }
        }
        for chunk in &mut chunks {
            chunk["index"] = index.into();
        }
        if self.ids && !chat {
            chunks[0]["prompt_token_ids"] = self.prompt.clone().into();
        }
        chunks.last_mut().expect("a chunk")["finish_reason"] = choice.finish_reason.into();
        chunks
    }

    /// The events of the stream; `order` says which choice's chunk is next.
    fn streamed(&self, order: &[usize]) -> String {
        let mut queues: Vec<_> = (0..)
            .zip(&self.choices)
            .map(|(index, choice)| self.chunks_of(index, choice).into_iter())
            .collect();
        let object = if self.is_chat() {
            "chat.completion.chunk"
        } else {
            "text_completion"
        };
        let mut stream = String::new();
        let mut first = true;
        let mut push = |choices: Vec<Value>, usage: Option<Value>| {
            let mut root = self.root(object);
            root.insert("choices".to_owned(), choices.into());
            if std::mem::take(&mut first) && self.ids && self.is_chat() {
                root.insert("prompt_token_ids".to_owned(), self.prompt.clone().into());
            }
            if let Some(usage) = usage {
                root.insert("usage".to_owned(), usage);
            }
            stream.push_str(&format!("data: {}\n\n", Value::Object(root)));
        };
        let count = queues.len();
        for next in order.iter().map(|next| next % count) {
            if let Some(chunk) = queues[next].next() {
                push(vec![chunk], self.usage.then_some(Value::Null));
            }
        }
        for queue in queues {
            queue.for_each(|chunk| push(vec![chunk], None));
        }
        if self.usage {
            push(vec![], Some(self.usage()));
        }
        stream.push_str("data: [DONE]\n\n");
        stream
    }
}

/// What of a record must be the same, with the one reply in its own dialect.
fn told(record: &TraceRecord) -> Value {
    let mut all: Value = serde_json::from_str(&record.to_json()).expect("a record is JSON");
    let members = all.as_object_mut().expect("a record is an object");
    let whole = members.remove("raw_response").filter(|raw| !raw.is_null());
    let assembled = members
        .remove("assembled_response")
        .filter(|assembled| !assembled.is_null());
    members.remove("event_ms");
    let mut reply = whole.or(assembled).expect("a reply");
    for choice in reply["choices"].as_array_mut().expect("choices") {
        // A stream says that there are no log probabilities (yet), a whole reply is silent.
        let choice = choice.as_object_mut().expect("a choice");
        choice.retain(|name, value| name != "logprobs" || !value.is_null());
    }
    all["reply"] = reply;
    all
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
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn streaming_equals_not_streaming(
        generated in generated(),
        order in prop::collection::vec(0usize..4, 0..40),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let call = call(generated.endpoint, &b"{\"messages\":[]}"[..]);
        let whole = record_of(&call, false, &[generated.whole().as_bytes()]);
        let stream = generated.streamed(&order);
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        cuts.sort_unstable();
        let mut chunks = Vec::new();
        let mut from = 0;
        for cut in cuts.into_iter().chain([stream.len()]) {
            chunks.push(&stream.as_bytes()[from..cut]);
            from = cut;
        }
        let streamed = record_of(&call, true, &chunks);
        prop_assert_eq!(told(&streamed), told(&whole));
    }
}
