//! What a person at a terminal sees; `script` plays the terminal.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

use gateway_tests::{Gateway, Upstream, binary};

use super::{call, url};
use crate::say;

/// A shell command at a terminal of 80 columns; `$GATEWAY` is the executable.
fn terminal(script: &str, variables: &[(&str, &str)]) -> (Child, BufReader<ChildStdout>) {
    let script = format!("stty cols 80 rows 24; {script}");
    let mut command = Command::new("script");
    command
        .args(["--quiet", "--command", &script, "/dev/null"])
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("TERM", "xterm")
        .env("SHELL", "/bin/sh")
        .env("GATEWAY", binary())
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut child = command.spawn().expect("`script` starts");
    let stdout = BufReader::new(child.stdout.take().expect("piped"));
    (child, stdout)
}

/// All that such a command shows.
fn shown(script: &str, variables: &[(&str, &str)]) -> String {
    let (mut child, stdout) = terminal(script, variables);
    let lines: Vec<String> = stdout.lines().map_while(Result::ok).collect();
    child.wait().expect("it ends");
    lines.join("\n").replace('\r', "")
}

#[tokio::test]
async fn a_table_fits_the_terminal_and_has_colours_where_they_are_wanted() {
    let upstream = Upstream::vllm();
    let gateway = Gateway::over(&upstream);
    let session = format!("x-rllm-session-id: {}", "long-name-".repeat(12));
    let said = format!("{}\u{1b}[2J語{}", "word ".repeat(3), "語".repeat(50));
    call(&gateway, &[&session], say(&said)).await;
    let url = url(&gateway);
    let at = ("RLLM_GATEWAY_URL", &*url);

    for command in ["sessions", "traces"] {
        let table = shown(&format!("\"$GATEWAY\" {command}"), &[at, ("NO_COLOR", "1")]);
        assert_eq!(table.lines().count(), 2, "{table}");
        for line in table.lines() {
            assert!(line.chars().count() <= 80, "{line}");
            assert!(!line.contains('\u{1b}'), "{line}");
        }
        assert!(
            table.contains("long-name-") && table.contains('…'),
            "{table}"
        );
    }
    let colourful = shown("\"$GATEWAY\" traces", &[at]);
    assert!(
        colourful.contains("\u{1b}[32mcompleted\u{1b}[0m"),
        "{colourful}"
    );
    assert!(!colourful.contains("\u{1b}[2J"), "{colourful}");
    let dumb = shown("TERM=dumb \"$GATEWAY\" traces", &[at]);
    assert!(!dumb.contains('\u{1b}'), "{dumb}");
    let piped = shown("\"$GATEWAY\" traces | cat", &[at]);
    assert!(!piped.contains('\u{1b}') && !piped.contains('…'), "{piped}");
}

/// Serves at a terminal until `until` is shown; gives all that was shown.
fn served(flags: &str, until: &str) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let home = folder.path().display().to_string();
    let serve =
        format!("echo pid $$; exec \"$GATEWAY\" --port 0 --worker http://127.0.0.1:1 {flags}");
    let (mut child, stdout) = terminal(&serve, &[("HOME", &home), ("TMPDIR", &home)]);
    let mut pid = None;
    let mut lines = Vec::new();
    for line in stdout.lines().map_while(Result::ok) {
        let line = line.trim_end().to_owned();
        pid = line.strip_prefix("pid ").map(str::to_owned).or(pid);
        if line.contains(until) {
            let pid = pid.as_deref().expect("the shell's id comes first");
            let sent = Command::new("sh")
                .args(["-c", "kill -s TERM $0", pid])
                .status();
            assert!(sent.is_ok_and(|status| status.success()));
        }
        lines.push(line);
    }
    child.wait().expect("it ends");
    lines.join("\n")
}

#[test]
fn a_start_at_a_terminal_is_three_lines_beside_the_one_for_programs() {
    let text = served("", "next: ");
    let line = |start: &str| {
        let mut lines = text.lines().filter(|line| line.starts_with(start));
        let line = lines
            .next()
            .unwrap_or_else(|| panic!("no {start} in\n{text}"));
        assert_eq!(lines.next(), None, "{text}");
        line.to_owned()
    };
    let address = line("listening on http://").replace("listening on ", "");
    assert!(line("rLLM model gateway ").ends_with(&format!(" listens on {address}")));
    assert!(line("writes to ").contains("/.rllm/gateway.db, journal in "));
    let next = line("next: ");
    assert!(
        next.contains(&format!("OPENAI_BASE_URL={address}/sessions/NAME/v1")),
        "{next}"
    );
    assert!(next.contains(&format!("--url {address})")), "{next}");
}

#[test]
fn logs_for_programs_have_no_banner() {
    for flags in ["--log-format json", "2>/dev/null"] {
        let text = served(flags, "listening on http://");
        assert!(!text.contains("next: "), "{text}");
        assert!(!text.contains("writes to"), "{text}");
    }
}
