//! What an imported record says otherwise than its bodies would.

use gateway_json::{Value, strict_text};

use crate::dialect::string;
use crate::record::has_error;
use crate::session::same;
use crate::{Endpoint, Json, TraceRecord};

/// The reference's fields that are derived from the bodies.
const DERIVED: [&str; 12] = [
    "messages",
    "prompt_token_ids",
    "response_message",
    "completion_token_ids",
    "logprobs",
    "routing_matrices",
    "finish_reason",
    "weight_version",
    "token_counts",
    "metadata",
    "raw_request",
    "raw_response",
];

/// The fields that the two halves carry otherwise.
const CARRIED: [&str; 13] = [
    "trace_id",
    "session_id",
    "model",
    "run_id",
    "harness",
    "step_id",
    "parent_span_id",
    "project",
    "experiment",
    "span_type",
    "latency_ms",
    "timestamp",
    "_created_at",
];

/// What `token_counts` may count.
const COUNTS: [&str; 4] = ["prompt", "completion", "cached", "reasoning"];

/// How an old record differs from the one that was derived from its bodies.
#[derive(Default)]
pub(super) struct Differences {
    /// What it says otherwise, as an object; none if it says nothing otherwise.
    pub(super) stated: Option<Json>,
    /// The names of what it says that a record cannot.
    pub(super) lost: Vec<String>,
}

/// How the old record `root` differs from the one that was derived from its bodies.
pub(super) fn differences(
    root: Value<'_>,
    endpoint: Endpoint,
    derived: &TraceRecord,
) -> Differences {
    let derived_json = derived.to_json();
    let derived_root = Value::of_valid(&derived_json);
    let (mut stated, mut lost) = (Vec::new(), Vec::new());
    for name in DERIVED {
        let is_body = name.starts_with("raw_");
        let missing = is_body.then(|| Value::of_valid("null"));
        let Some(old) = root.get(name).or(missing) else {
            continue;
        };
        // Of other endpoints the Python gateway could read next to nothing.
        let knows_less = endpoint != Endpoint::ChatCompletions && is_empty(old) && !is_body;
        let now = derived_root.get(name);
        if knows_less || now.is_some_and(|now| equal(old, now)) {
            continue;
        }
        let is_kept = match name {
            // What there is of a body is there as a body.
            "raw_request" | "raw_response" => old.is_object(),
            // With their gaps they stand in `choices`.
            "logprobs" => derived.choices.is_some(),
            _ => false,
        };
        if fits(name, old) && !(name == "logprobs" && skips_tokens(root, old)) {
            stated.push(format!("\"{name}\":{}", strict_text(old)));
        } else if !is_kept {
            lost.push(name.to_owned());
        }
    }
    for member in root.members() {
        let name = member.key.to_cow();
        let is_known = DERIVED.iter().chain(&CARRIED).any(|known| *known == name);
        if !is_known && !is_empty(member.value) {
            lost.push(name.into_owned());
        }
    }
    Differences {
        stated: (!stated.is_empty()).then(|| Json::trusted(format!("{{{}}}", stated.join(",")))),
        lost,
    }
}

/// Lets the record say what is stated.
pub(crate) fn restate(record: &mut TraceRecord, stated: &Json) {
    for member in stated.walk().members() {
        let value = member.value;
        let json = || Json::trusted(value.text());
        match &*member.key.to_cow() {
            "messages" => record.messages = json(),
            "prompt_token_ids" => record.prompt_token_ids = integers(value),
            "response_message" => record.response_message = json(),
            "completion_token_ids" => record.completion_token_ids = integers(value),
            "logprobs" => {
                let all = || value.elements().filter_map(Value::as_f64).collect();
                record.logprobs = value.is_array().then(all);
            }
            "routing_matrices" => {
                let all = || value.elements().filter_map(string).collect();
                record.routing_matrices = value.is_array().then(all);
            }
            "finish_reason" => record.finish_reason = string(value),
            "weight_version" => record.weight_version = value.as_integral(),
            "token_counts" => {
                let count = |name: &str| value.get(name).and_then(Value::as_integral);
                record.token_counts.prompt = count("prompt");
                record.token_counts.completion = count("completion");
                record.token_counts.cached = count("cached");
                record.token_counts.reasoning = count("reasoning");
            }
            "metadata" => record.metadata = json(),
            "raw_request" => record.raw_request = None,
            _ => {}
        }
    }
    record.has_error = has_error(record.outcome, record.finish_reason.as_deref());
}

/// Whether a record can hold this value in this field.
fn fits(name: &str, value: Value<'_>) -> bool {
    match name {
        "messages" => is_array_of(value, Value::is_object),
        "prompt_token_ids" | "completion_token_ids" => is_integers(value),
        "logprobs" => value.is_null() || is_floats(value),
        "routing_matrices" => value.is_null() || is_array_of(value, Value::is_string),
        "finish_reason" => value.is_null() || value.is_string(),
        "weight_version" => value.is_null() || value.as_integral().is_some(),
        "token_counts" => {
            let known = |key: gateway_json::Key<'_>| COUNTS.iter().any(|name| key.is(name));
            value.is_object()
                && value
                    .members()
                    .all(|count| known(count.key) && count.value.as_integral().is_some())
        }
        // The bodies that an old record has are there already; here it lacks one.
        "raw_request" | "raw_response" => value.is_null(),
        _ => value.is_object(),
    }
}

fn is_array_of<'a>(value: Value<'a>, one: fn(Value<'a>) -> bool) -> bool {
    value.is_array() && value.elements().all(one)
}

fn is_integers(value: Value<'_>) -> bool {
    is_array_of(value, |one| one.as_integral().is_some())
}

fn is_floats(value: Value<'_>) -> bool {
    is_array_of(value, |one| one.as_f64().is_some())
}

fn integers(value: Value<'_>) -> Vec<i64> {
    value.elements().filter_map(Value::as_integral).collect()
}

/// Whether a value says nothing: null, or without anything in it.
fn is_empty(value: Value<'_>) -> bool {
    matches!(value.text(), "null" | "\"\"")
        || value.is_object() && value.members().next().is_none()
        || value.is_array() && value.elements().next().is_none()
}

/// Equal values; numbers in an array may be spelt differently.
fn equal(old: Value<'_>, now: Value<'_>) -> bool {
    if is_floats(old) && is_floats(now) {
        let floats = |value: Value<'_>| value.elements().map(Value::as_f64).collect::<Vec<_>>();
        return floats(old) == floats(now);
    }
    same(old, now)
}

/// The Python gateway left null log probabilities out, after which the others are not at their
/// tokens' places.
fn skips_tokens(root: Value<'_>, logprobs: Value<'_>) -> bool {
    let ids = root.get("completion_token_ids");
    let ids = ids.map_or(0, |ids| ids.elements().count());
    ids > 0 && logprobs.elements().count() < ids
}
