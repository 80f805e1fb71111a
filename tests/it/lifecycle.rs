//! How the gateway ends, and which workers it takes for well.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use gateway_tests::{Client, End, Gate, Gateway, Script, Setup, Upstream, eventually, vllm};
use serde_json::{Value, json};

use crate::{DONE, delta, say, say_streamed};

/// Streams begin, and go on once the gate is open.
fn streaming(go: &Gate) -> Upstream {
    let go = go.clone();
    Upstream::start(move |_| {
        let begin = delta(0, &json!({"role": "assistant", "content": "begun"}), None);
        let end = delta(0, &json!({"content": " ended"}), Some("stop"));
        let begun = Script::stream().chunk(begin).wait(&go);
        begun.chunk(end).chunk(DONE).end()
    })
}

async fn streams(gateway: &Gateway, count: usize) -> Vec<Client> {
    let mut streams = Vec::new();
    for at in 0..count {
        let session = format!("s{at}");
        streams.push(
            gateway
                .begin_until(&session, say_streamed("hi"), "begun")
                .await,
        );
    }
    streams
}

/// The outcome and the text of the only trace of each session.
async fn told(gateway: &Gateway, count: usize) -> Vec<(Value, Value)> {
    let mut told = Vec::new();
    for at in 0..count {
        let trace = gateway.only_trace(&format!("s{at}")).await;
        told.push((
            trace["outcome"].clone(),
            trace["response_message"]["content"].clone(),
        ));
    }
    told
}

#[tokio::test]
async fn streams_end_well_during_a_drain() {
    let go = Gate::new();
    let upstream = streaming(&go);
    let mut gateway = Gateway::over(&upstream);
    let mut open = streams(&gateway, 64).await;
    gateway.signal("TERM");
    gateway.draining().await;
    // The management plane still answers, and may still change things.
    gateway
        .post("/sessions", &json!({"session_id": "late"}))
        .await;
    assert_eq!(gateway.get("/health").await["status"], "ok");
    go.open();
    for stream in &mut open {
        let reply = stream.rest().await;
        assert_eq!(
            (reply.end, reply.text().ends_with(DONE)),
            (End::Whole, true)
        );
    }
    assert_eq!(gateway.ended().await.code(), Some(0), "{}", gateway.log());
    let gateway = gateway.kill().start();
    let expected = (json!("completed"), json!("begun ended"));
    assert_eq!(told(&gateway, 64).await, vec![expected; 64]);
    assert_eq!(gateway.get("/sessions/late").await["session_id"], "late");
}

#[tokio::test]
async fn what_is_open_at_the_deadline_is_cut_and_recorded() {
    let never = Gate::new();
    let upstream = streaming(&never);
    let setup = Setup::new().worker(&upstream);
    let mut gateway = setup.yaml("drain_timeout: 0.1").start();
    let mut open = streams(&gateway, 8).await;
    gateway.signal("TERM");
    for stream in &mut open {
        assert_eq!(stream.rest().await.end, End::Cut);
    }
    assert_eq!(gateway.ended().await.code(), Some(0), "{}", gateway.log());
    let gateway = gateway.kill().start();
    let expected = (json!("interrupted"), json!("begun"));
    assert_eq!(told(&gateway, 8).await, vec![expected; 8]);
}

#[tokio::test]
async fn a_second_signal_ends_within_two_seconds() {
    let never = Gate::new();
    let upstream = streaming(&never);
    for (first, second) in [("TERM", "TERM"), ("INT", "TERM"), ("TERM", "INT")] {
        let mut gateway = Gateway::over(&upstream);
        let _open = streams(&gateway, 4).await;
        gateway.signal(first);
        gateway.draining().await;
        let asked = Instant::now();
        gateway.signal(second);
        assert_eq!(gateway.ended().await.code(), Some(0));
        assert!(
            asked.elapsed() < Duration::from_secs(2),
            "{first}, {second}"
        );
    }
}

#[tokio::test]
async fn idle_connections_do_not_delay_the_end() {
    let upstream = Upstream::vllm();
    let mut gateway = Gateway::over(&upstream);
    let mut idle = Vec::new();
    for _ in 0..8 {
        let mut client = Client::connect(gateway.address()).await;
        let headers = ["x-rllm-session-id: s"];
        client
            .request("POST /v1/chat/completions", &headers, say("hi"))
            .await;
        client.reply().await.expect(200);
        idle.push(client);
        idle.push(Client::connect(gateway.address()).await);
    }
    let asked = Instant::now();
    gateway.signal("TERM");
    assert_eq!(gateway.ended().await.code(), Some(0), "{}", gateway.log());
    assert!(asked.elapsed() < Duration::from_secs(1));
}

#[tokio::test]
async fn requests_whose_body_does_not_come_do_not_delay_the_end() {
    let upstream = Upstream::vllm();
    let mut gateway = Gateway::over(&upstream);
    let mut unfinished = Vec::new();
    for path in ["/v1/chat/completions", "/sessions", "/admin/workers"] {
        for framing in ["content-length: 9", "transfer-encoding: chunked"] {
            let mut client = Client::connect(gateway.address()).await;
            let head = format!(
                "POST {path} HTTP/1.1\r\nhost: localhost\r\nx-rllm-session-id: s\r\n\
                 expect: 100-continue\r\n{framing}\r\n\r\n"
            );
            client.send(head).await;
            // It asks for the body.
            assert_eq!(client.head().await, Some(100));
            let begun = match framing.contains("chunked") {
                true => "2\r\n{ \r\n",
                false => "{ ",
            };
            client.send(begun).await;
            unfinished.push(client);
        }
    }
    let asked = Instant::now();
    gateway.signal("TERM");
    for client in &mut unfinished {
        let reply = client.reply().await.expect(503);
        assert_eq!(reply.json()["error"]["code"], "draining");
        assert_eq!(reply.header("connection"), Some("close"));
    }
    assert_eq!(gateway.ended().await.code(), Some(0), "{}", gateway.log());
    assert!(asked.elapsed() < Duration::from_secs(1));
    let gateway = gateway.kill().start();
    assert!(gateway.traces("s").await.is_empty());
}

/// Anything below 500 is well; an error of the server and a port that refuses are not.
#[tokio::test]
async fn a_worker_is_well_below_500_and_while_its_port_is_open() {
    let status = Arc::new(AtomicU16::new(200));
    let upstream = Upstream::start({
        let status = Arc::clone(&status);
        move |request| match request.target() {
            "/ping?deep=1" => {
                let status = status.load(Ordering::SeqCst).to_string();
                Script::whole(&format!("{status} So"), &[], "")
            }
            _ => vllm::reply(request),
        }
    });
    let setup = Setup::new().worker(&upstream);
    let gateway = setup
        .yaml("health_check_interval: 0.01\nhealth_check_path: /ping?deep=1")
        .start();
    let worker = async || gateway.get("/admin/workers").await[0].clone();
    let becomes = async |healthy: bool| {
        eventually("the worker's health", async || {
            (worker().await["healthy"] == healthy).then_some(())
        })
        .await;
    };
    for (well, ill) in [(200, 500), (404, 503), (499, 599)] {
        status.store(well, Ordering::SeqCst);
        becomes(true).await;
        let seen = upstream.received().len();
        upstream.wait_for(seen + 5).await;
        assert_eq!(worker().await["healthy"], true, "{well}");
        status.store(ill, Ordering::SeqCst);
        becomes(false).await;
        let said = worker().await["last_error"].to_string();
        assert!(said.contains(&ill.to_string()), "{said}");
    }
    status.store(200, Ordering::SeqCst);
    becomes(true).await;
    upstream.stop().await;
    becomes(false).await;
    let said = worker().await["last_error"].to_string();
    assert!(said.contains("refused"), "{said}");
}
