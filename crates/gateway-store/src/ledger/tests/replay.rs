//! What a start makes of what the run before has left.

use std::fs;
use std::sync::Arc;

use bytes::Bytes;
use gateway_journal::{Journal, Options, SyncMode};
use gateway_trace::Outcome;

use super::{admit, call, listed, open, reply, store};
use crate::contract::Sample;
use crate::ledger::{Ledger, LedgerOptions, OpenError};
use crate::store::TraceStore;

#[tokio::test]
async fn what_the_store_did_not_take_is_carried_there() {
    let folder = tempfile::tempdir().unwrap();
    let store = store();
    store.lock(true);
    let ledger = open(folder.path(), &store);
    for n in 0..600 {
        call(&ledger, &format!("{n}"), "s").await;
    }
    drop(ledger);
    assert_eq!(store.position().unwrap(), None);
    store.lock(false);
    let ledger = open(folder.path(), &store);
    assert_eq!(listed(&ledger, "s").await.split(' ').count(), 600);
    assert!(ledger.status().replayed);
    assert_eq!(ledger.counters().accepted, 0, "they were another run's");
}

#[tokio::test]
async fn a_replay_of_what_is_stored_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = store();
    let ledger = open(folder.path(), &store);
    // This one stays open, so that all that follows it is replayed.
    admit(&ledger, "open", "s").await;
    for id in ["a", "b"] {
        call(&ledger, id, "s").await;
    }
    let before = listed(&ledger, "s").await;
    drop(ledger);
    for _ in 0..3 {
        let ledger = open(folder.path(), &store);
        assert_eq!(
            listed(&ledger, "s").await,
            format!("open:interrupted {before}")
        );
    }
}

#[tokio::test]
async fn a_call_without_an_end_was_interrupted() {
    let folder = tempfile::tempdir().unwrap();
    let store = store();
    let ledger = open(folder.path(), &store);
    for id in ["nothing", "something", "ended"] {
        admit(&ledger, id, "s").await;
    }
    let mut received = reply();
    received.body = Bytes::from_static(b"so far");
    for id in ["something", "ended"] {
        ledger.partial(id, &received);
    }
    ledger.finish("ended", &reply()).await.unwrap();
    drop(ledger);
    let ledger = open(folder.path(), &store);
    assert_eq!(
        listed(&ledger, "s").await,
        "nothing:interrupted something:interrupted ended:completed"
    );
    let trace = ledger
        .read(|store| store.trace("something"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(trace.reply.body, "so far");
    assert_eq!(trace.reply.meta.outcome, Outcome::Interrupted);
    assert_eq!(
        trace.call,
        crate::contract::Sample::new("something", "s").call
    );
    // The calls of this run are not taken for those of the last one.
    admit(&ledger, "new", "s").await;
    assert!(!listed(&ledger, "s").await.contains("new"));
}

#[tokio::test]
async fn a_store_that_vanished_gets_what_the_journal_has() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path(), &store());
    call(&ledger, "a", "s").await;
    call(&ledger, "b", "gone").await;
    ledger.change(super::delete("gone")).await.unwrap();
    ledger.close().await.unwrap();
    let ledger = open(folder.path(), &store());
    assert_eq!(listed(&ledger, "s").await, "a:completed");
    assert_eq!(listed(&ledger, "gone").await, "");
}

#[tokio::test]
async fn a_journal_that_vanished_is_begun_anew_behind_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let store = store();
    let ledger = open(folder.path(), &store);
    let instance_id = ledger.instance_id().to_owned();
    for id in ["a", "b", "c"] {
        call(&ledger, id, "s").await;
    }
    ledger.close().await.unwrap();
    drop(ledger);
    let ledger = open(folder.path(), &store);
    assert_eq!(ledger.instance_id(), instance_id);
    drop(ledger);
    fs::remove_dir_all(folder.path().join("journal")).unwrap();
    let ledger = open(folder.path(), &store);
    assert_ne!(ledger.instance_id(), instance_id);
    call(&ledger, "d", "s").await;
    assert_eq!(
        listed(&ledger, "s").await,
        "a:completed b:completed c:completed d:completed"
    );
}

#[tokio::test]
async fn an_old_journal_that_was_put_back_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, copy) = (folder.path().join("journal"), folder.path().join("copy"));
    let store = store();
    drop(open(folder.path(), &store));
    fs::create_dir(&copy).unwrap();
    for entry in fs::read_dir(&journal).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), copy.join(entry.file_name())).unwrap();
    }
    let ledger = open(folder.path(), &store);
    call(&ledger, "a", "s").await;
    ledger.close().await.unwrap();
    drop(ledger);
    let error = Ledger::open(
        LedgerOptions::new(&copy),
        Arc::clone(&store) as Arc<dyn TraceStore>,
    );
    let error = error.err().expect("it is refused");
    assert!(
        matches!(error, OpenError::JournalBehindStore { .. }),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_journal_in_use_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store = store();
    let _ledger = open(folder.path(), &store);
    let options = LedgerOptions::new(folder.path().join("journal"));
    let error = Ledger::open(options, Arc::clone(&store) as Arc<dyn TraceStore>)
        .err()
        .unwrap();
    assert!(
        matches!(
            error,
            OpenError::Journal(gateway_journal::OpenError::Locked { .. })
        ),
        "{error:?}"
    );
}

#[tokio::test]
async fn an_entry_that_cannot_be_decoded_is_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let store = store();
    let ledger = open(folder.path(), &store);
    call(&ledger, "a", "s").await;
    drop(ledger);
    let journal = Journal::open(folder.path().join("journal"), Options::default(), |_| {}).unwrap();
    for entry in [
        &b""[..],
        b"\x01",
        b"\x01\x01short",
        b"\x09\x01",
        b"\x01\x02",
        b"\x05\x01{}",
    ] {
        journal.append(entry.to_vec(), SyncMode::Now).unwrap();
    }
    drop(journal);
    let ledger = open(folder.path(), &store);
    call(&ledger, "b", "s").await;
    assert_eq!(listed(&ledger, "s").await, "a:completed b:completed");
    assert_eq!(ledger.status().unreadable, 6);
}

/// There is no moment at which a crash leaves an imported call without its end.
#[tokio::test]
async fn an_imported_call_is_there_whole_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let store = store();
    store.lock(true);
    let ledger = open(folder.path(), &store);
    admit(&ledger, "open", "s").await;
    for id in ["a", "b", "a"] {
        let Sample { call, reply } = Sample::new(id, "s");
        ledger.import(&call, &reply).await.expect("there is room");
    }
    assert_eq!(ledger.counters().accepted, 1, "imported calls do not count");
    drop(ledger);
    store.lock(false);
    for _ in 0..3 {
        let ledger = open(folder.path(), &store);
        assert_eq!(
            listed(&ledger, "s").await,
            "open:interrupted a:completed b:completed"
        );
    }
}
