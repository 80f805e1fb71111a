//! The stream of a response, put together.

use std::collections::BTreeMap;

use gateway_json::{Edits, Value};

use super::Meter;
use super::fields::push_item;
use crate::dialect::responses::{UNREADABLE, glance};
use crate::dialect::{Assembler, Glance, Step};
use crate::notes::{self, Notes};
use crate::{Endpoint, ReplyDigest, derive, error_body};

mod event;
mod item;

use event::{Event, Piece, has_elements};
use item::Item;

/// Assembles a response from its events.
///
/// The event that ends the stream has the whole response, which is kept as it stands. Until it
/// comes, there are the response of an earlier event and the items as far as they have come.
#[derive(Debug)]
pub(crate) struct ResponseAssembler {
    /// The response of the latest event that had one.
    response: Option<Response>,
    /// The output items by index, unless the response has them.
    items: BTreeMap<i64, Item>,
    /// The index of the item that the latest event was about.
    latest: i64,
    room: Room,
    notes: Notes,
}

#[derive(Debug)]
struct Response {
    text: String,
    glance: Glance,
}

/// How much more may be kept, about.
#[derive(Debug)]
struct Room {
    max_bytes: usize,
    bytes: usize,
    /// Something was left out: what comes after it would leave a hole.
    full: bool,
}

impl Room {
    /// Whether there is room for so many bytes in the place of others.
    fn has(&mut self, bytes: usize, replaced: usize) -> bool {
        self.full |= self.bytes.saturating_sub(replaced) + bytes > self.max_bytes;
        !self.full
    }

    /// Notes that what took `before` bytes takes `bytes` now.
    fn change(&mut self, before: usize, bytes: usize) {
        self.bytes = (self.bytes + bytes).saturating_sub(before);
    }
}

impl ResponseAssembler {
    /// An assembler at the start of a stream that keeps at most `max_bytes`.
    pub(crate) fn new(max_bytes: usize) -> Self {
        Self {
            response: None,
            items: BTreeMap::new(),
            latest: -1,
            room: Room {
                max_bytes,
                bytes: 0,
                full: false,
            },
            notes: Notes::default(),
        }
    }

    fn step(&mut self, kind: &str, data: &[u8], root: Option<Value<'_>>) -> Step {
        let response = || {
            root?
                .get("response")
                .filter(|response| response.is_object())
        };
        match kind {
            "error" => return Step::Error(error_body::of_event(root, data)),
            "response.completed" | "response.incomplete" | "response.failed" => {
                let response = response();
                let failed = response.is_some_and(|response| self.end(response));
                return if failed || kind == "response.failed" {
                    Step::Error(error_body::of_event(response, data))
                } else {
                    Step::EndMark
                };
            }
            "response.created" | "response.queued" | "response.in_progress" => {
                if let Some(response) = response() {
                    self.begin(response);
                }
            }
            _ => match root {
                Some(root) => {
                    if let Some(event) = Event::read(kind, root) {
                        self.take_item(&event);
                    }
                }
                None => self.notes.add(notes::UNREADABLE_EVENT),
            },
        }
        Step::Data
    }

    /// Takes the response of an event that ends nothing.
    fn begin(&mut self, response: Value<'_>) {
        let (bytes, before) = (response.text().len(), self.response_bytes());
        if self.room.has(bytes, before) {
            self.room.change(before, bytes);
            self.response = Some(Response::of(response));
        }
    }

    /// Takes the whole response, and says whether it has failed.
    fn end(&mut self, response: Value<'_>) -> bool {
        let mut whole = Response::of(response);
        let failed = whole.glance.is_error;
        if whole.text.len() > self.room.max_bytes {
            self.room.full = true;
            return failed;
        }
        if has_elements(response.get("output")) {
            // What was amiss on the way is of no consequence.
            self.notes = Notes::default();
            self.room.full = false;
            if let Some(text) = self.with_logprobs(response) {
                self.notes.add(notes::FILLED_LOGPROBS);
                whole.text = text;
            }
            self.items.clear();
        } else if !self.items.is_empty() {
            self.notes.add(notes::FILLED_OUTPUT);
        }
        self.response = Some(whole);
        failed
    }

    /// The whole response with the log probabilities that only the deltas had. vLLM's final event
    /// lacks them, and yet a whole reply has them.
    fn with_logprobs(&self, response: Value<'_>) -> Option<String> {
        if !self.items.values().any(Item::has_own_logprobs) {
            return None;
        }
        let output = response.get("output")?;
        let mut filled = false;
        let mut list = String::with_capacity(output.text().len() + self.room.bytes);
        for (index, item) in (0..).zip(output.elements()) {
            let streamed = self.items.get(&index);
            let text = streamed.and_then(|streamed| streamed.fill_logprobs(item));
            filled |= text.is_some();
            push_item(&mut list, text.as_deref().unwrap_or(item.text()));
        }
        let mut edits = Edits::new(response);
        edits.set(response, "output", &format!("[{list}]"));
        edits.apply().filter(|_| filled)
    }

    /// Takes what an event brings for an item.
    fn take_item(&mut self, event: &Event<'_>) {
        if !event.has_room() {
            self.notes.add(notes::TOO_DEEP);
            return;
        }
        // Servers that leave the index out send one item after the other.
        let index = event.index.unwrap_or_else(|| match event.piece {
            Piece::Added(_) => self.latest.saturating_add(1),
            _ => self.latest.max(0),
        });
        self.latest = index;
        let (bytes, replaced) = match self.items.get(&index) {
            Some(item) => (event.piece.bytes(), item.replaced_by(&event.piece)),
            None => (event.piece.bytes() + Meter::NODE, 0),
        };
        if self.room.has(bytes, replaced) {
            let item = self.items.entry(index).or_default();
            let before = item.bytes();
            item.take(event);
            self.room.change(before, item.bytes());
        }
    }

    fn response_bytes(&self) -> usize {
        self.response.as_ref().map_or(0, |own| own.text.len())
    }
}

impl Response {
    fn of(response: Value<'_>) -> Self {
        Self {
            text: response.text().to_owned(),
            glance: glance(response),
        }
    }
}

impl Assembler for ResponseAssembler {
    fn event(&mut self, name: Option<&[u8]>, data: &[u8], root: Option<Value<'_>>) -> Step {
        let name = name.and_then(|name| std::str::from_utf8(name).ok());
        let kind = root.and_then(|root| root.get("type")?.as_str());
        let kind = match (name, kind.as_deref()) {
            (Some("error"), _) => "error",
            (_, None) if root.is_some_and(error_body::is_error) => "error",
            (_, Some(kind)) => kind,
            (Some(name), None) => name,
            (None, None) => "",
        };
        let step = self.step(kind, data, root);
        if self.room.full {
            self.notes.add(notes::CAPPED);
        }
        step
    }

    /// No item says that nothing comes after it.
    fn settled(&self, _: usize) -> bool {
        false
    }

    fn assembled(&self) -> Option<String> {
        if self.items.is_empty() {
            return self.response.as_ref().map(|own| own.text.clone());
        }
        let mut output = String::with_capacity(self.room.bytes + 2);
        for item in self.items.values() {
            push_item(&mut output, &item.text());
        }
        let output = format!("[{output}]");
        match &self.response {
            Some(own) => {
                let root = Value::of_valid(&own.text);
                let mut edits = Edits::new(root);
                edits.set(root, "output", &output);
                edits.apply()
            }
            None => Some(format!("{{\"object\":\"response\",\"output\":{output}}}")),
        }
    }

    fn unreadable(&self) -> Option<&'static str> {
        match &self.response {
            _ if !self.items.is_empty() => None,
            Some(own) => own.glance.unreadable,
            None => Some(UNREADABLE),
        }
    }

    fn digest(&self) -> ReplyDigest {
        match &self.response {
            Some(own) if self.items.is_empty() => own.glance.digest.clone(),
            _ => derive::digest(
                Endpoint::Responses,
                self.assembled().unwrap_or_default().as_bytes(),
            ),
        }
    }

    fn notes(&self) -> &Notes {
        &self.notes
    }
}
