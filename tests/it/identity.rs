//! Whose call it is, and that the upstream never learns it.

use gateway_tests::{Gateway, Setup, Upstream, vllm};
use serde_json::json;

use crate::say;

#[tokio::test]
async fn header_body_and_path_merge_into_one_trace_and_the_upstream_sees_none_of_it() {
    let upstream = Upstream::vllm();
    let setup = Setup::new().worker(&upstream);
    let gateway = setup.yaml("inbound_auth_token: gw-token-1").start();
    let front = r#"{ "model":"tiny" ,"seed":12345678901234567890, "temperature":1e0,
        "messages":[{"role":"user","content":"h\u00e9 \ud83d!","x":1,"x":2}]"#;
    let rllm = r#","metadata":{"rllm":{"harness":"react","session_id":"from-body"},"own":1.0}"#;
    let metadata = r#","metadata":{"own":1.0}"#;
    let body = format!("{front}{rllm},\"rllm\":{{\"run_id\":\"hidden\"}}}}");

    let headers = [
        "authorization: Bearer gw-token-1",
        "X-RLLM-Session-Id: from-header",
        "X-RLLM-Run-Id: run-7",
        "X-Rllm-Unknown: 1",
        "x-custom: kept",
        "content-type: application/json",
    ];
    let line = "POST /sessions/from-path/v1/chat/completions?a=%2F";
    let reply = gateway.call(line, &headers, &body).await.expect(200);

    let seen = upstream.only();
    let head = String::from_utf8_lossy(seen.raw_head()).to_lowercase();
    assert!(!head.contains("rllm"), "{head}");
    assert!(!head.contains("gw-token-1"), "{head}");
    assert_eq!(seen.target(), "/v1/chat/completions?a=%2F");
    assert_eq!(seen.header("x-custom"), Some("kept"));
    assert_eq!(seen.header("host"), Some(&*upstream.address().to_string()));
    let injected = seen.text().strip_prefix(&format!("{front}{metadata}"));
    let injected = injected.unwrap_or_else(|| panic!("other bytes changed: {}", seen.text()));
    let injected = injected.replacen(',', "{", 1);
    let injected: serde_json::Value = serde_json::from_str(&injected).expect("JSON");
    assert_eq!(
        injected,
        json!({"logprobs": true, "return_token_ids": true})
    );

    let get = async |path: &str| {
        let headers = ["authorization: Bearer gw-token-1"];
        gateway.call(path, &headers, "").await.expect(200).json()
    };
    let traces = get("GET /sessions/from-header/traces").await;
    assert_eq!(traces.as_array().map(Vec::len), Some(1), "{traces}");
    let trace = &traces[0];
    assert_eq!(trace["trace_id"], reply.trace_id());
    assert_eq!(trace["session_id"], "from-header");
    assert_eq!(trace["run_id"], "run-7");
    assert_eq!(trace["harness"], "react");
    assert_eq!(trace["metadata"], json!({"own": 1.0}));
    assert_eq!(trace["outcome"], "completed");
    assert_eq!(trace["principal"], "agent");
    assert_eq!(get("GET /sessions/from-path/traces").await, json!([]));
    assert_eq!(get("GET /sessions/from-body/traces").await, json!([]));
}

#[tokio::test]
async fn a_trace_holds_what_was_asked_and_what_was_answered_while_the_client_sees_the_plain_reply()
{
    let upstream = Upstream::vllm();
    let gateway = Gateway::over(&upstream);
    let reply = gateway.chat("s", say("good morning")).await.expect(200);

    let answer = vllm::answer_to("good morning");
    let sent = reply.json();
    assert_eq!(sent["choices"][0]["message"]["content"], answer.as_str());
    for gone in ["prompt_token_ids", "prompt_logprobs", "kv_transfer_params"] {
        assert!(sent.get(gone).is_none(), "{gone}: {sent}");
    }
    for gone in ["token_ids", "logprobs", "stop_reason"] {
        assert!(sent["choices"][0].get(gone).is_none(), "{gone}: {sent}");
    }

    let trace = gateway.trace(reply.trace_id()).await;
    let ids = vllm::token_ids(&answer);
    assert_eq!(trace["completion_token_ids"], json!(ids));
    assert_eq!(trace["logprobs"].as_array().map(Vec::len), Some(ids.len()));
    assert!(
        !trace["prompt_token_ids"]
            .as_array()
            .expect("ids")
            .is_empty()
    );
    assert_eq!(
        trace["messages"],
        json!([{"role": "user", "content": "good morning"}])
    );
    assert_eq!(trace["response_message"]["content"], answer.as_str());
    assert_eq!(trace["finish_reason"], "stop");
    assert_eq!(trace["endpoint"], "chat/completions");
    assert_eq!(trace["model"], "tiny");
    assert_eq!(trace["status"], 200);
    assert_eq!(trace["stream"], false);
    assert_eq!(trace["attempts"], 1);
    assert_eq!(trace["request_id"], "up-1");
    assert_eq!(trace["token_counts"]["completion"], ids.len());
    assert_eq!(
        trace["raw_request"]["messages"][0]["content"],
        "good morning"
    );
    assert_eq!(trace["raw_response"]["choices"][0]["token_ids"], json!(ids));
}

#[tokio::test]
async fn a_clients_own_session_header_serves_and_goes_on() {
    let upstream = Upstream::vllm();
    let gateway = Gateway::over(&upstream);
    let headers = ["x-claude-code-session-id: cc-1"];
    let line = "POST /v1/chat/completions";
    gateway.call(line, &headers, say("hi")).await.expect(200);
    assert_eq!(gateway.only_trace("cc-1").await["session_id"], "cc-1");
    let seen = upstream.only();
    assert_eq!(seen.header("x-claude-code-session-id"), Some("cc-1"));
}

#[tokio::test]
async fn without_a_session_a_run_is_enough_and_without_both_nothing_is_recorded() {
    let upstream = Upstream::vllm();
    let gateway = Gateway::over(&upstream);
    let line = "POST /v1/chat/completions";
    let unrecorded = gateway.call(line, &[], say("one")).await.expect(200);
    assert_eq!(unrecorded.header("x-rllm-trace-id"), None);

    let headers = ["x-rllm-run-id: r1"];
    let reply = gateway.call(line, &headers, say("two")).await.expect(200);
    let trace = gateway.trace(reply.trace_id()).await;
    assert_eq!(
        (&trace["session_id"], &trace["run_id"]),
        (&json!(""), &json!("r1"))
    );
    let all = gateway.get("/traces").await;
    assert_eq!(all["traces"].as_array().map(Vec::len), Some(1), "{all}");
    assert_eq!(gateway.get("/sessions").await, json!([]));
}

#[tokio::test]
async fn an_id_with_slashes_colons_and_percent_is_one_session() {
    let upstream = Upstream::vllm();
    let gateway = Gateway::over(&upstream);
    let line = "POST /sessions/org%2Fname:0/v1/chat/completions";
    gateway.call(line, &[], say("hi")).await.expect(200);
    for path in [
        "/sessions/org%2Fname:0/traces",
        "/sessions/org/name:0/traces",
    ] {
        let traces = gateway.get(path).await;
        assert_eq!(traces[0]["session_id"], "org/name:0", "{path}");
    }
    assert_eq!(gateway.get("/sessions/org/traces").await, json!([]));
}

#[tokio::test]
async fn an_identity_that_cannot_be_kept_as_it_is_is_refused() {
    let upstream = Upstream::vllm();
    let gateway = Gateway::over(&upstream);
    let long = format!("x-rllm-session-id: {}", "a".repeat(513));
    let cases: [(&str, &[&str]); 3] = [
        ("POST /v1/chat/completions", &[&long]),
        ("POST /sessions/a%00b/v1/chat/completions", &[]),
        ("POST /sessions/a%0d%0ab/v1/chat/completions", &[]),
    ];
    for (line, headers) in cases {
        let reply = gateway.call(line, headers, say("hi")).await;
        assert_eq!(reply.status, 400, "{line}");
        assert_eq!(reply.json()["error"]["code"], "bad_identity", "{line}");
    }
    assert!(upstream.received().is_empty());
}
