//! Output items, as far as they have come.

use std::collections::BTreeMap;

use gateway_json::{Edits, Value};

use super::event::{Event, Home, List, OUTPUT_TEXT, Piece, has_elements};
use crate::assemble::Meter;
use crate::assemble::fields::{items_of, push_item};

/// An output item.
///
/// What an event gives whole is kept as it stands; what comes in pieces stands apart, until the
/// event comes that gives it whole too.
#[derive(Debug, Default)]
pub(super) struct Item {
    /// The item as it was added, or as it is at its end; empty if it was never added.
    base: String,
    done: bool,
    text: Option<Text>,
    content: BTreeMap<i64, Part>,
    summary: BTreeMap<i64, Part>,
    /// The base has log probabilities that only its deltas had.
    filled: bool,
    /// How much memory it takes, about.
    bytes: usize,
}

impl Item {
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// How much of it goes when it takes this piece.
    pub(super) fn replaced_by(&self, piece: &Piece<'_>) -> usize {
        match piece {
            Piece::Added(_) | Piece::Done(_) => self.bytes,
            Piece::Part { home, index, .. } => {
                let part = self.list(home.list).and_then(|list| list.get(index));
                part.map_or(0, Part::replaceable)
            }
            Piece::Text {
                home, index, whole, ..
            } if *whole => {
                let text = match self.list(home.list) {
                    Some(list) => list.get(index).and_then(|part| part.text.as_ref()),
                    None => self.text.as_ref(),
                };
                text.map_or(0, |text| text.text.len())
            }
            Piece::Text { .. } | Piece::Annotation { .. } => 0,
        }
    }

    /// Takes what an event brings. An item that is done changes no more.
    pub(super) fn take(&mut self, event: &Event<'_>) {
        let piece = &event.piece;
        if self.done && !matches!(piece, Piece::Done(_)) {
            return;
        }
        self.bytes = (self.bytes + piece.bytes()).saturating_sub(self.replaced_by(piece));
        match *piece {
            Piece::Added(item) => *self = Self::begun(item),
            Piece::Done(item) => *self = self.done(item),
            Piece::Part {
                home,
                index,
                part,
                done,
            } => {
                if let Some(own) = self.part(event, home, index) {
                    own.replace(part, done);
                }
            }
            Piece::Text {
                home,
                index,
                text,
                whole,
                logprobs,
            } => match self.part(event, home, index) {
                Some(part) => {
                    Text::take(&mut part.text, &part.base, home, text, whole);
                    // What the deltas have had is not given again with the whole text by everyone.
                    if let Some(logprobs) = logprobs
                        && (!whole || part.logprobs.is_empty())
                    {
                        push_item(&mut part.logprobs, items_of(logprobs.text()));
                    }
                }
                None => Text::take(&mut self.text, &self.base, home, text, whole),
            },
            Piece::Annotation { index, annotation } => {
                if let Some(part) = self.part(event, OUTPUT_TEXT, index) {
                    push_item(&mut part.annotations, annotation.text());
                }
            }
        }
    }

    fn begun(item: Value<'_>) -> Self {
        let content = Part::all_of(item.get("content"));
        let summary = Part::all_of(item.get("summary"));
        Self {
            bytes: Meter::NODE * (1 + content.len() + summary.len()) + 2 * item.text().len(),
            base: item.text().to_owned(),
            content,
            summary,
            ..Self::default()
        }
    }

    fn done(&self, item: Value<'_>) -> Self {
        let filled = self.fill_logprobs(item);
        let is_filled = filled.is_some();
        let base = filled.unwrap_or_else(|| item.text().to_owned());
        Self {
            bytes: Meter::NODE + base.len(),
            base,
            done: true,
            filled: is_filled,
            ..Self::default()
        }
    }

    /// The part that an event is about, if it is about one. An item or a part that was never
    /// added begins with what must be in it.
    fn part(&mut self, event: &Event<'_>, home: Home, index: i64) -> Option<&mut Part> {
        if self.base.is_empty() {
            let id = event.id.map(|id| format!("\"id\":{},", id.text()));
            let role = match home.item {
                "message" => ",\"role\":\"assistant\"",
                _ => "",
            };
            self.base = format!(
                "{{{}\"type\":\"{}\"{role}}}",
                id.unwrap_or_default(),
                home.item
            );
            self.bytes += Meter::NODE + self.base.len();
        }
        let list = match home.list? {
            List::Content => &mut self.content,
            List::Summary => &mut self.summary,
        };
        let bytes = &mut self.bytes;
        Some(list.entry(index).or_insert_with(|| {
            *bytes += Meter::NODE;
            Part {
                base: format!("{{\"type\":\"{}\"}}", home.part),
                ..Part::default()
            }
        }))
    }

    fn list(&self, list: Option<List>) -> Option<&BTreeMap<i64, Part>> {
        Some(match list? {
            List::Content => &self.content,
            List::Summary => &self.summary,
        })
    }

    /// The item as it is so far.
    pub(super) fn text(&self) -> String {
        edited(&self.base, |root, edits| {
            for (name, parts) in [("content", &self.content), ("summary", &self.summary)] {
                if !parts.is_empty() {
                    edits.set(root, name, &Part::list(parts.values().map(Part::text)));
                }
            }
            Text::write(self.text.as_ref(), root, edits);
        })
    }

    /// The item `whole` with the log probabilities that only the deltas of this one had; none if
    /// there are none that it lacks.
    pub(super) fn fill_logprobs(&self, whole: Value<'_>) -> Option<String> {
        if !self.has_own_logprobs() {
            return None;
        }
        let streamed = self.text();
        let streamed = Value::of_valid(&streamed);
        let mut filled = false;
        let parts = whole.get("content")?.elements();
        let mut own = streamed.get("content")?.elements();
        let list = Part::list(parts.map(|part| {
            let own = own.next().filter(|own| {
                own.get("text").map(Value::text) == part.get("text").map(Value::text)
            });
            let logprobs = own
                .and_then(|own| own.get("logprobs"))
                .filter(|logprobs| has_elements(Some(*logprobs)));
            match logprobs {
                Some(logprobs) if !has_elements(part.get("logprobs")) => {
                    filled = true;
                    edited(part.text(), |root, edits| {
                        edits.set(root, "logprobs", logprobs.text());
                    })
                }
                _ => part.text().to_owned(),
            }
        }));
        filled.then(|| {
            edited(whole.text(), |root, edits| {
                edits.set(root, "content", &list);
            })
        })
    }

    /// Whether it has log probabilities that no event gave whole.
    pub(super) fn has_own_logprobs(&self) -> bool {
        self.filled || self.content.values().any(|part| !part.logprobs.is_empty())
    }
}

/// A part of an item.
#[derive(Debug, Default)]
struct Part {
    base: String,
    text: Option<Text>,
    /// The log probabilities of the deltas, with commas between them.
    logprobs: String,
    /// The annotations that came one by one, with commas between them.
    annotations: String,
}

impl Part {
    /// So many parts an item may have from its begin; more are hostile, and would take far more
    /// memory than their text.
    const MAX_BEGUN: usize = 1024;

    /// The parts that an item has from its begin.
    fn all_of(list: Option<Value<'_>>) -> BTreeMap<i64, Self> {
        let parts = list.into_iter().flat_map(Value::elements);
        let part = |part: Value<'_>| Self {
            base: part.text().to_owned(),
            ..Self::default()
        };
        (0..).zip(parts.take(Self::MAX_BEGUN).map(part)).collect()
    }

    /// An array of these.
    fn list(parts: impl Iterator<Item = String>) -> String {
        let mut list = String::new();
        for part in parts {
            push_item(&mut list, &part);
        }
        format!("[{list}]")
    }

    fn replaceable(&self) -> usize {
        self.base.len() + self.text.as_ref().map_or(0, |text| text.text.len())
    }

    /// The part as it was added, or as it is at its end. What came one by one and is not in it
    /// stays.
    fn replace(&mut self, part: Value<'_>, done: bool) {
        part.text().clone_into(&mut self.base);
        self.text = None;
        if !done || has_elements(part.get("logprobs")) {
            self.logprobs.clear();
        }
        if !done || has_elements(part.get("annotations")) {
            self.annotations.clear();
        }
    }

    fn text(&self) -> String {
        edited(&self.base, |root, edits| {
            Text::write(self.text.as_ref(), root, edits);
            if !self.logprobs.is_empty() {
                edits.set(root, "logprobs", &format!("[{}]", self.logprobs));
            }
            if !self.annotations.is_empty() {
                let mut all = match root.get("annotations").filter(|all| all.is_array()) {
                    Some(all) => items_of(all.text()).to_owned(),
                    None => String::new(),
                };
                push_item(&mut all, &self.annotations);
                edits.set(root, "annotations", &format!("[{all}]"));
            }
        })
    }
}

/// A member whose text comes in pieces.
#[derive(Debug)]
struct Text {
    member: &'static str,
    /// In its escaped form.
    text: String,
}

impl Text {
    /// Takes the next piece, which goes on with what the base has; or the whole text.
    fn take(own: &mut Option<Self>, base: &str, home: Home, piece: &str, whole: bool) {
        let own = own.get_or_insert_with(|| Self {
            member: home.member,
            text: text_of(base, home.member),
        });
        if whole {
            own.member = home.member;
            own.text.clear();
        }
        if own.member == home.member {
            own.text.push_str(piece);
        }
    }

    fn write<'a>(own: Option<&Self>, root: Value<'a>, edits: &mut Edits<'a>) {
        if let Some(own) = own {
            edits.set(root, own.member, &format!("\"{}\"", own.text));
        }
    }
}

/// The escaped text of a member that is a string.
fn text_of(base: &str, member: &str) -> String {
    let text = Value::of_valid(base)
        .get(member)
        .and_then(Value::string_text);
    text.unwrap_or_default().to_owned()
}

/// The text of an object with its members changed. What is no object stays as it is.
fn edited<'a>(base: &'a str, edit: impl FnOnce(Value<'a>, &mut Edits<'a>)) -> String {
    let root = Value::of_valid(base);
    let mut edits = Edits::new(root);
    if root.is_object() {
        edit(root, &mut edits);
    }
    edits.apply().unwrap_or_else(|| base.to_owned())
}
