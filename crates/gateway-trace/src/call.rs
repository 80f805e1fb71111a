//! A call as it was admitted: the first half of a trace.

use bytes::Bytes;
use gateway_metadata::{Identity, SessionHeader};
use serde::{Deserialize, Serialize};

use crate::{DecodeError, Endpoint, framing};

/// A call as it was admitted.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// All that is known of it but its body.
    pub meta: CallMeta,
    /// The client's body, decoded of its content encoding, before any edit of the gateway: rLLM's
    /// own keys are still in it, and leave it when the record is derived.
    pub request: Bytes,
}

/// What is known of a call when it is admitted.
///
/// The JSON form may grow: fields that a reader does not know are ignored, and fields that the
/// writer did not know take their defaults.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CallMeta {
    /// The id of the trace, a UUIDv7.
    pub trace_id: String,
    /// When the call arrived, in UNIX seconds.
    pub arrived_at: f64,
    /// Who calls, merged from all sources.
    #[serde(default)]
    pub identity: Identity,
    /// The endpoint.
    pub endpoint: Endpoint,
    /// Whether the client asked for a stream.
    #[serde(default)]
    pub stream: bool,
    /// The model that the client named, where it named one with a string. If this is none, the
    /// record looks for it in the body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// In which role: `agent`, `admin`, `session`; none without authentication.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principal: Option<String>,
    /// What the client said of itself.
    #[serde(default)]
    pub client: ClientInfo,
    /// The gateway that admitted the call.
    #[serde(default)]
    pub instance_id: String,
    /// The gateway's weight version at that time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight_version: Option<i64>,
}

impl CallMeta {
    /// A call with this id and endpoint, and nothing else known of it.
    #[must_use]
    pub fn new(trace_id: impl Into<String>, endpoint: Endpoint, arrived_at: f64) -> Self {
        Self {
            trace_id: trace_id.into(),
            arrived_at,
            identity: Identity::default(),
            endpoint,
            stream: false,
            model: None,
            principal: None,
            client: ClientInfo::default(),
            instance_id: String::new(),
            weight_version: None,
        }
    }
}

/// What a client said of itself in its headers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientInfo {
    /// `user-agent`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
    /// `x-stainless-retry-count`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_count: Option<i64>,
    /// `traceparent`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// The client's own session header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_header: Option<SessionHeader>,
}

impl Call {
    /// Appends the call to `out` in the form that [`Call::decode`] reads: the length of the meta
    /// data (4 bytes, little endian), the meta data as JSON, the request's bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        framing::encode(&self.meta, &self.request, out);
    }

    /// Reads what [`Call::encode`] wrote. The request shares the memory of `bytes`.
    ///
    /// # Errors
    /// [`DecodeError`], if `bytes` was not written by [`Call::encode`], or by one that knew
    /// endpoints that this version does not.
    pub fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        let (meta, request) = framing::decode(bytes)?;
        Ok(Self { meta, request })
    }
}
