//! A piece of JSON that is kept exactly as it was written.

use std::fmt;

use gateway_json::{Dialect, Value, parse};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

/// One JSON value as text: no number is re-written, no member moved, no escape resolved.
#[derive(Clone, PartialEq, Eq)]
pub struct Json(Box<str>);

impl Json {
    /// Takes a text that must be one JSON value.
    ///
    /// # Errors
    /// [`gateway_json::Error`], which says what is wrong and where.
    pub fn new(text: &str) -> Result<Self, gateway_json::Error> {
        Ok(Self(parse(text.as_bytes(), Dialect::Strict)?.text().into()))
    }

    /// Takes a text that is known to be one JSON value.
    pub(crate) fn trusted(text: impl Into<Box<str>>) -> Self {
        Self(text.into())
    }

    /// `{}`
    #[must_use]
    pub fn empty_object() -> Self {
        Self("{}".into())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The value, to be walked, however deep it nests.
    pub(crate) fn walk(&self) -> Value<'_> {
        Value::of_valid(&self.0)
    }

    /// The value, to be walked; none if it nests deeper than
    /// [`MAX_DEPTH`](gateway_json::MAX_DEPTH).
    #[must_use]
    pub fn value(&self) -> Option<Value<'_>> {
        parse(self.0.as_bytes(), Dialect::Strict).ok()
    }
}

impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// With `serde_json` alone: other formats cannot take a text as it stands.
impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serde_json::from_str::<&RawValue>(&self.0)
            .map_err(serde::ser::Error::custom)?
            .serialize(serializer)
    }
}

/// With `serde_json` alone.
impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        Ok(Self(raw.get().into()))
    }
}
