//! Other processes at the file.

use gateway_store::contract::{Sample, Writer};
use gateway_store::{StoreError, TraceStore};
use rusqlite::Connection;

use super::open;

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
