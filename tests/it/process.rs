//! The gateway as the reference's process manager starts and ends it: this command line, `/health`
//! asked until it answers, SIGTERM, and SIGKILL 5 s later.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use gateway_tests::{
    Client, Gate, Script, Upstream, binary, call, chat, eventually, get_json, post_json,
};
use serde_json::json;
use tempfile::TempDir;

use crate::{delta, say, say_streamed};

/// How long the start, and the end of an idle gateway, may take. A machine that has other things to
/// do may be late once, but not every time.
const SOON: Duration = Duration::from_secs(1);
const TRIES: usize = 5;

/// A gateway that was started by its flags alone, all of them.
struct Process {
    child: Child,
    port: u16,
}

impl Process {
    /// Starts it on this port, and does not wait for anything.
    fn spawn(folder: &Path, port: u16, worker: &str) -> Process {
        let log = File::options()
            .create(true)
            .append(true)
            .open(folder.join("log"));
        let child = Command::new(binary())
            .args(["--host", "0.0.0.0", "--port", &port.to_string()])
            .arg("--db-path")
            .arg(folder.join("gateway.db"))
            .args(["--sampling-params-priority", "session"])
            .args(["--model", "served", "--worker", worker])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.expect("a file for the log"))
            .spawn();
        Process {
            child: child.expect("the executable starts"),
            port,
        }
    }

    /// Starts it on a free port and waits until it answers.
    async fn start(folder: &Path, worker: &str) -> Process {
        loop {
            let mut process = Process::spawn(folder, free_port(), worker);
            if process.answers(Ipv4Addr::LOCALHOST.into()).await {
                return process;
            }
        }
    }

    /// Asks `/health` again and again until it answers. `false` if the process ended instead: its
    /// port was taken meanwhile.
    async fn answers(&mut self, ip: IpAddr) -> bool {
        let address = self.at(ip);
        eventually("an answer of /health", async || {
            if let Some(mut client) = Client::try_connect(address).await {
                client.request("GET /health", &[], "").await;
                let reply = client.try_reply().await?;
                return Some(reply.expect(200).json()["status"] == "ok");
            }
            let ended = self.child.try_wait().expect("our own child");
            ended.map(|status| {
                assert_eq!(status.code(), Some(1), "a taken port");
                false
            })
        })
        .await
    }

    fn at(&self, ip: IpAddr) -> SocketAddr {
        SocketAddr::new(ip, self.port)
    }

    fn address(&self) -> SocketAddr {
        self.at(own_address())
    }

    fn signal(&self, name: &str) {
        let mut kill = Command::new("kill");
        kill.args(["-s", name, &self.child.id().to_string()]);
        assert!(kill.status().is_ok_and(|status| status.success()), "{name}");
    }

    async fn ended(&mut self) -> ExitStatus {
        let ended = async || self.child.try_wait().expect("our own child");
        eventually("the gateway's end", ended).await
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("0.0.0.0:0").expect("a free port");
    listener.local_addr().expect("an address").port()
}

/// The address by which other machines know this one, as the reference's manager finds it: nothing
/// is sent. A machine without a network has more addresses than one, too.
fn own_address() -> IpAddr {
    let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
    let known = socket
        .connect("192.0.2.1:9")
        .and_then(|()| socket.local_addr());
    known.map_or(Ipv4Addr::new(127, 0, 0, 2).into(), |address| address.ip())
}

/// The shortest of a few tries.
async fn shortest(mut attempt: impl AsyncFnMut() -> Duration) -> Duration {
    let mut shortest = attempt().await;
    for _ in 1..TRIES {
        if shortest < SOON {
            break;
        }
        shortest = shortest.min(attempt().await);
    }
    shortest
}

#[tokio::test]
async fn health_answers_within_a_second_of_the_start_by_every_address() {
    // Nothing of the start waits for a worker.
    let never = Gate::new();
    let silent = Upstream::start({
        let never = never.clone();
        move |_| Script::new().wait(&never)
    });
    for ip in [Ipv4Addr::LOCALHOST.into(), own_address()] {
        let took = shortest(async || {
            let folder = TempDir::new().expect("a folder");
            loop {
                let asked = Instant::now();
                let mut process = Process::spawn(folder.path(), free_port(), &silent.url());
                if process.answers(ip).await {
                    return asked.elapsed();
                }
            }
        });
        let took = took.await;
        assert!(took < SOON, "{ip}: {took:?}");
    }
}

#[tokio::test]
async fn an_idle_one_ends_within_a_second_though_it_would_drain_for_longer() {
    let upstream = Upstream::vllm();
    let folder = TempDir::new().expect("a folder");
    let mut calls = 0;
    for signal in ["TERM", "INT"] {
        let took = shortest(async || {
            let mut process = Process::start(folder.path(), &upstream.url()).await;
            chat(process.address(), "s", say("hi")).await.expect(200);
            calls += 1;
            let asked = Instant::now();
            process.signal(signal);
            assert_eq!(process.ended().await.code(), Some(0), "{signal}");
            let took = asked.elapsed();
            // The default of `drain_timeout`, which nothing is to wait for.
            assert!(took < Duration::from_secs(30), "{signal}: {took:?}");
            took
        });
        let took = took.await;
        assert!(took < SOON, "{signal}: {took:?}");
    }
    let process = Process::start(folder.path(), &upstream.url()).await;
    let traces = get_json(process.address(), "/sessions/s/traces").await;
    assert_eq!(traces.as_array().map(Vec::len), Some(calls));
}

#[tokio::test]
async fn the_flags_do_what_they_do_in_the_reference() {
    let upstream = Upstream::vllm();
    let folder = TempDir::new().expect("a folder");
    let process = Process::start(folder.path(), &upstream.url()).await;
    let address = process.address();
    let params = json!({"session_id": "s", "sampling_params": {"temperature": 0.25}});
    post_json(address, "/sessions", &params).await;
    let body = json!({"model": "anything", "temperature": 1.0,
                      "messages": [{"role": "user", "content": "hi"}]});
    chat(address, "s", body.to_string()).await.expect(200);
    let calls = upstream.received();
    let sent = calls
        .iter()
        .find(|request| request.target() == "/v1/chat/completions")
        .expect("a call")
        .json();
    assert_eq!(
        (&sent["model"], &sent["temperature"]),
        (&json!("served"), &json!(0.25))
    );
}

/// The tokens that a stream has sent: one for its first session, one more for each next.
fn tokens(session: usize) -> impl Iterator<Item = (String, usize)> {
    (0..=session).map(move |at| (format!(" s{session}-{at}"), 100 * session + at))
}

fn event((word, id): (String, usize)) -> String {
    let content = json!([{"token": word, "logprob": -0.125, "bytes": null, "top_logprobs": []}]);
    let choice = json!({"index": 0, "delta": {"content": word}, "finish_reason": null,
                        "logprobs": {"content": content}, "token_ids": [id]});
    format!(
        "data: {}\n\n",
        json!({"id": "c", "model": "served", "choices": [choice]})
    )
}

#[tokio::test]
async fn sigterm_and_sigkill_with_streams_open_lose_nothing_that_had_been_received() {
    const STREAMS: usize = 16;
    let never = Gate::new();
    let upstream = Upstream::start({
        let never = never.clone();
        move |request| {
            let session = request.json()["messages"][0]["content"].clone();
            let session = session.as_str().and_then(|session| session.parse().ok());
            let begun = Script::stream().chunk(delta(0, &json!({"role": "assistant"}), None));
            let said = tokens(session.unwrap_or(0));
            let said = said.fold(begun, |script, token| script.chunk(event(token)));
            said.wait(&never)
        }
    });
    let folder = TempDir::new().expect("a folder");
    let mut process = Process::start(folder.path(), &upstream.url()).await;
    let address = process.address();
    let mut open = Vec::new();
    for session in 0..STREAMS {
        let mut client = Client::connect(address).await;
        let header = format!("x-rllm-session-id: s{session}");
        let line = "POST /v1/chat/completions";
        let body = say_streamed(&session.to_string());
        client.request(line, &[&header], body).await;
        assert_eq!(client.head().await, Some(200));
        let last = format!("s{session}-{session}\"");
        assert!(client.body_until(&last).await.is_some());
        open.push(client);
    }

    process.signal("TERM");
    // A change is on disk when it is answered, and so is what was journalled before it. Nothing more
    // would happen in the 5 s.
    eventually("the drain", async || {
        let ready = call(address, "GET /ready", &[], "").await;
        (ready.status == 503).then_some(())
    })
    .await;
    post_json(address, "/sessions", &json!({"session_id": "late"})).await;
    // It waits for the streams, and that is what a manager has no patience for.
    assert!(process.child.try_wait().expect("our own child").is_none());
    process.child.kill().expect("SIGKILL");
    process.ended().await;

    let process = Process::start(folder.path(), &upstream.url()).await;
    for session in 0..STREAMS {
        let path = format!("/sessions/s{session}/traces?outcome=all");
        let traces = get_json(process.address(), &path).await;
        let [trace] = traces.as_array().expect("a list").as_slice() else {
            panic!("{session}: {traces}");
        };
        let (words, ids): (Vec<_>, Vec<_>) = tokens(session).unzip();
        assert_eq!(trace["outcome"], "interrupted", "{session}");
        assert_eq!(trace["messages"][0]["content"], session.to_string());
        assert_eq!(trace["response_message"]["content"], words.concat());
        assert_eq!(trace["completion_token_ids"], json!(ids));
        assert_eq!(trace["logprobs"], json!(vec![-0.125; ids.len()]));
    }
}
