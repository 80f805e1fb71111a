//! The stream of a dialect with choices, put together.

use std::collections::BTreeMap;

use gateway_json::{Dialect, Value, parse};

use super::Meter;
use super::fields::{Fields, Scope};
use crate::dialect::choices::{Shape, usage_counts};
use crate::dialect::{Assembler, Step};
use crate::notes::{self, Notes};
use crate::{ReplyDigest, error_body};

/// Assembles a chat completion or a completion from its chunks.
#[derive(Debug)]
pub(crate) struct ChoicesAssembler {
    shape: Shape,
    max_bytes: usize,
    root: Fields,
    choices: BTreeMap<i64, Fields>,
    meter: Meter,
    notes: Notes,
}

impl ChoicesAssembler {
    /// An assembler at the start of a stream that keeps at most `max_bytes`.
    pub(crate) fn new(shape: Shape, max_bytes: usize) -> Self {
        Self {
            shape,
            max_bytes,
            root: Fields::default(),
            choices: BTreeMap::new(),
            meter: Meter::default(),
            notes: Notes::default(),
        }
    }

    fn merge_choices(&mut self, choices: Value<'_>) {
        if !choices.is_array() {
            if !choices.is_null() {
                self.notes.add(notes::UNREADABLE_CHOICES);
            }
            return;
        }
        for (position, choice) in choices.elements().enumerate() {
            if !choice.is_object() {
                self.notes.add(notes::UNREADABLE_CHOICES);
                continue;
            }
            // The index stands first, so that looking for it costs next to nothing.
            let index = choice
                .members()
                .find(|member| member.key.is("index"))
                .and_then(|index| index.value.as_integral())
                .unwrap_or_else(|| i64::try_from(position).unwrap_or(i64::MAX));
            self.merge_choice(index, choice);
        }
    }

    fn merge_choice(&mut self, index: i64, choice: Value<'_>) {
        let meter = &mut self.meter;
        let fields = self.choices.entry(index).or_insert_with(|| {
            meter.add_node("");
            Fields::default()
        });
        for member in choice.members() {
            match &*member.key.to_cow() {
                "index" => {}
                // A chunk that has a whole message instead of a delta is read all the same.
                "delta" | "message" if self.shape == Shape::Chat => {
                    if member.value.is_object() {
                        fields.merge_literal("\"message\"", member.value, Scope::Choice, meter);
                    } else if !member.value.is_null() {
                        self.notes.add(notes::UNREADABLE_CHOICES);
                    }
                }
                "text" if self.shape == Shape::Completions && !member.value.is_string() => {
                    if !member.value.is_null() {
                        self.notes.add(notes::UNREADABLE_CHOICES);
                    }
                }
                _ => fields.merge_member(member.key, member.value, Scope::Choice, meter),
            }
        }
    }

    fn write_choices(&self, out: &mut String) {
        out.push('[');
        for (position, (index, fields)) in self.choices.iter().enumerate() {
            out.push_str(if position == 0 {
                "{\"index\":"
            } else {
                ",{\"index\":"
            });
            out.push_str(&index.to_string());
            fields.write(out);
            out.push('}');
        }
        out.push(']');
    }
}

impl Assembler for ChoicesAssembler {
    fn event(&mut self, name: Option<&[u8]>, data: &[u8], root: Option<Value<'_>>) -> Step {
        let mut is_error = name == Some(b"error");
        let Some(root) = root else {
            if is_error {
                return Step::Error(error_body::of_event(None, data));
            }
            self.notes.add(notes::UNREADABLE_EVENT);
            return Step::Data;
        };
        let capped = self.meter.bytes() + data.len() > self.max_bytes;
        if capped {
            self.notes.add(notes::CAPPED);
        }
        for member in root.members() {
            is_error |= error_body::is_error_member(&member.key.to_cow(), member.value);
            if capped {
                continue;
            }
            if member.key.is("choices") {
                // Only its place among the members; the choices themselves stand apart.
                self.root.place("\"choices\"", &mut self.meter);
                self.merge_choices(member.value);
            } else {
                self.root
                    .merge_member(member.key, member.value, Scope::Root, &mut self.meter);
            }
        }
        if is_error {
            Step::Error(error_body::of_event(Some(root), data))
        } else {
            Step::Data
        }
    }

    fn settled(&self, choices: usize) -> bool {
        self.choices.len() >= choices.max(1)
            && self
                .choices
                .values()
                .all(|choice| choice.raw("finish_reason").is_some())
    }

    fn assembled(&self) -> Option<String> {
        if self.root.is_empty() {
            return None;
        }
        let mut out = String::with_capacity(self.meter.bytes() + 256);
        out.push('{');
        self.root
            .write_with(&mut out, |out, name, content| match name {
                "choices" => self.write_choices(out),
                "object" if self.root.raw("object") == Some("\"chat.completion.chunk\"") => {
                    out.push_str("\"chat.completion\"");
                }
                _ => content(out),
            });
        out.push('}');
        Some(out)
    }

    fn unreadable(&self) -> Option<&'static str> {
        let says = |choice: &Fields| choice.has(self.shape.saying());
        (!self.choices.values().any(says)).then(|| self.shape.unreadable())
    }

    fn digest(&self) -> ReplyDigest {
        let first = self.choices.first_key_value().map(|(_, choice)| choice);
        let mut digest = ReplyDigest {
            model: self.root.raw("model").and_then(string),
            finish_reason: first
                .and_then(|choice| choice.raw("finish_reason"))
                .and_then(string),
            ..ReplyDigest::default()
        };
        if let Some(usage) = self.root.raw("usage") {
            digest.count(usage_counts(Value::of_valid(usage)));
        }
        digest
    }

    fn notes(&self) -> &Notes {
        &self.notes
    }
}

/// The characters of a string literal.
fn string(raw: &str) -> Option<String> {
    let value = parse(raw.as_bytes(), Dialect::Python).ok()?;
    Some(value.as_str_lossy()?.into_owned())
}
