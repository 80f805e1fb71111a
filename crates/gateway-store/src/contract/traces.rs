//! The traces of one session.

use gateway_trace::{Endpoint, Outcome, SpanType};

use super::Case;
use super::samples::{Sample, Writer, ids, run};
use crate::change::Scope;
use crate::error::StoreError;
use crate::query::SessionTraces;
use crate::store::TraceStore;

pub(super) const CASES: &[(&str, Case)] = &[
    (
        "a session is listed in the order of arrival",
        a_session_is_listed_in_the_order_of_arrival,
    ),
    (
        "defect 18: only completed model calls are turns",
        defect_18_only_completed_model_calls,
    ),
    (
        "since is inclusive, limit takes the first",
        since_is_inclusive_limit_takes_the_first,
    ),
    (
        "defect 13: a run sees its own traces only",
        defect_13_a_run_sees_its_own_traces_only,
    ),
    (
        "times come back to the last digit",
        times_come_back_to_the_last_digit,
    ),
    (
        "similar ids are different sessions",
        similar_ids_are_different_sessions,
    ),
];

fn a_session_is_listed_in_the_order_of_arrival(store: &dyn TraceStore) -> Result<(), StoreError> {
    let mut writer = Writer::new(store);
    writer.apply([
        Sample::new("late", "s").write(9),
        Sample::new("early", "s").arrived_at(2000.0).write(3),
    ]);
    writer.trace(Sample::new("middle", "s"));
    let traces = store.session_traces(&SessionTraces::plain("s", Scope::All))?;
    assert_eq!(ids(&traces), ["early", "middle", "late"]);
    assert_eq!(store.last_arrival()?, 9);
    Ok(())
}

fn defect_18_only_completed_model_calls(store: &dyn TraceStore) -> Result<(), StoreError> {
    let mut writer = Writer::new(store);
    writer.trace(Sample::new("good", "s"));
    writer.trace(Sample::new("cut", "s").outcome(Outcome::Truncated));
    writer.trace(Sample::new("embedding", "s").endpoint(Endpoint::Embeddings));
    writer.trace(
        Sample::new("bad", "s")
            .endpoint(Endpoint::Embeddings)
            .outcome(Outcome::UpstreamError),
    );
    let list = |outcome, span_type| {
        let query = SessionTraces {
            outcome,
            span_type,
            ..SessionTraces::all("s", Scope::All)
        };
        store.session_traces(&query)
    };
    let plain = store.session_traces(&SessionTraces::plain("s", Scope::All))?;
    assert_eq!(ids(&plain), ["good"]);
    assert_eq!(ids(&list(None, None)?), ["good", "cut", "embedding", "bad"]);
    assert_eq!(ids(&list(None, Some(SpanType::Llm))?), ["good", "cut"]);
    assert_eq!(
        ids(&list(Some(Outcome::Completed), None)?),
        ["good", "embedding"]
    );
    assert_eq!(
        ids(&list(Some(Outcome::Truncated), Some(SpanType::Llm))?),
        ["cut"]
    );
    let session = store.session("s", &Scope::All)?.expect("it has traces");
    assert_eq!((session.trace_count, session.total_count), (1, 4));
    Ok(())
}

fn since_is_inclusive_limit_takes_the_first(store: &dyn TraceStore) -> Result<(), StoreError> {
    let mut writer = Writer::new(store);
    for id in ["a", "b", "c"] {
        writer.trace(Sample::new(id, "s"));
    }
    let list = |since, limit| {
        let query = SessionTraces {
            since,
            limit,
            ..SessionTraces::plain("s", Scope::All)
        };
        store.session_traces(&query)
    };
    assert_eq!(ids(&list(Some(5002.0), None)?), ["b", "c"]);
    assert_eq!(ids(&list(Some(5002.5), None)?), ["c"]);
    assert_eq!(ids(&list(None, Some(2))?), ["a", "b"]);
    assert_eq!(ids(&list(Some(5002.0), Some(1))?), ["b"]);
    assert_eq!(list(None, Some(0))?, []);
    Ok(())
}

fn defect_13_a_run_sees_its_own_traces_only(store: &dyn TraceStore) -> Result<(), StoreError> {
    let mut writer = Writer::new(store);
    writer.trace(Sample::new("a", "s").run("one"));
    writer.trace(Sample::new("b", "s").run("two"));
    writer.trace(Sample::new("c", "s"));
    let list = |scope| store.session_traces(&SessionTraces::plain("s", scope));
    assert_eq!(ids(&list(run("one"))?), ["a"]);
    assert_eq!(ids(&list(run(""))?), ["c"]);
    assert_eq!(ids(&list(Scope::All)?), ["a", "b", "c"]);
    assert_eq!(writer.delete_session("s", run("two")), 1);
    assert_eq!(writer.delete_session("s", run("three")), 0);
    assert_eq!(ids(&list(Scope::All)?), ["a", "c"]);
    assert_eq!(store.session_runs(&["s".to_owned()])?.len(), 2);
    Ok(())
}

fn similar_ids_are_different_sessions(store: &dyn TraceStore) -> Result<(), StoreError> {
    let mut writer = Writer::new(store);
    let sessions = [
        "s",
        "S",
        "s1",
        "s ",
        "s%",
        "s_",
        "'; DROP TABLE traces; --",
        "\u{1F980}",
    ];
    for id in sessions {
        writer.trace(Sample::new(id, id));
    }
    for id in sessions {
        let traces = store.session_traces(&SessionTraces::plain(id, Scope::All))?;
        assert_eq!(ids(&traces), [id]);
    }
    assert_eq!(writer.delete_session("s%", Scope::All), 1);
    assert_eq!(store.count(&Default::default())?, sessions.len() as u64 - 1);
    Ok(())
}

/// What is shown of a trace is what it is found by.
fn times_come_back_to_the_last_digit(store: &dyn TraceStore) -> Result<(), StoreError> {
    // A reader that is not careful takes it for its neighbour.
    let time = 1_795_533_706.013_140_7;
    let mut writer = Writer::new(store);
    let sample = Sample::new("a", "s").run("r").arrived_at(time);
    writer.trace(sample.latency(time));
    let trace = store.trace("a")?.expect("it was written");
    assert_eq!(trace.call.meta.arrived_at, time);
    assert_eq!(trace.reply.meta.latency_ms, time);
    let run = store.run("r")?.expect("a call made it");
    assert_eq!(run.started_at, time);
    let session = store.session("s", &Scope::All)?.expect("a call made it");
    assert_eq!(session.created_at, time);
    Ok(())
}
