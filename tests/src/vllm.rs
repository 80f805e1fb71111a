//! Replies shaped field by field like vLLM's, whole and streamed.
//!
//! The text is the last user message said back, so that a test can tell whose
//! reply it holds; ids and log-probabilities follow from the text alone.

use serde_json::{Value, json};

use crate::{Received, Script};

/// Answers any request as vLLM would: chat and text completions, whole or
/// streamed, with log-probabilities, token ids and usage as they are asked
/// for, a tool call where tools are offered, and its plain JSON errors. A
/// model named `status-429` (or any other status) answers with that error.
#[must_use]
pub fn reply(request: &Received) -> Script {
    let path = request.target().split('?').next().unwrap_or_default();
    let (_, endpoint) = path.rsplit_once("/v1/").unwrap_or_default();
    let body = request.json();
    let model = body["model"].as_str().unwrap_or("tiny");
    if let Some(status) = model.strip_prefix("status-") {
        return error(status);
    }
    let (prompt, kind) = match endpoint {
        "chat/completions" => (&body["messages"], Kind::Chat),
        "completions" => (&body["prompt"], Kind::Text),
        "models" => {
            let list = json!({"object": "list", "data": [{"id": "tiny", "object": "model"}]});
            return Script::json("200 OK", list.to_string());
        }
        "embeddings" => {
            let usage = json!({"prompt_tokens": 2, "total_tokens": 2});
            let data = json!([{"object": "embedding", "index": 0, "embedding": [0.25, -0.5]}]);
            let list = json!({"object": "list", "model": model, "data": data, "usage": usage});
            return Script::json("200 OK", list.to_string());
        }
        _ => return Script::json("404 Not Found", r#"{"detail":"Not Found"}"#),
    };
    let generation = Generation::of(&body, prompt, kind);
    if body["stream"] == true {
        Script::events(generation.events())
    } else {
        let headers = ["content-type: application/json", "x-request-id: up-1"];
        Script::whole("200 OK", &headers, generation.whole())
    }
}

/// The tokens that stand for a text: one for each word.
#[must_use]
pub fn token_ids(text: &str) -> Vec<i64> {
    words(text).iter().map(|word| token_id(word)).collect()
}

/// What the server says to a user's message.
#[must_use]
pub fn answer_to(message: &str) -> String {
    format!("You said: {message}")
}

fn error(status: &str) -> Script {
    let code: u16 = status.parse().unwrap_or(500);
    let kind = match code {
        400 => "BadRequestError",
        401 => "AuthenticationError",
        404 => "NotFoundError",
        429 => "RateLimitError",
        _ => "InternalServerError",
    };
    let error =
        json!({"message": format!("asked for {code}"), "type": kind, "param": null, "code": code});
    let headers = [
        "content-type: application/json",
        "x-request-id: up-err",
        "retry-after: 7",
    ];
    let body = json!({"error": error}).to_string();
    Script::whole(&format!("{code} Said So"), &headers, body)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Chat,
    Text,
}

struct Generation {
    kind: Kind,
    model: String,
    prompt_ids: Vec<i64>,
    tokens: Vec<String>,
    tool: Option<String>,
    choices: u64,
    logprobs: bool,
    ids: bool,
    usage: bool,
}

impl Generation {
    fn of(body: &Value, prompt: &Value, kind: Kind) -> Generation {
        let text = match prompt {
            Value::Array(messages) => messages
                .iter()
                .rev()
                .find(|message| message["role"] == "user")
                .and_then(|message| message["content"].as_str()),
            other => other.as_str(),
        };
        let tool = &body["tools"][0]["function"]["name"];
        let logprobs = &body["logprobs"];
        Generation {
            kind,
            model: body["model"].as_str().unwrap_or("tiny").to_owned(),
            prompt_ids: token_ids(&prompt.to_string()),
            tokens: words(&answer_to(text.unwrap_or_default())),
            tool: tool.as_str().map(str::to_owned),
            choices: body["n"].as_u64().unwrap_or(1),
            logprobs: logprobs == true || logprobs.is_number(),
            ids: body["return_token_ids"] == true,
            usage: body["stream_options"]["include_usage"] == true,
        }
    }

    fn head(&self, object: &str) -> String {
        let id = match self.kind {
            Kind::Chat => "chatcmpl-9d1f",
            Kind::Text => "cmpl-9d1f",
        };
        let model = Value::from(self.model.as_str());
        format!(r#"{{"id":"{id}","object":"{object}","created":1795475231,"model":{model}"#)
    }

    fn usage_member(&self) -> String {
        let (prompt, completion) = (self.prompt_ids.len(), self.tokens.len());
        let total = prompt + completion;
        format!(
            r#""usage":{{"prompt_tokens":{prompt},"total_tokens":{total},"completion_tokens":{completion}}}"#
        )
    }

    /// The logprobs object of these tokens, or `null`.
    fn logprobs_of(&self, tokens: &[String]) -> Value {
        if !self.logprobs {
            return Value::Null;
        }
        if self.kind == Kind::Text {
            let values: Vec<f64> = tokens.iter().map(|token| logprob(token)).collect();
            return json!({"text_offset": vec![0; tokens.len()], "token_logprobs": values,
                          "tokens": tokens, "top_logprobs": vec![json!({}); tokens.len()]});
        }
        let content: Vec<Value> = tokens
            .iter()
            .map(|token| {
                json!({"token": token, "logprob": logprob(token),
                       "bytes": token.as_bytes(), "top_logprobs": []})
            })
            .collect();
        json!({ "content": content })
    }

    fn ids_of(&self, tokens: &[String]) -> String {
        if !self.ids {
            return String::new();
        }
        let ids: Vec<i64> = tokens.iter().map(|token| token_id(token)).collect();
        format!(r#","token_ids":{}"#, Value::from(ids))
    }

    fn prompt_ids_member(&self) -> String {
        match self.ids {
            true => format!(
                r#","prompt_token_ids":{}"#,
                Value::from(self.prompt_ids.clone())
            ),
            false => String::new(),
        }
    }

    fn finish_reason(&self) -> &str {
        match self.tool {
            Some(_) => "tool_calls",
            None => "stop",
        }
    }

    fn whole(&self) -> String {
        let text = Value::from(self.tokens.concat());
        let (logprobs, finish) = (self.logprobs_of(&self.tokens), self.finish_reason());
        let ids = self.ids_of(&self.tokens);
        let prompt_ids = self.prompt_ids_member();
        let choice = |index: u64| match (self.kind, &self.tool) {
            (Kind::Chat, None) => format!(
                r#"{{"index":{index},"message":{{"role":"assistant","content":{text},"refusal":null,"reasoning":null}},"logprobs":{logprobs},"finish_reason":"{finish}","stop_reason":null{ids}}}"#
            ),
            (Kind::Chat, Some(tool)) => format!(
                r#"{{"index":{index},"message":{{"role":"assistant","content":null,"tool_calls":[{}]}},"logprobs":{logprobs},"finish_reason":"{finish}","stop_reason":null{ids}}}"#,
                json!({"id": "call-1", "type": "function",
                       "function": {"name": tool, "arguments": ARGUMENTS}})
            ),
            (Kind::Text, _) => format!(
                r#"{{"index":{index},"text":{text},"logprobs":{logprobs},"finish_reason":"{finish}","stop_reason":null{ids},"prompt_logprobs":null{prompt_ids}}}"#
            ),
        };
        let choices: Vec<String> = (0..self.choices).map(choice).collect();
        let (choices, usage) = (choices.join(","), self.usage_member());
        match self.kind {
            Kind::Chat => {
                let head = self.head("chat.completion");
                format!(
                    r#"{head},"choices":[{choices}],{usage},"prompt_logprobs":null{prompt_ids},"kv_transfer_params":null}}"#
                )
            }
            Kind::Text => {
                let head = self.head("text_completion");
                format!(r#"{head},"choices":[{choices}],{usage},"kv_transfer_params":null}}"#)
            }
        }
    }

    /// The events of the stream, `[DONE]` included.
    fn events(&self) -> Vec<String> {
        let object = match self.kind {
            Kind::Chat => "chat.completion.chunk",
            Kind::Text => "text_completion",
        };
        let head = self.head(object);
        let mut events = Vec::new();
        let mut push = |choice: String, root: &str| {
            events.push(format!("data: {head},\"choices\":[{choice}]{root}}}\n\n"));
        };
        let prompt_ids = self.prompt_ids_member();
        for index in 0..self.choices {
            if self.kind == Kind::Chat {
                let role = r#""delta":{"role":"assistant","content":""}"#;
                let rest = r#""logprobs":null,"finish_reason":null"#;
                push(format!(r#"{{"index":{index},{role},{rest}}}"#), &prompt_ids);
            }
        }
        let last = self.tokens.len() - 1;
        for (at, token) in self.tokens.iter().enumerate() {
            for index in 0..self.choices {
                let delta = self.delta(at, token);
                let tokens = std::slice::from_ref(token);
                let (logprobs, ids) = (self.logprobs_of(tokens), self.ids_of(tokens));
                let finish = match at == last {
                    true => format!(r#""{}","stop_reason":null"#, self.finish_reason()),
                    false => "null".to_owned(),
                };
                let first = match self.kind == Kind::Text && at == 0 {
                    true => prompt_ids.as_str(),
                    false => "",
                };
                push(
                    format!(
                        r#"{{"index":{index},{delta},"logprobs":{logprobs},"finish_reason":{finish}{ids}{first}}}"#
                    ),
                    "",
                );
            }
        }
        if self.usage {
            push(String::new(), &format!(",{}", self.usage_member()));
        }
        events.push("data: [DONE]\n\n".to_owned());
        events
    }

    /// What the token at this place adds to a chat message or a text.
    fn delta(&self, at: usize, token: &str) -> String {
        match (self.kind, &self.tool) {
            (Kind::Text, _) => format!(r#""text":{}"#, Value::from(token)),
            (Kind::Chat, None) => format!(r#""delta":{{"content":{}}}"#, Value::from(token)),
            (Kind::Chat, Some(tool)) if at == 0 => {
                let call = json!({"index": 0, "id": "call-1", "type": "function",
                                  "function": {"name": tool, "arguments": ""}});
                format!(r#""delta":{{"tool_calls":[{call}]}}"#)
            }
            // The arguments come in two pieces; later tokens are silent.
            (Kind::Chat, Some(_)) if at <= 2 => {
                let (first, second) = ARGUMENTS.split_at(4);
                let piece = if at == 1 { first } else { second };
                let call = json!({"index": 0, "function": {"arguments": piece}});
                format!(r#""delta":{{"tool_calls":[{call}]}}"#)
            }
            (Kind::Chat, Some(_)) => r#""delta":{}"#.to_owned(),
        }
    }
}

/// The arguments of every tool call.
pub const ARGUMENTS: &str = r#"{"city": "Paris"}"#;

/// Words with the space before them; concatenated they give the text.
fn words(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for (at, word) in text.split(' ').enumerate() {
        let space = if at == 0 { "" } else { " " };
        words.push(format!("{space}{word}"));
    }
    words
}

fn token_id(word: &str) -> i64 {
    let hash = word
        .bytes()
        .fold(7_i64, |hash, byte| (hash * 31 + i64::from(byte)) % 50_000);
    hash + 3
}

fn logprob(word: &str) -> f64 {
    -(word.len() as f64) / 8.0
}
