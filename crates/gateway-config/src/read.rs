//! The keys, one by one: from the written settings to a [`Config`].

use gateway_auth::{Secret, Tokens};
use gateway_metadata::{MAX_VALUE_BYTES, is_rllm_header};
use gateway_route::{BaseUrl, Cidr, Policy, WorkerUrl};
use http::{HeaderName, HeaderValue, header};

use crate::config::{
    Config, Durability, LogLevel, Retry, RouteConfig, SamplingPriority, StoreKind, WorkerConfig,
};
use crate::decode::{Field, Table};
use crate::error::ConfigError;
use crate::keys;

/// Keys of newer Python versions of the gateway; each has a flag of the same name there.
pub(crate) const PYTHON_ONLY: [&str; 7] = [
    "cumulative_token_mode",
    "renderer_family",
    "renderer_name",
    "max_prompt_length",
    "use_sglang",
    "sglang_tool_call_parser",
    "sglang_reasoning_parser",
];

/// What is said of a setting that a later version will honour.
pub(crate) const NOT_BUILT_YET: &str = "is not built yet in this version; leave it out";

/// What is said of a setting that only the Python gateway knows.
pub(crate) const OF_PYTHON: &str =
    "belongs to newer versions of the Python gateway and is not supported here; leave it out";

/// Reads every key of the root table.
pub(crate) fn config(mut table: Table<'_>) -> Result<Config, ConfigError> {
    let mut config = Config::default();
    let t = &mut table;
    listener(t, &mut config)?;
    upstreams(t, &mut config)?;
    capture(t, &mut config)?;
    storage(t, &mut config)?;
    access(t, &mut config)?;
    limits(t, &mut config)?;
    for key in keys::NOT_BUILT {
        table.refuse(key.name, |_| false, NOT_BUILT_YET)?;
    }
    for key in PYTHON_ONLY {
        table.refuse(key, Field::is_false_or_auto, OF_PYTHON)?;
    }
    table.finish()?;
    Ok(config)
}

fn listener(t: &mut Table<'_>, config: &mut Config) -> Result<(), ConfigError> {
    t.set("host", &mut config.host, host)?;
    t.set("port", &mut config.port, |field| {
        let port = field.whole(0..=65_535, "a port from 0 to 65535")?;
        Ok(u16::try_from(port).expect("the range was checked"))
    })?;
    t.set("log_level", &mut config.log_level, |field| {
        field.choice(&[
            ("DEBUG", LogLevel::Debug),
            ("INFO", LogLevel::Info),
            ("WARNING", LogLevel::Warning),
            ("ERROR", LogLevel::Error),
            ("TRACE", LogLevel::Trace),
            ("WARN", LogLevel::Warning),
            ("CRITICAL", LogLevel::Error),
        ])
    })
}

fn upstreams(t: &mut Table<'_>, config: &mut Config) -> Result<(), ConfigError> {
    t.set("worker_allow", &mut config.worker_allow, |field| {
        field.list(range)
    })?;
    let allow = &config.worker_allow;
    t.set("workers", &mut config.workers, |field| {
        workers(field, allow)
    })?;
    t.set("routes", &mut config.routes, |field| {
        field
            .table()?
            .into_entries()
            .iter()
            .map(|(entry, field)| route(&entry.key, field))
            .collect()
    })?;
    let mut policy = None;
    t.set_optional("routing_policy", &mut policy, |field| {
        if field.text()?.contains(['.', ':']) {
            return Err(field.error(
                "a dotted Python path cannot be loaded here; use sticky, least_loaded or \
                 round_robin",
            ));
        }
        field.choice(&[
            ("sticky", Policy::Sticky),
            ("least_loaded", Policy::LeastLoaded),
            ("round_robin", Policy::RoundRobin),
        ])
    })?;
    config.routing_policy = policy.unwrap_or(config.routing_policy);
    t.set(
        "health_check_interval",
        &mut config.health_check_interval,
        Field::seconds,
    )?;
    t.set(
        "health_check_timeout",
        &mut config.health_check_timeout,
        Field::seconds,
    )?;
    t.set(
        "health_check_failures",
        &mut config.health_check_failures,
        number,
    )?;
    t.set(
        "health_check_path",
        &mut config.health_check_path,
        |field| {
            let path = path(field)?;
            path.parse::<http::uri::PathAndQuery>()
                .map_err(|_| field.expected("the path of a URL"))?;
            Ok(path)
        },
    )
}

fn capture(t: &mut Table<'_>, config: &mut Config) -> Result<(), ConfigError> {
    t.set("add_logprobs", &mut config.add_logprobs, Field::flag)?;
    t.set(
        "add_return_token_ids",
        &mut config.add_return_token_ids,
        Field::flag,
    )?;
    t.set("add_usage", &mut config.add_usage, Field::flag)?;
    t.set(
        "strip_vllm_fields",
        &mut config.strip_vllm_fields,
        Field::flag,
    )?;
    t.set_optional("model", &mut config.model, Field::name)?;
    t.set(
        "sampling_params_priority",
        &mut config.sampling_params_priority,
        |field| {
            field.choice(&[
                ("client", SamplingPriority::Client),
                ("session", SamplingPriority::Session),
            ])
        },
    )?;
    t.set_optional("run_id", &mut config.run_id, run_id)?;
    t.set(
        "run_metadata",
        &mut config.run_metadata,
        |field| match field.json()? {
            serde_json::Value::Object(metadata) => Ok(metadata),
            _ => Err(field.expected("keys and values")),
        },
    )?;
    t.set(
        "session_fallback_headers",
        &mut config.session_fallback_headers,
        |field| field.list(|item| Ok(header_name(item, &item.text()?)?.as_str().to_owned())),
    )
}

fn storage(t: &mut Table<'_>, config: &mut Config) -> Result<(), ConfigError> {
    t.set("store_worker", &mut config.store, |field| {
        let store = field.choice(&[
            ("memory", Some(StoreKind::Memory)),
            ("sqlite", Some(StoreKind::Sqlite)),
            ("postgres", None),
        ])?;
        store.ok_or_else(|| {
            field.error("postgres is not built yet in this version; use sqlite or memory")
        })
    })?;
    let mut db_path = None;
    t.set_optional("db_path", &mut db_path, Field::name)?;
    if let Some(path) = db_path {
        config.db_path = path.into();
    }
    t.set("journal_bytes", &mut config.journal_bytes, |field| {
        field.bytes(8 << 20)
    })?;
    t.set_optional("instance_id", &mut config.instance_id, identity)?;
    durability(t, config)?;
    t.set("max_record_bytes", &mut config.max_record_bytes, |field| {
        field.bytes(1)
    })?;
    t.set("queue_bytes", &mut config.queue_bytes, |field| {
        field.bytes(1)
    })
}

/// `durability`, `receipt_timeout` and `sync_traces` are three keys for one decision.
fn durability(t: &mut Table<'_>, config: &mut Config) -> Result<(), ConfigError> {
    let mut background = None;
    t.set_optional("durability", &mut background, |field| {
        field.choice(&[("receipt", false), ("background", true)])
    })?;
    let mut timeout = None;
    t.set_optional("receipt_timeout", &mut timeout, Field::seconds)?;
    let mut always = false;
    t.set("sync_traces", &mut always, |field| {
        let always = field.flag()?;
        if always && background == Some(true) {
            return Err(field
                .error("true contradicts durability: background, which never waits for the disk"));
        }
        Ok(always)
    })?;
    config.durability = match (always, background) {
        (true, _) => Durability::Always,
        (false, Some(true)) => Durability::Background,
        (false, _) => timeout.map_or(config.durability, |timeout| Durability::Receipt { timeout }),
    };
    Ok(())
}

fn access(t: &mut Table<'_>, config: &mut Config) -> Result<(), ConfigError> {
    for (key, slot) in [
        ("inbound_auth_token", &mut config.inbound_auth_token),
        ("admin_auth_token", &mut config.admin_auth_token),
    ] {
        let mut tokens = None;
        t.set_optional(key, &mut tokens, |field| field.one_or_many(token))?;
        *slot = tokens.unwrap_or_default();
    }
    t.set("open_paths", &mut config.open_paths, |field| {
        field.list(path)
    })?;
    t.set(
        "allow_unauthenticated",
        &mut config.allow_unauthenticated,
        Field::flag,
    )?;
    t.set("trusted_peers", &mut config.trusted_peers, |field| {
        field.list(range)
    })?;
    t.set("allowed_hosts", &mut config.allowed_hosts, |field| {
        field.list(|item| Ok(host(item)?.to_ascii_lowercase()))
    })
}

fn limits(t: &mut Table<'_>, config: &mut Config) -> Result<(), ConfigError> {
    t.set(
        "max_request_bytes",
        &mut config.max_request_bytes,
        |field| field.bytes(1),
    )?;
    for (key, slot) in [
        ("connect_timeout", &mut config.connect_timeout),
        ("read_timeout", &mut config.read_timeout),
        ("request_timeout", &mut config.request_timeout),
        ("header_timeout", &mut config.header_timeout),
        ("idle_timeout", &mut config.idle_timeout),
        ("write_timeout", &mut config.write_timeout),
    ] {
        t.set(key, slot, Field::seconds)?;
    }
    for (key, slot) in [
        ("drain_timeout", &mut config.drain_timeout),
        ("pool_idle_timeout", &mut config.pool_idle_timeout),
        ("pause_timeout", &mut config.pause_timeout),
    ] {
        t.set(key, slot, Field::seconds_from_zero)?;
    }
    t.set("retry", &mut config.retry, retry)?;
    for (key, slot) in [
        ("max_connections", &mut config.max_connections),
        ("max_inflight", &mut config.max_inflight),
    ] {
        t.set(key, slot, |field| Ok(number(field)? as usize))?;
    }
    Ok(())
}

/// What of `retry` is not written keeps its default.
fn retry(field: &Field<'_>) -> Result<Retry, ConfigError> {
    let mut t = field.table()?;
    let mut retry = Config::default().retry;
    t.set("attempts", &mut retry.attempts, number)?;
    t.set(
        "max_backoff",
        &mut retry.max_backoff,
        Field::seconds_from_zero,
    )?;
    t.set("statuses", &mut retry.statuses, |field| {
        field.list(|item| {
            let status = item.whole(400..=599, "a status from 400 to 599")?;
            Ok(u16::try_from(status).expect("the range was checked"))
        })
    })?;
    t.set("unsafe", &mut retry.even_unsafe, Field::flag)?;
    t.finish()?;
    Ok(retry)
}

fn workers(field: &Field<'_>, allow: &[Cidr]) -> Result<Vec<WorkerConfig>, ConfigError> {
    let mut workers: Vec<WorkerConfig> = Vec::new();
    for item in field.items()? {
        let worker = worker(&item, allow)?;
        for (index, earlier) in workers.iter().enumerate() {
            let same_url = worker.url.api_url() == earlier.url.api_url();
            let same_id = worker.worker_id.is_some() && worker.worker_id == earlier.worker_id;
            if same_url || same_id {
                let what = match &worker.worker_id {
                    Some(id) if !same_url => format!("worker_id {id:?}"),
                    _ => format!("url {}", worker.url.url()),
                };
                return Err(item.error(format!("the same {what} as workers[{index}]")));
            }
        }
        workers.push(worker);
    }
    Ok(workers)
}

/// A worker; a bare string is its URL.
fn worker(field: &Field<'_>, allow: &[Cidr]) -> Result<WorkerConfig, ConfigError> {
    let (mut api_path, mut worker_id, mut model_name) = (None, None, None);
    let (mut weight, mut auth) = (1, None);
    let url = if field.is_table() {
        let mut t = field.table()?;
        t.set_optional("api_path", &mut api_path, Field::text)?;
        let url = t.require("url", |field| worker_url(field, api_path.as_deref(), allow))?;
        t.set_optional("worker_id", &mut worker_id, Field::text)?;
        t.set_optional("model_name", &mut model_name, Field::name)?;
        t.set("weight", &mut weight, number)?;
        t.set_optional("auth_header", &mut auth, auth_header)?;
        t.finish()?;
        url
    } else {
        worker_url(field, None, allow)?
    };
    Ok(WorkerConfig {
        url,
        // The reference's default for an unset id is an empty one.
        worker_id: worker_id.filter(|id| !id.is_empty()),
        model_name,
        weight,
        auth_header: auth,
    })
}

fn worker_url(
    field: &Field<'_>,
    api_path: Option<&str>,
    allow: &[Cidr],
) -> Result<WorkerUrl, ConfigError> {
    WorkerUrl::parse(field.text()?.trim(), api_path, allow)
        .map_err(|error| url_error(field, &error))
}

fn url_error(field: &Field<'_>, error: &gateway_route::UrlError) -> ConfigError {
    field.error(format!("not a usable URL: {error}"))
}

fn route(model: &str, field: &Field<'_>) -> Result<RouteConfig, ConfigError> {
    if model.is_empty() {
        return Err(field.error("the model or glob of a route is empty"));
    }
    let mut t = field.table()?;
    let mut route = RouteConfig {
        model: model.to_owned(),
        upstream_url: t.require("upstream_url", url)?,
        auth_header: None,
        drop_params: Vec::new(),
        headers: Vec::new(),
        upstream_model: None,
        inject: false,
        any_path: false,
        connect_timeout: None,
        read_timeout: None,
    };
    t.set_optional("auth_header", &mut route.auth_header, auth_header)?;
    t.set("drop_params", &mut route.drop_params, |field| {
        field.list(Field::name)
    })?;
    t.set("headers", &mut route.headers, |field| {
        field
            .table()?
            .into_entries()
            .iter()
            .map(|(entry, field)| upstream_header(&entry.key, field))
            .collect()
    })?;
    t.set_optional("upstream_model", &mut route.upstream_model, Field::name)?;
    t.set("inject", &mut route.inject, Field::flag)?;
    let mut any_path = None;
    t.set_optional("paths", &mut any_path, |field| field.choice(&[("any", ())]))?;
    route.any_path = any_path.is_some();
    t.set_optional(
        "connect_timeout",
        &mut route.connect_timeout,
        Field::seconds,
    )?;
    t.set_optional("read_timeout", &mut route.read_timeout, Field::seconds)?;
    t.finish()?;
    Ok(route)
}

fn url(field: &Field<'_>) -> Result<BaseUrl, ConfigError> {
    BaseUrl::parse(field.text()?.trim()).map_err(|error| url_error(field, &error))
}

/// `x-api-key VALUE` names that header; everything else is the value of `Authorization`.
fn auth_header(field: &Field<'_>) -> Result<Secret, ConfigError> {
    let secret = field.secret()?;
    let lower = secret.expose().to_ascii_lowercase();
    if lower.starts_with("authorization:") || lower.starts_with("x-api-key:") {
        return Err(
            field.error("write the value alone (Bearer KEY), or `x-api-key KEY` without a colon")
        );
    }
    if lower == "x-api-key" {
        return Err(field.error("x-api-key has no value"));
    }
    secret_value(field, secret.expose())?;
    Ok(secret)
}

/// A header that a route sets. What frames a message is the connection's own affair, and nothing
/// that begins with `x-rllm-` may reach an upstream.
fn upstream_header(
    name: &str,
    field: &Field<'_>,
) -> Result<(HeaderName, HeaderValue), ConfigError> {
    const FRAMING: [HeaderName; 6] = [
        header::CONNECTION,
        header::CONTENT_LENGTH,
        header::TE,
        header::TRAILER,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
    ];
    let name = header_name(field, name)?;
    if FRAMING.contains(&name) || matches!(name.as_str(), "keep-alive" | "proxy-connection") {
        return Err(field.error("this header belongs to the connection and cannot be set"));
    }
    if is_rllm_header(name.as_str()) {
        return Err(field.error("x-rllm-* headers never go to an upstream"));
    }
    let value = secret_value(field, field.text()?.trim())?;
    Ok((name, value))
}

fn header_name(field: &Field<'_>, name: &str) -> Result<HeaderName, ConfigError> {
    name.trim()
        .parse()
        .map_err(|_| field.error("this is not the name of an HTTP header"))
}

fn secret_value(field: &Field<'_>, value: &str) -> Result<HeaderValue, ConfigError> {
    let mut value = HeaderValue::from_str(value)
        .map_err(|_| field.error("holds a character that no HTTP header can carry"))?;
    value.set_sensitive(true);
    Ok(value)
}

fn token(field: &Field<'_>) -> Result<Secret, ConfigError> {
    let secret = field.secret()?;
    Tokens::new([&secret]).map_err(|error| field.error(error.to_string()))?;
    Ok(secret)
}

/// A run that requests can mean alone.
fn run_id(field: &Field<'_>) -> Result<String, ConfigError> {
    match identity(field)? {
        all if all == "*" => Err(field.error("must not be `*`, which means all runs")),
        run_id => Ok(run_id),
    }
}

/// A value that serves as an identity: what a call could carry itself.
fn identity(field: &Field<'_>) -> Result<String, ConfigError> {
    let text = field.name()?.trim().to_owned();
    if text.len() > MAX_VALUE_BYTES {
        return Err(field.error(format!("is longer than {MAX_VALUE_BYTES} bytes")));
    }
    Ok(text)
}

fn path(field: &Field<'_>) -> Result<String, ConfigError> {
    let path = field.name()?;
    if !path.starts_with('/') {
        return Err(field.expected("a path that begins with /"));
    }
    Ok(path)
}

/// An address or name to listen on or to be called by, without port or scheme.
fn host(field: &Field<'_>) -> Result<String, ConfigError> {
    let host = field.name()?;
    let bare = host.trim().trim_start_matches('[').trim_end_matches(']');
    let is_name = bare
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'));
    if is_name || bare.parse::<std::net::Ipv6Addr>().is_ok() {
        Ok(bare.to_owned())
    } else {
        Err(field.expected("an IP address or a host name, without port"))
    }
}

fn range(field: &Field<'_>) -> Result<Cidr, ConfigError> {
    let range: Result<Cidr, gateway_route::CidrError> = field.name()?.trim().parse();
    range.map_err(|error| field.error(error.to_string()))
}

fn number(field: &Field<'_>) -> Result<u32, ConfigError> {
    let number = field.whole(1..=u32::MAX.into(), "a whole number of at least 1")?;
    Ok(u32::try_from(number).expect("the range was checked"))
}
