//! Databases of the Python gateway, in each of their forms.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use gateway_store::StoreError;
use rusqlite::{Connection, params};

use super::files::{ours, refused, sqlite};
use crate::{PythonDatabase, PythonDatabaseError, PythonRow, PythonTrace};

/// The tables of version 0.1.0.
const FIRST: &str = "
    CREATE TABLE traces (trace_id TEXT PRIMARY KEY, data TEXT NOT NULL, created_at REAL NOT NULL);
    CREATE TABLE trace_sessions (trace_id TEXT NOT NULL, session_id TEXT NOT NULL,
        created_at REAL NOT NULL, PRIMARY KEY (trace_id, session_id),
        FOREIGN KEY (trace_id) REFERENCES traces(trace_id) ON DELETE CASCADE);
    CREATE INDEX idx_traces_time ON traces(created_at);";

/// Then runs came, ...
const WITH_RUNS: &str = "
    ALTER TABLE trace_sessions ADD COLUMN run_id TEXT NOT NULL DEFAULT '';
    CREATE TABLE runs (run_id TEXT PRIMARY KEY, started_at REAL NOT NULL, ended_at REAL,
        metadata TEXT NOT NULL DEFAULT '{}');
    PRAGMA journal_mode = WAL;";

/// ... and columns for searching.
const VERSION_2: &str = "
    PRAGMA user_version = 2;
    ALTER TABLE traces ADD COLUMN session_id TEXT NOT NULL DEFAULT '';
    ALTER TABLE traces ADD COLUMN run_id TEXT NOT NULL DEFAULT '';
    ALTER TABLE traces ADD COLUMN model TEXT NOT NULL DEFAULT '';
    ALTER TABLE traces ADD COLUMN harness TEXT;
    ALTER TABLE traces ADD COLUMN latency_ms INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE traces ADD COLUMN has_error INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE traces ADD COLUMN step_id INTEGER;
    DROP INDEX idx_traces_time;
    CREATE INDEX idx_traces_time ON traces(created_at DESC);";

/// An empty database of one of the forms.
fn make(path: &Path, form: usize) -> Connection {
    let connection = Connection::open(path).unwrap();
    for sql in [FIRST, WITH_RUNS, VERSION_2].iter().take(form) {
        connection.execute_batch(sql).unwrap();
    }
    connection
}

fn put(connection: &Connection, trace_id: &str, session_id: &str, at: f64, data: &str) {
    let sql = "INSERT INTO traces (trace_id, data, created_at) VALUES (?, ?, ?)";
    connection
        .execute(sql, params![trace_id, data, at])
        .unwrap();
    list(connection, trace_id, session_id, at);
}

fn list(connection: &Connection, trace_id: &str, session_id: &str, at: f64) {
    let sql = "INSERT INTO trace_sessions (trace_id, session_id, created_at) VALUES (?, ?, ?)";
    connection
        .execute(sql, params![trace_id, session_id, at])
        .unwrap();
}

fn record(trace_id: &str) -> String {
    format!(
        r#"{{"trace_id": "{trace_id}", "session_id": "s", "response_message": {{"content": "ho"}}}}"#
    )
}

/// Everything that can be read, and what cannot.
fn read(old: &mut PythonDatabase) -> (Vec<PythonTrace>, Vec<(String, String)>) {
    let (mut traces, mut unreadable) = (Vec::new(), Vec::new());
    loop {
        let rows = old.next_rows().unwrap();
        if rows.is_empty() {
            return (traces, unreadable);
        }
        for row in rows {
            match old.row(row).unwrap() {
                PythonRow::Trace(trace) => traces.push(trace),
                PythonRow::Unreadable { name, why } => unreadable.push((name, why)),
                PythonRow::Gone => {}
            }
        }
    }
}

fn ids(traces: &[PythonTrace]) -> String {
    let ids = traces.iter().map(|trace| trace.trace_id.as_str());
    ids.collect::<Vec<_>>().join(" ")
}

/// Every file of a folder and what is in it, but for the index of a WAL.
fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let files = entries.filter(|path| !path.to_string_lossy().ends_with("-shm"));
    files
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect()
}

#[test]
fn each_form_is_read_in_the_order_of_storing() {
    for form in 1..=3 {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("old.db");
        let connection = make(&path, form);
        for (trace_id, at) in [
            ("late", 3.5),
            ("first", 1.0),
            ("twin", 2.0),
            ("other twin", 2.0),
        ] {
            put(&connection, trace_id, "s", at, &record(trace_id));
        }
        list(&connection, "late", "s 2", 9.0);
        if form > 1 {
            sqlite(
                &path,
                "UPDATE trace_sessions SET run_id = 'r' WHERE trace_id = 'first'",
            );
        }
        connection.close().unwrap();
        let before = contents(folder.path());
        let entries = fs::read_dir(folder.path()).unwrap().count();

        let mut old = PythonDatabase::open(&path).unwrap();
        let (traces, unreadable) = read(&mut old);
        assert_eq!(ids(&traces), "first twin other twin late", "form {form}");
        assert_eq!(unreadable, []);
        let (first, late) = (traces[0].import(), traces[3].import());
        let run_id = (form > 1).then(|| "r".to_owned());
        assert_eq!(first.call.meta.identity.run_id, run_id);
        assert_eq!(first.call.meta.identity.session_id.as_deref(), Some("s"));
        assert_eq!(first.call.meta.arrived_at, 1.0);
        assert!(
            late.reply
                .meta
                .notes
                .iter()
                .any(|note| note.contains(r#""s", "s 2""#))
        );
        assert!(first.unreadable.is_none());
        drop(old);
        assert!(
            before == contents(folder.path()),
            "form {form}: it was touched"
        );
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), entries);
    }
}

#[test]
fn more_traces_than_are_looked_up_at_once_come_once_each() {
    for form in [1, 3] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("old.db");
        let connection = make(&path, form);
        connection.execute_batch("BEGIN").unwrap();
        for n in 0..1000 {
            // Many of them at the same time.
            put(
                &connection,
                &format!("{n:04}"),
                "s",
                f64::from(n / 300),
                "{}",
            );
        }
        connection.execute_batch("COMMIT").unwrap();
        let (traces, _) = read(&mut PythonDatabase::open(&path).unwrap());
        let expected: Vec<_> = (0..1000).map(|n| format!("{n:04}")).collect();
        assert_eq!(ids(&traces), expected.join(" "));
    }
}

#[test]
fn what_is_stored_or_deleted_meanwhile_is_no_trouble() {
    for form in [1, 3] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("old.db");
        let connection = make(&path, form);
        for n in 0..300 {
            put(&connection, &format!("{n}"), "s", f64::from(n), "{}");
        }
        let mut old = PythonDatabase::open(&path).unwrap();
        let rows = old.next_rows().unwrap();
        // The writer is not held up.
        connection
            .execute_batch("DELETE FROM traces WHERE trace_id = '0'")
            .unwrap();
        put(&connection, "new", "s", 1e9, "{}");
        assert!(matches!(old.row(rows[0]).unwrap(), PythonRow::Gone));
        assert!(matches!(old.row(rows[1]).unwrap(), PythonRow::Trace(_)));
        let (rest, _) = read(&mut old);
        assert_eq!(rest.len(), 300 - rows.len() + 1);
        assert_eq!(rest.last().unwrap().trace_id, "new");
    }
}

#[test]
fn what_lies_in_a_wal_is_read_and_left_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("live.db");
    let connection = make(&path, 3);
    put(&connection, "t", "s", 1.0, &record("t"));
    // As a crash leaves them: the tables themselves are in the WAL alone.
    let copy = folder.path().join("copy");
    fs::create_dir(&copy).unwrap();
    for name in ["live.db", "live.db-wal"] {
        fs::copy(folder.path().join(name), copy.join(name)).unwrap();
    }
    for folder in [folder.path(), &copy] {
        let path = folder.join("live.db");
        let before = (
            fs::read(&path).unwrap(),
            fs::read(folder.join("live.db-wal")).unwrap(),
        );
        let (traces, unreadable) = read(&mut PythonDatabase::open(&path).unwrap());
        assert_eq!((ids(&traces).as_str(), unreadable.len()), ("t", 0));
        let after = (
            fs::read(&path).unwrap(),
            fs::read(folder.join("live.db-wal")).unwrap(),
        );
        assert!(before == after, "it was touched");
    }
    put(&connection, "u", "s", 2.0, &record("u"));
    let error = crate::SqliteStore::open(copy.join("live.db"))
        .err()
        .unwrap();
    assert!(
        matches!(error, StoreError::PythonReference { .. }),
        "{error:?}"
    );
}

/// The rollback journal of a writer that died is what the file needs to be whole.
#[test]
fn half_a_change_is_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("old.db");
    let connection = make(&path, 1);
    put(&connection, "t", "s", 1.0, &record("t"));
    connection
        .execute_batch("PRAGMA cache_size = 1; BEGIN")
        .unwrap();
    for n in 0..200 {
        put(&connection, &format!("{n}"), "s", 2.0, &"x".repeat(5000));
    }
    let copy = folder.path().join("copy.db");
    fs::copy(&path, &copy).unwrap();
    fs::copy(
        folder.path().join("old.db-journal"),
        folder.path().join("copy.db-journal"),
    )
    .unwrap();
    drop(connection);
    let before = contents(folder.path());
    let error = PythonDatabase::open(&copy).err().unwrap();
    assert!(
        matches!(error, PythonDatabaseError::HalfWritten { .. }),
        "{error:?}"
    );
    assert!(before == contents(folder.path()), "it was touched");
}

#[test]
fn runs_are_read_whatever_their_metadata() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("old.db");
    let connection = make(&path, 1);
    assert_eq!(PythonDatabase::open(&path).unwrap().runs().unwrap(), []);
    connection.execute_batch(WITH_RUNS).unwrap();
    let sql = "INSERT INTO runs VALUES (?, ?, ?, ?)";
    for (run_id, metadata) in [
        ("b", r#"{"k": 1.0}"#),
        ("broken", "{"),
        ("list", "[1]"),
        ("nan", r#"{"k": NaN}"#),
        ("", "{}"),
    ] {
        connection
            .execute(sql, params![run_id, 5.5, None::<f64>, metadata])
            .unwrap();
    }
    connection
        .execute(sql, params!["a", 1.0, 2.0, "{}"])
        .unwrap();
    let runs = PythonDatabase::open(&path).unwrap().runs().unwrap();
    let shown = runs.iter().map(|run| {
        format!(
            "{} {} {:?} {}",
            run.run_id, run.started_at, run.ended_at, run.metadata
        )
    });
    insta::assert_snapshot!(shown.collect::<Vec<_>>().join("\n"), @r#"
    a 1 Some(2.0) {}
    b 5.5 None {"k": 1.0}
    broken 5.5 None {}
    list 5.5 None {}
    nan 5.5 None {"k": null}
    "#);
}

/// Rows that hold what Python could not have written.
#[test]
fn odd_rows_do_not_hide_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("old.db");
    let connection = make(&path, 1);
    put(&connection, "first", "s", 1.0, &record("first"));
    connection
        .execute_batch(
            "INSERT INTO traces VALUES (NULL, '{}', 2.0);
            INSERT INTO traces VALUES (x'FF00', '{}', 3.0);
            INSERT INTO traces VALUES (CAST(x'FF' AS TEXT), '{}', 4.0);
            INSERT INTO traces VALUES ('a time that is a text', '{}', 'noon');
            INSERT INTO traces VALUES ('bytes', x'FF', 5.0);
            INSERT INTO traces VALUES ('broken', '{\"a\": ', 6.0);
            INSERT INTO traces VALUES ('no session', '{}', 7.0);",
        )
        .unwrap();
    put(&connection, "last", "s", 9.0, &record("last"));
    let (traces, unreadable) = read(&mut PythonDatabase::open(&path).unwrap());
    assert_eq!(ids(&traces), "first bytes broken no session last");
    let kept: Vec<_> = traces
        .iter()
        .map(|trace| trace.import().unreadable.is_some())
        .collect();
    assert_eq!(kept, [false, true, true, false, false]);
    let names: Vec<_> = unreadable.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["row 2", "row 3", "row 4", "a time that is a text"]);
}

#[test]
fn damage_hides_only_what_it_hits() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("old.db");
    let connection = make(&path, 1);
    for n in 0..60 {
        let data = format!(
            r#"{{"trace_id": "{n}", "mark": "MARK{n}"}}{}"#,
            " ".repeat(9000)
        );
        put(&connection, &format!("t{n}"), "s", f64::from(n), &data);
    }
    connection.close().unwrap();
    let mut bytes = fs::read(&path).unwrap();
    let page = usize::from(u16::from_be_bytes([bytes[16], bytes[17]]));
    let mark = bytes
        .windows(6)
        .position(|window| window == b"MARK30")
        .unwrap();
    let start = mark / page * page;
    bytes[start..start + page].fill(0xA5);
    fs::write(&path, bytes).unwrap();

    let mut old = PythonDatabase::open(&path).unwrap();
    let (traces, unreadable) = read(&mut old);
    assert!(
        !unreadable.is_empty() && traces.len() > 50,
        "{unreadable:?}"
    );
    assert_eq!(traces.len() + unreadable.len(), 60);
    assert!(
        unreadable.iter().any(|(name, _)| name == "row 31"),
        "{unreadable:?}"
    );
}

#[test]
fn other_files_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    sqlite(
        &path("foreign.db"),
        "CREATE TABLE traces (trace_id, data, created_at)",
    );
    sqlite(&path("notes.db"), "CREATE TABLE notes (id)");
    fs::write(path("text.db"), "x".repeat(500)).unwrap();
    fs::write(path("empty.db"), "").unwrap();
    let mut torn = {
        make(&path("torn.db"), 1).close().unwrap();
        fs::read(path("torn.db")).unwrap()
    };
    torn[100..].fill(0xA5);
    fs::write(path("torn.db"), torn).unwrap();
    for (file, words) in [
        (path("foreign.db"), "belongs to another program"),
        (path("notes.db"), "belongs to another program"),
        (path("text.db"), "it is not an SQLite database"),
        (path("empty.db"), "it is not an SQLite database"),
        (path("torn.db"), "is damaged"),
        (path("missing.db"), "cannot open"),
        (PathBuf::from("/dev/null"), "cannot open"),
        (ours(folder.path()), "is a database of this gateway already"),
    ] {
        let before = contents(folder.path());
        let error = PythonDatabase::open(&file).err().unwrap().to_string();
        assert!(error.contains(words), "{}: {error}", file.display());
        assert!(error.contains(file.to_str().unwrap()), "{error}");
        assert!(
            before == contents(folder.path()),
            "{} was touched",
            file.display()
        );
    }
}

#[test]
fn one_that_is_to_be_served_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    for form in 1..=3 {
        let path = folder.path().join(format!("{form}.db"));
        let connection = make(&path, form);
        put(&connection, "t", "s", 1.0, &record("t"));
        connection.close().unwrap();
        let error = refused(&path);
        assert!(
            matches!(error, StoreError::PythonReference { .. }),
            "{error:?}"
        );
        let command = format!("`rllm-model-gateway import {}`", path.display());
        assert!(error.to_string().contains(&command), "{error}");
    }
}
