//! The pool: workers that come, go, fall ill and recover.

use gateway_tests::{Setup, Upstream, eventually};
use serde_json::{Value, json};

use crate::say;

#[tokio::test]
async fn workers_come_and_go_while_calls_run() {
    let (first, second) = (Upstream::vllm(), Upstream::vllm());
    let gateway = Setup::new().start();
    let reply = gateway.chat("s", say("nobody")).await;
    assert_eq!(reply.status, 404);
    let added = gateway
        .post("/admin/workers", &json!({"url": first.url()}))
        .await;
    let id = added["worker_id"].as_str().expect("an id").to_owned();
    assert_eq!(added["api_path"], "/v1");
    // The same URL again is the same worker; a path in it is its api_path.
    let again = format!("{}/v1", first.url());
    let again = gateway.post("/admin/workers", &json!({"url": again})).await;
    assert_eq!(again["worker_id"], id.as_str());
    assert_eq!(
        gateway.get("/admin/workers").await.as_array().map(Vec::len),
        Some(1)
    );
    gateway.chat("s", say("first")).await.expect(200);
    assert_eq!(first.received().len(), 1);

    gateway
        .post("/admin/workers", &json!({"url": second.url()}))
        .await;
    // Adding a worker moves no running session.
    gateway.chat("s", say("still first")).await.expect(200);
    assert_eq!(first.received().len(), 2);
    gateway
        .call(&format!("DELETE /admin/workers/{id}"), &[], "")
        .await
        .expect(200);
    gateway
        .call(&format!("DELETE /admin/workers/{id}"), &[], "")
        .await
        .expect(404);
    gateway.chat("s", say("second")).await.expect(200);
    assert_eq!(second.received().len(), 1);
    let bad = gateway
        .call("POST /admin/workers", &[], r#"{"url":"file:///etc"}"#)
        .await;
    assert_eq!(bad.status, 400, "{}", bad.text());
}

/// Health checks every 50 ms.
fn checked(upstream: &Upstream) -> Setup {
    let setup = Setup::new().worker(upstream);
    setup.yaml("health_check_interval: 0.05")
}

#[tokio::test]
async fn a_well_worker_stays_in_use_however_often_it_is_asked() {
    let upstream = Upstream::vllm();
    let gateway = checked(&upstream).start();
    upstream.wait_for_checks(8).await;
    gateway.chat("s", say("hi")).await.expect(200);
    let health = gateway.get("/health/workers").await;
    assert_eq!(
        (&health["healthy"], &health["total"]),
        (&json!(1), &json!(1))
    );
}

#[tokio::test]
async fn an_ill_worker_is_passed_over_until_it_recovers() {
    let upstream = Upstream::vllm();
    let gateway = checked(&upstream).start();
    gateway.chat("s", say("well")).await.expect(200);
    upstream.set_healthy(false);
    let refused = eventually("the worker to be taken out", async || {
        let reply = gateway.chat("s", say("ill")).await;
        (reply.status != 200).then_some(reply)
    });
    let refused = refused.await;
    assert_eq!(refused.status, 503);
    assert_eq!(refused.json()["error"]["code"], "no_healthy_worker");
    assert!(refused.header("retry-after").is_some());
    let trace = gateway.trace(refused.trace_id()).await;
    assert_eq!(trace["outcome"], "gateway_error");

    upstream.set_healthy(true);
    eventually("the worker to be taken back", async || {
        let reply = gateway.chat("s", say("well again")).await;
        (reply.status == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn sessions_stay_with_their_worker_and_spread_over_the_pool() {
    let pool: Vec<Upstream> = (0..3).map(|_| Upstream::vllm()).collect();
    let setup = pool.iter().fold(Setup::new(), Setup::worker);
    let gateway = setup.start();
    for session in 0..24 {
        for turn in 0..3 {
            let message = format!("session-{session} turn-{turn}");
            let id = format!("s{session}");
            gateway.chat(&id, say(&message)).await.expect(200);
        }
    }
    for worker in &pool {
        let received = worker.received();
        assert!(!received.is_empty(), "no worker is left out");
        // Whoever sees one turn of a session sees all of them.
        assert_eq!(received.len() % 3, 0);
        for turns in received.chunks(3) {
            let session = |at: usize| {
                let body = turns[at].json();
                let text = body["messages"][0]["content"].as_str().map(str::to_owned);
                text.and_then(|text| Some(text.split_once(' ')?.0.to_owned()))
            };
            assert_eq!((session(0), session(1)), (session(1), session(2)));
        }
    }
}

/// `weight` and `model_name` were ignored, and adding a worker made sessions forget theirs.
#[tokio::test]
async fn defect_26_names_and_weights_count_and_no_session_forgets_its_worker() {
    let (small, large, named) = (Upstream::vllm(), Upstream::vllm(), Upstream::vllm());
    let gateway = Setup::new().start();
    for (upstream, weight) in [(&small, 1), (&large, 4)] {
        let worker = json!({"url": upstream.url(), "api_path": "/v1", "weight": weight});
        gateway.post("/admin/workers", &worker).await;
    }
    for session in 0..50 {
        gateway
            .chat(&format!("s{session}"), say("hi"))
            .await
            .expect(200);
    }
    let (few, many) = (small.received().len(), large.received().len());
    assert!(few * 2 < many, "{few} of weight 1, {many} of weight 4");

    let worker = json!({"url": named.url(), "model_name": "other"});
    gateway.post("/admin/workers", &worker).await;
    let other = say("hi").replace("tiny", "other");
    gateway.chat("s0", other).await.expect(200);
    assert_eq!(named.only().json()["model"], "other");
    for session in 0..50 {
        gateway
            .chat(&format!("s{session}"), say("again"))
            .await
            .expect(200);
    }
    assert_eq!(
        (small.received().len(), large.received().len()),
        (2 * few, 2 * many)
    );

    let workers = gateway.get("/admin/workers").await;
    let shown = |name: &str| -> Vec<Value> {
        let workers = workers.as_array().expect("a list").iter();
        workers.map(|worker| worker[name].clone()).collect()
    };
    assert_eq!(shown("weight"), [1, 4, 1]);
    assert_eq!(
        shown("model_name"),
        [Value::Null, Value::Null, json!("other")]
    );
    assert_eq!(shown("load"), [json!(few), json!(many), json!(1)]);
}
