//! The places of traces among those of their session.

use gateway_trace::{Endpoint, Kin, Outcome};

use super::Case;
use super::samples::{Sample, Writer, run};
use crate::batch::Write;
use crate::change::Scope;
use crate::error::StoreError;
use crate::query::SessionTraces;
use crate::store::TraceStore;

pub(super) const CASES: &[(&str, Case)] = &[
    (
        "a call stands on the line of the latest one that it extends",
        a_call_stands_on_the_line_of_the_latest_one_that_it_extends,
    ),
    (
        "only what has completed and arrived before is extended",
        only_what_has_completed_and_arrived_before_is_extended,
    ),
    (
        "lines are of a session and run",
        lines_are_of_a_session_and_run,
    ),
    (
        "a call that failed is superseded by its completed repetition",
        a_call_that_failed_is_superseded_by_its_completed_repetition,
    ),
    (
        "overtaken calls are counted while there is a row",
        overtaken_calls_are_counted_while_there_is_a_row,
    ),
];

const A: &str = r#"[{"role":"user","content":"a"}]"#;
const AB: &str = r#"[{"role":"user","content":"a"},{"role":"assistant","content":"A"},
    {"role":"user","content":"b"}]"#;
const ABC: &str = r#"[{"role":"user","content":"a"},{"role":"assistant","content":"A"},
    {"role":"user","content":"b"},{"role":"assistant","content":"B"},
    {"role":"user","content":"c"}]"#;
const X: &str = r#"[{"role":"user","content":"x"}]"#;

/// A trace, its parent and its line.
type Place = (String, Option<String>, Option<u64>);

/// The places of the traces of a session, in the order of arrival.
fn places(
    store: &dyn TraceStore,
    session_id: &str,
    scope: Scope,
) -> Result<Vec<Place>, StoreError> {
    let traces = store.session_traces(&SessionTraces::all(session_id, scope))?;
    let place = |trace: crate::query::StoredTrace| {
        let Kin {
            parent_trace_id,
            line,
            ..
        } = trace.kin;
        (trace.call.meta.trace_id, parent_trace_id, line)
    };
    Ok(traces.into_iter().map(place).collect())
}

#[track_caller]
fn check(found: &[Place], expected: &[(&str, Option<&str>, Option<u64>)]) {
    let found: Vec<_> = found
        .iter()
        .map(|(id, parent, line)| (id.as_str(), parent.as_deref(), *line))
        .collect();
    assert_eq!(found, expected);
}

fn a_call_stands_on_the_line_of_the_latest_one_that_it_extends(
    store: &dyn TraceStore,
) -> Result<(), StoreError> {
    let mut writer = Writer::new(store);
    writer.trace(Sample::new("1", "s").messages(A));
    writer.trace(Sample::new("subagent", "s").messages(X));
    // In one batch with its parent.
    let seq = writer.seq;
    writer.apply([
        Sample::new("2", "s").messages(AB).write(seq + 1),
        Sample::new("3", "s").messages(ABC).write(seq + 2),
    ]);
    writer.trace(Sample::new("branch", "s").messages(AB));
    // The beginning came again after the longer one: the latest is the parent.
    writer.trace(Sample::new("again", "s").messages(A));
    writer.trace(Sample::new("4", "s").messages(ABC));
    let completions = Sample::new("no messages", "s").endpoint(Endpoint::Completions);
    writer.trace(completions.messages("[]"));
    check(
        &places(store, "s", Scope::All)?,
        &[
            ("1", None, Some(0)),
            ("subagent", None, Some(1)),
            ("2", Some("1"), Some(0)),
            ("3", Some("2"), Some(0)),
            ("branch", Some("1"), Some(0)),
            ("again", None, Some(2)),
            ("4", Some("again"), Some(2)),
            ("no messages", None, Some(3)),
        ],
    );
    let one = store.trace("3")?.expect("it was written");
    assert_eq!(one.kin.parent_trace_id.as_deref(), Some("2"));
    let record = one.record();
    assert_eq!(record.parent_trace_id.as_deref(), Some("2"));
    assert_eq!(record.lineage_id.as_deref(), Some("s#0"));
    Ok(())
}

fn only_what_has_completed_and_arrived_before_is_extended(
    store: &dyn TraceStore,
) -> Result<(), StoreError> {
    let mut writer = Writer::new(store);
    writer.apply([
        Sample::new("late", "s").messages(A).write(9),
        Sample::new("embedding", "s")
            .endpoint(Endpoint::Embeddings)
            .messages(A)
            .write(1),
        Sample::new("failed", "s")
            .outcome(Outcome::Truncated)
            .messages(A)
            .write(2),
        Sample::new("child", "s").messages(AB).write(3),
        Sample::new("failed child", "s")
            .outcome(Outcome::UpstreamError)
            .messages(ABC)
            .write(4),
    ]);
    check(
        &places(store, "s", Scope::All)?,
        &[
            ("embedding", None, None),
            ("failed", None, None),
            ("child", None, Some(1)),
            ("failed child", Some("child"), Some(1)),
            ("late", None, Some(0)),
        ],
    );
    Ok(())
}

fn lines_are_of_a_session_and_run(store: &dyn TraceStore) -> Result<(), StoreError> {
    let mut writer = Writer::new(store);
    writer.put_session("s", None, None);
    writer.trace(Sample::new("r1", "s").run("r").messages(A));
    writer.trace(Sample::new("q1", "s").run("q").messages(A));
    writer.trace(Sample::new("q2", "s").run("q").messages(AB));
    writer.trace(Sample::new("t1", "t").messages(AB));
    writer.trace(Sample::new("nobody", "").messages(AB));
    check(
        &places(store, "s", Scope::All)?,
        &[
            ("r1", None, Some(0)),
            ("q1", None, Some(0)),
            ("q2", Some("q1"), Some(0)),
        ],
    );
    check(&places(store, "t", Scope::All)?, &[("t1", None, Some(0))]);
    let nobody = store.trace("nobody")?.expect("it was written");
    assert_eq!(nobody.kin, Kin::default());

    writer.delete_session("s", run("q"));
    writer.trace(Sample::new("q3", "s").run("q").messages(AB));
    check(&places(store, "s", run("q"))?, &[("q3", None, Some(0))]);
    Ok(())
}

fn a_call_that_failed_is_superseded_by_its_completed_repetition(
    store: &dyn TraceStore,
) -> Result<(), StoreError> {
    let mut writer = Writer::new(store);
    let failed = |id: &str| Sample::new(id, "s").outcome(Outcome::UpstreamError);
    writer.apply([
        failed("1").messages(A).write(1),
        failed("2").messages(A).write(2),
        Sample::new("3", "s").messages(A).write(4),
        Sample::new("4", "s").messages(A).write(5),
        // It arrived before those that completed, and ended after them.
        failed("slow").messages(A).write(3),
        failed("after").messages(A).write(6),
        failed("other").messages(X).write(7),
        Sample::new("responses", "s")
            .endpoint(Endpoint::Responses)
            .messages(X)
            .write(8),
        Sample::new("other run", "s").run("r").messages(X).write(9),
        failed("nobody").messages(A).write(10),
    ]);
    let traces = store.session_traces(&SessionTraces::all("s", Scope::All))?;
    let found: Vec<_> = traces
        .iter()
        .filter_map(|trace| {
            let by = trace.kin.superseded_by.as_deref()?;
            Some((trace.call.meta.trace_id.as_str(), by))
        })
        .collect();
    assert_eq!(found, [("1", "3"), ("2", "3"), ("slow", "3")]);
    Ok(())
}

fn overtaken_calls_are_counted_while_there_is_a_row(
    store: &dyn TraceStore,
) -> Result<(), StoreError> {
    let mut writer = Writer::new(store);
    let overtaken = |run_id: Option<&str>| Write::Overtaken {
        session_id: "s".to_owned(),
        run_id: run_id.map(str::to_owned),
    };
    writer.apply([overtaken(None)]);
    assert_eq!(store.session("s", &Scope::All)?, None);
    writer.put_session("s", None, None);
    writer.trace(Sample::new("r1", "s").run("r"));
    writer.put_session("s", Some("q"), None);
    writer.apply([overtaken(Some("r")), overtaken(Some("q")), overtaken(None)]);
    let deleted = |scope| -> Result<u64, StoreError> {
        let session = store.session("s", &scope)?;
        Ok(session.expect("it was made").deleted_count)
    };
    assert_eq!(deleted(run("r"))?, 1);
    assert_eq!(deleted(Scope::All)?, 2);
    writer.delete_session("s", run("r"));
    writer.put_session("s", Some("r"), None);
    assert_eq!(deleted(run("r"))?, 0);
    Ok(())
}
