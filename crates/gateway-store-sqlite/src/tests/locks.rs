//! Other processes at the file.

use std::error::Error as _;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::sync::Arc;

use gateway_store::contract::{Sample, Writer};
use gateway_store::{Ledger, LedgerOptions, Scope, SessionTraces, StoreError, TraceStore};
use rusqlite::Connection;

use super::open;
use crate::SqliteStore;

#[test]
fn one_gateway_at_a_time_by_whatever_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gateway.db");
    let store = open(&path);
    let mut writer = Writer::new(&store);
    writer.trace(Sample::new("before", "s"));
    let [link, hard_link, linked_folder] =
        ["link.db", "hard.db", "folder"].map(|name| folder.path().join(name));
    symlink(&path, &link).unwrap();
    fs::hard_link(&path, &hard_link).unwrap();
    symlink(".", &linked_folder).unwrap();
    let names = [&path, &link, &hard_link, &linked_folder.join("gateway.db")];
    let before = record_locks(&path);
    assert!(
        before > 0,
        "SQLite holds one for as long as it has the file"
    );
    for name in names {
        let error = SqliteStore::open(name).err().expect("it is in use");
        assert!(matches!(error, StoreError::InUse { .. }), "{error:?}");
    }
    assert_eq!(record_locks(&path), before, "SQLite lost a lock");
    // Other programs may read and write beside the gateway as ever.
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE; ROLLBACK").unwrap();
    writer.trace(Sample::new("after", "s"));
    drop((store, other));
    for name in names {
        assert_eq!(open(name).count(&Default::default()).unwrap(), 2);
    }
}

#[test]
fn a_file_is_checked_with_what_its_wal_holds_by_whatever_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gateway.db");
    let store = open(&path);
    Writer::new(&store).trace(Sample::new("a", "s"));
    let [link, hard_link] = ["link.db", "hard.db"].map(|name| folder.path().join(name));
    symlink(&path, &link).unwrap();
    for name in [&path, &link] {
        assert_eq!(SqliteStore::check(name).unwrap().traces, 1);
    }
    fs::hard_link(&path, &hard_link).unwrap();
    assert_eq!(SqliteStore::check(&path).unwrap().traces, 1);
    // Its WAL lies beside the other name, and nobody can tell.
    let error = SqliteStore::check(&hard_link).unwrap_err();
    assert!(error.source().unwrap().to_string().contains("another name"));
}

/// How many record locks, SQLite's kind, this process has on a file.
fn record_locks(path: &Path) -> usize {
    let (own, inode) = (
        format!(" {} ", std::process::id()),
        format!(":{} ", fs::metadata(path).unwrap().ino()),
    );
    let locks = fs::read_to_string("/proc/locks").unwrap();
    let of_file = locks
        .lines()
        .filter(|line| line.contains(" POSIX ") && line.contains(&own) && line.contains(&inode));
    of_file.count()
}

#[test]
fn a_locked_database_refuses_a_batch_and_takes_it_later() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gateway.db");
    let store = open(&path);
    let mut writer = Writer::new(&store);
    writer.trace(Sample::new("before", "s"));
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let batch = writer.batch([Sample::new("t", "s").write(2)]);
    assert!(matches!(store.apply(&batch), Err(StoreError::Locked)));
    assert!(
        store.trace("before").unwrap().is_some(),
        "readers see what was committed"
    );
    assert!(store.trace("t").unwrap().is_none());
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(store.apply(&batch).unwrap().traces, 1);
}

#[test]
fn a_database_that_is_locked_at_the_start_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gateway.db");
    Writer::new(&open(&path)).trace(Sample::new("t", "s"));
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    assert!(open(&path).trace("t").unwrap().is_some());
}

#[test]
fn a_read_sees_one_state() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().join("gateway.db"));
    let mut writer = Writer::new(&store);
    writer.trace(Sample::new("a", "s"));
    // More readers at once than there are connections.
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                for _ in 0..20 {
                    let session = store.session("s", &gateway_store::Scope::All).unwrap();
                    assert!(session.is_some());
                }
            });
        }
        for n in 0..20 {
            writer.trace(Sample::new(&format!("{n}"), "s"));
        }
    });
    assert_eq!(store.count(&Default::default()).unwrap(), 21);
}

#[tokio::test]
async fn defect_20_no_call_notices_a_locked_database_and_none_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gateway.db");
    let options = LedgerOptions::new(folder.path().join("gateway.db-journal.d"));
    let store: Arc<dyn TraceStore> = Arc::new(open(&path));
    let ledger = Ledger::open(options.clone(), store).unwrap();
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let reply = Sample::new("", "").reply;
    for n in 0..300 {
        let id = format!("t{n}");
        ledger.admit(&Sample::new(&id, "s").call).await.unwrap();
        if n % 3 > 0 {
            ledger.finish(&id, &reply).await.unwrap();
        }
    }
    while ledger.status().store.is_none() {
        tokio::task::yield_now().await;
    }
    assert_eq!(ledger.counters().persisted, 200);
    other.execute_batch("ROLLBACK").unwrap();
    ledger.flush().await.unwrap();
    let list = |ledger: Ledger, outcome| async move {
        let all = SessionTraces::all("s", Scope::All);
        let query = SessionTraces {
            outcome: Some(outcome),
            ..all
        };
        ledger
            .read(move |store| store.session_traces(&query))
            .await
            .unwrap()
            .len()
    };
    assert_eq!(
        list(ledger.clone(), gateway_trace::Outcome::Completed).await,
        200
    );
    // The next run finds the others interrupted, and nothing twice.
    drop(ledger);
    for _ in 0..2 {
        let store: Arc<dyn TraceStore> = Arc::new(open(&path));
        let ledger = Ledger::open(options.clone(), store).unwrap();
        assert_eq!(
            list(ledger.clone(), gateway_trace::Outcome::Completed).await,
            200
        );
        assert_eq!(list(ledger, gateway_trace::Outcome::Interrupted).await, 100);
    }
}
