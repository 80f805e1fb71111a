//! What a reload changes, what waits for a restart, and what changes nothing.

use std::env::VarError;
use std::sync::Mutex as StdMutex;

use gateway_config::{Overrides, load_text};

use super::*;

fn config(yaml: &str) -> Result<Config, ConfigError> {
    let variable = |name: &str| match name {
        "HOME" => Ok("/root".to_owned()),
        "KEY" => Ok("key".to_owned()),
        _ => Err(VarError::NotPresent),
    };
    load_text("g.yaml", yaml, &variable, &Overrides::default())
}

/// A gateway on `before`, and its file, which says anything that is put there.
fn gateway(before: &str) -> (Arc<State>, Arc<StdMutex<String>>, InForce) {
    let address = IpAddr::from([127, 0, 0, 1]);
    let before_config = config(before).unwrap();
    let state = Arc::new(State::new(live::live(&before_config, address), "0"));
    register(&state, &before_config).unwrap();
    let file = Arc::new(StdMutex::new(before.to_owned()));
    let reload = Reload::by({
        let file = Arc::clone(&file);
        move || config(&file.lock().unwrap())
    });
    let in_force = InForce::new(before_config, Arc::clone(&state), address, reload);
    (state, file, in_force)
}

/// Every key of the configuration that is not its default: what changes at once, and what waits.
/// The list of the second ones stands in `docs/operations.md`.
#[tokio::test]
async fn every_key_changes_at_once_or_waits_for_a_restart() {
    let (_, file, in_force) = gateway("");
    *file.lock().unwrap() = include_str!("../../../gateway-config/src/tests/full.yaml").to_owned();
    let reloaded = in_force.read().await.unwrap();
    let waiting = [
        "host",
        "port",
        "store_worker",
        "db_path",
        "journal_bytes",
        "instance_id",
        "log_level",
        "receipt_timeout",
        "run_id",
        "run_metadata",
        "drain_timeout",
        "request_timeout",
        "header_timeout",
        "idle_timeout",
        "write_timeout",
        "pool_idle_timeout",
        "max_connections",
        "queue_bytes",
    ];
    assert_eq!(reloaded.restart_needed, waiting);
    let at_once = [
        "workers",
        "routes",
        "add_logprobs",
        "add_return_token_ids",
        "add_usage",
        "strip_vllm_fields",
        "routing_policy",
        "health_check_interval",
        "health_check_timeout",
        "health_check_failures",
        "health_check_path",
        "sampling_params_priority",
        "model",
        "session_fallback_headers",
        "inbound_auth_token",
        "admin_auth_token",
        "open_paths",
        "max_request_bytes",
        "max_record_bytes",
        "connect_timeout",
        "read_timeout",
        "pause_timeout",
        "retry",
        "max_inflight",
        "allow_unauthenticated",
        "worker_allow",
        "allowed_hosts",
        "trusted_peers",
    ];
    assert_eq!(reloaded.changed, at_once);
    let page = include_str!("../../../../docs/operations.md");
    for key in waiting {
        assert!(page.contains(&format!("`{key}`")), "{key} in operations.md");
    }
    // What waits is told again, what has changed is not.
    let again = in_force.read().await.unwrap();
    assert_eq!(
        (again.changed, again.restart_needed),
        (vec![], waiting.to_vec())
    );
    file.lock().unwrap().clear();
    let back = in_force.read().await.unwrap();
    assert_eq!(
        (back.changed, back.restart_needed),
        (at_once.to_vec(), vec![])
    );
}

#[tokio::test]
async fn what_cannot_be_taken_changes_nothing() {
    let (state, file, in_force) = gateway("workers: [http://a:1]\nmodel: before");
    state
        .workers()
        .add(
            &gateway_state::WorkerSpec {
                worker_id: Some("mine".to_owned()),
                ..gateway_state::WorkerSpec::new("http://b:2")
            },
            &[],
        )
        .unwrap();
    let before = state.workers().list();
    let cases = [
        ("model: after\nworkers: 3", "g.yaml:2: workers: "),
        ("model: after\nroutes: {m: {}}", "g.yaml:2: routes.m"),
        ("model: after\nno_such_key: 1", "g.yaml:2: no_such_key: "),
        ("model: after\nrun_id: ${NOT_SET}", "g.yaml:2: run_id: "),
        ("model: [", "g.yaml"),
        (
            "model: after\nworkers: [http://c:3, {url: 'http://d:4', worker_id: mine}]",
            "workers[1]: `worker_id` is taken",
        ),
    ];
    for (yaml, says) in cases {
        *file.lock().unwrap() = yaml.to_owned();
        let problem = in_force.read().await.unwrap_err();
        assert!(problem.starts_with(says), "{yaml}: {problem}");
        assert_eq!(state.live().model.as_deref(), Some("before"), "{yaml}");
        assert_eq!(state.workers().list(), before, "{yaml}");
    }
    *file.lock().unwrap() = "model: after".to_owned();
    assert_eq!(in_force.read().await.unwrap().changed, ["workers", "model"]);
    assert_eq!(state.live().model.as_deref(), Some("after"));
    assert_eq!(state.workers().list().len(), 1);
}

#[tokio::test]
async fn without_a_file_there_is_nothing_to_read() {
    let address = IpAddr::from([127, 0, 0, 1]);
    let config = Config::default();
    let state = Arc::new(State::new(live::live(&config, address), "0"));
    let reload = Reload::default();
    reload.request();
    let in_force = InForce::new(config, state, address, reload);
    assert_eq!(in_force.read().await.unwrap_err(), NOTHING_TO_READ);
}

#[tokio::test]
async fn a_request_is_followed_even_if_it_came_early() {
    let (state, file, in_force) = gateway("");
    *file.lock().unwrap() = "model: m".to_owned();
    in_force.reload.request();
    tokio::select! {
        () = in_force.follow() => unreachable!("it follows for ever"),
        () = async {
            while state.live().model.is_none() {
                tokio::task::yield_now().await;
            }
        } => {}
    }
}
