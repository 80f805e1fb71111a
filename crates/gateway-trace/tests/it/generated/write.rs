//! A generated reply in both of its forms.

use gateway_trace::Endpoint;
use serde_json::{Map, Value, json};

use super::{Choice, Generated, Token, Writing};

/// The member of a detail that holds its text.
fn key(kind: &str) -> &'static str {
    match kind {
        "reasoning.text" => "text",
        "reasoning.summary" => "summary",
        _ => "data",
    }
}

fn thought(text: &str) -> Value {
    json!({"type": "thinking", "thinking": [{"type": "text", "text": text}]})
}

impl Choice {
    fn message(&self) -> Map<String, Value> {
        let text: String = self
            .tokens
            .iter()
            .map(|token| token.text.as_str())
            .collect();
        let content = if self.thinking.is_empty() {
            Value::from(text)
        } else {
            let said = (!text.is_empty()).then(|| json!({"type": "text", "text": text}));
            [thought(&self.thinking.concat())]
                .into_iter()
                .chain(said)
                .collect()
        };
        let mut message = json!({"role": "assistant", "content": content});
        for (name, pieces) in &self.texts {
            message[*name] = pieces.concat().into();
        }
        if !self.tools.is_empty() {
            let tool = |(custom, id, name, pieces): &(bool, String, String, Vec<String>)| {
                match custom {
                    true => {
                        json!({"id": id, "type": "custom", "custom": {"name": name, "input": pieces.concat()}})
                    }
                    false => {
                        json!({"id": id, "type": "function", "function": {"name": name, "arguments": pieces.concat()}})
                    }
                }
            };
            message["tool_calls"] = self.tools.iter().map(tool).collect();
        }
        if let Some((name, pieces)) = &self.function_call {
            message["function_call"] = json!({"name": name, "arguments": pieces.concat()});
        }
        if let Some(pieces) = &self.audio {
            let (data, transcript): (Vec<_>, Vec<_>) = pieces.iter().cloned().unzip();
            message["audio"] = json!({"id": "audio_1", "data": data.concat(), "transcript": transcript.concat(), "expires_at": 1_795_475_231});
        }
        if !self.annotations.is_empty() {
            message["annotations"] = self.annotations.iter().map(|url| annotation(url)).collect();
        }
        if !self.details.is_empty() {
            let detail = |(index, (kind, pieces)): (usize, &(&str, Vec<String>))| json!({"type": kind, key(kind): pieces.concat(), "format": "f", "index": index});
            message["reasoning_details"] = self.details.iter().enumerate().map(detail).collect();
        }
        message.as_object().expect("an object").clone()
    }

    /// The deltas of the message but for its tokens: queues that may come in any order. Tool calls
    /// that have one index come one after the other.
    fn deltas(&self, call_index: Option<&Value>) -> Vec<Vec<Value>> {
        let mut queues: Vec<Vec<Value>> = Vec::new();
        let mut one_by_one = Vec::new();
        for (name, pieces) in &self.texts {
            queues.push(pieces.iter().map(|piece| json!({*name: piece})).collect());
        }
        for (index, (custom, id, name, pieces)) in self.tools.iter().enumerate() {
            let (kind, member) = if *custom {
                ("custom", "input")
            } else {
                ("function", "arguments")
            };
            let index = call_index.cloned().unwrap_or(index.into());
            let piece = |(position, piece)| match position {
                0 => {
                    json!({"index": index, "id": id, "type": kind, kind: {"name": name, member: piece}})
                }
                _ => json!({"index": index, kind: {member: piece}}),
            };
            let pieces = pieces.iter().enumerate().map(piece);
            let pieces = pieces.map(|piece| json!({"tool_calls": [piece], "content": null}));
            if call_index.is_some() {
                one_by_one.extend(pieces);
            } else {
                queues.push(pieces.collect());
            }
        }
        queues.push(one_by_one);
        if let Some((name, pieces)) = &self.function_call {
            let piece = |(position, piece)| match position {
                0 => json!({"name": name, "arguments": piece}),
                _ => json!({"arguments": piece}),
            };
            let pieces = pieces.iter().enumerate().map(piece);
            queues.push(
                pieces
                    .map(|piece| json!({"function_call": piece}))
                    .collect(),
            );
        }
        if let Some(pieces) = &self.audio {
            let piece = |(data, transcript)| json!({"audio": {"id": "audio_1", "data": data, "transcript": transcript}});
            let mut audio: Vec<_> = pieces
                .iter()
                .map(|(data, transcript)| piece((data, transcript)))
                .collect();
            audio.push(json!({"audio": {"expires_at": 1_795_475_231}}));
            queues.push(audio);
        }
        queues.push(
            self.annotations
                .iter()
                .map(|url| json!({"annotations": [annotation(url)]}))
                .collect(),
        );
        let detail = |(index, (kind, pieces)): (usize, &(&'static str, Vec<String>))| {
            // What is encrypted comes in one piece.
            let whole = [pieces.concat()];
            let pieces = if *kind == "reasoning.encrypted" {
                &whole[..]
            } else {
                pieces
            };
            let piece = |piece| json!({"reasoning_details": [{"type": kind, key(kind): piece, "format": "f", "index": index}]});
            pieces.iter().map(piece).collect::<Vec<_>>()
        };
        queues.push(self.details.iter().enumerate().flat_map(detail).collect());
        queues
    }
}

fn annotation(url: &str) -> Value {
    json!({"type": "url_citation", "url_citation": {"url": url, "start_index": 0}})
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

    /// The tokens' ids and log probabilities, as members of a choice.
    fn token_members(&self, tokens: &[Token], into: &mut Map<String, Value>) {
        if self.ids {
            into.insert(
                "token_ids".to_owned(),
                tokens.iter().map(|token| token.id).collect(),
            );
        }
        if self.logprobs && !tokens.is_empty() {
            let logprobs = if self.is_chat() {
                let one = |(text, logprob): &(String, f64)| json!({"token": text, "logprob": logprob, "bytes": text.as_bytes()});
                let entry = |token: &Token| {
                    let top: Vec<_> = token.alternatives.iter().map(one).collect();
                    json!({"token": token.text, "logprob": token.logprob, "bytes": null, "top_logprobs": top})
                };
                json!({"content": tokens.iter().map(entry).collect::<Vec<_>>(), "refusal": null})
            } else {
                json!({"token_logprobs": tokens.iter().map(|token| token.logprob).collect::<Vec<_>>()})
            };
            into.insert("logprobs".to_owned(), logprobs);
        }
    }

    pub(super) fn whole(&self) -> String {
        let mut root = self.root(if self.is_chat() {
            "chat.completion"
        } else {
            "text_completion"
        });
        let mut choices = Vec::new();
        for (index, choice) in self.choices.iter().enumerate() {
            let mut into = Map::new();
            into.insert("index".to_owned(), index.into());
            let mut message = choice.message();
            if self.is_chat() {
                let absent = [
                    "refusal",
                    "annotations",
                    "audio",
                    "function_call",
                    "tool_calls",
                    "reasoning",
                ];
                for name in absent.into_iter().filter(|_| self.nulls) {
                    message.entry(name).or_insert(Value::Null);
                }
                into.insert("message".to_owned(), message.into());
            } else {
                let text: String = choice
                    .tokens
                    .iter()
                    .map(|token| token.text.as_str())
                    .collect();
                into.insert("text".to_owned(), text.into());
                if self.ids {
                    into.insert("prompt_token_ids".to_owned(), self.prompt.clone().into());
                }
            }
            if self.nulls {
                into.insert("logprobs".to_owned(), Value::Null);
                into.insert("stop_reason".to_owned(), Value::Null);
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
        if self.nulls {
            root.insert("system_fingerprint".to_owned(), Value::Null);
            root.insert("prompt_logprobs".to_owned(), Value::Null);
        }
        Value::Object(root).to_string()
    }

    /// The chunks of one choice, each a choice object: the first, the last, and queues between
    /// them that may come in any order.
    fn chunks_of(
        &self,
        index: usize,
        choice: &Choice,
        writing: &Writing,
    ) -> (Value, Vec<Vec<Value>>, Value) {
        let chat = self.is_chat();
        let mut first = match chat {
            true => json!({"delta": {"role": "assistant", "content": ""}, "logprobs": null}),
            false => json!({"text": ""}),
        };
        if self.ids && !chat {
            first["prompt_token_ids"] = self.prompt.clone().into();
        }
        let mut said = Vec::new();
        for piece in choice.thinking.iter().filter(|_| chat) {
            said.push(json!({"delta": {"content": [thought(piece)]}}));
        }
        let mut tokens = choice.tokens.as_slice();
        for count in choice.grouping.iter().copied().chain([usize::MAX]) {
            let (group, rest) = tokens.split_at(count.min(tokens.len()));
            tokens = rest;
            let content: String = group.iter().map(|token| token.text.as_str()).collect();
            let mut chunk = Map::new();
            match (chat, content.is_empty()) {
                (true, true) => chunk.insert("delta".to_owned(), json!({})),
                (true, false) => chunk.insert("delta".to_owned(), json!({"content": content})),
                (false, _) => chunk.insert("text".to_owned(), content.into()),
            };
            self.token_members(group, &mut chunk);
            said.push(Value::Object(chunk));
        }
        let mut queues = vec![said];
        for deltas in choice
            .deltas(writing.call_index.as_ref())
            .into_iter()
            .filter(|_| chat)
        {
            queues.push(
                deltas
                    .into_iter()
                    .map(|delta| json!({"delta": delta, "finish_reason": null}))
                    .collect(),
            );
        }
        let mut last = json!({"finish_reason": choice.finish_reason});
        last[if chat { "delta" } else { "text" }] = if chat { json!({}) } else { "".into() };
        for chunk in [&mut first, &mut last]
            .into_iter()
            .chain(queues.iter_mut().flatten())
        {
            chunk["index"] = index.into();
        }
        (first, queues, last)
    }

    /// All chunks, in the order in which they are sent.
    fn chunks(&self, writing: &Writing) -> Vec<Value> {
        let (mut chunks, mut queues, mut lasts) = (Vec::new(), Vec::new(), Vec::new());
        for (index, choice) in self.choices.iter().enumerate() {
            let (first, between, last) = self.chunks_of(index, choice, writing);
            chunks.push(first);
            queues.extend(between.into_iter().map(Vec::into_iter));
            lasts.push(last);
        }
        for next in &writing.order {
            chunks.extend(next.get_mut(&mut queues).next());
        }
        chunks.extend(queues.into_iter().flatten());
        chunks.extend(lasts);
        chunks
    }

    pub(super) fn streamed(&self, writing: &Writing) -> String {
        let mut events: Vec<Vec<Value>> = Vec::new();
        let mut together = writing.together.iter();
        for chunk in self.chunks(writing) {
            match events.last_mut() {
                Some(event)
                    if together.next() == Some(&true)
                        && event.iter().all(|other| other["index"] != chunk["index"]) =>
                {
                    event.push(chunk);
                }
                _ => events.push(vec![chunk]),
            }
        }
        let object = if self.is_chat() {
            "chat.completion.chunk"
        } else {
            "text_completion"
        };
        let mut lines = Vec::new();
        let mut push = |choices: Vec<Value>, usage: Option<Value>| {
            let mut root = self.root(object);
            root.insert("choices".to_owned(), choices.into());
            if lines.is_empty() && self.ids && self.is_chat() {
                root.insert("prompt_token_ids".to_owned(), self.prompt.clone().into());
            }
            root.extend(usage.map(|usage| ("usage".to_owned(), usage)));
            lines.push(format!("{}{}", writing.field, Value::Object(root)));
        };
        for (position, event) in events.into_iter().enumerate() {
            // Some servers count in each chunk, most say null or nothing.
            let usage = [
                None,
                Some(Value::Null),
                Some(json!({"completion_tokens": position})),
            ];
            push(event, usage[position % 3].clone().filter(|_| self.usage));
        }
        if self.usage {
            push(vec![], Some(self.usage()));
        }
        let noise = writing.noise.iter();
        for (place, noise) in noise.filter(|(_, noise)| self.is_chat() || !noise.contains("delta"))
        {
            // The first event names the members that stand before all others.
            lines.insert(place.index(lines.len()) + 1, (*noise).to_owned());
        }
        lines.push("data: [DONE]".to_owned());
        let end = writing.line_end;
        lines
            .iter()
            .map(|line| format!("{line}{end}{end}"))
            .collect()
    }
}
