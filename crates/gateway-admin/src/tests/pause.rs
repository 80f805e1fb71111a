//! Pausing and resuming.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Waker};

use serde_json::json;

use super::*;

const PAUSED: &str = r#"{"wait": 60}"#;

#[tokio::test]
async fn a_pause_answers_at_once_with_the_calls_under_way() {
    let plane = Plane::new();
    let gate = plane.state.pause();
    let call = gate.try_pass();
    for body in [
        "",
        "{}",
        r#"{"wait": null}"#,
        r#"{"wait": 0}"#,
        r#"{"wait": 0.001}"#,
    ] {
        assert_eq!(
            plane.post("/admin/pause", body).await.ok(),
            json!({"status": "paused", "in_flight": 1}),
            "{body}"
        );
        assert!(gate.is_closed() && gate.try_pass().is_none());
    }
    let warnings = &plane.get("/ready").await.ok()["warnings"];
    assert!(
        warnings[0]
            .as_str()
            .is_some_and(|text| text.starts_with("paused"))
    );
    drop(call);
    for _ in 0..2 {
        let resumed = plane.post("/admin/resume", "").await.ok();
        assert_eq!(resumed, json!({"status": "resumed"}));
        assert!(!gate.is_closed());
    }
    assert_eq!(plane.get("/ready").await.ok()["warnings"], json!([]));
}

/// The answer to `ask`, once `then` was done while it was waited for.
async fn while_waiting(plane: &Plane, then: impl FnOnce()) -> Answer {
    let mut answer = pin!(plane.post("/admin/pause", PAUSED));
    while !plane.state.pause().is_closed() {
        let polled = answer
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()));
        assert!(polled.is_pending());
        tokio::task::yield_now().await;
    }
    then();
    answer.await
}

#[tokio::test]
async fn a_pause_with_a_wait_answers_when_the_last_call_is_over() {
    let plane = Plane::new();
    let call = plane.state.pause().try_pass();
    let answer = while_waiting(&plane, || drop(call)).await;
    assert_eq!(answer.ok(), json!({"status": "paused", "in_flight": 0}));
}

#[tokio::test]
async fn a_resume_during_the_wait_is_a_conflict() {
    let plane = Plane::new();
    let _call = plane.state.pause().try_pass();
    let answer = while_waiting(&plane, || plane.state.pause().open()).await;
    answer.refused(409, "conflict");
}

#[tokio::test]
async fn the_end_of_the_gateway_ends_the_wait() {
    let plane = Plane::new();
    let _call = plane.state.pause().try_pass();
    let answer = while_waiting(&plane, || plane.state.drain().begin()).await;
    assert_eq!(answer.ok(), json!({"status": "paused", "in_flight": 1}));
}

#[tokio::test]
async fn a_wait_is_a_number_of_seconds() {
    let plane = Plane::new();
    for body in [
        r#"{"wait": -1}"#,
        r#"{"wait": "1"}"#,
        r#"{"wait": true}"#,
        r#"{"wait": []}"#,
        "[]",
    ] {
        plane
            .post("/admin/pause", body)
            .await
            .refused(400, "bad_request");
        assert!(!plane.state.pause().is_closed(), "{body}");
    }
    // None is under way, however long one would wait.
    for wait in ["1e300", "9999999999"] {
        let body = format!(r#"{{"wait": {wait}}}"#);
        assert_eq!(plane.post("/admin/pause", body).await.ok()["in_flight"], 0);
    }
}
