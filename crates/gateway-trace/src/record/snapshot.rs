//! The snapshot form of a record: for people to read, and the same on every run.

use gateway_json::{Dialect, Kind, Value, parse};

use crate::TraceRecord;

/// Strings under these names are made anew for every reply. Where one comes again (a tool call's
/// id in the next request), its replacement does too.
const IDS: [&str; 5] = ["id", "tool_call_id", "tool_use_id", "call_id", "item_id"];

/// Numbers under these names are times of the upstream.
const TIMES: [&str; 4] = ["created", "created_at", "completed_at", "expires_at"];

/// Members of the record itself, and of what lies directly in it, that differ from run to run.
const OWN: [&str; 11] = [
    "trace_id",
    "parent_trace_id",
    "superseded_by",
    "instance_id",
    "request_id",
    "timestamp",
    "latency_ms",
    "ttft_ms",
    "attempt_log.ms",
    "client.traceparent",
    "client.user_agent",
];

impl TraceRecord {
    /// The record as indented JSON in which ids and times are replaced, for snapshot tests: the
    /// same exchange gives the same text on every run.
    ///
    /// Replaced are the ids and times of the record itself (`"[trace_id]"`), the ids that
    /// upstreams make (`"[id 1]"`, numbered in order of appearance) and their times (`"[time]"`).
    /// Arrays of plain values stand on one line.
    #[must_use]
    pub fn snapshot(&self) -> String {
        let json = self.to_json();
        // Nested as deep as JSON may, a body is too deep within the record.
        let Ok(root) = parse(json.as_bytes(), Dialect::Strict) else {
            return json;
        };
        let mut printer = Printer {
            out: String::with_capacity(2 * json.len()),
            ids: Vec::new(),
        };
        printer.value(root, "", 0);
        printer.out
    }
}

struct Printer<'a> {
    out: String,
    ids: Vec<&'a str>,
}

impl<'a> Printer<'a> {
    /// `path` names the way from the record; it is empty below what [`OWN`] needs.
    fn value(&mut self, value: Value<'a>, path: &str, depth: usize) {
        match value.kind() {
            Kind::Object => self.object(value, path, depth),
            Kind::Array => self.array(value, path, depth),
            _ => self.out.push_str(value.text()),
        }
    }

    fn object(&mut self, object: Value<'a>, path: &str, depth: usize) {
        let mut members = object.members().peekable();
        if members.peek().is_none() {
            self.out.push_str("{}");
            return;
        }
        self.out.push('{');
        while let Some(member) = members.next() {
            self.line(depth + 1);
            self.out.push_str(member.key.literal());
            self.out.push_str(": ");
            self.member(&member.key.to_cow(), member.value, path, depth);
            if members.peek().is_some() {
                self.out.push(',');
            }
        }
        self.line(depth);
        self.out.push('}');
    }

    fn member(&mut self, name: &str, value: Value<'a>, path: &str, depth: usize) {
        let own = match (depth, path) {
            (0, _) => name.to_owned(),
            (_, "attempt_log" | "client") => format!("{path}.{name}"),
            _ => String::new(),
        };
        let replacement = if value.is_null() {
            None
        } else if OWN.contains(&own.as_str()) {
            Some(format!("[{name}]"))
        } else if depth > 0 && IDS.contains(&name) && value.is_string() {
            Some(self.id(value.text()))
        } else if depth > 0 && TIMES.contains(&name) && value.kind() == Kind::Number {
            Some("[time]".to_owned())
        } else {
            None
        };
        match replacement {
            Some(replacement) => {
                self.out.push('"');
                self.out.push_str(&replacement);
                self.out.push('"');
            }
            None => self.value(value, &own, depth + 1),
        }
    }

    fn array(&mut self, array: Value<'a>, path: &str, depth: usize) {
        let plain = array
            .elements()
            .all(|element| !element.is_object() && !element.is_array());
        self.out.push('[');
        for (position, element) in array.elements().enumerate() {
            match (plain, position) {
                (true, 0) => {}
                (true, _) => self.out.push_str(", "),
                (false, 0) => self.line(depth + 1),
                (false, _) => {
                    self.out.push(',');
                    self.line(depth + 1);
                }
            }
            self.value(element, path, depth + 1);
        }
        if !plain {
            self.line(depth);
        }
        self.out.push(']');
    }

    fn id(&mut self, text: &'a str) -> String {
        let position = self
            .ids
            .iter()
            .position(|known| *known == text)
            .unwrap_or_else(|| {
                self.ids.push(text);
                self.ids.len() - 1
            });
        format!("[id {}]", position + 1)
    }

    fn line(&mut self, depth: usize) {
        self.out.push('\n');
        for _ in 0..depth {
            self.out.push_str("  ");
        }
    }
}
