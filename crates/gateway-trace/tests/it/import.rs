//! Records of the Python gateway: they read as they did there, whatever is in them.

use gateway_trace::{Imported, OldTrace, Outcome, TraceRecord, import, record, summary};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::hostile::check_types;

fn old(record: &[u8]) -> OldTrace<'_> {
    OldTrace {
        trace_id: "t",
        session_ids: &[],
        run_id: None,
        created_at: 1_700_000_009.5,
        record,
    }
}

/// The record of an imported one, held against what holds of every record.
#[track_caller]
fn read(imported: &Imported) -> TraceRecord {
    let derived = record(&imported.call, &imported.reply);
    check_types(&derived);
    let columns = summary(&imported.call, &imported.reply);
    assert_eq!(columns.model, derived.model);
    assert_eq!(columns.finish_reason, derived.finish_reason);
    assert_eq!(columns.has_error, derived.has_error);
    assert_eq!(columns.outcome, derived.outcome);
    assert_eq!(
        derived.error.is_some(),
        derived.outcome != Outcome::Completed
    );
    derived
}

fn notes(record: &TraceRecord) -> Vec<&str> {
    record.integrity.notes.iter().map(String::as_str).collect()
}

/// The members of `names` of a record and of the old one that it comes of are the same.
#[track_caller]
fn check_same(record: &TraceRecord, old: &Value, but: &[&str]) {
    let now: Value = serde_json::from_str(&record.to_json()).expect("JSON");
    for (name, value) in old.as_object().expect("an object") {
        if !but.contains(&name.as_str()) {
            assert_eq!(&now[name], value, "{name}");
        }
    }
}

/// A record as version 0.1.0 made it of a whole reply.
fn whole() -> Value {
    json!({
        "trace_id": "t", "session_id": "s", "model": "tiny",
        "messages": [{"role": "user", "content": "Hi"}],
        "prompt_token_ids": [1, 2, 3],
        "response_message": {"role": "assistant", "content": "Ho", "refusal": null, "tool_calls": []},
        "completion_token_ids": [7, 8],
        "logprobs": [-0.5, -1.25],
        "finish_reason": "stop",
        "latency_ms": 12.5,
        "token_counts": {"prompt": 3, "completion": 2},
        "timestamp": 1_700_000_000.25,
        "metadata": {},
        "raw_request": {
            "model": "tiny", "messages": [{"role": "user", "content": "Hi"}],
            "logprobs": true, "return_token_ids": true, "temperature": 1.0,
        },
        "raw_response": {
            "id": "c", "object": "chat.completion", "model": "tiny", "prompt_token_ids": [1, 2, 3],
            "choices": [{
                "index": 0, "finish_reason": "stop", "stop_reason": null, "token_ids": [7, 8],
                "message": {"role": "assistant", "content": "Ho", "refusal": null, "tool_calls": []},
                "logprobs": {"content": [
                    {"token": "H", "logprob": -0.5}, {"token": "o", "logprob": -1.25},
                ]},
            }],
            "usage": {"prompt_tokens": 3, "completion_tokens": 2},
        },
    })
}

/// The same without what it lacks where it came of a stream, or where raw bodies were not kept.
fn without(names: &[&str]) -> Value {
    let mut record = whole();
    for name in names {
        record[name] = Value::Null;
    }
    record
}

fn changed(changes: &Value) -> Value {
    let mut record = whole();
    for (name, value) in changes.as_object().expect("an object") {
        record[name] = value.clone();
    }
    record
}

#[test]
fn a_record_reads_as_it_did() {
    let streamed_calls = json!([
        {"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": ""}},
        {"index": 0, "function": {"arguments": "{}"}},
    ]);
    let of_later_versions = changed(&json!({
        "run_id": "r", "harness": "codex", "step_id": 3, "parent_span_id": "p", "project": "x",
        "experiment": "y", "span_type": "llm.call", "weight_version": 4,
        "routing_matrices": ["AA=="],
    }));
    let cases = [
        whole(),
        without(&["raw_response"]),
        without(&["raw_request", "raw_response"]),
        of_later_versions,
        changed(
            &json!({"metadata": {"k": [1, "two"]}, "model": "other", "finish_reason": "length"}),
        ),
        changed(&json!({"messages": [], "prompt_token_ids": [], "token_counts": {}})),
        changed(&json!({
            "raw_response": null,
            "response_message": {"role": "assistant", "tool_calls": streamed_calls},
        })),
        changed(&json!({
            "raw_response": null, "logprobs": null, "completion_token_ids": [], "token_counts": {},
        })),
    ];
    for case in cases {
        let imported = import(&old(case.to_string().as_bytes()));
        assert_eq!(imported.unreadable, None);
        let derived = read(&imported);
        assert_eq!(derived.outcome, Outcome::Completed, "{case}");
        check_same(&derived, &case, &[]);
        let lost = notes(&derived)
            .into_iter()
            .find(|note| note.starts_with("not carried"));
        assert_eq!(lost, None, "{case}");
    }
}

#[test]
fn nothing_is_stated_that_the_bodies_say() {
    let mut plain = whole();
    for message in ["/response_message", "/raw_response/choices/0/message"] {
        *plain.pointer_mut(message).unwrap() = json!({"role": "assistant", "content": "Ho"});
    }
    let imported = import(&old(plain.to_string().as_bytes()));
    assert_eq!(imported.reply.meta.stated, None);
    let derived = read(&imported);
    assert_eq!(
        notes(&derived),
        [
            "imported from the Python gateway: the timestamp is the call's end, and raw_request is \
          what went upstream"
        ]
    );
    assert_eq!(derived.integrity.ids_match_usage, Some(true));
    assert_eq!(derived.integrity.logprobs_match_ids, Some(true));
}

#[test]
fn what_had_failed_is_no_turn() {
    let nothing = json!({"response_message": {}, "completion_token_ids": [], "logprobs": null,
                         "finish_reason": null, "prompt_token_ids": [], "token_counts": {}});
    let failed = |response: Value| {
        let mut record = changed(&nothing);
        record["raw_response"] = response;
        record
    };
    let mut cut = without(&["raw_response", "finish_reason"]);
    cut["raw_request"]["stream"] = json!(true);
    let unfinished = without(&["raw_response", "finish_reason"]);
    let cases = [
        (
            failed(json!({"error": {"message": "slow down", "type": "limit", "code": 429}})),
            Outcome::UpstreamError,
            "429",
        ),
        (
            failed(json!({"object": "list", "data": []})),
            Outcome::UpstreamError,
            "unreadable_reply",
        ),
        (
            failed(Value::Null),
            Outcome::UpstreamError,
            "unreadable_reply",
        ),
        (cut, Outcome::Truncated, "truncated"),
        (unfinished, Outcome::Completed, ""),
    ];
    for (case, outcome, code) in cases {
        let derived = read(&import(&old(case.to_string().as_bytes())));
        assert_eq!(derived.outcome, outcome, "{case}");
        assert_eq!(
            derived.error.as_ref().map_or("", |error| &error.code),
            code,
            "{case}"
        );
        check_same(&derived, &case, &[]);
    }
}

/// The old records of these were empty; what their bodies say is better.
#[test]
fn defect_16_other_dialects_are_read_from_their_bodies() {
    let of = |response: Value, request: Value| {
        changed(&json!({
            "messages": [], "prompt_token_ids": [], "response_message": {}, "logprobs": null,
            "completion_token_ids": [], "finish_reason": null, "token_counts": {},
            "raw_request": request, "raw_response": response,
        }))
    };
    let anthropic = of(
        json!({"type": "message", "role": "assistant", "content": [{"type": "text", "text": "Ho"}],
               "stop_reason": "end_turn", "usage": {"input_tokens": 3, "output_tokens": 2}}),
        json!({"model": "tiny", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 9}),
    );
    let responses = of(
        json!({"object": "response", "status": "completed", "output": [
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Ho"}]}]}),
        json!({"model": "tiny", "input": "Hi"}),
    );
    for case in [anthropic, responses] {
        let derived = read(&import(&old(case.to_string().as_bytes())));
        assert_eq!(derived.outcome, Outcome::Completed);
        let now: Value = serde_json::from_str(&derived.to_json()).unwrap();
        assert_eq!(now["response_message"]["content"], "Ho");
        assert_eq!(now["messages"], json!([{"role": "user", "content": "Hi"}]));
        assert_eq!(now["finish_reason"], "stop");
        assert_eq!(now["raw_response"], case["raw_response"]);
    }
}

/// The old list had no place for a null, so that what came after it stood at another token.
#[test]
fn defect_15_log_probabilities_stand_at_their_tokens() {
    let mut case = changed(&json!({"logprobs": [-1.25]}));
    case["raw_response"]["choices"][0]["logprobs"]["content"][0]["logprob"] = Value::Null;
    let derived = read(&import(&old(case.to_string().as_bytes())));
    assert_eq!(derived.logprobs, None);
    let choices = derived.choices.as_ref().expect("they are there");
    assert_eq!(choices[0].logprobs, Some(vec![None, Some(-1.25)]));
    assert!(
        !notes(&derived)
            .iter()
            .any(|note| note.starts_with("not carried"))
    );
}

#[test]
fn defect_17_numbers_and_texts_of_python_alone_are_kept() {
    let text = whole()
        .to_string()
        .replace("-1.25", "-Infinity")
        .replace("\"Hi\"", r#""H\ud800""#)
        .replace("1.0", "NaN");
    let imported = import(&old(text.as_bytes()));
    assert_eq!(imported.unreadable, None);
    let derived = read(&imported);
    assert_eq!(derived.outcome, Outcome::Completed);
    assert_eq!(
        derived.messages.as_str(),
        r#"[{"content":"H\ud800","role":"user"}]"#
    );
    assert_eq!(derived.completion_token_ids, [7, 8]);
    assert_eq!(derived.logprobs, None);
    let choices = derived.choices.as_ref().expect("they are there");
    assert_eq!(choices[0].logprobs, Some(vec![Some(-0.5), None]));
    // No JSON can hold an infinite number: the reply stands there as its text.
    let raw = derived.raw_response.as_ref().unwrap().as_str();
    assert!(
        raw.starts_with("{\"_body\":\"{") && raw.contains("-Infinity"),
        "{raw}"
    );
    let request = derived.raw_request.as_ref().unwrap().as_str();
    assert!(request.contains("\"temperature\":null"), "{request}");
    insta::assert_debug_snapshot!(notes(&derived));
}

#[test]
fn what_is_no_record_is_kept_as_its_text() {
    let deep = format!("{}1{}", "[".repeat(500), "]".repeat(500));
    for text in [
        "",
        "null",
        "[1]",
        "{\"trace_id\": \"t\", \"mess",
        "\u{1}",
        &deep,
    ] {
        let session_ids = ["s".to_owned()];
        let imported = import(&OldTrace {
            session_ids: &session_ids,
            run_id: Some("r"),
            ..old(text.as_bytes())
        });
        assert!(imported.unreadable.is_some(), "{text}");
        let derived = read(&imported);
        assert_eq!(derived.outcome, Outcome::UpstreamError);
        assert_eq!(derived.identity.session_id.as_deref(), Some("s"));
        assert_eq!(derived.identity.run_id.as_deref(), Some("r"));
        assert_eq!(derived.timestamp, 1_700_000_009.5);
        assert_eq!(derived.raw_request, None);
        let now: Value = serde_json::from_str(&derived.to_json()).unwrap();
        let body = &now["raw_response"]["_body"];
        let expected = match text {
            "" => &Value::Null,
            "null" | "[1]" => &serde_json::from_str(text).unwrap(),
            text => &json!(text),
        };
        assert_eq!(body, expected, "{text}");
    }
    let broken = import(&old(b"{\"a\": \xff}"));
    assert!(
        read(&broken)
            .raw_response
            .unwrap()
            .as_str()
            .contains('\u{fffd}')
    );
}

#[test]
fn the_database_tells_session_and_run() {
    let record = changed(&json!({"session_id": "own", "run_id": "own-run"})).to_string();
    let check = |session_ids: &[&str], run_id, expected: (&str, &str)| {
        let session_ids: Vec<_> = session_ids.iter().map(|&id| id.to_owned()).collect();
        let imported = import(&OldTrace {
            session_ids: &session_ids,
            run_id,
            ..old(record.as_bytes())
        });
        let derived = read(&imported);
        let identity = &derived.identity;
        let found = (identity.session_id.as_deref(), identity.run_id.as_deref());
        assert_eq!(found, (Some(expected.0), Some(expected.1)));
        derived
    };
    check(&[], None, ("own", "own-run"));
    check(&["own"], Some(""), ("own", "own-run"));
    check(&["own"], Some("gateway's"), ("own", "gateway's"));
    check(&["other"], None, ("other", "own-run"));
    let several = check(&["other", "own"], None, ("own", "own-run"));
    let listed = r#"sessions that listed the trace: "other", "own""#;
    assert!(notes(&several).contains(&listed), "{:?}", notes(&several));
}

/// No request could name the others again: they would be listed, and be neither read nor deleted.
#[test]
fn ids_are_read_as_those_of_calls_are() {
    let long = "x".repeat(513);
    let check = |own: &str, expected: Option<&str>, note: &str| {
        let record = changed(&json!({"session_id": own, "run_id": own, "harness": own}));
        let imported = import(&old(record.to_string().as_bytes()));
        let derived = read(&imported);
        let identity = &derived.identity;
        for found in [&identity.session_id, &identity.run_id, &identity.harness] {
            assert_eq!(found.as_deref(), expected, "{own:?}");
        }
        let told = notes(&derived)
            .iter()
            .any(|told| told.starts_with("not carried over") && told.contains(note));
        assert_eq!(told, expected.is_none(), "{:?}", notes(&derived));
    };
    check(" lead ", Some("lead"), "");
    check(
        "c\nd",
        None,
        r#"session_id "c\nd", run_id "c\nd", harness "c\nd""#,
    );
    check(&long, None, &format!("session_id \"{long}\""));
}

#[test]
fn what_a_record_cannot_say_is_named() {
    let case = changed(&json!({
        "prompt_delta_token_ids": [4], "parent_trace_id": "p", "extra": {}, "messages": ["text"],
        "response_message": [], "token_counts": {"prompt": 2.5}, "finish_reason": 7,
    }));
    let derived = read(&import(&old(case.to_string().as_bytes())));
    let lost = notes(&derived)
        .into_iter()
        .find(|note| note.starts_with("not carried"));
    assert_eq!(
        lost,
        Some(
            "not carried over from the old record: messages, response_message, finish_reason, \
              token_counts, parent_trace_id, prompt_delta_token_ids"
        )
    );
    check_same(&derived, &whole(), &["response_message"]);
}

/// What may stand in the place of any value.
fn odd() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        Just(json!("text")),
        Just(json!(-7)),
        Just(json!(2.5)),
        Just(json!([])),
        Just(json!({})),
        Just(json!([null, 7, "text", {}])),
        Just(json!({"content": null, "role": 7})),
        Just(json!([[1, 2], {"logprob": -1}])),
    ]
}

fn places(value: &Value, at: &str, all: &mut Vec<String>) {
    let mut visit = |step: &str, below: &Value| {
        let place = format!("{at}/{step}");
        all.push(place.clone());
        places(below, &place, all);
    };
    match value {
        Value::Object(members) => members.iter().for_each(|(name, below)| visit(name, below)),
        Value::Array(elements) => {
            for (index, below) in elements.iter().enumerate() {
                visit(&index.to_string(), below);
            }
        }
        _ => {}
    }
}

proptest! {
    /// With anything wrong anywhere it is a record, and every other field that the bodies do not
    /// contradict stays what it was.
    #[test]
    fn odd_records_make_honest_ones(
        at in proptest::collection::vec((any::<proptest::sample::Index>(), odd()), 1..4),
        base in 0..3_usize,
    ) {
        let mut case = match base {
            0 => whole(),
            1 => without(&["raw_response"]),
            _ => without(&["raw_request", "raw_response"]),
        };
        for (index, value) in at {
            let mut all = Vec::new();
            places(&case, "", &mut all);
            let place: &String = index.get(&all);
            *case.pointer_mut(place).unwrap() = value;
        }
        let imported = import(&old(case.to_string().as_bytes()));
        prop_assert!(imported.unreadable.is_none());
        let derived = read(&imported);
        // Through the journal and back it is the same.
        let (mut call, mut reply) = (Vec::new(), Vec::new());
        imported.call.encode(&mut call);
        imported.reply.encode(&mut reply);
        let again = record(
            &gateway_trace::Call::decode(call.into()).unwrap(),
            &gateway_trace::Reply::decode(reply.into()).unwrap(),
        );
        prop_assert_eq!(again, derived);
    }
}
