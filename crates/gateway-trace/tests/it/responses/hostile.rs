//! Streams of responses that no upstream should send.

use gateway_trace::{End, Endpoint, Outcome, Recorder, ReplyHead, TraceRecord, record};
use serde_json::Value;

use crate::hostile::{check_note, check_types};
use crate::replay::{call, stream, value, whole};

const ADDED: &str = r#"{"type":"response.output_item.added","output_index":0,"item":{"type":"message","role":"assistant","content":[]}}"#;
const PART: &str = r#"{"type":"response.content_part.added","output_index":0,"content_index":0,"part":{"type":"output_text","text":""}}"#;
const A: &str =
    r#"{"type":"response.output_text.delta","output_index":0,"content_index":0,"delta":"a"}"#;
const B: &str =
    r#"{"type":"response.output_text.delta","output_index":0,"content_index":0,"delta":"b"}"#;

fn broken(events: &[&str]) -> TraceRecord {
    let record = stream(Endpoint::Responses, "{}", events, End::Broken);
    check_types(&record);
    assert_eq!(record.outcome, Outcome::Truncated);
    record
}

/// The message of a stream that breaks off after these events.
#[track_caller]
fn check(events: &[&str], message: &str) {
    let record = broken(events);
    assert_eq!(record.response_message.as_str(), message, "{events:?}");
}

const AB: &str = r#"{"role":"assistant","content":"ab"}"#;

#[test]
fn events_that_say_nothing_lose_nothing() {
    check(&[ADDED, PART, A, B], AB);
    for noise in [
        "[]",
        "null",
        "5",
        "not JSON",
        "{}",
        r#"{"type":null}"#,
        r#"{"type":{}}"#,
        r#"{"type":"later.event","output_index":0}"#,
        r#"{"type":"response.later.delta","output_index":0,"delta":"x"}"#,
        r#"{"type":"response."}"#,
        r#"{"type":"response.output_text."}"#,
        r#"{"type":"response.output_text.later","output_index":0,"delta":"x"}"#,
        r#"{"type":"response.output_text.annotation.done","output_index":0,"annotation":"x"}"#,
        r#"{"type":"response.content_part.delta","output_index":0,"delta":"x"}"#,
        r#"{"type":"response.output_item.delta","output_index":0,"item":"x","delta":"x"}"#,
        r#"{"type":"response.created","response":[]}"#,
        r#"{"type":"response.created"}"#,
        r#"{"type":"response.output_item.added","output_index":0,"item":null}"#,
        r#"{"type":"response.output_item.added","output_index":0,"item":[]}"#,
        r#"{"type":"response.output_item.done","output_index":0}"#,
        r#"{"type":"response.content_part.added","output_index":0,"part":"x"}"#,
        r#"{"type":"response.content_part.done","output_index":0,"part":null}"#,
        r#"{"type":"response.output_text.delta","output_index":0,"delta":null}"#,
        r#"{"type":"response.output_text.delta","output_index":0,"delta":{"text":"x"}}"#,
        r#"{"type":"response.output_text.delta","output_index":0,"delta":["x"],"logprobs":5}"#,
        r#"{"type":"response.output_text.done","output_index":0,"text":7}"#,
        r#"{"type":"response.refusal.delta","output_index":0,"content_index":0,"delta":"x"}"#,
        r#"{"type":"response.output_text.annotation.added","output_index":0,"annotation":null}"#,
        r#"{"type":"response.function_call_arguments.delta","output_index":0,"delta":7}"#,
    ] {
        check(&[ADDED, PART, A, noise, B], AB);
    }
}

#[test]
fn what_was_never_added_is_made_up_for() {
    for (event, message) in [
        (
            r#""output_text.delta","delta":"x""#,
            r#"{"role":"assistant","content":"x"}"#,
        ),
        (
            r#""refusal.delta","delta":"x""#,
            r#"{"role":"assistant","content":null,"refusal":"x"}"#,
        ),
        (
            r#""reasoning_text.delta","delta":"x""#,
            r#"{"role":"assistant","content":null,"reasoning_content":"x"}"#,
        ),
        (
            r#""reasoning_summary_text.delta","delta":"x","summary_index":3"#,
            r#"{"role":"assistant","content":null,"reasoning_content":"x"}"#,
        ),
        (
            r#""function_call_arguments.delta","delta":"x""#,
            r#"{"role":"assistant","content":null,"tool_calls":[{"id":"i","type":"function","function":{"arguments":"x"}}]}"#,
        ),
        (
            r#""custom_tool_call_input.done","input":"x""#,
            r#"{"role":"assistant","content":null,"tool_calls":[{"id":"i","type":"custom","custom":{"input":"x"}}]}"#,
        ),
        (r#""code_interpreter_call_code.delta","delta":"x""#, "{}"),
        (r#""mcp_call_arguments.delta","delta":"x""#, "{}"),
        (
            r#""content_part.done","part":{"type":"output_text","text":"x"}"#,
            r#"{"role":"assistant","content":"x"}"#,
        ),
        (
            r#""output_item.done","item":{"type":"message","content":[{"type":"output_text","text":"x"}]}"#,
            r#"{"role":"assistant","content":"x"}"#,
        ),
    ] {
        for place in [
            r#","output_index":0,"item_id":"i""#,
            r#","item_id":"i""#,
            r#","output_index":"0","item_id":"i""#,
        ] {
            let event = format!(r#"{{"type":"response.{}{place}}}"#, &event[1..]);
            let record = broken(&[&event]);
            assert_eq!(record.response_message.as_str(), message, "{event}");
            assert!(
                record
                    .assembled_response
                    .expect("assembled")
                    .as_str()
                    .contains("\"x\"")
            );
        }
    }
}

#[test]
fn indexes_may_be_anything() {
    for (first, second) in [
        (0, 1),
        (i64::MIN, i64::MAX),
        (-1, 0),
        (7, 1_000_000_000_000),
    ] {
        let delta = |index: i64, text: &str| {
            format!(
                r#"{{"type":"response.output_text.delta","output_index":{index},"content_index":{index},"delta":"{text}"}}"#
            )
        };
        let events = [delta(second, "b"), delta(first, "a"), delta(second, "c")];
        let events: Vec<_> = events.iter().map(String::as_str).collect();
        check(&events, r#"{"role":"assistant","content":"abc"}"#);
    }
    // Beyond what an index can be: as if there were none.
    let huge = r#"{"type":"response.output_text.delta","output_index":123456789012345678901234567890,"content_index":1e400,"delta":"b"}"#;
    check(&[ADDED, PART, A, huge], AB);
    // Without indexes one item comes after the other.
    let unplaced = |event: &str| event.replace(r#""output_index":0,"#, "");
    let all: Vec<_> = [ADDED, PART, A, ADDED, PART, B].map(unplaced).into();
    let all: Vec<_> = all.iter().map(String::as_str).collect();
    let record = broken(&all);
    assert_eq!(record.response_message.as_str(), AB);
    let assembled = value(&record.assembled_response.expect("assembled"));
    assert_eq!(assembled["output"].as_array().map(Vec::len), Some(2));
}

#[test]
fn what_comes_twice_counts_once() {
    const DONE: &str = r#"{"type":"response.output_item.done","output_index":0,"item":{"type":"message","content":[{"type":"output_text","text":"ab"}]}}"#;
    const TEXT: &str =
        r#"{"type":"response.output_text.done","output_index":0,"content_index":0,"text":"ab"}"#;
    check(&[ADDED, ADDED, PART, PART, A, B], AB);
    check(&[ADDED, PART, A, ADDED, PART, A, B], AB);
    check(&[ADDED, PART, A, B, TEXT, TEXT], AB);
    check(&[ADDED, PART, TEXT], AB);
    check(
        &[ADDED, PART, A, B, DONE, DONE, ADDED, PART, A, B, TEXT],
        AB,
    );
    // A part that has text from its begin goes on from there.
    let part = PART.replace(r#""text":"""#, r#""text":"a""#);
    check(&[ADDED, &part, B], AB);
    let added = ADDED.replace("[]", r#"[{"type":"output_text","text":"a"}]"#);
    check(&[&added, B], AB);
    // What is no object in a list of parts stays.
    let added = ADDED.replace("[]", r#"[5,{"type":"output_text","text":""}]"#);
    let b = B.replace(r#""content_index":0"#, r#""content_index":1"#);
    check(
        &[&added, &b],
        r#"{"role":"assistant","content":[5,{"type":"text","text":"b"}]}"#,
    );
}

#[test]
fn what_json_cannot_say_is_null_where_it_is_parsed() {
    let nan = PART.replace("}}", r#","logprobs":[{"logprob":NaN}],"x":-Infinity}}"#);
    let record = broken(&[ADDED, &nan, A, B]);
    assert_eq!(record.response_message.as_str(), AB);
    check_note(&record, "NaN");
    let assembled = value(&record.assembled_response.expect("assembled"));
    assert_eq!(assembled["output"][0]["content"][0]["x"], Value::Null);
    assert_eq!(
        record.choices.expect("choices")[0].logprobs.as_deref(),
        Some(&[None][..])
    );
}

/// What lies deeper in the whole response than in its event must be readable there, too.
#[test]
fn what_nests_too_deep_takes_nothing_with_it() {
    let noise = PART.replace(r#""content_index":0"#, r#""content_index":1"#);
    let item = r#"{"type":"response.output_item.added","output_index":1,"item":{"x":0}}"#;
    let annotation = r#"{"type":"response.output_text.annotation.added","output_index":0,"content_index":0,"annotation":{"x":0}}"#;
    let delta = A.replace("\"a\"", r#""","logprobs":[0]"#);
    let part = noise.replace(r#""text":"""#, r#""text":"","x":0"#);
    for (event, most) in [
        (item, 125),
        (part.as_str(), 123),
        (delta.as_str(), 122),
        (annotation, 121),
    ] {
        for depth in [100, most, most + 1] {
            let deep = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
            let event = event
                .replace("[0]", &format!("[{deep}]"))
                .replace(r#""x":0"#, &format!(r#""x":{deep}"#));
            let events = [ADDED, PART, A, &event, B];
            let record = stream(Endpoint::Responses, "{}", &events, End::Broken);
            assert_eq!(record.response_message.as_str(), AB, "{event}");
            let notes = &record.integrity.notes;
            let too_deep = notes.iter().any(|note| note.contains("too deep"));
            assert_eq!(too_deep, depth > most, "{event} {notes:?}");
            let assembled = record.assembled_response.expect("assembled");
            assert_eq!(assembled.as_str().contains(&deep), !too_deep);
        }
    }
}

const HOSTILE: [&str; 21] = [
    r#"{"output":null}"#,
    r#"{"output":{}}"#,
    r#"{"output":"x"}"#,
    r#"{"output":[null,5,"x",[]]}"#,
    r#"{"output":[{}],"status":5,"usage":[],"model":{},"error":[]}"#,
    r#"{"output":[{"type":5}],"status":"later","usage":{"input_tokens":"3","input_tokens_details":5}}"#,
    r#"{"output":[{"type":"message"}],"status":"completed","usage":{"input_tokens":null,"output_tokens":2.5}}"#,
    r#"{"output":[{"type":"message","content":5}],"status":"incomplete","incomplete_details":5}"#,
    r#"{"output":[{"type":"message","content":[null,5,"x",[],{}]}],"status":"incomplete","incomplete_details":{"reason":7}}"#,
    r#"{"output":[{"type":"message","content":{"text":"x"}}],"status":null}"#,
    r#"{"output":[{"type":"message","content":[{"type":"output_text","text":5,"logprobs":{}}]}]}"#,
    r#"{"output":[{"type":"message","content":[{"type":"output_text","text":NaN,"logprobs":[null,7,{"logprob":"x"},{"logprob":1e400}]}]}]}"#,
    r#"{"output":[{"type":"message","content":[{"type":"refusal","refusal":{}}]}]}"#,
    r#"{"output":[{"type":"reasoning","summary":5,"content":[{"text":5},7]}]}"#,
    r#"{"output":[{"type":"function_call","call_id":5,"name":[],"arguments":NaN}],"status":"completed"}"#,
    r#"{"output":[{"type":"custom_tool_call","call_id":null,"input":{"a":Infinity}}],"status":"completed"}"#,
    r#"{"output":[{"type":"message","content":"\ud800"}],"model":"\ud800","status":"\ud800"}"#,
    r#"{"output":[],"input_messages":[{"tokens":[123456789012345678901234567890]}],"output_messages":[{"tokens":[1e400]}]}"#,
    r#"{"output":[],"input_messages":5,"output_messages":[{"tokens":{}}],"usage":{"output_tokens":123456789012345678901234567890}}"#,
    r#"{"output":[],"output":[{"type":"message","content":"x"}],"weight_version":"x"}"#,
    r#"{"out\u0070ut":[{"ty\u0070e":"message","content":"x"}],"status":"failed"}"#,
];

#[test]
fn nothing_makes_a_record_fail() {
    for body in HOSTILE {
        for end in [End::Eof, End::CloseDelimited, End::Broken, End::ClientGone] {
            let record = whole(Endpoint::Responses, "{}", 200, body.as_bytes(), end);
            let all = check_types(&record);
            let completed = record.outcome == Outcome::Completed;
            assert_eq!(all["error"].is_null(), completed, "{body}");
        }
        let plain = whole(Endpoint::Responses, "{}", 200, body.as_bytes(), End::Eof);
        for kind in [
            "created",
            "in_progress",
            "completed",
            "incomplete",
            "failed",
        ] {
            let event = format!(r#"{{"type":"response.{kind}","response":{body}}}"#);
            for events in [
                &[event.as_str()][..],
                &[&event, ADDED, PART, A, B],
                &[ADDED, PART, A, B, &event],
            ] {
                let record = stream(Endpoint::Responses, "{}", events, End::Eof);
                check_types(&record);
                if kind == "completed" && events.len() == 1 {
                    assert_eq!(record.response_message, plain.response_message, "{body}");
                    assert_eq!(record.finish_reason, plain.finish_reason, "{body}");
                    assert_eq!(record.outcome, plain.outcome, "{body}");
                }
            }
        }
    }
}

fn started(max_bytes: usize) -> Recorder {
    let mut recorder = Recorder::new(Endpoint::Responses, max_bytes);
    let head = ReplyHead {
        status: 200,
        streamed: true,
        request_id: None,
    };
    recorder.start(head, 0.0);
    recorder
}

#[test]
fn memory_is_bounded_and_the_record_says_so() {
    let endless = |n: usize| match n % 4 {
        0 => ADDED.replace(r#""output_index":0"#, &format!(r#""output_index":{n}"#)),
        1 => A.replace(r#""content_index":0"#, &format!(r#""content_index":{n}"#)),
        2 => r#"{"type":"response.output_text.annotation.added","output_index":0,"annotation":{}}"#
            .to_owned(),
        _ => B.replace('}', r#","logprobs":[{"logprob":-1}]}"#),
    };
    let mut recorder = started(4000);
    for n in 0..20_000 {
        recorder.event(None, endless(n).as_bytes(), 1.0);
    }
    recorder.event(
        None,
        br#"{"type":"response.completed","response":{"output":[],"status":"completed"}}"#,
        1.0,
    );
    let reply = recorder.finish(End::Eof, 1.0);
    assert!(reply.body.len() < 8000, "{}", reply.body.len());
    let record = record(&call(Endpoint::Responses, "{}"), &reply);
    check_types(&record);
    assert_eq!(record.outcome, Outcome::Completed);
    let capped = |note: &String| note.contains("max_record_bytes");
    assert!(
        record.integrity.notes.iter().any(capped),
        "{:?}",
        record.integrity
    );
}

/// What an item had while it was streamed goes when its end comes: the same text twice or more
/// needs no more room than once.
#[test]
fn a_text_is_counted_once() {
    let text = "0123456789".repeat(60);
    let part = format!(r#"{{"type":"output_text","text":"{text}"}}"#);
    let item = format!(r#"{{"type":"message","role":"assistant","content":[{part}]}}"#);
    let response = format!(r#"{{"output":[{item}],"status":"completed"}}"#);
    let mut recorder = started(1000);
    let mut events = vec![ADDED.to_owned(), PART.to_owned()];
    events.extend((0..60).map(|_| A.replace("\"a\"", "\"0123456789\"")));
    events.push(format!(r#"{{"type":"response.output_text.done","output_index":0,"content_index":0,"text":"{text}"}}"#));
    events.push(format!(r#"{{"type":"response.content_part.done","output_index":0,"content_index":0,"part":{part}}}"#));
    events.push(format!(
        r#"{{"type":"response.output_item.done","output_index":0,"item":{item}}}"#
    ));
    events.push(format!(
        r#"{{"type":"response.completed","response":{response}}}"#
    ));
    for event in &events {
        recorder.event(None, event.as_bytes(), 1.0);
        let notes = recorder.snapshot(1.0).meta.notes;
        assert_eq!(notes, [""; 0], "{event}");
    }
    let reply = recorder.finish(End::Eof, 1.0);
    assert_eq!(reply.meta.notes, [""; 0]);
    assert_eq!(reply.body, response);
}

/// What was amiss on the way is of no consequence, once the whole response has come.
#[test]
fn a_whole_response_leaves_no_notes() {
    let mut recorder = started(1000);
    recorder.event(None, b"no JSON", 1.0);
    for n in 0..100 {
        let added = ADDED.replace(r#""output_index":0"#, &format!(r#""output_index":{n}"#));
        recorder.event(None, added.as_bytes(), 1.0);
    }
    let partial = recorder.snapshot(1.0);
    assert_eq!(partial.meta.notes.len(), 2, "{:?}", partial.meta.notes);
    let response = r#"{"output":[{"type":"message","content":[]}]}"#;
    let last = format!(r#"{{"type":"response.completed","response":{response}}}"#);
    recorder.event(None, last.as_bytes(), 1.0);
    let reply = recorder.finish(End::Eof, 1.0);
    assert_eq!(reply.meta.notes, [""; 0]);
    assert_eq!(reply.body, response);
}

/// A final event beyond the cap is no end of what is kept.
#[test]
fn a_final_event_that_is_too_long_leaves_what_came_before() {
    let mut recorder = started(1000);
    let last = format!(
        r#"{{"type":"response.completed","response":{{"output":[],"x":"{}"}}}}"#,
        "y".repeat(2000)
    );
    for event in [ADDED, PART, A, B, &last] {
        recorder.event(None, event.as_bytes(), 1.0);
    }
    let reply = recorder.finish(End::Eof, 1.0);
    let record = record(&call(Endpoint::Responses, "{}"), &reply);
    assert_eq!(record.outcome, Outcome::Completed);
    assert_eq!(record.response_message.as_str(), AB);
    assert_eq!(record.integrity.notes.len(), 1);
}

/// No event costs more for what has come before it.
#[test]
fn many_items_parts_and_events_cost_no_more_than_others() {
    let mut recorder = started(64 << 20);
    for n in 0..10_000 {
        let at = format!(r#""output_index":{n}"#);
        for event in [ADDED, PART, A] {
            recorder.event(
                None,
                event.replace(r#""output_index":0"#, &at).as_bytes(),
                1.0,
            );
        }
        let at = format!(r#""content_index":{n}"#);
        let delta = B
            .replace(r#""content_index":0"#, &at)
            .replace('}', r#","logprobs":[{"logprob":-1}]}"#);
        recorder.event(None, delta.as_bytes(), 1.0);
    }
    let reply = recorder.finish(End::Broken, 1.0);
    check_types(&record(&call(Endpoint::Responses, "{}"), &reply));
}
