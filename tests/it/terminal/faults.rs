//! What is no gateway, or none that answers well: one line and exit code 1.

use gateway_tests::{Script, Upstream};

use super::{command, run};

/// What the command says of a server that answers everything so.
fn against(script: Script, arguments: &[&str]) -> (super::Ran, Upstream) {
    let upstream = Upstream::always(script);
    let ran = run(command(arguments).args(["--url", &upstream.url()]));
    (ran, upstream)
}

#[test]
fn a_path_of_the_url_comes_before_the_gateway_s() {
    let list = r#"[{"session_id":"s","trace_count":1,"total_count":1,"created_at":0}]"#;
    let upstream = Upstream::always(Script::json("200 OK", list));
    let url = format!("{}/some%20where/gateway/", upstream.url());
    let arguments = ["sessions", "--url", &url, "--token", "t", "--run", "a&b"];
    let shown = run(&mut command(&arguments)).good();
    assert!(shown.contains("1970-01-01"), "{shown}");
    let asked = upstream.only();
    let target = "/some%20where/gateway/sessions?run_id=a%26b&limit=51";
    assert_eq!((asked.method(), asked.target()), ("GET", target));
    assert_eq!(asked.header("authorization"), Some("Bearer t"));
    let host = upstream.address().to_string();
    assert_eq!(asked.header("host"), Some(&*host));
}

#[test]
fn an_id_of_dots_is_no_way_up() {
    for (id, target) in [("..", "/traces/%2E%2E"), ("a/..", "/traces/a%2F..")] {
        let trace = r#"{"trace_id":"t"}"#;
        let (ran, upstream) = against(Script::json("200 OK", trace), &["traces", "--id", id]);
        ran.good();
        assert_eq!(upstream.only().target(), target);
    }
}

#[test]
fn nothing_there_is_one_line() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", taken.local_addr().expect("an address"));
    drop(taken);
    for line in [
        &["sessions"][..],
        &["traces"],
        &["traces", "s"],
        &["traces", "--id", "t"],
        &["report", "s"],
        &["tail"],
    ] {
        let mut command = command(line);
        run(command.args(["--url", &url])).fails(1, &["cannot reach", &url, "refused"]);
    }
    let ran = run(&mut command(&[
        "sessions",
        "--url",
        "http://no-such-host.invalid",
    ]));
    ran.fails(1, &["cannot reach http://no-such-host.invalid"]);
}

#[test]
fn what_is_no_gateway_is_said_to_be_none() {
    let html = || Script::whole("200 OK", &["content-type: text/html"], "<html>\u{1b}[2J");
    let words = &["is no gateway", "200 OK"];
    against(html(), &["sessions"]).0.fails(1, words);
    let not_found = Script::whole("404 Not Found", &[], "no");
    against(not_found, &["report", "s"])
        .0
        .fails(1, &["is no gateway", "404"]);
    let json = || Script::json("200 OK", "{}");
    for line in [
        &["sessions"][..],
        &["traces"],
        &["traces", "s"],
        &["report", "s"],
        &["tail"],
    ] {
        against(json(), line).0.fails(1, &["is no gateway"]);
    }
    let list = Script::json("200 OK", "[]");
    against(list, &["traces", "--id", "t"])
        .0
        .fails(1, &["is no gateway"]);
    let away = Script::whole("502 Bad Gateway", &[], "<html>");
    against(away, &["sessions"]).0.fails(1, &["502"]);
}

#[test]
fn an_error_of_the_gateway_s_cannot_paint_on_the_screen() {
    let error = r#"{"error":{"message":"no session\n\u001b[2J here","code":"not_found"}}"#;
    let script = Script::json("404 Not Found", error);
    let ran = against(script, &["report", "s"]).0;
    ran.fails(1, &["answers 404: no session \\u{1b}[2J here\n"]);
}

#[test]
fn an_answer_that_breaks_off_is_no_answer() {
    let half = Script::new()
        .send("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n[")
        .close();
    against(half, &["sessions"])
        .0
        .fails(1, &["broke off its answer"]);
    against(Script::new().close(), &["sessions"])
        .0
        .fails(1, &["broke off its answer"]);
    let garbage = Script::new().send("garbage\r\n\r\n").close();
    against(garbage, &["sessions"])
        .0
        .fails(1, &["broke off its answer"]);
}

#[test]
fn a_command_line_that_asks_for_what_cannot_be_is_exit_2() {
    for (line, words) in [
        (
            &["sessions", "--since", "soon"][..],
            "--since soon is no time",
        ),
        (
            &["traces", "--since", "2026-13-01"],
            "--since 2026-13-01 is no time",
        ),
        (&["tail", "--since", ""], "is no time"),
        (&["traces", ""], "the session id is empty"),
        (
            &["traces", "--outcome", "good"],
            "[possible values: completed",
        ),
        (&["sessions", "--limit", "x"], "--limit"),
        (
            &["sessions", "--url", "h:9090"],
            "--url must begin with http",
        ),
        (&["sessions", "--url", "http://h/v1"], "without /v1"),
        (&["sessions", "--url", "http://any:canary@h"], "--token"),
        (
            &["env", "--harness", "vim", "--session", "s"],
            "claude-code",
        ),
        (&["env", "--harness", "codex"], "--session"),
        (&["sesions"], "did you mean `sessions`?"),
        (&["completions", "csh"], "possible values"),
    ] {
        let ran = run(&mut command(line)).fails(2, &[words]);
        assert!(!ran.stderr.contains("canary"), "{ran:?}");
    }
}
