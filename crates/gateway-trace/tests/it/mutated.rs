//! Every fixture with each value replaced by what does not belong there, and each member missing:
//! an honest record comes of it.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use gateway_json::{Dialect, Edits, Value, parse};
use gateway_sse::{Decoder, Event};
use gateway_trace::{End, Endpoint, Outcome, ReplyHead, TraceRecord};

use crate::hostile::check_types;
use crate::replay::{FOLDERS, call, checked_record, fixtures, reply};

/// What is done at one place of a text.
#[derive(Debug, Clone, Copy)]
enum Change {
    Replace(&'static str),
    /// For members alone.
    Remove,
}

const CHANGES: [Change; 12] = [
    Change::Remove,
    Change::Replace("null"),
    Change::Replace("\"\""),
    Change::Replace("[]"),
    Change::Replace("{}"),
    Change::Replace("1e400"),
    Change::Replace("-1"),
    Change::Replace("true"),
    Change::Replace("NaN"),
    Change::Replace("123456789012345678901234567890"),
    Change::Replace("\"\\ud800\""),
    Change::Replace("[[{}],null,0.5]"),
];

/// A value, and the object that it is a member of, if it is one.
#[derive(Clone, Copy)]
struct Place<'a> {
    value: Value<'a>,
    object: Option<Value<'a>>,
}

/// A text, and the first place of each path in it. The elements of an array have one path.
struct Text<'a> {
    root: Value<'a>,
    places: BTreeMap<String, Place<'a>>,
}

impl<'a> Text<'a> {
    /// None if it is no JSON.
    fn of(text: &'a [u8]) -> Option<Self> {
        let root = parse(text, Dialect::Strict).ok()?;
        let mut places = BTreeMap::new();
        walk(root, None, String::new(), &mut places);
        Some(Self { root, places })
    }

    /// The text with a change at this path; none if nothing changes.
    fn changed(&self, path: &str, change: Change) -> Option<String> {
        let Place { value, object } = *self.places.get(path)?;
        let mut edits = Edits::new(self.root);
        match change {
            Change::Replace(with) => edits.replace(value, with),
            Change::Remove => edits.remove(object?, |member| {
                std::ptr::eq(member.value.text(), value.text())
            }),
        }
        edits.apply()
    }
}

fn walk<'a>(
    value: Value<'a>,
    object: Option<Value<'a>>,
    path: String,
    places: &mut BTreeMap<String, Place<'a>>,
) {
    for member in value.members() {
        let path = format!("{path}.{}", member.key.text());
        walk(member.value, Some(value), path, places);
    }
    for element in value.elements() {
        walk(element, None, format!("{path}[]"), places);
    }
    places.entry(path).or_insert(Place { value, object });
}

fn record_of(endpoint: Endpoint, request: &Bytes, streamed: bool, body: &[u8]) -> TraceRecord {
    let head = ReplyHead {
        status: 200,
        streamed,
        request_id: None,
    };
    let reply = reply(endpoint, head, &[body], End::Eof);
    checked_record(&call(endpoint, request.clone()), &reply)
}

#[track_caller]
fn check(record: &TraceRecord) {
    let all = check_types(record);
    assert_eq!(all["error"].is_null(), record.outcome == Outcome::Completed);
}

/// The replies of a folder with the requests they answer, by the ending of their names.
fn each(folder: &str, ending: &str, mut check: impl FnMut(&Bytes, &Bytes)) {
    let files = fixtures(folder);
    for (name, body) in &files {
        let stem = name.strip_suffix(ending);
        let Some(stem) = stem.filter(|stem| !stem.contains('.')) else {
            continue;
        };
        let request = files.get(&format!("{stem}.request.json"));
        check(request.unwrap_or(&Bytes::from_static(b"{}")), body);
    }
}

#[test]
fn whole_replies() {
    for (folder, endpoint) in FOLDERS {
        each(folder, ".json", |request, body| {
            let text = Text::of(body).expect("JSON");
            for path in text.places.keys() {
                let bodies = CHANGES
                    .iter()
                    .filter_map(|change| text.changed(path, *change));
                bodies.for_each(|body| check_whole(endpoint, request, &body));
            }
        });
    }
}

fn check_whole(endpoint: Endpoint, request: &Bytes, body: &str) {
    let record = record_of(endpoint, request, false, body.as_bytes());
    check(&record);
    // What came is kept as it came, whatever could be read of it.
    let raw = record.raw_response.expect("a whole reply is kept");
    if body.starts_with('{') && !body.contains("NaN") {
        assert_eq!(raw.as_str(), body);
    } else {
        assert!(raw.as_str().starts_with("{\"_body\":"), "{raw}");
    }
}

#[test]
fn requests() {
    for (folder, endpoint) in FOLDERS {
        each(folder, ".request.json", |request, _| {
            let text = Text::of(request).expect("JSON");
            for path in text.places.keys() {
                let requests = CHANGES
                    .iter()
                    .filter_map(|change| text.changed(path, *change));
                for request in requests {
                    check(&record_of(endpoint, &request.into(), false, b"{}"));
                }
            }
        });
    }
}

/// How often each path has been tried. What reads a place is the same for every stream that has it,
/// so that a few of them will do: a stream has many events.
#[derive(Default)]
struct Tried(BTreeMap<String, usize>);

impl Tried {
    const ENOUGH: usize = 4;

    /// The paths of these texts that have not been tried often enough.
    fn paths<'a>(&mut self, texts: impl IntoIterator<Item = &'a Text<'a>>) -> BTreeSet<String> {
        let paths = texts.into_iter().flat_map(|text| text.places.keys());
        let mut paths: BTreeSet<_> = paths.cloned().collect();
        paths.retain(|path| {
            let times = self.0.entry(path.clone()).or_default();
            *times += 1;
            *times <= Self::ENOUGH
        });
        paths
    }
}

#[test]
fn streams_with_one_odd_event() {
    check_streams(1);
}

#[test]
fn streams_with_odd_events() {
    check_streams(usize::MAX);
}

/// A change is made to the first events that have its place, so many of them.
fn check_streams(most: usize) {
    for (folder, endpoint) in FOLDERS {
        let mut tried = Tried::default();
        each(folder, ".sse", |request, body| {
            let mut events: Vec<Event> = Vec::new();
            Decoder::new().push(body.clone(), &mut |event| events.push(event));
            // What is no JSON stays as it is.
            let texts: Vec<_> = events
                .iter()
                .map(|event| event.data.as_deref().and_then(Text::of))
                .collect();
            for path in tried.paths(texts.iter().flatten()) {
                for change in CHANGES {
                    let mut left = most;
                    let mut stream = Vec::new();
                    for (event, text) in events.iter().zip(&texts) {
                        let text = text.as_ref().filter(|_| left > 0);
                        let new = text.and_then(|text| text.changed(&path, change));
                        left -= usize::from(new.is_some());
                        let raw = new.map_or(event.raw.clone(), |new| event.with_data(&new));
                        stream.extend_from_slice(&raw);
                    }
                    check(&record_of(endpoint, request, true, &stream));
                }
            }
        });
    }
}
