//! The full check: what is sound, and every kind of damage by its name.

use std::fs;

use gateway_store::contract::{Sample, Writer};
use gateway_store::{Scope, StoreError};
use gateway_trace::Outcome;

use super::files::{ours, sqlite};
use super::open;
use crate::{Sound, SqliteStore};

#[test]
fn a_store_is_sound_after_all_that_may_happen_to_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gateway.db");
    let store = open(&path);
    let mut writer = Writer::new(&store);
    let said = |text: &str| format!(r#"[{{"role":"user","content":"{text}"}}]"#);
    for n in 0..20 {
        writer.trace(
            Sample::new(&format!("a{n}"), "s")
                .run("r")
                .messages(&said("hi")),
        );
        writer.trace(Sample::new(&format!("b{n}"), "s"));
        writer.trace(Sample::new(&format!("c{n}"), &format!("s{n}")).outcome(Outcome::Truncated));
        writer.trace(Sample::new(&format!("d{n}"), "").run("r 2"));
    }
    for scope in [Scope::Run("r".to_owned()), Scope::All] {
        writer.delete_session("s", scope);
        writer.trace(Sample::new(&format!("after {}", writer.seq), "s"));
    }
    // With its WAL, while it is in use.
    let sound = SqliteStore::check(&path).unwrap();
    assert_eq!((sound.version, sound.older), (2, false));
    let before = fs::read(&path).unwrap();
    assert_eq!(SqliteStore::check(&path).unwrap(), sound);
    assert!(before == fs::read(&path).unwrap());
    drop(store);
    assert_eq!(SqliteStore::check(&path).unwrap(), sound);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn an_older_file_is_sound_and_stays_old() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gateway.db");
    sqlite(&path, include_str!("fixtures/version-1.sql"));
    let before = fs::read(&path).unwrap();
    let sound = SqliteStore::check(&path).unwrap();
    assert!(
        matches!(
            sound,
            Sound {
                version: 1,
                older: true,
                traces: 1..,
                ..
            }
        ),
        "{sound:?}"
    );
    assert!(before == fs::read(&path).unwrap());
    drop(open(&path));
    assert!(!SqliteStore::check(&path).unwrap().older);
}

#[test]
fn what_does_not_hold_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let whole = fs::read(ours(folder.path())).unwrap();
    let path = folder.path().join("damaged.db");
    for (sql, words) in [
        (
            "DELETE FROM progress",
            "its place in the journal is missing",
        ),
        (
            "DELETE FROM contents WHERE commit_seq = 7",
            "traces without contents: 1",
        ),
        (
            "DELETE FROM traces WHERE commit_seq = 7",
            "contents without a trace: 1",
        ),
        (
            "UPDATE contents SET request = 99999 WHERE commit_seq < 3",
            "requests that are missing: 2",
        ),
        (
            "UPDATE contents SET reply = 99999 WHERE commit_seq < 3",
            "replies that are missing: 2",
        ),
        (
            "INSERT INTO bodies (data) VALUES (x'00')",
            "bodies of no trace: 1",
        ),
        (
            "UPDATE traces SET session_id = 'x' WHERE commit_seq = 7",
            "traces of sessions that are not known: 1",
        ),
        (
            "UPDATE sessions SET total_count = 7",
            "sessions that miscount their traces: 1",
        ),
        (
            "UPDATE sessions SET trace_count = 7",
            "sessions that miscount their traces: 1",
        ),
        (
            "UPDATE sessions SET lines = 0",
            "traces on lines that their session has not begun: 200",
        ),
        ("DELETE FROM runs", "traces of runs that are not known: 200"),
        (
            "UPDATE progress SET last_commit = 198",
            "traces beyond the last commit: 2",
        ),
        (
            "UPDATE progress SET last_arrival = 199",
            "traces beyond the last arrival: 1",
        ),
        (
            "UPDATE traces SET created_at = 1 WHERE commit_seq = 9",
            "traces that are not in the order of time: 1",
        ),
        (
            "UPDATE contents SET call_meta = '{' WHERE commit_seq = 9",
            "trace t8 cannot be read",
        ),
        (
            "UPDATE contents SET reply_meta = '7' WHERE commit_seq = 9",
            "trace t8 cannot be read",
        ),
        (
            "UPDATE traces SET trace_id = 'x' WHERE commit_seq = 9",
            "trace x is listed as another one",
        ),
        (
            "DROP INDEX traces_by_run",
            "its schema lacks INDEX traces_by_run",
        ),
        (
            "PRAGMA writable_schema = 1; DELETE FROM sqlite_master WHERE name = 'bodies'",
            "its schema lacks TABLE bodies",
        ),
    ] {
        fs::write(&path, &whole).unwrap();
        sqlite(&path, sql);
        let before = fs::read(&path).unwrap();
        let error = SqliteStore::check(&path).unwrap_err();
        assert!(
            matches!(error, StoreError::Damaged { .. }),
            "{sql}: {error:?}"
        );
        assert!(error.to_string().contains(words), "{sql}: {error}");
        assert!(before == fs::read(&path).unwrap(), "{sql}: it was touched");
    }
}

/// What the quick check at the start does not look for.
#[test]
fn an_index_of_other_values_is_damage() {
    let folder = tempfile::tempdir().unwrap();
    let path = ours(folder.path());
    let rewrite = |from: &str, to: &str| {
        let sql = format!(
            "PRAGMA writable_schema = 1; UPDATE sqlite_master
                SET sql = replace(sql, '({from})', '({to})') WHERE name = 'traces_by_model'"
        );
        sqlite(&path, &sql);
    };
    rewrite("model", "harness");
    sqlite(&path, "REINDEX traces_by_model");
    rewrite("harness", "model");
    drop(open(&path));
    let error = SqliteStore::check(&path).unwrap_err();
    assert!(error.to_string().contains("traces_by_model"), "{error}");
}

#[test]
fn noise_in_any_page_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let whole = fs::read(ours(folder.path())).unwrap();
    let path = folder.path().join("damaged.db");
    let page = 32 << 10;
    for number in 1..whole.len() / page {
        let mut bytes = whole.clone();
        bytes[number * page..][..page].fill(0xA5);
        fs::write(&path, bytes).unwrap();
        let error = SqliteStore::check(&path).unwrap_err();
        assert!(
            matches!(error, StoreError::Damaged { .. }),
            "page {number}: {error:?}"
        );
    }
}

#[test]
fn files_of_others_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("other.db");
    sqlite(&path, "CREATE TABLE notes (id)");
    assert!(matches!(
        SqliteStore::check(&path),
        Err(StoreError::Foreign { .. })
    ));
    sqlite(
        &path,
        "CREATE TABLE traces (trace_id, data, created_at);
        CREATE TABLE trace_sessions (trace_id, session_id)",
    );
    assert!(matches!(
        SqliteStore::check(&path),
        Err(StoreError::PythonReference { .. })
    ));
    let missing = SqliteStore::check(folder.path().join("missing.db"));
    assert!(matches!(missing, Err(StoreError::Open { .. })));
    let newer = ours(folder.path());
    sqlite(&newer, "PRAGMA user_version = 3");
    assert!(matches!(
        SqliteStore::check(&newer),
        Err(StoreError::Newer { .. })
    ));
}
