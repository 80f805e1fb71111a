//! The record of one call, with every field of the public schema.

use gateway_metadata::Identity;

use crate::{Attempt, CallError, ClientInfo, Endpoint, Json, Outcome, SpanType};

pub mod schema;
mod snapshot;
pub(crate) mod write;

pub use write::Include;

/// The record of one call.
///
/// The fields stand in the order of the JSON form. JSON that came from outside is kept as text
/// ([`Json`]) and never re-written; what is typed is typed as strictly as the readers of the
/// reference implementation are.
#[derive(Debug, Clone, PartialEq)]
pub struct TraceRecord {
    /// The id of the trace, a UUIDv7.
    pub trace_id: String,
    /// Whose call it was: the JSON fields `session_id` (`""` for none), `run_id`, `harness`,
    /// `step_id`, `parent_span_id`, `project` and `experiment`.
    pub identity: Identity,
    /// What the client asked for; else what the upstream named; else `""`.
    pub model: String,
    /// `llm.call` or `llm.embedding`.
    pub span_type: SpanType,
    /// An array of objects: the request's messages. An entry that is no object stands as
    /// `{"content": it}`.
    pub messages: Json,
    /// The prompt's token ids: the reply's, else those of the request.
    pub prompt_token_ids: Vec<i64>,
    /// The assistant message of choice 0, without its null members, `content` aside.
    pub response_message: Json,
    /// The token ids of choice 0.
    pub completion_token_ids: Vec<i64>,
    /// The log probabilities of choice 0, one for each completion token; none where the upstream
    /// left one null, and `choices` then holds them with their gaps.
    pub logprobs: Option<Vec<f64>>,
    /// The routing matrices of choice 0.
    pub routing_matrices: Option<Vec<String>>,
    /// Why choice 0 ended, in OpenAI's words.
    pub finish_reason: Option<String>,
    /// The reply's own weight version, else the gateway's when the call arrived.
    pub weight_version: Option<i64>,
    /// From the request's last byte to the upstream's last byte, in milliseconds.
    pub latency_ms: f64,
    /// What the upstream counted.
    pub token_counts: TokenCounts,
    /// Arrival, in UNIX seconds.
    pub timestamp: f64,
    /// The request's `metadata` without rLLM's part, `{}` if it has none.
    pub metadata: Json,
    /// The request as the client sent it, without rLLM's keys; `{"_body": ...}` if it is no JSON
    /// object.
    pub raw_request: Option<Json>,
    /// The whole reply as the upstream sent it; `{"_body": ...}` if it is no JSON object; none for
    /// a streamed reply.
    pub raw_response: Option<Json>,

    /// The endpoint.
    pub endpoint: Endpoint,
    /// Whether the client asked for a stream.
    pub stream: bool,
    /// The HTTP status that the client got.
    pub status: Option<u16>,
    /// How the call ended.
    pub outcome: Outcome,
    /// Why it failed; set for every outcome but [`Outcome::Completed`].
    pub error: Option<CallError>,
    /// Every choice, where there is more than one or a log probability is null.
    pub choices: Option<Vec<ChoiceRecord>>,
    /// The whole reply in the upstream's own dialect, put together from a stream.
    pub assembled_response: Option<Json>,
    /// What was sent instead of the client's own.
    pub edits: Option<Json>,
    /// From the request's last byte to the first byte of the reply's body, in milliseconds.
    pub ttft_ms: Option<f64>,
    /// How often an upstream was tried.
    pub attempts: u32,
    /// Each attempt, where there was more than one.
    pub attempt_log: Option<Vec<Attempt>>,
    /// The worker id or the route name that answered.
    pub upstream: Option<String>,
    /// Why that one.
    pub upstream_reason: Option<String>,
    /// The gateway's weight version at the reply's end.
    pub weight_version_end: Option<i64>,
    /// The earlier call of the session that this one extends; set when the record is committed.
    pub parent_trace_id: Option<String>,
    /// The line of the session that this call is on; set when the record is committed.
    pub lineage_id: Option<String>,
    /// The later call that repeated this failed one; set when that one is committed.
    pub superseded_by: Option<String>,
    /// In which role the client called.
    pub principal: Option<String>,
    /// What the client said of itself.
    pub client: ClientInfo,
    /// The gateway that wrote the record.
    pub instance_id: String,
    /// Whether the call failed, or ended for a reason that no trainer expects.
    pub has_error: bool,
    /// The upstream's `x-request-id`, else its `request-id`.
    pub request_id: Option<String>,
    /// For streams, milliseconds from the request's last byte to each event with data. In the
    /// JSON form only where [`Include::timing`] asks for it.
    pub event_ms: Option<Vec<u32>>,
    /// What was checked, and what could not be read.
    pub integrity: Integrity,
}

/// One choice of a reply.
#[derive(Debug, Clone, PartialEq)]
pub struct ChoiceRecord {
    /// Its `index`, else its position.
    pub index: i64,
    /// Its message, as [`TraceRecord::response_message`].
    pub message: Json,
    /// The token ids of its prompt, where they are known.
    pub prompt_token_ids: Option<Vec<i64>>,
    /// Its token ids.
    pub token_ids: Vec<i64>,
    /// Its log probabilities, one for each token, null where the upstream left one null.
    pub logprobs: Option<Vec<Option<f64>>>,
    /// Why it ended.
    pub finish_reason: Option<String>,
    /// Its routing matrices.
    pub routing_matrices: Option<Vec<String>>,
}

/// What the upstream counted, as far as it told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TokenCounts {
    /// Tokens of the prompt, cached ones included.
    pub prompt: Option<i64>,
    /// Tokens of the completion.
    pub completion: Option<i64>,
    /// Of the prompt's, those that were cached.
    pub cached: Option<i64>,
    /// Of the completion's, those spent on reasoning.
    pub reasoning: Option<i64>,
}

/// What was checked of a call; none where a check does not apply.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Integrity {
    /// Whether there are as many completion token ids as the upstream counted.
    pub ids_match_usage: Option<bool>,
    /// Whether there are as many log probabilities as token ids.
    pub logprobs_match_ids: Option<bool>,
    /// Whether the reply's end was seen.
    pub ended: bool,
    /// What could not be read, was capped or is missing.
    pub notes: Vec<String>,
}

/// Whether a call with this outcome and finish reason counts as one with an error.
pub(crate) fn has_error(outcome: Outcome, finish_reason: Option<&str>) -> bool {
    outcome != Outcome::Completed
        || finish_reason.is_some_and(|reason| {
            !matches!(reason, "stop" | "tool_calls" | "length" | "function_call")
        })
}
