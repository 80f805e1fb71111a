//! Bodies for old records that hold none: what a server would have sent, of the record's fields.

use gateway_json::{Value, strict_text};

use crate::Endpoint;

/// The members of an object that is put together.
#[derive(Default)]
struct Members(String);

impl Members {
    fn add(&mut self, key: &str, text: &str) {
        let comma = if self.0.is_empty() { "" } else { "," };
        self.0.push_str(&format!("{comma}\"{key}\":{text}"));
    }

    /// Adds a value as it stands, if there is one.
    fn copy(&mut self, key: &str, value: Option<Value<'_>>) {
        if let Some(value) = value.filter(|value| !value.is_null()) {
            self.add(key, value.text());
        }
    }

    fn object(&self) -> String {
        format!("{{{}}}", self.0)
    }
}

/// A request with the record's messages.
pub(super) fn request(root: Value<'_>) -> String {
    let mut request = Members::default();
    for key in ["model", "messages"] {
        if let Some(value) = root.get(key).filter(|value| !value.is_null()) {
            request.add(key, &strict_text(value));
        }
    }
    request.object()
}

/// A reply with the record's message, ids and log probabilities; none for endpoints whose replies
/// the Python gateway could not read.
pub(super) fn reply(endpoint: Endpoint, root: Value<'_>) -> Option<String> {
    let is_chat = endpoint == Endpoint::ChatCompletions;
    if !is_chat && endpoint != Endpoint::Completions {
        return None;
    }
    let mut choice = Members::default();
    choice.add("index", "0");
    let message = root
        .get("response_message")
        .filter(|value| value.is_object());
    if is_chat {
        choice.copy("message", message);
    } else {
        let content = message.and_then(|message| message.get("content"));
        let text = content.filter(|content| content.is_string());
        choice.add("text", text.map_or("\"\"", Value::text));
    }
    choice.copy("finish_reason", root.get("finish_reason"));
    choice.copy("token_ids", filled(root, "completion_token_ids"));
    if let Some(logprobs) = filled(root, "logprobs") {
        choice.add("logprobs", &logprobs_object(is_chat, logprobs));
    }
    choice.copy("routing_matrices", root.get("routing_matrices"));

    let mut usage = Members::default();
    let counts = root.get("token_counts");
    for (key, name) in [
        ("prompt", "prompt_tokens"),
        ("completion", "completion_tokens"),
    ] {
        usage.copy(name, counts.and_then(|counts| counts.get(key)));
    }
    let mut reply = Members::default();
    let object = if is_chat {
        "\"chat.completion\""
    } else {
        "\"text_completion\""
    };
    reply.add("object", object);
    reply.copy("model", root.get("model"));
    reply.copy("prompt_token_ids", filled(root, "prompt_token_ids"));
    reply.add("choices", &format!("[{}]", choice.object()));
    if !usage.0.is_empty() {
        reply.add("usage", &usage.object());
    }
    reply.copy("weight_version", root.get("weight_version"));
    Some(reply.object())
}

/// An array that has elements.
fn filled<'a>(root: Value<'a>, key: &str) -> Option<Value<'a>> {
    let array = root.get(key)?;
    array.elements().next().is_some().then_some(array)
}

fn logprobs_object(is_chat: bool, logprobs: Value<'_>) -> String {
    if !is_chat {
        return format!("{{\"token_logprobs\":{}}}", logprobs.text());
    }
    let entries: Vec<_> = logprobs
        .elements()
        .map(|logprob| format!("{{\"logprob\":{}}}", logprob.text()))
        .collect();
    format!("{{\"content\":[{}]}}", entries.join(","))
}
