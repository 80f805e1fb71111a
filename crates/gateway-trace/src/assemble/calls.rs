//! Tool calls, merged by index.

use std::collections::BTreeMap;

use gateway_json::Value;

use super::Meter;
use super::fields::{Fields, Scope, comma};

/// The tool calls of one message, by index.
#[derive(Debug, Default)]
pub(super) struct Calls {
    calls: BTreeMap<i64, Fields>,
    /// The index of the call with an id (a string literal), so that finding it costs the same
    /// however many there are.
    by_id: BTreeMap<Box<str>, i64>,
    /// The index of the piece before.
    latest: i64,
}

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
            let index = index.unwrap_or_else(|| self.index_without_one(id, position, alone));
            self.latest = index;
            if let Some(id) = id.filter(|id| !self.by_id.contains_key(*id)) {
                meter.add_node(id);
                self.by_id.insert(id.into(), index);
            }
            let fields = self.calls.entry(index).or_insert_with(|| {
                meter.add_node("");
                Fields::default()
            });
            for member in call.members().filter(|member| !member.key.is("index")) {
                fields.merge_member(member.key, member.value, Scope::Call, meter);
            }
        }
    }

    /// An entry without an index is the one at its position. Servers that leave the index out send
    /// one call after the other, though: an id of its own says that a call is another one, and a
    /// piece that comes alone and without an id goes on with the latest.
    fn index_without_one(&self, id: Option<&str>, position: usize, alone: bool) -> i64 {
        let position = i64::try_from(position).unwrap_or(i64::MAX);
        let Some(id) = id else {
            return if alone { self.latest } else { position };
        };
        let may_be = |fields: &Fields| {
            fields
                .raw("id")
                .is_none_or(|own| own == id || own == "\"\"")
        };
        if self.calls.get(&position).is_none_or(may_be) {
            return position;
        }
        match (self.by_id.get(id), self.calls.last_key_value()) {
            (Some(index), _) => *index,
            (None, Some((last, _))) => last.saturating_add(1),
            (None, None) => position,
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
