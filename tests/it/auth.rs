//! The door: who may come in, and that credentials go no further.

use gateway_tests::{Client, Gateway, Setup, Upstream};

use crate::say;

const TOKEN: &str = "inbound-7f3a";

fn guarded(upstream: &Upstream) -> Gateway {
    let setup = Setup::new().worker(upstream);
    setup.yaml(&format!("inbound_auth_token: {TOKEN}")).start()
}

#[tokio::test]
async fn every_request_without_a_token_is_the_same_401() {
    let upstream = Upstream::vllm();
    let gateway = guarded(&upstream);
    let lines = [
        "GET /",
        "GET /health",
        "GET /ready",
        "GET /v1/models",
        "POST /v1/chat/completions",
        "POST /sessions/s/v1/chat/completions",
        "GET /sessions",
        "GET /traces",
        "DELETE /sessions/s",
        "POST /admin/workers",
        "GET /no/such/path",
        "GET /v1/../x",
        "GET /health?token=inbound-7f3a",
    ];
    for line in lines {
        let reply = gateway.call(line, &["x-rllm-session-id: s"], "").await;
        refused(line, &reply);
    }
    let credentials = [
        "authorization: Bearer",
        "authorization: Bearer ",
        "authorization: ",
        "authorization: Bearer inbound-7f3",
        "authorization: Bearer inbound-7f3a0",
        "authorization: Bearer ' OR 1=1 --",
        "authorization: Basic aW5ib3VuZC03ZjNhOng=",
        "authorization: inbound-7f3a",
        "x-api-key: ",
        "x-api-key: nothing",
    ];
    for credential in credentials {
        let line = "POST /v1/chat/completions";
        let reply = gateway.call(line, &[credential], say("hi")).await;
        refused(credential, &reply);
    }
    assert!(upstream.received().is_empty());
    assert!(!gateway.log().contains(TOKEN), "{}", gateway.log());
}

fn refused(what: &str, reply: &gateway_tests::Reply) {
    assert_eq!(reply.status, 401, "{what}");
    let challenge = reply.header("www-authenticate");
    assert_eq!(challenge, Some(r#"Bearer realm="rllm-gateway""#), "{what}");
    assert_eq!(reply.header("content-type"), Some("application/json"));
    let body = reply.json();
    assert_eq!(body["type"], "error", "{what}");
    let error = &body["error"];
    assert_eq!(error["message"], "missing or invalid bearer token");
    assert_eq!(error["type"], "auth_error");
    assert_eq!(error["code"], "unauthorized");
    assert_eq!(error["param"], serde_json::Value::Null);
}

#[tokio::test]
async fn a_refused_body_is_never_read() {
    let upstream = Upstream::vllm();
    let gateway = guarded(&upstream);
    let mut client = Client::connect(gateway.address()).await;
    let head = "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n\
                content-length: 1000000000\r\nexpect: 100-continue\r\n\r\n";
    client.send(head).await;
    // The answer comes at once: no `100 Continue`, and not a byte was sent.
    assert_eq!(client.head().await, Some(401));
    // No client sends its next request after a body that nobody reads.
    let reply = client.rest().await;
    assert_eq!(reply.header("connection"), Some("close"));
}

#[tokio::test]
async fn any_of_the_three_forms_opens_and_none_reaches_the_worker() {
    // Basic carries `any:inbound-7f3a`.
    let credentials = [
        "authorization: Bearer inbound-7f3a",
        "authorization: bearer   inbound-7f3a",
        "x-api-key: inbound-7f3a",
        "authorization: Basic YW55OmluYm91bmQtN2YzYQ==",
    ];
    for credential in credentials {
        let upstream = Upstream::vllm();
        let gateway = guarded(&upstream);
        let line = "POST /v1/chat/completions";
        let other = match credential.starts_with("x-api-key") {
            true => "x-other: 1",
            false => "x-api-key: not-the-gateways",
        };
        let reply = gateway.call(line, &[credential, other], say("hi")).await;
        assert_eq!(reply.status, 200, "{credential}");
        let seen = upstream.only();
        assert_eq!(seen.header("authorization"), None, "{credential}");
        assert_eq!(seen.header("x-api-key"), None, "{credential}");
    }
}

#[tokio::test]
async fn defect_08_the_worker_never_sees_the_inbound_token_or_rllm_headers() {
    let upstream = Upstream::vllm();
    let gateway = guarded(&upstream);
    let headers = [
        "authorization: Bearer inbound-7f3a",
        "x-api-key: inbound-7f3a",
        "x-rllm-session-id: s",
        "x-rllm-future: 1",
    ];
    let line = "POST /v1/chat/completions";
    gateway.call(line, &headers, say("hi")).await.expect(200);
    let seen = upstream.only();
    let head = String::from_utf8_lossy(seen.raw_head()).to_lowercase();
    assert!(!head.contains(TOKEN) && !head.contains("rllm"), "{head}");
}

#[tokio::test]
async fn without_inbound_auth_the_clients_credential_is_the_workers() {
    let upstream = Upstream::vllm();
    let gateway = Gateway::over(&upstream);
    let headers = ["authorization: Bearer for-vllm"];
    let line = "POST /v1/chat/completions";
    gateway.call(line, &headers, say("hi")).await.expect(200);
    let seen = upstream.only();
    assert_eq!(seen.header("authorization"), Some("Bearer for-vllm"));
}

#[tokio::test]
async fn defect_10_a_token_with_other_bytes_is_a_401_and_never_a_500() {
    let upstream = Upstream::vllm();
    let gateway = guarded(&upstream);
    for name in [
        "authorization: Bearer ",
        "authorization: Basic ",
        "x-api-key: ",
    ] {
        let mut client = Client::connect(gateway.address()).await;
        let mut request = b"GET /health HTTP/1.1\r\nhost: localhost\r\n".to_vec();
        request.extend_from_slice(name.as_bytes());
        request.extend_from_slice(b"t\xf6k\xe4n\xff\xfe\r\n\r\n");
        client.send(request).await;
        refused(name, &client.reply().await);
    }
}

#[tokio::test]
async fn two_authorization_lines_are_a_400() {
    let upstream = Upstream::vllm();
    let gateway = guarded(&upstream);
    let headers = [
        "authorization: Bearer inbound-7f3a",
        "authorization: Bearer other",
    ];
    let reply = gateway.call("GET /health", &headers, "").await;
    assert_eq!(reply.status, 400, "{}", reply.text());
}

#[tokio::test]
async fn with_an_admin_token_agents_may_call_models_and_nothing_else() {
    let upstream = Upstream::vllm();
    let setup = Setup::new().worker(&upstream);
    let gateway = setup
        .yaml("inbound_auth_token: [agent-1, agent-2]\nadmin_auth_token: boss")
        .start();
    for token in ["agent-1", "agent-2", "boss"] {
        let bearer = format!("authorization: Bearer {token}");
        let headers = [bearer.as_str(), "x-rllm-session-id: s"];
        let line = "POST /v1/chat/completions";
        gateway.call(line, &headers, say("hi")).await.expect(200);
        gateway.call("GET /health", &headers, "").await.expect(200);
        let reply = gateway.call("GET /sessions/s/traces", &headers, "").await;
        if token == "boss" {
            assert_eq!(reply.expect(200).json().as_array().map(Vec::len), Some(3));
        } else {
            assert_eq!(reply.status, 403, "{token}");
            assert_eq!(reply.json()["error"]["code"], "forbidden");
        }
    }
}
