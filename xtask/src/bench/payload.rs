//! What is sent and answered: vLLM-shaped, built once.

use bytes::Bytes;
use serde_json::json;

/// Tokens of the reply.
const COMPLETION: usize = 64;

/// Token ids of the prompt.
const PROMPT: usize = 512;

/// What a call asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Kind {
    /// A whole reply of 8 KiB.
    Plain,
    /// The same reply as 67 events, as fast as they are read.
    Stream,
    /// The same events with 5 ms between them.
    Gap,
}

impl Kind {
    /// The value of the header `x-bench`, which tells the mock what to answer.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Plain => "plain",
            Kind::Stream => "stream",
            Kind::Gap => "gap",
        }
    }
}

/// The request's body: a prompt of 2 KiB.
pub(crate) fn request(kind: Kind) -> String {
    let prompt = "How fast is fast enough, and who is asking? ".repeat(47);
    let mut body = json!({
        "model": "tiny",
        "messages": [{"role": "user", "content": &prompt[..2048]}],
        "temperature": 0.7,
        "max_tokens": COMPLETION,
    });
    if kind != Kind::Plain {
        body["stream"] = true.into();
    }
    body.to_string()
}

fn words() -> impl Iterator<Item = (usize, String)> {
    (0..COMPLETION).map(|at| (at, format!(" w{at}")))
}

fn token_id(at: usize) -> usize {
    (at * 7919) % 10_000
}

fn logprob(at: usize, word: &str) -> serde_json::Value {
    // All its digits, as Python prints a float.
    let value = -0.012_345_678_901_234_5 * (at as f64 + 1.0);
    json!({"token": word, "logprob": value, "bytes": word.as_bytes(), "top_logprobs": []})
}

fn prompt_ids() -> Vec<usize> {
    (0..PROMPT).map(|at| token_id(at + 1000)).collect()
}

/// The whole reply.
pub(crate) fn whole() -> Bytes {
    let text: String = words().map(|(_, word)| word).collect();
    let logprobs: Vec<_> = words().map(|(at, word)| logprob(at, &word)).collect();
    let ids: Vec<usize> = (0..COMPLETION).map(token_id).collect();
    let reply = json!({
        "id": "chatcmpl-96b76148e276e9cf", "object": "chat.completion",
        "created": 1_795_475_231, "model": "tiny",
        "choices": [{
            "index": 0,
            "message": {"role": "assistant", "content": text, "refusal": null, "reasoning": null},
            "logprobs": {"content": logprobs},
            "finish_reason": "length", "stop_reason": null, "token_ids": ids,
        }],
        "usage": usage(),
        "prompt_logprobs": null, "prompt_token_ids": prompt_ids(), "kv_transfer_params": null,
    });
    reply.to_string().into()
}

fn usage() -> serde_json::Value {
    json!({"prompt_tokens": PROMPT, "completion_tokens": COMPLETION,
           "total_tokens": PROMPT + COMPLETION})
}

/// The events of the stream: the role, 64 tokens, the usage and the end mark.
pub(crate) fn events() -> Vec<Bytes> {
    let event = |choices: serde_json::Value, more: serde_json::Value| {
        let mut chunk = json!({
            "id": "chatcmpl-896294f987e852b0", "object": "chat.completion.chunk",
            "created": 1_795_475_232, "model": "tiny", "choices": choices,
        });
        if let (Some(chunk), Some(more)) = (chunk.as_object_mut(), more.as_object()) {
            chunk.extend(more.clone());
        }
        Bytes::from(format!("data: {chunk}\n\n"))
    };
    let role = json!([{"index": 0, "delta": {"role": "assistant", "content": ""},
                       "logprobs": null, "finish_reason": null}]);
    let mut events = vec![event(role, json!({"prompt_token_ids": prompt_ids()}))];
    for (at, word) in words() {
        let finish = (at + 1 == COMPLETION).then_some("length");
        let choice = json!([{"index": 0, "delta": {"content": word},
            "logprobs": {"content": [logprob(at, &word)]},
            "finish_reason": finish, "token_ids": [token_id(at)]}]);
        events.push(event(choice, json!({})));
    }
    events.push(event(json!([]), json!({"usage": usage()})));
    events.push(Bytes::from_static(b"data: [DONE]\n\n"));
    events
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_workload_has_the_sizes_that_the_method_names() {
        let reply = whole().len();
        assert!((7_500..9_500).contains(&reply), "{reply} bytes");
        assert_eq!(events().len(), 67);
        assert!(request(Kind::Plain).len() >= 2048);
    }
}
