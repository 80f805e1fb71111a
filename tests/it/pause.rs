//! The pause gate: weights are changed while agents run.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use gateway_tests::{Client, Gate, Gateway, Script, Setup, Upstream, eventually, vllm};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::{DONE, delta, say, say_streamed};

/// Until so many calls are in flight: those at the gate, too.
async fn in_flight(gateway: &Gateway, calls: usize) {
    let line = format!("rllm_calls_in_flight {calls}\n");
    eventually(&line, async || {
        let page = gateway.call("GET /metrics", &[], "").await.expect(200);
        page.text().contains(&line).then_some(())
    })
    .await;
}

async fn pause(gateway: &Gateway, wait: u64) -> Value {
    gateway.post("/admin/pause", &json!({"wait": wait})).await
}

async fn set_weights(gateway: &Gateway, version: i64) {
    let body = json!({"weight_version": version});
    gateway.post("/admin/weight_version", &body).await;
}

async fn resume(gateway: &Gateway) {
    let resumed = gateway.post("/admin/resume", &json!({})).await;
    assert_eq!(resumed, json!({"status": "resumed"}));
}

fn versions(trace: &Value) -> (Option<i64>, Option<i64>) {
    let version = |name: &str| trace[name].as_i64();
    (version("weight_version"), version("weight_version_end"))
}

#[tokio::test]
async fn calls_under_way_end_with_their_weights_and_held_ones_begin_with_the_new() {
    const SESSIONS: usize = 64;
    let (go, early) = (Gate::new(), Arc::new(AtomicBool::new(false)));
    let upstream = Upstream::start({
        let (go, early) = (go.clone(), Arc::clone(&early));
        move |request| {
            let reply = vllm::reply(request);
            if request.text().contains("under way") {
                return reply.after(Script::new().wait(&go));
            }
            let held = request.text().contains("held");
            early.fetch_or(held && !go.is_open(), Ordering::SeqCst);
            reply
        }
    });
    let gateway = Gateway::over(&upstream);
    set_weights(&gateway, 1).await;
    let call = async |session: usize, text: &str| {
        let body = match session % 2 {
            0 => say(text),
            _ => say_streamed(text),
        };
        gateway.begin(&format!("s{session}"), body).await
    };
    let mut clients = Vec::new();
    for session in 0..SESSIONS {
        clients.push(call(session, "under way").await);
    }
    upstream.wait_for(SESSIONS).await;
    let paused = pause(&gateway, 0).await;
    assert_eq!(paused, json!({"status": "paused", "in_flight": SESSIONS}));
    for session in 0..SESSIONS {
        clients.push(call(session, "held").await);
    }
    in_flight(&gateway, 2 * SESSIONS).await;
    // What is no call does not wait.
    gateway.call("GET /v1/models", &[], "").await.expect(200);

    let (paused, ()) = tokio::join!(pause(&gateway, 60), async { go.open() });
    assert_eq!(paused, json!({"status": "paused", "in_flight": 0}));
    set_weights(&gateway, 2).await;
    resume(&gateway).await;
    for client in &mut clients {
        client.reply().await.expect(200);
    }
    assert!(!early.load(Ordering::SeqCst), "a held call went upstream");
    for session in 0..SESSIONS {
        let traces = gateway.traces(&format!("s{session}")).await;
        let told: Vec<_> = traces
            .iter()
            .map(|trace| {
                assert_eq!(trace["outcome"], "completed");
                (trace["messages"][0]["content"].as_str(), versions(trace))
            })
            .collect();
        let expected = [
            (Some("under way"), (Some(1), Some(1))),
            (Some("held"), (Some(2), Some(2))),
        ];
        assert_eq!(told, expected);
    }
}

/// What the reply says is the version that the worker had; what the trace says must be the same.
#[tokio::test]
async fn weights_are_changed_again_and_again_while_64_sessions_run() {
    let weights = Arc::new(AtomicI64::new(0));
    let upstream = Upstream::start({
        let weights = Arc::clone(&weights);
        move |request| {
            let version = format!("v{}", weights.load(Ordering::SeqCst));
            let text = json!({"role": "assistant", "content": version});
            if request.json()["stream"] == true {
                let end = delta(0, &json!({}), Some("stop"));
                return Script::events([delta(0, &text, None), end, DONE.to_owned()]);
            }
            let choice = json!({"index": 0, "message": text, "finish_reason": "stop"});
            Script::json(
                "200 OK",
                json!({"model": "tiny", "choices": [choice]}).to_string(),
            )
        }
    });
    let gateway = Arc::new(Gateway::over(&upstream));
    set_weights(&gateway, 0).await;
    let done = Arc::new(AtomicBool::new(false));
    let mut agents = JoinSet::new();
    for session in 0..64 {
        let (gateway, done) = (Arc::clone(&gateway), Arc::clone(&done));
        agents.spawn(async move {
            let session = format!("s{session}");
            let mut turns = 0;
            while turns < 4 || !done.load(Ordering::SeqCst) {
                let body = match turns % 2 {
                    0 => say("hi"),
                    _ => say_streamed("hi"),
                };
                gateway.chat(&session, body).await.expect(200);
                turns += 1;
            }
            (session, turns)
        });
    }
    for version in 1..=5 {
        upstream.wait_for(64 * version).await;
        assert_eq!(pause(&gateway, 60).await["in_flight"], 0);
        let version = i64::try_from(version).expect("a small number");
        weights.store(version, Ordering::SeqCst);
        set_weights(&gateway, version).await;
        resume(&gateway).await;
    }
    done.store(true, Ordering::SeqCst);
    let mut seen = std::collections::BTreeSet::new();
    for (session, turns) in agents.join_all().await {
        let traces = gateway.traces(&session).await;
        assert_eq!(traces.len(), turns, "{session}");
        for trace in traces {
            let said = trace["response_message"]["content"].as_str();
            let version: i64 = said.and_then(|said| said[1..].parse().ok()).expect("vN");
            assert_eq!(versions(&trace), (Some(version), Some(version)), "{trace}");
            seen.insert(version);
        }
    }
    assert!(seen.len() > 3, "calls between the changes: {seen:?}");
}

#[tokio::test]
async fn weights_changed_without_a_pause_show_in_the_traces() {
    let go = Gate::new();
    let upstream = Upstream::vllm_behind(&go);
    let gateway = Gateway::over(&upstream);
    set_weights(&gateway, 1).await;
    let mut client = gateway.begin("s", say("hi")).await;
    upstream.wait_for(1).await;
    set_weights(&gateway, 2).await;
    go.open();
    client.reply().await.expect(200);
    let trace = gateway.only_trace("s").await;
    assert_eq!(versions(&trace), (Some(1), Some(2)));
}

#[tokio::test]
async fn a_wait_that_takes_too_long_is_a_503_and_recorded() {
    let upstream = Upstream::vllm();
    let setup = Setup::new().worker(&upstream);
    let gateway = setup.yaml("pause_timeout: 0.05").start();
    pause(&gateway, 0).await;
    for body in [say("hi"), say_streamed("hi")] {
        let refused = gateway.chat("s", body).await.expect(503);
        assert_eq!(refused.json()["error"]["code"], "paused");
        assert!(refused.header("retry-after").is_some());
        let trace = gateway.trace(refused.trace_id()).await;
        assert_eq!(
            (&trace["outcome"], &trace["status"], &trace["attempts"]),
            (&json!("gateway_error"), &json!(503), &json!(0))
        );
        assert_eq!(trace["error"]["code"], "paused");
    }
    // A call that cannot be read is told so at once, and one without a session waits as well.
    gateway.chat("s", "no JSON").await.expect(400);
    let line = "POST /v1/chat/completions";
    gateway.call(line, &[], say("hi")).await.expect(503);
    assert!(upstream.received().is_empty());
    resume(&gateway).await;
    gateway.chat("s", say("hi")).await.expect(200);
}

#[tokio::test]
async fn the_end_of_the_gateway_ends_the_wait() {
    let upstream = Upstream::vllm();
    let mut gateway = Gateway::over(&upstream);
    pause(&gateway, 0).await;
    let mut held = gateway.begin("s", say("hi")).await;
    in_flight(&gateway, 1).await;
    let asked = std::time::Instant::now();
    gateway.signal("TERM");
    let refused = held.reply().await.expect(503);
    assert_eq!(refused.json()["error"]["code"], "draining");
    let id = refused.trace_id().to_owned();
    assert_eq!(gateway.ended().await.code(), Some(0));
    // Far from `drain_timeout`: nothing was under way.
    assert!(asked.elapsed() < std::time::Duration::from_secs(10));
    // A restart ends the pause.
    let gateway = gateway.kill().start();
    let trace = gateway.trace(&id).await;
    assert_eq!(trace["outcome"], "gateway_error");
    assert_eq!(trace["error"]["code"], "draining");
    gateway.chat("s", say("hi")).await.expect(200);
    assert_eq!(upstream.received().len(), 1);
}

#[tokio::test]
async fn a_client_that_leaves_during_the_wait_is_recorded_as_gone() {
    let upstream = Upstream::vllm();
    let gateway = Gateway::over(&upstream);
    pause(&gateway, 0).await;
    let held: Client = gateway.begin("s", say("hi")).await;
    in_flight(&gateway, 1).await;
    drop(held);
    let trace = gateway.only_trace("s").await;
    assert_eq!(trace["outcome"], "client_disconnected");
    in_flight(&gateway, 0).await;
    resume(&gateway).await;
    assert!(upstream.received().is_empty());
}

/// Killed at the gate, and right behind it: the trace is there, and its weights are right.
#[tokio::test]
async fn a_call_that_dies_with_the_gateway_has_the_weights_that_it_saw() {
    let go = Gate::new();
    let upstream = Upstream::vllm_behind(&go);
    let gateway = Gateway::over(&upstream);
    set_weights(&gateway, 1).await;
    pause(&gateway, 0).await;
    let _held = gateway.begin("held", say("hi")).await;
    in_flight(&gateway, 1).await;
    // The journal is written in order, and a change waits until it is on disk.
    gateway
        .post("/sessions", &json!({"session_id": "other"}))
        .await;
    let gateway = gateway.kill().start();
    let trace = gateway.only_trace("held").await;
    assert_eq!(
        (&trace["outcome"], versions(&trace).0),
        (&json!("interrupted"), Some(1))
    );

    set_weights(&gateway, 1).await;
    pause(&gateway, 0).await;
    let _passed = gateway.begin("passed", say("hi")).await;
    in_flight(&gateway, 1).await;
    set_weights(&gateway, 2).await;
    resume(&gateway).await;
    upstream.wait_for(1).await;
    gateway
        .post("/sessions", &json!({"session_id": "other"}))
        .await;
    let gateway = gateway.kill().start();
    let trace = gateway.only_trace("passed").await;
    assert_eq!(
        (&trace["outcome"], versions(&trace).0),
        (&json!("interrupted"), Some(2))
    );
}
