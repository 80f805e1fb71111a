//! The one shape of an error that the gateway itself answers with.

use std::borrow::Cow;
use std::fmt;

use http::header::{ALLOW, CONNECTION, CONTENT_TYPE, RETRY_AFTER, UPGRADE, WWW_AUTHENTICATE};
use http::{HeaderValue, Response, StatusCode};

/// What went wrong, as `error.code` says it. Each has its status and its `error.type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[allow(
    missing_docs,
    reason = "the names are the codes, and the table below says the rest"
)]
pub enum Code {
    BadRequest,
    BadIdentity,
    Unauthorized,
    Forbidden,
    PathNotAllowed,
    NoRoute,
    NotFound,
    MethodNotAllowed,
    RequestTimeout,
    Conflict,
    BodyTooLarge,
    UriTooLong,
    UnsupportedEncoding,
    ExpectationFailed,
    MisdirectedRequest,
    UpgradeRequired,
    HeadersTooLarge,
    Overloaded,
    InternalError,
    NotImplemented,
    UpstreamUnreachable,
    UpstreamProtocol,
    NoHealthyWorker,
    Draining,
    StoreUnavailable,
    Paused,
    UpstreamTimeout,
}

impl Code {
    /// Every code, in the order of the enum.
    pub const ALL: [Self; 27] = [
        Self::BadRequest,
        Self::BadIdentity,
        Self::Unauthorized,
        Self::Forbidden,
        Self::PathNotAllowed,
        Self::NoRoute,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::RequestTimeout,
        Self::Conflict,
        Self::BodyTooLarge,
        Self::UriTooLong,
        Self::UnsupportedEncoding,
        Self::ExpectationFailed,
        Self::MisdirectedRequest,
        Self::UpgradeRequired,
        Self::HeadersTooLarge,
        Self::Overloaded,
        Self::InternalError,
        Self::NotImplemented,
        Self::UpstreamUnreachable,
        Self::UpstreamProtocol,
        Self::NoHealthyWorker,
        Self::Draining,
        Self::StoreUnavailable,
        Self::Paused,
        Self::UpstreamTimeout,
    ];

    /// Status, `error.type` and `error.code`.
    const fn row(self) -> (u16, &'static str, &'static str) {
        const INVALID: &str = "invalid_request_error";
        const UPSTREAM: &str = "upstream_error";
        match self {
            Self::BadRequest => (400, INVALID, "bad_request"),
            Self::BadIdentity => (400, INVALID, "bad_identity"),
            Self::Unauthorized => (401, "auth_error", "unauthorized"),
            Self::Forbidden => (403, "auth_error", "forbidden"),
            Self::PathNotAllowed => (403, "auth_error", "path_not_allowed"),
            Self::NoRoute => (404, "not_found_error", "no_route"),
            Self::NotFound => (404, "not_found_error", "not_found"),
            Self::MethodNotAllowed => (405, INVALID, "method_not_allowed"),
            Self::RequestTimeout => (408, INVALID, "request_timeout"),
            Self::Conflict => (409, INVALID, "conflict"),
            Self::BodyTooLarge => (413, INVALID, "body_too_large"),
            Self::UriTooLong => (414, INVALID, "uri_too_long"),
            Self::UnsupportedEncoding => (415, INVALID, "unsupported_encoding"),
            Self::ExpectationFailed => (417, INVALID, "expectation_failed"),
            Self::MisdirectedRequest => (421, INVALID, "misdirected_request"),
            Self::UpgradeRequired => (426, INVALID, "upgrade_required"),
            Self::HeadersTooLarge => (431, INVALID, "headers_too_large"),
            Self::Overloaded => (429, "rate_limit_error", "overloaded"),
            Self::InternalError => (500, "api_error", "internal_error"),
            Self::NotImplemented => (501, "api_error", "not_implemented"),
            Self::UpstreamUnreachable => (502, UPSTREAM, "upstream_unreachable"),
            Self::UpstreamProtocol => (502, UPSTREAM, "upstream_protocol"),
            Self::NoHealthyWorker => (503, UPSTREAM, "no_healthy_worker"),
            Self::Draining => (503, UPSTREAM, "draining"),
            Self::StoreUnavailable => (503, UPSTREAM, "store_unavailable"),
            Self::Paused => (503, UPSTREAM, "paused"),
            Self::UpstreamTimeout => (504, UPSTREAM, "upstream_timeout"),
        }
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(self) -> u16 {
        self.row().0
    }

    /// The word of `error.type`.
    #[must_use]
    pub fn kind(self) -> &'static str {
        self.row().1
    }

    /// The word of `error.code`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.row().2
    }
}

/// An error that the gateway itself answers with: `message` is for the client, and never holds a
/// secret or another caller's data. There is one constructor for each code.
///
/// ```
/// let error = gateway_state::ApiError::no_route("no route or worker serves the model `x`");
/// assert_eq!(
///     error.body(),
///     r#"{"type":"error","error":{"message":"no route or worker serves the model `x`","type":"not_found_error","code":"no_route","param":null}}"#,
/// );
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiError {
    code: Code,
    message: Cow<'static, str>,
    retry_after: Option<u32>,
    allow: Option<&'static str>,
    close: bool,
}

/// A text that is written down here, or made for the occasion.
type Text = Cow<'static, str>;

macro_rules! constructors {
    ($($(#[$doc:meta])* $name:ident => $code:ident;)*) => {$(
        $(#[$doc])*
        #[must_use]
        pub fn $name(message: impl Into<Text>) -> Self {
            Self::new(Code::$code, message)
        }
    )*};
}

impl ApiError {
    fn new(code: Code, message: impl Into<Text>) -> Self {
        Self {
            code,
            message: message.into(),
            retry_after: None,
            allow: None,
            close: false,
        }
    }

    constructors! {
        /// 400: malformed HTTP, or JSON where the gateway itself must read it.
        bad_request => BadRequest;
        /// 400: an identity value that cannot be recorded.
        bad_identity => BadIdentity;
        /// 403: whoever calls has no right to this.
        forbidden => Forbidden;
        /// 403: the route does not open this path.
        path_not_allowed => PathNotAllowed;
        /// 404: no route and no worker for the call.
        no_route => NoRoute;
        /// 404: no such path, session, trace or worker.
        not_found => NotFound;
        /// 408: the request did not arrive in time.
        request_timeout => RequestTimeout;
        /// 409: the request contradicts what is there.
        conflict => Conflict;
        /// 413: the body is over `max_request_bytes`.
        body_too_large => BodyTooLarge;
        /// 414: the target is too long.
        uri_too_long => UriTooLong;
        /// 415: a content coding that is not decoded here.
        unsupported_encoding => UnsupportedEncoding;
        /// 417: an `Expect` other than `100-continue`.
        expectation_failed => ExpectationFailed;
        /// 421: a `Host` that is not ours.
        misdirected_request => MisdirectedRequest;
        /// 431: too many header lines, or too long ones.
        headers_too_large => HeadersTooLarge;
        /// 500: a fault of the gateway's own.
        internal_error => InternalError;
        /// 501: a method of which the gateway knows nothing.
        not_implemented => NotImplemented;
        /// 502: no connection to the upstream, or it broke before a reply came.
        upstream_unreachable => UpstreamUnreachable;
        /// 502: the upstream answered with what is no HTTP.
        upstream_protocol => UpstreamProtocol;
        /// 504: the upstream did not answer in time.
        upstream_timeout => UpstreamTimeout;
    }

    /// 401: no valid token, whatever was presented instead.
    #[must_use]
    pub fn unauthorized() -> Self {
        Self::new(Code::Unauthorized, "missing or invalid bearer token")
    }

    /// 405, with the methods that the path takes, separated by `, `.
    #[must_use]
    pub fn method_not_allowed(allow: &'static str) -> Self {
        let message = format!("this path takes only {allow}");
        Self {
            allow: Some(allow),
            ..Self::new(Code::MethodNotAllowed, message)
        }
    }

    /// 426: WebSocket on the data plane, which clients give up at once on this status.
    #[must_use]
    pub fn upgrade_required() -> Self {
        let message = "WebSocket is not offered here; send the request by POST over HTTP/1.1";
        Self::new(Code::UpgradeRequired, message)
    }

    /// 429: one of the gateway's own limits.
    #[must_use]
    pub fn overloaded(message: impl Into<Text>) -> Self {
        Self::new(Code::Overloaded, message).retry_after(1)
    }

    /// 503: workers, but none healthy.
    #[must_use]
    pub fn no_healthy_worker(message: impl Into<Text>, retry_after: u32) -> Self {
        Self::new(Code::NoHealthyWorker, message).retry_after(retry_after)
    }

    /// 503: the gateway takes no new calls because it is about to end; closes the connection.
    #[must_use]
    pub fn draining() -> Self {
        Self::new(Code::Draining, "the gateway is shutting down")
            .retry_after(2)
            .closing()
    }

    /// 503: nothing can be recorded, or read, at present.
    #[must_use]
    pub fn store_unavailable(message: impl Into<Text>) -> Self {
        Self::new(Code::StoreUnavailable, message).retry_after(5)
    }

    /// 503: the call waited at the pause gate for too long.
    #[must_use]
    pub fn paused() -> Self {
        Self::new(Code::Paused, "the gateway is paused for a weight update").retry_after(5)
    }

    /// The same error, after which the connection is closed: what follows on it is in doubt.
    #[must_use]
    pub fn closing(self) -> Self {
        Self {
            close: true,
            ..self
        }
    }

    fn retry_after(self, seconds: u32) -> Self {
        Self {
            retry_after: Some(seconds),
            ..self
        }
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.code.status()
    }

    /// The word of `error.type`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        self.code.kind()
    }

    /// The word of `error.code`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.code.as_str()
    }

    /// The code as a type, for counters.
    #[must_use]
    pub fn reason(&self) -> Code {
        self.code
    }

    /// The text for the client.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Whether the connection has to be closed.
    #[must_use]
    pub fn closes(&self) -> bool {
        self.close
    }

    /// The JSON body, which clients of OpenAI and of Anthropic both understand.
    #[must_use]
    pub fn body(&self) -> String {
        // A string always has a JSON form, and so has not to be an error case of its own.
        let message = serde_json::Value::from(&*self.message);
        let (kind, code) = (self.kind(), self.code());
        format!(
            r#"{{"type":"error","error":{{"message":{message},"type":"{kind}","code":"{code}","param":null}}}}"#
        )
    }

    /// The whole reply.
    #[must_use]
    pub fn into_response(self) -> Response<String> {
        let mut response = Response::new(self.body());
        *response.status_mut() =
            StatusCode::from_u16(self.status()).expect("the table holds valid statuses only");
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        if let Some(allow) = self.allow {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        if self.code == Code::Unauthorized {
            let challenge = HeaderValue::from_static(r#"Bearer realm="rllm-gateway""#);
            headers.insert(WWW_AUTHENTICATE, challenge);
        }
        if self.code == Code::UpgradeRequired {
            // RFC 9110 §15.5.22 wants to be told to which protocol: the one that is spoken here.
            headers.insert(UPGRADE, HeaderValue::from_static("HTTP/1.1"));
            headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        }
        if self.close {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.status(), self.code(), self.message)
    }
}

impl std::error::Error for ApiError {}

impl From<gateway_auth::Refusal> for ApiError {
    fn from(refusal: gateway_auth::Refusal) -> Self {
        match refusal {
            gateway_auth::Refusal::Unauthorized => Self::unauthorized(),
            gateway_auth::Refusal::RepeatedAuthorization => {
                Self::bad_request(refusal.to_string()).closing()
            }
            // Whatever else a refusal may become, it is one of somebody who is known.
            _ => Self::forbidden(refusal.to_string()),
        }
    }
}

#[cfg(test)]
mod tests;
