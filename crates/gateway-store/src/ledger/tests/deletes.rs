//! Deletions that overtake calls in flight.

use super::{admit, call, change_or_give_up, delete, listed, open, reply, store};
use crate::change::{Change, Scope};
use crate::contract::Sample;

#[tokio::test]
async fn defect_20_a_delete_is_not_undone_by_a_late_write() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path(), &store());
    admit(&ledger, "before", "s").await;
    admit(&ledger, "other", "t").await;
    assert_eq!(ledger.change(delete("s")).await.unwrap().overtaken, 1);
    admit(&ledger, "after", "s").await;
    for id in ["before", "other", "after"] {
        ledger.finish(id, &reply()).await.unwrap();
    }
    assert_eq!(listed(&ledger, "s").await, "after:completed");
    assert_eq!(listed(&ledger, "t").await, "other:completed");
    let counters = ledger.counters();
    assert_eq!(
        (counters.persisted, counters.deleted, counters.in_flight),
        (2, 1, 0)
    );
}

#[tokio::test]
async fn defect_20_nor_by_one_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let store = store();
    for locked in [false, true] {
        let ledger = open(folder.path(), &store);
        admit(&ledger, "open", "s").await;
        admit(&ledger, "ended", "s").await;
        // A store that does not take the deletion in time gets it from the journal.
        store.lock(locked);
        let changed = change_or_give_up(&ledger, delete("s"), locked).await;
        assert_eq!(changed.is_err(), locked);
        ledger.finish("ended", &reply()).await.unwrap();
        drop(ledger);
        store.lock(false);
        let ledger = open(folder.path(), &store);
        assert_eq!(listed(&ledger, "s").await, "");
        call(&ledger, "new", "s").await;
        assert_eq!(listed(&ledger, "s").await, "new:completed");
        ledger.change(delete("s")).await.unwrap();
        ledger.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_deletion_of_many_sessions_is_one_change_in_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let store = store();
    let ledger = open(folder.path(), &store);
    for id in ["1", "2", "3"] {
        admit(&ledger, &format!("open-{id}"), id).await;
        call(&ledger, &format!("before-{id}"), id).await;
    }
    ledger.flush().await.unwrap();
    let many = (2..1000).map(|id| id.to_string()).collect();
    let delete = Change::DeleteSessions {
        session_ids: many,
        scope: Scope::All,
    };
    store.lock(true);
    change_or_give_up(&ledger, delete, true).await.unwrap_err();
    assert_eq!(ledger.status().lag_entries, 1);
    call(&ledger, "after-3", "3").await;
    drop(ledger);
    store.lock(false);
    let ledger = open(folder.path(), &store);
    assert_eq!(
        listed(&ledger, "1").await,
        "open-1:interrupted before-1:completed"
    );
    assert_eq!(listed(&ledger, "2").await, "");
    assert_eq!(listed(&ledger, "3").await, "after-3:completed");
}

#[tokio::test]
async fn a_deletion_within_a_run_overtakes_only_its_calls() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path(), &store());
    ledger
        .admit(&Sample::new("a", "s").run("one").call)
        .await
        .unwrap();
    ledger
        .admit(&Sample::new("b", "s").run("two").call)
        .await
        .unwrap();
    ledger.admit(&Sample::new("c", "s").call).await.unwrap();
    for scope in [Scope::Run("one".to_owned()), Scope::Run(String::new())] {
        let change = Change::DeleteSessions {
            session_ids: vec!["s".to_owned()],
            scope,
        };
        assert_eq!(ledger.change(change).await.unwrap().overtaken, 1);
    }
    for id in ["a", "b", "c"] {
        ledger.finish(id, &reply()).await.unwrap();
    }
    assert_eq!(listed(&ledger, "s").await, "b:completed");
}
