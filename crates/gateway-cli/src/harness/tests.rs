//! The variables that each client is given.

use insta::assert_snapshot;

use super::*;
use crate::args::Shell;

fn env(harness: Harness, session: &str, run: Option<&str>) -> Env {
    Env {
        harness,
        session: session.to_owned(),
        run: run.map(str::to_owned),
        shell: Shell::Sh,
        url: "http://127.0.0.1:9090/".to_owned(),
        token: None,
    }
}

const ALL: [Harness; 5] = [
    Harness::ClaudeCode,
    Harness::Codex,
    Harness::Opencode,
    Harness::Openai,
    Harness::Anthropic,
];

fn scripts(session: &str, run: Option<&str>, token: Option<&str>, shell: Shell) -> String {
    let token = token.map(Secret::from);
    let scripts = ALL.map(|harness| {
        let setup = setup(&env(harness, session, run), token.as_ref()).unwrap();
        format!("{harness:?}\n{}", shell::script(&setup, shell))
    });
    scripts.join("\n")
}

#[test]
fn each_client_for_sh() {
    let token = Some("it's a \"token\"\\");
    assert_snapshot!(scripts(
        "org/task 7:0 \"it's\"",
        Some("run's \"1\""),
        token,
        Shell::Sh
    ));
}

#[test]
fn each_client_for_fish_and_json() {
    assert_snapshot!("fish", scripts("s", Some("r"), Some("tok'"), Shell::Fish));
    assert_snapshot!("json", scripts("s", None, None, Shell::Json));
}

#[test]
fn without_run_and_token_nothing_of_an_earlier_setup_is_left() {
    assert_snapshot!(scripts("s", None, None, Shell::Sh));
}

/// The path of the data plane gives the id back.
#[test]
fn the_session_survives_the_url() {
    for session in [
        "s",
        "org/name:0",
        "a b'\"%2F",
        "語/🦀",
        "x/v1/y",
        "../a",
        "a?b#c",
        "~-_.",
    ] {
        let setup = setup(&env(Harness::Openai, session, None), None).unwrap();
        let url = setup.variables[0].1.as_deref().unwrap();
        let path = url.strip_prefix("http://127.0.0.1:9090").unwrap();
        let path = format!("{path}/chat/completions");
        let split = gateway_metadata::split_path(&path).unwrap();
        assert_eq!(split.api, "/chat/completions", "{session}");
        let decoded = gateway_metadata::decode_session_id(split.session.unwrap());
        assert_eq!(decoded, Ok(Some(session.to_owned())), "{session}");
    }
}

#[test]
fn what_no_client_can_carry_is_refused() {
    let long = "x".repeat(513);
    let check = |env: Env, expected: &str| {
        let token = Secret::from("t");
        let error = setup(&env, Some(&token)).unwrap_err();
        assert_eq!(
            (error.exit_code(), error.to_string().as_str()),
            (2, expected)
        );
    };
    let openai = |session: &str, run| env(Harness::Openai, session, run);
    check(openai(" ", None), "session_id is empty");
    check(openai("s", Some("")), "run_id is empty");
    check(
        openai("..", None),
        "--session .. cannot stand in a URL: clients take it for a way",
    );
    check(
        openai("a\nb", None),
        "session_id: the value holds a control character",
    );
    check(
        openai(&long, None),
        "session_id: the value is longer than 512 bytes of UTF-8",
    );
    check(
        openai("s", Some("läuf")),
        "--run must be ASCII, because it travels in a header",
    );
    let url = |url: &str| Env {
        url: url.to_owned(),
        ..openai("s", None)
    };
    check(
        url("http://any:canary@h"),
        "--url must not hold a user name or password; use --token or RLLM_GATEWAY_TOKEN",
    );
    check(
        url("http://h/v1/"),
        "--url is the gateway's own address, without /v1",
    );
    check(url("h:9090"), "--url must begin with http:// or https://");
    let token = Secret::from("canary\n");
    let error = setup(&openai("s", None), Some(&token)).unwrap_err();
    assert_eq!(error.to_string(), "--token holds a control character");
}
