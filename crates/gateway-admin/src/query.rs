//! The query string as named values.

use axum::extract::FromRequestParts;
use http::request::Parts;
use percent_encoding::percent_decode;

use crate::fields::Fields;
use crate::refusal::Refusal;

/// The parameters of a query string, decoded; of a repeated one the last counts, and an unknown
/// one is as good as absent.
#[derive(Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// Reads a raw query string (without its `?`).
    ///
    /// # Errors
    /// A parameter that is not UTF-8 once it is decoded is refused under its name.
    pub(crate) fn parse(raw: &str) -> Result<Self, Refusal> {
        let pairs = raw.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = decode(name)
                .ok_or_else(|| Refusal::malformed("a name in the query is not UTF-8"))?;
            let value = decode(value).ok_or_else(|| Refusal::field(&name, "is not UTF-8"))?;
            Ok((name, value))
        });
        pairs.collect::<Result<_, Refusal>>().map(Self)
    }

    fn last(&self, name: &str) -> Option<&str> {
        let mut named = self.0.iter().rev().filter(|(key, _)| key == name);
        named.next().map(|(_, value)| value.as_str())
    }
}

/// Decodes a form-encoded name or value; `+` is a space there.
fn decode(raw: &str) -> Option<String> {
    let spaced = raw.replace('+', " ");
    let text = percent_decode(spaced.as_bytes()).decode_utf8().ok()?;
    Some(text.into_owned())
}

impl Fields for Query {
    fn string(&self, name: &'static str) -> Result<Option<String>, Refusal> {
        Ok(self.last(name).map(str::to_owned))
    }

    fn number(&self, name: &'static str) -> Result<Option<f64>, Refusal> {
        let Some(text) = self.last(name) else {
            return Ok(None);
        };
        // `f64::from_str` also reads `inf` and `nan`, and makes an infinity of `1e999`.
        match text.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(Some(number)),
            _ => Err(Refusal::field(name, "must be a finite number")),
        }
    }

    fn integer(&self, name: &'static str) -> Result<Option<i64>, Refusal> {
        let Some(text) = self.last(name) else {
            return Ok(None);
        };
        // `i64::from_str` takes an optional sign and ASCII digits, and nothing beyond i64.
        match text.parse() {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(Refusal::field(name, "must be an integer within 64 bits")),
        }
    }

    fn flag(&self, name: &'static str) -> Result<Option<bool>, Refusal> {
        let Some(text) = self.last(name) else {
            return Ok(None);
        };
        // The words that the reference's framework takes.
        match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" | "t" | "y" => Ok(Some(true)),
            "false" | "0" | "no" | "off" | "f" | "n" => Ok(Some(false)),
            _ => Err(Refusal::field(name, "must be true or false")),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Query {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Refusal> {
        Self::parse(parts.uri.query().unwrap_or_default())
    }
}
