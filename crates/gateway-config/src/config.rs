//! The validated configuration: one field for each key, with its default.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use gateway_auth::Secret;
use gateway_metadata::DEFAULT_FALLBACK_HEADERS;
use gateway_route::{BaseUrl, Cidr, Policy, WorkerUrl};
use http::{HeaderName, HeaderValue};

/// One MiB, in bytes.
const MIB: u64 = 1 << 20;

/// Everything that an operator can set, validated. The fields bear the names of the keys in the
/// file; [`Config::default`] is a gateway on loopback with no upstream.
///
/// Its `Debug` is the effective configuration as YAML, with secrets masked.
#[derive(Clone, PartialEq)]
pub struct Config {
    /// The address or name to listen on.
    pub host: String,
    /// The port to listen on; 0 takes a free one.
    pub port: u16,
    /// The inference workers known from the start.
    pub workers: Vec<WorkerConfig>,
    /// The provider routes, in the order in which they were written.
    pub routes: Vec<RouteConfig>,
    /// Where traces are kept (key `store_worker`).
    pub store: StoreKind,
    /// The database file; a leading `~/` is already replaced.
    pub db_path: PathBuf,
    /// How far the store may lag behind the journal, in bytes.
    pub journal_bytes: u64,
    /// The name of this gateway in its traces; unset: random, and kept with the journal.
    pub instance_id: Option<String>,
    /// Whether workers are asked for logprobs.
    pub add_logprobs: bool,
    /// Whether workers are asked for token ids.
    pub add_return_token_ids: bool,
    /// Whether workers are asked for the usage of a stream.
    pub add_usage: bool,
    /// Whether fields that only vLLM sends are removed from a worker's replies.
    pub strip_vllm_fields: bool,
    /// How a worker is chosen.
    pub routing_policy: Policy,
    /// The time between two health checks of a worker.
    pub health_check_interval: Duration,
    /// How long a health check may take.
    pub health_check_timeout: Duration,
    /// How many checks in a row must fail before a worker counts as unhealthy.
    pub health_check_failures: u32,
    /// The path asked on the worker, below its `url`.
    pub health_check_path: String,
    /// The least severe log lines shown.
    pub log_level: LogLevel,
    /// Whether a reply's end waits for the journal, and for how long.
    pub durability: Durability,
    /// Who wins where both name a sampling parameter.
    pub sampling_params_priority: SamplingPriority,
    /// The model that every call is pinned to.
    pub model: Option<String>,
    /// The run that calls belong to unless they name their own.
    pub run_id: Option<String>,
    /// What is noted about that run.
    pub run_metadata: serde_json::Map<String, serde_json::Value>,
    /// The clients' own session headers, in the order in which they are tried.
    pub session_fallback_headers: Vec<String>,
    /// The tokens that open the data plane.
    pub inbound_auth_token: Vec<Secret>,
    /// The tokens that open the management plane.
    pub admin_auth_token: Vec<Secret>,
    /// The exact paths that need no token.
    pub open_paths: Vec<String>,
    /// The largest request body taken, in bytes.
    pub max_request_bytes: u64,
    /// How much of a reply is recorded, in bytes.
    pub max_record_bytes: u64,
    /// How long connecting to an upstream may take.
    pub connect_timeout: Duration,
    /// The longest time between two bytes from an upstream.
    pub read_timeout: Duration,
    /// How long calls in flight may go on after SIGTERM.
    pub drain_timeout: Duration,
    /// The longest time between two bytes of a request's body, and for a place in the journal.
    pub request_timeout: Duration,
    /// How long the head of a request may take from its first byte.
    pub header_timeout: Duration,
    /// How long a kept-alive connection may idle.
    pub idle_timeout: Duration,
    /// How long a client may take to read the next byte.
    pub write_timeout: Duration,
    /// How long an upstream connection is kept for re-use.
    pub pool_idle_timeout: Duration,
    /// How long a call waits while the gateway is paused.
    pub pause_timeout: Duration,
    /// What is sent to an upstream again.
    pub retry: Retry,
    /// The most connections served at once; more wait to be accepted.
    pub max_connections: usize,
    /// The most calls in flight; more are answered 429.
    pub max_inflight: usize,
    /// How many bytes of records may wait in memory for the journal.
    pub queue_bytes: u64,
    /// Whether a gateway without a token also serves public peers and tunnels.
    pub allow_unauthenticated: bool,
    /// The otherwise closed ranges from which workers may be registered.
    pub worker_allow: Vec<Cidr>,
    /// Names by which the gateway may be addressed without a token.
    pub allowed_hosts: Vec<String>,
    /// Peers that are trusted without a token.
    pub trusted_peers: Vec<Cidr>,
}

impl Default for Config {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Config {
            host: "127.0.0.1".to_owned(),
            port: 9090,
            workers: Vec::new(),
            routes: Vec::new(),
            store: StoreKind::Sqlite,
            db_path: PathBuf::from("~/.rllm/gateway.db"),
            journal_bytes: 4096 * MIB,
            instance_id: None,
            add_logprobs: true,
            add_return_token_ids: true,
            add_usage: true,
            strip_vllm_fields: true,
            routing_policy: Policy::Sticky,
            health_check_interval: seconds(10),
            health_check_timeout: seconds(5),
            health_check_failures: 3,
            health_check_path: "/health".to_owned(),
            log_level: LogLevel::Info,
            durability: Durability::Receipt {
                timeout: seconds(5),
            },
            sampling_params_priority: SamplingPriority::Client,
            model: None,
            run_id: None,
            run_metadata: serde_json::Map::new(),
            session_fallback_headers: DEFAULT_FALLBACK_HEADERS.map(str::to_owned).to_vec(),
            inbound_auth_token: Vec::new(),
            admin_auth_token: Vec::new(),
            open_paths: Vec::new(),
            max_request_bytes: 64 * MIB,
            max_record_bytes: 64 * MIB,
            connect_timeout: seconds(10),
            read_timeout: seconds(600),
            drain_timeout: seconds(30),
            request_timeout: seconds(60),
            header_timeout: seconds(10),
            idle_timeout: seconds(120),
            write_timeout: seconds(600),
            pool_idle_timeout: seconds(4),
            pause_timeout: seconds(300),
            retry: Retry {
                attempts: 2,
                max_backoff: seconds(60),
                statuses: vec![408, 429, 503, 529],
                even_unsafe: false,
            },
            max_connections: 10_000,
            max_inflight: 10_000,
            queue_bytes: 64 * MIB,
            allow_unauthenticated: false,
            worker_allow: Vec::new(),
            allowed_hosts: Vec::new(),
            trusted_peers: Vec::new(),
        }
    }
}

/// The folder of a database's journal: beside the file, named after it.
#[must_use]
pub fn journal_dir(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push("-journal.d");
    PathBuf::from(name)
}

impl Config {
    /// Whether only this machine can reach the gateway.
    #[must_use]
    pub fn listens_on_loopback(&self) -> bool {
        self.host.eq_ignore_ascii_case("localhost")
            || self
                .host
                .trim_start_matches('[')
                .trim_end_matches(']')
                .parse::<IpAddr>()
                .is_ok_and(|address| address.to_canonical().is_loopback())
    }

    /// The effective configuration as YAML: every key, secrets masked.
    #[must_use]
    pub fn to_yaml(&self) -> String {
        crate::show::to_yaml(self)
    }

    /// The keys whose values differ from those of `before`, in the order of [`Self::to_yaml`].
    #[must_use]
    pub fn changed_keys(&self, before: &Config) -> Vec<&'static str> {
        crate::show::changed_keys(self, before)
    }

    /// What an operator should know before the gateway serves: one line each.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if !self.inbound_auth_token.is_empty() && self.admin_auth_token.is_empty() {
            warnings.push(
                "inbound_auth_token is set without admin_auth_token: every agent can read and \
                 delete all traces and register workers"
                    .to_owned(),
            );
        }
        if self.inbound_auth_token.is_empty() && !self.listens_on_loopback() {
            let open = if self.allow_unauthenticated {
                "anyone who can reach it is served"
            } else {
                "public addresses and tunnels are refused"
            };
            warnings.push(format!(
                "listening on {} without inbound_auth_token (RLLM_GATEWAY_INBOUND_TOKEN): {open}",
                self.host
            ));
        }
        warnings
    }
}

/// Shows the effective configuration with secrets masked.
impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_yaml())
    }
}

/// An inference worker of the file or the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerConfig {
    /// Its `url`, where health checks go, and its `api_path`.
    pub url: WorkerUrl,
    /// The id by which it is managed; unset: chosen at the start.
    pub worker_id: Option<String>,
    /// The model that it serves; unset: any.
    pub model_name: Option<String>,
    /// Its share of the sessions, relative to the other workers; at least 1.
    pub weight: u32,
    /// The credential sent to it in place of the client's: the value of `Authorization`, or
    /// `x-api-key VALUE`. It is fit for a header.
    pub auth_header: Option<Secret>,
}

/// A provider route.
#[derive(Clone, PartialEq, Eq)]
pub struct RouteConfig {
    /// The model, or the glob of models, that it serves.
    pub model: String,
    /// The base URL that the path of a call is appended to.
    pub upstream_url: BaseUrl,
    /// The credential sent to it: the value of `Authorization`, or `x-api-key VALUE`. It is fit
    /// for a header.
    pub auth_header: Option<Secret>,
    /// Top-level keys that are removed from a request's body.
    pub drop_params: Vec<String>,
    /// Headers set last on each request, in order. Their values are secrets.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The model's name at the provider.
    pub upstream_model: Option<String>,
    /// Whether it is asked for logprobs and token ids, and stripped, as a worker is.
    pub inject: bool,
    /// Whether it serves every path (`paths: any`), not only those of model calls.
    pub any_path: bool,
    /// Takes the place of the gateway's `connect_timeout`.
    pub connect_timeout: Option<Duration>,
    /// Takes the place of the gateway's `read_timeout`.
    pub read_timeout: Option<Duration>,
}

/// Leaves the values of `headers` out: they are marked sensitive.
impl fmt::Debug for RouteConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&crate::show::route(self).to_string())
    }
}

/// What is sent to an upstream again, as long as nothing of a reply went to the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retry {
    /// How often a call is sent at most, the first time included; at least 1.
    pub attempts: u32,
    /// The longest wait before an attempt.
    pub max_backoff: Duration,
    /// The statuses of replies to what was surely not processed; each from 400 to 599.
    pub statuses: Vec<u16>,
    /// Whether what may have been processed is sent again, too (key `unsafe`).
    pub even_unsafe: bool,
}

/// Where traces are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreKind {
    /// In a database file.
    Sqlite,
    /// In memory, gone at the end.
    Memory,
}

/// Whether a reply's end waits until its record is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Durability {
    /// It waits, for at most this long (`durability: receipt`, `receipt_timeout`).
    Receipt {
        /// When the reply ends without its receipt.
        timeout: Duration,
    },
    /// It waits for as long as it takes (`sync_traces: true`).
    Always,
    /// It never waits (`durability: background`).
    Background,
}

/// Who wins where client and session both name a sampling parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SamplingPriority {
    /// The session's parameters fill in what the client left out.
    Client,
    /// The session's parameters overwrite the client's.
    Session,
}

/// The least severe log lines shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LogLevel {
    /// What went wrong in the gateway itself.
    Error,
    /// What an operator should look into.
    Warning,
    /// What happened.
    Info,
    /// How it happened.
    Debug,
    /// Every step.
    Trace,
}
