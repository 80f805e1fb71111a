//! `env`: what a shell makes of it, and where a client ends up with it; and what bash makes of
//! `completions`.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use gateway_tests::{Setup, Upstream, binary, call};
use serde_json::Value;

use super::{Ran, command, run, url};
use crate::say;

const SESSION: &str = "org/task 7:0 'it' \"is\" $(x)`y` \\";

/// What this shell script prints after it has evaluated the variables; `$0` is the executable.
fn evaluated(harness: &str, more: &[&str], script: &str) -> Ran {
    let arguments = ["env", "--harness", harness, "--session", SESSION];
    let script = format!("eval \"$(\"$0\" \"$@\")\" && {script}");
    let mut shell = Command::new("sh");
    shell
        .args(["-eu", "-c", &script])
        .arg(binary())
        .args(arguments)
        .args(more)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("ANTHROPIC_API_KEY", "somebody's own");
    run(&mut shell)
}

#[tokio::test]
async fn calls_by_the_printed_url_are_the_session_s_own() {
    let upstream = Upstream::vllm();
    let gateway = Setup::new()
        .worker(&upstream)
        .yaml("inbound_auth_token: \"it's\"")
        .start();
    let url = url(&gateway);
    let more = ["--url", &url, "--token", "it's", "--run", "run 'one'"];
    let print =
        "printf '%s\\n' \"$OPENAI_BASE_URL\" \"$OPENAI_API_KEY\" \"$OPENAI_CUSTOM_HEADERS\"";
    let printed = evaluated("openai", &more, print).good();
    let lines: Vec<&str> = printed.lines().collect();
    let [base, key, header] = lines[..] else {
        panic!("{printed}");
    };
    let path = base.strip_prefix(&*url).expect("the gateway's own");
    let line = format!("POST {path}/chat/completions");
    let bearer = format!("authorization: Bearer {key}");
    let reply = call(gateway.address(), &line, &[&bearer, header], say("hi")).await;
    reply.expect(200);

    let mut listing = command(&["traces", SESSION, "--json", "--url", &url]);
    let traces = run(listing.env("RLLM_GATEWAY_TOKEN", "it's")).lines();
    assert_eq!(traces.len(), 1);
    assert_eq!(traces[0]["session_id"], SESSION);
    assert_eq!(traces[0]["run_id"], "run 'one'");
}

#[test]
fn claude_code_finds_the_gateway_and_no_other_key() {
    let print = "printf '%s|' \"$ANTHROPIC_BASE_URL\" \"$ANTHROPIC_AUTH_TOKEN\" \
                 \"$ANTHROPIC_CUSTOM_HEADERS\" \"${ANTHROPIC_API_KEY-unset}\"";
    let printed = evaluated("claude-code", &["--run", "r"], print).good();
    let path = "org%2Ftask%207%3A0%20%27it%27%20%22is%22%20%24%28x%29%60y%60%20%5C";
    assert_eq!(
        printed,
        format!(
            "http://127.0.0.1:9090/sessions/{path}|none|\
             X-RLLM-Harness: claude-code\nX-RLLM-Run-Id: r|unset|"
        )
    );
}

/// A stand-in for Codex shows what it is given.
#[test]
fn codex_is_given_its_settings_before_the_user_s_own() {
    let folder = tempfile::tempdir().expect("a folder");
    let codex = folder.path().join("codex");
    std::fs::write(
        &codex,
        "#!/bin/sh\nprintf '%s\\n' \"$RLLM_CODEX_KEY\" \"$@\"\n",
    )
    .expect("a file");
    let executable = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(&codex, executable).expect("an executable");
    let script = format!(
        "PATH=\"{}:$PATH\" && codex exec 'two words'",
        folder.path().display()
    );
    let printed = evaluated("codex", &["--token", "t'k"], &script).good();
    let lines: Vec<&str> = printed.lines().collect();
    assert_eq!(lines[..4], ["t'k", "-c", "model_provider=rllm", "-c"]);
    assert!(
        lines[4].starts_with("model_providers.rllm={ name = "),
        "{printed}"
    );
    assert!(
        lines[4].contains(r#"env_key = "RLLM_CODEX_KEY""#),
        "{printed}"
    );
    assert!(!lines[4].contains("t'k"), "{printed}");
    assert_eq!(lines[5..], ["exec", "two words"]);
}

#[test]
fn opencode_is_given_a_configuration() {
    let print = "printf '%s' \"$OPENCODE_CONFIG_CONTENT\"";
    let printed = evaluated("opencode", &["--token", "\"t\"", "--run", "r"], print).good();
    let config: Value = serde_json::from_str(&printed).expect("JSON");
    for provider in ["openai", "anthropic", "rllm"] {
        let options = &config["provider"][provider]["options"];
        let base = options["baseURL"].as_str().unwrap_or_default();
        assert!(base.ends_with("%20%5C/v1"), "{config}");
        assert_eq!(options["apiKey"], "\"t\"");
        assert_eq!(options["headers"]["X-RLLM-Run-Id"], "r");
        assert_eq!(options["headers"]["X-RLLM-Harness"], "opencode");
    }
}

/// An operator's shell may hold the admin token; agents get their own where there is one.
#[test]
fn the_agents_token_comes_before_the_admin_s() {
    let key = |variables: &[(&str, &str)], more: &[&str]| -> Value {
        let arguments = [
            "env",
            "--harness",
            "openai",
            "--session",
            "s",
            "--shell",
            "json",
        ];
        let mut command = command(&arguments);
        command.args(more).envs(variables.iter().copied());
        let setup = run(&mut command).lines().remove(0);
        setup["variables"]["OPENAI_API_KEY"].clone()
    };
    let admin = ("RLLM_GATEWAY_TOKEN", "boss");
    let agents = ("RLLM_GATEWAY_INBOUND_TOKEN", "agent");
    assert_eq!(key(&[], &[]), "none");
    assert_eq!(key(&[admin], &[]), "boss");
    assert_eq!(key(&[admin, agents], &[]), "agent");
    assert_eq!(
        key(&[admin, ("RLLM_GATEWAY_INBOUND_TOKEN", "")], &[]),
        "boss"
    );
    assert_eq!(key(&[admin, agents], &["--token", "own"]), "own");
}

#[test]
fn bash_completes_commands_flags_and_values() {
    let complete = |words: &str, expected: &str| {
        let script = format!(
            "eval \"$(\"$0\" completions bash)\"; COMP_WORDS=(rllm-model-gateway {words}); \
             COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
             complete -p rllm-model-gateway | grep -q _rllm__model__gateway; \
             _rllm__model__gateway rllm-model-gateway \"${{COMP_WORDS[-1]}}\" \"${{COMP_WORDS[-2]}}\"; \
             echo \"${{COMPREPLY[*]}}\""
        );
        let mut bash = Command::new("bash");
        let ran = run(bash.args(["-eu", "-c", &script]).arg(binary()));
        assert_eq!(ran.good().trim_end(), expected, "{words}");
    };
    complete("t", "traces tail");
    complete("env --h", "--harness --help");
    complete("env --harness cl", "claude-code");
    complete("traces --outcome c", "completed client_disconnected");
    complete("serve --db", "--db-path");
}
