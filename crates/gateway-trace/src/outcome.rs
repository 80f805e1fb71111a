//! How a call ended.

use serde::{Deserialize, Serialize};

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The upstream's reply is whole and can be read.
    Completed,
    /// An upstream answered with an error, or with something from which no message can be read.
    UpstreamError,
    /// The upstream broke off, or ended a stream without its end mark.
    Truncated,
    /// The client left before the reply had ended.
    ClientDisconnected,
    /// No upstream answered.
    GatewayError,
    /// The gateway ended during the call.
    #[default]
    Interrupted,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Self; 6] = [
        Self::Completed,
        Self::UpstreamError,
        Self::Truncated,
        Self::ClientDisconnected,
        Self::GatewayError,
        Self::Interrupted,
    ];

    /// The name in traces.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::UpstreamError => "upstream_error",
            Self::Truncated => "truncated",
            Self::ClientDisconnected => "client_disconnected",
            Self::GatewayError => "gateway_error",
            Self::Interrupted => "interrupted",
        }
    }

    /// The outcome of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|outcome| outcome.as_str() == name)
    }
}

/// Why a call failed; every outcome but [`Outcome::Completed`] has one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallError {
    /// The class of error: the upstream's word for it, else one of the gateway's.
    pub r#type: String,
    /// The error itself: the upstream's code as text, else the HTTP status, else one of the
    /// gateway's codes (`unreadable_reply`, `truncated`, ...).
    pub code: String,
    /// For people.
    pub message: String,
}

impl CallError {
    /// An error of these three parts.
    #[must_use]
    pub fn new(r#type: &str, code: &str, message: impl Into<String>) -> Self {
        Self {
            r#type: r#type.to_owned(),
            code: code.to_owned(),
            message: message.into(),
        }
    }

    /// Of a 2xx reply from which no message can be read.
    pub(crate) fn unreadable(why: impl Into<String>) -> Self {
        Self::new("upstream_error", "unreadable_reply", why)
    }

    /// Of an upstream that did not send all of its reply.
    pub(crate) fn truncated(how: &str) -> Self {
        Self::new("upstream_error", "truncated", how)
    }

    /// Of a client that left.
    pub(crate) fn client_disconnected() -> Self {
        Self::new(
            "client_error",
            "client_disconnected",
            "the client left before the reply had ended",
        )
    }

    /// Of a gateway that ended during the call.
    pub(crate) fn interrupted() -> Self {
        Self::new(
            "api_error",
            "interrupted",
            "the gateway ended during the call",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::Outcome;

    #[test]
    fn names_are_those_of_the_json() {
        for outcome in Outcome::ALL {
            assert_eq!(Outcome::from_name(outcome.as_str()), Some(outcome));
            let json = serde_json::to_string(&outcome).unwrap();
            assert_eq!(json, format!("\"{}\"", outcome.as_str()));
        }
    }
}
