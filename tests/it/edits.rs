//! The named edits of a body, in their order: model pin, session sampling params, injection, the
//! route's model, its dropped params, rLLM keys.

use gateway_tests::{Gateway, Setup, Upstream};
use serde_json::{Value, json};

/// What of this body reaches the upstream, byte for byte.
async fn sent(gateway: &Gateway, upstream: &Upstream, endpoint: &str, body: &str) -> String {
    let line = format!("POST /v1/{endpoint}");
    let headers = ["x-rllm-session-id: s", "content-type: application/json"];
    let before = upstream.received().len();
    gateway.call(&line, &headers, body).await;
    let mut received = upstream.received();
    assert_eq!(received.len(), before + 1, "{endpoint} {body}");
    let last = received.pop().expect("a request");
    assert!(last.target().ends_with(endpoint), "{}", last.target());
    last.text().to_owned()
}

/// Sets the params of the session, as text, so that numbers keep their spelling.
async fn params(gateway: &Gateway, params: &str) {
    let body = format!(r#"{{"session_id":"s","sampling_params":{params}}}"#);
    gateway.call("POST /sessions", &[], body).await.expect(200);
}

const PARAMS: &str = r#"{"temperature":0.50,"top_p":1e0,"stop":["\u00e9"]}"#;

/// Each body with what is sent of it where the client wins, and where the session does.
const FILLED: [(&str, &str, &str, &str); 5] = [
    (
        "responses",
        r#"{"model":"m","input":"hi"}"#,
        r#"{"model":"m","input":"hi","temperature":0.50,"top_p":1e0,"stop":["\u00e9"]}"#,
        r#"{"model":"m","input":"hi","temperature":0.50,"top_p":1e0,"stop":["\u00e9"]}"#,
    ),
    (
        "messages",
        r#"{ "temperature" : 1.0 , "model":"m","top_p":null}"#,
        r#"{ "temperature" : 1.0 , "model":"m","top_p":null,"stop":["\u00e9"]}"#,
        r#"{ "temperature" : 0.50 , "model":"m","top_p":1e0,"stop":["\u00e9"]}"#,
    ),
    (
        "chat/completions",
        r#"{"model":"m","temperature":1.0,"messages":[]}"#,
        r#"{"model":"m","temperature":1.0,"messages":[],"top_p":1e0,"stop":["\u00e9"],"logprobs":true,"return_token_ids":true}"#,
        r#"{"model":"m","temperature":0.50,"messages":[],"top_p":1e0,"stop":["\u00e9"],"logprobs":true,"return_token_ids":true}"#,
    ),
    (
        "completions",
        r#"{"temperature":1.0,"top_p":0.25,"stop":[],"rllm":{"harness":"h"},"prompt":"hi"}"#,
        r#"{"temperature":1.0,"top_p":0.25,"stop":[],"prompt":"hi","logprobs":1,"return_token_ids":true}"#,
        r#"{"temperature":0.50,"top_p":1e0,"stop":["\u00e9"],"prompt":"hi","logprobs":1,"return_token_ids":true}"#,
    ),
    // No sampling is done for these.
    (
        "embeddings",
        r#"{"model":"m","input":"hi"}"#,
        r#"{"model":"m","input":"hi"}"#,
        r#"{"model":"m","input":"hi"}"#,
    ),
];

async fn check_filled(gateway: &Gateway, upstream: &Upstream, session_first: bool) {
    for (endpoint, body, client, session) in FILLED {
        let expected = if session_first { session } else { client };
        assert_eq!(
            sent(gateway, upstream, endpoint, body).await,
            expected,
            "{endpoint}"
        );
    }
}

/// Set once, they are there after a crash, and after a restart with another priority, and after
/// that was changed back by a reload.
#[tokio::test]
async fn sampling_params_fill_or_overwrite_after_a_restart_and_a_reload_too() {
    let upstream = Upstream::vllm();
    let gateway = Setup::new().worker(&upstream).start();
    params(&gateway, PARAMS).await;
    check_filled(&gateway, &upstream, false).await;
    let gateway = gateway.kill().start();
    check_filled(&gateway, &upstream, false).await;
    let setup = gateway.kill().yaml("sampling_params_priority: session");
    let gateway = setup.start();
    check_filled(&gateway, &upstream, true).await;
    std::fs::write(setup.config(), "sampling_params_priority: client").expect("the file");
    gateway.post("/admin/reload", &json!({})).await;
    check_filled(&gateway, &upstream, false).await;
    std::fs::write(setup.config(), "sampling_params_priority: session").expect("the file");
    gateway.post("/admin/reload", &json!({})).await;
    check_filled(&gateway, &upstream, true).await;

    // Set anew they are replaced as a whole; set to nothing they are gone, and with their session.
    params(&gateway, r#"{"seed":7}"#).await;
    let body = r#"{"model":"m","input":"hi"}"#;
    let seeded = r#"{"model":"m","input":"hi","seed":7}"#;
    assert_eq!(sent(&gateway, &upstream, "responses", body).await, seeded);
    params(&gateway, "{}").await;
    assert_eq!(sent(&gateway, &upstream, "responses", body).await, body);
    params(&gateway, PARAMS).await;
    let deleted = gateway.call("DELETE /sessions/s", &[], "").await;
    deleted.expect(200);
    assert_eq!(sent(&gateway, &upstream, "responses", body).await, body);
    let gateway = gateway.kill().start();
    assert_eq!(sent(&gateway, &upstream, "responses", body).await, body);
}

#[tokio::test]
async fn what_would_change_the_call_itself_is_no_sampling_param() {
    let upstream = Upstream::vllm();
    let gateway = Gateway::over(&upstream);
    params(&gateway, r#"{"seed":7}"#).await;
    for name in ["model", "stream", "messages"] {
        let params = json!({"temperature": 1, name: true});
        let body = json!({"session_id": "s", "sampling_params": params});
        let refused = gateway.call("POST /sessions", &[], body.to_string()).await;
        assert_eq!(refused.status, 400, "{name}");
        assert!(refused.text().contains(name), "{}", refused.text());
    }
    // What was there stays.
    let body = r#"{"input":"hi"}"#;
    let seeded = r#"{"input":"hi","seed":7}"#;
    assert_eq!(sent(&gateway, &upstream, "responses", body).await, seeded);
}

#[tokio::test]
async fn the_model_is_pinned_where_one_is_named_and_routing_goes_by_it() {
    let (pinned, other) = (Upstream::vllm(), Upstream::vllm());
    let worker = |upstream: &Upstream, model: &str| {
        format!("  - {{url: '{}', model_name: {model}}}\n", upstream.url())
    };
    let workers = format!("workers:\n{}{}", worker(&pinned, "p"), worker(&other, "m"));
    let setup = Setup::new().yaml(&workers).argument("--model=p");
    let gateway = setup
        .yaml("add_logprobs: false\nadd_return_token_ids: false")
        .start();
    let cases = [
        (
            "chat/completions",
            r#"{"model":"m","messages":[]}"#,
            r#"{"model":"p","messages":[]}"#,
        ),
        (
            "completions",
            r#"{"prompt":"hi"}"#,
            r#"{"prompt":"hi","model":"p"}"#,
        ),
        (
            "responses",
            r#"{"mod\u0065l":"m"}"#,
            r#"{"mod\u0065l":"p"}"#,
        ),
        ("messages", r#"{"model":null}"#, r#"{"model":"p"}"#),
        (
            "embeddings",
            r#"{"model": 7 ,"input":"hi"}"#,
            r#"{"model": "p" ,"input":"hi"}"#,
        ),
        (
            "messages/count_tokens",
            r#"{"model":"m"}"#,
            r#"{"model":"p"}"#,
        ),
        ("chat/completions", r#"{"model":"p"}"#, r#"{"model":"p"}"#),
    ];
    for (endpoint, body, expected) in cases {
        assert_eq!(
            sent(&gateway, &pinned, endpoint, body).await,
            expected,
            "{endpoint}"
        );
    }
    assert!(other.received().is_empty());
    // What is no model call keeps what it says.
    let body = r#"{"model":"m"}"#;
    let before = pinned.received().len();
    gateway
        .call("POST /v1/files", &["x-rllm-session-id: s"], body)
        .await;
    let mut all = pinned.received().split_off(before);
    all.extend(other.received());
    let bodies: Vec<_> = all
        .iter()
        .map(|request| request.text().to_owned())
        .collect();
    assert_eq!(bodies, [body]);
    // The trace names what the client asked for, and what was sent instead.
    let trace = &gateway.traces("s").await[0];
    assert_eq!(trace["model"], "m");
    assert_eq!(
        trace["edits"],
        json!({"set": {"model": "p"}, "removed": []})
    );
    assert_eq!(trace["raw_request"]["model"], "m");
}

/// All of them at once: what is later in the order wins.
#[tokio::test]
async fn the_edits_come_in_their_order() {
    let upstream = Upstream::vllm();
    let route = |more: &str| {
        let url = upstream.url();
        format!(
            "model: p\nroutes: {{p: {{upstream_url: '{url}/v1', upstream_model: up, inject: true{more}}}}}\n"
        )
    };
    let body = r#"{"rllm":{"harness":"h"},"model":"m","seed":1,"messages":[],"metadata":{"rllm":{"step_id":3}},"logprobs":false,"x":1e3}"#;
    let cases = [
        (
            "",
            "client",
            r#"{"model":"up","seed":1,"messages":[],"logprobs":true,"x":1e3,"temperature":0.50,"return_token_ids":true}"#,
            json!({"set": {"model": "up", "temperature": 0.5}, "removed": []}),
        ),
        (
            "",
            "session",
            r#"{"model":"up","seed":2,"messages":[],"logprobs":true,"x":1e3,"temperature":0.50,"return_token_ids":true}"#,
            json!({"set": {"model": "up", "seed": 2, "temperature": 0.5}, "removed": []}),
        ),
        (
            ", drop_params: [seed, temperature, logprobs, absent]",
            "session",
            r#"{"model":"up","messages":[],"x":1e3,"return_token_ids":true}"#,
            json!({"set": {"model": "up"}, "removed": ["seed", "logprobs"]}),
        ),
    ];
    for (more, priority, expected, edits) in cases {
        let setup = Setup::new().yaml(&route(more));
        let gateway = setup
            .argument(format!("--sampling-params-priority={priority}"))
            .start();
        params(&gateway, r#"{"seed":2,"temperature":0.50}"#).await;
        let text = sent(&gateway, &upstream, "chat/completions", body).await;
        assert_eq!(text, expected, "{priority}{more}");
        let trace = gateway.only_trace("s").await;
        assert_eq!(trace["edits"], edits, "{priority}{more}");
        // `metadata.rllm` is there, and so `rllm` is not read; both are gone.
        let identity = (&trace["harness"], &trace["step_id"]);
        assert_eq!(identity, (&Value::Null, &json!(3)));
    }
}
