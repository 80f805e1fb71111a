//! Runs.

use super::Case;
use super::samples::{Sample, Writer, json};
use crate::change::Change;
use crate::error::StoreError;
use crate::store::TraceStore;

pub(super) const CASES: &[(&str, Case)] = &[
    (
        "a run is started, ended and started again",
        a_run_is_started_ended_and_started_again,
    ),
    ("calls make runs known", calls_make_runs_known),
    ("runs are listed newest first", runs_are_listed_newest_first),
];

fn start(writer: &mut Writer<'_>, run_id: &str, metadata: &str, at: f64) {
    writer.change(Change::StartRun {
        run_id: run_id.to_owned(),
        metadata: json(metadata),
        at,
    });
}

fn end(writer: &mut Writer<'_>, run_id: &str, at: f64) {
    writer.change(Change::EndRun {
        run_id: run_id.to_owned(),
        at,
    });
}

fn a_run_is_started_ended_and_started_again(store: &dyn TraceStore) -> Result<(), StoreError> {
    let mut writer = Writer::new(store);
    assert_eq!(store.run("r")?, None);
    start(&mut writer, "r", r#"{"lr":1e-6}"#, 10.0);
    end(&mut writer, "r", 20.0);
    let ended = store.run("r")?.expect("it was started");
    assert_eq!((ended.started_at, ended.ended_at), (10.0, Some(20.0)));
    start(&mut writer, "r", "{}", 30.0);
    // A call that arrived earlier does not move a registered run.
    writer.trace(Sample::new("a", "s").run("r").arrived_at(5.0));
    let live = store.run("r")?.expect("it was started");
    assert_eq!((live.started_at, live.ended_at), (10.0, None));
    assert_eq!(live.metadata.as_str(), "{}");
    end(&mut writer, "unknown", 20.0);
    assert_eq!(store.run("unknown")?, None);
    Ok(())
}

fn calls_make_runs_known(store: &dyn TraceStore) -> Result<(), StoreError> {
    let mut writer = Writer::new(store);
    writer.trace(Sample::new("late", "s").run("r").arrived_at(50.0));
    writer.trace(Sample::new("first", "s").run("r").arrived_at(40.0));
    writer.trace(Sample::new("none", "s"));
    let run = store.run("r")?.expect("a call named it");
    assert_eq!(
        (run.started_at, run.ended_at, run.metadata.as_str()),
        (40.0, None, "{}")
    );
    start(&mut writer, "r", r#"{"a":1}"#, 60.0);
    let run = store.run("r")?.expect("a call named it");
    assert_eq!(
        (run.started_at, run.metadata.as_str()),
        (40.0, r#"{"a":1}"#)
    );
    assert_eq!(store.runs(None, None)?, [run]);
    Ok(())
}

fn runs_are_listed_newest_first(store: &dyn TraceStore) -> Result<(), StoreError> {
    let mut writer = Writer::new(store);
    start(&mut writer, "b", "{}", 20.0);
    start(&mut writer, "a", "{}", 10.0);
    start(&mut writer, "c", "{}", 20.0);
    let list = |since, limit| {
        let runs = store.runs(since, limit)?.into_iter();
        let ids: Vec<_> = runs.map(|run| run.run_id).collect();
        Ok::<_, StoreError>(ids.join(" "))
    };
    assert_eq!(list(None, None)?, "c b a");
    assert_eq!(list(Some(20.0), None)?, "c b", "since is inclusive");
    assert_eq!(list(None, Some(1))?, "c");
    Ok(())
}
