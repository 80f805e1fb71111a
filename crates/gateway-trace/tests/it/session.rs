//! Sessions: what calls are to each other, the compact form, the report.

use gateway_trace::{
    Call, CallMeta, Compact, End, Endpoint, Include, Kin, Outcome, Recorder, ReplyHead,
    ReportBuilder, SessionReport, TraceRecord, Verdict, expand, keys, record,
};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::schema::{check_compact, check_report};

/// A turn of a session: its messages, and what the model answers.
#[derive(Clone)]
struct Turn {
    trace_id: String,
    messages: Vec<Value>,
    prompt: Vec<i64>,
    reply: Value,
    completion: Vec<i64>,
}

impl Turn {
    fn new(trace_id: &str, messages: Value, reply: &str) -> Self {
        Self {
            trace_id: trace_id.to_owned(),
            messages: match messages {
                Value::Array(messages) => messages,
                other => panic!("no array: {other}"),
            },
            prompt: Vec::new(),
            reply: json!({"role": "assistant", "content": reply, "refusal": null}),
            completion: Vec::new(),
        }
    }

    fn ids(mut self, prompt: &[i64], completion: &[i64]) -> Self {
        self.prompt = prompt.to_vec();
        self.completion = completion.to_vec();
        self
    }

    fn call(&self) -> Call {
        let mut meta = CallMeta::new(&self.trace_id, Endpoint::ChatCompletions, 1.0);
        meta.identity.session_id = Some("s".to_owned());
        meta.identity.run_id = Some("r".to_owned());
        let request = json!({"model": "m", "messages": self.messages, "metadata": {"a": 1}});
        Call {
            meta,
            request: request.to_string().into(),
        }
    }

    fn record_with(&self, end: End, status: u16) -> TraceRecord {
        let call = self.call();
        let body = json!({
            "id": "c", "model": "m", "prompt_token_ids": self.prompt,
            "choices": [{"index": 0, "message": self.reply, "finish_reason": "stop",
                "token_ids": self.completion}],
            "usage": {"prompt_tokens": self.prompt.len(), "completion_tokens": self.completion.len()},
        });
        let mut recorder = Recorder::new(call.meta.endpoint, 1 << 20);
        recorder.start(
            ReplyHead {
                status,
                streamed: false,
                request_id: None,
            },
            1.0,
        );
        recorder.push(body.to_string().into(), 2.0);
        record(&call, &recorder.finish(end, 3.0))
    }

    fn record(&self) -> TraceRecord {
        self.record_with(End::Eof, 200)
    }
}

fn user(text: &str) -> Value {
    json!({"role": "user", "content": text})
}

fn assistant(text: &str) -> Value {
    json!({"role": "assistant", "content": text})
}

/// The fields that a delta has, of the ordinary listing. Of the parents only the document's own
/// are in a compact one.
fn listed(record: &TraceRecord) -> Value {
    let record: Map<String, Value> =
        serde_json::from_str(&record.to_json()).expect("JSON of our own");
    let mut fields = vec![
        "trace_id",
        "session_id",
        "lineage_id",
        "model",
        "messages",
        "prompt_token_ids",
        "response_message",
        "completion_token_ids",
        "logprobs",
        "routing_matrices",
        "finish_reason",
        "weight_version",
        "latency_ms",
        "token_counts",
        "timestamp",
        "metadata",
        "run_id",
        "harness",
        "step_id",
        "parent_span_id",
        "project",
        "experiment",
    ];
    if record["outcome"] != "completed" {
        fields.extend(["outcome", "error"]);
    }
    let field = |name: &str| (name.to_owned(), record[name].clone());
    fields.into_iter().map(field).collect()
}

fn compact(records: &[TraceRecord]) -> String {
    let mut compact = Compact::default();
    for record in records {
        compact.push(record);
    }
    compact.finish()
}

#[track_caller]
fn check_expansion(records: &[TraceRecord]) -> Value {
    let text = compact(records);
    check_compact(&text);
    let expanded: Vec<Value> = expand(&text)
        .expect("a compact listing")
        .iter()
        .map(|trace| {
            let mut trace: Value = serde_json::from_str(trace.as_str()).expect("JSON of our own");
            trace
                .as_object_mut()
                .expect("JSON of our own")
                .remove("parent_trace_id");
            trace
        })
        .collect();
    let listed: Vec<_> = records.iter().map(listed).collect();
    assert_eq!(expanded, listed, "{text}");
    serde_json::from_str(&text).expect("JSON of our own")
}

#[test]
fn a_line_of_calls_is_told_by_its_suffixes() {
    let system = json!({"role": "system", "content": "Be brief."});
    let first = Turn::new("1", json!([system, user("a")]), "A").ids(&[1, 2, 3], &[4, 5]);
    // The client sends the reply back without its null members.
    let second = Turn::new(
        "2",
        json!([system, user("a"), assistant("A"), user("b")]),
        "B",
    )
    .ids(&[1, 2, 3, 4, 5, 6], &[7]);
    let records = [first.record(), second.record()];
    let document = check_expansion(&records);
    assert_eq!(document["version"], 1);
    let delta = &document["deltas"][1];
    assert_eq!(delta["parent_trace_id"], "1");
    assert_eq!(delta["messages_suffix"], json!([user("b")]));
    assert_eq!(delta["prompt_ids_suffix"], json!([6]));
    assert!(delta.get("assistant_echo").is_none() && delta.get("prompt_ids_keep").is_none());
    insta::assert_snapshot!(compact(&records));
}

#[test]
fn another_echo_and_a_template_that_drops_tokens_are_told() {
    let first = Turn::new("1", json!([user("a")]), "A").ids(&[1, 2], &[3, 4]);
    let echo = json!({"role": "assistant", "content": "A", "name": "bot"});
    let second = Turn::new("2", json!([user("a"), echo, user("b")]), "B").ids(&[1, 2, 3, 9], &[7]);
    let document = check_expansion(&[first.record(), second.record()]);
    assert_eq!(document["version"], 2);
    let delta = &document["deltas"][1];
    assert_eq!(delta["assistant_echo"], echo);
    assert_eq!(delta["prompt_ids_keep"], 3);
    assert_eq!(delta["prompt_ids_suffix"], json!([9]));
}

#[test]
fn the_parent_is_the_latest_completed_call() {
    let start = Turn::new("1", json!([user("a")]), "A");
    let again = Turn {
        trace_id: "2".to_owned(),
        ..start.clone()
    };
    let failed = Turn {
        trace_id: "3".to_owned(),
        ..start.clone()
    };
    let child = Turn::new("4", json!([user("a"), assistant("A"), user("b")]), "B");
    // The child's own beginning came again after it: the latest of both is not the longest.
    let later = Turn {
        trace_id: "5".to_owned(),
        ..start.clone()
    };
    let grandchild = Turn::new(
        "6",
        json!([
            user("a"),
            assistant("A"),
            user("b"),
            assistant("B"),
            user("c")
        ]),
        "C",
    );
    let other = Turn::new("7", json!([user("x"), assistant("A"), user("b")]), "B");
    let records = [
        start.record(),
        again.record(),
        failed.record_with(End::Eof, 500),
        child.record(),
        later.record(),
        grandchild.record(),
        other.record(),
    ];
    let document = check_expansion(&records);
    let parents: Vec<_> = document["deltas"]
        .as_array()
        .unwrap()
        .iter()
        .map(|delta| delta["parent_trace_id"].clone())
        .collect();
    let none = Value::Null;
    assert_eq!(
        parents,
        [
            none.clone(),
            none.clone(),
            none.clone(),
            json!("2"),
            none.clone(),
            json!("5"),
            none
        ]
    );
    let failed = &document["deltas"][2];
    assert_eq!(failed["outcome"], "upstream_error");
    assert_eq!(failed["error"]["code"], "500");
    assert!(document["deltas"][0].get("outcome").is_none());
}

#[test]
fn a_hundred_turns_take_less_than_a_twentieth() {
    let mut messages = vec![json!({"role": "system", "content": "You are an agent. ".repeat(20)})];
    let (mut prompt, mut records, mut ordinary) = (vec![7; 120], Vec::new(), 2);
    for n in 0..100 {
        messages.push(user(&format!(
            "Observation {n}: {}",
            "the file has a line. ".repeat(8)
        )));
        prompt.extend(vec![n; 50]);
        let reply = format!("Thought {n}: {}", "let me look at the next one. ".repeat(6));
        let turn = Turn {
            messages: messages.clone(),
            prompt: prompt.clone(),
            completion: vec![n + 1000; 40],
            ..Turn::new(&format!("t{n}"), json!([]), &reply)
        };
        let record = turn.record();
        ordinary += record.to_json_with(Include::default()).len() + 1;
        records.push(record);
        messages.push(assistant(&reply));
        prompt.extend(vec![n + 1000; 40]);
    }
    let document = check_expansion(&records);
    assert_eq!(document["version"], 1);
    let compact = compact(&records).len();
    assert!(compact * 20 < ordinary, "{compact} of {ordinary}");
}

#[test]
fn what_is_no_compact_listing_is_refused() {
    for (text, expected) in [
        ("[]", "no compact listing"),
        (r#"{"version":3,"deltas":[]}"#, "version 3"),
        (
            r#"{"version":1,"deltas":[{}]}"#,
            "delta 0 has no usable `trace_id`",
        ),
        (
            r#"{"version":1,"deltas":[{"trace_id":"a","parent_trace_id":"b"}]}"#,
            "delta 0 extends b, which does not stand before it",
        ),
        (
            r#"{"version":1,"deltas":[{"trace_id":"a","parent_trace_id":null,"completion_token_ids":["x"]}]}"#,
            "delta 0 has no usable `completion_token_ids`",
        ),
    ] {
        let error = expand(text).unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
}

#[test]
fn messages_that_nest_as_deep_as_a_request_may_are_expanded() {
    let deep = |depth: usize| {
        serde_json::from_str::<Value>(&format!("{}1{}", "[".repeat(depth), "]".repeat(depth)))
            .unwrap()
    };
    let start = Turn::new("1", json!([{"role": "user", "content": deep(124)}]), "A");
    let child = Turn {
        messages: [start.messages.clone(), vec![assistant("A"), user("b")]].concat(),
        ..Turn::new("2", json!([]), "B")
    };
    let document = compact(&[start.record(), child.record()]);
    assert_eq!(expand(&document).unwrap().len(), 2);
    assert!(
        document.contains("\"messages_suffix\":[{\"role\":\"user\",\"content\":\"b\"}]")
            || document.contains("\"messages_suffix\":[{\"content\":\"b\",\"role\":\"user\"}]")
    );
}

/// A random session: each turn goes on from an earlier one, or starts anew, and changes something.
fn session() -> impl Strategy<Value = Vec<TraceRecord>> {
    let step = (
        any::<prop::sample::Index>(),
        0u8..8,
        prop::collection::vec(0i64..4, 0..4),
        prop::collection::vec(0i64..4, 0..4),
        "[ab]{0,2}",
    );
    prop::collection::vec(step, 1..12).prop_map(|steps| {
        let mut turns: Vec<Turn> = Vec::new();
        let mut records = Vec::new();
        for (n, (from, kind, more, completion, text)) in steps.into_iter().enumerate() {
            let trace_id = format!("t{n}");
            let turn = match turns.get(from.index(turns.len().max(1))) {
                None => Turn::new(&trace_id, json!([user(&text)]), &text).ids(&more, &completion),
                Some(parent) => {
                    let mut turn = Turn {
                        trace_id,
                        completion,
                        ..parent.clone()
                    };
                    let mut echo = parent.reply.clone();
                    match kind {
                        0 => turn.messages = vec![user(&text)],
                        1 => {}
                        2 => echo["name"] = json!("x"),
                        3 => echo["content"] = json!("edited"),
                        4 => turn.messages.truncate(1),
                        _ => drop(
                            echo.as_object_mut()
                                .expect("JSON of our own")
                                .remove("refusal"),
                        ),
                    }
                    if kind > 1 {
                        turn.messages.extend([echo, user(&text)]);
                        turn.prompt.extend(&parent.completion);
                        if kind == 5 {
                            turn.prompt.pop();
                        }
                        turn.prompt.extend(more);
                    }
                    turn.reply["content"] = json!(text);
                    turn
                }
            };
            let failed = kind == 7;
            records.push(turn.record_with(End::Eof, if failed { 500 } else { 200 }));
            turns.push(turn);
        }
        records
    })
}

proptest! {
    #[test]
    fn expanding_gives_the_listing_and_any_slice_of_it(
        records in session(),
        from in any::<prop::sample::Index>(),
        to in any::<prop::sample::Index>(),
    ) {
        check_expansion(&records);
        let (from, to) = (from.index(records.len() + 1), to.index(records.len() + 1));
        check_expansion(&records[from.min(to)..from.max(to)]);
    }
}

#[test]
fn keys_find_what_a_call_extends_and_repeats() {
    let start = Turn::new("1", json!([user("a")]), "A").call();
    let child = Turn::new("2", json!([user("a"), assistant("A"), user("b")]), "B").call();
    let (start_keys, child_keys) = (keys(&start).unwrap(), keys(&child).unwrap());
    let (start_line, child_line) = (start_keys.line.unwrap(), child_keys.line.unwrap());
    assert!(start_line.beginnings.is_empty());
    assert_eq!(child_line.beginnings, [start_line.own]);
    // Kept by stores: a change of these numbers is a change of the stores' schema.
    assert_eq!(
        (start_line.own, start_keys.request),
        (12_071_023_981_672_417_296, 10_063_148_537_093_814_892)
    );

    let mut tagged = start.clone();
    tagged.request = br#"{"rllm":{"run_id":"x"},"#
        .iter()
        .chain(&start.request[1..])
        .copied()
        .collect::<Vec<_>>()
        .into();
    assert_eq!(keys(&tagged).unwrap().request, start_keys.request);

    type Change = fn(&mut Call);
    let others: [Change; 4] = [
        |call| call.meta.identity.run_id = None,
        |call| call.meta.identity.session_id = Some("t".to_owned()),
        |call| call.meta.endpoint = Endpoint::Responses,
        |call| call.request = [&call.request[..], b" "].concat().into(),
    ];
    for (n, change) in others.into_iter().enumerate() {
        let mut other = start.clone();
        change(&mut other);
        let same = n == 3;
        assert_eq!(
            keys(&other).unwrap().request == start_keys.request,
            same,
            "{n}"
        );
    }
    let mut nobody = start;
    nobody.meta.identity.session_id = None;
    assert_eq!(keys(&nobody), None);
}

fn report(records: &[TraceRecord]) -> SessionReport {
    let mut report = ReportBuilder::default();
    for record in records {
        report.add(record);
    }
    let report = report.finish("s", Some("r"), 0, 0);
    check_report(&serde_json::to_string(&report).expect("plain data"));
    report
}

#[test]
fn a_failed_call_makes_a_session_incomplete_unless_it_is_superseded() {
    let turn = |id: &str| Turn::new(id, json!([user("a")]), "A");
    let mut failed = turn("bad").record_with(End::Eof, 429);
    let good = turn("good").record();
    let found = report(&[failed.clone(), good.clone()]);
    assert_eq!(found.verdict, Verdict::Incomplete);
    assert!(found.reasons.len() == 1 && found.reasons[0].starts_with("bad: upstream_error: "));
    assert_eq!(found.failed.get("upstream_error"), Some(&1));

    failed = failed.with_kin(&Kin {
        superseded_by: Some("good".to_owned()),
        ..Kin::default()
    });
    let found = report(&[failed.clone(), good.clone()]);
    assert_eq!((found.verdict, found.superseded), (Verdict::Complete, 1));
    assert_eq!(
        (found.accepted, found.persisted, found.completed),
        (2, 2, 1)
    );
    assert!(found.reasons.is_empty());

    let mut open = ReportBuilder::default();
    open.add(&good);
    let found = open.finish("s", None, 2, 3);
    assert_eq!(found.verdict, Verdict::InProgress);
    assert_eq!((found.accepted, found.in_flight, found.deleted), (6, 2, 3));
    let truncated = turn("cut").record_with(End::Broken, 200);
    assert_eq!(truncated.outcome, Outcome::Truncated);
    insta::assert_snapshot!(serde_json::to_string_pretty(&report(&[good, truncated])).unwrap());
}

#[test]
fn tokens_that_do_not_go_on_are_breaks_and_spoil_nothing() {
    let first = Turn::new("1", json!([user("a")]), "A").ids(&[1, 2], &[3, 4]);
    let follows = |id: &str, messages: Value, prompt: &[i64]| {
        Turn::new(id, messages, "B").ids(prompt, &[9]).record()
    };
    let extended = json!([user("a"), assistant("A"), user("b")]);
    let records = [
        first.record(),
        follows("good", extended.clone(), &[1, 2, 3, 4, 5]),
        follows("drifted", extended.clone(), &[1, 2, 3, 8, 5]),
        follows("shorter", extended.clone(), &[1, 2, 3]),
        follows(
            "edited",
            json!([user("a"), assistant("other"), user("b")]),
            &[1, 7],
        ),
        follows("subagent", json!([user("z")]), &[6]),
        follows("unknown", extended, &[]),
    ];
    let found = report(&records);
    let breaks: Vec<_> = found
        .prefix_breaks
        .iter()
        .map(|found| (found.trace_id.as_str(), found.at_token))
        .collect();
    assert_eq!(breaks, [("drifted", 3), ("shorter", 3)]);
    assert_eq!(found.verdict, Verdict::Complete);
}
