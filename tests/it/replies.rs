//! What comes back: the upstream's reply, whatever it is.

use gateway_tests::{End, Gateway, Script, Setup, Upstream};
use serde_json::json;

use crate::{say, say_streamed};

/// A free port that nobody listens on any more.
fn dead_url() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    format!("http://{}", listener.local_addr().expect("an address"))
}

#[tokio::test]
async fn defect_01_a_reply_that_is_not_json_passes_untouched() {
    let html = "<html><body>502 Bad Gateway \u{e9}</body></html>";
    let audio: Vec<u8> = (0..=255).cycle().take(3000).collect();
    let cases: [(&str, &str, &[u8]); 4] = [
        ("404 Not Found", "text/html", html.as_bytes()),
        ("200 OK", "text/html; charset=utf-8", html.as_bytes()),
        ("200 OK", "audio/mpeg", &audio),
        ("200 OK", "application/json", b"{\"cut\": "),
    ];
    for (status, kind, body) in cases {
        let kind_header = format!("content-type: {kind}");
        let upstream = Upstream::always(Script::whole(status, &[&kind_header], body));
        let gateway = Gateway::over(&upstream);
        for line in ["POST /v1/chat/completions", "POST /v1/audio/speech"] {
            let headers = ["x-rllm-session-id: s"];
            let reply = gateway.call(line, &headers, say("hi")).await;
            assert!(status.starts_with(&reply.status.to_string()), "{line}");
            assert_eq!(reply.header("content-type"), Some(kind), "{line}");
            assert_eq!(reply.body, body, "{line}");
        }
        let trace = gateway.only_trace("s").await;
        assert_eq!(trace["outcome"], "upstream_error", "{kind} {status}");
    }
}

#[tokio::test]
async fn defect_02_the_upstreams_headers_survive() {
    let headers = [
        "content-type: application/json",
        "retry-after: 11",
        "x-request-id: req_9",
        "x-ratelimit-remaining-requests: 59",
        "openai-organization: acme",
        "x-unknown: 1",
        "set-cookie: a=1",
        "set-cookie: b=2",
        "access-control-allow-origin: *",
        "connection: x-hop",
        "x-hop: 1",
    ];
    let upstream = Upstream::always(Script::whole("200 OK", &headers, "{}"));
    let gateway = Gateway::over(&upstream);
    let reply = gateway.chat("s", say("hi")).await.expect(200);
    for (name, value) in [
        ("retry-after", "11"),
        ("x-request-id", "req_9"),
        ("x-ratelimit-remaining-requests", "59"),
        ("openai-organization", "acme"),
        ("x-unknown", "1"),
        ("server", "mock"),
    ] {
        assert_eq!(reply.header(name), Some(value), "{name}");
    }
    let cookies = reply
        .headers()
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie"));
    assert_eq!(cookies.count(), 2);
    assert_eq!(reply.header("access-control-allow-origin"), None);
    assert_eq!(reply.header("x-hop"), None);
    assert_eq!(gateway.trace(reply.trace_id()).await["request_id"], "req_9");
}

#[tokio::test]
async fn the_upstreams_request_id_is_recorded_by_either_name() {
    for (headers, expected) in [
        (&["request-id: req_a"][..], "req_a"),
        (&["request-id: req_a", "x-request-id: req_x"], "req_x"),
    ] {
        let headers = [&["content-type: application/json"], headers].concat();
        let upstream = Upstream::always(Script::whole("200 OK", &headers, "{}"));
        let gateway = Gateway::over(&upstream);
        let reply = gateway.chat("s", say("hi")).await.expect(200);
        assert_eq!(reply.header("request-id"), Some("req_a"));
        let trace = gateway.trace(reply.trace_id()).await;
        assert_eq!(trace["request_id"], expected);
    }
}

#[tokio::test]
async fn defect_04_a_stream_answered_by_a_json_error_is_json_and_recorded() {
    let upstream = Upstream::vllm();
    let gateway = Gateway::over(&upstream);
    let body = r#"{"model":"status-400","stream":true,"messages":[]}"#;
    let reply = gateway.chat("s", body).await;
    assert_eq!((reply.status, reply.end), (400, End::Whole));
    assert_eq!(reply.header("content-type"), Some("application/json"));
    assert_eq!(reply.json()["error"]["message"], "asked for 400");
    let trace = gateway.only_trace("s").await;
    assert_eq!(trace["outcome"], "upstream_error");
    assert_eq!(trace["status"], 400);
    assert_eq!(trace["has_error"], true);
    assert_eq!(trace["error"]["message"], "asked for 400");
}

#[tokio::test]
async fn defect_05_a_good_reply_stays_good_whatever_recording_makes_of_it() {
    let bodies = [
        r#"{"model":null,"choices":[{"index":0,"message":{"role":"assistant","content":"x"}}]}"#,
        r#"{"model":"m","choices":null}"#,
        r#"{"model":"m","choices":[null,1,{"message":null},{"message":{"content":[]}}]}"#,
        r#"{"choices":[{"message":{"content":"x"}}],"usage":{"prompt_tokens":null}}"#,
        r#"{"choices":[{"message":{"content":"x"}}],"usage":[]}"#,
        r#"[1,2,3]"#,
        r#""text""#,
        "null",
        r#"{"id":1,"choices":{"0":{}},"usage":"none"}"#,
        r#"{"choices":[{"index":"a","message":{"content":"x"},"finish_reason":5}]}"#,
    ];
    for body in bodies {
        let upstream = Upstream::always(Script::json("200 OK", body));
        let gateway = Gateway::over(&upstream);
        let reply = gateway.chat("s", say("hi")).await;
        assert_eq!((reply.status, reply.text().as_str()), (200, body));
        let trace = gateway.only_trace("s").await;
        assert_eq!(trace["status"], 200, "{body}");
        assert_eq!(trace["trace_id"], reply.trace_id());
    }
}

#[tokio::test]
async fn defect_07_no_worker_and_a_refused_connection_are_typed_errors_with_a_trace() {
    let gateway = Setup::new().start();
    let reply = gateway.chat("none", say("hi")).await;
    assert_eq!(reply.status, 404);
    assert_eq!(reply.json()["error"]["code"], "no_route");
    assert_eq!(gateway.only_trace("none").await["outcome"], "gateway_error");

    // A worker: a health check may know before the call does.
    let dead = dead_url();
    let gateway = Setup::new().argument(format!("--worker={dead}")).start();
    let reply = gateway.chat("worker", say("hi")).await;
    let known = [(502, "upstream_unreachable"), (503, "no_healthy_worker")];
    let error = reply.json()["error"].clone();
    let code = error["code"].as_str().expect("a code").to_owned();
    assert!(known.contains(&(reply.status, code.as_str())), "{error}");
    assert_eq!(error["type"], "upstream_error");
    let trace = gateway.only_trace("worker").await;
    assert_eq!(trace["outcome"], "gateway_error");
    assert_eq!(trace["error"]["code"], code);

    // A route has no health check.
    let setup = Setup::new().yaml(&format!("routes:\n  tiny:\n    upstream_url: {dead}/v1"));
    let gateway = setup.start();
    let reply = gateway.chat("dead", say("hi")).await;
    assert_eq!(reply.status, 502, "{}", reply.text());
    assert_eq!(reply.header("content-type"), Some("application/json"));
    let error = reply.json();
    assert_eq!(error["type"], "error");
    assert_eq!(error["error"]["type"], "upstream_error");
    assert_eq!(error["error"]["code"], "upstream_unreachable");
    let trace = gateway.only_trace("dead").await;
    assert_eq!(trace["trace_id"], reply.trace_id());
    assert_eq!(trace["outcome"], "gateway_error");
    assert_eq!(trace["error"]["code"], "upstream_unreachable");
    assert_eq!(trace["status"], 502);
    assert_eq!(trace["messages"][0]["content"], "hi");
}

#[tokio::test]
async fn an_upstream_that_speaks_no_http_is_a_502() {
    for garbage in [
        "nonsense\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n",
        "HTTP/1.1 999 Odd\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 5\r\n\
         transfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        &format!(
            "{}HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{{}}",
            "HTTP/1.1 102 Processing\r\n\r\n".repeat(2000)
        ),
    ] {
        let upstream = Upstream::always(Script::new().send(garbage).close());
        let gateway = Gateway::over(&upstream);
        let reply = gateway.chat("s", say("hi")).await;
        assert_eq!(reply.status, 502, "{garbage:?}: {}", reply.text());
        let code = &reply.json()["error"]["code"];
        assert_eq!(code, "upstream_protocol", "{garbage:?}");
        assert_eq!(gateway.only_trace("s").await["outcome"], "gateway_error");
    }
}

#[tokio::test]
async fn defect_15_null_logprobs_keep_their_place_and_false_does_not_switch_capture_off() {
    let reply = json!({"id": "x", "object": "chat.completion", "model": "tiny",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "abc"},
            "logprobs": {"content": [
                {"token": "a", "logprob": -0.5, "bytes": null, "top_logprobs": []},
                {"token": "b", "logprob": null, "bytes": null, "top_logprobs": []},
                {"token": "c", "logprob": -0.25, "bytes": null, "top_logprobs": []}]},
            "finish_reason": "stop", "token_ids": [1, 2, 3]}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 3, "total_tokens": 4},
        "prompt_token_ids": [9]});
    let upstream = Upstream::always(Script::json("200 OK", reply.to_string()));
    let gateway = Gateway::over(&upstream);
    gateway.chat("nulls", say("hi")).await.expect(200);
    let trace = gateway.only_trace("nulls").await;
    assert_eq!(trace["completion_token_ids"], json!([1, 2, 3]));
    assert_eq!(trace["logprobs"], json!(null));
    assert_eq!(trace["choices"][0]["logprobs"], json!([-0.5, null, -0.25]));
    assert_ne!(trace["integrity"]["notes"], json!([]));

    let upstream = Upstream::vllm();
    let gateway = Gateway::over(&upstream);
    let body = r#"{"model":"tiny","messages":[{"role":"user","content":"x y"}],"logprobs":false}"#;
    let reply = gateway.chat("off", body).await.expect(200);
    assert!(reply.json()["choices"][0].get("logprobs").is_none());
    assert_eq!(upstream.only().json()["logprobs"], true);
    let trace = gateway.only_trace("off").await;
    let ids = trace["completion_token_ids"].as_array().map(Vec::len);
    assert_eq!(trace["logprobs"].as_array().map(Vec::len), ids);
    assert_eq!(trace["raw_request"]["logprobs"], false);
}

#[tokio::test]
async fn defect_17_one_strange_reply_never_breaks_the_listing() {
    let reply = r#"{"model":"tiny","choices":[{"index":0,"message":{"role":"assistant","content":"\ud800 x"},"logprobs":{"content":[{"token":"a","logprob":-Infinity,"bytes":[],"top_logprobs":[]}]},"finish_reason":"stop","token_ids":[1],"weight":NaN}]}"#;
    let upstream = Upstream::start(move |request| match request.text().contains("strange") {
        true => Script::json("200 OK", reply),
        false => gateway_tests::vllm::reply(request),
    });
    let gateway = Gateway::over(&upstream);
    gateway.chat("s", say("before")).await.expect(200);
    let strange = gateway.chat("s", say("strange")).await.expect(200);
    assert!(strange.text().contains(r#""content":"\ud800 x""#));
    assert!(strange.text().contains(r#""weight":NaN"#));
    let surrogate = r#"{"model":"tiny","messages":[{"role":"user","content":"\udfff ok"}]}"#;
    gateway.chat("s", surrogate).await.expect(200);
    // Each of them is read as JSON by a strict parser.
    assert_eq!(gateway.traces("s").await.len(), 3);
    assert_eq!(
        gateway.get("/traces").await["traces"]
            .as_array()
            .map(Vec::len),
        Some(3)
    );
    gateway.trace(strange.trace_id()).await;
}

#[tokio::test]
async fn defect_18_models_and_429s_are_no_turns() {
    let upstream = Upstream::start(|request| match request.text().contains("limited") {
        true => Script::whole(
            "429 Too Many Requests",
            &["content-type: application/json", "retry-after: 3600"],
            r#"{"error":{"message":"slow down","type":"rate_limit","code":"rate"}}"#,
        ),
        false => gateway_tests::vllm::reply(request),
    });
    let gateway = Gateway::over(&upstream);
    let headers = ["x-rllm-session-id: s"];
    let models = gateway
        .call("GET /v1/models", &headers, "")
        .await
        .expect(200);
    assert_eq!(models.header("x-rllm-trace-id"), None);
    let limited = gateway.chat("s", say("limited")).await;
    assert_eq!(limited.status, 429);
    assert_eq!(limited.header("retry-after"), Some("3600"));
    gateway.chat("s", say("turn")).await.expect(200);

    let turns = gateway.get("/sessions/s/traces").await;
    assert_eq!(turns.as_array().map(Vec::len), Some(1), "{turns}");
    assert_eq!(turns[0]["messages"][0]["content"], "turn");
    let all = gateway.traces("s").await;
    assert_eq!(all.len(), 2);
    assert_eq!(all[0]["outcome"], "upstream_error");
    assert_eq!(all[0]["status"], 429);
}

#[tokio::test]
async fn stripping_takes_only_what_the_client_did_not_ask_for() {
    let upstream = Upstream::vllm();
    let gateway = Gateway::over(&upstream);
    let body = r#"{"model":"tiny","messages":[],"return_token_ids":true,"stop":["x"]}"#;
    let reply = gateway.chat("s", body).await.expect(200).json();
    assert!(reply["prompt_token_ids"].is_array(), "{reply}");
    assert!(reply["choices"][0]["token_ids"].is_array(), "{reply}");
    assert!(reply["choices"][0].get("stop_reason").is_some(), "{reply}");
    assert!(reply["choices"][0].get("logprobs").is_none(), "{reply}");
    assert!(reply.get("kv_transfer_params").is_none(), "{reply}");

    let setup = Setup::new().worker(&upstream);
    let gateway = setup.yaml("strip_vllm_fields: false").start();
    let reply = gateway.chat("s", say("hi")).await.expect(200).json();
    assert!(reply["prompt_token_ids"].is_array(), "{reply}");
    // Injected logprobs go whatever that setting.
    assert!(reply["choices"][0].get("logprobs").is_none(), "{reply}");
}

#[tokio::test]
async fn head_and_no_content_have_no_body() {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 5\r\n\r\n";
    let upstream = Upstream::start(move |request| match request.method() {
        "HEAD" => Script::new().send(head),
        _ => Script::new().send("HTTP/1.1 204 No Content\r\nx-a: 1\r\n\r\n"),
    });
    let gateway = Gateway::over(&upstream);
    let reply = gateway
        .call("DELETE /v1/files/f", &[], "")
        .await
        .expect(204);
    assert_eq!(reply.header("x-a"), Some("1"));
    let mut client = gateway_tests::Client::connect(gateway.address()).await;
    client.request("HEAD /v1/models", &[], "").await;
    assert_eq!(client.head().await, Some(200));
    assert_eq!(client.header("content-length"), Some("5"));
    // Nothing follows: the next reply is the next request's.
    client.request("DELETE /v1/files/f", &[], "").await;
    assert_eq!(client.head().await, Some(204));
}

#[tokio::test]
async fn a_streamed_call_answered_whole_is_recorded_whole() {
    let upstream = Upstream::start(|_| {
        let reply = json!({"choices": [{"index": 0, "finish_reason": "stop",
            "message": {"role": "assistant", "content": "all at once"}}]});
        Script::json("200 OK", reply.to_string())
    });
    let gateway = Gateway::over(&upstream);
    let reply = gateway.chat("s", say_streamed("hi")).await.expect(200);
    assert_eq!(reply.header("content-type"), Some("application/json"));
    let trace = gateway.only_trace("s").await;
    assert_eq!(trace["outcome"], "completed");
    assert_eq!(trace["response_message"]["content"], "all at once");
}

#[tokio::test]
async fn a_reply_without_a_body_is_a_receipt_like_any_other() {
    for head in [
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 204 No Content\r\ncontent-type: application/json\r\n\r\n",
        "HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n",
    ] {
        let upstream = Upstream::always(Script::new().send(head));
        let gateway = Gateway::over(&upstream);
        let reply = gateway.chat("s", say("hi")).await;
        assert_eq!(reply.text(), "", "{head}");
        let trace = gateway.only_trace("s").await;
        assert_eq!(trace["outcome"], "upstream_error", "{head}");
        assert_eq!(trace["status"], reply.status, "{head}");
        assert_eq!(trace["trace_id"], reply.trace_id(), "{head}");
    }
}

#[tokio::test]
async fn a_close_delimited_reply_that_only_says_json_passes_untouched() {
    for (head, body) in [
        ("HTTP/1.0 500 ISE", "Internal Server Error"),
        ("HTTP/1.0 200 OK", "{\"a\": b}"),
        ("HTTP/1.0 500 ISE", ""),
    ] {
        let reply = format!("{head}\r\ncontent-type: application/json\r\n\r\n{body}");
        let upstream = Upstream::always(Script::new().send(reply).close());
        let gateway = Gateway::over(&upstream);
        let reply = gateway.chat("s", say("hi")).await;
        assert!(head.contains(&reply.status.to_string()), "{head} {body}");
        assert_eq!(reply.text(), body);
        assert_eq!(gateway.only_trace("s").await["outcome"], "upstream_error");
    }
}
