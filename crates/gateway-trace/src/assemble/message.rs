//! The stream of an Anthropic message, put together.

use std::collections::BTreeMap;

use gateway_json::{Member, Value};

use super::fields::{Fields, Scope, comma};
use super::{Meter, has_room, is_json};
use crate::dialect::messages::{UNREADABLE, finish_reason, token_counts};
use crate::dialect::{Assembler, Step, string};
use crate::notes::{self, Notes};
use crate::{ReplyDigest, error_body};

/// The events that say something of the message.
const SAYING: [&str; 4] = [
    "message_start",
    "message_delta",
    "content_block_start",
    "content_block_delta",
];

/// What tells what an event is about. All else that it has is kept with that: the message, or one
/// of its content blocks.
const ENVELOPE: [&str; 5] = ["type", "index", "message", "content_block", "delta"];

/// So much deeper than in its event a value may lie in the message (a citation does).
const DEEPER: usize = 2;

/// What the input of a tool use lies in: the message, its content, the block.
const AROUND_INPUT: usize = 3;

/// Assembles a message from the events of its stream.
#[derive(Debug)]
pub(crate) struct MessageAssembler {
    max_bytes: usize,
    /// The message, with no more than a place for its content.
    message: Fields,
    /// The content, in the order in which its blocks began.
    blocks: Vec<Block>,
    /// Where in `blocks` the latest block of each index is.
    places: BTreeMap<i64, usize>,
    /// Where the block is that an event without an index goes on with.
    latest: usize,
    meter: Meter,
    notes: Notes,
}

/// A content block.
#[derive(Debug)]
struct Block {
    index: i64,
    fields: Fields,
    /// The escaped text of its `input`, where that comes in pieces.
    input: Option<String>,
}

impl MessageAssembler {
    /// An assembler at the start of a stream that keeps at most `max_bytes`.
    pub(crate) fn new(max_bytes: usize) -> Self {
        Self {
            max_bytes,
            message: Fields::default(),
            blocks: Vec::new(),
            places: BTreeMap::new(),
            latest: 0,
            meter: Meter::default(),
            notes: Notes::default(),
        }
    }

    /// Merges an event that says something.
    fn merge(&mut self, kind: &str, root: Value<'_>) {
        let index = root.get("index").and_then(Value::as_integral);
        let of_block = kind.starts_with("content_block");
        let part = match kind {
            "message_start" => "message",
            "content_block_start" => "content_block",
            _ => "delta",
        };
        match root.get(part).filter(|part| part.is_object()) {
            Some(block) if kind == "content_block_start" => self.begin(index, block),
            Some(delta) if of_block => self.go_on(index, delta),
            Some(part) => self.merge_message(part),
            None if of_block => return self.notes.add(notes::UNREADABLE_BLOCK),
            None => self.notes.add(notes::UNREADABLE_MESSAGE),
        }
        let fields = match self.blocks.get_mut(self.latest) {
            Some(block) if of_block => &mut block.fields,
            _ => &mut self.message,
        };
        let scope = if of_block {
            Scope::Part
        } else {
            Scope::Message
        };
        let beside = |member: &Member<'_>| !ENVELOPE.iter().any(|name| member.key.is(name));
        for member in root.members().filter(beside) {
            fields.merge_member(member.key, member.value, scope, &mut self.meter);
        }
    }

    /// Merges the beginning of the message, or what its end adds.
    fn merge_message(&mut self, part: Value<'_>) {
        for member in part.members() {
            if member.key.is("content") {
                self.message.place("\"content\"", &mut self.meter);
                self.begin_all(member.value);
            } else {
                self.message.merge_member(
                    member.key,
                    member.value,
                    Scope::Message,
                    &mut self.meter,
                );
            }
        }
    }

    /// Begins the blocks that a message begins with; most begin with none.
    fn begin_all(&mut self, content: Value<'_>) {
        if !content.is_array() && !content.is_null() {
            self.notes.add(notes::UNREADABLE_BLOCK);
        }
        for (index, block) in (0..).zip(content.elements()) {
            if block.is_object() {
                self.begin(Some(index), block);
            } else {
                self.notes.add(notes::UNREADABLE_BLOCK);
            }
        }
    }

    /// Begins a block. An index that comes again makes another block: nothing is overwritten.
    fn begin(&mut self, index: Option<i64>, block: Value<'_>) {
        let index = index.unwrap_or_else(|| {
            let last = self.places.last_key_value();
            last.map_or(0, |(last, _)| last.saturating_add(1))
        });
        self.meter.add_node("");
        let mut fields = Fields::default();
        fields.merge(block, Scope::Part, &mut self.meter);
        self.latest = self.blocks.len();
        self.places.insert(index, self.latest);
        self.blocks.push(Block {
            index,
            fields,
            input: None,
        });
        // After a fallback the message is that of another model, which a whole reply names.
        if let Some(model) = block.get("to").and_then(|to| to.get("model"))
            && block
                .get("type")
                .is_some_and(|kind| kind.text() == "\"fallback\"")
        {
            self.message
                .merge_literal("\"model\"", model, Scope::Message, &mut self.meter);
        }
    }

    /// Merges a piece of a block.
    fn go_on(&mut self, index: Option<i64>, delta: Value<'_>) {
        let place = match index {
            Some(index) => self.places.get(&index).copied(),
            None => Some(self.latest),
        };
        match place.filter(|place| *place < self.blocks.len()) {
            Some(place) => self.latest = place,
            None => {
                self.notes.add(notes::UNBEGUN_BLOCK);
                self.begin(index, Value::of_valid(block_of(delta)));
            }
        }
        let meter = &mut self.meter;
        let block = &mut self.blocks[self.latest];
        for member in delta.members() {
            match (&*member.key.to_cow(), member.value.string_text()) {
                ("type", _) => {}
                ("partial_json", Some(text)) => {
                    meter.add(text.len());
                    block.input.get_or_insert_default().push_str(text);
                }
                ("citation", _) if member.value.is_null() => {}
                ("citation", _) => {
                    let fields = &mut block.fields;
                    fields.push_item("\"citations\"", member.value, Scope::Part, meter);
                }
                _ => block
                    .fields
                    .merge_member(member.key, member.value, Scope::Part, meter),
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.message.is_empty() && self.blocks.is_empty()
    }

    fn write_content(&self, out: &mut String) {
        let mut blocks: Vec<_> = self.blocks.iter().collect();
        blocks.sort_by_key(|block| block.index);
        out.push('[');
        for (position, block) in blocks.into_iter().enumerate() {
            out.push_str(if position == 0 { "{" } else { ",{" });
            block.write(out);
            out.push('}');
        }
        out.push(']');
    }
}

impl Assembler for MessageAssembler {
    fn event(&mut self, name: Option<&[u8]>, data: &[u8], root: Option<Value<'_>>) -> Step {
        let name = name.and_then(|name| std::str::from_utf8(name).ok());
        if name == Some("error") || root.is_some_and(error_body::is_error) {
            return Step::Error(error_body::of_event(root, data));
        }
        let own = root.and_then(|root| root.get("type")?.as_str_lossy());
        match (own.as_deref().or(name), root) {
            (Some("message_stop"), _) => return Step::EndMark,
            (Some("ping" | "content_block_stop"), _) => {}
            (_, None) => self.notes.add(notes::UNREADABLE_EVENT),
            (Some(kind), Some(root)) if SAYING.contains(&kind) => {
                if self.meter.bytes() + data.len() > self.max_bytes {
                    self.notes.add(notes::CAPPED);
                } else if has_room(root.text(), DEEPER) {
                    self.merge(kind, root);
                } else {
                    self.notes.add(notes::TOO_DEEP);
                }
            }
            _ => self.notes.add(notes::UNKNOWN_EVENT),
        }
        Step::Data
    }

    fn settled(&self, _: usize) -> bool {
        let reason = self.message.raw("stop_reason");
        reason.is_some_and(|reason| reason != "\"\"")
    }

    fn assembled(&self) -> Option<String> {
        if self.is_empty() {
            return None;
        }
        let mut out = String::with_capacity(self.meter.bytes() + 256);
        out.push('{');
        self.message
            .write_with(&mut out, |out, name, value| match name {
                "content" => self.write_content(out),
                _ => value(out),
            });
        if !self.message.has("content") {
            comma(&mut out);
            out.push_str("\"content\":");
            self.write_content(&mut out);
        }
        out.push('}');
        Some(out)
    }

    fn unreadable(&self) -> Option<&'static str> {
        self.is_empty().then_some(UNREADABLE)
    }

    fn digest(&self) -> ReplyDigest {
        let read = |name: &str| self.message.raw(name).map(Value::of_valid);
        let mut digest = ReplyDigest {
            model: read("model").and_then(string),
            finish_reason: read("stop_reason").and_then(finish_reason),
            ..ReplyDigest::default()
        };
        if let Some(usage) = self.message.object("usage") {
            let mut text = String::from("{");
            usage.write_with(&mut text, |out, _, value| value(out));
            text.push('}');
            digest.count(token_counts(Value::of_valid(&text)));
        }
        digest
    }

    fn notes(&self) -> &Notes {
        &self.notes
    }
}

impl Block {
    /// Appends the members.
    fn write(&self, out: &mut String) {
        self.fields
            .write_with(out, |out, name, value| match (name, &self.input) {
                ("input", Some(input)) if !input.is_empty() => write_input(input, out),
                _ => value(out),
            });
        if let Some(input) = &self.input
            && !self.fields.has("input")
        {
            comma(out);
            out.push_str("\"input\":");
            write_input(input, out);
        }
    }
}

/// The input is what its text says; the text itself, where the stream broke off within, or where
/// it is no JSON that a message can hold.
fn write_input(escaped: &str, out: &mut String) {
    let literal = format!("\"{escaped}\"");
    let text = Value::of_valid(&literal).as_str();
    match text
        .as_deref()
        .map(|text| text.trim_matches([' ', '\t', '\n', '\r']))
    {
        Some("") => out.push_str("{}"),
        Some(text) if is_json(text) && has_room(text, AROUND_INPUT) => out.push_str(text),
        _ => out.push_str(&literal),
    }
}

/// The beginning of the block that such a delta goes on with.
fn block_of(delta: Value<'_>) -> &'static str {
    match delta.get("type").and_then(Value::as_str_lossy).as_deref() {
        Some("text_delta" | "citations_delta") => r#"{"type":"text","text":""}"#,
        Some("thinking_delta" | "signature_delta") => r#"{"type":"thinking","thinking":""}"#,
        Some("input_json_delta") => r#"{"type":"tool_use","input":{}}"#,
        _ => "{}",
    }
}
