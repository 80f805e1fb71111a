//! The management plane as an agent's owner uses it.

use gateway_tests::{Client, Gate, Gateway, Script, Setup, Upstream, vllm};
use serde_json::{Value, json};

use crate::{say, say_streamed};

#[tokio::test]
async fn the_root_and_health_answer_and_head_works_like_get() {
    let gateway = Setup::new().start();
    let root = gateway.get("/").await;
    assert!(
        root["name"].is_string() && root["version"].is_string(),
        "{root}"
    );
    let health = gateway.get("/health").await;
    assert_eq!(health["status"], "ok");
    assert!(health["version"].is_string());
    gateway.call("GET /ready", &[], "").await.expect(200);
    for path in ["/", "/health", "/ready"] {
        let mut client = Client::connect(gateway.address()).await;
        client.request(&format!("HEAD {path}"), &[], "").await;
        assert_eq!(client.head().await, Some(200), "HEAD {path}");
    }
}

#[tokio::test]
async fn unknown_paths_and_methods_are_json_errors() {
    let gateway = Setup::new().start();
    let cases = [
        ("GET /nothing", 404, "not_found"),
        ("GET /sessions/unknown", 404, "not_found"),
        ("GET /traces/unknown", 404, "not_found"),
        ("PUT /sessions", 405, "method_not_allowed"),
        ("POST /health", 405, "method_not_allowed"),
        ("TRACE /health", 405, "method_not_allowed"),
        ("PROPFIND /sessions", 405, "method_not_allowed"),
        ("PROPFIND /nothing", 501, "not_implemented"),
        ("CONNECT localhost:443", 501, "not_implemented"),
        ("GET /sessions?limit=-1", 400, "bad_request"),
        ("GET /traces?since=abc", 400, "bad_request"),
        ("GET /traces?limit=99999999999999999999", 400, "bad_request"),
    ];
    for (line, status, code) in cases {
        let reply = gateway.call(line, &[], "").await;
        assert_eq!(reply.status, status, "{line}: {}", reply.text());
        assert_eq!(reply.json()["error"]["code"], code, "{line}");
        assert_eq!(reply.json()["type"], "error", "{line}");
        assert_eq!(reply.header("allow").is_some(), status == 405, "{line}");
    }
    assert_eq!(gateway.get("/sessions/unknown/traces").await, json!([]));
}

#[tokio::test]
async fn sessions_are_made_by_hand_or_by_the_first_call_and_deleted_for_good() {
    let upstream = Upstream::vllm();
    let gateway = Gateway::over(&upstream);
    let made = json!({"session_id": "org/a:0", "metadata": {"task": 7}});
    let answer = gateway.post("/sessions", &made).await;
    assert_eq!(answer["session_id"], "org/a:0");
    assert!(
        answer["url"]
            .as_str()
            .is_some_and(|url| url.ends_with("/v1")),
        "{answer}"
    );
    // The URL is a base for clients.
    let url = answer["url"].as_str().expect("text");
    let line = format!("POST {url}/chat/completions");
    gateway
        .call(&line, &[], say("by its url"))
        .await
        .expect(200);
    gateway.chat("by-call", say("first")).await.expect(200);

    let session = gateway.get("/sessions/org%2Fa:0").await;
    assert_eq!(session["metadata"], json!({"task": 7}));
    assert_eq!(session["trace_count"], 1);
    let listed = gateway.get("/sessions").await;
    let ids: Vec<_> = listed
        .as_array()
        .expect("a list")
        .iter()
        .map(|s| &s["session_id"])
        .collect();
    assert_eq!(ids, ["by-call", "org/a:0"], "newest first");

    let reply = gateway
        .call("DELETE /sessions/org%2Fa:0", &[], "")
        .await
        .expect(200);
    assert_eq!(reply.json(), json!({"deleted": 1}));
    assert_eq!(gateway.get("/sessions/org%2Fa:0/traces").await, json!([]));
    gateway
        .call("GET /sessions/org%2Fa:0", &[], "")
        .await
        .expect(404);
    let reply = gateway
        .call("DELETE /sessions/never-was", &[], "")
        .await
        .expect(200);
    assert_eq!(reply.json(), json!({"deleted": 0}));
    // The other session is as it was, and all of it survives a restart.
    let gateway = gateway.kill().start();
    assert_eq!(gateway.traces("by-call").await.len(), 1);
    assert_eq!(gateway.traces("org%2Fa:0").await.len(), 0);
}

#[tokio::test]
async fn the_feed_pages_through_everything_once() {
    let upstream = Upstream::vllm();
    let gateway = Gateway::over(&upstream);
    for call in 0..7 {
        let session = format!("s{}", call % 2);
        gateway
            .chat(&session, say(&call.to_string()))
            .await
            .expect(200);
    }
    let mut contents = Vec::new();
    let mut path = "/traces?limit=3".to_owned();
    loop {
        let page = gateway.get(&path).await;
        for trace in page["traces"].as_array().expect("a list") {
            assert!(trace["_created_at"].is_number(), "{trace}");
            contents.push(trace["messages"][0]["content"].as_str().map(str::to_owned));
        }
        let Some(cursor) = page["next_cursor"].as_str() else {
            break;
        };
        path = format!("/traces?limit=3&cursor={cursor}");
    }
    let expected: Vec<_> = (0..7).rev().map(|call| Some(call.to_string())).collect();
    assert_eq!(contents, expected, "newest first, each once");
    let one = gateway.get("/traces?session_id=s1").await;
    assert_eq!(one["traces"].as_array().map(Vec::len), Some(3));
    let none = gateway.get("/traces?has_error=true").await;
    assert_eq!(none["traces"], json!([]));
}

#[tokio::test]
async fn flush_means_durable_and_stored() {
    let upstream = Upstream::vllm();
    let gateway = Gateway::over(&upstream);
    for call in 0..20 {
        gateway.chat("s", say(&call.to_string())).await.expect(200);
    }
    let flushed = gateway.post("/admin/flush", &json!({})).await;
    assert_eq!(flushed, json!({"status": "flushed"}));
    // In the database itself: it tells all without the journal.
    let setup = gateway.kill();
    let copy = Setup::new().worker(&upstream);
    for ending in ["", "-wal"] {
        let from = format!("{}{ending}", setup.database().display());
        let to = format!("{}{ending}", copy.database().display());
        if std::path::Path::new(&from).exists() {
            std::fs::copy(from, to).expect("a copy");
        }
    }
    assert_eq!(copy.start().traces("s").await.len(), 20);
}

#[tokio::test]
async fn what_a_session_was_made_with_survives_a_restart_and_goes_with_it() {
    let upstream = Upstream::vllm();
    let gateway = Gateway::over(&upstream);
    let made = r#"{"session_id": "s", "metadata": {"b": 1.0, "a": [1e3, 12345678901234567890]},
                   "sampling_params": {"temperature": 0.50}}"#;
    gateway.call("POST /sessions", &[], made).await.expect(200);
    let gateway = gateway.kill().start();
    let session = gateway.call("GET /sessions/s", &[], "").await.expect(200);
    let metadata = r#""metadata":{"b": 1.0, "a": [1e3, 12345678901234567890]}"#;
    assert!(session.text().contains(metadata), "{}", session.text());
    gateway.chat("s", say("hi")).await.expect(200);
    assert_eq!(upstream.only().json()["temperature"], 0.5);
    let sent = upstream.only();
    assert!(
        sent.text().contains(r#""temperature":0.50"#),
        "{}",
        sent.text()
    );

    // In place of what was there, and what is not given stays.
    let put = json!({"session_id": "s", "sampling_params": {"top_p": 0.9}});
    gateway.post("/sessions", &put).await;
    let session = gateway.call("GET /sessions/s", &[], "").await.expect(200);
    assert!(session.text().contains(metadata), "{}", session.text());
    gateway.chat("s", say("hi")).await.expect(200);
    let sent = upstream.received().pop().expect("the second call").json();
    assert_eq!(
        (&sent["top_p"], &sent["temperature"]),
        (&json!(0.9), &Value::Null)
    );

    gateway
        .call("DELETE /sessions/s", &[], "")
        .await
        .expect(200);
    gateway.chat("s", say("hi")).await.expect(200);
    let sent = upstream.received().pop().expect("the third call").json();
    assert_eq!(sent["top_p"], Value::Null);
    let anew = gateway.get("/sessions/s").await;
    assert_eq!(
        (&anew["metadata"], &anew["trace_count"]),
        (&json!({}), &json!(1))
    );
}

/// A delete raced with late writes, which brought the session back.
#[tokio::test]
async fn defect_20_a_deletion_wins_over_calls_that_end_late() {
    let end = Gate::new();
    let upstream = Upstream::start({
        let end = end.clone();
        move |request| vllm::reply(request).after(Script::new().wait(&end))
    });
    let gateway = Gateway::over(&upstream);
    let mut late = gateway.begin("s", say_streamed("late")).await;
    upstream.wait_for(1).await;
    let deleted = gateway
        .call("DELETE /sessions/s", &[], "")
        .await
        .expect(200);
    assert_eq!(deleted.json(), json!({"deleted": 0}));
    let mut new = gateway.begin("s", say("new")).await;
    upstream.wait_for(2).await;
    end.open();
    let late = late.reply().await.expect(200);
    let new = new.reply().await.expect(200);
    gateway.post("/admin/flush", &json!({})).await;
    let traces = gateway.traces("s").await;
    let ids: Vec<_> = traces.iter().map(|trace| &trace["trace_id"]).collect();
    assert_eq!(ids, [new.trace_id()]);
    let line = format!("GET /traces/{}", late.trace_id());
    gateway.call(&line, &[], "").await.expect(404);
    // Nor does the journal bring it back.
    let gateway = gateway.kill().start();
    assert_eq!(gateway.traces("s").await.len(), 1);
    assert_eq!(gateway.get("/traces/count").await["count"], 1);
}

/// Cursors follow the commits: a call that began first and ends last is on the last page.
#[tokio::test]
async fn defect_23_a_call_that_ends_late_is_neither_skipped_nor_repeated() {
    let end = Gate::new();
    let upstream = Upstream::start({
        let end = end.clone();
        move |request| match request.text().contains("late") {
            true => vllm::reply(request).after(Script::new().wait(&end)),
            false => vllm::reply(request),
        }
    });
    let gateway = Gateway::over(&upstream);
    let mut late = gateway.begin("s", say("late")).await;
    upstream.wait_for(1).await;
    for call in 0..3 {
        gateway.chat("s", say(&call.to_string())).await.expect(200);
    }
    let page = async |query: &str| {
        let page = gateway.get(&format!("/traces?order=asc{query}")).await;
        let texts = page["traces"].as_array().expect("a list").iter();
        let texts = texts.map(|trace| trace["messages"][0]["content"].as_str().map(str::to_owned));
        let texts: Vec<_> = texts.map(|text| text.expect("text")).collect();
        (texts, page)
    };
    let (first, at_first) = page("&limit=2").await;
    assert_eq!(first, ["0", "1"]);
    end.open();
    late.reply().await.expect(200);
    let cursor = at_first["next_cursor"].as_str().expect("more follows");
    let (second, at_second) = page(&format!("&limit=2&cursor={cursor}")).await;
    assert_eq!(second, ["2", "late"]);
    assert_eq!(at_second["next_cursor"], Value::Null);
    // The feed is followed from the last commit seen; the session goes by arrival.
    let seen = &at_first["traces"][1]["_created_at"];
    assert_eq!(page(&format!("&since={seen}")).await.0, ["2", "late"]);
    let arrived = gateway.traces("s").await;
    assert_eq!(arrived[0]["messages"][0]["content"], "late");
}
