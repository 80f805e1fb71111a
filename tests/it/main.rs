//! The gateway over real sockets, one module for each subject.
//!
//! Each test starts the real executable on a free port, in a folder of its
//! own, in front of a scripted upstream. A test whose name begins with
//! `defect_` keeps out a known defect of the Python reference.

mod auth;
mod canary;
mod compressed;
mod crash;
mod defects;
mod edits;
mod failover;
mod harness;
mod hostile;
mod identity;
mod import;
mod lifecycle;
mod load;
mod management;
mod memory;
mod observability;
mod outcomes;
mod pause;
mod process;
mod reload;
mod replies;
mod requests;
mod retries;
mod roles;
mod routes;
mod runs;
mod sessions;
mod startup;
mod streams;
mod terminal;
mod workers;

use serde_json::{Value, json};

/// A chat completion request that says this.
fn say(text: &str) -> String {
    json!({"model": "tiny", "messages": [{"role": "user", "content": text}]}).to_string()
}

/// The same, streamed.
fn say_streamed(text: &str) -> String {
    let messages = json!([{"role": "user", "content": text}]);
    json!({"model": "tiny", "stream": true, "messages": messages}).to_string()
}

/// The JSON of each `data:` event of a stream; `[DONE]` must be the last and
/// is left out.
fn events(stream: &str) -> Vec<Value> {
    let mut data: Vec<&str> = stream
        .split("\n\n")
        .filter_map(|event| event.strip_prefix("data: "))
        .collect();
    assert_eq!(data.pop(), Some("[DONE]"), "{stream}");
    let events = data.iter().map(|data| serde_json::from_str(data));
    events.map(|event| event.expect("JSON events")).collect()
}

/// The text of choice 0 that a stream of chat chunks spells.
fn spelt(stream: &str) -> String {
    let events = events(stream);
    let texts = events
        .iter()
        .map(|event| event["choices"][0]["delta"]["content"].as_str());
    texts.flatten().collect()
}

/// One chunk of a chat stream with this delta, as vLLM writes it.
fn delta(index: u64, delta: &Value, finish: Option<&str>) -> String {
    let choice = json!({"index": index, "delta": delta, "finish_reason": finish});
    let chunk = json!({"id": "c", "object": "chat.completion.chunk", "model": "tiny",
                       "choices": [choice]});
    format!("data: {chunk}\n\n")
}

const DONE: &str = "data: [DONE]\n\n";
