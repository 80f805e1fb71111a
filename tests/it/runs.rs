//! Runs: the gateway's own, those that calls name, and what a request about a session means.

use gateway_tests::{Client, Gate, Gateway, Script, Setup, Upstream, vllm};
use serde_json::{Value, json};

use crate::{say, say_streamed};

/// A call of this session in this run.
async fn call_in(gateway: &Gateway, session: &str, run: &str, text: &str) {
    let session = format!("x-rllm-session-id: {session}");
    let run = format!("x-rllm-run-id: {run}");
    let line = "POST /v1/chat/completions";
    let reply = gateway.call(line, &[&session, &run], say(text)).await;
    reply.expect(200);
}

async fn count(gateway: &Gateway, path: &str) -> usize {
    let listed = gateway.get(path).await;
    listed.as_array().expect("a list").len()
}

#[tokio::test]
async fn a_run_begins_with_the_gateway_and_ends_with_a_clean_stop() {
    let upstream = Upstream::vllm();
    let files = Setup::new().worker(&upstream);
    let of_run = |metadata: &str| {
        let setup = files.clone().yaml("run_id: org/run:1");
        setup.yaml(&format!("run_metadata: {metadata}")).start()
    };
    let reader = || files.clone().start();
    let run = async |gateway: &Gateway| gateway.get("/runs/org/run:1").await;

    let mut gateway = of_run("{lr: 0.1}");
    let begun = run(&gateway).await;
    assert_eq!(begun["metadata"], json!({"lr": 0.1}));
    assert_eq!(begun["ended_at"], Value::Null);
    assert_eq!(gateway.get("/health").await["run_id"], "org/run:1");
    let reply = gateway.chat("s", say("hi")).await.expect(200);
    assert_eq!(gateway.trace(reply.trace_id()).await["run_id"], "org/run:1");
    gateway.signal("TERM");
    assert_eq!(gateway.ended().await.code(), Some(0));
    drop(gateway);

    let gateway = reader();
    let ended = run(&gateway).await;
    let times = [&ended["started_at"], &ended["ended_at"]].map(Value::as_f64);
    assert!(times[0].is_some() && times[0] <= times[1], "{ended}");
    assert_eq!(gateway.get("/runs").await, json!([ended]));
    drop(gateway);

    // The id is used again, and the gateway dies.
    let gateway = of_run("{lr: 0.2}");
    let again = run(&gateway).await;
    assert_eq!(again["started_at"], begun["started_at"]);
    assert_eq!(again["metadata"], json!({"lr": 0.2}));
    assert_eq!(again["ended_at"], Value::Null);
    assert_eq!(count(&gateway, "/sessions/s/traces").await, 1);
    gateway.kill();
    assert_eq!(run(&reader()).await, again, "nobody has ended it");
}

#[tokio::test]
async fn runs_that_only_calls_have_named_began_with_their_first_call() {
    let upstream = Upstream::vllm();
    let gateway = Gateway::over(&upstream);
    for (session, run) in [("a", "first"), ("b", "second"), ("c", "first")] {
        call_in(&gateway, session, run, "hi").await;
    }
    let runs = gateway.get("/runs").await;
    let ids = runs.as_array().expect("a list").iter();
    let ids: Vec<_> = ids.map(|run| &run["run_id"]).collect();
    assert_eq!(ids, ["second", "first"], "newest first");
    let since = &runs[0]["started_at"];
    assert_eq!(count(&gateway, &format!("/runs?since={since}")).await, 1);
    assert_eq!(count(&gateway, "/runs?limit=1").await, 1);
    let first = &gateway.get("/sessions/a/traces").await[0];
    assert_eq!(first["timestamp"], runs[1]["started_at"]);
    gateway.call("GET /runs/third", &[], "").await.expect(404);
}

/// One run read and deleted another's session of the same name.
#[tokio::test]
async fn defect_13_requests_about_a_session_keep_to_their_run() {
    let upstream = Upstream::vllm();
    let setup = Setup::new().worker(&upstream).yaml("run_id: mine");
    let gateway = setup.start();
    gateway.chat("s", say("mine")).await.expect(200);
    for text in ["other's", "other's again"] {
        call_in(&gateway, "s", "other", text).await;
    }
    for (query, expected) in [
        ("", 1),
        ("?run_id=mine", 1),
        ("?run_id=other", 2),
        ("?run_id=*", 3),
    ] {
        let traces = format!("/sessions/s/traces{query}");
        assert_eq!(count(&gateway, &traces).await, expected, "{query}");
        let session = gateway.get(&format!("/sessions/s{query}")).await;
        assert_eq!(session["trace_count"], expected, "{query}");
        let report = gateway.get(&format!("/sessions/s/report{query}")).await;
        assert_eq!(report["completed"], expected, "{query}");
    }
    assert_eq!(count(&gateway, "/sessions").await, 1);
    assert_eq!(count(&gateway, "/sessions?run_id=*").await, 2);
    let query = json!({"session_ids": ["s"], "run_id": "other"});
    let queried = gateway.post("/traces/query", &query).await;
    assert_eq!(queried.as_array().map(Vec::len), Some(2));
    let feed = gateway.get("/traces").await;
    assert_eq!(feed["traces"].as_array().map(Vec::len), Some(3), "all runs");

    let deleted = gateway
        .call("DELETE /sessions/s", &[], "")
        .await
        .expect(200);
    assert_eq!(deleted.json(), json!({"deleted": 1}));
    let batch = json!({"session_ids": ["s"], "run_id": "*"});
    let deleted = gateway.post("/sessions/batch_delete", &batch).await;
    assert_eq!(deleted, json!({"deleted": 2}));
}

#[tokio::test]
async fn a_delete_does_not_guess_the_run_and_counts_calls_under_way() {
    let end = Gate::new();
    let upstream = Upstream::start({
        let end = end.clone();
        move |request| match request.text().contains("slow") {
            true => vllm::reply(request).after(Script::new().wait(&end)),
            false => vllm::reply(request),
        }
    });
    let gateway = Gateway::over(&upstream);
    call_in(&gateway, "s", "r1", "hi").await;
    let mut slow = Client::connect(gateway.address()).await;
    let headers = ["x-rllm-session-id: s", "x-rllm-run-id: r2"];
    let line = "POST /v1/chat/completions";
    slow.request(line, &headers, say_streamed("slow")).await;
    upstream.wait_for(2).await;

    let refused = gateway.call("DELETE /sessions/s", &[], "").await;
    assert_eq!(refused.status, 409);
    let text = refused.text();
    assert!(text.contains("r1") && text.contains("r2"), "{text}");
    let one = gateway.call("DELETE /sessions/s?run_id=r2", &[], "").await;
    assert_eq!(one.expect(200).json(), json!({"deleted": 0}));
    end.open();
    slow.reply().await.expect(200);
    assert_eq!(gateway.traces("s").await.len(), 1, "it stays deleted");
    let all = gateway.call("DELETE /sessions/s", &[], "").await;
    assert_eq!(all.expect(200).json(), json!({"deleted": 1}));
    assert_eq!(gateway.get("/sessions").await, json!([]));
}

#[tokio::test]
async fn a_session_that_was_made_before_its_run_was_known_takes_it() {
    let upstream = Upstream::vllm();
    let gateway = Gateway::over(&upstream);
    let made = json!({"session_id": "s", "metadata": {"split": "train"}});
    gateway.post("/sessions", &made).await;
    let before = gateway.get("/sessions/s").await;
    assert_eq!(
        (&before["run_id"], &before["trace_count"]),
        (&Value::Null, &json!(0))
    );
    call_in(&gateway, "s", "r", "hi").await;
    let rows = gateway.get("/sessions").await;
    assert_eq!(rows.as_array().map(Vec::len), Some(1), "{rows}");
    let row = &rows[0];
    assert_eq!(
        (&row["run_id"], &row["trace_count"]),
        (&json!("r"), &json!(1))
    );
    assert_eq!(row["metadata"], json!({"split": "train"}));
    assert_eq!(row["created_at"], before["created_at"]);
    assert_eq!(gateway.get("/sessions/s?run_id=r").await, *row);
}
