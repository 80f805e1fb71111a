//! Whole replies with `choices`: chat completions and completions.

use gateway_json::{Member, Value, strict_text};

use super::{ReplyParts, RequestParts, named_model};
use crate::notes::{self, Notes};
use crate::{ChoiceRecord, Json, ReplyDigest, TokenCounts};

/// What a choice holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// A `message`, which comes as `delta` in a stream.
    Chat,
    /// A `text`.
    Completions,
}

impl Shape {
    /// What is said of a reply without a choice that can be read.
    pub(crate) fn unreadable(self) -> &'static str {
        match self {
            Self::Chat => "the reply has no choice with an object as its message",
            Self::Completions => "the reply has no choice with a text",
        }
    }

    fn can_read(self, choice: Value<'_>) -> bool {
        match self {
            Self::Chat => choice.get("message").is_some_and(Value::is_object),
            Self::Completions => choice.get("text").is_some_and(Value::is_string),
        }
    }

    fn message(self, choice: Value<'_>, notes: &mut Notes) -> Json {
        match self {
            Self::Chat => match choice.get("message") {
                Some(message) if message.is_object() => return without_nulls(message),
                _ => notes.add(notes::UNREADABLE_CHOICES),
            },
            Self::Completions => match choice.get("text") {
                Some(text) if text.is_string() => {
                    return Json::trusted(format!(
                        "{{\"role\":\"assistant\",\"content\":{}}}",
                        text.text()
                    ));
                }
                _ => notes.add(notes::UNREADABLE_CHOICES),
            },
        }
        Json::empty_object()
    }
}

/// Why no message can be read from a reply, if none can.
pub(crate) fn unreadable(shape: Shape, root: Value<'_>) -> Option<&'static str> {
    let readable = root
        .get("choices")
        .is_some_and(|choices| choices.elements().any(|choice| shape.can_read(choice)));
    (!readable).then(|| shape.unreadable())
}

/// Reads a whole reply.
pub(crate) fn read_reply(
    shape: Shape,
    root: Value<'_>,
    request: &RequestParts,
    notes: &mut Notes,
) -> ReplyParts {
    let prompt_token_ids = integers(root.get("prompt_token_ids"), notes);
    let mut choices = Vec::new();
    let all = root.get("choices");
    if all.is_some_and(|all| !all.is_array() && !all.is_null()) {
        notes.add(notes::UNREADABLE_CHOICES);
    }
    for (position, choice) in all.into_iter().flat_map(Value::elements).enumerate() {
        if choice.is_object() {
            let mut record = read_choice(shape, choice, position, notes);
            if request.echo {
                let prompt = record
                    .prompt_token_ids
                    .as_deref()
                    .or(prompt_token_ids.as_deref());
                let prompt = prompt
                    .or_else(|| request.prompt_of(record.index))
                    .map_or(0, <[i64]>::len);
                drop_echoed(&mut record, prompt);
            }
            choices.push(record);
        } else {
            notes.add(notes::UNREADABLE_CHOICES);
        }
    }
    choices.sort_by_key(|choice| choice.index);
    ReplyParts {
        model: named_model(root),
        prompt_token_ids,
        choices,
        token_counts: token_counts(root),
        weight_version: root.get("weight_version").and_then(Value::as_integral),
    }
}

/// Reads what the columns of a trace need.
pub(crate) fn digest(root: Value<'_>) -> ReplyDigest {
    let choices = root.get("choices").into_iter().flat_map(Value::elements);
    // Choice 0 is the one with the least index, as in `read_reply`.
    let first = choices
        .enumerate()
        .filter(|(_, choice)| choice.is_object())
        .min_by_key(|(position, choice)| index_of(*choice, *position));
    ReplyDigest {
        model: named_model(root),
        finish_reason: first.and_then(|(_, choice)| string(choice.get("finish_reason"))),
    }
}

fn read_choice(
    shape: Shape,
    choice: Value<'_>,
    position: usize,
    notes: &mut Notes,
) -> ChoiceRecord {
    ChoiceRecord {
        index: index_of(choice, position),
        message: shape.message(choice, notes),
        prompt_token_ids: integers(choice.get("prompt_token_ids"), notes),
        token_ids: integers(choice.get("token_ids"), notes).unwrap_or_default(),
        logprobs: choice.get("logprobs").and_then(logprobs),
        finish_reason: string(choice.get("finish_reason")),
        routing_matrices: routing_matrices(choice),
    }
}

fn index_of(choice: Value<'_>, position: usize) -> i64 {
    let position = || i64::try_from(position).unwrap_or(i64::MAX);
    choice
        .get("index")
        .and_then(Value::as_integral)
        .unwrap_or_else(position)
}

/// With `echo`, the prompt's log probabilities stand before those of the completion, whose ids
/// alone are given.
fn drop_echoed(choice: &mut ChoiceRecord, prompt: usize) {
    if let Some(logprobs) = &mut choice.logprobs
        && !choice.token_ids.is_empty()
        && logprobs.len() == prompt + choice.token_ids.len()
    {
        logprobs.drain(..prompt);
    }
}

/// One log probability for each token; a gap where the upstream left one null or gave what is no
/// number. None where there are none at all.
fn logprobs(logprobs: Value<'_>) -> Option<Vec<Option<f64>>> {
    let entries = |key: &str| {
        logprobs
            .get(key)
            .filter(|entries| entries.elements().next().is_some())
    };
    if let Some(entries) = entries("content").or_else(|| entries("refusal")) {
        let one = |entry: Value<'_>| entry.get("logprob").and_then(Value::as_f64);
        return Some(entries.elements().map(one).collect());
    }
    let entries = entries("token_logprobs")?;
    Some(entries.elements().map(Value::as_f64).collect())
}

/// An array of integers; none if there is no array, or if it holds anything else.
pub(crate) fn integers(array: Option<Value<'_>>, notes: &mut Notes) -> Option<Vec<i64>> {
    let array = array.filter(|array| !array.is_null())?;
    let integers: Option<Vec<i64>> = if array.is_array() {
        array.elements().map(Value::as_integral).collect()
    } else {
        None
    };
    if integers.is_none() {
        notes.add(notes::UNREADABLE_IDS);
    }
    integers
}

fn routing_matrices(choice: Value<'_>) -> Option<Vec<String>> {
    if let Some(matrices) = choice
        .get("routing_matrices")
        .filter(|matrices| matrices.is_array())
    {
        return matrices
            .elements()
            .map(|matrix| string(Some(matrix)))
            .collect();
    }
    let experts = choice.get("routed_experts")?;
    string(Some(experts)).map(|experts| vec![experts])
}

fn token_counts(root: Value<'_>) -> TokenCounts {
    let Some(usage) = root.get("usage") else {
        return TokenCounts::default();
    };
    let count = |object: Option<Value<'_>>, key: &str| object?.get(key)?.as_integral();
    let detail = |of: &str, key: &str| count(usage.get(of), key);
    TokenCounts {
        prompt: count(Some(usage), "prompt_tokens"),
        completion: count(Some(usage), "completion_tokens"),
        cached: detail("prompt_tokens_details", "cached_tokens"),
        reasoning: detail("completion_tokens_details", "reasoning_tokens"),
    }
}

/// The message without its null members, which a stream cannot show; null content stays.
fn without_nulls(message: Value<'_>) -> Json {
    let gone = |member: &Member<'_>| member.value.is_null() && !member.key.is("content");
    if !message.members().any(|member| gone(&member)) {
        return Json::trusted(strict_text(message));
    }
    let mut text = String::with_capacity(message.text().len());
    text.push('{');
    for member in message.members().filter(|member| !gone(member)) {
        if text.len() > 1 {
            text.push(',');
        }
        text.push_str(member.key.literal());
        text.push(':');
        text.push_str(&strict_text(member.value));
    }
    text.push('}');
    Json::trusted(text)
}

fn string(value: Option<Value<'_>>) -> Option<String> {
    Some(value?.as_str_lossy()?.into_owned())
}
