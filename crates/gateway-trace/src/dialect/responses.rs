//! OpenAI responses, as vLLM and others speak them too.

use gateway_json::Value;

use super::choices::integers;
use super::{Assembler, Dialect, Glance, ReplyParts, RequestParts, named_model, string};
use crate::assemble::ResponseAssembler;
use crate::notes::{self, Notes};
use crate::{ChoiceRecord, TokenCounts, error_body};

mod turns;

/// What is said of a response without output.
pub(crate) const UNREADABLE: &str = "the reply has no array of output items";

pub(crate) struct Responses;

impl Dialect for Responses {
    fn read_request(&self, root: Value<'_>) -> RequestParts {
        RequestParts {
            messages: turns::of_request(root),
            ..RequestParts::default()
        }
    }

    fn glance(&self, root: Value<'_>) -> Glance {
        glance(root)
    }

    fn read_reply(&self, root: Value<'_>, _: &RequestParts, notes: &mut Notes) -> ReplyParts {
        if goes_on(root) {
            notes.add(notes::BACKGROUND);
        }
        let output = root.get("output").filter(|output| output.is_array());
        let choice = output.map(|output| ChoiceRecord {
            index: 0,
            message: turns::of_output(output),
            prompt_token_ids: token_ids(root.get("input_messages"), notes),
            token_ids: token_ids(root.get("output_messages"), notes).unwrap_or_default(),
            logprobs: logprobs(output),
            finish_reason: finish_reason(
                root.get("status").and_then(string).as_deref(),
                root.get("incomplete_details"),
                output,
            ),
            routing_matrices: None,
        });
        ReplyParts {
            model: named_model(root),
            prompt_token_ids: None,
            choices: choice.into_iter().collect(),
            token_counts: token_counts(root),
            weight_version: root.get("weight_version").and_then(Value::as_integral),
        }
    }

    fn assembler(&self, max_bytes: usize) -> Box<dyn Assembler> {
        Box::new(ResponseAssembler::new(max_bytes))
    }
}

/// Takes in one pass what must be known of a response when it has ended.
pub(crate) fn glance(root: Value<'_>) -> Glance {
    let mut glance = Glance::default();
    let (mut status, mut details, mut output) = (None, None, None);
    for member in root.members() {
        let key = member.key.to_cow();
        glance.is_error |= error_body::is_error_member(&key, member.value);
        match &*key {
            "model" => glance.digest.model = string(member.value),
            "status" => status = string(member.value),
            "incomplete_details" => details = Some(member.value),
            "output" => output = Some(member.value),
            "usage" => glance.digest.count(usage_counts(member.value)),
            _ => {}
        }
    }
    glance.is_error |= status.as_deref() == Some("failed");
    match output.filter(|output| output.is_array()) {
        Some(output) => {
            glance.digest.finish_reason = finish_reason(status.as_deref(), details, output);
        }
        None => glance.unreadable = Some(UNREADABLE),
    }
    glance
}

/// Why a response ended, in OpenAI's words; none if it has not ended or has failed.
fn finish_reason(
    status: Option<&str>,
    details: Option<Value<'_>>,
    output: Value<'_>,
) -> Option<String> {
    match status? {
        "completed" if output.elements().any(turns::is_call) => Some("tool_calls".to_owned()),
        "completed" => Some("stop".to_owned()),
        "incomplete" => {
            let reason = details.and_then(|details| string(details.get("reason")?));
            Some(match reason {
                Some(reason) if reason == "max_output_tokens" => "length".to_owned(),
                Some(reason) => reason,
                None => "incomplete".to_owned(),
            })
        }
        "cancelled" => Some("cancelled".to_owned()),
        _ => None,
    }
}

/// Whether this is the receipt of a response that is still to be made.
fn goes_on(root: Value<'_>) -> bool {
    let status = root.get("status").and_then(Value::as_str);
    matches!(status.as_deref(), Some("queued" | "in_progress"))
        && root.get("background").and_then(Value::as_bool) == Some(true)
}

/// The token ids that vLLM gives with `enable_response_messages`. A reply of several generations
/// has them in several messages, the later prompts among them: those are neither one prompt nor
/// one completion.
fn token_ids(messages: Option<Value<'_>>, notes: &mut Notes) -> Option<Vec<i64>> {
    let mut all = messages?
        .elements()
        .filter_map(|message| message.get("tokens"));
    let first = all.next();
    if all.next().is_some() {
        notes.add(notes::SEVERAL_GENERATIONS);
        return None;
    }
    integers(first, notes)
}

/// One log probability for each token of the text, as far as the parts of the messages have them;
/// a gap where the upstream left one null or gave what is no number. None where there are none at
/// all.
fn logprobs(output: Value<'_>) -> Option<Vec<Option<f64>>> {
    let mut all = Vec::new();
    for item in output.elements() {
        for part in item.get("content").into_iter().flat_map(Value::elements) {
            let entries = part.get("logprobs").into_iter().flat_map(Value::elements);
            all.extend(entries.map(|entry| entry.get("logprob").and_then(Value::as_f64)));
        }
    }
    (!all.is_empty()).then_some(all)
}

fn token_counts(root: Value<'_>) -> TokenCounts {
    root.get("usage").map(usage_counts).unwrap_or_default()
}

fn usage_counts(usage: Value<'_>) -> TokenCounts {
    let count = |key: &str| usage.get(key)?.as_integral();
    let detail = |of: &str, key: &str| usage.get(of)?.get(key)?.as_integral();
    TokenCounts {
        prompt: count("input_tokens"),
        completion: count("output_tokens"),
        cached: detail("input_tokens_details", "cached_tokens"),
        reasoning: detail("output_tokens_details", "reasoning_tokens"),
    }
}
