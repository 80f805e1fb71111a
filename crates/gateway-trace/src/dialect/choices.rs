//! Whole replies with `choices`: chat completions and completions.

use gateway_json::{Cuts, Value, strict_text};

use super::{Glance, ReplyParts, RequestParts, named_model, string};
use crate::notes::{self, Notes};
use crate::{ChoiceRecord, Json, TokenCounts, error_body};

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

    /// The member of a choice that says something.
    pub(crate) fn saying(self) -> &'static str {
        match self {
            Self::Chat => "message",
            Self::Completions => "text",
        }
    }

    /// Whether such a member can be read.
    fn can_read(self, value: Value<'_>) -> bool {
        match self {
            Self::Chat => value.is_object(),
            Self::Completions => value.is_string(),
        }
    }

    fn message(self, choice: Value<'_>, notes: &mut Notes) -> Json {
        match self {
            Self::Chat => match choice.get("message") {
                Some(message) if message.is_object() => return recorded(message),
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

/// How many choices a request with this `n` asks for, for each prompt.
pub(super) fn for_each_prompt(n: Option<Value<'_>>) -> usize {
    let n = n.and_then(Value::as_integral);
    n.and_then(|n| usize::try_from(n).ok()).unwrap_or(1).max(1)
}

/// Takes in one pass what must be known of a reply when it has ended.
pub(crate) fn glance(shape: Shape, root: Value<'_>) -> Glance {
    let mut glance = Glance::default();
    let mut choices = None;
    for member in root.members() {
        let key = member.key.to_cow();
        glance.is_error |= error_body::is_error_member(&key, member.value);
        match &*key {
            "model" => glance.digest.model = string(member.value),
            "choices" => choices = Some(member.value),
            "usage" => glance.digest.count(usage_counts(member.value)),
            _ => {}
        }
    }
    let mut readable = false;
    let mut first: Option<i64> = None;
    let choices = choices.into_iter().flat_map(Value::elements).enumerate();
    for (position, choice) in choices.filter(|(_, choice)| choice.is_object()) {
        let mut index = None;
        let mut finish_reason = None;
        let mut says = false;
        for member in choice.members() {
            match &*member.key.to_cow() {
                "index" => index = member.value.as_integral(),
                "finish_reason" => finish_reason = string(member.value),
                key if key == shape.saying() => says = shape.can_read(member.value),
                _ => {}
            }
        }
        readable |= says;
        // Choice 0 is the one with the least index, as in `read_reply`.
        let index = index.unwrap_or_else(|| at_position(position));
        if first.is_none_or(|first| index < first) {
            first = Some(index);
            glance.digest.finish_reason = finish_reason;
        }
    }
    glance.unreadable = (!readable).then(|| shape.unreadable());
    glance
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
        finish_reason: choice.get("finish_reason").and_then(string),
        routing_matrices: routing_matrices(choice),
    }
}

fn index_of(choice: Value<'_>, position: usize) -> i64 {
    let index = choice.get("index").and_then(Value::as_integral);
    index.unwrap_or_else(|| at_position(position))
}

/// The index of a choice without one.
fn at_position(position: usize) -> i64 {
    i64::try_from(position).unwrap_or(i64::MAX)
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
    let of_chat = |key| logprobs.get(key).into_iter().flat_map(Value::elements);
    let mut all: Vec<_> = of_chat("content")
        .chain(of_chat("refusal"))
        .map(|entry| entry.get("logprob").and_then(Value::as_f64))
        .collect();
    if all.is_empty() {
        let entries = logprobs.get("token_logprobs")?;
        all.extend(entries.elements().map(Value::as_f64));
    }
    (!all.is_empty()).then_some(all)
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
        return matrices.elements().map(string).collect();
    }
    let experts = choice.get("routed_experts")?;
    string(experts).map(|experts| vec![experts])
}

/// What the `usage` of a reply counts.
pub(super) fn token_counts(root: Value<'_>) -> TokenCounts {
    root.get("usage").map(usage_counts).unwrap_or_default()
}

/// What a `usage` counts.
pub(crate) fn usage_counts(usage: Value<'_>) -> TokenCounts {
    let count = |object: Option<Value<'_>>, key: &str| object?.get(key)?.as_integral();
    let own = |key: &str| count(Some(usage), key);
    let detail = |of: &str, key: &str| count(usage.get(of), key);
    TokenCounts {
        prompt: own("prompt_tokens"),
        completion: own("completion_tokens"),
        // Moonshot's and DeepSeek's own members stand in the usage itself, SGLang's below too.
        cached: detail("prompt_tokens_details", "cached_tokens")
            .or_else(|| own("cached_tokens"))
            .or_else(|| own("prompt_cache_hit_tokens")),
        reasoning: detail("completion_tokens_details", "reasoning_tokens")
            .or_else(|| own("reasoning_tokens")),
    }
}

/// The message without what a stream cannot show: its null members, null content aside, and the
/// `index` of its tool calls, which some servers put into whole replies too.
fn recorded(message: Value<'_>) -> Json {
    let mut cuts = Cuts::new(message);
    cuts.members(message, |member| {
        member.value.is_null() && !member.key.is("content")
    });
    let calls = message
        .members()
        .filter(|member| member.key.is("tool_calls"))
        .flat_map(|member| member.value.elements());
    for call in calls {
        cuts.members(call, |member| member.key.is("index"));
    }
    match cuts.apply() {
        Some(text) => Json::trusted(strict_text(Value::of_valid(&text))),
        None => Json::trusted(strict_text(message)),
    }
}
