//! The forms of a record and of its halves: JSON, snapshot, journal.

use bytes::Bytes;
use gateway_trace::{
    Attempt, Call, CallMeta, ClientInfo, DecodeError, Endpoint, Identity, Include, Json, Outcome,
    Reply, ReplyMeta, SessionHeader, TraceRecord, record,
};

/// A call and a reply with everything that they can have.
fn full() -> (Call, Reply) {
    let text = |text: &str| Some(text.to_owned());
    let call = Call {
        meta: CallMeta {
            identity: Identity {
                session_id: text("s/1:2"),
                run_id: text("r"),
                harness: text("h"),
                step_id: Some(-3),
                parent_span_id: text("p"),
                project: text("proj"),
                experiment: text("exp"),
            },
            stream: true,
            principal: text("agent"),
            client: ClientInfo {
                user_agent: text("ua \"x\""),
                retry_count: Some(1),
                traceparent: text("00-1"),
                session_header: Some(SessionHeader { name: "session-id".to_owned(), value: "c".to_owned() }),
            },
            instance_id: "i".to_owned(),
            weight_version: Some(4),
            ..CallMeta::new("t", Endpoint::ChatCompletions, 1_795_475_231.123_456)
        },
        request: Bytes::from_static(
            br#"{"model":"m","metadata":{"rllm":{"session_id":"s"},"k":1.0},"messages":[{"role":"user","tool_call_id":"call_9"}],"rllm":{}}"#,
        ),
    };
    let reply = Reply {
        meta: ReplyMeta {
            outcome: Outcome::Completed,
            status: Some(200),
            latency_ms: 12.0,
            ttft_ms: Some(1e-7),
            event_ms: Some(vec![1, 2]),
            streamed: true,
            ended: true,
            attempts: 2,
            attempt_log: Some(vec![
                Attempt { upstream: text("w-1"), status: Some(503), error: None, ms: 3.0 },
                Attempt { upstream: None, status: None, error: text("upstream_timeout"), ms: 4.5 },
            ]),
            upstream: text("w-2"),
            upstream_reason: text("sticky"),
            weight_version_end: Some(5),
            request_id: text("req"),
            edits: Json::new(r#"{"set": {"temperature": 1.0}, "removed": []}"#).ok(),
            notes: vec!["a note".to_owned()],
            ..ReplyMeta::default()
        },
        body: Bytes::from_static(
            br#"{"id":"x","created":17,"choices":[{"index":0,"message":{"content":"a","tool_calls":[{"id":"call_9"}]},"token_ids":[1,2],"logprobs":{"content":[{"logprob":-0.5},{"logprob":0}]}}],"usage":{"prompt_tokens":1,"completion_tokens":2}}"#,
        ),
    };
    (call, reply)
}

pub(crate) fn full_record() -> TraceRecord {
    let (call, reply) = full();
    record(&call, &reply)
}

#[test]
fn a_full_record() {
    insta::assert_snapshot!(full_record().to_json_with(Include {
        timing: true,
        created_at: Some(1.5)
    }));
    insta::assert_snapshot!(full_record().snapshot());
}

#[test]
fn serde_writes_the_same_json() {
    let record = full_record();
    assert_eq!(serde_json::to_string(&record).unwrap(), record.to_json());
    assert_eq!(
        serde_json::to_string(&record.messages).unwrap(),
        record.messages.as_str()
    );
}

#[test]
fn both_halves_read_back_as_they_were_written() {
    let (call, reply) = full();
    let (mut intent, mut rest) = (b"before".to_vec(), Vec::new());
    call.encode(&mut intent);
    reply.encode(&mut rest);
    assert_eq!(Call::decode(Bytes::from(intent).slice(6..)).unwrap(), call);
    assert_eq!(Reply::decode(rest.into()).unwrap(), reply);
}

fn encoded(meta: &str, body: &[u8]) -> Bytes {
    let mut bytes = u32::try_from(meta.len())
        .expect("a short text")
        .to_le_bytes()
        .to_vec();
    bytes.extend_from_slice(meta.as_bytes());
    bytes.extend_from_slice(body);
    bytes.into()
}

#[test]
fn fields_of_other_versions_are_no_obstacle() {
    let call = Call::decode(encoded(
        r#"{"later":[1],"trace_id":"t","arrived_at":1.5,"endpoint":"messages"}"#,
        b"{}",
    ));
    assert_eq!(
        call.unwrap(),
        Call {
            meta: CallMeta::new("t", Endpoint::Messages, 1.5),
            request: "{}".into()
        }
    );
    let reply = Reply::decode(encoded(r#"{"later":{},"outcome":"truncated"}"#, b""));
    assert_eq!(
        reply.unwrap().meta,
        ReplyMeta {
            outcome: Outcome::Truncated,
            ..ReplyMeta::default()
        }
    );
    assert_eq!(Reply::decode(encoded("{}", b"x")).unwrap().body, "x");
}

#[test]
fn what_is_no_encoding_is_an_error() {
    let whole = encoded("{}", b"");
    for end in 0..whole.len() {
        assert!(
            matches!(Reply::decode(whole.slice(..end)), Err(DecodeError::Short(n)) if n == end),
            "{end}"
        );
    }
    assert!(matches!(
        Reply::decode(encoded("[", b"")),
        Err(DecodeError::Meta(_))
    ));
    assert!(matches!(
        Call::decode(encoded("{}", b"")),
        Err(DecodeError::Meta(_))
    ));
}

#[test]
fn json_is_kept_as_it_was_written() {
    for text in [
        "{\"a\": 1.0}",
        "12345678901234567890123",
        "\"\\ud800\"",
        "[1e3 , null]",
    ] {
        let json = Json::new(text).unwrap();
        assert_eq!(json.as_str(), text);
        assert_eq!(json.value().unwrap().text(), text);
        let again: Json = serde_json::from_str(text).unwrap();
        assert_eq!(again, json);
        assert_eq!(format!("{json} {json:?}"), format!("{text} {text}"));
    }
    assert!(Json::new("NaN").is_err() && Json::new("").is_err() && Json::new("{} x").is_err());
}

#[test]
fn defect_21_project_experiment_and_run_are_kept() {
    let json = full_record().to_json();
    assert!(
        json.contains(r#""run_id":"r""#) && json.contains(r#""project":"proj","experiment":"exp""#)
    );
}
