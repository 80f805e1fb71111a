//! From the compact form back to the ordinary listing.

use std::collections::HashMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::Json;
use crate::record::write::{Object, array, integers};

/// Why a text cannot be expanded.
#[derive(Debug, thiserror::Error)]
pub enum ExpandError {
    /// It is no compact document.
    #[error("the text is no compact listing: {0}")]
    Malformed(#[from] serde_json::Error),
    /// Its version is not known here.
    #[error("version {0} of the compact form is not known")]
    Version(u64),
    /// A delta lacks a member.
    #[error("delta {position} has no usable `{member}`")]
    Member {
        /// The delta's place in the document, from 0.
        position: usize,
        /// The member.
        member: &'static str,
    },
    /// A delta names a parent that does not stand before it.
    #[error("delta {position} extends {parent_trace_id}, which does not stand before it")]
    Parent {
        /// The delta's place in the document, from 0.
        position: usize,
        /// The parent.
        parent_trace_id: String,
    },
}

/// The traces of a compact document, in its order and in the fields of a delta: `messages` and
/// `prompt_token_ids` stand where their suffixes did; all else is as it was, value for value.
///
/// # Errors
/// [`ExpandError`], if `document` is not what [`Compact`](crate::Compact) writes.
pub fn expand(document: &str) -> Result<Vec<Json>, ExpandError> {
    let document: Document<'_> = serde_json::from_str(document)?;
    if !(1..=2).contains(&document.version) {
        return Err(ExpandError::Version(document.version));
    }
    let mut by_id = HashMap::new();
    let mut calls: Vec<Call<'_>> = Vec::with_capacity(document.deltas.len());
    let mut traces = Vec::with_capacity(document.deltas.len());
    for (position, delta) in document.deltas.iter().enumerate() {
        let delta = Delta { position, delta };
        let trace_id: String = delta.read("trace_id")?;
        let parent = match delta.read::<Option<String>>("parent_trace_id")? {
            None => None,
            Some(id) => match by_id.get(&id) {
                Some(at) => Some(&calls[*at]),
                None => {
                    return Err(ExpandError::Parent {
                        position,
                        parent_trace_id: id,
                    });
                }
            },
        };
        let call = delta.expand(parent)?;
        traces.push(delta.write(&call));
        by_id.insert(trace_id, calls.len());
        calls.push(call);
    }
    Ok(traces)
}

#[derive(Deserialize)]
struct Document<'a> {
    version: u64,
    #[serde(borrow)]
    deltas: Vec<Members<'a>>,
}

/// The members of an object in their order. Their values are not parsed, so that no number is
/// re-written and no nesting is too deep.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;

        impl<'de> Visitor<'de> for InOrder {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(InOrder)
    }
}

/// What later calls may extend.
struct Call<'a> {
    messages: Vec<&'a RawValue>,
    prompt_token_ids: Vec<i64>,
    completion_token_ids: Vec<i64>,
    response_message: &'a RawValue,
}

struct Delta<'d, 'a> {
    position: usize,
    delta: &'d Members<'a>,
}

impl<'a> Delta<'_, 'a> {
    fn find(&self, member: &str) -> Option<&'a RawValue> {
        let mut members = self.delta.0.iter();
        members
            .find(|(name, _)| name == member)
            .map(|(_, value)| *value)
    }

    fn read<T: Deserialize<'a>>(&self, member: &'static str) -> Result<T, ExpandError> {
        self.find(member)
            .and_then(|value| serde_json::from_str(value.get()).ok())
            .ok_or(ExpandError::Member {
                position: self.position,
                member,
            })
    }

    fn expand(&self, parent: Option<&Call<'a>>) -> Result<Call<'a>, ExpandError> {
        let mut call = Call {
            messages: Vec::new(),
            prompt_token_ids: Vec::new(),
            completion_token_ids: self.read("completion_token_ids")?,
            response_message: self.read("response_message")?,
        };
        if let Some(parent) = parent {
            call.messages.clone_from(&parent.messages);
            let echo = self.find("assistant_echo");
            call.messages.push(echo.unwrap_or(parent.response_message));
            let mut ids = parent.prompt_token_ids.clone();
            ids.extend(&parent.completion_token_ids);
            if self.find("prompt_ids_keep").is_some() {
                ids.truncate(self.read("prompt_ids_keep")?);
            }
            call.prompt_token_ids = ids;
        }
        call.messages
            .extend(self.read::<Vec<&RawValue>>("messages_suffix")?);
        call.prompt_token_ids
            .extend(self.read::<Vec<i64>>("prompt_ids_suffix")?);
        Ok(call)
    }

    fn write(&self, call: &Call<'_>) -> Json {
        let mut out = String::new();
        let mut object = Object::open(&mut out);
        for (name, value) in &self.delta.0 {
            match name.as_str() {
                "assistant_echo" | "prompt_ids_keep" => {}
                "messages_suffix" => object.value("messages", |out| {
                    array(out, &call.messages, |out, message| {
                        out.push_str(message.get());
                    });
                }),
                "prompt_ids_suffix" => object.value("prompt_token_ids", |out| {
                    integers(out, &call.prompt_token_ids);
                }),
                name => object.text(name, value.get()),
            }
        }
        object.close();
        Json::trusted(out)
    }
}
