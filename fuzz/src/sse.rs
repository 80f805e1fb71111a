//! Any split of a stream gives the same events, none of its bytes is lost, and an event can be
//! written again.

use bytes::Bytes;
use gateway_sse::{Decoder, Event, encode};

use super::{cut, seeded};

/// Two bytes say how to cut, the others are the stream.
pub fn check(data: &[u8]) {
    let Some((seed, stream)) = seeded(data) else {
        return;
    };
    let whole = decode(&[stream]);
    for pieces in [cut(stream, seed), stream.chunks(1).collect()] {
        let split = decode(&pieces);
        assert_eq!(split.raw, stream);
        assert_eq!(split.told(), whole.told());
        assert_eq!(split.rest, whole.rest);
    }
    assert_eq!(whole.raw, stream);
    for event in &whole.events {
        check_event(event);
    }
}

/// What a decoder made of a stream.
struct Decoded {
    events: Vec<Event>,
    rest: Option<Event>,
    raw: Vec<u8>,
}

impl Decoded {
    /// The events that say something. How their bytes fall to events depends on the cuts: the LF of
    /// a CRLF may come alone.
    fn told(&self) -> Vec<(Option<&Bytes>, &Bytes)> {
        self.events
            .iter()
            .filter_map(|event| Some((event.name.as_ref(), event.data.as_ref()?)))
            .collect()
    }
}

fn decode(pieces: &[&[u8]]) -> Decoded {
    let mut decoder = Decoder::new();
    let mut events = Vec::new();
    for piece in pieces {
        decoder.push(Bytes::copy_from_slice(piece), &mut |event| {
            events.push(event);
        });
    }
    let rest = decoder.finish();
    let raw = events
        .iter()
        .chain(&rest)
        .flat_map(|event| event.raw.clone())
        .collect();
    Decoded { events, rest, raw }
}

/// An event with other data is the same but for these, and one that is written anew says the same.
fn check_event(event: &Event) {
    let Some(data) = &event.data else {
        assert_eq!(event.with_data("new"), event.raw);
        return;
    };
    let [only] = &decode(&[&event.with_data("one\ntwo")]).events[..] else {
        panic!("an event with other data is one event");
    };
    assert_eq!(only.data.as_deref(), Some(&b"one\ntwo"[..]));
    assert_eq!(only.name, event.name);

    let name = event.name.as_deref().map(str::from_utf8);
    if let (Ok(name), Ok(text)) = (name.transpose(), str::from_utf8(data)) {
        let [only] = &decode(&[&encode(name, text)]).events[..] else {
            panic!("a written event is one event");
        };
        assert_eq!((&only.name, &only.data), (&event.name, &event.data));
    }
}
