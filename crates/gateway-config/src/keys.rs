//! Every key with its meaning: the table that `docs/configuration.md` is made from.

use std::fmt::Write;

use serde_json::Value;

use crate::layers::{FLAGS, VARIABLES, WORKER_FLAG};
use crate::read::PYTHON_ONLY;
use crate::{Config, show};

/// The prose of the page. A line `{{keys: …}}` stands for a table, `{{python}}` for a list.
const PROSE: &str = include_str!("keys/page.md");

/// A key.
pub(crate) struct Key {
    pub(crate) name: &'static str,
    /// Its default in words, where no [`Config`] says it.
    default: Option<&'static str>,
    meaning: &'static str,
}

/// A key whose default is that of [`Config`].
const fn key(name: &'static str, meaning: &'static str) -> Key {
    Key {
        name,
        default: None,
        meaning,
    }
}

/// A key with its default in words.
const fn with(name: &'static str, default: &'static str, meaning: &'static str) -> Key {
    Key {
        name,
        default: Some(default),
        meaning,
    }
}

/// The tables of keys at the root, by their names on the page.
#[rustfmt::skip]
pub(crate) const GROUPS: [(&str, &[Key]); 6] = [
    ("listening", &[
        key("host", "The address or name to listen on."),
        key("port", "The port; 0 takes a free one."),
        key("max_connections", "The most connections served at once; more wait to be accepted."),
        key("header_timeout", "Seconds that the head of a request may take, from its first byte."),
        key("idle_timeout", "Seconds that a kept-alive connection may idle."),
        key("write_timeout", "Seconds that a client may take to read the next byte."),
        key("drain_timeout", "Seconds that calls in flight may go on after SIGTERM."),
        key("pause_timeout", "Seconds that a call waits while the gateway is paused; then it is a 503 `paused`."),
        key("log_level", "The least severe log lines shown: `DEBUG`, `INFO`, `WARNING`, `ERROR`."),
    ]),
    ("access", &[
        key("inbound_auth_token", "The token of agents, or a list of them. Unset: whoever may reach the gateway is served, by the rules of `allow_unauthenticated`."),
        key("admin_auth_token", "The token of the management plane, or a list of them. Unset: an inbound token opens it."),
        key("open_paths", "Exact paths that need no token."),
        key("allow_unauthenticated", "Without an inbound token: also serve public addresses, and requests that came through a tunnel."),
        key("trusted_peers", "Addresses or CIDR ranges that are served without a token, and may forward for others."),
        key("allowed_hosts", "Further names by which a gateway on loopback without a token may be addressed."),
        key("worker_allow", "CIDR ranges of link-local and metadata addresses that may be workers all the same."),
    ]),
    ("upstreams", &[
        key("workers", "The inference workers: a list of URLs, or of tables, see below. `--worker` may repeat and takes the place of the list."),
        key("routes", "Providers by the model, or the glob of models, that they serve: tables, see below."),
        key("model", "Send every call with this model."),
        key("routing_policy", "How a worker is chosen: `sticky`, `least_loaded`, `round_robin`."),
        key("health_check_interval", "Seconds between two checks of a worker."),
        key("health_check_timeout", "Seconds that a check may take."),
        key("health_check_failures", "So many checks must fail in a row before a worker is left out."),
        key("health_check_path", "What is asked, below the worker's `url`."),
        key("connect_timeout", "Seconds that connecting to an upstream may take, TLS included."),
        key("read_timeout", "Seconds between two bytes from an upstream."),
        key("pool_idle_timeout", "Seconds that a connection to an upstream is kept for the next call."),
        key("retry", "What is sent again: a table, see below."),
    ]),
    ("capture", &[
        key("add_logprobs", "Ask workers for log probabilities."),
        key("add_return_token_ids", "Ask workers for token ids."),
        key("add_usage", "Ask workers for the usage of a stream."),
        key("strip_vllm_fields", "Take out of workers' replies what only vLLM sends and the client did not ask for."),
        key("sampling_params_priority", "Who wins where client and session both set a sampling parameter: `client`, `session`."),
        key("run_id", "The run of calls that name none; registered at the start. Not `*`."),
        key("run_metadata", "What is noted of that run."),
        key("session_fallback_headers", "The clients' own session headers, in the order in which they are tried; `[]` switches them off."),
        key("max_record_bytes", "How much of a reply is recorded."),
    ]),
    ("storage", &[
        key("store_worker", "Where traces are kept: `sqlite`, `memory`."),
        key("db_path", "The database file, made with its folder; the journal lies beside it, in the folder `<db_path>-journal.d`."),
        key("journal_bytes", "How far the store may lag behind before calls wait; at least 8 MiB."),
        key("queue_bytes", "Records that may wait in memory for the journal."),
        with("instance_id", "random, kept with the journal", "The name of this gateway in its traces."),
        key("durability", "`receipt`: the end of a reply waits until its record is on disk. `background`: it never waits."),
        key("receipt_timeout", "Seconds after which a reply ends without its receipt."),
        key("sync_traces", "`true`: it waits as long as it takes, and else is cut off."),
    ]),
    ("limits", &[
        key("max_request_bytes", "The largest body of a request, decoded; more is 413."),
        key("max_inflight", "The most calls in flight; more are 429."),
        key("request_timeout", "Seconds between two bytes of a request's body, and of waiting for room in the journal."),
    ]),
];

/// The tables below a key.
#[rustfmt::skip]
const NESTED: [(&str, &[Key]); 3] = [
    ("workers", &[
        with("url", "", "`http(s)://host[:port][/path]`; required."),
        with("api_path", "the URL's path, else `/v1`", "Where calls go below it."),
        with("worker_id", "made from the URL", "The id by which it is managed. Of `--worker` it is the position: `0`, `1`, …"),
        with("model_name", "any", "The model that it serves."),
        with("weight", "`1`", "Its share of the load."),
        with("auth_header", "none", "The credential sent to it in place of the client's: the value of `Authorization`, or `x-api-key VALUE`."),
    ]),
    ("routes", &[
        with("upstream_url", "", "The base URL, to which is appended what stands after `/v1` in a call's path; required."),
        with("auth_header", "none", "As for workers."),
        with("drop_params", "`[]`", "Top-level members that are removed from the body."),
        with("headers", "`{}`", "Headers that are set last. Their values are secrets."),
        with("upstream_model", "the client's", "The model that is sent instead."),
        with("inject", "`false`", "Ask for log probabilities, token ids and usage, and strip replies, as for workers."),
        with("paths", "those of models", "`any` opens every path."),
        with("connect_timeout", "the general one", "Seconds."),
        with("read_timeout", "the general one", "Seconds."),
    ]),
    ("retry", &[
        with("attempts", "`2`", "How often a call is sent at most, the first time included."),
        with("max_backoff", "`60`", "The longest wait before an attempt, in seconds; an upstream that asks for more is passed on."),
        with("statuses", "`[408, 429, 503, 529]`", "Replies to what was surely not processed."),
        with("unsafe", "`false`", "Also send again what may have been processed."),
    ]),
];

/// Keys of the contract that this version cannot honour yet.
#[rustfmt::skip]
pub(crate) const NOT_BUILT: [Key; 10] = [
    key("database_url", "The database of `store_worker: postgres`, which is not there yet either."),
    key("heartbeat_interval", "Comments on silent streams, for tunnels that cut idle connections."),
    key("max_inflight_bytes", "The most bytes of calls in flight."),
    key("session_key_secret", "What signs the keys of sessions."),
    key("tls_cert", "The certificate to listen with."),
    key("tls_key", "Its key."),
    key("tls_client_ca", "Who may have issued the certificates of clients."),
    key("upstream_ca", "Who may have issued the certificates of upstreams, beside the public ones."),
    key("retention", "When traces are deleted; until then they never are, unasked."),
    key("capture_raw", "Whether `raw_request` and `raw_response` are shown; they always are."),
];

/// Every key, its default and its meaning, as a page in Markdown: `docs/configuration.md`.
#[must_use]
pub fn page() -> String {
    let mut page = String::new();
    for line in PROSE.lines() {
        let table = line
            .strip_prefix("{{keys: ")
            .and_then(|line| line.strip_suffix("}}"));
        match table {
            Some("not built") => plain_table(&mut page, &NOT_BUILT),
            Some(name) => match GROUPS.iter().find(|(group, _)| *group == name) {
                Some((_, keys)) => root_table(&mut page, keys),
                None => nested_table(&mut page, name),
            },
            None if line == "{{python}}" => {
                let keys = PYTHON_ONLY.map(|key| format!("`{key}`"));
                page.push_str(&keys.join(", "));
                page.push_str(".\n");
            }
            None => {
                page.push_str(line);
                page.push('\n');
            }
        }
    }
    page
}

// Writing to a string cannot fail.
fn root_table(page: &mut String, keys: &[Key]) {
    let defaults = show::entries(&Config::default());
    page.push_str("| key | default | meaning | flag, variable |\n| --- | --- | --- | --- |\n");
    for Key {
        name,
        default,
        meaning,
    } in keys
    {
        let default = default.map_or_else(
            || {
                let (_, value) = defaults
                    .iter()
                    .find(|(key, _)| key == name)
                    .expect("a key of the table is shown");
                words(name, value)
            },
            str::to_owned,
        );
        let others = other_ways(name);
        let _ = writeln!(page, "| `{name}` | {default} | {meaning} | {others} |");
    }
}

fn nested_table(page: &mut String, name: &str) {
    let found = NESTED.iter().find(|(table, _)| *table == name);
    let (_, keys) = found.expect("the page names tables that are there");
    page.push_str("| key | default | meaning |\n| --- | --- | --- |\n");
    for key in *keys {
        let default = key.default.unwrap_or_default();
        let _ = writeln!(page, "| `{}` | {default} | {} |", key.name, key.meaning);
    }
}

fn plain_table(page: &mut String, keys: &[Key]) {
    page.push_str("| key | meaning |\n| --- | --- |\n");
    for key in keys {
        let _ = writeln!(page, "| `{}` | {} |", key.name, key.meaning);
    }
}

/// The flag and the variable that set a key.
fn other_ways(key: &str) -> String {
    let flags = FLAGS.iter().map(|(flag, key, _)| (*flag, *key));
    let all = flags.chain([(WORKER_FLAG, "workers")]).chain(VARIABLES);
    let ways: Vec<_> = all
        .filter(|(_, of)| *of == key)
        .map(|(way, _)| format!("`{way}`"))
        .collect();
    ways.join(", ")
}

/// A default as it would be written.
fn words(key: &str, value: &Value) -> String {
    match value {
        Value::Null => "none".to_owned(),
        Value::Array(items) if items.is_empty() && key.ends_with("_token") => "none".to_owned(),
        Value::Object(_) if key == "retry" => "see below".to_owned(),
        Value::Number(bytes) if key.ends_with("_bytes") => {
            let mib = bytes.as_u64().unwrap_or_default() >> 20;
            match mib % 1024 {
                0 => format!("`{} GiB`", mib >> 10),
                _ => format!("`{mib} MiB`"),
            }
        }
        Value::String(text) => format!("`{text}`"),
        Value::Array(items) => {
            let items: Vec<_> = items
                .iter()
                .map(|item| {
                    item.as_str()
                        .map_or_else(|| item.to_string(), str::to_owned)
                })
                .collect();
            format!("`[{}]`", items.join(", "))
        }
        value => format!("`{value}`"),
    }
}
