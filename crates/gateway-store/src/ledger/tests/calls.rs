//! Calls that go well.

use std::collections::HashSet;
use std::time::Duration;

use super::{admit, call, delete, listed, open, open_with, reply, store};
use crate::change::{Change, Scope};
use crate::ledger::calls::Calls;
use crate::ledger::{Changed, Counters, Durability, LedgerOptions, ReceiptMissed, Unavailable};

#[tokio::test]
async fn a_finished_call_is_read_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path(), &store());
    assert_eq!(listed(&ledger, "s").await, "");
    for n in 0..20 {
        call(&ledger, &format!("t{n}"), "s").await;
        assert!(
            listed(&ledger, "s")
                .await
                .ends_with(&format!("t{n}:completed"))
        );
    }
    // Without waiting for the receipt, too.
    admit(&ledger, "last", "s").await;
    drop(ledger.finish("last", &reply()));
    assert!(listed(&ledger, "s").await.ends_with("last:completed"));
    ledger.close().await.unwrap();
}

#[tokio::test]
async fn a_session_lists_calls_as_they_arrived() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path(), &store());
    for id in ["a", "b", "c"] {
        admit(&ledger, id, "s").await;
    }
    for id in ["c", "a", "b"] {
        ledger.finish(id, &reply()).await.unwrap();
    }
    assert_eq!(
        listed(&ledger, "s").await,
        "a:completed b:completed c:completed"
    );
}

#[tokio::test]
async fn only_the_first_end_of_a_call_counts() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path(), &store());
    ledger.finish("unknown", &reply()).await.unwrap();
    call(&ledger, "a", "s").await;
    ledger
        .finish("a", &super::Reply::interrupted(None))
        .await
        .unwrap();
    ledger.partial("a", &reply());
    assert_eq!(listed(&ledger, "s").await, "a:completed");
    assert_eq!(ledger.counters().persisted, 1);
}

#[tokio::test]
async fn the_counters_add_up() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path(), &store());
    let counted = |accepted, persisted, deleted, in_flight| {
        assert_eq!(
            ledger.counters(),
            Counters {
                accepted,
                persisted,
                deleted,
                in_flight
            }
        );
    };
    counted(0, 0, 0, 0);
    admit(&ledger, "a", "s").await;
    admit(&ledger, "b", "s").await;
    counted(2, 0, 0, 2);
    ledger.finish("a", &reply()).await.unwrap();
    counted(2, 1, 0, 1);
    let changed = ledger.change(delete("s")).await.unwrap();
    assert_eq!(
        changed,
        Changed {
            deleted: 1,
            overtaken: 1
        }
    );
    counted(2, 1, 0, 1);
    ledger.finish("b", &reply()).await.unwrap();
    counted(2, 1, 1, 0);
}

#[tokio::test]
async fn background_durability_waits_for_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let options = LedgerOptions {
        durability: Durability::Background,
        ..LedgerOptions::new(folder.path().join("journal"))
    };
    let ledger = open_with(&options, &store());
    admit(&ledger, "a", "s").await;
    let mut receipt = ledger.finish("a", &reply());
    let told = std::future::poll_fn(|cx| {
        std::task::Poll::Ready(std::pin::Pin::new(&mut receipt).poll(cx))
    });
    assert_eq!(told.await, std::task::Poll::Ready(Ok(())));
    assert_eq!(listed(&ledger, "s").await, "a:completed");
}

#[tokio::test]
async fn a_change_tells_what_it_has_done() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path(), &store());
    for (id, session) in [("a", "s"), ("b", "s"), ("c", "t"), ("d", "u")] {
        call(&ledger, id, session).await;
    }
    admit(&ledger, "e", "t").await;
    let delete = Change::DeleteSessions {
        session_ids: ["s", "t", "none", "s"].map(str::to_owned).to_vec(),
        scope: Scope::All,
    };
    assert_eq!(
        ledger.change(delete).await.unwrap(),
        Changed {
            deleted: 3,
            overtaken: 1
        }
    );
    assert_eq!(listed(&ledger, "u").await, "d:completed");
    let run = Change::EndRun {
        run_id: "r".to_owned(),
        at: 1.0,
    };
    assert_eq!(ledger.change(run).await.unwrap(), Changed::default());
}

#[tokio::test]
async fn many_calls_at_once_are_all_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path(), &store());
    let mut calls = tokio::task::JoinSet::new();
    for session in 0..200 {
        let ledger = ledger.clone();
        calls.spawn(async move {
            for turn in 0..5 {
                call(
                    &ledger,
                    &format!("{session}-{turn}"),
                    &format!("s{session}"),
                )
                .await;
            }
        });
    }
    calls.join_all().await;
    ledger.flush().await.unwrap();
    for session in 0..200 {
        let expected: Vec<_> = (0..5)
            .map(|turn| format!("{session}-{turn}:completed"))
            .collect();
        assert_eq!(
            listed(&ledger, &format!("s{session}")).await,
            expected.join(" ")
        );
    }
    assert_eq!(ledger.counters().persisted, 1000);
    let status = ledger.status();
    assert_eq!(
        (
            status.lag_entries,
            status.receipts_missed,
            status.unreadable
        ),
        (0, 0, 0)
    );
}

#[tokio::test]
async fn a_closed_ledger_takes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path(), &store());
    call(&ledger, "a", "s").await;
    admit(&ledger, "b", "s").await;
    ledger.close().await.unwrap();
    let refused = ledger
        .admit(&crate::contract::Sample::new("c", "s").call)
        .await;
    assert_eq!(refused, Err(Unavailable::Closed));
    assert_eq!(ledger.finish("b", &reply()).await, Err(ReceiptMissed));
    assert_eq!(ledger.counters().in_flight, 1);
}

#[test]
fn works_on_a_runtime_of_many_threads_and_after_it() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .unwrap();
    let store = store();
    let ledger = runtime.block_on(async { open(folder.path(), &store) });
    runtime.block_on(call(&ledger, "a", "s"));
    runtime.shutdown_timeout(Duration::from_secs(5));
    // Dropped outside of any runtime: what is journalled is on disk.
    drop(ledger);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async {
        let ledger = open(folder.path(), &store);
        assert_eq!(listed(&ledger, "s").await, "a:completed");
    });
}

/// A carried intent that stood behind the call's end, or behind a deletion that had overtaken it,
/// would bring the call back to life at the next start.
#[test]
fn only_a_call_that_is_open_where_its_intent_comes_to_stand_is_carried() {
    let mut calls = Calls::default();
    for id in ["open", "ended", "overtaken", "partial"] {
        calls.admit(id, if id == "overtaken" { "t" } else { "s" }, None);
        assert!(calls.can_be_carried(id));
    }
    calls.finish("ended", 5, None);
    calls.overtake(&HashSet::from(["t"]), &Scope::All);
    calls.note_partial("partial");
    for (id, can_be) in [
        ("open", true),
        ("ended", false),
        ("overtaken", false),
        ("partial", false),
    ] {
        assert_eq!(calls.can_be_carried(id), can_be, "{id}");
    }
}
