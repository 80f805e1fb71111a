//! How calls end, and the record that each leaves, field by field.

use std::time::{Duration, Instant};

use gateway_tests::{Client, End, Gate, Gateway, Script, Setup, Upstream, within};
use serde_json::{Value, json};

use crate::retries::refusing;
use crate::{DONE, say, say_streamed};

/// What every client here says of itself.
const CLIENT: [&str; 4] = [
    "x-rllm-session-id: s",
    "user-agent: agent/1",
    "x-stainless-retry-count: 0",
    "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
];

const LINE: &str = "POST /v1/chat/completions";

/// One event of a chat stream with one token, as vLLM writes it.
fn token(text: &str, id: i64, finish: Option<&str>) -> String {
    let logprob = json!({"token": text, "logprob": -0.5, "bytes": null, "top_logprobs": []});
    let choice = json!({"index": 0, "delta": {"content": text}, "token_ids": [id],
        "logprobs": {"content": [logprob]}, "finish_reason": finish});
    format!(
        "data: {}\n\n",
        json!({"id": "c", "model": "tiny-1", "choices": [choice]})
    )
}

/// The first two events; the second finishes nothing.
fn begun() -> String {
    let role = json!({"index": 0, "delta": {"role": "assistant", "content": ""}});
    let first =
        json!({"id": "c", "model": "tiny-1", "prompt_token_ids": [7, 8], "choices": [role]});
    format!("data: {first}\n\n{}", token("one", 11, None))
}

/// The whole reply that says the same, and more.
fn whole() -> Value {
    let logprobs = [-0.5, -0.5].map(|logprob| json!({"token": "t", "logprob": logprob}));
    json!({"id": "c", "model": "tiny-1", "prompt_token_ids": [7, 8],
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "one two"},
            "token_ids": [11, 12], "logprobs": {"content": logprobs}, "finish_reason": "stop"}]})
}

/// A gateway before one worker or one route, that sends another model.
fn before(url: &str, over_route: bool, yaml: &str) -> Gateway {
    let setup = Setup::new().yaml(yaml).yaml("retry: {max_backoff: 0}");
    let setup = match over_route {
        true => setup.yaml(&format!(
            "routes:\n  tiny: {{upstream_url: '{url}/v1', upstream_model: big, drop_params: [seed]}}"
        )),
        false => setup.argument(format!("--worker={url}")).yaml("model: big"),
    };
    setup.yaml("health_check_failures: 1000").start()
}

fn request(streamed: bool) -> String {
    let body = if streamed {
        say_streamed("hi")
    } else {
        say("hi")
    };
    body.replacen('{', r#"{"seed":1,"#, 1)
}

/// What a record of a call says, however it ended.
fn of_any(streamed: bool, over_route: bool) -> Value {
    let (name, reason, removed) = match over_route {
        true => ("tiny", "route", json!(["seed"])),
        false => ("0", "new", json!([])),
    };
    json!({
        "session_id": "s", "endpoint": "chat/completions", "span_type": "llm.call",
        "stream": streamed, "attempts": 1, "attempt_log": null, "principal": null,
        "messages": [{"role": "user", "content": "hi"}],
        "raw_request": serde_json::from_str::<Value>(&request(streamed)).expect("JSON"),
        "edits": {"set": {"model": "big"}, "removed": removed},
        "upstream": name, "upstream_reason": reason,
        "client": {"user_agent": "agent/1", "retry_count": 0,
            "traceparent": CLIENT[3].strip_prefix("traceparent: ")},
    })
}

/// Checks that the trace says all this, beside what any trace says.
fn check(what: &str, trace: &Value, general: &Value, special: &Value) {
    for expected in [general, special] {
        for (field, value) in expected.as_object().expect("fields") {
            assert_eq!(&trace[field], value, "{what}: {field} of {trace}");
        }
    }
    let latency = trace["latency_ms"].as_f64().expect("a number");
    assert!(latency >= 0.0, "{what}");
    if let Some(first) = trace["ttft_ms"].as_f64() {
        assert!(
            (0.0..=latency).contains(&first),
            "{what}: {first} of {latency}"
        );
    }
    assert_eq!(
        trace["has_error"],
        trace["outcome"] != "completed",
        "{what}"
    );
    assert_eq!(
        trace["error"].is_null(),
        trace["outcome"] == "completed",
        "{what}"
    );
}

/// One call in each of its forms: to an upstream that answers so; the client sees this status and
/// end, and the trace says this.
async fn ends(
    what: &str,
    script: Script,
    forms: &[(bool, bool)],
    (status, end): (u16, End),
    special: Value,
) {
    for &(streamed, over_route) in forms {
        let what = format!("{what}, stream {streamed}, route {over_route}");
        let upstream = Upstream::always(script.clone());
        let gateway = before(&upstream.url(), over_route, "");
        let reply = gateway.call(LINE, &CLIENT, request(streamed)).await;
        assert_eq!(
            (reply.status, reply.end),
            (status, end),
            "{what}: {}",
            reply.text()
        );
        let trace = gateway.only_trace("s").await;
        let mut special = special.clone();
        special["status"] = status.into();
        special["trace_id"] = reply.trace_id().into();
        check(&what, &trace, &of_any(streamed, over_route), &special);
        upstream.only();
    }
}

const STREAM: (bool, bool) = (true, false);
const STREAM_ROUTE: (bool, bool) = (true, true);
const WHOLE: (bool, bool) = (false, false);
const WHOLE_ROUTE: (bool, bool) = (false, true);

#[tokio::test]
async fn completed() {
    let message = json!({"role": "assistant", "content": "one two"});
    let record = json!({
        "outcome": "completed", "error": null, "model": "tiny", "finish_reason": "stop",
        "response_message": message, "prompt_token_ids": [7, 8],
        "completion_token_ids": [11, 12], "logprobs": [-0.5, -0.5], "request_id": null,
        "integrity": {"ids_match_usage": null, "logprobs_match_ids": true, "ended": true,
                      "notes": []},
    });
    let script = Script::json("200 OK", whole().to_string());
    let forms = [WHOLE, WHOLE_ROUTE];
    ends("whole", script, &forms, (200, End::Whole), record.clone()).await;
    let events = [begun(), token(" two", 12, Some("stop")), DONE.to_owned()];
    let script = Script::events(events);
    let forms = [STREAM, STREAM_ROUTE];
    ends("stream", script, &forms, (200, End::Whole), record).await;
}

#[tokio::test]
async fn upstream_errors() {
    let all = [WHOLE, WHOLE_ROUTE, STREAM, STREAM_ROUTE];
    let error = |kind: &str, code: &str, message: &str| json!({"type": kind, "code": code, "message": message});
    let record = |error: Value, raw: Value| {
        json!({"outcome": "upstream_error", "error": error, "raw_response": raw,
            "finish_reason": null, "response_message": {}, "completion_token_ids": []})
    };
    let body = json!({"error": {"message": "no", "type": "t", "code": "c"}});
    ends(
        "an error with a body",
        Script::json("400 Bad Request", body.to_string()),
        &all,
        (400, End::Whole),
        record(error("t", "c", "no"), body),
    )
    .await;
    let html = "<html>busy</html>";
    ends(
        "HTML with an error's status",
        Script::whole("500 ISE", &["content-type: text/html"], html),
        &all,
        (500, End::Whole),
        record(error("upstream_error", "500", html), json!({"_body": html})),
    )
    .await;
    for (what, kind, body) in [
        ("HTML", "text/html", html),
        ("nothing", "application/json", ""),
    ] {
        let lines = [&*format!("content-type: {kind}")];
        let upstream = Upstream::always(Script::whole("200 OK", &lines, body));
        let gateway = before(&upstream.url(), false, "");
        let reply = gateway
            .call(LINE, &CLIENT, request(false))
            .await
            .expect(200);
        assert_eq!(reply.text(), body);
        let trace = gateway.only_trace("s").await;
        let record = json!({"outcome": "upstream_error", "status": 200, "response_message": {}});
        check(what, &trace, &of_any(false, false), &record);
        assert_eq!(trace["error"]["type"], "upstream_error");
        assert_eq!(trace["error"]["code"], "unreadable_reply");
    }
    let event = "data: {\"error\":{\"message\":\"boom\",\"type\":\"t\",\"code\":500}}\n\n";
    ends(
        "an error event",
        Script::events([begun().as_str(), event, DONE]),
        &[STREAM, STREAM_ROUTE],
        (200, End::Whole),
        json!({"outcome": "upstream_error", "error": error("t", "500", "boom"),
            "response_message": {"role": "assistant", "content": "one"},
            "completion_token_ids": [11], "prompt_token_ids": [7, 8]}),
    )
    .await;
}

/// What a record says of a streamed reply that ended after its first token.
fn partial(outcome: &str, error: &Value) -> Value {
    json!({"outcome": outcome, "error": error, "status": 200, "finish_reason": null,
        "response_message": {"role": "assistant", "content": "one"},
        "prompt_token_ids": [7, 8], "completion_token_ids": [11], "logprobs": [-0.5],
        "integrity": {"ids_match_usage": null, "logprobs_match_ids": true, "ended": false,
                      "notes": []}})
}

fn truncated(message: &str) -> Value {
    json!({"type": "upstream_error", "code": "truncated", "message": message})
}

#[tokio::test]
async fn truncated_streams() {
    let by_close = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
    let by_close = Script::new().send(by_close).send(begun());
    let chunked = Script::stream().chunk(begun());
    let broken = "the upstream broke off its reply";
    let no_mark = "the upstream ended the stream without its end mark";
    type Break = fn(Script) -> Script;
    let cases: [(&str, &Script, Break, End, &str); 6] = [
        ("a reset", &chunked, Script::reset, End::Cut, broken),
        ("no last chunk", &chunked, Script::close, End::Cut, broken),
        (
            "half a chunk",
            &chunked,
            |script| script.send("40\r\nd").close(),
            End::Cut,
            broken,
        ),
        (
            "a bad chunk",
            &chunked,
            |script| script.send("zz\r\n").close(),
            End::Cut,
            broken,
        ),
        ("the close", &by_close, Script::close, End::Cut, no_mark),
        // Its framing is whole: it is passed on as it came.
        ("no end mark", &chunked, Script::end, End::Whole, no_mark),
    ];
    for (what, begin, break_off, end, why) in cases {
        for over_route in [false, true] {
            let seen = Gate::new();
            let upstream = Upstream::always(break_off(begin.clone().wait(&seen)));
            let gateway = before(&upstream.url(), over_route, "");
            let mut client = Client::connect(gateway.address()).await;
            client.request(LINE, &CLIENT, request(true)).await;
            assert_eq!(client.head().await, Some(200), "{what}");
            assert!(client.body_until("one").await.is_some(), "{what}");
            seen.open();
            assert_eq!(client.rest().await.end, end, "{what}");
            let trace = gateway.only_trace("s").await;
            let record = partial("truncated", &truncated(why));
            check(what, &trace, &of_any(true, over_route), &record);
            assert!(trace["ttft_ms"].is_number(), "{what}");
            assert_eq!(gateway.get("/sessions/s/traces").await, json!([]), "{what}");
        }
    }
}

/// One choice of two is all that comes: without an end mark the other may still have been to come.
#[tokio::test]
async fn a_choice_that_never_came() {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
    let one = Script::new()
        .send(head)
        .send(token("one", 11, Some("stop")));
    let marked = one.clone().send("data: [DONE]\n\n");
    for (script, n, end, outcome) in [
        (&one, 1, End::Whole, "completed"),
        (&one, 2, End::Cut, "truncated"),
        (&marked, 2, End::Whole, "completed"),
    ] {
        let upstream = Upstream::always(script.clone().close());
        let gateway = before(&upstream.url(), false, "");
        let request = request(true).replacen('{', &format!("{{\"n\":{n},"), 1);
        let reply = gateway.call(LINE, &CLIENT, request.clone()).await;
        assert_eq!(reply.end, end, "{n}");
        assert_eq!(gateway.only_trace("s").await["outcome"], outcome, "{n}");
        // What only the close delimits is as whole where nobody records it.
        assert_eq!(gateway.call(LINE, &[], request).await.end, end, "{n}");
    }
}

#[tokio::test]
async fn truncated_whole_replies() {
    let body = whole().to_string();
    let half = &body[..body.len() / 2];
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
    let cut = || {
        Script::new().send(format!(
            "{head}content-length: {}\r\n\r\n{half}",
            body.len()
        ))
    };
    let chunked = || {
        let head = format!("{head}transfer-encoding: chunked\r\n\r\n");
        Script::new().send(head).chunk(half)
    };
    let by_close = || Script::new().send(format!("{head}\r\n{half}"));
    let broken = "the upstream broke off its reply";
    let closed = "the connection was closed before the reply was complete";
    for (what, script, why) in [
        ("a short body", cut().close(), broken),
        ("a reset", cut().reset(), broken),
        ("no last chunk", chunked().close(), broken),
        ("the close", by_close().close(), closed),
    ] {
        let record = |why| {
            json!({"outcome": "truncated", "finish_reason": null, "response_message": {},
                "raw_response": {"_body": half}, "error": truncated(why)})
        };
        // A worker's reply is read whole before any of it is sent; a route's passes as it comes.
        let clean = (502, End::Whole);
        ends(what, script.clone(), &[WHOLE], clean, record(broken)).await;
        let upstream = Upstream::always(script);
        let gateway = before(&upstream.url(), true, "");
        let reply = gateway.call(LINE, &CLIENT, request(false)).await;
        assert_eq!((reply.status, reply.end), (200, End::Cut), "{what}");
        let trace = gateway.only_trace("s").await;
        check(what, &trace, &of_any(false, true), &record(why));
        assert_eq!(trace["status"], 200);
    }
}

/// A client that leaves at this point, with more bytes sent than its call; how long the upstream
/// went on after it, and the trace.
async fn leaves(
    script: Script,
    streamed: bool,
    until: Option<&str>,
    more: &str,
) -> (Duration, Value) {
    let (asked, gone) = (Gate::new(), Gate::new());
    let upstream = Upstream::always(script.open(&asked).until_gone(&gone));
    let gateway = before(&upstream.url(), false, "");
    let mut client = Client::connect(gateway.address()).await;
    client.request(LINE, &CLIENT, request(streamed)).await;
    client.send(more).await;
    within("the call at the upstream", asked.opened()).await;
    if let Some(text) = until {
        assert_eq!(client.head().await, Some(200));
        assert!(client.body_until(text).await.is_some());
    }
    let left = Instant::now();
    drop(client);
    within("the upstream's connection to close", gone.opened()).await;
    (left.elapsed(), gateway.only_trace("s").await)
}

#[tokio::test]
async fn client_disconnected() {
    let outcome = "client_disconnected";
    let message = "the client left before the reply had ended";
    let error = json!({"type": "client_error", "code": outcome, "message": message});
    // The second request is never read.
    for more in ["", "GET /v1/models HTTP/1.1\r\nhost: a\r\n\r\n"] {
        let mut fastest = Duration::MAX;
        for streamed in [false, true] {
            let (took, trace) = leaves(Script::new(), streamed, None, more).await;
            let record = json!({"outcome": outcome, "error": error, "status": null,
                "ttft_ms": null, "response_message": {}, "raw_response": null,
                "assembled_response": null});
            check("before the head", &trace, &of_any(streamed, false), &record);
            fastest = fastest.min(took);
        }
        let script = Script::stream().chunk(begun());
        let (took, trace) = leaves(script, true, Some("one"), more).await;
        let record = partial(outcome, &error);
        check("mid-stream", &trace, &of_any(true, false), &record);
        assert!(trace["ttft_ms"].is_number());
        // A busy machine may be late, but not always.
        fastest = fastest.min(took);
        assert!(fastest < Duration::from_secs(1), "{more:?}: {fastest:?}");
    }
}

#[tokio::test]
async fn gateway_errors() {
    let record = |code: &str, message: &str| {
        json!({"outcome": "gateway_error", "ttft_ms": null, "response_message": {},
            "raw_response": null, "request_id": null,
            "error": {"type": "upstream_error", "code": code, "message": message}})
    };
    let all = [WHOLE, WHOLE_ROUTE, STREAM, STREAM_ROUTE];
    for (streamed, over_route) in all {
        let gone = Gate::new();
        let upstream = Upstream::always(Script::new().until_gone(&gone));
        let gateway = before(&upstream.url(), over_route, "read_timeout: 0.2");
        let reply = gateway.call(LINE, &CLIENT, request(streamed)).await;
        assert_eq!(reply.status, 504);
        within("the connection's close", gone.opened()).await;
        let trace = gateway.only_trace("s").await;
        let why = "the upstream did not answer: no reply for 0.2 s";
        let record = record("upstream_timeout", why);
        check("silence", &trace, &of_any(streamed, over_route), &record);
    }
    let both = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n";
    ends(
        "two framings",
        Script::new().send(both).close(),
        &all,
        (502, End::Whole),
        record(
            "upstream_protocol",
            "the upstream's reply is unusable: it has both content-length and transfer-encoding",
        ),
    )
    .await;

    let (_socket, url) = refusing();
    let gateway = before(&url, false, "");
    let reply = gateway.call(LINE, &CLIENT, request(false)).await;
    assert_eq!(reply.status, 502);
    let trace = gateway.only_trace("s").await;
    let mut general = of_any(false, false);
    general["attempts"] = 2.into();
    general["attempt_log"] = trace["attempt_log"].clone();
    let mut record = record("upstream_unreachable", "");
    record["error"]["message"] = reply.json()["error"]["message"].clone();
    check("a refused connection", &trace, &general, &record);
}
