//! How the pieces of a response's stream make one item, and what the final event changes.

use gateway_trace::{End, Endpoint, TraceRecord};

use crate::hostile::check_types;
use crate::replay::stream;

const ADDED: &str = r#"{"type":"response.output_item.added","output_index":0,"item":{"type":"message","content":[]}}"#;
const PART: &str = r#"{"type":"response.content_part.added","output_index":0,"content_index":0,"part":{"type":"output_text","text":"","annotations":[],"logprobs":[]}}"#;
const A: &str = r#"{"type":"response.output_text.delta","output_index":0,"content_index":0,"delta":"a","logprobs":[{"logprob":-1.0}]}"#;
const B: &str = r#"{"type":"response.output_text.delta","output_index":0,"content_index":0,"delta":"b","logprobs":[{"logprob":-2.0},{"logprob":-0.50}]}"#;
const NOTE_1: &str = r#"{"type":"response.output_text.annotation.added","output_index":0,"content_index":0,"annotation_index":0,"annotation":{"n":1.0}}"#;
const NOTE_2: &str = r#"{"type":"response.output_text.annotation.added","output_index":0,"content_index":0,"annotation_index":1,"annotation":{"n":2}}"#;

fn assembled(events: &[&str], end: End) -> TraceRecord {
    let record = stream(Endpoint::Responses, "{}", events, end);
    check_types(&record);
    record
}

/// The parts of the one message after these events.
#[track_caller]
fn check_parts(events: &[&str], parts: &str) {
    let record = assembled(events, End::Broken);
    assert_eq!(
        record.assembled_response.expect("assembled").as_str(),
        format!(r#"{{"object":"response","output":[{{"type":"message","content":[{parts}]}}]}}"#),
        "{events:?}"
    );
}

#[test]
fn pieces_are_joined() {
    check_parts(&[ADDED], "");
    check_parts(
        &[ADDED, PART],
        r#"{"type":"output_text","text":"","annotations":[],"logprobs":[]}"#,
    );
    let ab = r#"{"type":"output_text","text":"ab","annotations":[{"n":1.0},{"n":2}],"logprobs":[{"logprob":-1.0},{"logprob":-2.0},{"logprob":-0.50}]}"#;
    check_parts(&[ADDED, PART, A, NOTE_1, B, NOTE_2], ab);
}

#[test]
fn what_is_given_whole_counts_once() {
    let with = |logprobs: &str, annotations: &str| {
        format!(
            r#"{{"type":"output_text","text":"ab","annotations":[{annotations}],"logprobs":[{logprobs}]}}"#
        )
    };
    let logprobs = r#"{"logprob":-1.0},{"logprob":-2.0},{"logprob":-0.50}"#;
    let all = with(logprobs, r#"{"n":1.0}"#);
    let pieces = [ADDED, PART, A, B, NOTE_1];
    let check = |more: &[&str], expected: &str| {
        check_parts(&[&pieces[..], more].concat(), expected);
    };
    let text = |logprobs: &str| {
        format!(
            r#"{{"type":"response.output_text.done","output_index":0,"content_index":0,"text":"ab","logprobs":[{logprobs}]}}"#
        )
    };
    let part = |part: &str| {
        format!(
            r#"{{"type":"response.content_part.done","output_index":0,"content_index":0,"part":{part}}}"#
        )
    };
    check(&[&text(logprobs)], &all);
    // vLLM says none, or those of the last token.
    check(&[&text("")], &all);
    check(&[&text(r#"{"logprob":-0.50}"#)], &all);
    check(&[&text(logprobs), &part(&all)], &all);
    check(&[&part(&with("", ""))], &all);
    // A whole text without deltas before it has its own.
    check_parts(&[ADDED, PART, &text(logprobs)], &with(logprobs, ""));
}

/// The item of a `done` event is as the server has it, but for log probabilities.
#[test]
fn an_item_that_is_done_stays_as_it_is() {
    let done = |part: &str| {
        format!(
            r#"{{"type":"response.output_item.done","output_index":0,"item":{{"type":"message","content":[{part}]}}}}"#
        )
    };
    let bare = r#"{"type":"output_text","text":"ab"}"#;
    let filled = r#"{"type":"output_text","text":"ab","logprobs":[{"logprob":-1.0},{"logprob":-2.0},{"logprob":-0.50}]}"#;
    let null = r#"{"type":"output_text","text":"ab","logprobs":null}"#;
    let own = r#"{"type":"output_text","text":"ab","logprobs":[{"logprob":-9}]}"#;
    let other = r#"{"type":"output_text","text":"other"}"#;
    for (part, expected) in [(bare, filled), (null, filled), (own, own), (other, other)] {
        let done = done(part);
        check_parts(&[ADDED, PART, A, B, &done], expected);
        let late = [ADDED, PART, A, B, &done, ADDED, PART, A, A, NOTE_1];
        check_parts(&late, expected);
    }
}

/// The whole response after these events and a final one.
#[track_caller]
fn check_final(events: &[&str], output: &str, expected: &str, notes: &[&str]) {
    let last = format!(
        r#"{{"type":"response.completed","response":{{"status":"completed"{output},"x":1.0}}}}"#
    );
    let record = assembled(&[events, &[last.as_str()]].concat(), End::Eof);
    let response = format!(r#"{{"status":"completed"{output},"x":1.0}}"#);
    let expected = expected.replace("SAME", &response);
    assert_eq!(
        record.assembled_response.expect("assembled").as_str(),
        expected
    );
    assert_eq!(record.integrity.notes, notes, "{output}");
}

#[test]
fn the_final_event_has_the_last_word() {
    let pieces = [ADDED, PART, A, B];
    let message = |part: &str| format!(r#","output":[{{"type":"message","content":[{part}]}}]"#);
    let part = |logprobs: &str| format!(r#"{{"type":"output_text","text":"ab"{logprobs}}}"#);
    let logprobs = r#","logprobs":[{"logprob":-1.0},{"logprob":-2.0},{"logprob":-0.50}]"#;
    let filled = format!(
        r#"{{"status":"completed"{},"x":1.0}}"#,
        message(&part(logprobs))
    );
    let lacked = "the final event lacks log probabilities: those of the stream stand in it";
    let other = r#"{"type":"output_text","text":"other"}"#;
    check_final(&pieces, &message(other), "SAME", &[]);
    check_final(&pieces, &message(&part(logprobs)), "SAME", &[]);
    check_final(
        &pieces,
        &message(&part(r#","logprobs":[{"logprob":-9}]"#)),
        "SAME",
        &[],
    );
    check_final(&pieces, &message(&part("")), &filled, &[lacked]);
    check_final(
        &pieces,
        &message(&part(r#","logprobs":null"#)),
        &filled,
        &[lacked],
    );
    check_final(&pieces, r#","output":[{"type":"later"}]"#, "SAME", &[]);
    check_final(&[], &message(&part("")), "SAME", &[]);
    check_final(&[], r#","output":[]"#, "SAME", &[]);

    let empty = "the final event has no output: the items of the stream stand in it";
    let message = message(&format!(
        r#"{{"type":"output_text","text":"ab","annotations":[]{logprobs}}}"#
    ));
    let in_place = format!(r#"{{"status":"completed"{message},"x":1.0}}"#);
    let at_the_end = format!(r#"{{"status":"completed","x":1.0{message}}}"#);
    check_final(&pieces, r#","output":[]"#, &in_place, &[empty]);
    check_final(&pieces, r#","output":null"#, &in_place, &[empty]);
    check_final(&pieces, "", &at_the_end, &[empty]);
}

/// A final event of which nothing can be read is an end all the same.
#[test]
fn a_final_event_without_a_response_ends_what_came() {
    for last in [
        r#"{"type":"response.completed"}"#,
        r#"{"type":"response.completed","response":null}"#,
        "[DONE]",
    ] {
        let record = assembled(&[ADDED, PART, A, B, last], End::Eof);
        assert_eq!(record.error, None, "{last}");
        assert_eq!(
            record.response_message.as_str(),
            r#"{"role":"assistant","content":"ab"}"#
        );
        let record = assembled(&[last], End::Eof);
        assert_eq!(record.error.expect("an error").code, "unreadable_reply");
    }
}

#[test]
fn the_response_of_the_latest_event_counts() {
    let response = |kind: &str, response: &str| {
        format!(r#"{{"type":"response.{kind}","response":{response}}}"#)
    };
    let events = [
        response("created", r#"{"status":"queued","output":[]}"#),
        response("queued", r#"{"status":"queued","model":"m","output":[]}"#),
        response(
            "in_progress",
            r#"{"status":"in_progress","model":"n","output":[]}"#,
        ),
    ];
    let events: Vec<_> = events.iter().map(String::as_str).collect();
    let record = assembled(&events, End::Broken);
    assert_eq!(
        record.assembled_response.expect("assembled").as_str(),
        r#"{"status":"in_progress","model":"n","output":[]}"#
    );
    assert_eq!((record.model.as_str(), record.finish_reason), ("n", None));
    assert_eq!(record.response_message.as_str(), "{}");
}

#[test]
fn numbers_keep_their_digits() {
    let body = r#"{"id":"r","output":[{"type":"message","content":[{"type":"output_text","text":"\ud800","n":123456789012345678901234567890}]}],"score":1.0e3}"#;
    let events = [
        r#"{"type":"response.created","response":{"id":"r","output":[],"score":1.0e3}}"#,
        r#"{"type":"response.output_item.added","output_index":0,"item":{"type":"message","content":[]}}"#,
        r#"{"type":"response.content_part.added","output_index":0,"content_index":0,"part":{"type":"output_text","text":"","n":123456789012345678901234567890}}"#,
        r#"{"type":"response.output_text.delta","output_index":0,"content_index":0,"delta":"\ud800"}"#,
    ];
    let record = stream(Endpoint::Responses, "{}", &events, End::Broken);
    assert_eq!(record.assembled_response.expect("assembled").as_str(), body);
    assert_eq!(
        record.response_message.as_str(),
        r#"{"role":"assistant","content":"\ud800"}"#
    );
    let event = format!(r#"{{"type":"response.completed","response":{body}}}"#);
    let record = stream(Endpoint::Responses, "{}", &[&event], End::Eof);
    assert_eq!(record.assembled_response.expect("assembled").as_str(), body);
}
