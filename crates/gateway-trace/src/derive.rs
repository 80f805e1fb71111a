//! From the two halves of a call to its record.

use crate::record::has_error;
use crate::{Call, Endpoint, Integrity, Json, Reply, ReplyDigest, TokenCounts, TraceRecord};

/// The record of this call. Pure: the same halves give the same record.
#[must_use]
pub fn record(call: &Call, reply: &Reply) -> TraceRecord {
    let meta = &reply.meta;
    TraceRecord {
        trace_id: call.meta.trace_id.clone(),
        identity: call.meta.identity.clone(),
        model: call.meta.model.clone().unwrap_or_default(),
        span_type: call.meta.endpoint.span_type(),
        messages: Json::trusted("[]"),
        prompt_token_ids: Vec::new(),
        response_message: Json::empty_object(),
        completion_token_ids: Vec::new(),
        logprobs: None,
        routing_matrices: None,
        finish_reason: None,
        weight_version: call.meta.weight_version,
        latency_ms: meta.latency_ms,
        token_counts: TokenCounts::default(),
        timestamp: call.meta.arrived_at,
        metadata: Json::empty_object(),
        raw_request: None,
        raw_response: None,
        endpoint: call.meta.endpoint,
        stream: call.meta.stream,
        status: meta.status,
        outcome: meta.outcome,
        error: meta.error.clone(),
        choices: None,
        assembled_response: None,
        edits: meta.edits.clone(),
        ttft_ms: meta.ttft_ms,
        attempts: meta.attempts,
        attempt_log: meta.attempt_log.clone(),
        upstream: meta.upstream.clone(),
        upstream_reason: meta.upstream_reason.clone(),
        weight_version_end: meta.weight_version_end,
        parent_trace_id: None,
        lineage_id: None,
        superseded_by: None,
        principal: call.meta.principal.clone(),
        client: call.meta.client.clone(),
        instance_id: call.meta.instance_id.clone(),
        has_error: has_error(meta.outcome, None),
        request_id: meta.request_id.clone(),
        event_ms: meta.event_ms.clone(),
        integrity: Integrity {
            ended: meta.ended,
            notes: meta.notes.clone(),
            ..Integrity::default()
        },
    }
}

pub(crate) fn digest(_endpoint: Endpoint, _body: &[u8]) -> ReplyDigest {
    ReplyDigest::default()
}

pub(crate) fn requested_model(_request: &[u8]) -> Option<String> {
    None
}
