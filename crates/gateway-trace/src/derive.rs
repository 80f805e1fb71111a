//! From the two halves of a call to its record.

use std::borrow::Cow;

use bytes::Bytes;
use gateway_json::{Dialect, Value, parse, strict_text};
use gateway_metadata::client_metadata;

use crate::dialect::{self, ReplyParts, RequestParts, choices_asked, named_model};
use crate::import::restate;
use crate::notes::{self, Notes};
use crate::record::has_error;
use crate::{
    Call, ChoiceRecord, Endpoint, Integrity, Json, Outcome, Reply, ReplyDigest, TraceRecord, bodies,
};

/// So many token ids of prompts are repeated in the choices of one record, which a reply of few
/// bytes would make endless otherwise: 64 choices of a prompt of 128 Ki tokens.
const MAX_REPEATED: usize = 1 << 23;

/// The record of this call.
///
/// Pure: the same halves give the same record, byte for byte. Nothing in them makes it fail; what
/// could not be read stands in [`Integrity::notes`].
#[must_use]
pub fn record(call: &Call, reply: &Reply) -> TraceRecord {
    let dialect = dialect::of(call.meta.endpoint);
    let mut notes = Notes::default();
    notes.extend(&reply.meta.notes);

    let request_value = parse(&call.request, Dialect::Strict).ok();
    let request = request_value.filter(|root| root.is_object());
    if request.is_none() {
        notes.add(notes::BAD_REQUEST);
    }
    let request_parts = request
        .map(|root| dialect.read_request(root))
        .unwrap_or_default();
    let body = read_body(&reply.body, &mut notes);
    let mut parts = body
        .map(|root| dialect.read_reply(root, &request_parts, &mut notes))
        .unwrap_or_default();

    let asked = request.map_or(1, |root| {
        choices_asked(call.meta.endpoint, root.get("n"), root.get("prompt"))
    });
    if reply.meta.outcome == Outcome::Completed && (1..asked).contains(&parts.choices.len()) {
        notes.add(notes::FEWER_CHOICES);
    }
    let ids_asked = reply.meta.ids_asked || request.is_some_and(asks_for_ids);
    let integrity = check(&parts, ids_asked, reply, notes);
    let choices = choices(&parts, &request_parts);
    let first = if parts.choices.is_empty() {
        None
    } else {
        Some(parts.choices.swap_remove(0))
    };
    let prompt_token_ids = first
        .as_ref()
        .and_then(|first| first.prompt_token_ids.clone())
        .or(parts.prompt_token_ids)
        .or_else(|| {
            request_parts
                .prompt_of(first.as_ref().map_or(0, |first| first.index))
                .map(<[i64]>::to_vec)
        });
    let finish_reason = first.as_ref().and_then(|first| first.finish_reason.clone());
    let logprobs = first.as_ref().and_then(aligned_logprobs);
    let (response_message, completion_token_ids, logprobs, routing_matrices) = match first {
        Some(first) => (
            first.message,
            first.token_ids,
            logprobs,
            first.routing_matrices,
        ),
        None => (Json::empty_object(), Vec::new(), None, None),
    };
    let model = call
        .meta
        .model
        .clone()
        .or_else(|| request.and_then(named_model))
        .or(parts.model);

    let mut record = TraceRecord {
        trace_id: call.meta.trace_id.clone(),
        identity: call.meta.identity.clone(),
        model: model.unwrap_or_default(),
        span_type: call.meta.endpoint.span_type(),
        messages: request_parts
            .messages
            .unwrap_or_else(|| Json::trusted("[]")),
        prompt_token_ids: prompt_token_ids.unwrap_or_default(),
        response_message,
        completion_token_ids,
        logprobs,
        routing_matrices,
        has_error: has_error(reply.meta.outcome, finish_reason.as_deref()),
        finish_reason,
        weight_version: parts
            .weight_version
            .or(reply.meta.weight_version)
            .or(call.meta.weight_version),
        latency_ms: reply.meta.latency_ms,
        token_counts: parts.token_counts,
        timestamp: call.meta.arrived_at,
        metadata: request
            .and_then(client_metadata)
            .map_or_else(Json::empty_object, |metadata| {
                Json::trusted(metadata.into_owned())
            }),
        raw_request: Some(bodies::raw_request(&call.request, request_value)),
        raw_response: (!reply.meta.streamed && !reply.body.is_empty())
            .then(|| bodies::raw_response(&reply.body)),
        endpoint: call.meta.endpoint,
        stream: call.meta.stream,
        status: reply.meta.status,
        outcome: reply.meta.outcome,
        error: reply.meta.error.clone(),
        choices,
        assembled_response: body
            .filter(|_| reply.meta.streamed)
            .map(|root| Json::trusted(strict_text(root))),
        edits: reply.meta.edits.clone(),
        ttft_ms: reply.meta.ttft_ms,
        attempts: reply.meta.attempts,
        attempt_log: reply.meta.attempt_log.clone(),
        upstream: reply.meta.upstream.clone(),
        upstream_reason: reply.meta.upstream_reason.clone(),
        weight_version_end: reply.meta.weight_version_end,
        parent_trace_id: None,
        lineage_id: None,
        superseded_by: None,
        principal: call.meta.principal.clone(),
        client: call.meta.client.clone(),
        instance_id: call.meta.instance_id.clone(),
        request_id: reply.meta.request_id.clone(),
        event_ms: reply.meta.event_ms.clone(),
        integrity,
    };
    if let Some(stated) = &reply.meta.stated {
        restate(&mut record, stated);
    }
    record
}

/// What the columns of a trace need of a reply's body.
pub(crate) fn digest(endpoint: Endpoint, body: &[u8]) -> ReplyDigest {
    let root = parse(body, Dialect::Python)
        .ok()
        .filter(|root| root.is_object());
    root.map(|root| dialect::of(endpoint).glance(root).digest)
        .unwrap_or_default()
}

/// The model that a request's body names.
pub(crate) fn requested_model(request: &Bytes) -> Option<String> {
    let root = parse(request, Dialect::Strict)
        .ok()
        .filter(|root| root.is_object());
    root.and_then(named_model)
}

fn asks_for_ids(request: Value<'_>) -> bool {
    request.get("return_token_ids").and_then(Value::as_bool) == Some(true)
}

/// A reply's body, if it is an object.
fn read_body<'a>(body: &'a Bytes, notes: &mut Notes) -> Option<Value<'a>> {
    if body.is_empty() {
        return None;
    }
    let Ok(root) = parse(body, Dialect::Python) else {
        notes.add(notes::NOT_JSON);
        return None;
    };
    if matches!(strict_text(root), Cow::Owned(_)) {
        notes.add(notes::NON_FINITE);
    }
    Some(root).filter(|root| root.is_object())
}

/// The log probabilities of a choice, if each is there and stands at the place of its token.
fn aligned_logprobs(choice: &ChoiceRecord) -> Option<Vec<f64>> {
    let logprobs = choice.logprobs.as_ref()?;
    if !choice.token_ids.is_empty() && choice.token_ids.len() != logprobs.len() {
        return None;
    }
    logprobs.iter().copied().collect()
}

/// The choices, where one record of choice 0 does not tell it all.
fn choices(parts: &ReplyParts, request: &RequestParts) -> Option<Vec<ChoiceRecord>> {
    let several = parts.choices.len() > 1 || request.n > 1;
    let gaps = || {
        parts
            .choices
            .iter()
            .any(|choice| choice.logprobs.is_some() && aligned_logprobs(choice).is_none())
    };
    if parts.choices.is_empty() || !(several || gaps()) {
        return None;
    }
    let mut choices = parts.choices.clone();
    let mut room = MAX_REPEATED;
    for choice in &mut choices {
        if choice.prompt_token_ids.is_none() {
            let ids = parts.prompt_token_ids.as_deref();
            let ids = ids.or_else(|| request.prompt_of(choice.index));
            let Some(ids) = ids.filter(|ids| ids.len() <= room) else {
                continue;
            };
            room -= ids.len();
            choice.prompt_token_ids = Some(ids.to_vec());
        }
    }
    Some(choices)
}

/// Checks what a reply says against itself.
fn check(parts: &ReplyParts, ids_asked: bool, reply: &Reply, mut notes: Notes) -> Integrity {
    let ids: usize = parts
        .choices
        .iter()
        .map(|choice| choice.token_ids.len())
        .sum();
    let counted = parts.token_counts.completion;
    let missing = ids == 0 && ids_asked && !parts.choices.is_empty();
    if missing
        && counted.map_or(reply.meta.outcome == Outcome::Completed, |counted| {
            counted > 0
        })
    {
        notes.add(notes::NO_IDS);
    }
    let ids_match_usage = match counted {
        Some(counted) if ids > 0 || missing => Some(i64::try_from(ids) == Ok(counted)),
        _ => None,
    };
    if let (Some(false), Some(counted), false) = (ids_match_usage, counted, missing) {
        notes.add(&format!(
            "the reply has {ids} completion token ids and counts {counted}"
        ));
    }

    let mut logprobs_match_ids = None;
    for choice in &parts.choices {
        let Some(logprobs) = &choice.logprobs else {
            continue;
        };
        let gaps = logprobs.iter().filter(|logprob| logprob.is_none()).count();
        if gaps > 0 {
            notes.add(&format!(
                "choice {}: {gaps} of {} log probabilities are null",
                choice.index,
                logprobs.len()
            ));
        }
        if !choice.token_ids.is_empty() {
            let matches = logprobs.len() == choice.token_ids.len();
            if !matches {
                notes.add(&format!(
                    "choice {}: {} log probabilities for {} token ids",
                    choice.index,
                    logprobs.len(),
                    choice.token_ids.len()
                ));
            }
            logprobs_match_ids = Some(logprobs_match_ids.unwrap_or(true) && matches);
        }
    }
    Integrity {
        ids_match_usage,
        logprobs_match_ids,
        ended: reply.meta.ended,
        notes: notes.into_vec(),
    }
}
