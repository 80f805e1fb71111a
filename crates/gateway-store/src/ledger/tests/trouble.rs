//! A store that is locked, a disk that fails, a journal without room.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;

use super::{admit, call, delete, disk, listed, open, open_with, reply, store, until};
use crate::contract::Sample;
use crate::ledger::{
    ChangeError, Durability, Ledger, LedgerOptions, ReadError, ReceiptMissed, Unavailable,
};

fn read_one(ledger: &Ledger) -> impl Future<Output = Result<(), ReadError>> {
    ledger.read(|store| store.trace("a").map(|_| ()))
}

#[tokio::test]
async fn defect_20_a_locked_store_delays_no_call_and_loses_none() {
    let folder = tempfile::tempdir().unwrap();
    let store = store();
    let ledger = open(folder.path(), &store);
    call(&ledger, "a", "s").await;
    read_one(&ledger).await.unwrap();
    store.lock(true);
    for n in 0..50 {
        call(&ledger, &format!("b{n}"), "s").await;
    }
    until(|| ledger.status().store.is_some()).await;
    let status = ledger.status();
    assert!(status.store.unwrap().message.contains("locked"));
    assert!(status.lag_entries > 0 && status.lag_bytes > 0);
    assert_eq!((status.journal, status.counters.persisted), (None, 51));
    // Readers and management writes wait their time, then are refused; never a short list.
    tokio::time::pause();
    let patience = tokio::time::Instant::now();
    assert!(matches!(
        read_one(&ledger).await,
        Err(ReadError::Behind { .. })
    ));
    assert_eq!(patience.elapsed().as_secs(), 5);
    assert!(matches!(
        ledger.change(delete("t")).await,
        Err(ChangeError::Behind { .. })
    ));
    let patience = tokio::time::Instant::now();
    let failed = ledger.flush().await.unwrap_err();
    assert_eq!(patience.elapsed().as_secs(), 25);
    assert!(
        failed.not_stored > 0 && failed.not_durable == 0,
        "{failed:?}"
    );
    assert!(failed.to_string().contains("locked"), "{failed}");
    tokio::time::resume();
    store.lock(false);
    ledger.flush().await.unwrap();
    assert_eq!(listed(&ledger, "s").await.split(' ').count(), 51);
    assert_eq!(ledger.status().store, None);
}

#[tokio::test]
async fn defect_20_a_failing_disk_misses_receipts_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let options = LedgerOptions {
        durability: Durability::Receipt {
            timeout: Duration::from_millis(50),
        },
        ..LedgerOptions::new("")
    };
    let (ledger, failing) = disk::open(folder.path(), options, &store());
    call(&ledger, "a", "s").await;
    admit(&ledger, "b", "s").await;
    admit(&ledger, "c", "s").await;
    failing.store(true, Ordering::SeqCst);
    assert_eq!(ledger.finish("b", &reply()).await, Err(ReceiptMissed));
    until(|| ledger.status().journal.is_some()).await;
    assert_eq!(ledger.finish("c", &reply()).await, Err(ReceiptMissed));
    let status = ledger.status();
    assert!(status.journal.unwrap().message.contains("No space left"));
    assert_eq!((status.receipts_missed, status.receipts_overdue), (2, 2));
    assert_eq!(
        (status.counters.persisted, status.counters.in_flight),
        (1, 2)
    );
    let refused = ledger.admit(&Sample::new("d", "s").call).await.unwrap_err();
    assert!(
        matches!(refused, Unavailable::Failing { .. }),
        "{refused:?}"
    );
    let refused = ledger.change(delete("s")).await.unwrap_err();
    assert!(
        matches!(refused, ChangeError::Unavailable(_)),
        "{refused:?}"
    );
    tokio::time::pause();
    let failed = ledger.flush().await.unwrap_err();
    assert_eq!(failed.not_durable, 2);
    assert!(
        failed.to_string().contains("2 records are not on disk"),
        "{failed}"
    );
    tokio::time::resume();
    failing.store(false, Ordering::SeqCst);
    ledger.flush().await.unwrap();
    assert_eq!(
        listed(&ledger, "s").await,
        "a:completed b:completed c:completed"
    );
    let status = ledger.status();
    assert_eq!((status.receipts_missed, status.receipts_overdue), (2, 0));
    assert_eq!((status.journal, status.counters.persisted), (None, 3));
    call(&ledger, "d", "s").await;
}

#[tokio::test]
async fn durability_always_never_gives_up() {
    let folder = tempfile::tempdir().unwrap();
    let options = LedgerOptions {
        durability: Durability::Always,
        ..LedgerOptions::new("")
    };
    let (ledger, failing) = disk::open(folder.path(), options, &store());
    admit(&ledger, "a", "s").await;
    failing.store(true, Ordering::SeqCst);
    let receipt = tokio::spawn(ledger.finish("a", &reply()));
    until(|| ledger.status().journal.is_some()).await;
    tokio::time::pause();
    tokio::time::advance(Duration::from_millis(5500)).await;
    until(|| ledger.status().receipts_overdue > 0).await;
    tokio::time::advance(Duration::from_secs(3600)).await;
    tokio::time::resume();
    assert!(!receipt.is_finished());
    let status = ledger.status();
    assert_eq!((status.receipts_missed, status.receipts_overdue), (0, 1));
    failing.store(false, Ordering::SeqCst);
    receipt.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_ledger_closed_on_a_failing_disk_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let options = LedgerOptions {
        durability: Durability::Always,
        ..LedgerOptions::new("")
    };
    let (ledger, failing) = disk::open(folder.path(), options, &store());
    admit(&ledger, "a", "s").await;
    failing.store(true, Ordering::SeqCst);
    let receipt = ledger.finish("a", &reply());
    tokio::time::pause();
    let closed = ledger.close().await.unwrap_err();
    assert!(
        matches!(closed, crate::ledger::CloseError::NotDurable(_)),
        "{closed:?}"
    );
    assert_eq!(receipt.await, Err(ReceiptMissed));
}

/// A small journal: 64 KiB.
fn small(folder: &std::path::Path) -> LedgerOptions {
    LedgerOptions {
        capacity: 64 << 10,
        admit_timeout: Duration::from_secs(60),
        ..LedgerOptions::new(folder.join("journal"))
    }
}

/// A call with a request of some KiB.
fn large(trace_id: &str) -> Sample {
    let mut sample = Sample::new(trace_id, "s");
    sample.call.request = Bytes::from(vec![b' '; 4 << 10]);
    sample
}

#[tokio::test]
async fn a_call_waits_for_room_and_is_turned_away_without() {
    let folder = tempfile::tempdir().unwrap();
    let store = store();
    let ledger = open_with(&small(folder.path()), &store);
    store.lock(true);
    let mut admitted = 0;
    let refused = loop {
        let call = large(&format!("t{admitted}")).call;
        match futures_now(ledger.admit(&call)) {
            Some(answer) => answer.unwrap(),
            None => break call,
        }
        ledger.finish(&call.meta.trace_id, &reply()).await.unwrap();
        admitted += 1;
        assert!(admitted < 100, "the journal is bounded");
    };
    assert!(admitted > 2);
    tokio::time::pause();
    let patience = tokio::time::Instant::now();
    assert_eq!(ledger.admit(&refused).await, Err(Unavailable::NoRoom));
    assert_eq!(patience.elapsed().as_secs(), 60);
    tokio::time::resume();
    let waiting = tokio::spawn({
        let ledger = ledger.clone();
        async move { ledger.admit(&refused).await }
    });
    tokio::task::yield_now().await;
    store.lock(false);
    waiting.await.unwrap().unwrap();
    assert_eq!(listed(&ledger, "s").await.split(' ').count(), admitted);
}

/// The answer of a future that has one at once.
fn futures_now<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = std::pin::pin!(future);
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    match future.as_mut().poll(&mut cx) {
        std::task::Poll::Ready(answer) => Some(answer),
        std::task::Poll::Pending => None,
    }
}

#[tokio::test]
async fn an_entry_that_never_fits_is_refused_or_cut() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open_with(&small(folder.path()), &store());
    let mut sample = Sample::new("a", "s");
    sample.call.request = Bytes::from(vec![b' '; 1 << 20]);
    let refused = ledger.admit(&sample.call).await.unwrap_err();
    assert!(
        matches!(refused, Unavailable::TooLarge { .. }),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_long_call_does_not_hold_the_journal_back() {
    let folder = tempfile::tempdir().unwrap();
    let store = store();
    let ledger = open_with(&small(folder.path()), &store);
    call(&ledger, "first", "s").await;
    ledger.admit(&large("long").call).await.unwrap();
    admit(&ledger, "deleted", "d").await;
    ledger.change(delete("d")).await.unwrap();
    // Many times what the journal holds.
    for n in 0..100 {
        let sample = large(&format!("t{n}"));
        ledger.admit(&sample.call).await.unwrap();
        ledger
            .finish(&sample.call.meta.trace_id, &reply())
            .await
            .unwrap();
    }
    ledger.finish("long", &reply()).await.unwrap();
    ledger.finish("deleted", &reply()).await.unwrap();
    let traces = listed(&ledger, "s").await;
    assert!(
        traces.starts_with("first:completed long:completed t0:completed"),
        "{traces}"
    );
    let long = ledger
        .read(|store| store.trace("long"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(long.call, large("long").call);
    assert_eq!(listed(&ledger, "d").await, "");
}

#[tokio::test]
async fn a_long_call_that_was_carried_forward_is_interrupted_once() {
    let folder = tempfile::tempdir().unwrap();
    let store = store();
    let ledger = open_with(&small(folder.path()), &store);
    ledger.admit(&large("long").call).await.unwrap();
    admit(&ledger, "deleted", "d").await;
    for n in 0..40 {
        let sample = large(&format!("t{n}"));
        ledger.admit(&sample.call).await.unwrap();
        ledger
            .finish(&sample.call.meta.trace_id, &reply())
            .await
            .unwrap();
    }
    ledger.change(delete("d")).await.unwrap();
    drop(ledger);
    let ledger = open_with(&small(folder.path()), &store);
    let traces = listed(&ledger, "s").await;
    assert!(
        traces.starts_with("long:interrupted t0:completed"),
        "{traces}"
    );
    assert_eq!(traces.matches("long").count(), 1);
    assert_eq!(listed(&ledger, "d").await, "");
}
