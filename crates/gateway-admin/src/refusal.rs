//! Refusals: everything that goes wrong here becomes the one error shape, in this file.

use std::error::Error;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use gateway_metadata::IdentityError;
use gateway_state::{AddError, ApiError};
use gateway_store::{ChangeError, FlushError, ReadError, Unavailable};
use http::Method;

use crate::body::MAX_BODY_BYTES;

/// An [`ApiError`] that a handler can return, or that is one.
#[derive(Clone, Debug)]
pub(crate) struct Refusal(ApiError);

impl Refusal {
    /// 400: a named value is missing, of the wrong type or out of range. `problem` is read after
    /// the name.
    pub(crate) fn field(name: &str, problem: impl std::fmt::Display) -> Self {
        Self(ApiError::bad_request(format!("`{name}` {problem}")))
    }

    /// 400: the request as a whole cannot be read.
    pub(crate) fn malformed(message: impl Into<String>) -> Self {
        Self(ApiError::bad_request(message.into()))
    }

    /// 400: the body ended before its length, so that nothing after it can be read.
    pub(crate) fn broken_body() -> Self {
        Self(ApiError::bad_request("the request body broke off").closing())
    }

    /// 400: a value that cannot name a session or run.
    pub(crate) fn identity(message: impl Into<String>) -> Self {
        Self(ApiError::bad_identity(message.into()))
    }

    /// 404: the path is right, but what it names is not there.
    pub(crate) fn unknown(kind: &str, id: &str) -> Self {
        Self(ApiError::not_found(format!("there is no {kind} `{id}`")))
    }

    /// 404: the path is nobody's; 501 for a method that means nothing on any path.
    pub(crate) fn no_path(method: &Method) -> Self {
        const KNOWN: [Method; 7] = [
            Method::GET,
            Method::HEAD,
            Method::POST,
            Method::PUT,
            Method::PATCH,
            Method::DELETE,
            Method::OPTIONS,
        ];
        if !KNOWN.contains(method) {
            return Self::unknown_method();
        }
        Self(ApiError::not_found(
            "no such path; model calls go to /v1/… or /sessions/{session_id}/v1/…",
        ))
    }

    /// 405: the path is right, the method is not.
    pub(crate) fn method(allow: &'static str) -> Self {
        Self(ApiError::method_not_allowed(allow))
    }

    /// 501: a method that means nothing here, on a path that is nobody's.
    pub(crate) fn unknown_method() -> Self {
        Self(ApiError::not_implemented("the method is not known here"))
    }

    /// 408: the body did not come.
    pub(crate) fn body_timeout() -> Self {
        Self(ApiError::request_timeout("the request body did not arrive in time").closing())
    }

    /// 503: the body had not come when the gateway was to end.
    pub(crate) fn draining() -> Self {
        Self(ApiError::draining())
    }

    /// 409: the request would have to guess.
    pub(crate) fn conflict(message: String) -> Self {
        Self(ApiError::conflict(message))
    }

    /// 413: the body is larger than any management request.
    pub(crate) fn body_too_large() -> Self {
        let message = format!("the request body is over {MAX_BODY_BYTES} bytes");
        Self(ApiError::body_too_large(message).closing())
    }

    /// 415: the body is compressed.
    pub(crate) fn compressed() -> Self {
        let message = "a management request must not be compressed";
        Self(ApiError::unsupported_encoding(message).closing())
    }

    /// 500: a fault of the gateway's own, which is in the log.
    pub(crate) fn internal() -> Self {
        Self(ApiError::internal_error("internal error"))
    }

    #[cfg(test)]
    pub(crate) fn code(&self) -> &'static str {
        self.0.code()
    }
}

impl From<IdentityError> for Refusal {
    fn from(error: IdentityError) -> Self {
        Self::identity(error.to_string())
    }
}

/// 400, naming the field; 409 for an id that is taken.
impl From<AddError> for Refusal {
    fn from(error: AddError) -> Self {
        let message = error.to_string();
        Self(match error {
            AddError::IdTaken => ApiError::conflict(message),
            _ => ApiError::bad_request(message),
        })
    }
}

/// What was finished before could not be read in time: a retry may help.
impl From<ReadError> for Refusal {
    fn from(error: ReadError) -> Self {
        Self(ApiError::store_unavailable(chain(&error)))
    }
}

/// The change is not known to be made: a retry may help, unless it never fits.
impl From<ChangeError> for Refusal {
    fn from(error: ChangeError) -> Self {
        Self(match &error {
            ChangeError::Unavailable(Unavailable::TooLarge { .. }) => {
                ApiError::body_too_large(chain(&error))
            }
            _ => ApiError::store_unavailable(chain(&error)),
        })
    }
}

/// 500, naming what is not where it belongs.
impl From<FlushError> for Refusal {
    fn from(error: FlushError) -> Self {
        Self(ApiError::internal_error(format!("not flushed: {error}")))
    }
}

/// An error with its causes: who asks the management plane runs the gateway, and has to know.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = self.0.clone().into_response().map(Body::from);
        // For the counter and the log, which are kept where all replies leave.
        response.extensions_mut().insert(self.0);
        response
    }
}
