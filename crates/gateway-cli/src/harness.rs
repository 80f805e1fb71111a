//! `env`: what puts a client behind the gateway.
//!
//! What each client reads was looked up in November 2026, and tried with Codex 0.169, opencode
//! 1.18 and Claude Code 2.1. The session stands in the URL, which every client keeps; the run and
//! the name of the client travel as headers, which each of them can be given.

use gateway_auth::Secret;
use gateway_json::quote;
use gateway_metadata::{Field, is_dot_segment};

use crate::args::{Env, Harness};
use crate::client::{encoded, gateway_url};
use crate::error::Error;
use crate::screen::print as print_text;
use crate::shell;

/// What stands for a token where the gateway wants none: some clients do not start without one.
const NO_TOKEN: &str = "none";

/// The variable that Codex is told to take its token from.
const CODEX_KEY: &str = "RLLM_CODEX_KEY";

/// What a client has to find: variables (`None`: not set), and, for one that reads no variable
/// for it, arguments of its command.
#[derive(Debug, Default)]
pub(crate) struct Setup {
    pub(crate) variables: Vec<(&'static str, Option<String>)>,
    pub(crate) command: Option<(&'static str, Vec<String>)>,
}

/// `env`
///
/// # Errors
/// [`Error::Usage`] for ids and URLs that no client can carry.
pub(crate) fn print(env: &Env, token: Option<&Secret>) -> Result<(), Error> {
    print_text(&shell::script(&setup(env, token)?, env.shell))
}

fn setup(env: &Env, token: Option<&Secret>) -> Result<Setup, Error> {
    let session = identity(Field::SessionId, &env.session)?;
    if is_dot_segment(session) {
        let message =
            format!("--session {session} cannot stand in a URL: clients take it for a way");
        return Err(Error::Usage(message));
    }
    let base = format!("{}/sessions/{}", gateway_url(&env.url)?, encoded(session));
    let v1 = format!("{base}/v1");
    let run = env.run.as_deref().map(|run| identity(Field::RunId, run));
    let run = run.transpose()?;
    if run.is_some_and(|run| !run.is_ascii()) {
        let message = "--run must be ASCII, because it travels in a header";
        return Err(Error::Usage(message.to_owned()));
    }
    let token = token.map(Secret::expose);
    if token.is_some_and(|token| token.chars().any(char::is_control)) {
        return Err(Error::Usage("--token holds a control character".to_owned()));
    }
    let key = token.unwrap_or(NO_TOKEN).to_owned();

    // Programs of one's own say themselves what they are.
    let label = match env.harness {
        Harness::ClaudeCode => Some("claude-code"),
        Harness::Codex => Some("codex"),
        Harness::Opencode => Some("opencode"),
        Harness::Openai | Harness::Anthropic => None,
    };
    let headers: Vec<(&str, &str)> = [("X-RLLM-Harness", label), ("X-RLLM-Run-Id", run)]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect();
    let lines: Vec<String> = headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}"))
        .collect();
    let lines = Some(lines.join("\n")).filter(|lines| !lines.is_empty());

    let variables = match env.harness {
        Harness::ClaudeCode => vec![
            ("ANTHROPIC_BASE_URL", Some(base)),
            ("ANTHROPIC_AUTH_TOKEN", Some(key)),
            ("ANTHROPIC_CUSTOM_HEADERS", lines),
            // Each of these would lead its calls, or another key, past the gateway.
            ("ANTHROPIC_API_KEY", None),
            ("CLAUDE_CODE_USE_BEDROCK", None),
            ("CLAUDE_CODE_USE_VERTEX", None),
            ("CLAUDE_CODE_USE_FOUNDRY", None),
        ],
        Harness::Anthropic => vec![
            ("ANTHROPIC_BASE_URL", Some(base)),
            ("ANTHROPIC_API_KEY", Some(key)),
            ("ANTHROPIC_CUSTOM_HEADERS", lines),
            ("ANTHROPIC_AUTH_TOKEN", None),
        ],
        Harness::Openai => vec![
            ("OPENAI_BASE_URL", Some(v1)),
            ("OPENAI_API_KEY", Some(key)),
            ("OPENAI_CUSTOM_HEADERS", lines),
        ],
        Harness::Opencode => vec![(
            "OPENCODE_CONFIG_CONTENT",
            Some(opencode(&v1, &key, &headers)),
        )],
        Harness::Codex => {
            return Ok(Setup {
                variables: vec![(CODEX_KEY, token.map(str::to_owned))],
                command: Some(("codex", codex(&v1, token.is_some(), &headers))),
            });
        }
    };
    Ok(Setup {
        variables,
        command: None,
    })
}

/// An id that can be recorded, trimmed as the gateway trims it.
fn identity(field: Field, value: &str) -> Result<&str, Error> {
    let value = value.trim();
    let usage = |what: String| Error::Usage(what);
    if value.is_empty() {
        return Err(usage(format!("{} is empty", field.name())));
    }
    field
        .check(value)
        .map_err(|error| usage(error.to_string()))?;
    Ok(value)
}

/// Codex reads no variable for its endpoint any more. Its settings can be given as arguments, each
/// in TOML, whose strings are written like JSON's here: an id holds no control character.
fn codex(url: &str, has_token: bool, headers: &[(&str, &str)]) -> Vec<String> {
    let headers: Vec<String> = headers
        .iter()
        .map(|(name, value)| format!("{name} = {}", quote(value)))
        .collect();
    let mut provider = format!(
        r#"name = "rLLM gateway", base_url = {}, wire_api = "responses", http_headers = {{ {} }}"#,
        quote(url),
        headers.join(", ")
    );
    if has_token {
        provider.push_str(&format!(r#", env_key = "{CODEX_KEY}""#));
    }
    vec![
        "-c".to_owned(),
        "model_provider=rllm".to_owned(),
        "-c".to_owned(),
        format!("model_providers.rllm={{ {provider} }}"),
    ]
}

/// opencode merges this over its configuration files: its own providers for the models of OpenAI
/// and Anthropic, and a provider `rllm` for the models that the user lists under that name.
fn opencode(url: &str, key: &str, headers: &[(&str, &str)]) -> String {
    let headers: Vec<String> = headers
        .iter()
        .map(|(name, value)| format!("{}:{}", quote(name), quote(value)))
        .collect();
    let options = format!(
        r#""options":{{"baseURL":{},"apiKey":{},"headers":{{{}}}}}"#,
        quote(url),
        quote(key),
        headers.join(",")
    );
    let own = r#""npm":"@ai-sdk/openai-compatible","name":"rLLM gateway""#;
    format!(
        r#"{{"provider":{{"openai":{{{options}}},"anthropic":{{{options}}},"rllm":{{{own},{options}}}}}}}"#
    )
}

#[cfg(test)]
mod tests;
