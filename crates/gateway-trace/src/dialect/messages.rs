//! Anthropic messages, as vLLM and others speak them too. Requests and replies are mapped to
//! OpenAI's shapes; the originals stand in the raw bodies.

use gateway_json::Value;

use super::{
    Assembler, Dialect, Glance, ReplyParts, RequestParts, glance_for_array, named_model, string,
};
use crate::assemble::MessageAssembler;
use crate::notes::{self, Notes};
use crate::{ChoiceRecord, Json, TokenCounts};

mod assistant;
mod request;

use assistant::Assistant;

/// What is said of a reply without content.
pub(crate) const UNREADABLE: &str = "the reply has no array of content blocks";

pub(crate) struct Messages;

impl Dialect for Messages {
    fn read_request(&self, root: Value<'_>) -> RequestParts {
        RequestParts {
            messages: request::messages(root),
            ..RequestParts::default()
        }
    }

    fn glance(&self, root: Value<'_>) -> Glance {
        let mut glance = glance_for_array(root, "content", UNREADABLE);
        if glance.unreadable.is_none() {
            glance.digest.finish_reason = root.get("stop_reason").and_then(finish_reason);
        }
        if let Some(usage) = root.get("usage") {
            glance.digest.count(token_counts(usage));
        }
        glance
    }

    fn read_reply(&self, root: Value<'_>, _: &RequestParts, notes: &mut Notes) -> ReplyParts {
        let content = root.get("content").filter(|content| !content.is_null());
        let choices = match content {
            Some(content) if content.is_array() => vec![ChoiceRecord {
                index: 0,
                message: message(content, notes),
                prompt_token_ids: None,
                token_ids: Vec::new(),
                logprobs: None,
                finish_reason: root.get("stop_reason").and_then(finish_reason),
                routing_matrices: None,
            }],
            Some(_) => {
                notes.add(notes::UNREADABLE_BLOCK);
                Vec::new()
            }
            None => Vec::new(),
        };
        ReplyParts {
            model: named_model(root),
            prompt_token_ids: None,
            choices,
            token_counts: root.get("usage").map(token_counts).unwrap_or_default(),
            weight_version: root.get("weight_version").and_then(Value::as_integral),
        }
    }

    fn assembler(&self, max_bytes: usize) -> Box<dyn Assembler> {
        Box::new(MessageAssembler::new(max_bytes))
    }
}

/// Why a message ended, in OpenAI's words where they have one. Some servers write an empty string
/// for what is not known yet.
pub(crate) fn finish_reason(stop_reason: Value<'_>) -> Option<String> {
    let reason = string(stop_reason).filter(|reason| !reason.is_empty())?;
    Some(match reason.as_str() {
        "end_turn" | "stop_sequence" => "stop".to_owned(),
        "max_tokens" => "length".to_owned(),
        "tool_use" => "tool_calls".to_owned(),
        _ => reason,
    })
}

fn message(content: Value<'_>, notes: &mut Notes) -> Json {
    let mut message = Assistant::default();
    for block in content.elements() {
        if let Some(note) = message.take(block) {
            notes.add(note);
        }
    }
    Json::trusted(format!("{{{}}}", message.members()))
}

/// Anthropic counts the tokens that were read from a cache, or written to one, apart from the rest
/// of the prompt.
pub(crate) fn token_counts(usage: Value<'_>) -> TokenCounts {
    let count = |key: &str| usage.get(key).and_then(Value::as_integral);
    let cached = count("cache_read_input_tokens");
    let written = count("cache_creation_input_tokens");
    let prompt = count("input_tokens").and_then(|rest| {
        rest.checked_add(cached.unwrap_or(0))?
            .checked_add(written.unwrap_or(0))
    });
    let details = usage.get("output_tokens_details");
    TokenCounts {
        prompt,
        completion: count("output_tokens"),
        cached,
        reasoning: details
            .and_then(|details| details.get("thinking_tokens"))
            .and_then(Value::as_integral),
    }
}
