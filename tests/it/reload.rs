//! The configuration, read anew while calls run.

use gateway_tests::{Gate, Gateway, Script, Setup, Upstream, eventually, vllm};
use serde_json::{Value, json};

use crate::{DONE, delta, say, say_streamed};

/// Writes this into the gateway's configuration file.
fn write(gateway: &Gateway, yaml: &str) {
    std::fs::write(gateway.setup().config(), yaml).expect("the file");
}

/// Writes this, and has it read.
async fn reload(gateway: &Gateway, yaml: &str) -> Value {
    write(gateway, yaml);
    gateway.post("/admin/reload", &json!({})).await
}

fn ok(changed: &[&str]) -> Value {
    json!({"status": "ok", "changed": changed, "restart_needed": []})
}

/// An upstream that streams half a reply, and the rest once the gate is open.
fn slow(go: &Gate) -> Upstream {
    let go = go.clone();
    Upstream::start(move |request| {
        if request.json()["stream"] != true {
            return vllm::reply(request);
        }
        let begin = delta(0, &json!({"role": "assistant", "content": "half"}), None);
        let end = delta(0, &json!({"content": " and half"}), Some("stop"));
        let begun = Script::stream().chunk(begin).wait(&go);
        begun.chunk(end).chunk(DONE).end()
    })
}

#[tokio::test]
async fn tokens_are_rotated_without_cutting_a_stream() {
    let go = Gate::new();
    let upstream = slow(&go);
    let tokens = |inbound: &str, admin: &str| {
        format!("inbound_auth_token: [{inbound}]\nadmin_auth_token: [{admin}]\n")
    };
    let setup = Setup::new().worker(&upstream);
    let gateway = setup.yaml(&tokens("old", "boss-1")).start();
    let status = async |token: &str, line: &str, body: &str| {
        let bearer = format!("authorization: Bearer {token}");
        let headers = [bearer.as_str(), "x-rllm-session-id: s"];
        gateway.call(line, &headers, body).await.status
    };
    let call = async |token: &str| status(token, "POST /v1/chat/completions", &say("hi")).await;
    let reload = async |admin: &str, yaml: &str| {
        write(&gateway, yaml);
        let bearer = format!("authorization: Bearer {admin}");
        gateway.call("POST /admin/reload", &[&bearer], "").await
    };
    let mut stream = gateway_tests::Client::connect(gateway.address()).await;
    let headers = ["authorization: Bearer old", "x-rllm-session-id: stream"];
    let line = "POST /v1/chat/completions";
    stream.request(line, &headers, say_streamed("hi")).await;
    assert_eq!(stream.head().await, Some(200));
    stream.body_until("half").await.expect("half of it");

    assert_eq!((call("old").await, call("new").await), (200, 401));
    // An agent may not reload.
    assert_eq!(
        reload("old", &tokens("old, new", "boss-1")).await.status,
        403
    );
    assert_eq!(call("new").await, 401);
    let both = reload("boss-1", &tokens("old, new", "boss-1"))
        .await
        .expect(200);
    assert_eq!(both.json(), ok(&["inbound_auth_token"]));
    assert_eq!((call("old").await, call("new").await), (200, 200));

    let moved = reload("boss-1", &tokens("new", "boss-2")).await.expect(200);
    assert_eq!(
        moved.json(),
        ok(&["inbound_auth_token", "admin_auth_token"])
    );
    assert_eq!((call("old").await, call("new").await), (401, 200));
    assert_eq!(status("boss-1", "GET /traces", "").await, 401);
    assert_eq!(status("boss-2", "GET /traces", "").await, 200);

    go.open();
    let reply = stream.rest().await.expect(200);
    assert!(reply.text().ends_with(DONE), "{}", reply.text());
    // The connection stays, and the old token is refused on it like anywhere.
    stream.request(line, &headers, say("hi")).await;
    stream.reply().await.expect(401);
    for secret in ["boss-1", "boss-2"] {
        assert!(!gateway.log().contains(secret), "{}", gateway.log());
    }
}

#[tokio::test]
async fn routes_and_limits_change_for_the_next_call_and_no_stream_is_cut() {
    let go = Gate::new();
    let (first, second) = (slow(&go), Upstream::vllm());
    let route = |upstream: &Upstream, more: &str| {
        let url = upstream.url();
        format!("routes: {{tiny: {{upstream_url: '{url}/v1'{more}}}}}\n")
    };
    let gateway = Setup::new().yaml(&route(&first, "")).start();
    let mut stream = gateway.begin_until("s", say_streamed("hi"), "half").await;
    let changed = reload(&gateway, &route(&second, ", auth_header: Bearer k")).await;
    assert_eq!(changed, ok(&["routes"]));
    gateway.chat("s", say("hi")).await.expect(200);
    assert_eq!(second.only().header("authorization"), Some("Bearer k"));
    // The credential alone.
    let changed = reload(&gateway, &route(&second, ", auth_header: Bearer l")).await;
    assert_eq!(changed, ok(&["routes"]));
    go.open();
    assert!(stream.rest().await.expect(200).text().ends_with(DONE));

    let limits = format!(
        "{}max_request_bytes: 10\nmax_inflight: 1\n",
        route(&second, "")
    );
    let changed = reload(&gateway, &limits).await;
    assert_eq!(
        changed,
        ok(&["routes", "max_request_bytes", "max_inflight"])
    );
    gateway.chat("s", say("hi")).await.expect(413);
    assert_eq!(reload(&gateway, &limits).await, ok(&[]));
    let wide = reload(&gateway, "model: other").await;
    let keys = ["routes", "model", "max_request_bytes", "max_inflight"];
    assert_eq!(wide, ok(&keys));
    gateway.chat("s", say("hi")).await.expect(404);
}

#[tokio::test]
async fn workers_follow_the_file_and_those_of_the_api_stay() {
    let pool: Vec<Upstream> = (0..4).map(|_| Upstream::vllm()).collect();
    let file = |workers: &[usize]| {
        let urls: Vec<_> = workers.iter().map(|at| pool[*at].url()).collect();
        format!("workers: {}\n", json!(urls))
    };
    let gateway = Setup::new().yaml(&file(&[0, 1])).start();
    let of_api = json!({"url": pool[2].url(), "worker_id": "mine", "weight": 2});
    gateway.post("/admin/workers", &of_api).await;
    let sessions: Vec<String> = (0..24).map(|n| format!("s{n}")).collect();
    let serve = async || {
        let mut homes = Vec::new();
        for session in &sessions {
            let reply = gateway.chat(session, say("hi")).await.expect(200);
            let trace = gateway.trace(reply.trace_id()).await;
            homes.push((trace["upstream"].clone(), trace["upstream_reason"].clone()));
        }
        homes
    };
    let id_of = async |at: usize| {
        let workers = gateway.get("/admin/workers").await;
        let workers = workers.as_array().expect("a list");
        let worker = workers
            .iter()
            .find(|worker| worker["url"] == pool[at].url());
        worker.map_or(Value::Null, |worker| worker["worker_id"].clone())
    };
    let before = serve().await;
    let (gone, stays) = (id_of(1).await, id_of(0).await);

    // Worker 1 leaves the file, 3 comes; the file's word on the API's worker does not count.
    assert_eq!(reload(&gateway, &file(&[0, 2, 3])).await, ok(&["workers"]));
    assert_eq!(
        (id_of(0).await, id_of(1).await, id_of(2).await),
        (stays, Value::Null, json!("mine"))
    );
    assert_ne!(id_of(3).await, Value::Null);
    let workers = gateway.get("/admin/workers").await;
    let mine = workers.as_array().expect("a list").iter();
    let weights: Vec<_> = mine.map(|worker| worker["weight"].clone()).collect();
    assert_eq!(weights, [json!(1), json!(2), json!(1)]);
    for ((home, _), (now, reason)) in before.iter().zip(serve().await) {
        if *home == gone {
            assert_ne!(now, gone);
            assert_eq!(reason, "moved");
        } else {
            assert_eq!((&now, reason), (home, json!("sticky")));
        }
    }
    assert_eq!(reload(&gateway, "workers: []").await, ok(&["workers"]));
    let left = gateway.get("/admin/workers").await;
    assert_eq!(left.as_array().map(Vec::len), Some(1), "{left}");
}

#[tokio::test]
async fn a_bad_file_changes_nothing_and_says_where() {
    let upstream = Upstream::vllm();
    let gateway = Setup::new().worker(&upstream).yaml("model: before").start();
    let cases: [(&str, &[&str]); 5] = [
        (
            "model: after\nroutes:\n  m: {upstream_url: ftp://x}",
            &["gateway.yaml:3", "routes.m.upstream_url"],
        ),
        (
            "model: after\nmax_inflite: 3",
            &["gateway.yaml:2", "max_inflite", "max_inflight"],
        ),
        (
            "model: after\ninbound_auth_token: ${CANARY_NOT_SET}",
            &["gateway.yaml:2", "inbound_auth_token", "CANARY_NOT_SET"],
        ),
        ("model: after\nport: many", &["gateway.yaml:2", "port"]),
        ("model: [", &["gateway.yaml"]),
    ];
    for (yaml, words) in cases {
        write(&gateway, yaml);
        let refused = gateway
            .call("POST /admin/reload", &[], "")
            .await
            .expect(400);
        let error = refused.json()["error"].clone();
        assert_eq!(error["code"], "bad_request");
        let message = error["message"].as_str().expect("a message");
        for word in words {
            assert!(message.contains(word), "{word}: {message}");
        }
        gateway.chat("s", say("hi")).await.expect(200);
        let sent = upstream.received().pop().expect("a call").json();
        assert_eq!(sent["model"], "before", "{yaml}");
    }
    std::fs::remove_file(gateway.setup().config()).expect("the file");
    let gone = gateway
        .call("POST /admin/reload", &[], "")
        .await
        .expect(400);
    assert!(
        gone.text().contains("cannot read this file"),
        "{}",
        gone.text()
    );
    gateway.chat("s", say("hi")).await.expect(200);
}

/// What saves a file in place leaves it empty for a moment: that must not open the gateway. To take
/// the last token out is allowed, and told.
#[tokio::test]
async fn an_empty_file_is_refused_and_the_end_of_the_tokens_is_told() {
    let upstream = Upstream::vllm();
    let tokens = "inbound_auth_token: agent\nadmin_auth_token: boss\n";
    let gateway = Setup::new().worker(&upstream).yaml(tokens).start();
    let admin = ["authorization: Bearer boss"];
    let line = "POST /admin/reload";
    for yaml in ["", "\n", "# soon\n", "---\n", "{}"] {
        write(&gateway, yaml);
        let refused = gateway.call(line, &admin, "").await.expect(400);
        let says = "gateway.yaml: the configuration file is empty";
        assert!(refused.text().contains(says), "{}", refused.text());
        gateway.chat("s", say("hi")).await.expect(401);
    }
    let told = |key: &str| {
        let what = format!("the last {key} was removed");
        let log = gateway.log();
        let mut lines = log.lines();
        lines.any(|line| line.contains("WARN") && line.contains(&what))
    };
    write(&gateway, "inbound_auth_token: agent\nmodel: m");
    gateway.call(line, &admin, "").await.expect(200);
    write(&gateway, "model: m");
    let agent = ["authorization: Bearer agent"];
    gateway.call(line, &agent, "").await.expect(200);
    gateway.chat("s", say("hi")).await.expect(200);
    eventually("lines that tell of it", async || {
        let keys = ["admin_auth_token", "inbound_auth_token"];
        keys.into_iter().all(told).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_hang_up_reloads_and_what_needs_a_restart_is_told() {
    let upstream = Upstream::vllm();
    let gateway = Setup::new().worker(&upstream).yaml("model: before").start();
    write(&gateway, "model: after\nrun_id: r\ndrain_timeout: 1");
    gateway.signal("HUP");
    let model = async || {
        gateway.chat("s", say("hi")).await.expect(200);
        upstream.received().pop().expect("a call").json()["model"].clone()
    };
    eventually("the other model", async || {
        (model().await == "after").then_some(())
    })
    .await;
    eventually("a line that tells what waits", async || {
        let log = gateway.log();
        let line = log.lines().find(|line| line.contains("restart_needed"))?;
        line.contains("drain_timeout").then_some(())
    })
    .await;
    let trace = &gateway.traces("s").await[0];
    assert_eq!(trace["run_id"], Value::Null, "the run is of the start");
    // A bad file is a line in the log, and nothing else.
    write(&gateway, "modle: worse");
    gateway.signal("HUP");
    eventually("a complaint", async || {
        gateway.log().contains("modle").then_some(())
    })
    .await;
    assert_eq!(model().await, "after");
    let told = reload(&gateway, "model: after\nrun_id: r").await;
    assert_eq!(
        told,
        json!({"status": "ok", "changed": [], "restart_needed": ["run_id"]})
    );
}

/// Flags and variables still win over the file.
#[tokio::test]
async fn the_layers_are_those_of_the_start() {
    let upstream = Upstream::vllm();
    let setup = Setup::new().worker(&upstream).argument("--model=flag");
    let gateway = setup.variable("RLLM_GATEWAY_INBOUND_TOKEN", "t").start();
    let bearer = ["authorization: Bearer t", "x-rllm-session-id: s"];
    write(
        &gateway,
        "model: file\ninbound_auth_token: other\nworkers: ['http://127.0.0.1:1']",
    );
    let reloaded = gateway
        .call("POST /admin/reload", &bearer, "")
        .await
        .expect(200);
    assert_eq!(reloaded.json(), ok(&[]));
    let line = "POST /v1/chat/completions";
    gateway.call(line, &bearer, say("hi")).await.expect(200);
    assert_eq!(upstream.only().json()["model"], "flag");
}

#[tokio::test]
async fn the_priority_of_sampling_params_is_that_of_the_file() {
    let upstream = Upstream::vllm();
    let gateway = Setup::new().worker(&upstream).start();
    let session = json!({"session_id": "s", "sampling_params": {"temperature": 0.25, "top_k": 7}});
    gateway.post("/sessions", &session).await;
    let body = json!({"model": "tiny", "temperature": 1.0, "messages": []}).to_string();
    let sent = async || {
        gateway.chat("s", &body).await.expect(200);
        let sent = upstream.received().pop().expect("a call").json();
        (sent["temperature"].clone(), sent["top_k"].clone())
    };
    assert_eq!(sent().await, (json!(1.0), json!(7)));
    let changed = reload(&gateway, "sampling_params_priority: session").await;
    assert_eq!(changed, ok(&["sampling_params_priority"]));
    assert_eq!(sent().await, (json!(0.25), json!(7)));
    reload(&gateway, "sampling_params_priority: client").await;
    assert_eq!(sent().await, (json!(1.0), json!(7)));
}
