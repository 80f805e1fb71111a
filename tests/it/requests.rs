//! What goes upstream: the client's bytes, but for the named edits.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use gateway_tests::{Client, Gateway, Setup, Upstream};
use serde_json::json;

use crate::say;

/// A gateway that injects nothing.
fn plain(upstream: &Upstream) -> Gateway {
    let setup = Setup::new().worker(upstream);
    setup
        .yaml("add_logprobs: false\nadd_return_token_ids: false\nadd_usage: false")
        .start()
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body).expect("memory does not fail");
    encoder.finish().expect("memory does not fail")
}

#[tokio::test]
async fn a_body_with_nothing_to_edit_goes_up_byte_for_byte() {
    let upstream = Upstream::vllm();
    let gateway = plain(&upstream);
    let bodies = [
        r#"{"model":"tiny","messages":[],"temperature":1.0,"top_p":1e3,"x":-0.0}"#,
        r#"  { "z" : 12345678901234567890123 , "model" : "tiny" , "a" : 0.10 }  "#,
        r#"{"model":"tiny","x":{"k":1,"k":2,"model":3,"model":4}}"#,
        r#"{"model":"tiny","other":1,"other":2}"#,
        r#"{"model":"tiny","s":"\ud83d \u00e9 \/ é 😀"}"#,
        "{\r\n\t\"model\":\t\"tiny\"\r\n}",
        r#"{"model":"tiny","metadata":{}}"#,
        r#"{"model":"tiny","api_base":"http://evil","base_url":"x","custom_host":"y"}"#,
    ];
    for (count, body) in bodies.iter().enumerate() {
        let reply = gateway.chat("s", body).await;
        assert_eq!(reply.status, 200, "{body}: {}", reply.text());
        let seen = upstream.received();
        assert_eq!(seen.len(), count + 1);
        assert_eq!(seen[count].text(), *body);
        let length = seen[count].header("content-length");
        assert_eq!(length, Some(&*body.len().to_string()));
    }
}

#[tokio::test]
async fn rllm_keys_go_with_their_comma_and_nothing_else_changes() {
    let upstream = Upstream::vllm();
    let gateway = plain(&upstream);
    let cases = [
        (
            r#"{"rllm":{"session_id":"a"},"model":"tiny"}"#,
            r#"{"model":"tiny"}"#,
        ),
        (r#"{"model":"tiny","rllm":1}"#, r#"{"model":"tiny"}"#),
        (
            r#"{"model":"tiny","metadata":{"rllm":{"run_id":"r"}},"n":1}"#,
            r#"{"model":"tiny","n":1}"#,
        ),
        (
            r#"{"model":"tiny","metadata":{"a":1,"rllm":{}}}"#,
            r#"{"model":"tiny","metadata":{"a":1}}"#,
        ),
        (
            r#"{"model":"tiny","metadata":{"rllm":{},"a": 1},"rllm":2}"#,
            r#"{"model":"tiny","metadata":{"a": 1}}"#,
        ),
    ];
    for (at, (body, expected)) in cases.iter().enumerate() {
        gateway.chat("s", body).await.expect(200);
        assert_eq!(upstream.received()[at].text(), *expected);
    }
}

#[tokio::test]
async fn defect_06_gzip_percent_paths_and_methods_arrive_as_meant() {
    let upstream = Upstream::start(|_| gateway_tests::Script::json("200 OK", "{}"));
    let gateway = plain(&upstream);
    let headers = [
        "content-encoding: gzip",
        "content-type: application/json",
        "x-rllm-session-id: s",
    ];
    let body = say("squeezed");
    let packed = gzip(body.as_bytes());
    let line = "POST /v1/chat/completions";
    gateway.call(line, &headers, packed).await.expect(200);
    gateway
        .call("GET /v1/models/org%2Fname?a=%20b", &[], "")
        .await
        .expect(200);
    gateway
        .call("DELETE /v1/responses/resp_1", &[], "")
        .await
        .expect(200);
    gateway.call("PATCH /v1/x", &[], "{}").await.expect(200);

    let seen = upstream.received();
    assert_eq!(seen[0].text(), body, "decoded");
    assert_eq!(seen[0].header("content-encoding"), None);
    assert_eq!(seen[1].target(), "/v1/models/org%2Fname?a=%20b");
    assert_eq!(
        (seen[2].method(), seen[2].target()),
        ("DELETE", "/v1/responses/resp_1")
    );
    assert_eq!((seen[3].method(), seen[3].text()), ("PATCH", "{}"));
    let trace = gateway.only_trace("s").await;
    assert_eq!(trace["messages"][0]["content"], "squeezed");
}

#[tokio::test]
async fn defect_22_only_completions_are_injected_into() {
    let upstream = Upstream::start(|_| gateway_tests::Script::json("200 OK", "{}"));
    let gateway = Gateway::over(&upstream);
    let body = r#"{"model":"tiny","input":"x","messages":[],"max_tokens":1}"#;
    let paths = [
        "embeddings",
        "messages",
        "messages/count_tokens",
        "responses",
        "files",
        "audio/speech",
    ];
    for path in paths {
        let line = format!("POST /v1/{path}");
        gateway.call(&line, &["x-rllm-session-id: s"], body).await;
    }
    for (path, seen) in paths.iter().zip(upstream.received()) {
        assert_eq!(seen.text(), body, "{path}");
    }
    // Nor does a request to the management plane reach anyone.
    let session = json!({"session_id": "m"});
    gateway.post("/sessions", &session).await;
    assert_eq!(upstream.received().len(), paths.len());
}

#[tokio::test]
async fn injection_respects_what_the_client_asked_for() {
    let upstream = Upstream::vllm();
    let gateway = Gateway::over(&upstream);
    let cases = [
        // The client's own wish stands, and it gets what it asked for.
        (
            "chat/completions",
            r#"{"model":"tiny","messages":[],"logprobs":true,"return_token_ids":true}"#,
            json!({"logprobs": true, "return_token_ids": true}),
            true,
        ),
        (
            "completions",
            r#"{"model":"tiny","prompt":"x","logprobs":0}"#,
            json!({"logprobs": 0, "return_token_ids": true}),
            true,
        ),
        (
            "completions",
            r#"{"model":"tiny","prompt":"x"}"#,
            json!({"logprobs": 1, "return_token_ids": true}),
            false,
        ),
    ];
    for (at, (path, body, asked, kept)) in cases.iter().enumerate() {
        let line = format!("POST /v1/{path}");
        let headers = ["x-rllm-session-id: s"];
        let reply = gateway.call(&line, &headers, body).await.expect(200);
        let seen = upstream.received()[at].json();
        for key in ["logprobs", "return_token_ids"] {
            assert_eq!(seen[key], asked[key], "{body}");
        }
        let choice = &reply.json()["choices"][0];
        assert_eq!(choice.get("logprobs").is_some(), *kept, "{choice}");
    }
}

#[tokio::test]
async fn hop_by_hop_headers_stop_here_and_the_rest_goes_on() {
    let upstream = Upstream::vllm();
    let gateway = Gateway::over(&upstream);
    let headers = [
        "connection: x-foo, x-rllm-session-id, keep-alive",
        "x-foo: 1",
        "keep-alive: timeout=5",
        "te: trailers",
        "proxy-authorization: Basic eA==",
        "x-rllm-session-id: hop",
        "accept-encoding: gzip, br",
        "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "user-agent: agent/1",
        "x-bytes: \u{e9}",
    ];
    let line = "POST /v1/chat/completions";
    gateway.call(line, &headers, say("hi")).await.expect(200);
    let seen = upstream.only();
    for gone in [
        "x-foo",
        "keep-alive",
        "te",
        "proxy-authorization",
        "x-rllm-session-id",
    ] {
        assert_eq!(seen.header(gone), None, "{gone}");
    }
    assert_eq!(seen.header("accept-encoding"), Some("identity"));
    assert_eq!(seen.header("user-agent"), Some("agent/1"));
    let traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    assert_eq!(seen.header("traceparent"), Some(traceparent));
    assert!(seen.header("x-bytes").is_some());
    assert!(
        seen.header("x-request-id").is_some(),
        "the gateway adds one"
    );
    // Identity saw what `Connection` names.
    let trace = gateway.only_trace("hop").await;
    assert_eq!(trace["client"]["user_agent"], "agent/1");
    assert_eq!(trace["client"]["traceparent"], traceparent);
}

#[tokio::test]
async fn a_body_that_cannot_be_read_as_json_is_refused_and_recorded() {
    let upstream = Upstream::vllm();
    let gateway = Gateway::over(&upstream);
    let deep = format!(
        "{{\"model\":\"tiny\",\"x\":{}{}}}",
        "[".repeat(200),
        "]".repeat(200)
    );
    let bodies: [&[u8]; 7] = [
        b"",
        b"{",
        b"[1]",
        b"{\"model\":\"tiny\",}",
        b"{\"model\":\"\xff\"}",
        br#"{"model":"a","mod\u0065l":"b"}"#,
        deep.as_bytes(),
    ];
    for body in bodies {
        let shown = String::from_utf8_lossy(body);
        let reply = gateway.chat("bad", body).await;
        assert_eq!(reply.status, 400, "{shown}");
        assert_eq!(reply.json()["error"]["code"], "bad_request", "{shown}");
        assert_eq!(reply.json()["error"]["type"], "invalid_request_error");
    }
    assert!(upstream.received().is_empty());
    let traces = gateway.traces("bad").await;
    assert_eq!(traces.len(), bodies.len());
    for trace in traces {
        assert_eq!(trace["outcome"], "gateway_error");
        assert_eq!(trace["status"], 400);
        assert_eq!(trace["error"]["code"], "bad_request");
    }
}

#[tokio::test]
async fn a_body_over_the_limit_is_a_413_at_the_limit() {
    let upstream = Upstream::vllm();
    let setup = Setup::new().worker(&upstream);
    let gateway = setup.yaml("max_request_bytes: 1000").start();
    // By its length: the answer comes before the body is asked for.
    let mut client = Client::connect(gateway.address()).await;
    let head = "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n";
    client
        .send(format!(
            "{head}content-length: 1001\r\nexpect: 100-continue\r\n\r\n"
        ))
        .await;
    assert_eq!(client.head().await, Some(413));
    let reply = client.rest().await;
    assert_eq!(reply.json()["error"]["code"], "body_too_large");
    // By its chunks.
    let mut client = Client::connect(gateway.address()).await;
    client
        .send(format!("{head}transfer-encoding: chunked\r\n\r\n"))
        .await;
    for _ in 0..11 {
        client.send(format!("64\r\n{}\r\n", " ".repeat(100))).await;
    }
    assert_eq!(client.head().await, Some(413));
    // Decoded, too.
    let packed = gzip(say(&"a".repeat(2000)).as_bytes());
    assert!(packed.len() < 500);
    let headers = ["content-encoding: gzip"];
    let reply = gateway
        .call("POST /v1/chat/completions", &headers, packed)
        .await;
    assert_eq!(reply.status, 413, "{}", reply.text());
    assert!(upstream.received().is_empty());
}

#[tokio::test]
async fn a_path_that_climbs_or_says_v1_twice_goes_nowhere() {
    let upstream = Upstream::vllm();
    let gateway = Gateway::over(&upstream);
    let cases = [
        ("GET /v1/../admin", 400),
        ("GET /v1/%2e%2e/admin", 400),
        ("GET /v1/a/./b", 400),
        ("POST /v1/v1/messages", 404),
        ("GET /v2/models", 404),
        ("GET /chat/completions", 404),
    ];
    for (line, status) in cases {
        let reply = gateway.call(line, &[], "").await;
        assert_eq!(reply.status, status, "{line}: {}", reply.text());
        assert_eq!(reply.json()["type"], "error", "{line}");
    }
    assert!(upstream.received().is_empty());
}

#[tokio::test]
async fn doubtful_framing_is_refused_and_nothing_is_smuggled() {
    let upstream = Upstream::vllm();
    let gateway = Gateway::over(&upstream);
    let smuggled = "GET /v1/models HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let post = "POST /v1/chat/completions HTTP/1.1\r\n";
    let requests = [
        format!(
            "{post}host: localhost\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{{}}{smuggled}"
        ),
        format!("{post}host: localhost\r\ncontent-length: +2\r\n\r\n{{}}{smuggled}"),
        format!("{post}host: localhost\r\ncontent-length: \r\n\r\n{{}}{smuggled}"),
        format!("{post}host: localhost\r\ntransfer-encoding: ,chunked\r\n\r\n0\r\n\r\n{smuggled}"),
        format!(
            "{post}host: localhost\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n{smuggled}"
        ),
        format!(
            "{post}host: localhost\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n{smuggled}"
        ),
        format!("{post}host: localhost\r\ntransfer-encoding: chunked\r\n\r\nZZ\r\n{smuggled}"),
        format!("{post}content-length: 2\r\n\r\n{{}}{smuggled}"),
        format!("{post}host: a\r\nhost: b\r\ncontent-length: 2\r\n\r\n{{}}{smuggled}"),
        format!("{post}host: u@a\r\ncontent-length: 2\r\n\r\n{{}}{smuggled}"),
        format!("{post}host: h/#@evil\r\ncontent-length: 2\r\n\r\n{{}}{smuggled}"),
    ];
    for request in requests {
        let mut client = Client::connect(gateway.address()).await;
        client.send(&request).await;
        let status = client.head().await;
        assert_eq!(status, Some(400), "{request}");
        client.rest().await;
        assert!(client.closed().await, "the connection closes: {request}");
    }
    assert!(upstream.received().is_empty());
}

#[tokio::test]
async fn a_foreign_host_is_misdirected_and_an_open_tunnel_is_closed() {
    let upstream = Upstream::vllm();
    let gateway = Gateway::over(&upstream);
    let mut client = Client::connect(gateway.address()).await;
    client
        .send("GET /v1/models HTTP/1.1\r\nhost: evil.example.com\r\n\r\n")
        .await;
    assert_eq!(client.reply().await.status, 421);
    let reply = gateway
        .call("GET /v1/models", &["x-forwarded-for: 8.8.8.8"], "")
        .await;
    assert_eq!(reply.status, 403, "{}", reply.text());
    let websocket = ["upgrade: websocket", "connection: upgrade"];
    let reply = gateway.call("GET /v1/responses", &websocket, "").await;
    assert_eq!(reply.status, 426, "{}", reply.text());
    assert!(upstream.received().is_empty());
}
