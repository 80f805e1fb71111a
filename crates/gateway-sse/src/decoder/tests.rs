//! Events as the standard has them, at any split of the bytes.

use bytes::Bytes;
use proptest::prelude::*;

use super::{Decoder, Limits};
use crate::event::Event;

fn decode_with(mut decoder: Decoder, chunks: &[&[u8]]) -> (Vec<Event>, Option<Event>) {
    let mut events = Vec::new();
    for chunk in chunks {
        decoder.push(Bytes::copy_from_slice(chunk), &mut |event| {
            events.push(event);
        });
    }
    (events, decoder.finish())
}

fn decode(chunks: &[&[u8]]) -> (Vec<Event>, Option<Event>) {
    decode_with(Decoder::new(), chunks)
}

/// What a reader of the stream learns: name and data of each event that has data.
fn meaning(events: &[Event]) -> Vec<(Option<String>, String)> {
    let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
    events
        .iter()
        .filter_map(|event| Some((event.name.as_ref().map(text), text(event.data.as_ref()?))))
        .collect()
}

fn all_bytes(events: &[Event], rest: Option<&Event>) -> Vec<u8> {
    events
        .iter()
        .chain(rest)
        .flat_map(|event| event.raw.to_vec())
        .collect()
}

#[track_caller]
fn check(input: &str, expected: &[(Option<&str>, &str)]) {
    let expected: Vec<_> = expected
        .iter()
        .map(|(name, data)| (name.map(str::to_owned), (*data).to_owned()))
        .collect();
    let bytes = input.as_bytes();
    let (whole, rest) = decode(&[bytes]);
    assert_eq!(meaning(&whole), expected, "{input:?} whole");
    assert_eq!(all_bytes(&whole, rest.as_ref()), bytes);
    for at in 0..=bytes.len() {
        let (events, rest) = decode(&[&bytes[..at], &bytes[at..]]);
        assert_eq!(meaning(&events), expected, "{input:?} split at {at}");
        assert_eq!(
            all_bytes(&events, rest.as_ref()),
            bytes,
            "{input:?} split at {at}"
        );
    }
    let single: Vec<_> = bytes.chunks(1).collect();
    assert_eq!(
        meaning(&decode(&single).0),
        expected,
        "{input:?} byte by byte"
    );
}

#[test]
fn line_ends_of_every_kind() {
    check("data: a\n\ndata: b\n\n", &[(None, "a"), (None, "b")]);
    check(
        "data: a\r\n\r\ndata: b\r\n\r\n",
        &[(None, "a"), (None, "b")],
    );
    check("data: a\r\rdata: b\r\r", &[(None, "a"), (None, "b")]);
    check("data: a\r\n\ndata: b\n\r\n", &[(None, "a"), (None, "b")]);
    check("data: a\n\rdata: b\r\r\n", &[(None, "a"), (None, "b")]);
}

#[test]
fn fields_as_the_standard_has_them() {
    check(
        "event: x\nid: 7\nretry: 10\ndata: a\n\n",
        &[(Some("x"), "a")],
    );
    check("data:a\n\n", &[(None, "a")]);
    check("data:  a\n\n", &[(None, " a")]);
    check("data\n\n", &[(None, "")]);
    check("data: a\ndata\ndata:b\n\n", &[(None, "a\n\nb")]);
    check(": comment\n\n", &[]);
    check(": comment\ndata: a\nother: b\ndatax: c\n\n", &[(None, "a")]);
    check("event: lonely\n\ndata: a\n\n", &[(None, "a")]);
    check("\n\n\ndata: a\n\n\n\n", &[(None, "a")]);
    check("event: x\nevent: y\ndata: a:b\n\n", &[(Some("y"), "a:b")]);
}

#[test]
fn a_byte_order_mark_is_not_part_of_the_first_field() {
    check(
        "\u{feff}data: a\n\ndata: b\n\n",
        &[(None, "a"), (None, "b")],
    );
}

#[test]
fn the_last_event_counts_only_with_its_blank_line() {
    check("data: a\n\ndata: b\n", &[(None, "a")]);
    let (_, rest) = decode(&[b"data: a\n\ndata: b"]);
    let rest = rest.unwrap();
    assert_eq!(
        (rest.raw.as_ref(), rest.data.as_deref()),
        (&b"data: b"[..], Some(&b"b"[..]))
    );
}

#[test]
fn defect_03_unicode_line_separators_are_text() {
    check(
        "data: {\"a\":\"\u{2028}x\u{2029}y\u{85}z\u{b}\u{c}\"}\n\n",
        &[(None, "{\"a\":\"\u{2028}x\u{2029}y\u{85}z\u{b}\u{c}\"}")],
    );
}

#[test]
fn an_event_is_given_out_with_its_last_byte() {
    let mut decoder = Decoder::new();
    let mut count = 0;
    decoder.push(Bytes::from_static(b"data: a\r\n\r"), &mut |_| count += 1);
    assert_eq!(count, 1, "the LF of a split CRLF is not waited for");
    let mut late = Vec::new();
    decoder.push(Bytes::from_static(b"\ndata: b\r\n\r\n"), &mut |event| {
        late.push(event);
    });
    assert_eq!(late[0].raw, "\n");
    assert_eq!(late[1].data.as_deref(), Some(&b"b"[..]));
    assert!(decoder.pending().is_empty());
}

#[test]
fn an_event_within_a_chunk_is_not_copied() {
    let chunk = Bytes::from_static(b"data: abc\n\ndata: de");
    let mut decoder = Decoder::new();
    decoder.push(chunk.clone(), &mut |event| {
        assert_eq!(event.raw.as_ptr(), chunk.as_ptr());
        assert_eq!(
            event.data.as_ref().map(|data| data.as_ptr()),
            Some(chunk[6..].as_ptr())
        );
    });
    assert_eq!(decoder.pending(), b"data: de");
}

#[test]
fn bytes_need_not_be_utf8() {
    let (events, _) = decode(&[b"data: \xff\xfe\n\n"]);
    assert_eq!(events[0].data.as_deref(), Some(&b"\xff\xfe"[..]));
}

#[test]
fn a_line_over_the_limit_is_passed_on_and_the_next_event_is_read() {
    let input =
        b"data: 0123456789\n\ndata: ok\n\ndata: 1\ndata: 2\ndata: 3\ndata: 4\n\ndata: ok\n\n";
    for size in 1..=input.len() {
        let chunks: Vec<_> = input.chunks(size).collect();
        let (events, rest) = decode_with(
            Decoder::with_limits(Limits {
                line: 12,
                event: 24,
            }),
            &chunks,
        );
        let ok = (None, "ok".to_owned());
        assert_eq!(meaning(&events), [ok.clone(), ok], "chunks of {size}");
        assert_eq!(all_bytes(&events, rest.as_ref()), input, "chunks of {size}");
        assert!(events.iter().any(|event| event.unread));
    }
}

#[test]
fn what_is_pending_never_exceeds_the_limit() {
    let mut decoder = Decoder::with_limits(Limits {
        line: 100,
        event: 200,
    });
    for _ in 0..1000 {
        decoder.push(Bytes::from_static(b"data: 0123456789\n"), &mut |_| {});
        assert!(decoder.pending().len() <= 200);
    }
}

fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("\n".to_owned()),
        Just("\r".to_owned()),
        Just("\r\n".to_owned()),
        Just("\n\n".to_owned()),
        Just("data:".to_owned()),
        Just("data: x".to_owned()),
        Just("event: e".to_owned()),
        Just(": c".to_owned()),
        Just("\u{feff}".to_owned()),
        Just("\u{2028}é".to_owned()),
        "[a-z:]{0,5}",
    ]
}

proptest! {
    #[test]
    fn any_bytes_come_out_again_and_any_split_means_the_same(
        pieces in prop::collection::vec(piece(), 0..40),
        cuts in prop::collection::vec(0usize..200, 0..8),
    ) {
        let input = pieces.concat().into_bytes();
        let (whole, whole_rest) = decode(&[&input]);
        prop_assert_eq!(all_bytes(&whole, whole_rest.as_ref()), input.clone());

        let mut cuts: Vec<_> = cuts.into_iter().filter(|cut| *cut <= input.len()).collect();
        cuts.sort_unstable();
        let mut chunks = Vec::new();
        let mut from = 0;
        for cut in cuts.into_iter().chain([input.len()]) {
            chunks.push(&input[from..cut]);
            from = cut;
        }
        let (split, split_rest) = decode(&chunks);
        prop_assert_eq!(all_bytes(&split, split_rest.as_ref()), input);
        prop_assert_eq!(meaning(&split), meaning(&whole));
    }

    #[test]
    fn an_event_with_its_own_data_is_itself(pieces in prop::collection::vec(piece(), 0..20)) {
        let mut input = pieces.concat();
        input.push_str("\n\n");
        for event in decode(&[input.as_bytes()]).0 {
            let Some(data) = &event.data else { continue };
            let data = String::from_utf8_lossy(data).into_owned();
            let again = event.with_data(&data);
            let (events, _) = decode(&[&again]);
            let same = events.iter().find(|event| event.data.is_some()).expect("an event with data");
            prop_assert_eq!(same.data.as_deref(), Some(data.as_bytes()));
            prop_assert_eq!(&same.name, &event.name);
        }
    }
}
