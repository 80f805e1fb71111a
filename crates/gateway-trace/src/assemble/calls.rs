//! Tool calls, merged by index.

use std::collections::BTreeMap;

use gateway_json::Value;

use super::Meter;
use super::fields::{Fields, Scope, comma};

/// The tool calls of one message, by index.
#[derive(Debug, Default)]
pub(super) struct Calls {
    calls: BTreeMap<i64, Fields>,
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
            let index = match call.get("index").and_then(Value::as_integral) {
                Some(index) => index,
                None => self.index_without_one(call, position, alone),
            };
            self.latest = index;
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
    fn index_without_one(&self, call: Value<'_>, position: usize, alone: bool) -> i64 {
        let position = i64::try_from(position).unwrap_or(i64::MAX);
        let Some(id) = call
            .get("id")
            .filter(|id| id.is_string() && id.text() != "\"\"")
        else {
            return if alone { self.latest } else { position };
        };
        let may_be = |fields: &Fields| {
            fields
                .raw("id")
                .is_none_or(|own| own == id.text() || own == "\"\"")
        };
        if self.calls.get(&position).is_none_or(may_be) {
            return position;
        }
        let same = self
            .calls
            .iter()
            .find(|(_, fields)| fields.raw("id") == Some(id.text()));
        match same {
            Some((index, _)) => *index,
            None => self
                .calls
                .last_key_value()
                .map_or(position, |(last, _)| last.saturating_add(1)),
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
