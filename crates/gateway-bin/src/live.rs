//! From the configuration to what the planes take: settings as plain data, workers to register,
//! options of the ledger.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use gateway_auth::{Auth, Secret, Tokens};
use gateway_config::{Config, Durability, RouteConfig, SamplingPriority, WorkerConfig};
use gateway_route::{HealthRules, RouteTable};
use gateway_state::{
    AuthHeader, Capture, Door, HealthSettings, Limits, Live, Retry, Route, Timeouts, Upstream,
    UpstreamKind, WorkerSpec,
};
use gateway_store::LedgerOptions;

/// The settings of both planes for a gateway that listens on `address`.
pub(crate) fn live(config: &Config, address: IpAddr) -> Live {
    Live {
        auth: Auth::new(
            tokens(&config.inbound_auth_token),
            tokens(&config.admin_auth_token),
        ),
        open_paths: config.open_paths.clone(),
        door: Door {
            loopback: address.to_canonical().is_loopback(),
            allow_unauthenticated: config.allow_unauthenticated,
            own_name: own_name(),
            // A peer that is this machine is known by its address being the connection's own.
            own_addresses: Vec::new(),
            allowed_hosts: config.allowed_hosts.clone(),
            trusted_peers: config.trusted_peers.clone(),
        },
        routes: RouteTable::new(
            config
                .routes
                .iter()
                .map(|each| (each.model.clone(), Arc::new(route(each)))),
        ),
        worker_allow: config.worker_allow.clone(),
        policy: config.routing_policy,
        health: HealthSettings {
            interval: config.health_check_interval,
            path: config.health_check_path.clone(),
            rules: HealthRules {
                failures: config.health_check_failures,
                timeout: config.health_check_timeout,
            },
        },
        model: config.model.clone(),
        sampling_priority: match config.sampling_params_priority {
            SamplingPriority::Session => gateway_state::SamplingPriority::Session,
            _ => gateway_state::SamplingPriority::Client,
        },
        capture: Capture {
            logprobs: config.add_logprobs,
            token_ids: config.add_return_token_ids,
            usage: config.add_usage,
            strip: config.strip_vllm_fields,
        },
        limits: Limits {
            max_request_bytes: size(config.max_request_bytes),
            max_record_bytes: size(config.max_record_bytes),
            max_inflight: config.max_inflight,
        },
        timeouts: Timeouts {
            connect: config.connect_timeout,
            read: config.read_timeout,
            request: config.request_timeout,
            write: config.write_timeout,
            pause: config.pause_timeout,
            pool_idle: config.pool_idle_timeout,
        },
        retry: Retry {
            attempts: config.retry.attempts,
            max_backoff: config.retry.max_backoff,
            statuses: config.retry.statuses.clone(),
            even_unsafe: config.retry.even_unsafe,
        },
        session_fallback_headers: config.session_fallback_headers.clone(),
        run_id: config.run_id.clone(),
    }
}

fn tokens(secrets: &[Secret]) -> Tokens {
    Tokens::new(secrets).expect("the configuration takes no token that could not be presented")
}

fn auth_header(secret: &Option<Secret>) -> Option<AuthHeader> {
    let header = AuthHeader::parse(secret.as_ref()?);
    Some(header.expect("the configuration takes no credential that could not be sent"))
}

fn route(config: &RouteConfig) -> Route {
    let upstream = Upstream::new(
        UpstreamKind::Route,
        config.model.clone(),
        config.upstream_url.clone(),
        auth_header(&config.auth_header),
    );
    Route {
        headers: config.headers.clone(),
        drop_params: config.drop_params.clone(),
        upstream_model: config.upstream_model.clone(),
        inject: config.inject,
        any_path: config.any_path,
        connect_timeout: config.connect_timeout,
        read_timeout: config.read_timeout,
        ..Route::new(upstream)
    }
}

/// A worker as it is registered at the start.
pub(crate) fn worker(config: &WorkerConfig) -> WorkerSpec {
    WorkerSpec {
        url: config.url.api_url().to_string(),
        api_path: Some(config.url.api_path().to_owned()),
        worker_id: config.worker_id.clone(),
        model_name: config.model_name.clone(),
        weight: Some(config.weight),
        auth_header: config.auth_header.clone(),
    }
}

/// How the reply's end waits for the disk, in the ledger's words.
pub(crate) fn durability(config: &Config) -> gateway_store::Durability {
    match config.durability {
        Durability::Always => gateway_store::Durability::Always,
        Durability::Background => gateway_store::Durability::Background,
        Durability::Receipt { timeout } => gateway_store::Durability::Receipt { timeout },
        // Whatever a later version adds, nothing is weaker than a receipt by mistake.
        _ => gateway_store::Durability::Always,
    }
}

/// How the ledger is opened on the journal in `folder`.
pub(crate) fn ledger_options(
    config: &Config,
    folder: PathBuf,
    durability: gateway_store::Durability,
) -> LedgerOptions {
    LedgerOptions {
        capacity: config.journal_bytes,
        queue_bytes: config.queue_bytes,
        durability,
        admit_timeout: config.request_timeout,
        instance_id: config.instance_id.clone(),
        ..LedgerOptions::new(folder)
    }
}

/// A size in memory; one beyond the machine's own limit is no limit.
fn size(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// The machine's name, where the system tells it in a file.
fn own_name() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    Some(name.trim().to_owned()).filter(|name| !name.is_empty())
}
