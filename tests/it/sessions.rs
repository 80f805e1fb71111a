//! Sessions as a trainer reads them: lines, the compact form, the report.

use gateway_tests::{Client, End, Gate, Gateway, Script, Setup, Upstream, vllm};
use serde_json::{Value, json};

/// A conversation that an agent carries on: it sends each reply back as it came.
struct Agent<'a> {
    gateway: &'a Gateway,
    session: &'a str,
    messages: Vec<Value>,
}

impl Agent<'_> {
    /// Says this, and hears the reply.
    async fn turn(&mut self, text: &str) -> Value {
        let mut messages = self.messages.clone();
        messages.push(json!({"role": "user", "content": text}));
        let body = json!({"model": "tiny", "messages": messages}).to_string();
        let reply = self.gateway.chat(self.session, body).await.expect(200);
        let message = reply.json()["choices"][0]["message"].clone();
        messages.push(json!({"role": message["role"], "content": message["content"]}));
        self.messages = messages;
        message
    }
}

fn ids(traces: &Value) -> Vec<String> {
    let ids = traces.as_array().expect("a list").iter();
    ids.map(|trace| trace["trace_id"].as_str().expect("an id").to_owned())
        .collect()
}

/// The issue's own scenario: what failed is told from what a client mended by itself.
#[tokio::test]
async fn a_report_names_the_truncated_call_alone() {
    let (seen, refused) = (Gate::new(), Gate::new());
    let upstream = Upstream::start({
        let (seen, refused) = (seen.clone(), refused.clone());
        move |request| {
            let text = request.text().to_owned();
            if text.contains("cut") {
                let chunk = json!({"choices": [{"index": 0, "delta": {"content": "hal"}}]});
                let begun = Script::stream().chunk(format!("data: {chunk}\n\n"));
                return begun.wait(&seen).reset();
            }
            if text.contains("busy") && !refused.is_open() {
                refused.open();
                let error = json!({"error": {"message": "busy", "type": "RateLimitError"}});
                return Script::json("429 Too Many Requests", error.to_string());
            }
            vllm::reply(request)
        }
    });
    // The client sends again itself.
    let setup = Setup::new().worker(&upstream).yaml("retry: {attempts: 1}");
    let gateway = setup.start();
    let stream = json!({"model": "tiny", "stream": true,
        "messages": [{"role": "user", "content": "cut"}]});
    let mut client = gateway.begin_until("s", stream.to_string(), "hal").await;
    seen.open();
    assert_eq!(client.rest().await.end, End::Cut);

    let busy = json!({"model": "tiny", "messages": [{"role": "user", "content": "busy"}]});
    gateway.chat("s", busy.to_string()).await.expect(429);
    gateway.chat("s", busy.to_string()).await.expect(200);
    let mut agent = Agent {
        gateway: &gateway,
        session: "s",
        messages: Vec::new(),
    };
    for text in ["one", "two", "three"] {
        agent.turn(text).await;
    }

    let report = gateway.get("/sessions/s/report").await;
    let all = gateway.get("/sessions/s/traces?outcome=all").await;
    let (cut, failed) = (&all[0], &all[1]);
    assert_eq!(cut["outcome"], "truncated");
    assert_eq!(cut["response_message"]["content"], "hal");
    assert_eq!(failed["status"], 429);
    assert_eq!(failed["superseded_by"], all[2]["trace_id"]);
    assert_eq!(report["verdict"], "incomplete");
    assert_eq!(
        report["failed"],
        json!({"truncated": 1, "upstream_error": 1})
    );
    assert_eq!(
        (
            &report["accepted"],
            &report["completed"],
            &report["superseded"]
        ),
        (&json!(6), &json!(4), &json!(1))
    );
    let reasons = report["reasons"].as_array().expect("reasons");
    let cut = cut["trace_id"].as_str().expect("an id");
    assert!(
        reasons.len() == 1 && reasons[0].as_str().is_some_and(|line| line.contains(cut)),
        "{report}"
    );
    let listed = gateway.get("/sessions/s/traces").await;
    assert_eq!(ids(&listed), ids(&all)[2..]);
    let asked = listed.as_array().expect("a list").iter().map(|trace| {
        let messages = trace["messages"].as_array().expect("messages");
        messages[messages.len() - 1]["content"].clone()
    });
    assert_eq!(asked.collect::<Vec<_>>(), ["busy", "one", "two", "three"]);
}

#[tokio::test]
async fn a_long_session_is_a_twentieth_in_its_compact_form_and_expands_exactly() {
    let upstream = Upstream::vllm();
    let gateway = Gateway::over(&upstream);
    let mut agent = Agent {
        gateway: &gateway,
        session: "s",
        messages: vec![json!({"role": "system", "content": "You are an agent. ".repeat(20)})],
    };
    for turn in 0..100 {
        let text = format!("Observation {turn}: {}", "a line of the file. ".repeat(10));
        let message = agent.turn(&text).await;
        // What the server sends has null members, which the echo has not.
        assert!(
            message
                .as_object()
                .is_some_and(|message| message.values().any(Value::is_null))
        );
    }
    let ordinary = gateway.call("GET /sessions/s/traces", &[], "").await;
    let compact = gateway
        .call("GET /sessions/s/traces?format=compact", &[], "")
        .await;
    let (whole, small) = (ordinary.body.len(), compact.body.len());
    assert!(small * 20 < whole, "{small} of {whole} bytes");

    let document = compact.json();
    let (mut messages, mut prompt) = (Vec::new(), Vec::new());
    let listed = ordinary.json();
    for (delta, trace) in document["deltas"]
        .as_array()
        .expect("deltas")
        .iter()
        .zip(listed.as_array().expect("a list"))
    {
        let items = |value: &Value| value.as_array().expect("an array").clone();
        messages.extend(delta.get("assistant_echo").cloned());
        messages.extend(items(&delta["messages_suffix"]));
        if let Some(kept) = delta["prompt_ids_keep"].as_u64() {
            prompt.truncate(kept as usize);
        }
        prompt.extend(items(&delta["prompt_ids_suffix"]));
        assert_eq!(trace["messages"], Value::from(messages.clone()));
        assert_eq!(trace["prompt_token_ids"], Value::from(prompt.clone()));
        for field in [
            "trace_id",
            "lineage_id",
            "response_message",
            "completion_token_ids",
            "logprobs",
            "finish_reason",
            "token_counts",
            "timestamp",
            "latency_ms",
        ] {
            assert_eq!(delta[field], trace[field], "{field}");
        }
        // The next one's parent is this one, whose reply it sends back.
        messages.push(delta["response_message"].clone());
        prompt.extend(items(&delta["completion_token_ids"]));
    }
    assert_eq!(document["deltas"].as_array().map(Vec::len), Some(100));
}

#[tokio::test]
async fn branches_subagents_and_edits_have_their_lines() {
    let upstream = Upstream::vllm();
    let gateway = Gateway::over(&upstream);
    let agent = || Agent {
        gateway: &gateway,
        session: "org/s:0",
        messages: Vec::new(),
    };
    let (mut main, mut sub) = (agent(), agent());
    main.turn("plan").await;
    sub.turn("search").await;
    main.turn("act").await;
    let mut branch = Agent {
        messages: main.messages[..2].to_vec(),
        ..agent()
    };
    branch.turn("act otherwise").await;
    sub.turn("search more").await;
    main.messages[0]["content"] = json!("another plan");
    main.turn("act again").await;
    let listed = gateway.get("/sessions/org/s:0/traces").await;
    let ids = ids(&listed);
    let parent = |at: usize| Value::from(ids[at].as_str());
    let expected = [
        (Value::Null, 0),
        (Value::Null, 1),
        (parent(0), 0),
        (parent(0), 0),
        (parent(1), 1),
        (Value::Null, 2),
    ];
    for (trace, (parent, line)) in listed.as_array().expect("a list").iter().zip(expected) {
        assert_eq!(trace["parent_trace_id"], parent);
        assert_eq!(trace["lineage_id"], format!("org/s:0#{line}"));
    }
    let report = gateway.get("/sessions/org/s:0/report").await;
    assert_eq!(report["verdict"], "complete", "{report}");
}

#[tokio::test]
async fn a_call_under_way_makes_a_session_in_progress() {
    let go = Gate::new();
    let upstream = Upstream::vllm_behind(&go);
    let gateway = Gateway::over(&upstream);
    let mut client = Client::connect(gateway.address()).await;
    let body = json!({"model": "tiny", "messages": [{"role": "user", "content": "hi"}]});
    let headers = ["x-rllm-session-id: s", "content-type: application/json"];
    client
        .request("POST /v1/chat/completions", &headers, body.to_string())
        .await;
    upstream.wait_for(1).await;
    let report = gateway.get("/sessions/s/report").await;
    assert_eq!(
        (
            &report["verdict"],
            &report["in_flight"],
            &report["accepted"]
        ),
        (&json!("in_progress"), &json!(1), &json!(1))
    );
    go.open();
    client.reply().await.expect(200);
    let report = gateway.get("/sessions/s/report").await;
    assert_eq!(
        (
            &report["verdict"],
            &report["in_flight"],
            &report["accepted"]
        ),
        (&json!("complete"), &json!(0), &json!(1))
    );
}
