//! Health, readiness, weight version and flush.

use std::time::Duration;

use gateway_store::{
    Applied, Batch, Facets, Feed, FeedPage, Json, Position, Run, Scope, Session, SessionList,
    SessionTraces, StoreError, StoredTrace, TraceFilter, TraceStore, Trouble,
};
use serde_json::json;

use super::*;

#[tokio::test]
async fn a_knock_is_answered() {
    let plane = Plane::new();
    assert_eq!(
        plane.get("/").await.ok(),
        json!({"name": "rllm-model-gateway", "version": "1.2.3"})
    );
    let health = plane.get("/health").await.ok();
    assert_eq!(
        (&health["status"], &health["version"]),
        (&json!("ok"), &json!("1.2.3"))
    );
    assert_eq!(health["instance_id"], plane.ledger.instance_id());
}

#[tokio::test]
async fn a_gateway_that_drains_is_not_ready_and_still_answers() {
    let plane = Plane::new();
    plane.get("/sessions").await.ok();
    assert_eq!(
        plane.get("/ready").await.ok(),
        json!({"status": "ready", "reasons": [], "warnings": []})
    );
    plane.state.drain().begin();
    let ready = plane.get("/ready").await;
    assert_eq!(ready.status, 503);
    assert!(ready.headers.contains_key("retry-after"));
    assert!(
        ready.json()["reasons"][0]
            .as_str()
            .unwrap()
            .starts_with("draining")
    );
    assert_eq!(plane.ask("HEAD", "/ready", "").await.status, 503);
    plane.get("/health").await.ok();
    plane.get("/traces").await.ok();
}

#[tokio::test]
async fn the_weight_version_is_what_was_told_last() {
    let plane = Plane::new();
    assert_eq!(
        plane.get("/admin/weight_version").await.ok(),
        json!({"weight_version": null})
    );
    for version in [3, 0, -1, i64::MAX] {
        let body = json!({"weight_version": version});
        assert_eq!(
            plane
                .post("/admin/weight_version", body.to_string())
                .await
                .ok(),
            body
        );
        assert_eq!(plane.get("/admin/weight_version").await.ok(), body);
    }
}

#[tokio::test]
async fn a_flush_answers_once_everything_is_stored() {
    let plane = Plane::new();
    assert_eq!(
        plane.post("/admin/flush", "").await.ok(),
        json!({"status": "flushed"})
    );
    plane.record(Made::default()).await;
    assert_eq!(
        plane.post("/admin/flush", "").await.ok(),
        json!({"status": "flushed"})
    );
}

/// What `/ready` says of a healthy ledger's status after `change`: the reasons, and the warnings.
async fn readiness_after(
    change: impl FnOnce(&mut gateway_store::LedgerStatus),
) -> (Vec<String>, Vec<String>) {
    let plane = Plane::new();
    // Once something was read, what an earlier run may have left is carried over.
    plane.get("/sessions").await.ok();
    let mut status = plane.ledger.status();
    change(&mut status);
    let readiness = crate::health::readiness(false, &status);
    let readiness = serde_json::to_value(readiness).unwrap();
    let words = |name: &str| -> Vec<String> {
        let texts = readiness[name].as_array().unwrap().iter();
        // The word before the colon names what is in trouble.
        texts
            .map(|text| text.as_str().unwrap().split(':').next().unwrap().to_owned())
            .collect()
    };
    (words("reasons"), words("warnings"))
}

fn trouble(seconds: u64) -> Option<Trouble> {
    Some(Trouble {
        lasting: Duration::from_secs(seconds),
        message: "no space left".to_owned(),
    })
}

#[tokio::test]
async fn trouble_with_the_disk_is_a_reason_and_with_the_store_first_a_warning() {
    let none = Vec::<String>::new();
    let one = |word: &str| vec![word.to_owned()];
    assert_eq!(readiness_after(|_| ()).await, (none.clone(), none.clone()));
    assert_eq!(
        readiness_after(|status| status.journal = trouble(0)).await,
        (one("journal"), none.clone())
    );
    assert_eq!(
        readiness_after(|status| status.receipts_overdue = 1).await,
        (one("receipts"), none.clone())
    );
    // Missed once, on disk by now: over.
    assert_eq!(
        readiness_after(|status| status.receipts_missed = 1).await,
        (none.clone(), none.clone())
    );
    assert_eq!(
        readiness_after(|status| status.store = trouble(1)).await,
        (none.clone(), one("store"))
    );
    assert_eq!(
        readiness_after(|status| status.store = trouble(5)).await,
        (one("store"), none.clone())
    );
    assert_eq!(
        readiness_after(|status| status.replayed = false).await,
        (none.clone(), one("store"))
    );
    let fill = |tenths: u64| {
        move |status: &mut gateway_store::LedgerStatus| {
            status.journal_used = status.journal_capacity / 10 * tenths + 1000;
        }
    };
    assert_eq!(readiness_after(fill(4)).await, (none.clone(), none.clone()));
    assert_eq!(
        readiness_after(fill(6)).await,
        (none.clone(), one("journal"))
    );
    assert_eq!(readiness_after(fill(9)).await, (one("journal"), none));
}

/// A database that somebody else holds.
struct Locked;

impl TraceStore for Locked {
    fn apply(&self, _: &Batch) -> Result<Applied, StoreError> {
        Err(StoreError::Locked)
    }
    fn position(&self) -> Result<Option<Position>, StoreError> {
        Ok(None)
    }
    fn last_arrival(&self) -> Result<u64, StoreError> {
        Ok(0)
    }
    fn session_traces(&self, _: &SessionTraces) -> Result<Vec<StoredTrace>, StoreError> {
        Err(StoreError::Locked)
    }
    fn trace(&self, _: &str) -> Result<Option<StoredTrace>, StoreError> {
        Err(StoreError::Locked)
    }
    fn feed(&self, _: &Feed) -> Result<FeedPage, StoreError> {
        Err(StoreError::Locked)
    }
    fn count(&self, _: &TraceFilter) -> Result<u64, StoreError> {
        Err(StoreError::Locked)
    }
    fn facets(&self) -> Result<Facets, StoreError> {
        Err(StoreError::Locked)
    }
    fn sessions(&self, _: &SessionList) -> Result<Vec<Session>, StoreError> {
        Err(StoreError::Locked)
    }
    fn session(&self, _: &str, _: &Scope) -> Result<Option<Session>, StoreError> {
        Err(StoreError::Locked)
    }
    fn session_runs(&self, _: &[String]) -> Result<Vec<Session>, StoreError> {
        Err(StoreError::Locked)
    }
    fn runs(&self, _: Option<f64>, _: Option<u64>) -> Result<Vec<Run>, StoreError> {
        Err(StoreError::Locked)
    }
    fn run(&self, _: &str) -> Result<Option<Run>, StoreError> {
        Err(StoreError::Locked)
    }
    fn sampling_params(&self) -> Result<Vec<(String, Json)>, StoreError> {
        Err(StoreError::Locked)
    }
}

/// Reads and writes wait for a locked database, then say so; what needs no store is answered.
/// (Time is paused: the waits are over as soon as there is nothing else to do.)
#[tokio::test(start_paused = true)]
async fn defect_20_a_store_that_does_not_answer_is_never_a_short_list_or_a_flush() {
    let plane = Plane::over(Live::default(), Arc::new(Locked));
    let meta = CallMeta::new("trace-1", Endpoint::ChatCompletions, 1.0);
    plane
        .ledger
        .admit(&Call {
            meta,
            request: Bytes::new(),
        })
        .await
        .unwrap();
    let _receipt = plane.ledger.finish("trace-1", &Reply::default());
    for (method, target, body) in [
        ("GET", "/sessions", ""),
        ("GET", "/sessions/s", ""),
        ("GET", "/sessions/s/traces", ""),
        ("GET", "/traces", ""),
        ("GET", "/traces/t", ""),
        ("GET", "/traces/count", ""),
        ("GET", "/traces/facets", ""),
        ("GET", "/runs", ""),
        ("GET", "/runs/r", ""),
        ("POST", "/traces/query", r#"{"session_ids":["s"]}"#),
        ("POST", "/sessions", "{}"),
        ("POST", "/sessions/batch_delete", r#"{"session_ids":["s"]}"#),
        ("DELETE", "/sessions/s", ""),
        ("DELETE", "/sessions/s?run_id=*", ""),
    ] {
        let answer = plane.ask(method, target, body).await;
        answer.refused(503, "store_unavailable");
        assert!(
            answer.headers.contains_key("retry-after"),
            "{method} {target}"
        );
    }
    let message = plane
        .post("/admin/flush", "")
        .await
        .refused(500, "internal_error");
    assert!(message.contains("not in the store"), "{message}");
    assert_eq!(plane.get("/health").await.status, 200);
    assert_eq!(plane.get("/admin/workers").await.status, 200);
}

/// More metadata than the journal ever takes at once: trying again does not help.
#[test]
fn a_change_that_never_fits_the_journal_is_too_large() {
    let error = gateway_store::ChangeError::Unavailable(gateway_store::Unavailable::TooLarge {
        bytes: 2,
        limit: 1,
    });
    assert_eq!(Refusal::from(error).code(), "body_too_large");
}
