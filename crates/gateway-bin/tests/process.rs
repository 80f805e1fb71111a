//! The executable as a process: what it prints, how it ends, what it leaves behind.

#![allow(
    clippy::unwrap_used,
    reason = "this is a test; clippy knows only the functions marked as one"
)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

const BINARY: &str = env!("CARGO_BIN_EXE_rllm-model-gateway");

/// The executable in an environment of its own, which knows no gateway.
fn command(folder: &TempDir, arguments: &[&str]) -> Command {
    prepared(Command::new(BINARY), folder, arguments)
}

fn prepared(mut command: Command, folder: &TempDir, arguments: &[&str]) -> Command {
    command
        .args(arguments)
        .env_clear()
        .env("HOME", folder.path())
        .env("TMPDIR", folder.path())
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn output(arguments: &[&str]) -> (TempDir, Output) {
    let folder = tempfile::tempdir().unwrap();
    let output = command(&folder, arguments).output().unwrap();
    (folder, output)
}

/// A gateway that listens; killed when it is dropped.
struct Running {
    child: Child,
    address: SocketAddr,
}

impl Running {
    fn start(mut command: Command) -> Running {
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        let stdout = child.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        let address = line.strip_prefix("listening on http://");
        let Some(address) = address.and_then(|address| address.trim().parse().ok()) else {
            let output = child.wait_with_output().unwrap();
            panic!("{line:?} {output:?}");
        };
        Running { child, address }
    }

    /// One request on a connection of its own; status and body.
    fn call(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let mut stream = TcpStream::connect(self.address).unwrap();
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
             content-length: {length}\r\n\r\n{body}"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let status = answer.split(' ').nth(1).and_then(|word| word.parse().ok());
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        (status.unwrap(), serde_json::from_str(body).unwrap())
    }

    fn get(&self, path: &str) -> Value {
        let (status, body) = self.call("GET", path, "");
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &pid]).status();
        assert!(sent.unwrap().success());
    }

    /// Asks it to end, and gives its exit code and what it printed on stderr.
    fn end(mut self) -> (Option<i32>, String) {
        self.signal("TERM");
        let mut errors = String::new();
        let status = self.child.wait().unwrap();
        let mut stderr = self.child.stderr.take().unwrap();
        stderr.read_to_string(&mut errors).unwrap();
        (status.code(), errors)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn files(folder: &Path) -> Vec<String> {
    let names = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = names
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_command_line_that_is_wrong_is_exit_2_and_one_line() {
    for (arguments, says) in [
        (&["--prot", "1"][..], "'--port'"),
        (&["--port", "x"], "'--port <P>'"),
        (&["--store", "postgres"], "postgres is not built yet"),
        (
            &["--database-url", "postgres://u:canary@h"],
            "--database-url",
        ),
        (&["--cumulative-token-mode"], "--cumulative-token-mode"),
        (&["--worker", "gpu:8000"], "--worker: workers[0].url"),
        (&["import"], "<OLD.db>"),
        (
            &["--config", "/nowhere/g.yaml"],
            "/nowhere/g.yaml: cannot read",
        ),
        (
            &["--worker", "http://a", "--worker", "http://a/v1"],
            "http://a",
        ),
    ] {
        let (folder, output) = output(arguments);
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {errors}");
        assert_eq!(errors.lines().count(), 1, "{arguments:?}: {errors}");
        assert!(errors.starts_with("rllm-model-gateway: "), "{errors}");
        assert!(errors.contains(says), "{arguments:?}: {errors}");
        assert!(!errors.contains("canary"), "{errors}");
        assert!(output.stdout.is_empty());
        assert_eq!(files(folder.path()), [""; 0], "{arguments:?}");
    }
}

#[test]
fn questions_are_answered_on_stdout() {
    for (arguments, says) in [
        (&["--version"][..], "(commit "),
        (&["--help"], "Listening:"),
        (&["--check-config", "--port", "7"], "port: 7\n"),
    ] {
        let (folder, output) = output(arguments);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success());
        assert!(text.contains(says), "{text}");
        assert_eq!(files(folder.path()), [""; 0], "{arguments:?}");
    }
}

/// `rllm-model-gateway --help | head -1` is no failure; a full disk is one, and says so.
#[test]
fn an_answer_that_nobody_reads_is_well_and_one_that_cannot_be_written_is_not() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in [
        &["--help"][..],
        &["completions", "bash"],
        &["--check-config"],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = command(&folder, arguments).stdout(writer).output().unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(
            (output.status.code(), &*errors),
            (Some(0), ""),
            "{arguments:?}"
        );

        let full = std::fs::File::options().write(true).open("/dev/full");
        let output = command(&folder, arguments).stdout(full.unwrap()).output();
        let output = output.unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {errors}");
        assert_eq!(errors.lines().count(), 1, "{arguments:?}: {errors}");
        assert!(errors.contains("cannot write the output: "), "{errors}");
    }
}

#[test]
fn a_taken_port_is_exit_1_and_makes_no_files() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let (folder, output) = output(&["--port", &port]);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(errors.contains(&format!("127.0.0.1:{port}")), "{errors}");
    assert_eq!(errors.lines().count(), 1, "{errors}");
    assert_eq!(files(folder.path()), [""; 0]);
}

#[test]
fn an_idle_gateway_ends_within_a_second() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(command(&folder, &["--port", "0"]));
    assert_eq!(running.get("/health")["status"], "ok");
    let asked = Instant::now();
    let (code, errors) = running.end();
    assert!(asked.elapsed() < Duration::from_secs(1), "{errors}");
    assert_eq!(code, Some(0), "{errors}");
    assert!(folder.path().join(".rllm/gateway.db").exists());
}

#[test]
fn a_gateway_in_memory_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(command(&folder, &["--port", "0", "--store", "memory"]));
    running.get("/health");
    assert_eq!(files(folder.path()).len(), 1, "the journal");
    let (code, errors) = running.end();
    assert_eq!(code, Some(0), "{errors}");
    assert_eq!(files(folder.path()), [""; 0]);
}

#[test]
fn a_run_outlives_a_restart_and_ends_with_the_gateway() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("g.yaml");
    let yaml = "run_id: r1\nrun_metadata: {note: first}\n";
    std::fs::write(&config, yaml).unwrap();
    let arguments = ["--port", "0", "--config", config.to_str().unwrap()];
    let running = Running::start(command(&folder, &arguments));
    let run = running.get("/runs/r1");
    assert_eq!(
        (&run["metadata"]["note"], &run["ended_at"]),
        (&"first".into(), &Value::Null)
    );
    assert_eq!(running.end().0, Some(0));

    std::fs::write(&config, "").unwrap();
    let running = Running::start(command(&folder, &arguments));
    let ended = running.get("/runs/r1");
    assert_eq!(ended["started_at"], run["started_at"]);
    assert!(ended["ended_at"].is_number(), "{ended}");
    assert_eq!(running.end().0, Some(0));
}

#[test]
fn warnings_stand_on_stderr_and_secrets_nowhere() {
    let folder = tempfile::tempdir().unwrap();
    let mut gateway = command(&folder, &["--port", "0", "--host", "127.0.0.1"]);
    gateway.env("RLLM_GATEWAY_INBOUND_TOKEN", "canary");
    let running = Running::start(gateway);
    assert_eq!(running.call("GET", "/health?token=canary", "").0, 401);
    let (_, errors) = running.end();
    assert!(errors.contains("admin_auth_token"), "{errors}");
    assert!(!errors.contains("canary"), "{errors}");
}

#[test]
fn log_lines_can_be_json() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(command(
        &folder,
        &["--port", "0", "--host", "0.0.0.0", "--log-format", "json"],
    ));
    let (_, errors) = running.end();
    let lines: Vec<Value> = errors
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let warned = lines.iter().any(|line| {
        let message = line["message"].as_str().unwrap_or_default();
        message.contains("0.0.0.0") && message.contains("RLLM_GATEWAY_INBOUND_TOKEN")
    });
    assert!(warned, "{errors}");
}

#[test]
fn without_a_file_there_is_nothing_to_reload() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(command(&folder, &["--port", "0", "--store", "memory"]));
    let (status, body) = running.call("POST", "/admin/reload", "");
    assert_eq!(status, 400);
    let message = body["error"]["message"].as_str().unwrap();
    assert!(message.contains("--config"), "{message}");
    running.signal("HUP");
    assert_eq!(running.get("/health")["status"], "ok");
    let (code, errors) = running.end();
    assert_eq!(code, Some(0), "{errors}");
    assert!(errors.contains("no configuration file"), "{errors}");
}

/// Nobody reads its stderr, and its stdout is closed.
#[test]
fn a_gateway_that_nobody_reads_goes_on_serving() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(command(
        &folder,
        &["--port", "0", "--store", "memory", "--log-level", "debug"],
    ));
    // More than a pipe holds.
    for _ in 0..1500 {
        let mut stream = TcpStream::connect(running.address).unwrap();
        stream
            .write_all(b"GET /no/such/path HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    }
    running.signal("TERM");
    let mut running = running;
    assert_eq!(running.child.wait().unwrap().code(), Some(0));
}

/// Faults, row 14: it neither dies nor gives up, and serves again once there are descriptors.
#[test]
fn running_out_of_file_descriptors_is_survived() {
    let folder = tempfile::tempdir().unwrap();
    let mut shell = Command::new("sh");
    shell.args(["-c", "ulimit -n 40 && exec \"$0\" \"$@\"", BINARY]);
    let arguments = ["--port", "0", "--store", "memory"];
    let mut running = Running::start(prepared(shell, &folder, &arguments));
    let connections: Vec<_> = (0..60)
        .map(|_| TcpStream::connect(running.address).unwrap())
        .collect();
    let mut log = BufReader::new(running.child.stderr.take().unwrap()).lines();
    let complaint = log.find(|line| {
        let line = line.as_deref().unwrap_or_default();
        line.contains("no connection can be accepted")
    });
    assert!(complaint.is_some());
    drop(connections);
    assert_eq!(running.get("/health")["status"], "ok");
}
