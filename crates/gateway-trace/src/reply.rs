//! What became of a call: the second half of a trace.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{CallError, DecodeError, Json, Outcome, TokenCounts, framing};

/// What became of a call.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Reply {
    /// All that is known of it but its body.
    pub meta: ReplyMeta,
    /// The body as the upstream sent it; of a streamed reply the whole reply in the upstream's own
    /// dialect, assembled from the stream. Empty where there is none.
    pub body: Bytes,
}

/// What is known of a call when it has ended.
///
/// A [`Recorder`](crate::Recorder) fills what the reply itself tells; what concerns the way to the
/// upstream (`attempts` to `edits`) is for the gateway to set. The JSON form may grow, as that of
/// [`CallMeta`](crate::CallMeta) may.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReplyMeta {
    /// How the call ended.
    pub outcome: Outcome,
    /// Why it failed, if it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<CallError>,
    /// The HTTP status that the client got.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Whether the reply was an event stream, so that the body is an assembled one.
    pub streamed: bool,
    /// From the request's last byte to the upstream's last byte, in milliseconds.
    pub latency_ms: f64,
    /// From the request's last byte to the first byte of the reply's body, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttft_ms: Option<f64>,
    /// For streams, milliseconds from the request's last byte to each event with data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_ms: Option<Vec<u32>>,
    /// Whether the reply's end was seen: its end mark came, its length was met, or its JSON is
    /// complete.
    pub ended: bool,
    /// What the recorder has to say that nothing else can.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// The upstream's `x-request-id`, else its `request-id`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// What [`summary`](crate::summary) needs of the body, read when the reply ended. Where it is
    /// none, the body is read for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<ReplyDigest>,

    /// How often an upstream was tried.
    pub attempts: u32,
    /// Each attempt, where there was more than one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt_log: Option<Vec<Attempt>>,
    /// The worker id or the route name that answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream: Option<String>,
    /// Why that one: `route`, `sticky`, `new`, `moved`, `overflow`, `least_loaded`, `round_robin`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream_reason: Option<String>,
    /// The gateway's weight version when the call passed the pause gate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight_version: Option<i64>,
    /// The gateway's weight version at the reply's end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight_version_end: Option<i64>,
    /// Whether token ids were asked of the upstream, by the client or by the gateway: only then is
    /// it worth a note if none came.
    pub ids_asked: bool,
    /// What was sent instead of the client's own: `{"set": {..}, "removed": [..]}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub edits: Option<Json>,
    /// Of an [imported](crate::import) trace, the fields that its old record says otherwise than
    /// its bodies do, as an object: they stand in the record in place of what is derived.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stated: Option<Json>,
}

/// One attempt to reach an upstream.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// The worker id or the route name.
    pub upstream: Option<String>,
    /// The HTTP status, if there was an answer.
    pub status: Option<u16>,
    /// The gateway's code for what went wrong, if anything did.
    pub error: Option<String>,
    /// How long it took, in milliseconds.
    pub ms: f64,
}

/// What the columns of a trace, and the metrics, need of a reply's body.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplyDigest {
    /// The model that the upstream named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Why choice 0 ended, in OpenAI's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finish_reason: Option<String>,
    /// The tokens of the prompt that the upstream counted, cached ones included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_tokens: Option<i64>,
    /// The tokens of the completion that it counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion_tokens: Option<i64>,
}

impl ReplyDigest {
    pub(crate) fn count(&mut self, counts: TokenCounts) {
        self.prompt_tokens = counts.prompt;
        self.completion_tokens = counts.completion;
    }
}

impl Reply {
    /// Of a call that the gateway's own end cut off: `partial` is what was journalled of its reply
    /// before, if anything was.
    #[must_use]
    pub fn interrupted(partial: Option<Reply>) -> Self {
        let mut reply = partial.unwrap_or_default();
        reply.meta.outcome = Outcome::Interrupted;
        reply.meta.error = Some(CallError::interrupted());
        reply
    }

    /// Appends the reply to `out` in the form that [`Reply::decode`] reads: the length of the meta
    /// data (4 bytes, little endian), the meta data as JSON, the body's bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        framing::encode(&self.meta, &self.body, out);
    }

    /// Reads what [`Reply::encode`] wrote. The body shares the memory of `bytes`.
    ///
    /// # Errors
    /// [`DecodeError`], if `bytes` was not written by [`Reply::encode`].
    pub fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        let (meta, body) = framing::decode(bytes)?;
        Ok(Self { meta, body })
    }
}
