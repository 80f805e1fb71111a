//! The body of a management request: read within a limit and a patience, then taken as JSON.

use std::time::Duration;

use axum::extract::{FromRequest, Request};
use bytes::{Bytes, BytesMut};
use gateway_json::{Dialect, Value, parse};
use http::{HeaderMap, header};
use http_body_util::BodyExt;

use crate::Shared;
use crate::fields::Fields;
use crate::refusal::Refusal;

/// How large a management request may be, in bytes. The largest ones are lists of session ids and
/// session metadata; model calls have a limit of their own.
pub(crate) const MAX_BODY_BYTES: usize = 8 * 1024 * 1024;

/// How often it is asked, once the gateway is to end, whether calls are still under way. While they
/// are, this plane is served as ever; afterwards whoever does not send the rest of a body must not
/// hold up the end.
const DRAIN_POLL: Duration = Duration::from_millis(250);

/// The whole body of a request.
pub(crate) struct Body(Bytes);

impl Body {
    /// The body as a JSON object. No body at all is an object without members, because every
    /// member of every request may be left out or is asked for by name.
    ///
    /// # Errors
    /// What is no JSON, or no object, is refused as malformed.
    pub(crate) fn object(&self) -> Result<Object<'_>, Refusal> {
        if self.0.trim_ascii().is_empty() {
            return Ok(Object(None));
        }
        let root = parse(&self.0, Dialect::Strict)
            .map_err(|error| Refusal::malformed(format!("the body is not JSON: {error}")))?;
        if !root.is_object() {
            return Err(Refusal::malformed("the body must be a JSON object"));
        }
        Ok(Object(Some(root)))
    }
}

impl FromRequest<Shared> for Body {
    type Rejection = Refusal;

    async fn from_request(request: Request, shared: &Shared) -> Result<Self, Refusal> {
        let (parts, body) = request.into_parts();
        check_head(&parts.headers)?;
        let too_late = async {
            shared.state.drain().wait().await;
            tokio::time::sleep(DRAIN_POLL).await;
            while shared.state.pause().under_way() > 0 {
                tokio::time::sleep(DRAIN_POLL).await;
            }
        };
        tokio::select! {
            biased;
            read = read(body, shared.patience()) => read.map(Self),
            () = too_late => Err(Refusal::draining()),
        }
    }
}

/// Refuses what the head alone shows to be unacceptable, before a byte of the body is asked for.
fn check_head(headers: &HeaderMap) -> Result<(), Refusal> {
    for coding in headers.get_all(header::CONTENT_ENCODING) {
        if !coding
            .as_bytes()
            .trim_ascii()
            .eq_ignore_ascii_case(b"identity")
        {
            return Err(Refusal::compressed());
        }
    }
    let length = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok());
    match length.and_then(|text| text.parse::<u64>().ok()) {
        Some(length) if length > MAX_BODY_BYTES as u64 => Err(Refusal::body_too_large()),
        _ => Ok(()),
    }
}

/// Reads a body to its end; `patience` is the time between two of its frames.
async fn read(mut body: axum::body::Body, patience: Duration) -> Result<Bytes, Refusal> {
    let mut whole = BytesMut::new();
    loop {
        let frame = tokio::time::timeout(patience, body.frame())
            .await
            .map_err(|_| Refusal::body_timeout())?;
        let Some(frame) = frame else {
            return Ok(whole.freeze());
        };
        let frame = frame.map_err(|_| Refusal::broken_body())?;
        if let Ok(data) = frame.into_data() {
            if whole.len() + data.len() > MAX_BODY_BYTES {
                return Err(Refusal::body_too_large());
            }
            whole.extend_from_slice(&data);
        }
    }
}

/// A JSON object as named values; null members are as good as absent, unknown ones are ignored.
#[derive(Clone, Copy)]
pub(crate) struct Object<'a>(Option<Value<'a>>);

impl<'a> Object<'a> {
    fn member(&self, name: &str) -> Option<Value<'a>> {
        self.0?.get(name).filter(|value| !value.is_null())
    }

    /// A member that must be an object, as it stands in the text.
    pub(crate) fn object(&self, name: &'static str) -> Result<Option<Value<'a>>, Refusal> {
        match self.member(name) {
            Some(value) if !value.is_object() => Err(Refusal::field(name, "must be an object")),
            value => Ok(value),
        }
    }

    /// A member that must be an array of strings.
    pub(crate) fn texts(&self, name: &'static str) -> Result<Option<Vec<String>>, Refusal> {
        let Some(value) = self.member(name) else {
            return Ok(None);
        };
        let wrong = || Refusal::field(name, "must be an array of strings");
        if !value.is_array() {
            return Err(wrong());
        }
        let texts = value.elements().map(|element| {
            if !element.is_string() {
                return Err(wrong());
            }
            whole_text(name, element)
        });
        texts.collect::<Result<_, _>>().map(Some)
    }
}

/// The characters of a JSON string, which must all be characters.
fn whole_text(name: &str, value: Value<'_>) -> Result<String, Refusal> {
    value
        .as_str()
        .map(std::borrow::Cow::into_owned)
        .ok_or_else(|| Refusal::identity(format!("`{name}` holds half of a surrogate pair")))
}

impl Fields for Object<'_> {
    fn string(&self, name: &'static str) -> Result<Option<String>, Refusal> {
        match self.member(name) {
            None => Ok(None),
            Some(value) if value.is_string() => whole_text(name, value).map(Some),
            Some(_) => Err(Refusal::field(name, "must be a string")),
        }
    }

    fn number(&self, name: &'static str) -> Result<Option<f64>, Refusal> {
        let Some(value) = self.member(name) else {
            return Ok(None);
        };
        let number = value.as_f64();
        number
            .map(Some)
            .ok_or_else(|| Refusal::field(name, "must be a finite number"))
    }

    fn integer(&self, name: &'static str) -> Result<Option<i64>, Refusal> {
        let Some(value) = self.member(name) else {
            return Ok(None);
        };
        let number = value.as_integral();
        number
            .map(Some)
            .ok_or_else(|| Refusal::field(name, "must be an integer within 64 bits"))
    }

    fn flag(&self, name: &'static str) -> Result<Option<bool>, Refusal> {
        let Some(value) = self.member(name) else {
            return Ok(None);
        };
        value
            .as_bool()
            .map(Some)
            .ok_or_else(|| Refusal::field(name, "must be true or false"))
    }
}
