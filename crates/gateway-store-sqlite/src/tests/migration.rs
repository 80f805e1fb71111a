//! A file of an earlier version.

use std::os::unix::fs::PermissionsExt;

use gateway_store::contract::{Sample, Writer};
use gateway_store::{Scope, SessionTraces, StoreError, TraceStore};
use rusqlite::Connection;

use super::open;
use crate::SqliteStore;

fn version_1(path: &std::path::Path) {
    let connection = Connection::open(path).unwrap();
    connection
        .execute_batch(include_str!("fixtures/version-1.sql"))
        .unwrap();
}

#[test]
fn a_file_of_version_1_is_migrated_and_a_copy_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gateway.db");
    version_1(&path);
    let store = open(&path);
    let all = SessionTraces::all("s", Scope::All);
    let places = || -> Vec<_> {
        let traces = store.session_traces(&all).unwrap();
        let place = |trace: gateway_store::StoredTrace| {
            let kin = trace.kin;
            let id = trace.call.meta.trace_id;
            (id, kin.parent_trace_id, kin.line, kin.superseded_by)
        };
        traces.into_iter().map(place).collect()
    };
    let name = |name: &str| Some(name.to_owned());
    let id = str::to_owned;
    let migrated = [
        (id("first"), None, Some(0), None),
        (id("failed"), name("first"), Some(0), name("second")),
        (id("second"), name("first"), Some(0), None),
        (id("other"), None, Some(1), None),
    ];
    assert_eq!(places(), migrated);
    let session = store.session("s", &Scope::All).unwrap().unwrap();
    assert_eq!((session.total_count, session.trace_count), (4, 3));
    assert_eq!(session.metadata.as_str(), r#"{"a":1}"#);
    assert_eq!(store.last_arrival().unwrap(), 7);
    assert_eq!(store.position().unwrap().unwrap().applied, 9);
    assert_eq!(store.sampling_params().unwrap().len(), 1);

    // It goes on where it was.
    let mut writer = Writer::new(&store);
    writer.seq = 9;
    writer.trace(Sample::new("new", "s").messages(r#"[{"role":"user","content":"new"}]"#));
    assert_eq!(places()[4], (id("new"), None, Some(2), None));
    drop(store);
    drop(open(&path));

    let copy = folder.path().join("gateway.db.version-1");
    let mode = std::fs::metadata(&copy).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let old = Connection::open(&copy).unwrap();
    let read = |sql: &str| old.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(read("PRAGMA user_version"), 1);
    assert_eq!(read("SELECT count(*) FROM traces"), 4);
    let files = std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(files, 2, "nothing else is left");
}

#[test]
fn a_file_that_cannot_be_migrated_stays_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gateway.db");
    version_1(&path);
    let connection = Connection::open(&path).unwrap();
    connection.execute_batch("DROP TABLE bodies").unwrap();
    drop(connection);
    let before = std::fs::read(&path).unwrap();
    let error = SqliteStore::open(&path).err().unwrap();
    assert!(matches!(error, StoreError::Backend { .. }), "{error:?}");
    assert_eq!(std::fs::read(&path).unwrap(), before);
}
