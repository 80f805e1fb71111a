//! What is opened, what is refused, and that what is refused is left alone.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use gateway_store::contract::{Sample, Writer};
use gateway_store::{StoreError, TraceStore};
use rusqlite::Connection;

use super::open;
use crate::SqliteStore;
use crate::schema::{APPLICATION_ID, VERSION};

/// A database of ours with some traces in it, closed.
pub(super) fn ours(folder: &Path) -> PathBuf {
    let path = folder.join("ours.db");
    let store = open(&path);
    let mut writer = Writer::new(&store);
    for n in 0..200 {
        writer.trace(Sample::new(&format!("t{n}"), "s").run("r"));
    }
    path
}

/// Checks that opening `path` fails, and changes neither the file nor its folder.
pub(super) fn refused(path: &Path) -> StoreError {
    let state = || {
        let mut entries: Vec<_> = fs::read_dir(path.parent().unwrap())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        entries.sort();
        (
            fs::read(path).unwrap(),
            fs::metadata(path).unwrap().modified().unwrap(),
            entries,
        )
    };
    let before = state();
    let error = SqliteStore::open(path).err().expect("the file is refused");
    assert!(before == state(), "the file was touched");
    assert!(
        error.to_string().contains(path.to_str().unwrap()),
        "{error}"
    );
    error
}

pub(super) fn sqlite(path: &Path, sql: &str) {
    Connection::open(path).unwrap().execute_batch(sql).unwrap();
}

#[test]
fn a_new_file_is_private_and_laid_out_for_good() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new folder/ä?#%.db");
    let store = open(&path);
    Writer::new(&store).trace(Sample::new("t", "s"));
    let beside: Vec<_> = fs::read_dir(path.parent().unwrap()).unwrap().collect();
    assert_eq!(beside.len(), 3, "the file, its WAL and its index");
    for entry in beside {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", entry.path().display());
    }
    drop(store);
    let connection = Connection::open(&path).unwrap();
    let pragma = |name| -> String {
        let value: rusqlite::types::Value = connection
            .pragma_query_value(None, name, |row| row.get(0))
            .unwrap();
        match value {
            rusqlite::types::Value::Integer(number) => number.to_string(),
            rusqlite::types::Value::Text(text) => text,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(pragma("application_id"), APPLICATION_ID.to_string());
    assert_eq!(pragma("user_version"), VERSION.to_string());
    assert_eq!(pragma("page_size"), "32768");
    assert_eq!(pragma("auto_vacuum"), "2");
    assert_eq!(pragma("journal_mode"), "wal");
}

#[test]
fn what_was_written_is_there_when_it_is_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = ours(folder.path());
    let store = open(&path);
    assert_eq!(store.count(&Default::default()).unwrap(), 200);
    assert_eq!(store.last_arrival().unwrap(), 200);
    assert_eq!(store.position().unwrap().unwrap().applied, 200);
    assert_eq!(store.trace("t7").unwrap().unwrap().commit_seq, 8);
    drop(store);
    let left = fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(left, 1, "a store that was closed is one file");
}

#[test]
fn a_file_that_was_not_closed_is_opened_with_its_wal() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("crashed.db");
    let store = open(&path);
    Writer::new(&store).trace(Sample::new("t", "s"));
    let copy = folder.path().join("copy.db");
    fs::copy(&path, &copy).unwrap();
    fs::copy(
        folder.path().join("crashed.db-wal"),
        folder.path().join("copy.db-wal"),
    )
    .unwrap();
    assert!(open(&copy).trace("t").unwrap().is_some());
}

#[test]
fn an_empty_file_is_made_ours() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("empty.db");
    fs::write(&path, b"").unwrap();
    assert_eq!(open(&path).position().unwrap(), None);
}

#[test]
fn what_is_no_file_is_refused_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let [socket, fifo, directory, link] =
        ["socket", "fifo", "directory", "link"].map(|name| folder.path().join(name));
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let made = std::process::Command::new("mkfifo").arg(&fifo).status();
    assert!(made.unwrap().success());
    fs::create_dir(&directory).unwrap();
    symlink("fifo", &link).unwrap();
    for path in [&socket, &fifo, &directory, &link] {
        let kind = || fs::symlink_metadata(path).unwrap().file_type();
        let before = kind();
        let Err(error) = SqliteStore::open(path) else {
            panic!("{} was opened", path.display());
        };
        assert!(matches!(error, StoreError::Open { .. }), "{error:?}");
        assert_eq!(kind(), before);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 4);
    }
}

#[test]
fn a_link_is_followed_and_stays_one() {
    let folder = tempfile::tempdir().unwrap();
    let below = |name: &str| folder.path().join(name);
    fs::create_dir(below("folder")).unwrap();
    symlink("folder", below("link")).unwrap();
    symlink("link/target.db", below("link.db")).unwrap();

    // To nothing.
    let error = SqliteStore::open(below("link.db")).err().unwrap();
    assert!(matches!(error, StoreError::Open { .. }), "{error:?}");
    assert_eq!(fs::read_dir(below("folder")).unwrap().count(), 0);

    // To an empty file.
    let target = below("folder/target.db");
    fs::write(&target, b"").unwrap();
    let store = open(&below("link.db"));
    Writer::new(&store).trace(Sample::new("t", "s"));
    assert_eq!(store.path(), target.canonicalize().unwrap());
    drop(store);
    assert!(below("link.db").is_symlink());
    for path in [target, below("link.db"), below("link/target.db")] {
        assert!(open(&path).trace("t").unwrap().is_some());
    }
    assert!(!below("new.db").exists());
    assert_eq!(open(&below("link/new.db")).path(), below("folder/new.db"));
}

#[test]
fn a_foreign_database_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("foreign.db");
    sqlite(
        &path,
        "CREATE TABLE notes (id INTEGER); INSERT INTO notes VALUES (1)",
    );
    assert!(matches!(refused(&path), StoreError::Foreign { .. }));
    sqlite(&path, "PRAGMA application_id = 77");
    assert!(matches!(refused(&path), StoreError::Foreign { .. }));
    sqlite(&path, "PRAGMA journal_mode = WAL");
    assert!(matches!(refused(&path), StoreError::Foreign { .. }));
}

#[test]
fn defect_12_a_database_of_another_version_is_refused_not_recreated() {
    let folder = tempfile::tempdir().unwrap();
    let path = ours(folder.path());
    sqlite(&path, "PRAGMA user_version = 3");
    assert!(matches!(
        refused(&path),
        StoreError::Newer {
            found: 3,
            known: 2,
            ..
        }
    ));
    sqlite(&path, "PRAGMA user_version = 0");
    assert!(matches!(refused(&path), StoreError::Damaged { .. }));
    sqlite(&path, "PRAGMA user_version = 2");
    assert_eq!(open(&path).count(&Default::default()).unwrap(), 200);
}

#[test]
fn a_damaged_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let whole = fs::read(ours(folder.path())).unwrap();
    let page = 32 << 10;
    type Damage = fn(&mut Vec<u8>);
    let cases: [(&str, Damage); 6] = [
        ("text", |bytes| {
            *bytes = b"{\"not\": \"a database\"}".to_vec();
        }),
        ("long text", |bytes| *bytes = vec![b'x'; 4096]),
        ("a short header", |bytes| bytes.truncate(50)),
        ("a page size of nonsense", |bytes| {
            bytes[16..18].copy_from_slice(&[1, 1]);
        }),
        ("half of it", |bytes| bytes.truncate(bytes.len() / 2)),
        ("a page of noise", |bytes| {
            let pages = bytes.len() / (32 << 10);
            bytes[(pages / 2) * (32 << 10)..][..4096].fill(0xA5);
        }),
    ];
    assert!(whole.len() > 8 * page);
    for (name, damage) in cases {
        let path = folder.path().join("damaged.db");
        let mut bytes = whole.clone();
        damage(&mut bytes);
        fs::write(&path, bytes).unwrap();
        let error = refused(&path);
        assert!(
            matches!(error, StoreError::Damaged { .. }),
            "{name}: {error:?}"
        );
    }
}

#[test]
fn a_file_without_a_table_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = ours(folder.path());
    sqlite(&path, "DROP TABLE bodies");
    let error = refused(&path);
    assert!(error.to_string().contains("TABLE bodies"), "{error}");
}

#[test]
fn what_cannot_be_opened_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, b"").unwrap();
    for path in [file.join("below.db"), folder.path().to_owned()] {
        let error = SqliteStore::open(&path).err().expect("it is refused");
        assert!(
            matches!(error, StoreError::Open { .. } | StoreError::Damaged { .. }),
            "{error:?}"
        );
    }
}

#[test]
fn defect_17_one_bad_trace_does_not_break_a_listing() {
    let folder = tempfile::tempdir().unwrap();
    let path = ours(folder.path());
    sqlite(
        &path,
        "UPDATE contents SET call_meta = '{\"lone\": \"', reply_meta = 'Infinity'
        WHERE commit_seq = 3",
    );
    let store = open(&path);
    let all = gateway_store::SessionTraces::all("s", gateway_store::Scope::All);
    let traces = store.session_traces(&all).unwrap();
    assert_eq!(traces.len(), 200);
    assert_eq!(traces[2].call.meta.trace_id, "t2");
    assert_eq!(traces[2].call.meta.identity.run_id.as_deref(), Some("r"));
    assert_eq!(traces[2].reply.meta.notes.len(), 1);
}
