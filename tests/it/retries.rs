//! What is sent to an upstream again, and what is not; each with its record.

use std::net::SocketAddr;

use gateway_tests::{Gate, Gateway, Reply, Script, Setup, Upstream};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::{DONE, delta, say, say_streamed};

/// No wait before an attempt but the one that an upstream asks for.
const AT_ONCE: &str = "retry: {max_backoff: 0}";

/// Whole or streamed, by a worker or over a route.
const FORMS: [(bool, bool); 4] = [(false, false), (true, false), (false, true), (true, true)];

/// A gateway before one upstream, which it reaches as a worker or over a route. However often a
/// worker refuses, it stays in use.
fn before(url: &str, over_route: bool, yaml: &str) -> Gateway {
    let setup = Setup::new().yaml(yaml).yaml("health_check_failures: 1000");
    match over_route {
        true => setup.yaml(&format!("routes:\n  tiny: {{upstream_url: '{url}/v1'}}")),
        false => setup.argument(format!("--worker={url}")),
    }
    .start()
}

/// A request of this form, and what its reply looks like where all goes well.
fn request(streamed: bool) -> String {
    match streamed {
        true => say_streamed("hi"),
        false => say("hi"),
    }
}

fn good(streamed: bool) -> Script {
    match streamed {
        true => Script::events([
            delta(0, &json!({"content": "good"}), Some("stop")),
            DONE.into(),
        ]),
        false => {
            let message = json!({"role": "assistant", "content": "good"});
            let choice = json!({"index": 0, "message": message, "finish_reason": "stop"});
            Script::json("200 OK", json!({"choices": [choice]}).to_string())
        }
    }
}

/// A refusal with this status line, these header lines and a body that tells its number.
pub(crate) fn busy(status: &str, headers: &[&str], number: usize) -> Script {
    let mut lines = vec!["content-type: application/json"];
    lines.extend(headers);
    Script::whole(status, &lines, busy_body(number))
}

fn busy_body(number: usize) -> String {
    format!(r#"{{"error":{{"message":"busy {number}","type":"t","code":"c"}}}}"#)
}

/// The attempt log without the times; each of which is there.
pub(crate) fn attempts(trace: &Value) -> Vec<(String, Value, Value)> {
    let Some(log) = trace["attempt_log"].as_array() else {
        assert_eq!(trace["attempt_log"], Value::Null);
        return Vec::new();
    };
    assert_eq!(trace["attempts"], log.len());
    log.iter()
        .map(|attempt| {
            assert!(
                attempt["ms"].as_f64().is_some_and(|ms| ms >= 0.0),
                "{attempt}"
            );
            let upstream = attempt["upstream"].as_str().expect("a name").to_owned();
            (
                upstream,
                attempt["status"].clone(),
                attempt["error"].clone(),
            )
        })
        .collect()
}

/// A port that refuses connections for as long as the socket is kept.
pub(crate) fn refusing() -> (TcpSocket, String) {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket
        .bind(SocketAddr::from(([127, 0, 0, 1], 0)))
        .expect("a free port");
    let address = socket.local_addr().expect("an address");
    (socket, format!("http://{address}"))
}

/// A port on which connections do not come about: its queue is full, and nobody accepts.
async fn swallowing() -> (TcpListener, Vec<TcpStream>, String) {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket
        .bind(SocketAddr::from(([127, 0, 0, 1], 0)))
        .expect("a free port");
    let listener = socket.listen(1).expect("a listener");
    let address = listener.local_addr().expect("an address");
    let mut queue = Vec::new();
    let patience = std::time::Duration::from_millis(200);
    while let Ok(stream) = tokio::time::timeout(patience, TcpStream::connect(address)).await {
        queue.push(stream.expect("a connection or none"));
        assert!(queue.len() < 100, "the queue has an end");
    }
    (listener, queue, format!("http://{address}"))
}

#[tokio::test]
async fn row_7_a_refused_or_swallowed_connection_is_tried_again() {
    let (_socket, refuses) = refusing();
    let (_listener, _queue, swallows) = swallowing().await;
    for (url, status, code) in [
        (&refuses, 502, "upstream_unreachable"),
        (&swallows, 504, "upstream_timeout"),
    ] {
        for over_route in [false, true] {
            let yaml = format!("{AT_ONCE}\nconnect_timeout: 0.1");
            let gateway = before(url, over_route, &yaml);
            for streamed in [false, true] {
                let session = format!("s{streamed}");
                let reply = gateway.chat(&session, request(streamed)).await;
                assert_eq!(reply.status, status, "{url} {over_route} {streamed}");
                assert_eq!(reply.json()["error"]["code"], code);
                let trace = gateway.only_trace(&session).await;
                let name = if over_route { "tiny" } else { "0" };
                let failed = (name.to_owned(), Value::Null, json!(code));
                assert_eq!(attempts(&trace), [failed.clone(), failed]);
                for (field, expected) in [
                    ("outcome", json!("gateway_error")),
                    ("status", json!(status)),
                    ("upstream", json!(name)),
                    ("ttft_ms", Value::Null),
                    ("response_message", json!({})),
                ] {
                    assert_eq!(trace[field], expected, "{field}");
                }
                assert_eq!(trace["error"]["type"], "upstream_error");
                assert_eq!(trace["error"]["code"], code);
            }
        }
    }
}

#[tokio::test]
async fn row_7_what_may_have_been_processed_is_sent_again_only_if_told_so() {
    let never = Gate::new();
    let garbage = "HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n";
    let shapes = [
        (Script::new().wait(&never), 504, "upstream_timeout"),
        (Script::new().reset(), 502, "upstream_unreachable"),
        (Script::new().close(), 502, "upstream_unreachable"),
        (
            Script::new().send(garbage).close(),
            502,
            "upstream_protocol",
        ),
    ];
    for (shape, status, code) in shapes {
        for (streamed, over_route) in FORMS {
            let what = format!("{code} {streamed} {over_route}");
            let name = if over_route { "tiny" } else { "0" };
            let failed = (name.to_owned(), Value::Null, json!(code));

            let upstream = Upstream::in_turn([shape.clone(), good(streamed)]);
            let gateway = before(
                &upstream.url(),
                over_route,
                &format!("{AT_ONCE}\nread_timeout: 0.2"),
            );
            let reply = gateway.chat("s", request(streamed)).await;
            assert_eq!(reply.status, status, "{what}");
            let trace = gateway.only_trace("s").await;
            assert_eq!(
                (&trace["attempts"], attempts(&trace).len()),
                (&json!(1), 0),
                "{what}"
            );
            assert_eq!(trace["outcome"], "gateway_error", "{what}");
            assert_eq!(trace["error"]["code"], code, "{what}");
            upstream.only();

            let upstream = Upstream::in_turn([shape.clone(), good(streamed)]);
            let yaml = "retry: {max_backoff: 0, unsafe: true}\nread_timeout: 0.2";
            let gateway = before(&upstream.url(), over_route, yaml);
            let reply = gateway.chat("s", request(streamed)).await.expect(200);
            assert!(reply.text().contains("good"), "{what}");
            let trace = gateway.only_trace("s").await;
            let ended = (name.to_owned(), json!(200), Value::Null);
            assert_eq!(attempts(&trace), [failed, ended], "{what}");
            assert_eq!(trace["outcome"], "completed", "{what}");
        }
    }
}

#[tokio::test]
async fn row_8_the_statuses_are_retried_before_a_byte_went_to_the_client() {
    let lines = [
        "408 Request Timeout",
        "429 Too Many Requests",
        "503 Service Unavailable",
        "529 Overloaded",
    ];
    for status in lines {
        for (streamed, over_route) in FORMS {
            let scripts = [busy(status, &["retry-after: 0"], 1), good(streamed)];
            let upstream = Upstream::in_turn(scripts);
            let gateway = before(&upstream.url(), over_route, "");
            let reply = gateway.chat("s", request(streamed)).await.expect(200);
            assert!(reply.text().contains("good"), "{status}: {}", reply.text());
            assert!(!reply.text().contains("busy"), "{status}");
            assert_eq!(reply.header("retry-after"), None);

            let trace = gateway.only_trace("s").await;
            let name = if over_route { "tiny" } else { "0" }.to_owned();
            let code: u16 = status[..3].parse().expect("a status");
            let log = [
                (name.clone(), json!(code), Value::Null),
                (name, json!(200), Value::Null),
            ];
            assert_eq!(attempts(&trace), log);
            assert_eq!(trace["outcome"], "completed");
            assert_eq!(trace["response_message"]["content"], "good");
            // The same request, on the connection that the refusal left free.
            let received = upstream.received();
            assert_eq!(received[0].raw_head(), received[1].raw_head());
            assert_eq!(received[0].body, received[1].body);
            assert_eq!(received[0].connection, received[1].connection);
        }
    }
}

#[tokio::test]
async fn row_8_the_last_reply_goes_through_as_it_is() {
    for (streamed, over_route) in FORMS {
        let line = "429 Too Many Requests";
        let scripts = (1..).map(|number| busy(line, &["retry-after: 0", "x-seen: yes"], number));
        let upstream = Upstream::in_turn(scripts.take(9));
        let gateway = before(&upstream.url(), over_route, "retry: {attempts: 3}");
        let reply = gateway.chat("s", request(streamed)).await.expect(429);
        assert_eq!(reply.text(), busy_body(3));
        assert_eq!(reply.header("x-seen"), Some("yes"));
        assert_eq!(reply.header("retry-after"), Some("0"));
        assert_eq!(upstream.received().len(), 3);
        let trace = gateway.only_trace("s").await;
        assert_eq!(attempts(&trace).len(), 3);
        assert_eq!(trace["outcome"], "upstream_error");
        assert_eq!(trace["status"], 429);
        assert_eq!(
            trace["error"],
            json!({"type": "t", "message": "busy 3", "code": "c"})
        );
    }
}

/// Sends one call to an upstream that answers so first, and well later; gives the reply and the
/// number of attempts in its trace.
async fn tried(yaml: &str, first: Script, headers: &[&str]) -> (Reply, u64) {
    let upstream = Upstream::in_turn([first, good(false)]);
    let gateway = before(&upstream.url(), true, yaml);
    let mut lines = vec!["x-rllm-session-id: s"];
    lines.extend(headers);
    let line = "POST /v1/chat/completions";
    let reply = gateway.call(line, &lines, say("hi")).await;
    let trace = gateway.only_trace("s").await;
    let attempts = trace["attempts"].as_u64().expect("a number");
    assert_eq!(upstream.received().len() as u64, attempts);
    (reply, attempts)
}

#[tokio::test]
async fn only_the_configured_statuses_are_retried() {
    let cases = [
        (AT_ONCE, "400 Bad Request", 1),
        (AT_ONCE, "500 ISE", 1),
        (AT_ONCE, "502 Bad Gateway", 1),
        (AT_ONCE, "504 Gateway Timeout", 1),
        (AT_ONCE, "503 Unavailable", 2),
        ("retry: {max_backoff: 0, unsafe: true}", "500 ISE", 1),
        (
            "retry: {max_backoff: 0, unsafe: true}",
            "502 Bad Gateway",
            2,
        ),
        (
            "retry: {max_backoff: 0, unsafe: true}",
            "504 Gateway Timeout",
            2,
        ),
        ("retry: {max_backoff: 0, statuses: [500]}", "500 ISE", 2),
        (
            "retry: {max_backoff: 0, statuses: [500]}",
            "503 Unavailable",
            1,
        ),
        ("retry: {max_backoff: 0, attempts: 1}", "503 Unavailable", 1),
    ];
    for (yaml, status, expected) in cases {
        let (reply, attempts) = tried(yaml, busy(status, &[], 1), &[]).await;
        assert_eq!(attempts, expected, "{yaml} {status}");
        assert_eq!(reply.status == 200, expected == 2, "{yaml} {status}");
    }
}

#[tokio::test]
async fn retry_after_is_honoured_and_one_over_the_limit_passed_on_at_once() {
    let line = "429 Too Many Requests";
    for (header, max_backoff, expected) in [
        ("retry-after: 0", "60", 2),
        ("retry-after: Sun, 06 Nov 1994 08:49:37 GMT", "60", 2),
        ("retry-after-ms: 1", "60", 2),
        ("retry-after: 61", "60", 1),
        ("retry-after: 1", "0.5", 1),
        ("retry-after-ms: 501", "0.5", 1),
        ("retry-after: Tue, 06 Nov 2114 08:49:37 GMT", "60", 1),
    ] {
        let yaml = format!("retry: {{max_backoff: {max_backoff}}}");
        let (reply, attempts) = tried(&yaml, busy(line, &[header], 1), &[]).await;
        assert_eq!(attempts, expected, "{header}");
        if expected == 1 {
            assert_eq!(
                (reply.status, reply.text()),
                (429, busy_body(1)),
                "{header}"
            );
            let (name, value) = header.split_once(": ").expect("a header");
            assert_eq!(reply.header(name), Some(value));
        }
    }
}

#[tokio::test]
async fn the_wait_that_an_upstream_asks_for_is_kept() {
    let scripts = [busy("503 Busy", &["retry-after-ms: 150"], 1), good(false)];
    let upstream = Upstream::in_turn(scripts);
    let gateway = before(&upstream.url(), true, "");
    gateway.chat("s", say("hi")).await.expect(200);
    let latency = &gateway.only_trace("s").await["latency_ms"];
    assert!(latency.as_f64().is_some_and(|ms| ms >= 150.0), "{latency}");
}

#[tokio::test]
async fn a_clients_own_retry_gets_one_attempt() {
    let busy = || busy("429 Busy", &[], 1);
    for (header, expected) in [
        ("x-stainless-retry-count: 0", 2),
        ("x-stainless-retry-count: 1", 1),
        ("x-stainless-retry-count: many", 2),
    ] {
        let (_, attempts) = tried(AT_ONCE, busy(), &[header]).await;
        assert_eq!(attempts, expected, "{header}");
    }
}

#[tokio::test]
async fn row_10_a_kept_connection_that_closes_before_a_byte_is_replaced_once() {
    for breaks in [Script::new().close(), Script::new().reset()] {
        for (streamed, over_route) in FORMS {
            let scripts = [good(streamed), breaks.clone(), good(streamed)];
            let upstream = Upstream::in_turn(scripts);
            let gateway = before(&upstream.url(), over_route, "retry: {attempts: 1}");
            gateway.chat("first", request(streamed)).await.expect(200);
            gateway.chat("s", request(streamed)).await.expect(200);
            let connections: Vec<usize> = upstream
                .received()
                .iter()
                .map(|request| request.connection)
                .collect();
            assert_eq!(connections[0], connections[1]);
            assert_ne!(connections[1], connections[2]);
            let trace = gateway.only_trace("s").await;
            let name = if over_route { "tiny" } else { "0" }.to_owned();
            let log = [
                (name.clone(), Value::Null, json!("upstream_unreachable")),
                (name, json!(200), Value::Null),
            ];
            assert_eq!(attempts(&trace), log);
            assert_eq!(trace["outcome"], "completed");
        }
    }
    // A fresh connection that closes is no stale one.
    let upstream = Upstream::always(Script::new().close());
    let gateway = before(&upstream.url(), false, "");
    gateway.chat("s", say("hi")).await.expect(502);
    upstream.only();
}
