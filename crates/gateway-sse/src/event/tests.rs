//! New data for an event, and nothing else of it changed.

use bytes::Bytes;

use super::{Event, encode};

#[track_caller]
fn check(raw: &str, new_data: &str, expected: &str) {
    let event = Event::read(Bytes::copy_from_slice(raw.as_bytes()));
    assert_eq!(event.with_data(new_data), expected, "{raw:?}");
}

#[test]
fn only_the_data_change() {
    check("data: a\n\n", "b", "data: b\n\n");
    check("data:a\r\n\r\n", "b", "data:b\r\n\r\n");
    check("data: a\r\r", "b", "data: b\r\r");
    check(
        ": c\nid: 1\ndata: a\nevent: x\n\n",
        "b",
        ": c\nid: 1\ndata: b\nevent: x\n\n",
    );
    check("data\n\n", "b", "data:b\n\n");
    check("\u{feff}data: a\n\n", "b", "\u{feff}data: b\n\n");
}

#[test]
fn several_data_lines_become_as_many_as_the_new_data_need() {
    check("data: a\ndata:b\nid: 1\n\n", "c", "data: c\nid: 1\n\n");
    check("data: a\n\n", "b\nc\r\nd", "data: b\ndata: c\ndata: d\n\n");
    check(
        "\u{feff}data: a\n\n",
        "b\nc",
        "\u{feff}data: b\ndata: c\n\n",
    );
}

#[test]
fn mixed_line_ends_do_not_swallow_the_blank_line() {
    check("data: a\rdata: b\n\n", "c", "data: c\r\n\n");
}

#[test]
fn an_unfinished_event_stays_unfinished() {
    check("data: a", "b", "data: b");
    check("data: a", "b\nc", "data: b\ndata: c");
}

#[test]
fn without_data_there_is_nothing_to_change() {
    check(": c\n\n", "b", ": c\n\n");
}

#[test]
fn encoding_is_what_decoding_reads() {
    let event = Event::read(encode(Some("error"), "{\n}"));
    assert_eq!(event.name.as_deref(), Some(&b"error"[..]));
    assert_eq!(event.data.as_deref(), Some(&b"{\n}"[..]));
    assert_eq!(encode(None, "x"), "data: x\n\n");
}
