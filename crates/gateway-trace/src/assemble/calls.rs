//! Tool calls, merged by index and id.

use std::collections::BTreeMap;

use gateway_json::Value;

use super::Meter;
use super::fields::{Fields, Scope, comma};

/// The tool calls of one message, in the order of their indexes.
#[derive(Debug, Default)]
pub(super) struct Calls {
    calls: BTreeMap<Key, Fields>,
    /// The call with an id (a string literal), so that finding it costs the same however many
    /// there are.
    by_id: BTreeMap<Box<str>, Key>,
    /// The call of the piece before.
    latest: Key,
}

/// An index, and how many calls began at it before.
type Key = (i64, usize);

impl Calls {
    /// Merges the next piece of `tool_calls`. Entries that are no objects are dropped.
    pub(super) fn merge(&mut self, piece: Value<'_>, meter: &mut Meter) {
        let alone = piece.elements().nth(1).is_none();
        for (position, call) in piece.elements().enumerate() {
            if !call.is_object() {
                continue;
            }
            let (mut index, mut id) = (None, None);
            for member in call.members() {
                if member.key.is("index") {
                    index = member.value.as_integral();
                } else if member.key.is("id") {
                    id = Some(member.value.text());
                }
            }
            let id = id.filter(|id| id.starts_with('"') && *id != "\"\"");
            let key = match (index, id) {
                // A piece that comes alone, without an index and an id, goes on with the latest.
                (None, None) if alone => self.latest,
                _ => self.key_of(call, index, id, position),
            };
            self.latest = key;
            if let Some(id) = id.filter(|id| !self.by_id.contains_key(*id)) {
                meter.add_node(id);
                self.by_id.insert(id.into(), key);
            }
            let fields = self.calls.entry(key).or_insert_with(|| {
                meter.add_node("");
                Fields::default()
            });
            for member in call.members().filter(|member| !member.key.is("index")) {
                fields.merge_member(member.key, member.value, Scope::Call, meter);
            }
        }
    }

    /// A piece belongs to the latest call at its index or, without one, at its position. Servers
    /// leave the index out, though, or give every call the same: an id of its own then says that
    /// a call is another one. Beside an index it must come with a name, because some servers make
    /// a new id for each piece of a call.
    fn key_of(
        &self,
        call: Value<'_>,
        index: Option<i64>,
        id: Option<&str>,
        position: usize,
    ) -> Key {
        let place = index.unwrap_or_else(|| i64::try_from(position).unwrap_or(i64::MAX));
        let at_place = (place, 0)..=(place, usize::MAX);
        let Some((open, fields)) = self.calls.range(at_place).next_back() else {
            return (place, 0);
        };
        let own = fields.raw("id").filter(|own| *own != "\"\"");
        let (Some(id), Some(own)) = (id, own) else {
            return *open;
        };
        let known = self.by_id.get(id);
        let known = known.filter(|known| index.is_none_or(|index| index == known.0));
        match known {
            _ if id == own => *open,
            Some(known) => *known,
            None if index.is_some() => match names_a_tool(call) {
                true => (place, open.1 + 1),
                false => *open,
            },
            None => {
                let last = self.calls.last_key_value();
                let (place, before) = last.map_or(*open, |(last, _)| *last);
                (place, before + 1)
            }
        }
    }

    /// Appends the calls as a whole message has them: each with a type, each function with
    /// arguments, be they empty, and none with an index.
    pub(super) fn write(&self, out: &mut String) {
        out.push('[');
        for (position, call) in self.calls.values().enumerate() {
            out.push_str(if position == 0 { "{" } else { ",{" });
            if call.has("function") && !call.has("type") {
                out.push_str("\"type\":\"function\"");
            }
            let no_arguments = call
                .object("function")
                .is_some_and(|function| !function.has("arguments"));
            call.write_with(out, |out, name, content| {
                content(out);
                if name == "function" && no_arguments {
                    out.pop();
                    comma(out);
                    out.push_str("\"arguments\":\"\"}");
                }
            });
            out.push('}');
        }
        out.push(']');
    }
}

/// Whether a piece of a call says which tool is called.
fn names_a_tool(call: Value<'_>) -> bool {
    ["function", "custom"].iter().any(|kind| {
        let name = call.get(kind).and_then(|tool| tool.get("name"));
        name.is_some_and(|name| name.is_string() && name.text() != "\"\"")
    })
}
