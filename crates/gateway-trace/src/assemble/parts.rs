//! Arrays whose parts come in pieces: content in parts, and reasoning details.

use gateway_json::Value;

use super::Meter;
use super::fields::{Fields, Scope};

/// Parts of these types come in pieces, each of which looks like a part of its own. Parts of all
/// other types are whole.
const GROWING: [&str; 4] = [
    "\"text\"",
    "\"thinking\"",
    "\"reasoning.text\"",
    "\"reasoning.summary\"",
];

/// The parts of an array, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Parts {
    /// All parts but the open one, as they are written.
    done: String,
    /// The last part, if more of it may come.
    open: Option<Fields>,
}

impl Parts {
    /// The parts of a content that has been a string so far, with this escaped text.
    pub(super) fn of_text(text: String) -> Self {
        Self {
            done: String::new(),
            open: (!text.is_empty()).then(|| Fields::text_part(text)),
        }
    }

    /// Takes the next piece of the array.
    pub(super) fn merge(&mut self, piece: Value<'_>, meter: &mut Meter) {
        for part in piece.elements() {
            let kind = part.get("type").map(Value::text);
            if kind.is_some_and(|kind| GROWING.contains(&kind)) {
                let index = part.get("index").filter(|index| !index.is_null());
                let index = index.map(Value::text);
                self.close_unless(|open| open.raw("type") == kind && open.raw("index") == index);
                meter.add_node("");
                let open = self.open.get_or_insert_default();
                open.merge(part, Scope::Growing, meter);
            } else {
                meter.add_node(part.text());
                self.close();
                self.push(part.text());
            }
        }
    }

    /// Takes a piece that is a string: some servers send content in parts first, and then in
    /// strings.
    pub(super) fn merge_text(&mut self, text: Value<'_>, meter: &mut Meter) {
        let escaped = text.string_text().unwrap_or_default();
        if escaped.is_empty() {
            return;
        }
        self.close_unless(|open| open.raw("type") == Some("\"text\""));
        match &mut self.open {
            Some(open) => open.merge_literal("\"text\"", text, Scope::Growing, meter),
            None => {
                meter.add_node(escaped);
                self.open = Some(Fields::text_part(escaped.to_owned()));
            }
        }
    }

    /// Closes the open part, unless what comes goes on with it.
    fn close_unless(&mut self, goes_on: impl FnOnce(&Fields) -> bool) {
        if !self.open.as_ref().is_some_and(goes_on) {
            self.close();
        }
    }

    fn close(&mut self) {
        if let Some(open) = self.open.take() {
            let mut part = String::from("{");
            open.write(&mut part);
            part.push('}');
            self.push(&part);
        }
    }

    fn push(&mut self, part: &str) {
        if !self.done.is_empty() {
            self.done.push(',');
        }
        self.done.push_str(part);
    }

    /// Appends the array.
    pub(super) fn write(&self, out: &mut String) {
        out.push('[');
        out.push_str(&self.done);
        if let Some(open) = &self.open {
            out.push_str(if self.done.is_empty() { "{" } else { ",{" });
            open.write(out);
            out.push('}');
        }
        out.push(']');
    }
}
