//! The commands for people: the real executable asks a real gateway.

mod env;
mod faults;
mod screen;
mod tail;
mod tls;

use std::ffi::OsStr;
use std::process::{Command, Stdio};

use gateway_tests::{Gate, Gateway, Script, Setup, Upstream, binary, vllm};
use serde_json::Value;

use crate::{DONE, say, say_streamed};

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    /// What it printed, if it went well and said nothing else.
    pub(crate) fn good(self) -> String {
        assert_eq!((self.code, &*self.stderr), (Some(0), ""), "{self:?}");
        self.stdout
    }

    /// The JSON of each line that it printed.
    pub(crate) fn lines(self) -> Vec<Value> {
        let lines = self.good();
        let lines = lines.lines().map(serde_json::from_str);
        lines.map(|line| line.expect("JSON lines")).collect()
    }

    /// Checks that it failed in one line that holds these words.
    pub(crate) fn fails(self, code: i32, words: &[&str]) -> Ran {
        assert_eq!((self.code, &*self.stdout), (Some(code), ""), "{self:?}");
        assert_eq!(self.stderr.lines().count(), 1, "{self:?}");
        assert!(self.stderr.starts_with("rllm-model-gateway: "), "{self:?}");
        for word in words {
            assert!(self.stderr.contains(word), "no {word:?} in {self:?}");
        }
        self
    }
}

/// A command in an environment that knows no gateway.
pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command
        .args(arguments)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .stdin(Stdio::null());
    command
}

pub(crate) fn run(command: &mut Command) -> Ran {
    let output = command.output().expect("the executable starts");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    Ran {
        code: output.status.code(),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

/// Asks this gateway.
fn ask(gateway: &Gateway, arguments: &[&str]) -> Ran {
    run(command(arguments).env("RLLM_GATEWAY_URL", url(gateway)))
}

fn url(gateway: &Gateway) -> String {
    format!("http://{}", gateway.address())
}

/// One chat completion with these headers; gives its trace id.
async fn call(gateway: &Gateway, headers: &[&str], body: impl AsRef<[u8]>) -> String {
    let line = "POST /v1/chat/completions";
    let reply = gateway.call(line, headers, body).await;
    reply.trace_id().to_owned()
}

/// The words of each line.
fn words(table: &str) -> Vec<Vec<&str>> {
    let lines = table.lines();
    lines
        .map(|line| line.split_whitespace().collect())
        .collect()
}

#[tokio::test]
async fn sessions_are_a_table_or_the_api_s_own_json() {
    let upstream = Upstream::vllm();
    let gateway = Gateway::over(&upstream);
    let ran = ask(&gateway, &["sessions"]);
    assert_eq!((ran.code, &*ran.stdout), (Some(0), ""));
    assert_eq!(ran.stderr, "rllm-model-gateway: no sessions\n");

    call(
        &gateway,
        &["x-rllm-session-id: a", "x-rllm-run-id: r"],
        say("hi"),
    )
    .await;
    call(&gateway, &["x-rllm-session-id: b"], say("hi")).await;
    call(&gateway, &["x-rllm-session-id: b"], say("hi")).await;

    let table = ask(&gateway, &["sessions"]).good();
    let table = words(&table);
    assert_eq!(
        table[0],
        ["SESSION", "RUN", "TURNS", "CALLS", "CREATED", "LAST"]
    );
    assert_eq!(table[1][..3], ["b", "2", "2"]);
    assert_eq!(table[2][..4], ["a", "r", "1", "1"]);
    assert_eq!(table.len(), 3);

    // Every byte of it.
    let lines = ask(&gateway, &["sessions", "--json"]).good();
    let list = format!("[{}]", lines.trim_end().replace('\n', ","));
    assert_eq!(list, gateway.call("GET /sessions", &[], "").await.text());

    let of_run = ask(&gateway, &["sessions", "--json", "--run", "r"]).lines();
    assert_eq!(of_run.len(), 1);
    assert_eq!(of_run[0]["session_id"], "a");
    assert_eq!(
        ask(&gateway, &["sessions", "--json", "--since", "1h"])
            .lines()
            .len(),
        2
    );
    assert_eq!(
        ask(&gateway, &["sessions", "--json", "--since", "2999-01-01"])
            .lines()
            .len(),
        0
    );

    let cut = ask(&gateway, &["sessions", "--limit", "1"]);
    assert_eq!((cut.code, cut.stdout.lines().count()), (Some(0), 2));
    assert!(cut.stderr.contains("more than these 1 sessions"), "{cut:?}");
}

#[tokio::test]
async fn turns_are_listed_in_order_with_what_became_of_them() {
    let upstream = Upstream::vllm();
    let gateway = Gateway::over(&upstream);
    // Slashes, colons, quotes and blanks stand in an id as they are.
    let session = "org/task 7:0 'it' \"is\"?";
    let header = format!("x-rllm-session-id: {session}");
    let headers = [header.as_str(), "x-rllm-harness: react"];
    let one = call(&gateway, &headers, say("one\u{1b}[2J")).await;
    let bad = call(&gateway, &headers, say("x").replace("tiny", "status-400")).await;
    let two = call(&gateway, &[&header], say("two")).await;

    let shown = ask(&gateway, &["traces", session]).good();
    let table = words(&shown);
    assert_eq!(
        table[0],
        [
            "TRACE", "WHEN", "MODEL", "OUTCOME", "IN", "OUT", "TOOK", "TEXT"
        ]
    );
    let column = |place: usize| -> Vec<&str> { table.iter().map(|row| row[place]).collect() };
    assert_eq!(column(0)[1..], [&one, &bad, &two]);
    assert_eq!(column(3)[1..], ["completed", "upstream_error", "completed"]);
    assert!(shown.contains("two → You said: two"), "{shown}");
    assert!(shown.contains("one\\u{1b}[2J → You said"), "{shown}");
    assert!(!shown.contains('\u{1b}'), "{shown}");

    let ids = |arguments: &[&str]| -> Vec<Value> {
        let lines = ask(
            &gateway,
            &[&["traces", session, "--json"], arguments].concat(),
        )
        .lines();
        lines
            .iter()
            .map(|trace| trace["trace_id"].clone())
            .collect()
    };
    assert_eq!(ids(&[]), [&*one, &*bad, &*two]);
    assert_eq!(ids(&["--outcome", "completed"]), [&*one, &*two]);
    assert_eq!(ids(&["--outcome", "upstream_error"]), [&*bad]);
    assert_eq!(ids(&["--model", "status-400"]), [&*bad]);
    assert_eq!(ids(&["--harness", "react"]), [&*one, &*bad]);
    assert_eq!(ids(&["--since", "0"]), [&*one, &*bad, &*two]);
    assert_eq!(ids(&["--run", "other"]), [""; 0]);

    let cut = ask(&gateway, &["traces", session, "--limit", "2"]);
    assert_eq!((cut.code, cut.stdout.lines().count()), (Some(0), 3));
    assert!(cut.stderr.contains("more than these 2 calls"), "{cut:?}");

    let lines = ask(&gateway, &["traces", session, "--json"]).good();
    let list = format!("[{}]", lines.trim_end().replace('\n', ","));
    let path = "GET /sessions/org%2Ftask%207%3A0%20%27it%27%20%22is%22%3F/traces?outcome=all";
    assert_eq!(list, gateway.call(path, &[], "").await.text());
}

#[tokio::test]
async fn the_feed_is_shown_newest_first_and_page_by_page() {
    let upstream = Upstream::vllm();
    let gateway = Gateway::over(&upstream);
    let mut ids = Vec::new();
    for turn in 0..230 {
        let session = format!("x-rllm-session-id: s{}", turn % 7);
        let model = if turn % 100 == 3 {
            "status-400"
        } else {
            "tiny"
        };
        let body = say(&turn.to_string()).replace("tiny", model);
        ids.push(call(&gateway, &[&session], body).await);
    }
    ids.reverse();
    let listed = |arguments: &[&str]| -> Vec<String> {
        let lines = ask(&gateway, &[&["traces", "--json"], arguments].concat()).lines();
        let ids = lines
            .iter()
            .map(|trace| trace["trace_id"].as_str().map(String::from));
        ids.map(|id| id.expect("an id")).collect()
    };
    assert_eq!(listed(&["--limit", "0"]), ids);
    let bad: Vec<_> = [26, 126, 226].map(|place| ids[place].clone()).to_vec();
    assert_eq!(listed(&["--outcome", "upstream_error"]), bad);
    assert_eq!(listed(&["--model", "status-400"]), bad);
    assert_eq!(listed(&["--harness", "none"]), [""; 0]);

    let ran = ask(&gateway, &["traces"]);
    let table = words(&ran.stdout);
    assert_eq!(table[0][..3], ["TRACE", "WHEN", "SESSION"]);
    assert_eq!(table.len(), 51);
    assert_eq!(table[1][0], ids[0]);
    assert_eq!(table[1][2], "s5");
    assert!(ran.stderr.contains("more than these 50 calls"), "{ran:?}");
}

#[tokio::test]
async fn a_trace_is_shown_in_full() {
    let upstream = Upstream::vllm();
    let gateway = Gateway::over(&upstream);
    let id = call(&gateway, &["x-rllm-session-id: s"], say("first\nsecond")).await;
    let shown = ask(&gateway, &["traces", "--id", &id]).good();
    for part in [
        &*format!("trace       {id}\n"),
        "session     s\n",
        "outcome     completed, finish reason stop, HTTP 200\n",
        "user\n  first\n  second\n",
        "reply\n  You said: first\n  second\n",
    ] {
        assert!(shown.contains(part), "{part} in\n{shown}");
    }
    let json = ask(&gateway, &["traces", "--json", "--id", &id]).good();
    let text = gateway
        .call(&format!("GET /traces/{id}"), &[], "")
        .await
        .text();
    assert_eq!(json, format!("{text}\n"));
    ask(&gateway, &["traces", "--id", "no/such"]).fails(1, &["404", "no/such"]);
}

#[tokio::test]
async fn a_report_is_an_exit_code() {
    let gate = Gate::new();
    let opened = gate.clone();
    let upstream = Upstream::start(move |request| match request.text().contains("slow") {
        true => Script::stream()
            .chunk("data: {}\n\n")
            .wait(&opened)
            .chunk(DONE)
            .end(),
        false => vllm::reply(request),
    });
    let gateway = Gateway::over(&upstream);
    gateway.chat("whole/1", say("hi")).await.expect(200);
    gateway
        .chat("broken", say("hi").replace("tiny", "status-400"))
        .await
        .expect(400);

    let good = ask(&gateway, &["report", "whole/1"]).good();
    assert!(
        good.starts_with("complete  whole/1\n  1 accepted: 1 persisted"),
        "{good}"
    );
    let bad = ask(&gateway, &["report", "broken"]);
    assert_eq!((bad.code, &*bad.stderr), (Some(1), ""));
    assert!(bad.stdout.starts_with("incomplete  broken\n"), "{bad:?}");
    assert!(bad.stdout.contains(": upstream_error: "), "{bad:?}");
    let json = ask(&gateway, &["report", "broken", "--json"]);
    let verdict: Value = serde_json::from_str(&json.stdout).expect("JSON");
    assert_eq!(
        (json.code, &verdict["verdict"]),
        (Some(1), &"incomplete".into())
    );

    let mut open = gateway
        .begin_until("open", say_streamed("slow"), "data")
        .await;
    let ran = ask(&gateway, &["report", "open"]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.stdout.starts_with("in_progress  open\n"), "{ran:?}");
    gate.open();
    open.rest().await;

    ask(&gateway, &["report", "nowhere"]).fails(1, &["404", "nowhere"]);
    ask(&gateway, &["report", " "]).fails(2, &["the session id is empty"]);
}

#[tokio::test]
async fn a_gateway_with_tokens_asks_for_them() {
    let upstream = Upstream::vllm();
    let tokens = "inbound_auth_token: canary-agent\nadmin_auth_token: canary-boss";
    let gateway = Setup::new().worker(&upstream).yaml(tokens).start();
    let headers = ["authorization: Bearer canary-agent", "x-rllm-session-id: s"];
    call(&gateway, &headers, say("hi")).await;

    let words = [
        "401",
        "missing or invalid bearer token",
        "--token or RLLM_GATEWAY_TOKEN",
    ];
    ask(&gateway, &["sessions"]).fails(1, &words);
    let words = ["403", "takes the admin token"];
    let ran = ask(&gateway, &["sessions", "--token", "canary-agent"]).fails(1, &words);
    assert!(!ran.stderr.contains("canary"), "{ran:?}");

    let shown = ask(&gateway, &["traces", "s", "--token", "canary-boss"]).good();
    assert!(shown.contains("You said: hi"), "{shown}");
    let with_variable = |token: &str| {
        let mut command = command(&["report", "s"]);
        command.env("RLLM_GATEWAY_URL", url(&gateway));
        run(command.env("RLLM_GATEWAY_TOKEN", token))
    };
    with_variable("canary-boss").good();
    with_variable("").fails(1, &["401"]);
    let ran = with_variable("canary-\u{7}").fails(2, &["--token", "control"]);
    assert!(!ran.stderr.contains("canary"), "{ran:?}");
}

#[test]
fn no_help_shows_what_a_variable_holds() {
    for line in [["sessions", "--help"], ["env", "--help"]] {
        let mut command = command(&line);
        for name in ["TOKEN", "URL", "INBOUND_TOKEN"] {
            command.env(format!("RLLM_GATEWAY_{name}"), OsStr::new("canary"));
        }
        let help = run(&mut command).good();
        assert!(help.contains("RLLM_GATEWAY_URL"), "{help}");
        assert!(!help.contains("canary"), "{help}");
    }
}
