//! How a call ended, judged from what came and how it stopped coming.

use bytes::Bytes;
use gateway_trace::{
    CallError, ContentCoding, End, Endpoint, EventKind, Outcome, Recorder, Reply, ReplyHead,
    choices_asked,
};

use crate::replay::{call, chat_stream, checked_record, reply, stream, whole};

mod choices;
mod errors;

const GOOD: &str = r#"{"choices":[{"index":0,"message":{"role":"assistant","content":"a"},"finish_reason":"stop"}]}"#;
const FIRST: &str =
    r#"{"choices":[{"index":0,"delta":{"role":"assistant","content":"a"},"finish_reason":null}]}"#;
const LAST: &str = r#"{"choices":[{"index":0,"delta":{"content":"b"},"finish_reason":"stop"}]}"#;
const OTHER: &str = r#"{"choices":[{"index":1,"delta":{"content":"c"},"finish_reason":null}]}"#;
const DONE: &str = "[DONE]";
const STREAMED: ReplyHead = ReplyHead {
    status: 200,
    streamed: true,
    request_id: None,
};
const CHAT: Endpoint = Endpoint::ChatCompletions;

#[track_caller]
fn check_whole(status: u16, body: &str, end: &End, outcome: Outcome, ended: bool) {
    let record = whole(CHAT, "{}", status, body.as_bytes(), end.clone());
    assert_eq!(
        (record.outcome, record.integrity.ended),
        (outcome, ended),
        "{status} {body} {end:?}"
    );
    assert_eq!(record.error.is_none(), outcome == Outcome::Completed);
    assert_eq!(record.status, Some(status));
}

#[test]
fn whole_replies() {
    use Outcome::{ClientDisconnected, Completed, Interrupted, Truncated, UpstreamError};
    check_whole(200, GOOD, &End::Eof, Completed, true);
    check_whole(201, GOOD, &End::Eof, Completed, true);
    check_whole(200, GOOD, &End::CloseDelimited, Completed, true);
    check_whole(200, &GOOD[..40], &End::CloseDelimited, Truncated, false);
    check_whole(200, "{\"a\":\"é", &End::CloseDelimited, Truncated, false);
    check_whole(200, "", &End::CloseDelimited, Truncated, false);
    check_whole(200, "<html>", &End::CloseDelimited, UpstreamError, true);
    check_whole(200, &GOOD[..40], &End::Eof, UpstreamError, true);
    check_whole(200, &GOOD[..40], &End::Broken, Truncated, false);
    check_whole(200, GOOD, &End::ClientGone, ClientDisconnected, false);
    check_whole(200, &GOOD[..40], &End::Interrupted, Interrupted, false);
    check_whole(500, GOOD, &End::Eof, UpstreamError, true);
    check_whole(302, "", &End::Eof, UpstreamError, true);
    check_whole(204, "", &End::Eof, UpstreamError, true);
    check_whole(502, "", &End::CloseDelimited, UpstreamError, true);
    check_whole(
        502,
        "<html>bad gateway",
        &End::CloseDelimited,
        UpstreamError,
        true,
    );
    check_whole(500, "{\"error\":", &End::CloseDelimited, Truncated, false);
}

/// The end of a reply that is longer than may be kept is looked for in what is not kept.
#[test]
fn whole_replies_beyond_the_limit() {
    let long = r#"{"choices":[{"index":0,"message":{"role":"assistant","content":"}] \\\"[{"},"list":[{}]}] }  "#;
    let whole = long.trim_end().len();
    for (body, ends_at) in [(long, whole), ("[[1, 2], [3]]", 13), ("<html>{{", 0)] {
        for kept in 1..body.len() {
            for len in kept + 1..=body.len() {
                let outcome = if len < ends_at {
                    Outcome::Truncated
                } else {
                    Outcome::Completed
                };
                for cut in [0, kept / 2, kept, len / 2, len] {
                    let mut recorder = Recorder::new(CHAT, kept);
                    recorder.start(
                        ReplyHead {
                            status: 200,
                            ..ReplyHead::default()
                        },
                        1.0,
                    );
                    for piece in [&body[..cut], &body[cut..len]] {
                        recorder.push(Bytes::from_static(piece.as_bytes()), 2.0);
                    }
                    let reply = recorder.finish(End::CloseDelimited, 3.0);
                    assert_eq!(reply.meta.outcome, outcome, "{} of {kept}", &body[..len]);
                    assert_eq!(reply.body, &body[..kept]);
                    assert_eq!(reply.meta.notes.len(), 1);
                }
            }
        }
    }
}

/// Of a coded reply that is not decoded to its end nobody knows whether it is whole.
#[test]
fn a_whole_reply_that_is_not_decoded_to_its_end_is_not_taken_for_whole() {
    for (end, outcome) in [
        (End::CloseDelimited, Outcome::Truncated),
        (End::Eof, Outcome::Completed),
    ] {
        let mut recorder = Recorder::new(CHAT, 40);
        recorder.start(
            ReplyHead {
                status: 200,
                ..ReplyHead::default()
            },
            1.0,
        );
        recorder.push(Bytes::from_static(br#"{"choices":[{"message":{}"#), 2.0);
        recorder.content_coding(ContentCoding::Capped);
        let meta = recorder.finish(end, 3.0).meta;
        assert_eq!(meta.outcome, outcome);
        assert!(meta.notes[0].contains("max_record_bytes"));
    }
}

#[track_caller]
fn check_stream(events: &[&str], end: &End, outcome: Outcome, ended: bool) {
    let record = stream(CHAT, "{}", events, end.clone());
    assert_eq!(
        (record.outcome, record.integrity.ended),
        (outcome, ended),
        "{events:?} {end:?}"
    );
    assert_eq!(record.error.is_none(), outcome == Outcome::Completed);
    assert_eq!(record.has_error, outcome != Outcome::Completed);
}

#[test]
fn streams() {
    use Outcome::{
        ClientDisconnected, Completed, GatewayError, Interrupted, Truncated, UpstreamError,
    };
    check_stream(&[FIRST, LAST, DONE], &End::Eof, Completed, true);
    // The record closes at the end mark.
    for end in [
        End::Broken,
        End::ClientGone,
        End::Interrupted,
        End::CloseDelimited,
    ] {
        check_stream(&[FIRST, LAST, DONE], &end, Completed, true);
    }
    check_stream(&[FIRST, DONE], &End::Eof, Completed, true);
    // Without it, what was begun must be finished, and nothing may have broken.
    check_stream(&[FIRST, LAST], &End::Eof, Completed, false);
    check_stream(&[FIRST, LAST], &End::CloseDelimited, Completed, false);
    check_stream(&[FIRST, LAST], &End::Broken, Truncated, false);
    check_stream(&[FIRST, LAST], &End::ClientGone, ClientDisconnected, false);
    check_stream(&[FIRST, LAST, OTHER], &End::Eof, Truncated, false);
    check_stream(&[FIRST], &End::Eof, Truncated, false);
    check_stream(&[FIRST], &End::CloseDelimited, Truncated, false);
    check_stream(&[FIRST], &End::Interrupted, Interrupted, false);
    check_stream(
        &[FIRST],
        &End::GatewayError(CallError::new("a", "b", "c")),
        GatewayError,
        false,
    );
    check_stream(&[], &End::Eof, Truncated, false);
    check_stream(
        &[FIRST, r#"{"error":{"message":"m"}}"#, DONE],
        &End::Eof,
        UpstreamError,
        true,
    );
}

#[test]
fn a_stream_that_shows_no_end_is_noted() {
    let record = stream(CHAT, "{}", &[FIRST, LAST], End::Eof);
    assert_eq!(record.integrity.notes.len(), 1);
    assert!(record.integrity.notes[0].contains("end mark"));
    assert!(chat_stream(&[FIRST, LAST, DONE]).integrity.notes.is_empty());
}

#[test]
fn defect_19_a_truncated_stream_keeps_what_came() {
    let record = stream(CHAT, "{}", &[FIRST], End::Broken);
    assert_eq!(record.outcome, Outcome::Truncated);
    assert_eq!(
        record.response_message.as_str(),
        r#"{"role":"assistant","content":"a"}"#
    );
    assert!(record.assembled_response.is_some());
}

#[test]
fn an_error_event_is_the_end_and_tells_why() {
    for (name, data, expected) in [
        (
            None,
            r#"{"error":{"message":"m","type":"t","code":500}}"#,
            ["t", "500", "m"],
        ),
        (
            Some("error"),
            r#"{"type":"error","error":{"type":"overloaded_error","message":"m"}}"#,
            ["overloaded_error", "error_event", "m"],
        ),
        (
            Some("error"),
            "out of memory",
            ["upstream_error", "error_event", "out of memory"],
        ),
    ] {
        for endpoint in Endpoint::ALL {
            let mut recorder = started(endpoint);
            let kind = recorder.event(name.map(str::as_bytes), data.as_bytes(), 5.0);
            assert_eq!(kind, EventKind::Error, "{endpoint:?} {data}");
            assert!(recorder.ended());
            assert_eq!(
                recorder.event(None, b"[DONE]", 6.0),
                EventKind::Data,
                "the record is closed"
            );
            let reply = recorder.finish(End::Eof, 7.0);
            assert_eq!(reply.meta.outcome, Outcome::UpstreamError);
            let error = reply.meta.error.expect("an error");
            assert_eq!(
                [error.r#type.as_str(), &error.code, &error.message],
                expected
            );
        }
    }
}

#[test]
fn of_a_stream_that_is_not_decoded_to_its_end_the_framing_tells_it() {
    use Outcome::{Completed, Truncated};
    for (coding, end, outcome) in [
        (ContentCoding::Capped, End::Eof, Completed),
        (ContentCoding::Capped, End::CloseDelimited, Truncated),
        (ContentCoding::Capped, End::Broken, Truncated),
        (ContentCoding::Broke, End::Eof, Truncated),
    ] {
        let mut recorder = started(CHAT);
        recorder.content_coding(ContentCoding::Decoded);
        recorder.event(None, FIRST.as_bytes(), 2.0);
        recorder.content_coding(coding);
        let meta = recorder.finish(end.clone(), 3.0).meta;
        assert_eq!(meta.outcome, outcome, "{coding:?} {end:?}");
        assert!(!meta.ended, "{coding:?} {end:?}");
        assert_eq!(meta.notes.len(), 2, "{:?}", meta.notes);
        assert!(meta.notes[0].ends_with("it is recorded decoded"));
    }
}

fn started(endpoint: Endpoint) -> Recorder {
    let mut recorder = Recorder::new(endpoint, 1 << 20);
    recorder.start(
        ReplyHead {
            status: 200,
            streamed: true,
            request_id: Some("r".to_owned()),
        },
        1.0,
    );
    recorder
}

#[test]
fn end_marks_of_every_dialect() {
    use Endpoint::{ChatCompletions, Completions, Messages, Responses};
    for endpoint in Endpoint::ALL {
        assert_eq!(
            started(endpoint).event(None, b"[DONE]", 1.0),
            EventKind::EndMark
        );
        assert_eq!(
            started(endpoint).event(None, b" [DONE] ", 1.0),
            EventKind::EndMark
        );
        assert_eq!(
            started(endpoint).event(None, b"\"[DONE]\"", 1.0),
            EventKind::Data
        );
    }
    for (endpoint, kind, expected) in [
        (Messages, "message_stop", EventKind::EndMark),
        (Messages, "message_delta", EventKind::Data),
        (Messages, "response.completed", EventKind::Data),
        (Responses, "response.completed", EventKind::EndMark),
        (Responses, "response.incomplete", EventKind::EndMark),
        (Responses, "response.failed", EventKind::Error),
        (Responses, "response.output_text.delta", EventKind::Data),
        (ChatCompletions, "message_stop", EventKind::Data),
        (Completions, "response.completed", EventKind::Data),
    ] {
        let data = format!("{{\"type\":\"{kind}\"}}");
        for name in [None, Some(kind), Some("message")] {
            let found = started(endpoint).event(name.map(str::as_bytes), data.as_bytes(), 1.0);
            assert_eq!(found, expected, "{endpoint:?} {name:?} {kind}");
        }
    }
}

#[test]
fn a_failed_response_tells_why() {
    let mut recorder = started(Endpoint::Responses);
    let data =
        br#"{"type":"response.failed","response":{"error":{"code":"server_error","message":"m"}}}"#;
    recorder.event(Some(b"response.failed"), data, 1.0);
    let error = recorder.finish(End::Eof, 1.0).meta.error.unwrap();
    assert_eq!(
        (error.code.as_str(), error.message.as_str()),
        ("server_error", "m")
    );
}

#[test]
fn a_response_that_failed_without_an_error_says_so() {
    for (members, message) in [
        (r#""error":null"#, "the response failed"),
        (
            r#""error":{},"incomplete_details":null"#,
            "the response failed",
        ),
        (
            r#""incomplete_details":{"reason":"max_output_tokens"}"#,
            "the response failed: max_output_tokens",
        ),
        (r#""error":{"message":"m"}"#, "m"),
    ] {
        let response = format!(r#"{{"status":"failed","output":[],{members}}}"#);
        let event = format!(r#"{{"type":"response.failed","response":{response}}}"#);
        let body = response.as_bytes();
        for record in [
            whole(Endpoint::Responses, "{}", 200, body, End::Eof),
            stream(Endpoint::Responses, "{}", &[&event], End::Eof),
        ] {
            assert_eq!(record.outcome, Outcome::UpstreamError, "{response}");
            assert_eq!(record.error.expect("an error").message, message);
        }
    }
}

#[test]
fn a_stop_reason_settles_a_message() {
    let stop = r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"}}"#;
    assert_eq!(
        stream(Endpoint::Messages, "{}", &[stop], End::Eof).outcome,
        Outcome::Completed
    );
    assert_eq!(
        stream(Endpoint::Messages, "{}", &["{\"type\":\"ping\"}"], End::Eof).outcome,
        Outcome::Truncated
    );
}

#[test]
fn times_are_those_of_the_bytes() {
    let mut recorder = started(CHAT);
    recorder.arrived(10.25);
    recorder.event(None, FIRST.as_bytes(), 11.9);
    recorder.event(None, LAST.as_bytes(), 20.0);
    recorder.event(None, DONE.as_bytes(), 21.5);
    let meta = recorder.finish(End::Eof, 30.0).meta;
    assert_eq!((meta.ttft_ms, meta.latency_ms), (Some(10.25), 21.5));
    assert_eq!(meta.event_ms.as_deref(), Some(&[11, 20, 21][..]));
    assert_eq!(meta.request_id.as_deref(), Some("r"));

    let mut recorder = Recorder::new(CHAT, 1 << 20);
    recorder.start(
        ReplyHead {
            status: 200,
            streamed: false,
            request_id: None,
        },
        2.0,
    );
    recorder.push(Bytes::new(), 3.0);
    recorder.push(Bytes::from_static(b"{"), 4.0);
    recorder.push(Bytes::from_static(b"}"), 5.0);
    let meta = recorder.finish(End::Eof, 9.0).meta;
    assert_eq!(
        (meta.ttft_ms, meta.latency_ms, meta.event_ms),
        (Some(4.0), 5.0, None)
    );

    // Nobody answered: what counts is how long that took.
    let meta = Recorder::new(CHAT, 1)
        .finish(End::GatewayError(CallError::new("a", "b", "c")), 7.0)
        .meta;
    assert_eq!(
        (meta.latency_ms, meta.ttft_ms, meta.status),
        (7.0, None, None)
    );
    assert_eq!(
        Recorder::new(CHAT, 1)
            .finish(End::ClientGone, -3.0)
            .meta
            .latency_ms,
        0.0
    );
}

#[test]
fn a_snapshot_changes_nothing() {
    let mut recorder = started(CHAT);
    recorder.event(None, FIRST.as_bytes(), 2.0);
    let partial = recorder.snapshot(3.0);
    assert_eq!(partial.meta.outcome, Outcome::Interrupted);
    assert!(
        partial
            .body
            .starts_with(b"{\"choices\":[{\"index\":0,\"message\"")
    );
    recorder.event(None, LAST.as_bytes(), 4.0);
    recorder.event(None, DONE.as_bytes(), 5.0);
    let reply = recorder.finish(End::Eof, 6.0);
    assert_eq!(reply.meta.outcome, Outcome::Completed);
    assert_eq!(Reply::interrupted(Some(partial.clone())), partial);
    assert_eq!(Reply::interrupted(None).meta.error, partial.meta.error);

    let mut recorder = Recorder::new(CHAT, 1 << 20);
    recorder.push(Bytes::from_static(b"{\"a\""), 1.0);
    recorder.push(Bytes::from_static(b":1}"), 1.0);
    assert_eq!(recorder.snapshot(2.0).body, "{\"a\":1}");
    assert_eq!(recorder.finish(End::Eof, 2.0).body, "{\"a\":1}");
}

#[test]
fn a_new_attempt_forgets_the_reply_before() {
    let mut recorder = started(CHAT);
    recorder.event(None, FIRST.as_bytes(), 2.0);
    recorder.start(
        ReplyHead {
            status: 200,
            streamed: false,
            request_id: None,
        },
        3.0,
    );
    recorder.push(Bytes::from_static(GOOD.as_bytes()), 4.0);
    let reply = recorder.finish(End::Eof, 5.0);
    assert_eq!(
        (reply.body.as_ref(), reply.meta.ttft_ms, reply.meta.streamed),
        (GOOD.as_bytes(), Some(4.0), false)
    );
}

#[test]
fn a_body_that_was_parsed_already_is_not_parsed_again() {
    let body = Bytes::from_static(GOOD.as_bytes());
    let root = gateway_json::parse(&body, gateway_json::Dialect::Python).unwrap();
    let head = ReplyHead {
        status: 200,
        streamed: false,
        request_id: None,
    };
    let mut recorder = Recorder::new(CHAT, 1 << 20);
    recorder.start(head.clone(), 3.0);
    recorder.push(body.clone(), 7.5);
    assert_eq!(
        recorder.finish_parsed(root, End::Eof, 9.0),
        reply(CHAT, head, &[&body], End::Eof)
    );
}

#[test]
fn bytes_that_are_no_events_are_noted() {
    let mut recorder = started(CHAT);
    recorder.push(Bytes::from_static(b"data: too long"), 1.0);
    recorder.event(None, LAST.as_bytes(), 2.0);
    recorder.event(None, DONE.as_bytes(), 3.0);
    let meta = recorder.finish(End::Eof, 3.0).meta;
    assert_eq!(
        meta.notes,
        ["an event of the stream was too long to be read"]
    );
    assert_eq!(meta.ttft_ms, Some(1.0));
}

#[test]
fn missing_ids_are_noted_where_they_were_asked_for() {
    use gateway_trace::record;
    let usage = r#"{"choices":[{"index":0,"delta":{"content":"b"},"finish_reason":"stop"}],"usage":{"completion_tokens":2}}"#;
    let some = r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop","token_ids":[1]}],"usage":{"completion_tokens":2}}"#;
    for (event, asked, matches, notes) in [
        (usage, false, None, &[][..]),
        (
            usage,
            true,
            Some(false),
            &["token ids were asked for and none came"][..],
        ),
        (
            some,
            true,
            Some(false),
            &["the reply has 1 completion token ids and counts 2"][..],
        ),
    ] {
        let body = format!("data: {event}\n\ndata: [DONE]\n\n");
        let head = ReplyHead {
            status: 200,
            streamed: true,
            request_id: None,
        };
        let mut reply = reply(CHAT, head, &[body.as_bytes()], End::Eof);
        reply.meta.ids_asked = asked;
        let record = record(&crate::replay::call(CHAT, "{}"), &reply);
        assert_eq!(record.integrity.ids_match_usage, matches, "{event} {asked}");
        assert_eq!(record.integrity.notes, notes);
    }
    let asked = stream(
        CHAT,
        r#"{"return_token_ids":true}"#,
        &[usage, DONE],
        End::Eof,
    );
    assert_eq!(asked.integrity.ids_match_usage, Some(false));
}
