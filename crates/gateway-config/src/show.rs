//! The effective configuration as text, secrets masked.

use std::time::Duration;

use gateway_route::Policy;
use serde_json::{Map, Value, json};

use crate::config::{
    Config, Durability, LogLevel, Retry, RouteConfig, SamplingPriority, StoreKind, WorkerConfig,
};

/// What stands in the place of a secret.
const MASK: &str = "***";

/// YAML that shows every key with the value in effect. Each value is a JSON text, which YAML
/// reads as it is, so that no value can be mistaken for structure.
pub(crate) fn to_yaml(config: &Config) -> String {
    let mut out = String::new();
    for (key, value) in entries(config) {
        match value {
            Value::Array(items) if !items.is_empty() => {
                out.push_str(&format!("{key}:\n"));
                for item in items {
                    out.push_str(&format!("  - {item}\n"));
                }
            }
            Value::Object(members) if !members.is_empty() => {
                out.push_str(&format!("{key}:\n"));
                for (name, value) in members {
                    out.push_str(&format!("  {}: {value}\n", Value::from(name)));
                }
            }
            value => out.push_str(&format!("{key}: {value}\n")),
        }
    }
    out
}

/// The keys under which two configurations differ.
pub(crate) fn changed_keys(config: &Config, before: &Config) -> Vec<&'static str> {
    // What is shown of these is masked.
    let differs_unseen = |key| match key {
        "workers" => config.workers != before.workers,
        "routes" => config.routes != before.routes,
        "inbound_auth_token" => config.inbound_auth_token != before.inbound_auth_token,
        "admin_auth_token" => config.admin_auth_token != before.admin_auth_token,
        "run_metadata" => config.run_metadata != before.run_metadata,
        _ => false,
    };
    entries(config)
        .into_iter()
        .zip(entries(before))
        .filter(|((key, value), (_, before))| value != before || differs_unseen(key))
        .map(|((key, _), _)| key)
        .collect()
}

pub(crate) fn entries(config: &Config) -> Vec<(&'static str, Value)> {
    let (durability, receipt_timeout) = match config.durability {
        Durability::Receipt { timeout } => ("receipt", Some(timeout)),
        Durability::Always => ("receipt", None),
        Durability::Background => ("background", None),
    };
    let masked = |tokens: &[gateway_auth::Secret]| json!(vec![MASK; tokens.len()]);
    vec![
        ("host", json!(config.host)),
        ("port", json!(config.port)),
        ("workers", config.workers.iter().map(worker).collect()),
        (
            "routes",
            config
                .routes
                .iter()
                .map(|each| (each.model.clone(), route(each)))
                .collect::<Map<_, _>>()
                .into(),
        ),
        ("store_worker", json!(store(config.store))),
        ("db_path", json!(config.db_path.display().to_string())),
        ("journal_bytes", json!(config.journal_bytes)),
        ("instance_id", json!(config.instance_id)),
        ("add_logprobs", json!(config.add_logprobs)),
        ("add_return_token_ids", json!(config.add_return_token_ids)),
        ("add_usage", json!(config.add_usage)),
        ("strip_vllm_fields", json!(config.strip_vllm_fields)),
        ("routing_policy", json!(policy(config.routing_policy))),
        (
            "health_check_interval",
            seconds(config.health_check_interval),
        ),
        ("health_check_timeout", seconds(config.health_check_timeout)),
        ("health_check_failures", json!(config.health_check_failures)),
        ("health_check_path", json!(config.health_check_path)),
        ("log_level", json!(level(config.log_level))),
        ("durability", json!(durability)),
        (
            "receipt_timeout",
            receipt_timeout.map_or(Value::Null, seconds),
        ),
        (
            "sync_traces",
            json!(config.durability == Durability::Always),
        ),
        (
            "sampling_params_priority",
            json!(priority(config.sampling_params_priority)),
        ),
        ("model", json!(config.model)),
        ("run_id", json!(config.run_id)),
        (
            "run_metadata",
            mask_tokens(config.run_metadata.clone().into()),
        ),
        (
            "session_fallback_headers",
            json!(config.session_fallback_headers),
        ),
        ("inbound_auth_token", masked(&config.inbound_auth_token)),
        ("admin_auth_token", masked(&config.admin_auth_token)),
        ("open_paths", json!(config.open_paths)),
        ("max_request_bytes", json!(config.max_request_bytes)),
        ("max_record_bytes", json!(config.max_record_bytes)),
        ("connect_timeout", seconds(config.connect_timeout)),
        ("read_timeout", seconds(config.read_timeout)),
        ("drain_timeout", seconds(config.drain_timeout)),
        ("request_timeout", seconds(config.request_timeout)),
        ("header_timeout", seconds(config.header_timeout)),
        ("idle_timeout", seconds(config.idle_timeout)),
        ("write_timeout", seconds(config.write_timeout)),
        ("pool_idle_timeout", seconds(config.pool_idle_timeout)),
        ("pause_timeout", seconds(config.pause_timeout)),
        ("retry", retry(&config.retry)),
        ("max_connections", json!(config.max_connections)),
        ("max_inflight", json!(config.max_inflight)),
        ("queue_bytes", json!(config.queue_bytes)),
        ("allow_unauthenticated", json!(config.allow_unauthenticated)),
        ("worker_allow", texts(&config.worker_allow)),
        ("allowed_hosts", json!(config.allowed_hosts)),
        ("trusted_peers", texts(&config.trusted_peers)),
    ]
}

fn worker(worker: &WorkerConfig) -> Value {
    let mut shown = Map::new();
    shown.insert("url".to_owned(), json!(worker.url.url().to_string()));
    shown.insert("api_path".to_owned(), json!(worker.url.api_path()));
    insert_some(&mut shown, "worker_id", worker.worker_id.as_ref());
    insert_some(&mut shown, "model_name", worker.model_name.as_ref());
    shown.insert("weight".to_owned(), json!(worker.weight));
    insert_some(
        &mut shown,
        "auth_header",
        worker.auth_header.as_ref().map(|_| MASK),
    );
    shown.into()
}

/// A route with its credential and the values of its headers masked.
pub(crate) fn route(route: &RouteConfig) -> Value {
    let mut shown = Map::new();
    shown.insert(
        "upstream_url".to_owned(),
        json!(route.upstream_url.to_string()),
    );
    insert_some(
        &mut shown,
        "auth_header",
        route.auth_header.as_ref().map(|_| MASK),
    );
    shown.insert("drop_params".to_owned(), json!(route.drop_params));
    let headers: Map<_, _> = route
        .headers
        .iter()
        .map(|(name, _)| (name.as_str().to_owned(), json!(MASK)))
        .collect();
    shown.insert("headers".to_owned(), headers.into());
    insert_some(&mut shown, "upstream_model", route.upstream_model.as_ref());
    shown.insert("inject".to_owned(), json!(route.inject));
    insert_some(&mut shown, "paths", route.any_path.then_some("any"));
    insert_some(
        &mut shown,
        "connect_timeout",
        route.connect_timeout.map(seconds),
    );
    insert_some(&mut shown, "read_timeout", route.read_timeout.map(seconds));
    shown.into()
}

fn retry(retry: &Retry) -> Value {
    json!({
        "attempts": retry.attempts,
        "max_backoff": seconds(retry.max_backoff),
        "statuses": retry.statuses,
        "unsafe": retry.even_unsafe,
    })
}

fn insert_some(shown: &mut Map<String, Value>, key: &str, value: Option<impl serde::Serialize>) {
    if let Some(value) = value {
        shown.insert(key.to_owned(), json!(value));
    }
}

/// Masks what the operator noted under keys that name tokens, at any depth.
fn mask_tokens(value: Value) -> Value {
    match value {
        Value::Object(members) => members
            .into_iter()
            .map(|(key, value)| {
                let value = if crate::decode::is_secret(&key) {
                    json!(MASK)
                } else {
                    mask_tokens(value)
                };
                (key, value)
            })
            .collect::<Map<_, _>>()
            .into(),
        Value::Array(items) => items.into_iter().map(mask_tokens).collect(),
        other => other,
    }
}

fn seconds(duration: Duration) -> Value {
    if duration.subsec_nanos() == 0 {
        json!(duration.as_secs())
    } else {
        json!(duration.as_secs_f64())
    }
}

fn texts<T: ToString>(items: &[T]) -> Value {
    items.iter().map(|item| json!(item.to_string())).collect()
}

fn store(store: StoreKind) -> &'static str {
    match store {
        StoreKind::Sqlite => "sqlite",
        StoreKind::Memory => "memory",
    }
}

fn policy(policy: Policy) -> &'static str {
    match policy {
        Policy::LeastLoaded => "least_loaded",
        Policy::RoundRobin => "round_robin",
        // The default; a policy that a later version adds needs its word here and in `read`.
        _ => "sticky",
    }
}

fn priority(priority: SamplingPriority) -> &'static str {
    match priority {
        SamplingPriority::Client => "client",
        SamplingPriority::Session => "session",
    }
}

fn level(level: LogLevel) -> &'static str {
    match level {
        LogLevel::Error => "ERROR",
        LogLevel::Warning => "WARNING",
        LogLevel::Info => "INFO",
        LogLevel::Debug => "DEBUG",
        LogLevel::Trace => "TRACE",
    }
}
