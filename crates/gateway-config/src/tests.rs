//! Every key from every layer: what is read, what is refused, what is shown.

use std::env::VarError;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::*;

fn environment(name: &str) -> Result<String, VarError> {
    match name {
        "HOME" => Ok("/home/agent".to_owned()),
        "KEY" => Ok("sk-canary".to_owned()),
        "PORT" => Ok("8123".to_owned()),
        "OFF" => Ok("off".to_owned()),
        "EMPTY" => Ok(String::new()),
        _ => Err(VarError::NotPresent),
    }
}

fn read(yaml: &str) -> Result<Config, ConfigError> {
    load_text("g.yaml", yaml, &environment, &Overrides::default())
}

fn good(yaml: &str) -> Config {
    read(yaml).unwrap_or_else(|error| panic!("{yaml}\n{error}"))
}

#[test]
fn an_empty_file_is_the_defaults() {
    let expected = Config {
        db_path: PathBuf::from("/home/agent/.rllm/gateway.db"),
        ..Config::default()
    };
    assert_eq!(good(""), expected);
    assert_eq!(good("# nothing\n"), expected);
    assert_eq!(good("---\n{}\n"), expected);
    assert_eq!(
        load(None, &environment, &Overrides::default()).unwrap(),
        expected
    );
    assert_eq!(
        journal_dir(&expected.db_path),
        Path::new("/home/agent/.rllm/gateway.db-journal.d")
    );
}

/// Every key at once; what `--check-config` prints of it is the snapshot, and reading that again
/// gives the same, but for the masked secrets.
#[test]
fn every_key_is_read_and_shown() {
    let config = good(include_str!("tests/full.yaml"));
    let shown = config.to_yaml();
    insta::assert_snapshot!("full", shown);
    for secret in ["sk-canary", "agent-canary", "admin-canary", "x-canary"] {
        assert!(!shown.contains(secret), "{secret}");
        assert!(!format!("{config:?}").contains(secret), "{secret}");
        assert!(!format!("{:?}", config.routes).contains(secret), "{secret}");
        assert!(
            !format!("{:?}", config.workers).contains(secret),
            "{secret}"
        );
    }
    assert_eq!(good(&shown).to_yaml(), shown);
}

#[test]
fn the_defaults_shown_are_read_again() {
    let config = good("");
    insta::assert_snapshot!("defaults", config.to_yaml());
    assert_eq!(good(&config.to_yaml()), config);
}

#[test]
fn every_key_that_differs_is_told_the_masked_ones_too() {
    let (defaults, full) = (good(""), good(include_str!("tests/full.yaml")));
    assert_eq!(full.changed_keys(&full), [""; 0]);
    let keys: Vec<_> = crate::show::entries(&full)
        .iter()
        .map(|(key, _)| *key)
        .filter(|key| !["durability", "sync_traces"].contains(key))
        .collect();
    assert_eq!(full.changed_keys(&defaults), keys);
    assert_eq!(defaults.changed_keys(&full), keys);
    let check = |before: &str, after: &str, expected: &[&str]| {
        assert_eq!(good(after).changed_keys(&good(before)), expected, "{after}");
    };
    check(
        "durability: receipt",
        "durability: background",
        &["durability", "receipt_timeout"],
    );
    check("", "sync_traces: true", &["receipt_timeout", "sync_traces"]);
    check(
        "inbound_auth_token: [a, b]",
        "inbound_auth_token: [a, c]",
        &["inbound_auth_token"],
    );
    check(
        "admin_auth_token: a",
        "admin_auth_token: b",
        &["admin_auth_token"],
    );
    check(
        "run_metadata: {token: a}",
        "run_metadata: {token: b}",
        &["run_metadata"],
    );
    let worker = |key: &str| format!("workers: [{{url: 'http://a', auth_header: {key}}}]");
    check(&worker("a"), &worker("b"), &["workers"]);
    let route = |key: &str, header: &str| {
        format!(
            "routes: {{m: {{upstream_url: 'http://a', auth_header: {key}, headers: {{x: {header}}}}}}}"
        )
    };
    check(&route("a", "a"), &route("b", "a"), &["routes"]);
    check(&route("a", "a"), &route("a", "b"), &["routes"]);
    check(&route("a", "a"), &route("a", "a"), &[]);
}

#[test]
fn credentials_of_a_route_are_expanded() {
    let config = good(include_str!("tests/full.yaml"));
    let auth: Vec<_> = config
        .routes
        .iter()
        .filter_map(|route| route.auth_header.as_ref())
        .map(gateway_auth::Secret::expose)
        .collect();
    assert_eq!(auth, ["Bearer sk-canary", "X-Api-Key sk-canary"]);
    let (name, value) = &config.routes[1].headers[0];
    assert_eq!(name, "anthropic-version");
    assert_eq!(value, "2023-06-01");
    assert!(value.is_sensitive());
}

/// Defect 9 of the reference: `${VAR}` was never expanded, the literal text became the token.
#[test]
fn defect_09_references_are_expanded_in_every_string() {
    let config = good(
        "inbound_auth_token: ['${KEY}', 'pre-${KEY}']
port: ${PORT}
add_usage: ${OFF}
read_timeout: '${NONE:-2.5}'
queue_bytes: ${NONE:-3 MiB}
run_id: $${KEY}
run_metadata: {a: ['${KEY}']}
workers: ['http://127.0.0.1:${PORT}']
model: \"${EMPTY:-m}\"
db_path: ~/${NONE:-x}.db
",
    );
    let tokens: Vec<_> = config
        .inbound_auth_token
        .iter()
        .map(gateway_auth::Secret::expose)
        .collect();
    assert_eq!(tokens, ["sk-canary", "pre-sk-canary"]);
    assert_eq!(config.port, 8123);
    assert!(!config.add_usage);
    assert_eq!(config.read_timeout, Duration::from_millis(2500));
    assert_eq!(config.queue_bytes, 3 << 20);
    assert_eq!(config.run_id.as_deref(), Some("${KEY}"));
    assert_eq!(config.run_metadata["a"][0], "sk-canary");
    assert_eq!(
        config.workers[0].url.api_url().to_string(),
        "http://127.0.0.1:8123/v1"
    );
    assert_eq!(config.model.as_deref(), Some("m"));
    assert_eq!(config.db_path, Path::new("/home/agent/x.db"));
}

#[test]
fn later_layers_win() {
    let file =
        "host: 127.0.0.2\nport: 1\nlog_level: error\nmodel: file\nworkers: ['http://file']\n";
    let variables = |name: &str| match name {
        "RLLM_GATEWAY_PORT" => Ok("2".to_owned()),
        "RLLM_GATEWAY_LOG_LEVEL" => Ok("debug".to_owned()),
        "RLLM_GATEWAY_DB_PATH" => Ok("/env-${KEY}.db".to_owned()),
        "RLLM_GATEWAY_INBOUND_TOKEN" => Ok("env-token\n".to_owned()),
        "RLLM_GATEWAY_ADMIN_TOKEN" => Ok("env-admin".to_owned()),
        "RLLM_GATEWAY_STORE" => Ok("memory".to_owned()),
        "RLLM_GATEWAY_ALLOW_UNAUTHENTICATED" => Ok("1".to_owned()),
        // Empty, and of no concern to us.
        "RLLM_GATEWAY_DATABASE_URL" | "RLLM_GATEWAY_HOST" => Ok(String::new()),
        "RLLM_GATEWAY_URL" => Ok("http://elsewhere".to_owned()),
        _ => Err(VarError::NotPresent),
    };
    let flags = Overrides {
        log_level: Some("WARN".to_owned()),
        model: Some("flag".to_owned()),
        workers: vec!["http://a".to_owned(), "http://b:1/api".to_owned()],
        sampling_params_priority: Some("session".to_owned()),
        ..Overrides::default()
    };
    let config = load_text("g.yaml", file, &variables, &flags).unwrap();
    assert_eq!(config.host, "127.0.0.2");
    assert_eq!(config.port, 2);
    assert_eq!(config.log_level, LogLevel::Warning);
    assert_eq!(config.model.as_deref(), Some("flag"));
    assert_eq!(config.db_path, Path::new("/env-${KEY}.db"));
    assert_eq!(config.store, StoreKind::Memory);
    assert_eq!(config.inbound_auth_token[0].expose(), "env-token");
    assert_eq!(config.admin_auth_token[0].expose(), "env-admin");
    assert!(config.allow_unauthenticated);
    assert_eq!(config.sampling_params_priority, SamplingPriority::Session);
    let workers: Vec<_> = config
        .workers
        .iter()
        .map(|worker| {
            (
                worker.url.url().to_string(),
                worker.url.api_path(),
                worker.worker_id.as_deref(),
            )
        })
        .collect();
    assert_eq!(
        workers,
        [
            ("http://a".to_owned(), "/v1", Some("0")),
            ("http://b:1".to_owned(), "/api", Some("1"))
        ]
    );
}

#[test]
fn durability_is_one_decision_of_three_keys() {
    for (yaml, expected) in [
        (
            "",
            Durability::Receipt {
                timeout: Duration::from_secs(5),
            },
        ),
        (
            "receipt_timeout: 0.5",
            Durability::Receipt {
                timeout: Duration::from_millis(500),
            },
        ),
        ("sync_traces: true", Durability::Always),
        ("sync_traces: true\ndurability: receipt", Durability::Always),
        ("durability: background", Durability::Background),
        (
            "durability: background\nsync_traces: false",
            Durability::Background,
        ),
    ] {
        assert_eq!(good(yaml).durability, expected, "{yaml}");
    }
}

#[test]
fn yaml_spellings() {
    for yaml in [
        "add_logprobs: no",
        "add_logprobs: off",
        "add_logprobs: False",
        "add_logprobs: 'false'",
    ] {
        assert!(!good(yaml).add_logprobs, "{yaml}");
    }
    for (yaml, bytes) in [
        ("max_request_bytes: 1000", 1000),
        ("max_request_bytes: 1e6", 1_000_000),
        ("max_request_bytes: 2 KiB", 2048),
        ("max_request_bytes: '2MB'", 2_000_000),
    ] {
        assert_eq!(good(yaml).max_request_bytes, bytes, "{yaml}");
    }
    assert_eq!(good("host: '[::1]'").host, "::1");
    assert_eq!(
        good("routing_policy: null").routing_policy,
        gateway_route::Policy::Sticky
    );
    assert!(
        good("session_fallback_headers: []")
            .session_fallback_headers
            .is_empty()
    );
    assert!(good("inbound_auth_token: []").inbound_auth_token.is_empty());
    let retry = Retry {
        attempts: 3,
        ..Config::default().retry
    };
    assert_eq!(good("retry: {attempts: 3}").retry, retry);
    // An anchor and a merge, as people write them for many routes of one provider.
    let config = good(
        "routes:
  a: &openai {upstream_url: 'https://h/v1', drop_params: [seed]}
  b: {<<: *openai, inject: true}
",
    );
    assert_eq!(config.routes[1].drop_params, ["seed"]);
    assert!(config.routes[1].inject);
}

/// What newer Python versions write into a file and does not ask for anything is taken.
#[test]
fn keys_of_newer_python_versions_may_be_off() {
    good("cumulative_token_mode: false\nrenderer_family: auto\nrenderer_name: null\n");
    assert!(is_python_only("--cumulative-token-mode"));
    assert!(is_python_only("--renderer-family"));
    assert!(!is_python_only("--model"));
}

#[test]
fn warnings_at_the_start() {
    for (yaml, expected) in [
        ("", 0),
        ("host: 0.0.0.0", 1),
        ("host: '::1'", 0),
        ("host: localhost\ninbound_auth_token: a", 1),
        (
            "host: 0.0.0.0\ninbound_auth_token: a\nadmin_auth_token: b",
            0,
        ),
        ("host: 0.0.0.0\nallow_unauthenticated: true", 1),
    ] {
        let warnings = good(yaml).warnings();
        assert_eq!(warnings.len(), expected, "{yaml}: {warnings:?}");
    }
}

/// One line for each mistake that a file can hold.
#[test]
fn mistakes_in_a_file() {
    let mut lines = String::new();
    for case in include_str!("tests/mistakes.txt").split("\n---\n") {
        let error = read(case).expect_err(case).to_string();
        assert!(!error.contains('\n'), "{error}");
        assert!(!error.contains("canary"), "{error}");
        writeln!(lines, "{case}\n>>> {error}\n").unwrap();
    }
    insta::assert_snapshot!("mistakes", lines);
}

#[test]
fn mistakes_in_environment_and_flags() {
    let mut lines = String::new();
    for (name, value) in [
        ("RLLM_GATEWAY_PORT", "http"),
        ("RLLM_GATEWAY_HOST", "a b"),
        ("RLLM_GATEWAY_STORE", "postgres"),
        ("RLLM_GATEWAY_DATABASE_URL", "postgres://u:canary@h/db"),
        ("RLLM_GATEWAY_INBOUND_TOKEN", ""),
        ("RLLM_GATEWAY_ADMIN_TOKEN", "canary\u{7}canary"),
        ("RLLM_GATEWAY_ALLOW_UNAUTHENTICATED", "maybe"),
    ] {
        let variables = |asked: &str| {
            if asked == name {
                Ok(value.to_owned())
            } else {
                environment(asked)
            }
        };
        let error = load(None, &variables, &Overrides::default()).unwrap_err();
        writeln!(lines, "{error}").unwrap();
    }
    let flags = |set: &dyn Fn(&mut Overrides)| {
        let mut flags = Overrides::default();
        set(&mut flags);
        load(None, &environment, &flags).unwrap_err().to_string()
    };
    for error in [
        flags(&|flags| flags.host = Some("http://h".to_owned())),
        flags(&|flags| flags.workers = vec!["http://a".to_owned(), "a".to_owned()]),
        flags(&|flags| flags.workers = vec!["http://a/v1".to_owned(), "http://A:80".to_owned()]),
        flags(&|flags| flags.store = Some("postgres".to_owned())),
        flags(&|flags| flags.database_url = Some("postgres://u:canary@h/db".to_owned())),
        flags(&|flags| flags.log_level = Some("loud".to_owned())),
        flags(&|flags| flags.sampling_params_priority = Some("agent".to_owned())),
    ] {
        writeln!(lines, "{error}").unwrap();
    }
    let homeless = load(None, &|_| Err(VarError::NotPresent), &Overrides::default());
    writeln!(lines, "{}", homeless.unwrap_err()).unwrap();
    assert!(!lines.contains("canary"), "{lines}");
    insta::assert_snapshot!("mistakes_outside", lines);
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing.yaml");
    let error = load(Some(&missing), &environment, &Overrides::default()).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with(&format!("{}: cannot read this file: ", missing.display())),
        "{error}"
    );
    let latin = folder.path().join("latin.yaml");
    std::fs::write(&latin, b"model: caf\xe9\n").unwrap();
    let error = load(Some(&latin), &environment, &Overrides::default()).unwrap_err();
    assert!(error.to_string().ends_with("the file is not valid UTF-8"));
}

/// The keys of the contract: each is read, or refused as not built; none is unknown.
#[test]
fn every_key_of_the_contract_is_known_and_documented() {
    let page = page();
    let keys = "host port workers routes store_worker db_path journal_bytes instance_id \
        database_url add_logprobs add_return_token_ids add_usage strip_vllm_fields routing_policy \
        health_check_interval health_check_timeout health_check_failures health_check_path \
        log_level durability receipt_timeout sync_traces sampling_params_priority model run_id \
        run_metadata session_fallback_headers inbound_auth_token admin_auth_token open_paths \
        session_key_secret max_request_bytes max_record_bytes connect_timeout read_timeout \
        drain_timeout request_timeout header_timeout idle_timeout write_timeout pool_idle_timeout \
        pause_timeout heartbeat_interval max_connections max_inflight max_inflight_bytes retry \
        allow_unauthenticated worker_allow allowed_hosts trusted_peers tls_cert tls_key \
        tls_client_ca upstream_ca queue_bytes retention capture_raw";
    let keys: Vec<_> = keys.split_whitespace().collect();
    for key in &keys {
        // No key takes this, so that each says what it is instead.
        let error = read(&format!("# 1\n{key}: [[{{}}]]")).unwrap_err();
        assert_eq!(error.key().split(['[', '.']).next(), Some(*key));
        let text = error.to_string();
        assert!(text.starts_with(&format!("g.yaml:2: {key}")), "{text}");
        assert!(!text.contains("unknown key"), "{text}");
        let not_built = keys::NOT_BUILT.iter().any(|each| each.name == *key);
        assert_eq!(text.contains("is not built yet"), not_built, "{text}");
        assert!(page.contains(&format!("\n| `{key}` | ")), "{key}");
    }
    // And the table has no others, but what is shown.
    let documented = keys::GROUPS.iter().flat_map(|(_, keys)| *keys);
    let documented: Vec<_> = documented.chain(&keys::NOT_BUILT).collect();
    assert_eq!(documented.len(), keys.len());
    let shown = show::entries(&Config::default());
    assert_eq!(documented.len() - keys::NOT_BUILT.len(), shown.len());
}

#[test]
fn the_page_is_up_to_date() {
    assert!(
        include_str!("../../../docs/configuration.md") == page(),
        "docs/configuration.md is stale: write it anew with `cargo xtask docs`"
    );
}

#[test]
fn what_is_shown_of_a_gateway_that_always_waits_is_read_again() {
    let config = good("sync_traces: true");
    assert_eq!(good(&config.to_yaml()), config);
}

/// Every flag and variable is laid over the file, and its errors name it.
#[test]
fn a_flag_or_variable_that_is_wrong_is_named() {
    for (name, key) in layers::VARIABLES {
        let variables = |asked: &str| match asked {
            asked if asked == name => Ok("a\u{1}b".to_owned()),
            _ => environment(asked),
        };
        let error = load_text("g.yaml", "", &variables, &Overrides::default()).unwrap_err();
        assert_eq!(
            (error.origin(), error.key()),
            (&Origin::Variable(name), key)
        );
        assert!(!error.to_string().contains("a\u{1}b"));
    }
}
