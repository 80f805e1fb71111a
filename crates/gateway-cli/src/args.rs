//! What the command line takes.

use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand, ValueEnum};
use gateway_auth::Secret;

/// Where a gateway listens that was told nothing else.
pub(crate) const DEFAULT_URL: &str = "http://127.0.0.1:9090";

/// The commands for people.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List the sessions of a running gateway, newest first
    Sessions(Sessions),
    /// List the turns of a session, or the latest calls of all; or show one in full
    Traces(Traces),
    /// Tell whether a session is complete (exit code 0) or not (1), and why
    Report(Report),
    /// Follow the calls of a running gateway as they end
    Tail(Tail),
    /// Print the variables that put a client behind the gateway
    Env(Env),
}

/// Which gateway is asked.
#[derive(Debug, Args)]
pub(crate) struct Gateway {
    /// The running gateway, without /v1
    #[arg(
        long,
        env = "RLLM_GATEWAY_URL",
        hide_env_values = true,
        default_value = DEFAULT_URL,
        value_name = "URL",
        help_heading = "Gateway"
    )]
    pub(crate) url: String,
    /// Its admin token, or its only one
    #[arg(
        long,
        env = "RLLM_GATEWAY_TOKEN",
        hide_env_values = true,
        value_name = "TOKEN",
        value_parser = secret,
        help_heading = "Gateway"
    )]
    pub(crate) token: Option<Secret>,
}

/// `sessions`
#[derive(Debug, Args)]
pub struct Sessions {
    /// Only this run; * is all [default: the gateway's own, if it has one]
    #[arg(long, value_name = "RUN")]
    pub(crate) run: Option<String>,
    /// Only sessions created since: 90s, 10m, 2h, 3d, 2026-11-20T10:00:00Z, or UNIX seconds
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// At most so many; 0 is all
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub(crate) limit: u64,
    /// One JSON object a line, as the API gives it
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) gateway: Gateway,
}

/// Which calls are meant.
#[derive(Debug, Args)]
pub(crate) struct Calls {
    /// Only this run; * is all [default: all; of a session the gateway's own, if it has one]
    #[arg(long, value_name = "RUN")]
    pub(crate) run: Option<String>,
    /// Only calls of this model
    #[arg(long, value_name = "MODEL")]
    pub(crate) model: Option<String>,
    /// Only calls of this agent program
    #[arg(long, value_name = "HARNESS")]
    pub(crate) harness: Option<String>,
    /// Only calls that ended so
    #[arg(long, value_name = "OUTCOME", value_parser = PossibleValuesParser::new(OUTCOMES))]
    pub(crate) outcome: Option<String>,
    /// Only calls that ended since: 90s, 10m, 2h, 3d, 2026-11-20T10:00:00Z, or UNIX seconds
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// One JSON object a line, as the API gives it
    #[arg(long)]
    pub(crate) json: bool,
}

/// `traces`
#[derive(Debug, Args)]
pub struct Traces {
    /// The session whose turns are listed, in order [default: the latest calls of all]
    #[arg(value_name = "SESSION")]
    pub(crate) session: Option<String>,
    /// Show this one trace in full
    #[arg(
        long,
        value_name = "TRACE",
        conflicts_with_all = ["session", "run", "model", "harness", "outcome", "since", "limit"]
    )]
    pub(crate) id: Option<String>,
    #[command(flatten)]
    pub(crate) calls: Calls,
    /// At most so many; 0 is all [default: 50; of a session all]
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<u64>,
    #[command(flatten)]
    pub(crate) gateway: Gateway,
}

/// `report`
#[derive(Debug, Args)]
pub struct Report {
    /// The session
    #[arg(value_name = "SESSION")]
    pub(crate) session: String,
    /// Only this run; * is all [default: the gateway's own, if it has one]
    #[arg(long, value_name = "RUN")]
    pub(crate) run: Option<String>,
    /// The API's JSON, in one line
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) gateway: Gateway,
}

/// `tail`
#[derive(Debug, Args)]
pub struct Tail {
    /// Only calls of this session
    #[arg(value_name = "SESSION")]
    pub(crate) session: Option<String>,
    #[command(flatten)]
    pub(crate) calls: Calls,
    /// How many earlier calls are shown first; with --since all since then
    #[arg(long, value_name = "N", default_value_t = 10, conflicts_with = "since")]
    pub(crate) limit: u64,
    #[command(flatten)]
    pub(crate) gateway: Gateway,
}

/// `env`
#[derive(Debug, Args)]
pub struct Env {
    /// The client
    #[arg(long, value_enum, value_name = "CLIENT")]
    pub(crate) harness: Harness,
    /// The session that its calls belong to
    #[arg(long, value_name = "SESSION")]
    pub(crate) session: String,
    /// The run that they belong to [default: the gateway's own, if it has one]
    #[arg(long, value_name = "RUN")]
    pub(crate) run: Option<String>,
    /// How the lines are written
    #[arg(long, value_enum, value_name = "SHELL", default_value_t = Shell::Sh)]
    pub(crate) shell: Shell,
    /// The gateway as the client reaches it, without /v1
    #[arg(
        long,
        env = "RLLM_GATEWAY_URL",
        hide_env_values = true,
        default_value = DEFAULT_URL,
        value_name = "URL",
        help_heading = "Gateway"
    )]
    pub(crate) url: String,
    /// The token for agents [else: RLLM_GATEWAY_TOKEN]
    #[arg(
        long,
        env = "RLLM_GATEWAY_INBOUND_TOKEN",
        hide_env_values = true,
        value_name = "TOKEN",
        value_parser = secret,
        help_heading = "Gateway"
    )]
    pub(crate) token: Option<Secret>,
}

/// A client that can be put behind the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Harness {
    /// Claude Code
    ClaudeCode,
    /// Codex
    Codex,
    /// opencode
    Opencode,
    /// Programs that use an SDK of OpenAI's
    Openai,
    /// Programs that use an SDK of Anthropic's
    Anthropic,
}

/// Who reads the variables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shell {
    /// For eval in sh, bash and zsh
    Sh,
    /// For source in fish
    Fish,
    /// One JSON object
    Json,
}

/// The outcomes of the trace contract.
const OUTCOMES: [&str; 6] = [
    "completed",
    "upstream_error",
    "truncated",
    "client_disconnected",
    "gateway_error",
    "interrupted",
];

/// Nothing can be wrong with a token here, so that no message has a reason to repeat it.
fn secret(text: &str) -> Result<Secret, std::convert::Infallible> {
    Ok(Secret::from(text))
}
