//! Crashes, a locked database, and the ordinary end.
//!
//! `cargo xtask soak` runs the same with more rounds and longer locks.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use gateway_tests::{Client, End, Gate, Gateway, Script, Setup, Upstream, eventually, vllm};
use serde_json::{Value, json};

use crate::{say, say_streamed};

fn setting(name: &str, default: u64) -> u64 {
    let value = std::env::var(name).ok();
    value.map_or(default, |value| value.parse().expect("a number"))
}

/// Calls whose message begins with `held` get one event and no end.
fn holding(never: &Gate) -> Upstream {
    let never = never.clone();
    Upstream::start(move |request| match request.text().contains("held") {
        true => {
            let chunk = json!({"id": "c", "object": "chat.completion.chunk", "model": "tiny",
                "choices": [{"index": 0, "delta": {"role": "assistant", "content": "begun"},
                             "finish_reason": null}]});
            Script::stream()
                .chunk(format!("data: {chunk}\n\n"))
                .wait(&never)
        }
        false => vllm::reply(request),
    })
}

/// A call whose reply had ended before the crash.
struct Ended {
    session: String,
    trace_id: String,
    message: String,
}

#[derive(Default)]
struct Observed {
    ended: Mutex<Vec<Ended>>,
    count: AtomicUsize,
    crashed: AtomicBool,
}

/// Calls again and again until the gateway is gone.
async fn agent(address: std::net::SocketAddr, name: String, observed: Arc<Observed>) -> String {
    for turn in 0.. {
        let session = format!("{name}-{turn}");
        let message = format!("message of {session}");
        let body = if turn % 2 == 0 {
            say(&message)
        } else {
            say_streamed(&message)
        };
        let header = format!("x-rllm-session-id: {session}");
        let attempt = async {
            let mut client = Client::try_connect(address).await?;
            client
                .request("POST /v1/chat/completions", &[&header], body)
                .await;
            client.try_reply().await
        };
        let Some(reply) = attempt.await else {
            return session;
        };
        if reply.end == End::Cut {
            return session;
        }
        assert!(!observed.crashed.load(Ordering::SeqCst) || reply.status == 200);
        assert_eq!(reply.status, 200, "{}", reply.text());
        let trace_id = reply.trace_id().to_owned();
        observed.ended.lock().expect("no panic").push(Ended {
            session,
            trace_id,
            message,
        });
        observed.count.fetch_add(1, Ordering::SeqCst);
    }
    unreachable!("an agent calls until the crash");
}

#[tokio::test]
async fn a_kill_loses_no_call_whose_reply_had_ended() {
    const AGENTS: usize = 16;
    const HELD: usize = 4;
    let rounds = setting("GATEWAY_KILL_ROUNDS", 3);
    let never = Gate::new();
    let upstream = holding(&never);
    let mut setup = Setup::new().worker(&upstream);
    let mut last = None;
    for round in 0..rounds {
        let gateway = setup.start();
        let address = gateway.address();
        // Open calls, admitted well before the crash.
        let mut held = Vec::new();
        for number in 0..HELD {
            let session = format!("held-{round}-{number}");
            let body = say_streamed("held for long");
            held.push(gateway.begin_until(&session, body, "begun").await);
        }
        let observed = Arc::new(Observed::default());
        let agents: Vec<_> = (0..AGENTS)
            .map(|number| {
                let name = format!("r{round}-a{number}");
                tokio::spawn(agent(address, name, Arc::clone(&observed)))
            })
            .collect();
        let target = 150 + 37 * usize::try_from(round).expect("small");
        eventually("calls under way", async || {
            (observed.count.load(Ordering::SeqCst) >= target).then_some(())
        })
        .await;
        observed.crashed.store(true, Ordering::SeqCst);
        setup = gateway.kill();
        let mut broken = Vec::new();
        for agent in agents {
            broken.push(agent.await.expect("the agent saw nothing wrong"));
        }

        let gateway = setup.start();
        for number in 0..HELD {
            let trace = only(&gateway.traces(&format!("held-{round}-{number}")).await);
            assert_eq!(trace["outcome"], "interrupted");
            assert_eq!(trace["messages"][0]["content"], "held for long");
        }
        let ended = std::mem::take(&mut *observed.ended.lock().expect("no panic"));
        for call in &ended {
            let trace = only(&gateway.traces(&call.session).await);
            assert_eq!(trace["trace_id"], call.trace_id.as_str());
            assert_eq!(trace["outcome"], "completed", "{}", call.session);
            let answer = vllm::answer_to(&call.message);
            assert_eq!(trace["response_message"]["content"], answer.as_str());
        }
        for session in &broken {
            // A call admitted in the last 10 ms may have left nothing.
            let traces = gateway.traces(session).await;
            assert!(traces.len() <= 1, "{session} twice");
            for trace in traces {
                let outcome = trace["outcome"].as_str().expect("text");
                let known = ["completed", "interrupted"].contains(&outcome);
                assert!(known, "{session}: {outcome}");
            }
        }
        last = Some(ended);
        setup = gateway.kill();
    }
    // What earlier crashes left is not disturbed by later ones.
    let gateway = setup.start();
    for call in last.expect("a round") {
        assert_eq!(gateway.traces(&call.session).await.len(), 1);
    }
    assert_eq!(gateway.traces("held-0-0").await.len(), 1);
}

fn only(traces: &[Value]) -> Value {
    assert_eq!(traces.len(), 1, "{traces:?}");
    traces[0].clone()
}

#[tokio::test]
async fn the_end_mark_is_the_receipt_even_if_the_gateway_dies_right_after_it() {
    let rounds = setting("GATEWAY_KILL_ROUNDS", 3);
    let upstream = Upstream::vllm();
    let mut setup = Setup::new().worker(&upstream);
    for round in 0..rounds {
        let gateway = setup.start();
        let session = format!("receipt-{round}");
        let body = say_streamed("keep this");
        let _client = gateway.begin_until(&session, body, "[DONE]").await;
        setup = gateway.kill();
        let gateway = setup.start();
        let trace = only(&gateway.traces(&session).await);
        assert_eq!(trace["outcome"], "completed");
        let answer = vllm::answer_to("keep this");
        assert_eq!(trace["response_message"]["content"], answer.as_str());
        setup = gateway.kill();
    }
}

#[tokio::test]
async fn no_call_notices_a_locked_database() {
    let time = Duration::from_millis(setting("GATEWAY_LOCK_MS", 400));
    let upstream = Upstream::vllm();
    let gateway = Gateway::over(&upstream);
    gateway.chat("before", say("hi")).await.expect(200);
    gateway.traces("before").await;

    // We are another process than the gateway.
    let lock = rusqlite::Connection::open(gateway.setup().database()).expect("a database");
    lock.busy_timeout(Duration::from_secs(10))
        .expect("a pragma");
    lock.execute_batch("BEGIN EXCLUSIVE").expect("the lock");
    let start = Instant::now();
    let mut calls = 0;
    let mut slowest = Duration::ZERO;
    while calls < 40 || start.elapsed() < time {
        let sent = Instant::now();
        let body = if calls % 2 == 0 {
            say("hi")
        } else {
            say_streamed("hi")
        };
        let reply = gateway
            .chat(&format!("locked-{calls}"), body)
            .await
            .expect(200);
        assert_ne!(reply.end, End::Cut);
        slowest = slowest.max(sent.elapsed());
        calls += 1;
    }
    assert!(slowest < Duration::from_secs(2), "a call took {slowest:?}");
    lock.execute_batch("ROLLBACK").expect("the lock's end");

    for call in 0..calls {
        let trace = only(&gateway.traces(&format!("locked-{call}")).await);
        assert_eq!(trace["outcome"], "completed");
    }
}

#[tokio::test]
async fn a_reader_of_a_locked_database_is_told_so_and_never_gets_a_short_list() {
    let upstream = Upstream::vllm();
    let gateway = Gateway::over(&upstream);
    gateway.chat("s", say("one")).await.expect(200);
    assert_eq!(gateway.traces("s").await.len(), 1);
    let lock = rusqlite::Connection::open(gateway.setup().database()).expect("a database");
    lock.busy_timeout(Duration::from_secs(10))
        .expect("a pragma");
    lock.execute_batch("BEGIN EXCLUSIVE").expect("the lock");
    gateway.chat("s", say("two")).await.expect(200);
    let reply = gateway.call("GET /sessions/s/traces", &[], "").await;
    assert_eq!(reply.status, 503, "{}", reply.text());
    assert_eq!(reply.json()["error"]["code"], "store_unavailable");
    lock.execute_batch("ROLLBACK").expect("the lock's end");
    assert_eq!(gateway.traces("s").await.len(), 2);
}

#[tokio::test]
async fn a_drain_lets_open_calls_finish_and_takes_no_new_ones() {
    let (go_on, begun) = (Gate::new(), Gate::new());
    let event = |delta: Value, finish: Value| {
        let choice = json!({"index": 0, "delta": delta, "finish_reason": finish});
        format!("data: {}\n\n", json!({"choices": [choice]}))
    };
    let script = Script::stream()
        .chunk(event(
            json!({"role": "assistant", "content": "first"}),
            Value::Null,
        ))
        .open(&begun)
        .wait(&go_on)
        .chunk(event(json!({"content": " last"}), json!("stop")))
        .chunk("data: [DONE]\n\n")
        .end();
    let upstream = Upstream::always(script);
    let mut gateway = Gateway::over(&upstream);
    let open = gateway.begin_until("open", say_streamed("hi"), "first");
    let mut open = open.await;

    gateway.signal("TERM");
    gateway.draining().await;
    let reply = gateway.chat("late", say("hi")).await;
    assert_eq!(reply.status, 503, "{}", reply.text());
    assert_eq!(reply.json()["error"]["code"], "draining");
    assert!(reply.header("retry-after").is_some());
    assert_eq!(reply.header("connection"), Some("close"));

    go_on.open();
    let reply = open.rest().await;
    assert_eq!(reply.end, End::Whole);
    assert!(reply.text().ends_with("data: [DONE]\n\n"));
    let status = gateway.ended().await;
    assert_eq!(status.code(), Some(0), "{}", gateway.log());
    let again = gateway.setup().start();
    let trace = only(&again.traces("open").await);
    assert_eq!(trace["outcome"], "completed");
    assert_eq!(trace["response_message"]["content"], "first last");
}

#[tokio::test]
async fn a_second_signal_ends_at_once_and_keeps_what_was_received() {
    let never = Gate::new();
    let upstream = holding(&never);
    let mut gateway = Gateway::over(&upstream);
    let open = gateway.begin_until("open", say_streamed("held"), "begun");
    let _open = open.await;
    gateway.signal("TERM");
    gateway.draining().await;
    gateway.signal("TERM");
    gateway.ended().await;
    let again = gateway.setup().start();
    let trace = only(&again.traces("open").await);
    assert_eq!(trace["outcome"], "interrupted");
    assert_eq!(trace["response_message"]["content"], "begun");
}
