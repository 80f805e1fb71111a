//! What an operator sees: the metrics page, and the log.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use gateway_tests::{
    Client, Gate, Gateway, Script, Setup, Upstream, binary, eventually, get_json, vllm,
};
use serde_json::{Value, json};

use crate::retries::busy;
use crate::{DONE, delta, say, say_streamed};

/// A page of metrics, read strictly: every line is a comment that the format knows, or a sample.
struct Page(Vec<Sample>);

struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

impl Page {
    async fn of(gateway: &Gateway) -> Page {
        let reply = gateway.call("GET /metrics", &[], "").await.expect(200);
        let text = reply.text();
        let mut samples = Vec::new();
        let mut named = Vec::new();
        for line in text.lines() {
            if let Some(comment) = line.strip_prefix("# ") {
                let mut words = comment.splitn(3, ' ');
                assert!(matches!(words.next(), Some("HELP" | "TYPE")), "{line}");
                named.push(words.next().expect("a name").to_owned());
                assert!(words.next().is_some_and(|rest| !rest.is_empty()), "{line}");
                continue;
            }
            let sample = Sample::of(line);
            let of = named.last().expect("a type stands before its samples");
            assert!(sample.name.starts_with(of.as_str()), "{line} below {of}");
            samples.push(sample);
        }
        Page(samples)
    }

    /// The sum of the samples of this name with these labels, others aside.
    fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let mut found = self
            .0
            .iter()
            .filter(|sample| sample.name == name)
            .peekable();
        assert!(found.peek().is_some(), "no {name}");
        let fits = |sample: &&Sample| {
            let has = |(key, value): &(&str, &str)| {
                sample.labels.get(*key).map(String::as_str) == Some(*value)
            };
            labels.iter().all(has)
        };
        found.filter(fits).map(|sample| sample.value).sum()
    }

    fn one(&self, name: &str) -> f64 {
        self.sum(name, &[])
    }

    fn balance(&self) -> [f64; 4] {
        let [accepted, persisted, in_flight, deleted] = [
            "rllm_calls_accepted_total",
            "rllm_calls_persisted_total",
            "rllm_calls_in_flight",
            "rllm_calls_deleted_total",
        ]
        .map(|name| self.one(name));
        assert_eq!(accepted, persisted + in_flight + deleted);
        [accepted, persisted, in_flight, deleted]
    }
}

impl Sample {
    /// `name{label="value",…} number`; the values of these tests hold nothing to be escaped.
    fn of(line: &str) -> Sample {
        let (series, value) = line.rsplit_once(' ').expect("a value");
        let value = match value {
            "+Inf" => f64::INFINITY,
            value => value.parse().expect("a number"),
        };
        let (name, labels) = match series.strip_suffix('}') {
            Some(series) => series.split_once('{').expect("labels"),
            None => (series, ""),
        };
        assert!(
            name.bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte == b'_'),
            "{line}"
        );
        let labels = labels.split(',').filter(|pair| !pair.is_empty());
        let labels = labels.map(|pair| {
            let (key, value) = pair.split_once("=\"").expect("a label");
            let value = value.strip_suffix('"').expect("a quoted value");
            assert!(!value.contains(['"', '\\']), "{line}");
            (key.to_owned(), value.to_owned())
        });
        Sample {
            name: name.to_owned(),
            labels: labels.collect(),
            value,
        }
    }
}

/// A vLLM that has no time for the model `busy`, and asks for no wait.
fn upstream() -> Upstream {
    Upstream::start(|request| match request.json()["model"] == "busy" {
        true => busy("503 Service Unavailable", &[], 1),
        false => vllm::reply(request),
    })
}

fn of_model(model: &str, stream: bool) -> String {
    let messages = json!([{"role": "user", "content": "one two"}]);
    json!({"model": model, "stream": stream, "messages": messages}).to_string()
}

/// A page on which these calls have settled.
async fn settled(gateway: &Gateway, calls: f64) -> Page {
    eventually("all calls to be on disk", async || {
        let page = Page::of(gateway).await;
        let [_, persisted, _, deleted] = page.balance();
        (persisted + deleted == calls).then_some(page)
    })
    .await
}

#[tokio::test]
async fn each_counter_counts_what_it_says() {
    let upstream = upstream();
    let route = Upstream::vllm();
    let routes = format!("routes:\n  far: {{upstream_url: '{}/v1'}}", route.url());
    let gateway = Setup::new()
        .worker(&upstream)
        .yaml(&routes)
        .yaml("retry: {max_backoff: 0}")
        .start();
    let empty = Page::of(&gateway).await;
    assert_eq!(empty.balance(), [0.0; 4]);
    assert_eq!(empty.one("rllm_gateway_info"), 1.0);
    assert_eq!(empty.one("rllm_worker_healthy"), 1.0);

    // Two whole, one streamed; one over the route; two kinds of errors.
    let mut bytes = 0;
    let mut tokens = [0, 0];
    for (session, model, stream) in [
        ("a", "tiny", false),
        ("a", "tiny", false),
        ("b", "tiny", true),
    ] {
        let body = of_model(model, stream);
        bytes += body.len();
        let id = gateway
            .chat(session, body)
            .await
            .expect(200)
            .trace_id()
            .to_owned();
        let counts = gateway.trace(&id).await["token_counts"].clone();
        tokens[0] += counts["prompt"].as_i64().expect("counted");
        tokens[1] += counts["completion"].as_i64().expect("counted");
    }
    gateway.chat("a", of_model("far", false)).await.expect(200);
    gateway
        .chat("a", of_model("status-400", false))
        .await
        .expect(400);
    gateway.chat("a", of_model("busy", false)).await.expect(503);
    // What leaves no trace, and what is turned away.
    gateway.call("GET /v1/models", &[], "").await.expect(200);
    gateway
        .call("GET /traces?limit=-1", &[], "")
        .await
        .expect(400);
    gateway.call("GET /nowhere", &[], "").await.expect(404);

    let page = settled(&gateway, 6.0).await;
    assert_eq!(page.balance(), [6.0, 6.0, 0.0, 0.0]);
    let worker = [("kind", "worker"), ("upstream", "0")];
    let tiny = [worker[0], worker[1], ("model", "tiny")];
    let calls = |more: &[(&str, &str)]| page.sum("rllm_calls_total", more);
    assert_eq!(calls(&[]), 6.0);
    assert_eq!(
        calls(&[
            tiny[0],
            tiny[1],
            tiny[2],
            ("outcome", "completed"),
            ("status", "200")
        ]),
        3.0
    );
    assert_eq!(
        calls(&[("kind", "route"), ("upstream", "far"), ("model", "far")]),
        1.0
    );
    assert_eq!(
        calls(&[("outcome", "upstream_error"), ("status", "400")]),
        1.0
    );
    assert_eq!(
        calls(&[("outcome", "upstream_error"), ("status", "503")]),
        1.0
    );
    assert_eq!(page.sum("rllm_attempts_total", &tiny), 3.0);
    assert_eq!(page.sum("rllm_retries_total", &tiny), 0.0);
    assert_eq!(page.sum("rllm_attempts_total", &[("model", "busy")]), 2.0);
    assert_eq!(page.sum("rllm_retries_total", &[("model", "busy")]), 1.0);
    assert_eq!(page.sum("rllm_attempts_total", &[("model", "none")]), 1.0);
    assert_eq!(page.one("rllm_unrecorded_calls_total"), 1.0);
    assert_eq!(
        page.sum("rllm_refused_total", &[("reason", "bad_request")]),
        1.0
    );
    assert_eq!(
        page.sum("rllm_refused_total", &[("reason", "not_found")]),
        1.0
    );
    assert_eq!(page.one("rllm_refused_total"), 2.0);
    assert_eq!(
        page.sum("rllm_prompt_tokens_total", &tiny),
        tokens[0] as f64
    );
    assert_eq!(
        page.sum("rllm_completion_tokens_total", &tiny),
        tokens[1] as f64
    );
    assert_eq!(page.sum("rllm_request_bytes_total", &tiny), bytes as f64);
    assert!(page.sum("rllm_reply_bytes_total", &tiny) > 100.0);
    for histogram in ["rllm_call_duration_seconds", "rllm_call_first_byte_seconds"] {
        let of = |part: &str, more: &[(&str, &str)]| {
            let labels: Vec<_> = tiny.iter().chain(more).copied().collect();
            page.sum(&format!("{histogram}_{part}"), &labels)
        };
        assert_eq!(of("count", &[]), 3.0);
        assert_eq!(of("bucket", &[("le", "+Inf")]), 3.0);
        assert!(of("sum", &[]) > 0.0);
        assert!(of("bucket", &[("le", "0.01")]) <= of("bucket", &[("le", "10")]));
    }
    // A sync for each reply at least that waited alone, and all of it in the store.
    gateway.post("/admin/flush", &json!({})).await;
    let page = Page::of(&gateway).await;
    assert!(page.one("rllm_journal_syncs_total") >= 6.0);
    assert!(page.one("rllm_journal_sync_seconds_total") > 0.0);
    assert!(page.one("rllm_store_batches_total") >= 1.0);
    assert!(page.one("rllm_store_apply_seconds_total") > 0.0);
    assert_eq!(page.one("rllm_journal_lag_entries"), 0.0);
    assert_eq!(page.one("rllm_receipts_missed_total"), 0.0);
    assert_eq!(
        page.one("rllm_journal_failing") + page.one("rllm_store_failing"),
        0.0
    );
}

#[tokio::test]
async fn what_is_under_way_deleted_or_left_is_told_apart() {
    let go = Gate::new();
    let script = Script::stream()
        .chunk(delta(0, &json!({"content": "a"}), None))
        .wait(&go)
        .chunk(delta(0, &json!({"content": "b"}), Some("stop")))
        .chunk(DONE)
        .end();
    let upstream = Upstream::always(script);
    let gateway = Gateway::over(&upstream);
    let mut deleted = gateway
        .begin_until("gone", say_streamed("hi"), "\"a\"")
        .await;
    let mut kept = gateway
        .begin_until("kept", say_streamed("hi"), "\"a\"")
        .await;
    let left = gateway
        .begin_until("left", say_streamed("hi"), "\"a\"")
        .await;
    let page = Page::of(&gateway).await;
    assert_eq!(page.balance(), [3.0, 0.0, 3.0, 0.0]);
    assert_eq!(page.one("rllm_worker_calls_in_flight"), 3.0);
    assert_eq!(page.one("rllm_worker_load"), 3.0);

    gateway
        .call("DELETE /sessions/gone", &[], "")
        .await
        .expect(200);
    drop(left);
    let page = settled(&gateway, 1.0).await;
    assert_eq!(page.balance(), [3.0, 1.0, 2.0, 0.0]);
    go.open();
    deleted.rest().await;
    kept.rest().await;
    let page = settled(&gateway, 3.0).await;
    assert_eq!(page.balance(), [3.0, 2.0, 0.0, 1.0]);
    let calls = |outcome| page.sum("rllm_calls_total", &[("outcome", outcome)]);
    assert_eq!(calls("client_disconnected"), 1.0);
    assert_eq!(calls("completed"), 2.0);
    assert_eq!(page.one("rllm_worker_calls_in_flight"), 0.0);
}

#[tokio::test]
async fn a_worker_that_fails_shows() {
    let upstream = Upstream::vllm();
    upstream.set_healthy(false);
    let gateway = Setup::new()
        .worker(&upstream)
        .yaml("health_check_interval: 0.02\nhealth_check_failures: 1")
        .start();
    eventually("the worker to be unhealthy", async || {
        let page = Page::of(&gateway).await;
        (page.one("rllm_worker_healthy") == 0.0).then_some(())
    })
    .await;
    gateway.chat("s", say("hi")).await.expect(503);
    let page = settled(&gateway, 1.0).await;
    let labels = [("kind", "none"), ("upstream", "none"), ("status", "503")];
    assert_eq!(page.sum("rllm_calls_total", &labels), 1.0);
    // It was admitted, and so is a call, and no refusal.
    assert_eq!(page.one("rllm_refused_total"), 0.0);
}

/// The log lines with this message, as JSON.
async fn lines(gateway: &Gateway, message: &str, count: usize) -> Vec<Value> {
    eventually("the log lines", async || {
        let log = gateway.log();
        let lines = log.lines().map(|line| {
            let line: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"));
            line
        });
        let lines: Vec<_> = lines.filter(|line| line["message"] == message).collect();
        (lines.len() >= count).then_some(lines)
    })
    .await
}

#[tokio::test]
async fn each_call_is_one_line_of_json() {
    let upstream = upstream();
    let gateway = Setup::new()
        .worker(&upstream)
        .yaml("retry: {max_backoff: 0}")
        .argument("--log-format=json")
        .start();
    let session = "x-rllm-session-id: s \"1\" é";
    let headers = [
        session,
        "x-rllm-run-id: r",
        "content-type: application/json",
    ];
    let body = of_model("tiny", false);
    let line = "POST /v1/chat/completions";
    let reply = gateway.call(line, &headers, &body).await.expect(200);
    let calls = lines(&gateway, "call", 1).await;
    let call = calls[0].as_object().expect("an object");
    let trace = gateway.trace(reply.trace_id()).await;
    for (field, expected) in [
        ("level", json!("INFO")),
        ("trace_id", json!(reply.trace_id())),
        ("session_id", json!("s \"1\" é")),
        ("run_id", json!("r")),
        ("endpoint", trace["endpoint"].clone()),
        ("model", json!("tiny")),
        ("stream", json!(false)),
        ("upstream", json!("0")),
        ("outcome", json!("completed")),
        ("status", json!(200)),
        ("attempts", json!(1)),
        ("request_bytes", json!(body.len())),
    ] {
        assert_eq!(call[field], expected, "{field}");
    }
    let close = |field: &str| {
        let (logged, traced) = (call[field].as_f64(), trace[field].as_f64());
        (logged.expect("logged") - traced.expect("traced")).abs() <= 0.05001
    };
    assert!(close("latency_ms") && close("ttft_ms"), "{call:?} {trace}");
    assert!(call["reply_bytes"].as_u64() > Some(100));
    assert!(!gateway.log().contains("one two"), "no bodies");

    // A failed one is one line too, with its code and its attempts.
    gateway.chat("s", of_model("busy", false)).await.expect(503);
    let calls = lines(&gateway, "call", 2).await;
    assert_eq!(calls.len(), 2);
    assert_eq!(calls[1]["outcome"], "upstream_error");
    assert_eq!(calls[1]["attempts"], 2);
    assert!(calls[1]["error"].is_string());
    assert_eq!(calls[1].get("run_id"), None);

    // What is turned away, on either plane, says why; what leaves no trace says so.
    let bad = "x-rllm-session-id: ".to_owned() + &"x".repeat(513);
    gateway.call(line, &[&bad], say("hi")).await.expect(400);
    gateway.call("GET /nowhere%0a", &[], "").await.expect(404);
    let refused = lines(&gateway, "refused", 2).await;
    assert_eq!(refused.len(), 2);
    assert_eq!(
        (&refused[0]["code"], &refused[0]["status"]),
        (&json!("bad_identity"), &json!(400))
    );
    assert!(
        refused[0]["reason"]
            .as_str()
            .is_some_and(|reason| !reason.is_empty())
    );
    assert_eq!(refused[1]["path"], "/nowhere%0a");
    assert_eq!(refused[1]["code"], "not_found");
    gateway
        .call("GET /v1/models?key=secret", &[], "")
        .await
        .expect(200);
    let passed = lines(&gateway, "call, not recorded", 1).await;
    assert_eq!(
        (&passed[0]["path"], &passed[0]["status"]),
        (&json!("/models"), &json!(200))
    );
    assert_eq!(passed[0]["upstream"], "0");
    assert!(!gateway.log().contains("secret"));
}

#[tokio::test]
async fn the_line_for_people_says_the_same() {
    let upstream = Upstream::vllm();
    let gateway = Gateway::over(&upstream);
    let session = "x-rllm-session-id: s\u{85}\"1";
    let bad = gateway
        .call("POST /v1/chat/completions", &[session], say("hi"))
        .await;
    bad.expect(400);
    let reply = gateway.chat("s 1", say("hi")).await.expect(200);
    let id = reply.trace_id().to_owned();
    let log = eventually("the line", async || {
        let log = gateway.log();
        log.contains(" call ").then_some(log)
    })
    .await;
    let line = log
        .lines()
        .find(|line| line.contains(" call "))
        .expect("it");
    for part in [
        format!("trace_id=\"{id}\""),
        "session_id=\"s 1\"".to_owned(),
        "model=\"tiny\"".to_owned(),
        "outcome=\"completed\"".to_owned(),
        "status=200".to_owned(),
        "attempts=1".to_owned(),
    ] {
        assert!(line.contains(&part), "{part} in {line}");
    }
    assert!(!line.contains("run_id"), "{line}");
}

/// Row 15: whoever reads the log, or stdout, and stops must not stop the gateway.
#[tokio::test]
async fn a_log_that_nobody_reads_stops_nobody() {
    const CALLS: usize = 400;
    let upstream = Upstream::vllm();
    let folder = tempfile::tempdir().expect("a folder");
    let mut child = Command::new(binary())
        .args([
            "--port",
            "0",
            "--log-level",
            "DEBUG",
            "--worker",
            &upstream.url(),
        ])
        .arg("--db-path")
        .arg(folder.path().join("gateway.db"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the executable starts");
    // One line is read of what it prints, and nothing of what it logs.
    let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
    let stderr = child.stderr.take().expect("piped");
    let address = loop {
        let mut line = String::new();
        assert!(stdout.read_line(&mut line).expect("a line") > 0);
        if let Some((_, address)) = line.split_once("listening on http://") {
            break address.trim().parse().expect("an address");
        }
    };
    let mut client = Client::connect(address).await;
    // More text than a pipe holds.
    for _ in 0..CALLS {
        let session = format!("x-rllm-session-id: {}", "s".repeat(500));
        client
            .request("POST /v1/chat/completions", &[&session], say("hi"))
            .await;
        client.reply().await.expect(200);
    }
    let counted = get_json(address, "/traces/count").await;
    child.kill().expect("it was running");
    child.wait().expect("it ends");
    assert_eq!(counted["count"], CALLS);
    // The pipe was full indeed: what is in it is less than what was logged.
    let read = std::io::read_to_string(stderr).expect("text");
    assert!(
        read.len() > 4096 && read.matches(" call ").count() < CALLS,
        "{}",
        read.len()
    );
}
