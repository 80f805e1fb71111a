//! The settings in force.

use std::sync::Arc;
use std::time::Duration;

use gateway_auth::Auth;
use gateway_route::{Cidr, HealthRules, Policy, RouteTable};
use http::{HeaderName, HeaderValue};

use crate::{Door, Upstream};

/// The settings in force: plain data, made from the configuration and replaced as a whole. A call
/// takes them once, so that it never sees two versions. The default is that of an empty
/// configuration.
#[derive(Clone, Debug)]
pub struct Live {
    /// The tokens (`inbound_auth_token`, `admin_auth_token`).
    pub auth: Auth,
    /// Exact paths that need no token (`open_paths`).
    pub open_paths: Vec<String>,
    /// Who may ask where no token is configured.
    pub door: Door,
    /// Providers by model (`routes`).
    pub routes: RouteTable<Arc<Route>>,
    /// Ranges of addresses that may be workers although they are link-local or metadata addresses
    /// (`worker_allow`).
    pub worker_allow: Vec<Cidr>,
    /// How workers are chosen (`routing_policy`).
    pub policy: Policy,
    /// How and when workers are checked (`health_check_*`).
    pub health: HealthSettings,
    /// The model that every call is sent with (`model`).
    pub model: Option<String>,
    /// Who wins where a client and its session both set a sampling parameter.
    pub sampling_priority: SamplingPriority,
    /// What is asked of upstreams for the record, and kept from clients.
    pub capture: Capture,
    /// Sizes.
    pub limits: Limits,
    /// Times.
    pub timeouts: Timeouts,
    /// What is sent to an upstream again.
    pub retry: Retry,
    /// The clients' own session headers, the first to serve first
    /// (`session_fallback_headers`); in lower case.
    pub session_fallback_headers: Vec<String>,
    /// The run that calls belong to which name none (`run_id`).
    pub run_id: Option<String>,
}

impl Default for Live {
    fn default() -> Self {
        let fallback = ["x-session-id", "x-claude-code-session-id", "session-id"];
        let fallback = fallback.into_iter().chain(["x-session-affinity"]);
        Self {
            auth: Auth::default(),
            open_paths: Vec::new(),
            door: Door::default(),
            routes: RouteTable::default(),
            worker_allow: Vec::new(),
            policy: Policy::default(),
            health: HealthSettings::default(),
            model: None,
            sampling_priority: SamplingPriority::default(),
            capture: Capture::default(),
            limits: Limits::default(),
            timeouts: Timeouts::default(),
            retry: Retry::default(),
            session_fallback_headers: fallback.map(str::to_owned).collect(),
            run_id: None,
        }
    }
}

/// A provider and what is done to the calls that go there.
#[derive(Clone, Debug)]
pub struct Route {
    /// Where it is; its name is the route's key.
    pub upstream: Arc<Upstream>,
    /// Headers that are set last, over everything else (`headers`).
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Top-level members that are removed from the body (`drop_params`).
    pub drop_params: Vec<String>,
    /// The model that is sent instead of the client's (`upstream_model`).
    pub upstream_model: Option<String>,
    /// Whether capture flags are injected and the reply is stripped, as for workers (`inject`).
    pub inject: bool,
    /// Whether every path is opened (`paths: any`).
    pub any_path: bool,
    /// Instead of the general one (`connect_timeout`).
    pub connect_timeout: Option<Duration>,
    /// Instead of the general one (`read_timeout`).
    pub read_timeout: Option<Duration>,
}

impl Route {
    /// A route to `upstream` that changes nothing.
    #[must_use]
    pub fn new(upstream: Upstream) -> Self {
        Self {
            upstream: Arc::new(upstream),
            headers: Vec::new(),
            drop_params: Vec::new(),
            upstream_model: None,
            inject: false,
            any_path: false,
            connect_timeout: None,
            read_timeout: None,
        }
    }
}

/// How and when workers are checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthSettings {
    /// From one check to the next (`health_check_interval`).
    pub interval: Duration,
    /// What is asked, below the worker's `url` (`health_check_path`).
    pub path: String,
    /// How the answers are judged (`health_check_failures`, `health_check_timeout`).
    pub rules: HealthRules,
}

impl Default for HealthSettings {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(10),
            path: "/health".to_owned(),
            rules: HealthRules::default(),
        }
    }
}

/// Who wins where a client and its session both set a sampling parameter
/// (`sampling_params_priority`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SamplingPriority {
    /// The client: the session's fill what is absent.
    #[default]
    Client,
    /// The session: its parameters overwrite.
    Session,
}

/// What is asked of upstreams for the record, and kept from clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capture {
    /// Log-probabilities are asked for (`add_logprobs`).
    pub logprobs: bool,
    /// Token ids are asked for (`add_return_token_ids`).
    pub token_ids: bool,
    /// The usage of streams is asked for (`add_usage`).
    pub usage: bool,
    /// Engine fields are taken out of workers' replies (`strip_vllm_fields`).
    pub strip: bool,
}

impl Default for Capture {
    fn default() -> Self {
        Self {
            logprobs: true,
            token_ids: true,
            usage: true,
            strip: true,
        }
    }
}

/// Sizes, in bytes where nothing else is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The largest request body, decoded (`max_request_bytes`).
    pub max_request_bytes: usize,
    /// How much of a reply is recorded (`max_record_bytes`).
    pub max_record_bytes: usize,
    /// How many calls may be in flight, a number (`max_inflight`).
    pub max_inflight: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_request_bytes: 64 << 20,
            max_record_bytes: 64 << 20,
            max_inflight: 10_000,
        }
    }
}

/// Times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// To connect to an upstream, TLS included (`connect_timeout`).
    pub connect: Duration,
    /// Between two bytes from an upstream (`read_timeout`).
    pub read: Duration,
    /// Between two bytes of a request's body, and the wait for room in the journal
    /// (`request_timeout`).
    pub request: Duration,
    /// Without a byte that the client takes (`write_timeout`).
    pub write: Duration,
    /// How long a call waits at the pause gate (`pause_timeout`).
    pub pause: Duration,
    /// How long an idle connection to an upstream is kept (`pool_idle_timeout`).
    pub pool_idle: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            read: Duration::from_secs(600),
            request: Duration::from_secs(60),
            write: Duration::from_secs(600),
            pause: Duration::from_secs(300),
            pool_idle: Duration::from_secs(4),
        }
    }
}

/// What is sent to an upstream again (`retry`), as long as nothing of a reply went to the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retry {
    /// How often a call is sent at most, the first time included (`attempts`).
    pub attempts: u32,
    /// The longest wait before an attempt (`max_backoff`).
    pub max_backoff: Duration,
    /// Of replies to what was surely not processed (`statuses`).
    pub statuses: Vec<u16>,
    /// Whether what may have been processed is sent again, too (`unsafe`).
    pub even_unsafe: bool,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts: 2,
            max_backoff: Duration::from_secs(60),
            statuses: vec![408, 429, 503, 529],
            even_unsafe: false,
        }
    }
}
