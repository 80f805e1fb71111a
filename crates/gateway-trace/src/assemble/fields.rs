//! The members of an object that comes in pieces.

use std::borrow::Cow;

use gateway_json::{Key, Value, quote};

use super::Meter;
use super::calls::Calls;
use super::parts::Parts;

/// So many members an object may have; more are hostile, and would make look-ups slow.
const MAX_MEMBERS: usize = 1024;

/// How the pieces of a member make one value. A null never replaces anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    /// The first piece counts (an empty string does not yet).
    Once,
    /// The last piece counts.
    Last,
    /// The last piece counts that says something: an empty string and a 0 do not.
    Said,
    /// No piece counts.
    Never,
    /// Strings are joined, arrays too; of other pieces the last counts.
    Join,
    /// Arrays are joined; of other pieces the last counts.
    Items,
    /// Objects are merged member by member.
    Object(Scope),
    /// Strings are joined, arrays part by part.
    Parts,
    /// Tool calls are merged by index and id.
    Calls,
}

/// Which object the members are of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// The reply itself.
    Root,
    /// A choice.
    Choice,
    /// A choice's `delta`.
    Delta,
    /// A choice's `logprobs`.
    Logprobs,
    /// One of a delta's `tool_calls`.
    Call,
    /// An object of a delta or a tool call that has a name or id, and text that comes in pieces;
    /// a content block too.
    Part,
    /// A part of an array that comes in pieces.
    Growing,
    /// An Anthropic message.
    Message,
    /// An object of which each piece says anew what has changed, such as a message's `usage`.
    Plain,
}

impl Scope {
    fn rule(self, name: &str) -> Rule {
        match (self, name) {
            (Self::Root, "prompt_token_ids" | "prompt_logprobs" | "prompt_text") => Rule::Once,
            // Azure's first and last chunks, about its filters, leave these empty.
            (Self::Root, "id" | "object" | "created" | "model") => Rule::Said,
            // Noise that makes the chunks of a stream equally long.
            (Self::Root, "obfuscation") => Rule::Never,
            (Self::Choice, "prompt_token_ids" | "prompt_logprobs") => Rule::Once,
            (Self::Choice, "token_ids" | "routing_matrices") => Rule::Items,
            (Self::Choice, "text") => Rule::Join,
            (Self::Choice, "message") => Rule::Object(Self::Delta),
            (Self::Choice, "logprobs") => Rule::Object(Self::Logprobs),
            // Azure's, which is empty in chunks without text.
            (Self::Choice, "content_filter_results") => Rule::Object(Self::Plain),
            (Self::Root | Self::Choice, _) => Rule::Last,
            (Self::Delta, "role") => Rule::Once,
            (Self::Delta, "tool_calls") => Rule::Calls,
            (Self::Delta, "content" | "reasoning_details") => Rule::Parts,
            (Self::Delta, "audio" | "function_call") => Rule::Object(Self::Part),
            (Self::Call, "id" | "type") => Rule::Once,
            (Self::Call, "function" | "custom") => Rule::Object(Self::Part),
            (Self::Part, "id" | "type" | "name") => Rule::Once,
            (Self::Delta | Self::Call | Self::Part, _) => Rule::Join,
            (Self::Growing, "text" | "summary") => Rule::Join,
            (Self::Growing, "thinking") => Rule::Parts,
            (Self::Logprobs, _) => Rule::Items,
            (Self::Message, "usage") => Rule::Object(Self::Plain),
            (Self::Growing | Self::Message | Self::Plain, _) => Rule::Last,
        }
    }
}

/// The members of an object, in the order in which they first came.
#[derive(Debug, Default)]
pub(super) struct Fields {
    fields: Vec<Field>,
}

#[derive(Debug)]
struct Field {
    /// With its quotes.
    key: Box<str>,
    rule: Rule,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Null,
    /// A value as it stands.
    Raw(String),
    /// The escaped text of a string.
    Text(String),
    /// The items of an array.
    Items(String),
    Object(Fields),
    Parts(Parts),
    Calls(Calls),
}

impl Fields {
    /// The members of a part of a content that is this escaped text.
    pub(super) fn text_part(text: String) -> Self {
        let field = |key: &str, content| Field {
            key: key.into(),
            rule: Scope::Growing.rule(&key[1..key.len() - 1]),
            content,
        };
        let kind = field("\"type\"", Content::Raw("\"text\"".to_owned()));
        let text = field("\"text\"", Content::Text(text));
        Self {
            fields: vec![kind, text],
        }
    }

    /// Merges the members of the next piece of an object.
    pub(super) fn merge(&mut self, piece: Value<'_>, scope: Scope, meter: &mut Meter) {
        for member in piece.members() {
            self.merge_member(member.key, member.value, scope, meter);
        }
    }

    /// Merges one member of the next piece.
    pub(super) fn merge_member(
        &mut self,
        key: Key<'_>,
        value: Value<'_>,
        scope: Scope,
        meter: &mut Meter,
    ) {
        // Most members have come before, in the same spelling.
        let position = self.position(key.literal());
        let field = match position.and_then(|position| self.fields.get_mut(position)) {
            Some(field) => Some(field),
            None => self.at(&literal(key), scope, meter),
        };
        if let Some(field) = field
            && !value.is_null()
        {
            field.merge(value, meter);
        }
    }

    /// Merges one member whose key is given with its quotes.
    pub(super) fn merge_literal(
        &mut self,
        key: &str,
        value: Value<'_>,
        scope: Scope,
        meter: &mut Meter,
    ) {
        if let Some(field) = self.at(key, scope, meter)
            && !value.is_null()
        {
            field.merge(value, meter);
        }
    }

    /// Adds an item to a member that is an array. The key is given with its quotes.
    pub(super) fn push_item(
        &mut self,
        key: &str,
        item: Value<'_>,
        scope: Scope,
        meter: &mut Meter,
    ) {
        if let Some(field) = self.at(key, scope, meter) {
            let array = format!("[{}]", item.text());
            field.content.join_items(&array, meter);
        }
    }

    /// Takes the next place for a member, if it has none yet.
    pub(super) fn place(&mut self, key: &str, meter: &mut Meter) {
        self.at(key, Scope::Root, meter);
    }

    /// Whether no member has come.
    pub(super) fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// The field of a key; a new one if there is none, and none if there are too many or if it
    /// never counts.
    fn at(&mut self, key: &str, scope: Scope, meter: &mut Meter) -> Option<&mut Field> {
        let position = match self.position(key) {
            Some(position) => position,
            None if self.fields.len() == MAX_MEMBERS => return None,
            None => {
                let rule = scope.rule(&key[1..key.len() - 1]);
                if rule == Rule::Never {
                    return None;
                }
                meter.add_node(key);
                self.fields.push(Field {
                    key: key.into(),
                    rule,
                    content: Content::Null,
                });
                self.fields.len() - 1
            }
        };
        self.fields.get_mut(position)
    }

    fn position(&self, key: &str) -> Option<usize> {
        self.fields.iter().position(|field| &*field.key == key)
    }

    /// The text of a member that is no object, if it has come and is not null.
    pub(super) fn raw(&self, name: &str) -> Option<&str> {
        match &self.find(name)?.content {
            Content::Raw(raw) => Some(raw),
            _ => None,
        }
    }

    /// The members of a member that is an object.
    pub(super) fn object(&self, name: &str) -> Option<&Fields> {
        match &self.find(name)?.content {
            Content::Object(fields) => Some(fields),
            _ => None,
        }
    }

    /// Whether the member has come, and be it null.
    pub(super) fn has(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    fn find(&self, name: &str) -> Option<&Field> {
        self.fields
            .iter()
            .find(|field| &field.key[1..field.key.len() - 1] == name)
    }

    /// Appends the members, each written by `write`, which gets the name and the default.
    pub(super) fn write_with(
        &self,
        out: &mut String,
        mut write: impl FnMut(&mut String, &str, &dyn Fn(&mut String)),
    ) {
        for field in &self.fields {
            comma(out);
            out.push_str(&field.key);
            out.push(':');
            write(out, &field.key[1..field.key.len() - 1], &|out| {
                field.content.write(field.rule, out);
            });
        }
    }

    /// Appends the members as they are.
    pub(super) fn write(&self, out: &mut String) {
        self.write_with(out, |out, _, content| content(out));
    }
}

impl Field {
    fn merge(&mut self, value: Value<'_>, meter: &mut Meter) {
        let content = &mut self.content;
        match self.rule {
            Rule::Once => match content {
                Content::Raw(raw) if raw != "\"\"" => {}
                _ => content.set(value.text(), meter),
            },
            Rule::Said if matches!(value.text(), "\"\"" | "0") => {
                if matches!(content, Content::Null) {
                    content.set(value.text(), meter);
                }
            }
            Rule::Never => {}
            Rule::Last | Rule::Said => content.set(value.text(), meter),
            Rule::Parts if value.is_array() => content.join_parts(value, meter),
            Rule::Parts if value.is_string() => match content {
                Content::Parts(parts) => parts.merge_text(value, meter),
                _ => content.join_text(value, meter),
            },
            Rule::Join | Rule::Items if value.is_array() => content.join_items(value.text(), meter),
            Rule::Join if value.is_string() => content.join_text(value, meter),
            Rule::Join | Rule::Items => content.set_unless_joined(value.text(), meter),
            Rule::Object(scope) if value.is_object() => {
                if !matches!(content, Content::Object(_)) {
                    *content = Content::Object(Fields::default());
                }
                if let Content::Object(fields) = content {
                    fields.merge(value, scope, meter);
                }
            }
            Rule::Calls if value.is_array() => {
                if !matches!(content, Content::Calls(_)) {
                    *content = Content::Calls(Calls::default());
                }
                if let Content::Calls(calls) = content {
                    calls.merge(value, meter);
                }
            }
            Rule::Object(_) | Rule::Parts | Rule::Calls => {
                content.set_unless_joined(value.text(), meter);
            }
        }
    }
}

impl Content {
    /// The value is this text from now on. Most chunks repeat what the ones before them said.
    fn set(&mut self, text: &str, meter: &mut Meter) {
        match self {
            Self::Raw(raw) if raw == text => {}
            Self::Raw(raw) => {
                meter.add(text.len().saturating_sub(raw.len()));
                raw.clear();
                raw.push_str(text);
            }
            _ => {
                meter.add(text.len());
                *self = Self::Raw(text.to_owned());
            }
        }
    }

    fn join_parts(&mut self, array: Value<'_>, meter: &mut Meter) {
        if !matches!(self, Self::Parts(_)) {
            let text = match self {
                Self::Text(text) => std::mem::take(text),
                _ => String::new(),
            };
            *self = Self::Parts(Parts::of_text(text));
        }
        if let Self::Parts(parts) = self {
            parts.merge(array, meter);
        }
    }

    /// What has been joined so far is worth more than a piece of another kind.
    fn set_unless_joined(&mut self, text: &str, meter: &mut Meter) {
        if matches!(self, Self::Null | Self::Raw(_)) {
            self.set(text, meter);
        }
    }

    fn join_text(&mut self, value: Value<'_>, meter: &mut Meter) {
        let text = value.string_text().unwrap_or_default();
        meter.add(text.len());
        match self {
            Self::Text(joined) => joined.push_str(text),
            // Some servers send content in parts first, and then in strings: nothing is lost.
            Self::Items(items) => push_item(items, value.text()),
            _ => *self = Self::Text(text.to_owned()),
        }
    }

    fn join_items(&mut self, array: &str, meter: &mut Meter) {
        let new = items_of(array);
        meter.add(new.len());
        match self {
            Self::Items(items) => push_item(items, new),
            Self::Text(text) => {
                let mut items = format!("\"{text}\"");
                push_item(&mut items, new);
                *self = Self::Items(items);
            }
            _ => *self = Self::Items(new.to_owned()),
        }
    }

    fn write(&self, rule: Rule, out: &mut String) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Raw(raw) => out.push_str(raw),
            Self::Text(text) => {
                out.push('"');
                out.push_str(text);
                out.push('"');
            }
            Self::Items(items) => {
                out.push('[');
                out.push_str(items);
                out.push(']');
            }
            Self::Object(fields) => {
                out.push('{');
                match rule {
                    Rule::Object(Scope::Delta) => write_message(fields, out),
                    _ => fields.write(out),
                }
                out.push('}');
            }
            Self::Parts(parts) => parts.write(out),
            Self::Calls(calls) => calls.write(out),
        }
    }
}

/// The members of a message. A whole one always has a role and content, which a stream may leave
/// out.
fn write_message(fields: &Fields, out: &mut String) {
    if !fields.has("role") {
        out.push_str("\"role\":\"assistant\"");
    }
    if !fields.has("content") {
        comma(out);
        out.push_str("\"content\":null");
    }
    fields.write_with(out, |out, name, content| match name {
        "role" if fields.raw("role").is_none() => out.push_str("\"assistant\""),
        _ => content(out),
    });
}

/// A comma, unless this is the first member of its object.
pub(super) fn comma(out: &mut String) {
    if !out.ends_with('{') {
        out.push(',');
    }
}

/// The items of an array, with the commas between them.
pub(super) fn items_of(array: &str) -> &str {
    array[1..array.len() - 1].trim_matches([' ', '\t', '\n', '\r'])
}

/// Appends items to others, with a comma between them.
pub(super) fn push_item(items: &mut String, new: &str) {
    if !items.is_empty() && !new.is_empty() {
        items.push(',');
    }
    items.push_str(new);
}

/// The key with its quotes, in one spelling, so that `"mod\u0065l"` is `"model"`.
fn literal(key: Key<'_>) -> Cow<'_, str> {
    if !key.text().contains('\\') {
        return Cow::Borrowed(key.literal());
    }
    let name = key.to_cow();
    // A lone surrogate cannot be spelled in another way.
    if name.contains(char::REPLACEMENT_CHARACTER) {
        return Cow::Borrowed(key.literal());
    }
    Cow::Owned(quote(&name))
}
