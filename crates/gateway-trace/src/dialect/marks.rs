//! Streams of which nothing is kept but where they end.

use gateway_json::Value;

use super::{Assembler, Step};
use crate::ReplyDigest;
use crate::error_body;
use crate::notes::Notes;

/// Recognises the end of a stream whose events name what they are in `type`.
#[derive(Debug)]
pub(crate) struct Marks {
    /// What ends the stream well.
    ends: &'static [&'static str],
    /// What ends the stream with an error in its `response`.
    failed: &'static str,
    /// What says in its `delta.stop_reason` that all is said.
    stops: &'static str,
    stopped: bool,
    notes: Notes,
}

impl Marks {
    pub(crate) fn new(
        ends: &'static [&'static str],
        failed: &'static str,
        stops: &'static str,
    ) -> Self {
        Self {
            ends,
            failed,
            stops,
            stopped: false,
            notes: Notes::default(),
        }
    }

    fn step(&mut self, kind: &str, root: Option<Value<'_>>, data: &[u8]) -> Step {
        if self.ends.contains(&kind) {
            return Step::EndMark;
        }
        if kind == "error" {
            return Step::Error(error_body::of_event(root, data));
        }
        if kind == self.failed {
            let response = root.and_then(|root| root.get("response"));
            return Step::Error(error_body::of_event(response, data));
        }
        if kind == self.stops {
            let reason = root.and_then(|root| root.get("delta")?.get("stop_reason"));
            self.stopped |= reason.is_some_and(|reason| !reason.is_null());
        }
        Step::Data
    }
}

impl Assembler for Marks {
    fn event(&mut self, name: Option<&[u8]>, data: &[u8], root: Option<Value<'_>>) -> Step {
        let name = name.and_then(|name| std::str::from_utf8(name).ok());
        // A name that is none of ours spares looking into most events.
        let ours = |name: &str| {
            name == "error"
                || name == self.failed
                || name == self.stops
                || self.ends.contains(&name)
        };
        if name.is_some_and(|name| !ours(name) && name != "message") {
            return Step::Data;
        }
        let kind = root.and_then(|root| root.get("type")?.as_str_lossy());
        match (kind.as_deref(), name) {
            (_, Some("error")) => self.step("error", root, data),
            (Some(kind), _) => self.step(kind, root, data),
            (None, Some(name)) => self.step(name, root, data),
            (None, None) => match root {
                Some(root) if error_body::is_error(root) => {
                    Step::Error(error_body::of_event(Some(root), data))
                }
                _ => Step::Data,
            },
        }
    }

    fn settled(&self) -> bool {
        self.stopped
    }

    fn assembled(&self) -> Option<String> {
        None
    }

    fn unreadable(&self) -> Option<&'static str> {
        None
    }

    fn digest(&self) -> ReplyDigest {
        ReplyDigest::default()
    }

    fn notes(&self) -> &Notes {
        &self.notes
    }
}
