//! Known defects of the Python reference that belong to no other subject.

use std::path::Path;

use gateway_tests::{Gateway, Script, Setup, Upstream, eventually};
use serde_json::{Value, json};

use crate::{say, say_streamed};

/// The defects are numbered; 25 (storage grows with the square of the turns) is not kept out yet.
#[test]
fn every_defect_has_a_test_that_names_it() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut sources = String::new();
    for folder in ["crates", "tests"] {
        read_all(&workspace.join(folder), &mut sources);
    }
    let named = |number: &u32| sources.contains(&format!("fn defect_{number:02}_"));
    let missing: Vec<u32> = (1..=27).filter(|number| !named(number)).collect();
    assert_eq!(missing, [25]);
}

fn read_all(folder: &Path, sources: &mut String) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            read_all(&path, sources);
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            sources.push_str(&std::fs::read_to_string(&path).expect("a source"));
        }
    }
}

/// A message as Anthropic sends it, whole or as events.
fn message(streamed: bool) -> Script {
    let usage = json!({"input_tokens": 3, "output_tokens": 2});
    let message = |content: Value, stop_reason: Value| {
        json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "claude",
            "content": content, "stop_reason": stop_reason, "stop_sequence": null, "usage": usage})
    };
    let text = json!([{"type": "text", "text": "hello there"}]);
    if !streamed {
        return Script::json("200 OK", message(text, json!("end_turn")).to_string());
    }
    let delta = |text: &str| {
        json!({"type": "content_block_delta", "index": 0,
            "delta": {"type": "text_delta", "text": text}})
    };
    let events = [
        json!({"type": "message_start", "message": message(json!([]), Value::Null)}),
        json!({"type": "content_block_start", "index": 0,
            "content_block": {"type": "text", "text": ""}}),
        delta("hello "),
        delta("there"),
        json!({"type": "content_block_stop", "index": 0}),
        json!({"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": null},
            "usage": {"output_tokens": 2}}),
        json!({"type": "message_stop"}),
    ];
    named_events(&events)
}

/// A response as OpenAI sends it, whole or as events.
fn response(streamed: bool) -> Script {
    let output = json!([{"type": "message", "id": "msg_1", "role": "assistant",
        "status": "completed",
        "content": [{"type": "output_text", "text": "hello there", "annotations": []}]}]);
    let usage = json!({"input_tokens": 3, "output_tokens": 2, "total_tokens": 5});
    let response = json!({"id": "resp_1", "object": "response", "model": "gpt",
        "status": "completed", "output": output, "usage": usage});
    if !streamed {
        return Script::json("200 OK", response.to_string());
    }
    named_events(&[json!({"type": "response.completed", "response": response})])
}

fn named_events(events: &[Value]) -> Script {
    let events = events.iter().map(|event| {
        let name = event["type"].as_str().expect("each has a type");
        format!("event: {name}\ndata: {event}\n\n")
    });
    Script::events(events)
}

/// Anthropic and Responses traces were empty, and flagged as errors.
#[tokio::test]
async fn defect_16_anthropic_and_responses_traces_hold_what_was_said() {
    let upstream = Upstream::start(|request| {
        let streamed = request.json()["stream"] == true;
        match request.target().contains("messages") {
            true => message(streamed),
            false => response(streamed),
        }
    });
    let gateway = Gateway::over(&upstream);
    let turns = json!([{"role": "user", "content": "hi"}]);
    for streamed in [false, true] {
        let message = json!({"model": "m", "max_tokens": 9, "messages": turns, "stream": streamed});
        let response = json!({"model": "m", "input": "hi", "stream": streamed});
        for (path, body) in [("messages", message), ("responses", response)] {
            let line = format!("POST /sessions/s/v1/{path}");
            let reply = gateway.call(&line, &[], body.to_string()).await.expect(200);
            let trace = gateway.trace(reply.trace_id()).await;
            let what = format!("{path}, streamed: {streamed}: {trace}");
            assert_eq!(trace["outcome"], "completed", "{what}");
            assert_eq!(trace["has_error"], false, "{what}");
            assert_eq!(trace["messages"], turns, "{what}");
            assert_eq!(
                trace["response_message"]["content"], "hello there",
                "{what}"
            );
            assert_eq!(trace["finish_reason"], "stop", "{what}");
            let counts = json!({"prompt": 3, "completion": 2});
            assert_eq!(trace["token_counts"], counts, "{what}");
        }
    }
    let turns = gateway.get("/sessions/s/traces").await;
    assert_eq!(turns.as_array().map(Vec::len), Some(4));
}

/// Waits until the first worker has no call in flight.
async fn idle(gateway: &Gateway) {
    eventually("the worker to be idle", async || {
        let workers = gateway.get("/admin/workers").await;
        (workers[0]["active_requests"] == 0).then_some(())
    })
    .await;
}

/// A stream that failed while opening left the worker's active count raised for ever.
#[tokio::test]
async fn defect_24_a_stream_that_fails_while_opening_leaves_no_count() {
    let begun = Script::stream().chunk("data: {\"choices\":[]}\n\n").reset();
    let broken = [
        Script::new().reset(),
        Script::new().close(),
        Script::new().send("HTTP/1.1 999 nonsense\r\n\r\n").close(),
        begun,
    ];
    for script in broken {
        let upstream = Upstream::always(script);
        let setup = Setup::new().worker(&upstream);
        let gateway = setup.yaml("retry: {attempts: 1}").start();
        for _ in 0..3 {
            let mut client = gateway.begin("s", say_streamed("hi")).await;
            client.try_reply().await;
        }
        idle(&gateway).await;
    }
    // Nor does a client that leaves before the first byte.
    let silent = Upstream::always(Script::new().wait(&gateway_tests::Gate::new()));
    let gateway = Gateway::over(&silent);
    let client = gateway.begin("s", say_streamed("hi")).await;
    silent.wait_for(1).await;
    let workers = gateway.get("/admin/workers").await;
    assert_eq!(workers[0]["active_requests"], 1);
    drop(client);
    idle(&gateway).await;
}

/// There were no timeouts at all.
#[tokio::test]
async fn defect_24_a_silent_upstream_is_given_up() {
    let silent = Upstream::always(Script::new().wait(&gateway_tests::Gate::new()));
    let route = format!("routes: {{far: {{upstream_url: \"{}/v1\"}}}}", silent.url());
    let setup = Setup::new().worker(&silent).yaml(&route);
    let gateway = setup
        .yaml("read_timeout: 0.1\nretry: {attempts: 1}")
        .start();
    for body in [
        say("hi"),
        say_streamed("hi"),
        say("hi").replace("tiny", "far"),
    ] {
        let reply = gateway.chat("s", body).await;
        assert_eq!(reply.status, 504, "{}", reply.text());
        assert_eq!(reply.json()["error"]["code"], "upstream_timeout");
        let trace = gateway.trace(reply.trace_id()).await;
        assert_eq!(trace["outcome"], "gateway_error");
    }
    idle(&gateway).await;
}

/// Streams over a route were never tried again, and nothing waited before it was.
#[tokio::test]
async fn defect_24_a_stream_over_a_route_is_tried_again() {
    let busy = Script::whole("503 Busy", &["retry-after: 0"], "busy");
    let good = Script::events([
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hello\"},\"finish_reason\":\"stop\"}]}\n\n",
        "data: [DONE]\n\n",
    ]);
    let upstream = Upstream::in_turn([busy, good]);
    let route = format!(
        "routes: {{tiny: {{upstream_url: \"{}/v1\"}}}}",
        upstream.url()
    );
    let gateway = Setup::new().yaml(&route).start();
    let reply = gateway.chat("s", say_streamed("hi")).await.expect(200);
    let trace = gateway.trace(reply.trace_id()).await;
    assert_eq!(trace["attempts"], 2);
    assert_eq!(trace["response_message"]["content"], "hello");
}
