//! How a random response is written, whole and as events.

use serde_json::{Value, json};

use super::{Generated, Item, Part, Pieces};

/// The member that a piece of text goes into, and the name of its events.
struct Home {
    list: Option<&'static str>,
    member: &'static str,
    event: &'static str,
}

/// One text of an item, as it is streamed.
struct Streamed {
    home: Home,
    index: usize,
    /// The part at its end, where it is one of a part.
    part: Value,
    pieces: Vec<(String, Vec<Value>)>,
    annotations: Vec<Value>,
}

impl Part {
    fn logprobs(&self) -> Vec<Value> {
        match self {
            Self::Text(pieces, true, _) => pieces
                .iter()
                .map(|(token, logprob)| json!({"token": token, "logprob": logprob, "bytes": null}))
                .collect(),
            _ => Vec::new(),
        }
    }

    fn whole(&self) -> Value {
        match self {
            Self::Text(pieces, _, annotations) => {
                let text: String = pieces.iter().map(|(piece, _)| piece.as_str()).collect();
                let annotation = |n: &u8| json!({"type": "url_citation", "start_index": n});
                let annotations: Vec<_> = annotations.iter().map(annotation).collect();
                let logprobs = Some(self.logprobs()).filter(|all| !all.is_empty());
                json!({"type": "output_text", "text": text, "annotations": annotations, "logprobs": logprobs})
            }
            Self::Refusal(pieces) => json!({"type": "refusal", "refusal": pieces.concat()}),
        }
    }

    fn streamed(&self, index: usize) -> Streamed {
        let part = self.whole();
        let (home, pieces) = match self {
            Self::Text(pieces, _, _) => {
                let logprobs = self.logprobs();
                let of = |(n, (piece, _)): (usize, &(String, Option<f64>))| {
                    (
                        piece.clone(),
                        logprobs.get(n).cloned().into_iter().collect(),
                    )
                };
                let home = Home {
                    list: Some("content"),
                    member: "text",
                    event: "output_text",
                };
                (home, pieces.iter().enumerate().map(of).collect())
            }
            Self::Refusal(pieces) => {
                let home = Home {
                    list: Some("content"),
                    member: "refusal",
                    event: "refusal",
                };
                (home, without_logprobs(pieces))
            }
        };
        let annotations = part["annotations"].as_array().cloned().unwrap_or_default();
        Streamed {
            home,
            index,
            part,
            pieces,
            annotations,
        }
    }
}

fn without_logprobs(pieces: &Pieces) -> Vec<(String, Vec<Value>)> {
    pieces
        .iter()
        .map(|piece| (piece.clone(), Vec::new()))
        .collect()
}

impl Item {
    fn whole(&self, index: usize) -> Value {
        let id = format!("it_{index}");
        let texts = |kind: &str, parts: &[Pieces]| -> Vec<Value> {
            let part = |part: &Pieces| json!({"type": kind, "text": part.concat()});
            parts.iter().map(part).collect()
        };
        match self {
            Self::Message(parts) => {
                let content: Vec<_> = parts.iter().map(Part::whole).collect();
                json!({"id": id, "type": "message", "role": "assistant", "status": "completed", "content": content})
            }
            Self::Reasoning(summary, content) => json!({
                "id": id, "type": "reasoning", "encrypted_content": "gAAA",
                "summary": texts("summary_text", summary), "content": texts("reasoning_text", content),
            }),
            Self::Function(pieces) => json!({
                "id": id, "type": "function_call", "call_id": format!("call_{index}"), "name": "f",
                "arguments": pieces.concat(), "status": "completed",
            }),
            Self::Custom(pieces) => json!({
                "id": id, "type": "custom_tool_call", "call_id": format!("call_{index}"), "name": "c",
                "input": pieces.concat(),
            }),
            Self::Mcp(pieces) => json!({
                "id": id, "type": "mcp_call", "name": "m", "arguments": pieces.concat(), "output": "o",
            }),
            Self::Code(pieces) => json!({
                "id": id, "type": "code_interpreter_call", "code": pieces.concat(), "outputs": [],
            }),
            Self::Later(text) => json!({"id": id, "type": "later", "text": text, "n": [1.5, null]}),
        }
    }

    /// The item at its begin.
    fn added(&self, index: usize) -> Value {
        let mut item = self.whole(index);
        let members = item.as_object_mut().expect("an object");
        for (name, empty) in [
            ("content", json!([])),
            ("summary", json!([])),
            ("arguments", json!("")),
            ("input", json!("")),
            ("code", Value::Null),
            ("status", json!("in_progress")),
        ] {
            if let Some(member) = members.get_mut(name) {
                *member = empty;
            }
        }
        item
    }

    fn streamed(&self) -> Vec<Streamed> {
        let alone = |member, event, pieces: &Pieces| {
            let home = Home {
                list: None,
                member,
                event,
            };
            let pieces = without_logprobs(pieces);
            vec![Streamed {
                home,
                index: 0,
                part: Value::Null,
                pieces,
                annotations: Vec::new(),
            }]
        };
        let texts = |list, kind: &str, event, parts: &[Pieces]| -> Vec<Streamed> {
            let of = |(index, pieces): (usize, &Pieces)| Streamed {
                home: Home {
                    list: Some(list),
                    member: "text",
                    event,
                },
                index,
                part: json!({"type": kind, "text": pieces.concat()}),
                pieces: without_logprobs(pieces),
                annotations: Vec::new(),
            };
            parts.iter().enumerate().map(of).collect()
        };
        match self {
            Self::Message(parts) => {
                let of = |(index, part): (usize, &Part)| part.streamed(index);
                parts.iter().enumerate().map(of).collect()
            }
            Self::Reasoning(summary, content) => {
                let mut all = texts("summary", "summary_text", "reasoning_summary_text", summary);
                all.extend(texts(
                    "content",
                    "reasoning_text",
                    "reasoning_text",
                    content,
                ));
                all
            }
            Self::Function(pieces) => alone("arguments", "function_call_arguments", pieces),
            Self::Custom(pieces) => alone("input", "custom_tool_call_input", pieces),
            Self::Mcp(pieces) => alone("arguments", "mcp_call_arguments", pieces),
            Self::Code(pieces) => alone("code", "code_interpreter_call_code", pieces),
            Self::Later(_) => Vec::new(),
        }
    }
}

impl Generated {
    fn response(&self, output: &[Value]) -> Value {
        let details = (self.status == "incomplete").then(|| json!({"reason": "max_output_tokens"}));
        let usage = self.usage.then(|| {
            json!({
                "input_tokens": 7, "input_tokens_details": {"cached_tokens": 3},
                "output_tokens": 5, "output_tokens_details": {"reasoning_tokens": 2},
            })
        });
        json!({
            "id": "resp_1", "object": "response", "created_at": 1_795_475_231, "model": "m",
            "error": null, "status": self.status, "incomplete_details": details, "usage": usage,
            "output": output, "temperature": 1.0,
        })
    }

    pub(super) fn output(&self) -> Vec<Value> {
        let whole = |(index, item): (usize, &Item)| item.whole(index);
        self.items.iter().enumerate().map(whole).collect()
    }

    pub(super) fn whole(&self) -> String {
        self.response(&self.output()).to_string()
    }

    /// A value as an event gives it at the end of what it is about.
    pub(super) fn at_its_end(&self, mut value: Value) -> Value {
        fn forget(value: &mut Value) {
            match value {
                Value::Object(members) => {
                    if let Some(logprobs) = members.get_mut("logprobs") {
                        *logprobs = Value::Null;
                    }
                    members.values_mut().for_each(forget);
                }
                Value::Array(elements) => elements.iter_mut().for_each(forget),
                _ => {}
            }
        }
        if self.vllm {
            forget(&mut value);
        }
        value
    }

    /// The events of one item, each with its name.
    fn events_of(&self, index: usize, item: &Item) -> Vec<(String, Value)> {
        let mut events = vec![(
            "output_item.added".to_owned(),
            json!({"item": item.added(index)}),
        )];
        for text in item.streamed() {
            let Streamed {
                home,
                index,
                part,
                pieces,
                annotations,
            } = text;
            let place = match home.list {
                Some("summary") => json!({"summary_index": index}),
                Some(_) => json!({"content_index": index}),
                None => json!({}),
            };
            let part_event = match home.list {
                Some("summary") => Some("reasoning_summary_part"),
                Some(_) if self.vllm && home.event == "reasoning_text" => Some("reasoning_part"),
                Some(_) => Some("content_part"),
                None => None,
            };
            let mut push = |name: String, members: Value| {
                let mut event = place.clone();
                let into = event.as_object_mut().expect("an object");
                into.extend(members.as_object().expect("an object").clone());
                events.push((name, event));
            };
            if let Some(name) = part_event {
                let mut begin = part.clone();
                begin[home.member] = json!("");
                for list in ["logprobs", "annotations"] {
                    if begin.get(list).is_some() {
                        begin[list] = json!([]);
                    }
                }
                push(format!("{name}.added"), json!({"part": begin}));
            }
            for (piece, logprobs) in &pieces {
                let delta = json!({"delta": piece, "logprobs": logprobs, "obfuscation": "xYz"});
                push(format!("{}.delta", home.event), delta);
            }
            for (n, annotation) in annotations.iter().enumerate() {
                let event = json!({"annotation_index": n, "annotation": annotation});
                push(format!("{}.annotation.added", home.event), event);
            }
            let all: String = pieces.iter().map(|(piece, _)| piece.as_str()).collect();
            let logprobs = self.at_its_end(json!({"logprobs": part.get("logprobs")}));
            let mut done = logprobs;
            done[home.member] = json!(all);
            push(format!("{}.done", home.event), done);
            if let Some(name) = part_event {
                push(
                    format!("{name}.done"),
                    json!({"part": self.at_its_end(part)}),
                );
            }
        }
        let done = self.at_its_end(item.whole(index));
        events.push(("output_item.done".to_owned(), json!({"item": done})));
        for (_, event) in &mut events {
            event["output_index"] = index.into();
            event["item_id"] = format!("it_{index}").into();
        }
        events
    }

    /// The events of the stream but the last one; `order` says of which item the next one is.
    pub(super) fn events(&self, order: &[usize]) -> Vec<String> {
        let mut queues: Vec<_> = self
            .items
            .iter()
            .enumerate()
            .map(|(index, item)| self.events_of(index, item).into_iter())
            .collect();
        let mut begin = self.response(&[]);
        begin["status"] = json!("in_progress");
        begin["usage"] = Value::Null;
        begin["incomplete_details"] = Value::Null;
        let mut events = vec![
            ("created".to_owned(), json!({"response": begin})),
            ("in_progress".to_owned(), json!({"response": begin})),
        ];
        if !queues.is_empty() {
            let count = queues.len();
            events.extend(order.iter().filter_map(|next| queues[next % count].next()));
        }
        events.extend(queues.into_iter().flatten());
        let events = events.into_iter().enumerate();
        events
            .map(|(n, (name, event))| self.event(n, &name, event))
            .collect()
    }

    fn event(&self, number: usize, name: &str, mut event: Value) -> String {
        let kind = format!("response.{name}");
        event["type"] = json!(kind);
        event["sequence_number"] = number.into();
        let name = if self.names {
            format!("event: {kind}\n")
        } else {
            String::new()
        };
        format!("{name}data: {event}\n\n")
    }

    /// The event that ends the stream, whose response has this output.
    pub(super) fn last_event(&self, output: &Value) -> String {
        let mut response = self.response(&[]);
        response["output"] = output.clone();
        // vLLM says so whatever became of it.
        let name = if self.vllm { "completed" } else { self.status };
        self.event(99, name, json!({"response": response}))
    }
}
