//! From one worker to another, and what ends the wait for the next attempt.

use gateway_tests::{Gate, Gateway, Script, Setup, Upstream, eventually, within};
use serde_json::{Value, json};

use crate::retries::{attempts, busy, refusing};
use crate::{say, say_streamed};

/// A pool in which the first call goes to worker `a` and the next one to `b`; `b` has a path and a
/// credential of its own. However often one refuses, it stays in use.
fn pool(a: &str, b: &str, yaml: &str) -> Gateway {
    Setup::new()
        .yaml(&format!(
            "workers:\n  - {{url: '{a}', worker_id: a, auth_header: Bearer of-a}}\n  \
             - {{url: '{b}', worker_id: b, auth_header: Bearer of-b, api_path: /other/v1}}\n\
             routing_policy: round_robin\nhealth_check_failures: 1000"
        ))
        .yaml(yaml)
        .start()
}

#[tokio::test]
async fn a_refused_call_goes_to_the_other_worker_at_once() {
    for body in [say("hi"), say_streamed("hi")] {
        let ((_socket, a), b) = (refusing(), Upstream::vllm());
        let gateway = pool(&a, &b.url(), "");
        let line = "POST /v1/chat/completions";
        let headers = ["x-rllm-session-id: s", "authorization: Bearer client"];
        let reply = gateway.call(line, &headers, &body).await.expect(200);
        assert!(reply.text().contains("said"), "{}", reply.text());
        let trace = gateway.only_trace("s").await;
        let refused = ("a".to_owned(), Value::Null, json!("upstream_unreachable"));
        let answered = ("b".to_owned(), json!(200), Value::Null);
        assert_eq!(attempts(&trace), [refused, answered]);
        assert_eq!(trace["upstream"], "b");
        assert_eq!(trace["upstream_reason"], "round_robin");
        assert_eq!(trace["outcome"], "completed");
        // Addressed to the second one, with what was edited for the first.
        let seen = b.only();
        assert_eq!(seen.target(), "/other/v1/chat/completions");
        assert_eq!(seen.header("authorization"), Some("Bearer of-b"));
        assert_eq!(seen.header("host"), b.url().strip_prefix("http://"));
        assert_eq!(seen.json()["return_token_ids"], true);
    }
}

/// How long 24 calls take, in milliseconds.
async fn time_of_24(gateway: &Gateway) -> f64 {
    let mut took = 0.0;
    for session in 0..24 {
        let reply = gateway.chat(&session.to_string(), say("hi")).await;
        let trace = gateway.trace(reply.expect(200).trace_id()).await;
        took += trace["latency_ms"].as_f64().expect("a number");
    }
    took
}

#[tokio::test]
async fn a_refused_call_does_not_wait_where_there_is_another_worker() {
    let ((_socket, a), b, c) = (refusing(), Upstream::vllm(), Upstream::vllm());
    let good = time_of_24(&pool(&c.url(), &b.url(), "")).await;
    let refused = time_of_24(&pool(&a, &b.url(), "")).await;
    // A wait takes 250 ms on the average; 24 of them take 6 s.
    assert!(refused < good + 3000.0, "{refused} ms, {good} ms");
}

#[tokio::test]
async fn a_busy_worker_hands_its_call_to_the_other_one_and_its_load_too() {
    let asked = Gate::new();
    let go = Gate::new();
    let a = Upstream::always(busy("429 Busy", &["retry-after: 0"], 1));
    let held = Script::new().open(&asked).wait(&go);
    let reply =
        json!({"choices": [{"index": 0, "message": {"role": "assistant", "content": "b"}}]});
    let b = Upstream::always(Script::json("200 OK", reply.to_string()).after(held));
    let gateway = pool(&a.url(), &b.url(), "");
    let mut client = gateway.begin("s", say("hi")).await;
    within("the call at the second worker", asked.opened()).await;
    let loads = async || {
        let workers = gateway.get("/admin/workers").await;
        [0, 1].map(|at| workers[at]["active_requests"].as_u64().expect("a number"))
    };
    assert_eq!(loads().await, [0, 1]);
    go.open();
    let reply = client.reply().await.expect(200);
    assert_eq!(reply.json()["choices"][0]["message"]["content"], "b");
    eventually("the lease's end", async || {
        (loads().await == [0, 0]).then_some(())
    })
    .await;
    let trace = gateway.only_trace("s").await;
    let refused = ("a".to_owned(), json!(429), Value::Null);
    assert_eq!(attempts(&trace)[0], refused);
    assert_eq!(trace["upstream"], "b");
}

#[tokio::test]
async fn with_all_tried_the_last_one_is_asked_again() {
    let a = Upstream::always(busy("503 Busy", &["retry-after: 0"], 1));
    let b = Upstream::always(busy("429 Busy", &["retry-after: 0"], 2));
    let gateway = pool(&a.url(), &b.url(), "retry: {attempts: 4}");
    let reply = gateway.chat("s", say("hi")).await.expect(429);
    assert!(reply.text().contains("busy 2"));
    let trace = gateway.only_trace("s").await;
    let names: Vec<String> = attempts(&trace)
        .into_iter()
        .map(|(name, ..)| name)
        .collect();
    assert_eq!(names, ["a", "b", "b", "b"]);
}

#[tokio::test]
async fn a_session_stays_with_the_worker_that_took_its_call_over() {
    let mut workers = vec![Upstream::vllm(), Upstream::vllm()];
    let setup = workers.iter().fold(Setup::new(), Setup::worker);
    // No idle connection, so that the one that is gone refuses.
    let setup = setup.yaml("pool_idle_timeout: 0\nhealth_check_interval: 1000");
    let gateway = setup.start();
    let reason = async |text: &str| {
        let reply = gateway.chat("s", say(text)).await.expect(200);
        let trace = gateway.trace(reply.trace_id()).await;
        let of = |field: &str| trace[field].as_str().unwrap_or_default().to_owned();
        (
            of("upstream"),
            of("upstream_reason"),
            trace["attempts"].clone(),
        )
    };
    let (first, why, _) = reason("one").await;
    assert_eq!(why, "new");
    assert_eq!(
        reason("two").await,
        (first.clone(), "sticky".into(), json!(1))
    );
    let gone: usize = first.parse().expect("workers are numbered");
    let other = (1 - gone).to_string();
    workers.remove(gone).stop().await;
    assert_eq!(
        reason("three").await,
        (other.clone(), "moved".into(), json!(2))
    );
    assert_eq!(reason("four").await, (other, "sticky".into(), json!(1)));
}

#[tokio::test]
async fn what_is_left_of_a_reply_that_is_not_passed_on_is_let_go() {
    let gone = Gate::new();
    let endless = "HTTP/1.1 503 Busy\r\nretry-after: 0\r\ncontent-length: 100000\r\n\r\n{";
    let a = Upstream::always(Script::new().send(endless).until_gone(&gone));
    let b = Upstream::vllm();
    let gateway = pool(&a.url(), &b.url(), "");
    gateway.chat("s", say("hi")).await.expect(200);
    within("the connection's end", gone.opened()).await;
}

/// Waits until a call waits for its next attempt.
async fn until_waiting(gateway: &Gateway) {
    eventually("the wait", async || {
        let log = gateway.log();
        log.contains("waiting before the next attempt")
            .then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_refusal_that_is_complete_after_the_wait_leaves_its_connection_free() {
    let rest = Gate::new();
    let head = "HTTP/1.1 503 Busy\r\nretry-after: 1\r\ncontent-length: 4\r\n\r\n";
    let slow = Script::new().send(head).wait(&rest).send("busy");
    let upstream = Upstream::in_turn([slow, Script::json("200 OK", "{}")]);
    let gateway = Gateway::over(&upstream);
    let mut client = gateway.begin("s", say("hi")).await;
    until_waiting(&gateway).await;
    rest.open();
    client.reply().await.expect(200);
    let received = upstream.received();
    assert_eq!(received[0].connection, received[1].connection);
}

/// A gateway that waits with a call, after an upstream that asked for half a minute.
async fn waiting() -> (Upstream, Gateway, gateway_tests::Client) {
    let upstream = Upstream::always(busy("429 Busy", &["retry-after: 30"], 1));
    let gateway = Gateway::over(&upstream);
    let client = gateway.begin("s", say_streamed("hi")).await;
    until_waiting(&gateway).await;
    (upstream, gateway, client)
}

#[tokio::test]
async fn a_client_that_leaves_during_the_wait_ends_the_call() {
    let (upstream, gateway, client) = waiting().await;
    drop(client);
    let trace = gateway.only_trace("s").await;
    assert_eq!(trace["outcome"], "client_disconnected");
    assert_eq!(
        (&trace["attempts"], &trace["status"]),
        (&json!(1), &Value::Null)
    );
    assert_eq!(trace["upstream"], "0");
    upstream.only();
    let workers = gateway.get("/admin/workers").await;
    assert_eq!(workers[0]["active_requests"], 0);
}

#[tokio::test]
async fn a_drain_ends_the_wait_with_what_is_known() {
    let (upstream, mut gateway, mut client) = waiting().await;
    gateway.signal("TERM");
    let reply = client.reply().await.expect(429);
    assert!(reply.text().contains("busy 1"));
    assert_eq!(reply.header("retry-after"), Some("30"));
    assert!(gateway.ended().await.success());
    upstream.only();
    let gateway = gateway.setup().start();
    let trace = gateway.only_trace("s").await;
    assert_eq!(
        (&trace["outcome"], &trace["attempts"]),
        (&json!("upstream_error"), &json!(1))
    );
}
