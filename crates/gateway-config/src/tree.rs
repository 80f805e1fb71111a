//! The settings as they were written: one tree for the file, the environment and the flags,
//! in which every value knows where it came from.

use std::fmt;
use std::sync::Arc;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;
use serde_saphyr::options::DuplicateKeyPolicy;

use crate::error::{ConfigError, Origin};

/// One value, with its place.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) origin: Origin,
    pub(crate) value: Value,
}

#[derive(Clone, Debug)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Whole(i128),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Table(Vec<Entry>),
}

/// One key of a table and what stands under it.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: String,
    /// Where the key stands; its value may begin on a later line.
    pub(crate) origin: Origin,
    pub(crate) value: Node,
}

impl Node {
    pub(crate) fn text(origin: Origin, text: impl Into<String>) -> Node {
        Node {
            origin,
            value: Value::Text(text.into()),
        }
    }
}

/// Reads the entries at the root of a YAML document; an empty document has none.
pub(crate) fn parse_file(text: &str, file: &Arc<str>) -> Result<Vec<Entry>, ConfigError> {
    let at = |line| Origin::File {
        file: Arc::clone(file),
        line,
    };
    let mut options = serde_saphyr::Options::default();
    // The snippet that the library would add spans several lines and may show a secret.
    options.with_snippet = false;
    // Reading the tables finds repeated keys, and can name both places.
    options.duplicate_keys = DuplicateKeyPolicy::PassThrough;
    let root: Spanned<Raw> =
        serde_saphyr::from_str_with_options(text, options).map_err(|error| {
            let line = error.location().map_or(0, |location| location.line());
            let message = error.without_snippet().to_string();
            let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
            ConfigError::new(at(line), "", format!("not valid YAML: {message}"))
        })?;
    match place(root, file) {
        Node {
            value: Value::Table(entries),
            ..
        } => Ok(entries),
        Node {
            value: Value::Null, ..
        } => Ok(Vec::new()),
        Node { origin, .. } => Err(ConfigError::new(
            origin,
            "",
            "expected keys and values at the root of the file",
        )),
    }
}

/// Lets a later layer win: each of its entries takes the place of the earlier one of that key.
pub(crate) fn overlay(lower: &mut Vec<Entry>, upper: Vec<Entry>) {
    lower.retain(|below| !upper.iter().any(|above| above.key == below.key));
    lower.extend(upper);
}

/// Turns what the YAML reader gave into nodes that carry file and line.
fn place(raw: Spanned<Raw>, file: &Arc<str>) -> Node {
    let origin = Origin::File {
        file: Arc::clone(file),
        line: raw.referenced.line(),
    };
    let value = match raw.value {
        Raw::Null => Value::Null,
        Raw::Bool(value) => Value::Bool(value),
        Raw::Whole(value) => Value::Whole(value),
        Raw::Float(value) => Value::Float(value),
        Raw::Text(value) => Value::Text(value),
        Raw::List(items) => Value::List(items.into_iter().map(|item| place(item, file)).collect()),
        Raw::Table(entries) => Value::Table(
            entries
                .into_iter()
                .map(|(key, value)| Entry {
                    origin: Origin::File {
                        file: Arc::clone(file),
                        line: key.referenced.line(),
                    },
                    key: key.value,
                    value: place(value, file),
                })
                .collect(),
        ),
    };
    Node { origin, value }
}

/// A value as the YAML reader types it.
enum Raw {
    Null,
    Bool(bool),
    Whole(i128),
    Float(f64),
    Text(String),
    List(Vec<Spanned<Raw>>),
    Table(Vec<(Spanned<String>, Spanned<Raw>)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Raw, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_none<E: de::Error>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Raw, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::Whole(value.into()))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Raw, E> {
        Ok(Raw::Whole(value.into()))
    }

    fn visit_i128<E: de::Error>(self, value: i128) -> Result<Raw, E> {
        Ok(Raw::Whole(value))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Raw, E> {
        Ok(Raw::Float(value))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Raw, E> {
        Ok(Raw::Text(value.to_owned()))
    }

    fn visit_string<E: de::Error>(self, value: String) -> Result<Raw, E> {
        Ok(Raw::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Raw, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Raw::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Raw::Table(entries))
    }
}
