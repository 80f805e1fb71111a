//! `tail`, which follows the calls as they end.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use gateway_tests::{Gateway, Script, Setup, Upstream, eventually};
use serde_json::Value;

use super::{call, command, url};
use crate::say;

/// A `tail` that runs; killed when it is dropped.
struct Tail {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    notes: Arc<Mutex<Vec<String>>>,
}

impl Tail {
    fn start(url: &str, arguments: &[&str]) -> Tail {
        let mut command = command(&["tail", "--url", url]);
        command.args(arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the executable starts");
        let lines = collect(child.stdout.take().expect("piped"));
        let notes = collect(child.stderr.take().expect("piped"));
        Tail {
            child,
            lines,
            notes,
        }
    }

    /// The lines so far, once there are so many.
    async fn lines(&self, count: usize) -> Vec<String> {
        eventually("lines of the tail", async || {
            let lines = taken(&self.lines);
            (lines.len() >= count).then_some(lines)
        })
        .await
    }

    /// The trace ids so far, once there are so many.
    async fn ids(&self, count: usize) -> Vec<String> {
        let lines = self.lines(count).await;
        let traces = lines.iter().map(|line| serde_json::from_str(line));
        let traces = traces.map(|trace: Result<Value, _>| trace.expect("JSON lines"));
        let ids = traces.map(|trace| trace["trace_id"].as_str().map(String::from));
        ids.map(|id| id.expect("an id")).collect()
    }

    /// Once this is on its stderr.
    async fn noted(&self, words: &str) {
        eventually("a note of the tail", async || {
            let notes = taken(&self.notes);
            notes.iter().any(|note| note.contains(words)).then_some(())
        })
        .await;
    }

    /// Presses Ctrl-C, and gives the exit code.
    async fn interrupt(mut self) -> Option<i32> {
        let pid = self.child.id().to_string();
        let sent = Command::new("sh")
            .args(["-c", "kill -s INT $0", &pid])
            .status();
        assert!(sent.is_ok_and(|status| status.success()));
        self.ended().await
    }

    async fn ended(&mut self) -> Option<i32> {
        let status = eventually("the tail's end", async || {
            self.child.try_wait().expect("our own child")
        });
        status.await.code()
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn collect(pipe: impl std::io::Read + Send + 'static) -> Arc<Mutex<Vec<String>>> {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let collected = Arc::clone(&lines);
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            let mut lines = collected.lock().unwrap_or_else(PoisonError::into_inner);
            lines.push(line);
        }
    });
    lines
}

fn taken(lines: &Mutex<Vec<String>>) -> Vec<String> {
    lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

async fn calls(gateway: &Gateway, count: usize) -> Vec<String> {
    let mut ids = Vec::new();
    for turn in 0..count {
        let session = format!("x-rllm-session-id: s{}", turn % 2);
        ids.push(call(gateway, &[&session], say(&turn.to_string())).await);
    }
    ids
}

#[tokio::test]
async fn every_call_is_shown_once_also_across_a_restart() {
    let upstream = Upstream::vllm();
    let gateway = Gateway::over(&upstream);
    let mut ids = calls(&gateway, 12).await;
    let tail = Tail::start(&url(&gateway), &["--json"]);
    // The last ten of those before.
    ids.drain(..2);
    assert_eq!(tail.ids(10).await, ids);
    ids.extend(calls(&gateway, 5).await);
    assert_eq!(tail.ids(15).await, ids);

    let port = format!("--port={}", gateway.address().port());
    let setup = gateway.kill();
    tail.noted("waiting for it").await;
    let gateway = setup.argument(port).start();
    // More than a page.
    ids.extend(calls(&gateway, 120).await);
    assert_eq!(tail.ids(135).await, ids);
    assert_eq!(taken(&tail.notes).len(), 1, "one note for one absence");
    assert_eq!(tail.interrupt().await, Some(0));
}

#[tokio::test]
async fn only_what_is_asked_for_is_shown() {
    let upstream = Upstream::vllm();
    let gateway = Gateway::over(&upstream);
    let before = calls(&gateway, 4).await;
    let since = Tail::start(&url(&gateway), &["--json", "--since", "1h"]);
    let of_session = Tail::start(&url(&gateway), &["--json", "--limit", "1", "s1"]);
    let bad = Tail::start(&url(&gateway), &["--json", "--outcome", "upstream_error"]);
    let completed = Tail::start(
        &url(&gateway),
        &["--json", "--limit", "0", "--outcome", "completed"],
    );
    assert_eq!(since.ids(4).await, before);
    assert_eq!(of_session.ids(1).await, [&*before[3]]);
    // What began without showing anything has begun when it shows a call from now on; that there
    // is no sign of it before is why calls are made until it does.
    let refused = say("x").replace("tiny", "status-400");
    let shown = eventually("a call after the beginning", async || {
        call(&gateway, &["x-rllm-session-id: s0"], say("y")).await;
        call(&gateway, &["x-rllm-session-id: s0"], &refused).await;
        let begun = !taken(&bad.lines).is_empty() && !taken(&completed.lines).is_empty();
        begun.then_some(())
    });
    shown.await;
    let last_good = call(&gateway, &["x-rllm-session-id: s1"], say("z")).await;
    let last_bad = call(&gateway, &["x-rllm-session-id: s1"], &refused).await;

    for (tail, last) in [
        (&since, &last_bad),
        (&of_session, &last_bad),
        (&bad, &last_bad),
        (&completed, &last_good),
    ] {
        eventually("the last call", async || {
            let lines = taken(&tail.lines);
            lines
                .last()
                .is_some_and(|line| line.contains(&**last))
                .then_some(())
        })
        .await;
    }
    let of = |lines: Vec<String>, name: &str| -> Vec<String> {
        let traces = lines
            .iter()
            .map(|line| serde_json::from_str(line).expect("JSON"));
        let values = traces.map(|trace: Value| trace[name].as_str().map(String::from));
        values.map(|value| value.expect("a string")).collect()
    };
    assert_eq!(
        of_session.ids(3).await,
        [&*before[3], &*last_good, &*last_bad]
    );
    let outcomes = of(taken(&bad.lines), "outcome");
    assert!(outcomes.iter().all(|outcome| outcome == "upstream_error"));
    let outcomes = of(taken(&completed.lines), "outcome");
    assert!(outcomes.iter().all(|outcome| outcome == "completed"));
    let listed = of(taken(&since.lines), "trace_id");
    let mut once = listed.clone();
    once.sort();
    once.dedup();
    assert_eq!(once.len(), listed.len(), "no call twice");
}

#[tokio::test]
async fn an_empty_gateway_is_waited_at_and_a_table_has_one_line_of_titles() {
    let upstream = Upstream::vllm();
    let gateway = Gateway::over(&upstream);
    let tail = Tail::start(&url(&gateway), &["--since", "1d"]);
    let ids = calls(&gateway, 2).await;
    let lines = tail.lines(3).await;
    let titles: Vec<&str> = lines[0].split_whitespace().collect();
    assert_eq!(titles[..4], ["TRACE", "WHEN", "SESSION", "MODEL"]);
    let more = calls(&gateway, 1).await;
    let lines = tail.lines(4).await;
    for (line, id) in lines[1..].iter().zip([&ids[0], &ids[1], &more[0]]) {
        assert!(line.starts_with(&**id), "{line}");
    }
    assert_eq!(tail.interrupt().await, Some(0));
}

#[tokio::test]
async fn a_token_that_is_taken_away_ends_it() {
    let upstream = Upstream::vllm();
    let setup = Setup::new().worker(&upstream);
    let gateway = setup.start();
    let mut tail = Tail::start(&url(&gateway), &["--json"]);
    calls(&gateway, 1).await;
    tail.ids(1).await;
    let port = format!("--port={}", gateway.address().port());
    let setup = gateway.kill();
    let _gateway = setup.argument(port).yaml("inbound_auth_token: t").start();
    assert_eq!(tail.ended().await, Some(1));
    tail.noted("401").await;
}

/// As in `tail | head -1`.
#[tokio::test]
async fn a_reader_that_has_left_is_no_error() {
    let page =
        r#"{"traces":[{"trace_id":"t","_created_at":1,"outcome":"completed"}],"next_cursor":"1"}"#;
    let upstream = Upstream::always(Script::json("200 OK", page));
    let mut command = command(&["tail", "--since", "0", "--url", &upstream.url()]);
    let spawned = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = spawned.expect("the executable starts");
    let mut line = String::new();
    let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
    stdout.read_line(&mut line).expect("a line");
    drop(stdout);
    let status = eventually("its end", async || child.try_wait().expect("our own child")).await;
    assert_eq!(status.code(), Some(0));
}
