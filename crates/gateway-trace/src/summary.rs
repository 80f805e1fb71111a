//! The few fields of a record that a store keeps as columns.

use gateway_metadata::Identity;

use crate::record::has_error;
use crate::{Call, Endpoint, Outcome, Reply, SpanType, derive};

/// The fields of a record by which traces are found. Equal to the record's own, but cheaper to
/// make.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// The id of the trace.
    pub trace_id: String,
    /// Whose call it was; a call without a session has the session `""` in its record.
    pub identity: Identity,
    /// What the client asked for; else what the upstream named; else `""`.
    pub model: String,
    /// The kind of span.
    pub span_type: SpanType,
    /// The endpoint.
    pub endpoint: Endpoint,
    /// Whether the client asked for a stream.
    pub stream: bool,
    /// The HTTP status that the client got.
    pub status: Option<u16>,
    /// How the call ended.
    pub outcome: Outcome,
    /// Why choice 0 ended.
    pub finish_reason: Option<String>,
    /// Whether the call counts as one with an error.
    pub has_error: bool,
    /// Milliseconds, as in the record.
    pub latency_ms: f64,
    /// Arrival, in UNIX seconds.
    pub timestamp: f64,
}

impl Summary {
    /// The session, `""` for a call without one.
    #[must_use]
    pub fn session_id(&self) -> &str {
        self.identity.session_id.as_deref().unwrap_or_default()
    }
}

/// The columns of the trace of this call. Reads the bodies only for what neither half has noted.
#[must_use]
pub fn summary(call: &Call, reply: &Reply) -> Summary {
    let meta = &reply.meta;
    let digest = match &meta.digest {
        Some(digest) => digest.clone(),
        None => derive::digest(call.meta.endpoint, &reply.body),
    };
    let model = call
        .meta
        .model
        .clone()
        .or_else(|| derive::requested_model(&call.request))
        .or(digest.model);
    Summary {
        trace_id: call.meta.trace_id.clone(),
        identity: call.meta.identity.clone(),
        model: model.unwrap_or_default(),
        span_type: call.meta.endpoint.span_type(),
        endpoint: call.meta.endpoint,
        stream: call.meta.stream,
        status: meta.status,
        outcome: meta.outcome,
        has_error: has_error(meta.outcome, digest.finish_reason.as_deref()),
        finish_reason: digest.finish_reason,
        latency_ms: meta.latency_ms,
        timestamp: call.meta.arrived_at,
    }
}
