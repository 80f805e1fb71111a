//! Earlier calls are found as by comparing with each of them, and take the memory of what they add.

use proptest::prelude::*;

use super::{Earlier, EarlierCalls};
use crate::{Call, CallMeta, Endpoint, Json, Outcome, Reply, TraceRecord, record};

/// A completed call that says this, with these ids of its prompt and its completion.
fn call(trace_id: usize, messages: &[String], prompt: &[i64], completion: &[i64]) -> TraceRecord {
    let call = Call {
        meta: CallMeta::new(trace_id.to_string(), Endpoint::ChatCompletions, 1.0),
        request: "{}".into(),
    };
    let mut record = record(&call, &Reply::default());
    record.outcome = Outcome::Completed;
    record.messages = Json::trusted(format!("[{}]", messages.join(",")));
    record.prompt_token_ids = prompt.to_vec();
    record.completion_token_ids = completion.to_vec();
    record
}

fn message(role: &str, content: usize) -> String {
    format!(r#"{{"role":"{role}","content":{content}}}"#)
}

fn add(earlier: &mut EarlierCalls, record: &TraceRecord) {
    earlier.add(
        record,
        &record.messages.walk().elements().collect::<Vec<_>>(),
    );
}

#[test]
fn a_long_session_takes_what_its_calls_add() {
    let mut earlier = EarlierCalls::default();
    let (mut messages, mut ids) = (vec![message("system", 0)], vec![7; 1000]);
    for turn in 0..250 {
        messages.push(message("user", turn));
        ids.extend([1, 2, 3]);
        add(&mut earlier, &call(turn, &messages, &ids, &[4, 5]));
        messages.push(message("assistant", turn));
        ids.extend([4, 5]);
    }
    let kept: usize = earlier.calls.iter().map(|call| call.ids.len()).sum();
    assert_eq!(kept, ids.len());
    // The last answer came after the last messages.
    assert_eq!(earlier.nodes.len(), messages.len() - 1);
}

/// Calls whose messages and ids often begin as those of others do.
fn calls() -> impl Strategy<Value = Vec<TraceRecord>> {
    let message = (prop::bool::ANY, 0..2_usize).prop_map(|(assistant, content)| {
        message(if assistant { "assistant" } else { "user" }, content)
    });
    let messages = prop::collection::vec(message, 0..6);
    let ids = || prop::collection::vec(0..2_i64, 0..7);
    prop::collection::vec((messages, ids(), ids()), 0..24).prop_map(|calls| {
        let calls = calls.iter().enumerate();
        calls
            .map(|(n, (messages, prompt, completion))| call(n, messages, prompt, completion))
            .collect()
    })
}

fn texts(record: &TraceRecord) -> Vec<&str> {
    let messages = record.messages.walk().elements();
    messages.map(gateway_json::Value::text).collect()
}

/// What [`EarlierCalls::begun_by`] promises, looked for one by one.
fn begun_by<'a>(
    known: &'a [TraceRecord],
    record: &TraceRecord,
    fits: impl Fn(&TraceRecord) -> bool,
) -> Option<(&'a str, usize)> {
    let messages = texts(record);
    let extends = |call: &TraceRecord| {
        let own = texts(call);
        let next = messages.get(own.len());
        !own.is_empty()
            && messages.starts_with(&own)
            && next.is_some_and(|next| next.contains("assistant"))
    };
    let found = known.iter().rev().find(|call| extends(call) && fits(call));
    found.map(|call| (&*call.trace_id, texts(call).len()))
}

proptest! {
    #[test]
    fn calls_are_found_as_one_by_one(calls in calls()) {
        let mut earlier = EarlierCalls::default();
        for (position, record) in calls.iter().enumerate() {
            let known = &calls[..position];
            let messages: Vec<_> = record.messages.walk().elements().collect();
            let told = |found: Option<(&Earlier, usize)>| {
                found.map(|(call, count)| (call.trace_id.clone(), count))
            };
            let any = earlier.begun_by(record, &messages, |_, _| true);
            let expected = begun_by(known, record, |_| true);
            prop_assert_eq!(told(any), expected.map(|(id, count)| (id.to_owned(), count)));
            let with_ids = earlier.begun_by(record, &messages, |call, _| call.has_completion_ids);
            let expected = begun_by(known, record, |call| !call.completion_token_ids.is_empty());
            prop_assert_eq!(told(with_ids), expected.map(|(id, count)| (id.to_owned(), count)));

            let own = &record.prompt_token_ids;
            for call in &earlier.calls {
                let other = &calls[call.trace_id.parse::<usize>().expect("a position")];
                let ids = [&other.prompt_token_ids[..], &other.completion_token_ids].concat();
                let common = ids.iter().zip(own).take_while(|(a, b)| a == b).count();
                prop_assert_eq!(earlier.count_common(call, own), common);
                prop_assert_eq!(call.count_ids(), ids.len());
            }
            earlier.add(record, &messages);
        }
    }
}
