//! Session rows.

use super::Case;
use super::samples::{Sample, Writer, json, run};
use crate::change::{Change, Scope};
use crate::error::StoreError;
use crate::query::SessionList;
use crate::store::TraceStore;

pub(super) const CASES: &[(&str, Case)] = &[
    (
        "the first call makes the session",
        the_first_call_makes_the_session,
    ),
    ("no session makes no row", no_session_makes_no_row),
    (
        "a session made without a run takes that of its first call",
        a_session_takes_a_run,
    ),
    (
        "posting a session again updates it",
        posting_a_session_again_updates_it,
    ),
    (
        "a session in two runs is two rows and one sum",
        a_session_in_two_runs,
    ),
    (
        "sessions are listed newest first",
        sessions_are_listed_newest_first,
    ),
    (
        "sampling params go by session, and with it",
        sampling_params_go_by_session,
    ),
    (
        "a deleted session begins anew",
        a_deleted_session_begins_anew,
    ),
];

/// The rows of a session as `run:trace_count:metadata`, newest first.
fn rows(store: &dyn TraceStore, session_id: &str) -> Result<Vec<String>, StoreError> {
    let rows = store.session_runs(&[session_id.to_owned()])?;
    let row = |row: &crate::query::Session| {
        let run = row.run_id.as_deref().unwrap_or("-");
        format!("{run}:{}:{}", row.trace_count, row.metadata)
    };
    Ok(rows.iter().map(row).collect())
}

fn the_first_call_makes_the_session(store: &dyn TraceStore) -> Result<(), StoreError> {
    let mut writer = Writer::new(store);
    assert_eq!(store.session("s", &Scope::All)?, None);
    writer.trace(Sample::new("a", "s").run("r").arrived_at(1234.5));
    writer.trace(Sample::new("b", "s").run("r").arrived_at(1300.0));
    let session = store.session("s", &Scope::All)?.expect("a call made it");
    assert_eq!(session.created_at, 1234.5);
    assert_eq!(session.run_id.as_deref(), Some("r"));
    assert_eq!(
        (session.first_trace_at, session.last_trace_at),
        (Some(5001.0), Some(5002.0))
    );
    assert_eq!((session.trace_count, session.metadata.as_str()), (2, "{}"));
    assert_eq!(store.session("s", &run("r"))?, Some(session));
    assert_eq!(store.session("s", &run("q"))?, None);
    Ok(())
}

fn no_session_makes_no_row(store: &dyn TraceStore) -> Result<(), StoreError> {
    let mut writer = Writer::new(store);
    writer.trace(Sample::new("a", "").run("r"));
    assert_eq!(store.sessions(&SessionList::default())?, []);
    assert!(store.trace("a")?.is_some());
    assert!(store.run("r")?.is_some());
    Ok(())
}

fn a_session_takes_a_run(store: &dyn TraceStore) -> Result<(), StoreError> {
    let mut writer = Writer::new(store);
    writer.put_session("s", None, Some(r#"{"a": 1.0}"#));
    assert_eq!(rows(store, "s")?, [r#"-:0:{"a": 1.0}"#]);
    writer.trace(Sample::new("a", "s").run("r"));
    assert_eq!(rows(store, "s")?, [r#"r:1:{"a": 1.0}"#]);
    // The next run makes a row of its own, the arrival of its first call being older.
    writer.trace(Sample::new("b", "s").run("q"));
    assert_eq!(rows(store, "s")?, [r#"r:1:{"a": 1.0}"#, "q:1:{}"]);
    // A session whose first call had no run stays without one.
    writer.put_session("t", None, None);
    writer.trace(Sample::new("c", "t"));
    writer.trace(Sample::new("d", "t").run("r"));
    assert_eq!(rows(store, "t")?, ["-:1:{}", "r:1:{}"]);
    Ok(())
}

fn posting_a_session_again_updates_it(store: &dyn TraceStore) -> Result<(), StoreError> {
    let mut writer = Writer::new(store);
    writer.put_session("s", Some("r"), Some(r#"{"v":1}"#));
    let made = store.session("s", &Scope::All)?.expect("it was put");
    writer.put_session("s", Some("r"), Some(r#"{"v":2}"#));
    writer.put_session("s", Some("r"), None);
    let session = store.session("s", &Scope::All)?.expect("it was put");
    assert_eq!(
        (session.created_at, session.metadata.as_str()),
        (made.created_at, r#"{"v":2}"#)
    );
    // Another run is another row; without a run all of them are meant.
    writer.put_session("s", Some("q"), None);
    assert_eq!(rows(store, "s")?, ["q:0:{}", r#"r:0:{"v":2}"#]);
    writer.put_session("s", None, Some("[]"));
    assert_eq!(rows(store, "s")?, ["q:0:[]", "r:0:[]"]);
    // A row without run or traces takes the run that it is put in.
    writer.put_session("u", None, Some("1"));
    writer.put_session("u", Some("r"), None);
    assert_eq!(rows(store, "u")?, ["r:0:1"]);
    Ok(())
}

fn a_session_in_two_runs(store: &dyn TraceStore) -> Result<(), StoreError> {
    let mut writer = Writer::new(store);
    writer.trace(Sample::new("a", "s").run("r").arrived_at(100.0));
    writer.trace(Sample::new("b", "s").run("q").arrived_at(200.0));
    writer.trace(Sample::new("c", "s").run("q").arrived_at(300.0));
    assert_eq!(rows(store, "s")?, ["q:2:{}", "r:1:{}"]);
    let sum = store.session("s", &Scope::All)?.expect("it has traces");
    assert_eq!(
        (sum.run_id.as_deref(), sum.trace_count, sum.total_count),
        (None, 3, 3)
    );
    assert_eq!(
        (sum.first_trace_at, sum.last_trace_at),
        (Some(5001.0), Some(5003.0))
    );
    assert_eq!(sum.created_at, 100.0);
    writer.put_session("s", Some("r"), Some(r#"{"split":"train"}"#));
    let sum = store.session("s", &Scope::All)?.expect("it has traces");
    assert_eq!(sum.metadata.as_str(), r#"{"split":"train"}"#);
    let one = store.session("s", &run("r"))?.expect("it has traces");
    assert_eq!((one.run_id.as_deref(), one.trace_count), (Some("r"), 1));
    Ok(())
}

fn sessions_are_listed_newest_first(store: &dyn TraceStore) -> Result<(), StoreError> {
    let mut writer = Writer::new(store);
    writer.trace(Sample::new("1", "a").run("r").arrived_at(10.0));
    writer.trace(Sample::new("2", "b").run("q").arrived_at(30.0));
    writer.trace(Sample::new("3", "c").arrived_at(20.0));
    // As old as the one before, and so made after it.
    writer.trace(Sample::new("4", "d").arrived_at(20.0));
    let list = |since, limit, run: Option<&str>| {
        let query = SessionList {
            since,
            limit,
            run_id: run.map(str::to_owned),
        };
        let sessions = store.sessions(&query)?;
        let ids: Vec<_> = sessions
            .into_iter()
            .map(|session| session.session_id)
            .collect();
        Ok::<_, StoreError>(ids.join(" "))
    };
    assert_eq!(list(None, None, None)?, "b d c a");
    assert_eq!(list(Some(20.0), None, None)?, "b d c", "since is inclusive");
    assert_eq!(list(None, Some(2), None)?, "b d");
    assert_eq!(list(None, None, Some("r"))?, "a");
    assert_eq!(list(None, None, Some(""))?, "d c");
    Ok(())
}

fn sampling_params_go_by_session(store: &dyn TraceStore) -> Result<(), StoreError> {
    let mut writer = Writer::new(store);
    let put = |writer: &mut Writer<'_>, run_id: Option<&str>, params: Option<&str>| {
        writer.change(Change::PutSession {
            session_id: "s".to_owned(),
            run_id: run_id.map(str::to_owned),
            metadata: None,
            sampling_params: params.map(json),
            at: 1.0,
        })
    };
    put(&mut writer, Some("r"), Some(r#"{"temperature": 1e0}"#));
    put(&mut writer, Some("q"), None);
    let params = |store: &dyn TraceStore| {
        let params = store.sampling_params()?.into_iter();
        let shown = params.map(|(id, params)| format!("{id} {params}"));
        Ok::<_, StoreError>(shown.collect::<Vec<_>>())
    };
    assert_eq!(params(store)?, [r#"s {"temperature": 1e0}"#]);
    writer.delete_session("s", run("r"));
    assert_eq!(
        params(store)?.len(),
        1,
        "the other run's row still has them"
    );
    put(&mut writer, None, Some("{}"));
    assert_eq!(params(store)?, ["s {}"]);
    writer.delete_session("s", Scope::All);
    assert_eq!(params(store)?, [""; 0]);
    Ok(())
}

fn a_deleted_session_begins_anew(store: &dyn TraceStore) -> Result<(), StoreError> {
    let mut writer = Writer::new(store);
    assert_eq!(writer.delete_session("s", Scope::All), 0);
    writer.put_session("s", None, Some(r#"{"v":1}"#));
    writer.trace(Sample::new("a", "s").run("r"));
    writer.trace(Sample::new("b", "s2").run("r"));
    assert_eq!(writer.delete_session("s", Scope::All), 1);
    assert_eq!(store.session("s", &Scope::All)?, None);
    assert_eq!(store.trace("a")?, None);
    assert!(store.trace("b")?.is_some());
    writer.trace(Sample::new("c", "s"));
    assert_eq!(rows(store, "s")?, ["-:1:{}"]);
    Ok(())
}
