//! One request as it came in: what its head says, then what its body says.

use std::borrow::Cow;

use bytes::Bytes;
use gateway_auth::Principal;
use gateway_json::{Parsed, Value};
use gateway_metadata::{
    Claims, DataPath, Identity, PathError, SessionHeader, Sources, endpoint_of, fallback_session,
    merge, split_path,
};
use gateway_state::{ApiError, Ask, Live};
use gateway_trace::{ClientInfo, Endpoint};
use http::{HeaderMap, Method, header, request};

use crate::decode::{self, DecodeError};
use crate::edit::{no_repeat, truthy};
use crate::headers::lines;
use crate::inbound::{self, ReadError};

/// Top-level keys that are read of every recordable call.
const READ_KEYS: [&str; 4] = ["model", "stream", "metadata", "rllm"];

/// What the head of a request says.
pub(crate) struct Head<'p> {
    pub(crate) parts: &'p request::Parts,
    pub(crate) path: DataPath<'p>,
    /// `Some` for a recordable endpoint.
    pub(crate) endpoint: Option<Endpoint>,
    pub(crate) principal: Principal,
    /// Whether the endpoint takes a body with a `model` in it, recordable or not.
    names_model: bool,
}

/// A request, head and body.
pub(crate) struct Inbound<'p> {
    pub(crate) head: Head<'p>,
    pub(crate) body: &'p Bytes,
    /// Whether the body came in a content coding.
    pub(crate) decoded: bool,
    /// The body's root object, or why there is none.
    pub(crate) root: Result<Value<'p>, Cow<'static, str>>,
    pub(crate) identity: Identity,
    /// The client's own session header, where one was sent.
    pub(crate) session_header: Option<SessionHeader>,
    /// The model that the client named.
    pub(crate) own_model: Option<String>,
    /// The model that routing goes by: the pinned one, else the client's.
    model: Option<String>,
    pub(crate) stream: bool,
}

impl<'p> Head<'p> {
    /// # Errors
    /// 404 for a path that is none of the data plane's or says `/v1` twice, 400 for dot segments.
    pub(crate) fn new(parts: &'p request::Parts, principal: Principal) -> Result<Self, ApiError> {
        let path = split_path(parts.uri.path())
            .ok_or_else(|| ApiError::not_found("calls to models go to /v1/…"))?;
        path.check().map_err(|error| match error {
            PathError::RepeatedVersion => ApiError::not_found(error.to_string()),
            _ => ApiError::bad_request(error.to_string()),
        })?;
        let name = endpoint_of(path.api);
        let endpoint = (parts.method == Method::POST)
            .then(|| Endpoint::from_path(&name))
            .flatten();
        Ok(Self {
            parts,
            path,
            endpoint,
            principal,
            names_model: endpoint.is_some() || name == "messages/count_tokens",
        })
    }

    /// Reads the body, and decodes it where it is compressed; tells whether it was.
    ///
    /// # Errors
    /// 413, 415, 408 and 400 of the fault contract; the connection closes where bytes of this
    /// request may still be on their way.
    pub(crate) async fn read<B>(&self, body: B, live: &Live) -> Result<(Bytes, bool), ApiError>
    where
        B: http_body::Body<Data = Bytes>,
    {
        let limit = live.limits.max_request_bytes;
        let too_large = || ApiError::body_too_large(format!("the body is over {limit} bytes"));
        let coding = decode::coding(&self.parts.headers).map_err(unsupported)?;
        let body = inbound::read(body, limit, live.timeouts.request)
            .await
            .map_err(|error| {
                match error {
                    ReadError::TooLarge => too_large(),
                    ReadError::Timeout => {
                        ApiError::request_timeout("the body did not arrive in time")
                    }
                    ReadError::Broken => ApiError::bad_request("the body is cut off or malformed"),
                }
                .closing()
            })?;
        match coding {
            None => Ok((body, false)),
            Some(coding) => match decode::decode(coding, &body, limit) {
                Ok(decoded) => Ok((decoded, true)),
                Err(DecodeError::TooLarge) => Err(too_large()),
                Err(DecodeError::Corrupt) => Err(ApiError::bad_request(
                    "the body is not what its content-encoding says",
                )),
                Err(error @ DecodeError::Unsupported(_)) => Err(unsupported(error)),
            },
        }
    }

    /// Adds what the body says.
    ///
    /// # Errors
    /// 400 `bad_identity` if a winning identity value cannot be recorded.
    pub(crate) fn with_body(
        self,
        body: &'p Bytes,
        parsed: &'p Result<Parsed<'p>, gateway_json::Error>,
        decoded: bool,
        live: &Live,
    ) -> Result<Inbound<'p>, ApiError> {
        let root = root_object(body, parsed);
        let headers = &self.parts.headers;
        let session_header = fallback_session(lines(headers), &live.session_fallback_headers);
        let identity = merge(Sources {
            headers: Claims::from_headers(lines(headers)),
            body: root
                .as_ref()
                .map(|root| Claims::from_body(*root))
                .unwrap_or_default(),
            path: self.path.claims(),
            gateway_run_id: live.run_id.as_deref(),
            fallback_session: session_header.as_ref().map(|header| header.value.as_str()),
        })
        .map_err(|error| ApiError::bad_identity(error.to_string()))?;
        let member = |name: &str| root.as_ref().ok().and_then(|root| root.get(name));
        let own_model = member("model").and_then(Value::as_str).map(Cow::into_owned);
        let pinned = live.model.clone().filter(|_| self.names_model);
        Ok(Inbound {
            model: pinned.or_else(|| own_model.clone()),
            own_model,
            stream: member("stream").is_some_and(truthy),
            head: self,
            body,
            decoded,
            root,
            identity,
            session_header,
        })
    }
}

impl Inbound<'_> {
    /// What the choice of an upstream goes by.
    ///
    /// # Errors
    /// 400 where a recordable endpoint was sent something that the gateway cannot read.
    pub(crate) fn ask(&self) -> Result<Ask<'_>, ApiError> {
        if self.head.endpoint.is_some() {
            let root = self
                .root
                .as_ref()
                .map_err(|why| ApiError::bad_request(why.clone()))?;
            for key in READ_KEYS {
                no_repeat(self.body, *root, key)
                    .map_err(|error| ApiError::bad_request(error.to_string()))?;
            }
        }
        Ok(Ask {
            method: self.head.parts.method.as_str(),
            api: self.head.path.api,
            model: self.model.as_deref(),
            session: self.identity.session_id.as_deref(),
        })
    }

    /// The model to pin, on the endpoints that take one.
    pub(crate) fn model_pin<'l>(&self, live: &'l Live) -> Option<&'l str> {
        live.model.as_deref().filter(|_| self.head.names_model)
    }

    /// What the client says of itself.
    pub(crate) fn client(&self) -> ClientInfo {
        let headers = &self.head.parts.headers;
        ClientInfo {
            user_agent: text(headers, header::USER_AGENT.as_str()),
            retry_count: self.retry_count(),
            traceparent: text(headers, "traceparent"),
            session_header: self.session_header.clone(),
        }
    }

    /// How often the client has sent this call before, where it says so.
    pub(crate) fn retry_count(&self) -> Option<i64> {
        let headers = &self.head.parts.headers;
        let count = headers.get("x-stainless-retry-count")?.to_str().ok()?;
        count.trim().parse().ok()
    }

    /// What stands before the API path in the caller's URL.
    pub(crate) fn prefix(&self) -> &str {
        let path = self.head.parts.uri.path();
        path.strip_suffix(self.head.path.api).unwrap_or(path)
    }
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    let value = headers.get(name)?;
    Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
}

fn root_object<'p>(
    body: &[u8],
    parsed: &'p Result<Parsed<'p>, gateway_json::Error>,
) -> Result<Value<'p>, Cow<'static, str>> {
    match parsed.as_ref().map(Parsed::root) {
        Ok(root) if root.is_object() => Ok(root),
        Ok(_) => Err(Cow::Borrowed("the body is JSON, but no object")),
        Err(_) if body.is_empty() => Err(Cow::Borrowed(
            "the body is empty; a JSON object is expected",
        )),
        Err(error) => Err(Cow::Owned(format!("the body is not valid JSON: {error}"))),
    }
}

fn unsupported(error: DecodeError) -> ApiError {
    let name = match error {
        DecodeError::Unsupported(name) => name,
        DecodeError::TooLarge | DecodeError::Corrupt => String::new(),
    };
    ApiError::unsupported_encoding(format!(
        "content-encoding {name:?} is not supported: send one of gzip, deflate, br, zstd, or none"
    ))
}
