//! The real executable in a folder of its own.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;

use serde_json::Value;
use tempfile::TempDir;

use crate::{Client, Reply, Upstream, call, eventually, get_json, post_json};

/// The executable under test: `GATEWAY_TEST_BINARY`, or else the one that
/// cargo builds (once) beside this test.
///
/// # Panics
///
/// If it cannot be built.
#[must_use]
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        if let Some(path) = std::env::var_os("GATEWAY_TEST_BINARY") {
            return PathBuf::from(path);
        }
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let built = Command::new(cargo)
            .args(["build", "--quiet", "--package", "gateway-bin", "--bins"])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status();
        assert!(built.is_ok_and(|status| status.success()), "cargo build");
        // This test lies in `target/debug/deps`.
        let test = std::env::current_exe().expect("our own path");
        let profile = test.ancestors().nth(2).expect("a target folder");
        profile.join("rllm-model-gateway")
    })
}

/// How a gateway is to be started; what it keeps on disk belongs to the setup,
/// so that one can be started again on it.
#[derive(Clone, Debug)]
pub struct Setup {
    folder: Arc<TempDir>,
    workers: Vec<String>,
    yaml: String,
    arguments: Vec<String>,
    variables: Vec<(String, String)>,
}

impl Default for Setup {
    fn default() -> Setup {
        Setup::new()
    }
}

impl Setup {
    /// Defaults, a folder of its own and a free port.
    ///
    /// # Panics
    ///
    /// If no folder can be made.
    #[must_use]
    pub fn new() -> Setup {
        Setup {
            folder: Arc::new(TempDir::new().expect("a temporary folder")),
            workers: Vec::new(),
            yaml: String::new(),
            arguments: Vec::new(),
            variables: Vec::new(),
        }
    }

    /// Adds a worker.
    #[must_use]
    pub fn worker(mut self, upstream: &Upstream) -> Setup {
        self.workers.push(upstream.url());
        self
    }

    /// Adds lines to the configuration file.
    #[must_use]
    pub fn yaml(mut self, lines: &str) -> Setup {
        self.yaml.push_str(lines);
        self.yaml.push('\n');
        self
    }

    /// Adds an argument to the command line.
    #[must_use]
    pub fn argument(mut self, argument: impl Into<String>) -> Setup {
        self.arguments.push(argument.into());
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn variable(mut self, name: &str, value: &str) -> Setup {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The database file.
    #[must_use]
    pub fn database(&self) -> PathBuf {
        self.folder.path().join("gateway.db")
    }

    /// The configuration file.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.folder.path().join("gateway.yaml")
    }

    fn command(&self) -> Command {
        std::fs::write(self.config(), &self.yaml).expect("a configuration file");
        let mut command = Command::new(binary());
        command
            .arg("--config")
            .arg(self.config())
            .arg("--db-path")
            .arg(self.database())
            .args(["--port", "0"])
            .args(self.workers.iter().flat_map(|url| ["--worker", url]))
            .args(&self.arguments)
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .env("HOME", self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Starts it and waits until it listens.
    ///
    /// # Panics
    ///
    /// If it ends instead.
    #[must_use]
    pub fn start(&self) -> Gateway {
        let mut child = self.command().spawn().expect("the executable starts");
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        let log = Arc::new(Mutex::new(String::new()));
        let stderr = drain(child.stderr.take().expect("piped"), &log);
        let mut lines = stdout.lines().map_while(Result::ok);
        let printed = Arc::new(Mutex::new(String::new()));
        let address = lines.find_map(|line| {
            append(&printed, &format!("{line}\n"));
            let (_, url) = line.split_once("listening on http://")?;
            url.trim().parse().ok()
        });
        let Some(address) = address else {
            let status = child.wait();
            let _ = stderr.join();
            panic!("the gateway ended with {status:?}: {}", text(&log));
        };
        // The pipe must not fill up.
        let more = Arc::clone(&printed);
        std::thread::spawn(move || lines.for_each(|line| append(&more, &format!("{line}\n"))));
        Gateway {
            setup: self.clone(),
            address,
            child,
            printed,
            log,
        }
    }

    /// Starts it and expects that it ends by itself without ever listening.
    ///
    /// # Panics
    ///
    /// If it listens.
    #[must_use]
    pub fn fail(&self) -> Failure {
        let mut child = self.command().spawn().expect("the executable starts");
        let log = Arc::new(Mutex::new(String::new()));
        let stderr = drain(child.stderr.take().expect("piped"), &log);
        let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
        let mut printed = String::new();
        while stdout.read_line(&mut printed).is_ok_and(|read| read > 0) {
            if printed.contains("listening on") {
                let _ = child.kill();
                let _ = child.wait();
                panic!("the gateway listens: {printed}");
            }
        }
        let status = child.wait().expect("it ends");
        let _ = stderr.join();
        Failure {
            code: status.code(),
            stdout: printed,
            stderr: text(&log),
        }
    }
}

/// How a gateway that would not start ended.
#[derive(Debug)]
pub struct Failure {
    /// The exit code, if it was not killed.
    pub code: Option<i32>,
    /// All that it printed on stdout.
    pub stdout: String,
    /// All that it printed on stderr.
    pub stderr: String,
}

impl Failure {
    /// Checks the exit code, and that the one line on stderr says all of this.
    ///
    /// # Panics
    ///
    /// If the code is another, or there is not one line, or something is missing.
    pub fn says(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, Some(code), "{self:?}");
        let lines = self.stderr.lines().filter(|line| !line.trim().is_empty());
        assert_eq!(lines.count(), 1, "one line: {self:?}");
        for word in words {
            assert!(self.stderr.contains(word), "no {word:?} in {self:?}");
        }
    }
}

/// A gateway that listens. It is killed when it is dropped.
#[derive(Debug)]
pub struct Gateway {
    setup: Setup,
    address: SocketAddr,
    child: Child,
    printed: Arc<Mutex<String>>,
    log: Arc<Mutex<String>>,
}

impl Gateway {
    /// Starts one with defaults in front of this worker.
    #[must_use]
    pub fn over(upstream: &Upstream) -> Gateway {
        Setup::new().worker(upstream).start()
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How it was started.
    #[must_use]
    pub fn setup(&self) -> &Setup {
        &self.setup
    }

    /// All that it has logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        text(&self.log)
    }

    /// All that it has printed on stdout so far.
    #[must_use]
    pub fn printed(&self) -> String {
        text(&self.printed)
    }

    /// The process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// One request on a connection of its own.
    pub async fn call(&self, line: &str, headers: &[&str], body: impl AsRef<[u8]>) -> Reply {
        call(self.address, line, headers, body).await
    }

    /// One chat completion of this session.
    pub async fn chat(&self, session: &str, body: impl AsRef<[u8]>) -> Reply {
        crate::chat(self.address, session, body).await
    }

    /// Begins a chat completion of this session and leaves it open.
    pub async fn begin(&self, session: &str, body: impl AsRef<[u8]>) -> Client {
        let mut client = Client::connect(self.address).await;
        let session = format!("x-rllm-session-id: {session}");
        let line = "POST /v1/chat/completions";
        client.request(line, &[&session], body).await;
        client
    }

    /// Begins a chat completion and reads its reply until this text has come.
    ///
    /// # Panics
    ///
    /// If the reply is no 200, or ends before.
    pub async fn begin_until(&self, session: &str, body: impl AsRef<[u8]>, text: &str) -> Client {
        let mut client = self.begin(session, body).await;
        assert_eq!(client.head().await, Some(200));
        assert!(client.body_until(text).await.is_some(), "no {text}");
        client
    }

    /// Waits until it says that it is draining.
    pub async fn draining(&self) {
        eventually("the drain", async || {
            let ready = self.call("GET /ready", &[], "").await;
            (ready.status == 503).then_some(())
        })
        .await;
    }

    /// A GET whose answer is 200 and JSON.
    pub async fn get(&self, path: &str) -> Value {
        get_json(self.address, path).await
    }

    /// A POST whose answer is 200 and JSON.
    pub async fn post(&self, path: &str, body: &Value) -> Value {
        post_json(self.address, path, body).await
    }

    /// The trace of this id.
    pub async fn trace(&self, id: &str) -> Value {
        self.get(&format!("/traces/{id}")).await
    }

    /// Every trace of a session, whatever became of the calls.
    ///
    /// # Panics
    ///
    /// If the answer is no list.
    pub async fn traces(&self, session: &str) -> Vec<Value> {
        let path = format!("/sessions/{session}/traces?outcome=all&span_type=all");
        match self.get(&path).await {
            Value::Array(traces) => traces,
            other => panic!("no list: {other}"),
        }
    }

    /// The one trace of a session, whatever became of the call; waits for it,
    /// since a call whose reply did not end well may be recorded after that.
    pub async fn only_trace(&self, session: &str) -> Value {
        let traces = eventually("a trace", async || {
            let traces = self.traces(session).await;
            (!traces.is_empty()).then_some(traces)
        });
        let mut traces = traces.await;
        assert_eq!(traces.len(), 1, "traces of {session}");
        traces.remove(0)
    }

    /// Kills it, as a crash would, and gives what is left: a setup on the same
    /// files.
    pub fn kill(mut self) -> Setup {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.setup.clone()
    }

    /// Sends a signal by name (`TERM`, `INT`, `STOP`, `CONT`).
    ///
    /// # Panics
    ///
    /// If the shell cannot send it.
    pub fn signal(&self, name: &str) {
        let status = Command::new("sh")
            .args(["-c", "kill -s \"$0\" \"$1\"", name])
            .arg(self.pid().to_string())
            .status();
        assert!(
            status.is_ok_and(|status| status.success()),
            "kill -s {name}"
        );
    }

    /// Waits until the process has ended.
    pub async fn ended(&mut self) -> ExitStatus {
        eventually("the gateway's end", async || {
            self.child.try_wait().expect("our own child")
        })
        .await
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- the gateway's log\n{}", self.log());
        }
    }
}

fn drain(mut pipe: impl Read + Send + 'static, log: &Arc<Mutex<String>>) -> JoinHandle<()> {
    let log = Arc::clone(log);
    std::thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok(read @ 1..) = pipe.read(&mut bytes) {
            let piece = String::from_utf8_lossy(&bytes[..read]);
            append(&log, &piece);
        }
    })
}

fn append(log: &Mutex<String>, piece: &str) {
    let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
    log.push_str(piece);
}

fn text(log: &Mutex<String>) -> String {
    log.lock().unwrap_or_else(PoisonError::into_inner).clone()
}
