//! Provider routes: their keys, their edits, and the paths that they open.

use gateway_tests::{Setup, Upstream, vllm};
use serde_json::json;

fn routed(upstream: &Upstream) -> Setup {
    let url = upstream.url();
    Setup::new()
        .yaml(&format!(
            "routes:\n  gpt-4o:\n    upstream_url: {url}/base/v1\n    \
             auth_header: \"Bearer ${{OPENAI_API_KEY}}\"\n    \
             drop_params: [temperature, logit_bias]\n    headers: {{x-org: acme}}"
        ))
        .variable("OPENAI_API_KEY", "sk-live-42")
}

/// Answers under the route's base as the worker answers under `/v1`.
fn provider() -> Upstream {
    Upstream::start(|request| {
        let reply = json!({"id": "r", "object": "chat.completion", "model": "gpt-4o-2026",
            "choices": [{"index": 0, "message": {"role": "assistant", "content": "ok"},
                         "finish_reason": "stop", "stop_reason": "kept", "token_ids": [1]}]});
        match request.target().starts_with("/base/v1/") {
            true => gateway_tests::Script::json("200 OK", reply.to_string()),
            false => vllm::reply(request),
        }
    })
}

#[tokio::test]
async fn defect_09_variables_in_the_yaml_are_expanded_and_reach_the_provider() {
    let upstream = provider();
    let gateway = routed(&upstream).start();
    let front = r#"{"model":"gpt-4o","messages":[],"top_p":1.0"#;
    let body = format!(r#"{front},"temperature":0.5,"logit_bias":{{"1":2}}}}"#);
    let headers = [
        "authorization: Bearer the-agents",
        "x-api-key: the-agents",
        "x-rllm-session-id: s",
        "content-type: application/json",
    ];
    let line = "POST /v1/chat/completions?beta=true";
    let reply = gateway.call(line, &headers, &body).await.expect(200);

    let seen = upstream.only();
    assert_eq!(seen.target(), "/base/v1/chat/completions?beta=true");
    assert_eq!(seen.header("authorization"), Some("Bearer sk-live-42"));
    assert_eq!(seen.header("x-api-key"), None);
    assert_eq!(seen.header("x-org"), Some("acme"));
    assert_eq!(
        seen.text(),
        format!("{front}}}"),
        "dropped, and nothing injected"
    );
    // A route's reply is not edited.
    assert_eq!(reply.json()["choices"][0]["token_ids"], json!([1]));

    let trace = gateway.trace(reply.trace_id()).await;
    assert_eq!(trace["upstream"], "gpt-4o");
    assert_eq!(trace["upstream_reason"], "route");
    assert_eq!(
        trace["edits"]["removed"],
        json!(["temperature", "logit_bias"])
    );
    assert!(!trace.to_string().contains("sk-live-42"));
    assert!(!gateway.log().contains("sk-live-42"));
}

#[tokio::test]
async fn a_missing_variable_stops_the_start_and_names_key_and_variable() {
    let upstream = provider();
    let url = upstream.url();
    let failure = Setup::new()
        .yaml(&format!(
            "routes:\n  gpt-4o:\n    upstream_url: {url}/v1\n    \
             auth_header: \"Bearer ${{NO_SUCH_KEY_HERE}}\""
        ))
        .fail();
    failure.says(2, &["auth_header", "NO_SUCH_KEY_HERE"]);
}

#[tokio::test]
async fn a_route_opens_model_calls_and_no_files() {
    let upstream = provider();
    let gateway = routed(&upstream).start();
    let body = json!({"model": "gpt-4o", "purpose": "assistants"}).to_string();
    for path in [
        "/v1/files",
        "/v1/fine_tuning/jobs",
        "/v1/organization/users",
    ] {
        let reply = gateway.call(&format!("POST {path}"), &[], &body).await;
        assert_eq!(reply.status, 403, "{path}: {}", reply.text());
        assert_eq!(reply.json()["error"]["code"], "path_not_allowed");
    }
    assert!(upstream.received().is_empty());

    let url = upstream.url();
    let open = format!("routes:\n  '*':\n    upstream_url: {url}/base/v1\n    paths: any");
    let gateway = Setup::new().yaml(&open).start();
    gateway.call("GET /v1/files", &[], "").await.expect(200);
    assert_eq!(upstream.only().target(), "/base/v1/files");
}

#[tokio::test]
async fn a_star_route_takes_what_names_no_model_but_opens_no_files() {
    let upstream = provider();
    let url = upstream.url();
    let star = format!("routes:\n  '*':\n    upstream_url: {url}/base/v1");
    let gateway = Setup::new().yaml(&star).start();
    gateway.call("GET /v1/models", &[], "").await.expect(200);
    let reply = gateway.call("GET /v1/files", &[], "").await;
    assert_eq!(reply.status, 403, "{}", reply.text());
    assert_eq!(upstream.received().len(), 1);
}

#[tokio::test]
async fn an_api_key_header_is_sent_under_its_name() {
    let upstream = provider();
    let url = upstream.url();
    let gateway = Setup::new()
        .yaml(&format!(
            "routes:\n  claude-*:\n    upstream_url: {url}/base/v1\n    \
             auth_header: x-api-key sk-ant-1"
        ))
        .start();
    let body = r#"{"model":"claude-fable-5","max_tokens":1,"messages":[]}"#;
    gateway
        .call("POST /v1/messages", &[], body)
        .await
        .expect(200);
    let seen = upstream.only();
    assert_eq!(seen.header("x-api-key"), Some("sk-ant-1"));
    assert_eq!(seen.header("authorization"), None);
    assert_eq!(seen.text(), body);
}

#[tokio::test]
async fn the_exact_route_then_the_longest_glob_then_the_pool() {
    let (exact, glob, star, pool) = (provider(), provider(), provider(), Upstream::vllm());
    let route = |key: &str, upstream: &Upstream| {
        format!("\n  '{key}':\n    upstream_url: {}/base/v1", upstream.url())
    };
    let routes = [
        route("*", &star),
        route("gpt-*", &glob),
        route("gpt-4o", &exact),
    ];
    let gateway = Setup::new()
        .worker(&pool)
        .yaml(&format!("routes:{}", routes.concat()))
        .start();
    for model in ["gpt-4o", "gpt-5", "other"] {
        let body = json!({"model": model, "messages": []}).to_string();
        gateway.chat("s", body).await.expect(200);
    }
    gateway.call("GET /v1/models", &[], "").await.expect(200);
    for upstream in [&exact, &glob, &star, &pool] {
        upstream.only();
    }
}

#[tokio::test]
async fn a_model_that_nothing_serves_is_a_404_and_models_are_the_route_keys() {
    let upstream = provider();
    let gateway = routed(&upstream).start();
    let reply = gateway.chat("s", r#"{"model":"nope","messages":[]}"#).await;
    assert_eq!(reply.status, 404);
    assert_eq!(reply.json()["error"]["code"], "no_route");
    assert_eq!(gateway.only_trace("s").await["outcome"], "gateway_error");
    let models = gateway.get("/v1/models").await;
    assert_eq!(models["object"], "list");
    assert_eq!(models["data"][0]["id"], "gpt-4o");
    assert!(upstream.received().is_empty());
}
