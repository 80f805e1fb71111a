//! No secret is shown anywhere: marked ones stand wherever a secret may, and nothing that the
//! gateway writes or says holds a mark.

use std::fs;
use std::path::{Path, PathBuf};

use gateway_tests::{Client, Reply, Setup, Upstream, within};
use serde_json::{Value, json};

use crate::{say, say_streamed};

/// In every secret, and in nothing else.
const MARK: &str = "c4n4ry";

/// A mark as a part of what is encoded for HTTP's basic scheme, whatever stands before it.
const ENCODED: [&str; 3] = ["YzRuNHJ5", "M0bjRye", "jNG40cn"];

const AGENT: &str = "c4n4ry-agent";
const ADMIN: &str = "c4n4ry-admin";

/// Panics if something shows a secret.
#[track_caller]
fn clean(what: &str, shown: impl AsRef<[u8]>) {
    let shown = shown.as_ref();
    for mark in [MARK].iter().chain(&ENCODED) {
        let at = shown
            .windows(mark.len())
            .position(|window| window.eq_ignore_ascii_case(mark.as_bytes()));
        if let Some(at) = at {
            let around = &shown[at.saturating_sub(200)..(at + 100).min(shown.len())];
            panic!("{what} shows {mark}: {}", String::from_utf8_lossy(around));
        }
    }
}

#[track_caller]
fn clean_reply(what: &str, reply: &Reply) {
    clean(what, &reply.body);
    for (name, value) in reply.headers() {
        clean(what, format!("{name}: {value}"));
    }
}

/// All files below a folder, but for the configuration, where the secrets stand.
fn files(folder: &Path, setup: &Setup) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            all.extend(files(&path, setup));
        } else if path != setup.config() {
            all.push(path);
        }
    }
    all
}

fn clean_files(setup: &Setup) {
    let database = setup.database();
    let all = files(database.parent().expect("a folder"), setup);
    assert!(all.contains(&database), "{all:?}");
    let journal = |path: &PathBuf| path.to_string_lossy().contains("-journal.d/");
    assert!(all.iter().any(journal), "{all:?}");
    for file in all {
        clean(
            &file.display().to_string(),
            fs::read(&file).expect("a file"),
        );
    }
}

/// A gateway with a marked secret in every place that takes one, as chatty as can be.
fn full_of_secrets(upstream: &Upstream) -> Setup {
    let url = upstream.url();
    Setup::new()
        .variable("RLLM_GATEWAY_INBOUND_TOKEN", AGENT)
        .variable("RLLM_GATEWAY_ADMIN_TOKEN", "")
        .variable("RLLM_GATEWAY_SOMETHING", "c4n4ry-unrelated")
        .variable("PROVIDER_KEY", "c4n4ry-provider")
        .variable("HEADER_KEY", "c4n4ry-header")
        .yaml(&format!(
            "
log_level: TRACE
retry: {{max_backoff: 0}}
health_check_interval: 0.05
inbound_auth_token: c4n4ry-overlaid
admin_auth_token: ['c4n4ry-old', '{ADMIN}']
workers:
  - {{url: '{url}', worker_id: w, auth_header: 'Bearer c4n4ry-worker'}}
  - {{url: 'http://127.0.0.1:1', worker_id: gone, model_name: gone, auth_header: 'x-api-key c4n4ry-gone'}}
routes:
  far:
    upstream_url: {url}/v1
    auth_header: Bearer ${{PROVIDER_KEY}}
    headers: {{x-org: '${{HEADER_KEY}}', cookie: c4n4ry-cookie}}
  closed: {{upstream_url: 'http://127.0.0.1:1/v1', auth_header: 'x-api-key ${{PROVIDER_KEY}}'}}
"
        ))
}

fn model(model: &str) -> String {
    let messages = json!([{"role": "user", "content": "hi"}]);
    json!({"model": model, "messages": messages}).to_string()
}

#[tokio::test]
async fn no_secret_is_shown_while_serving() {
    let upstream = Upstream::vllm();
    let setup = full_of_secrets(&upstream);
    // An empty token of the environment would be an error; the file's is used.
    let mut gateway = {
        let failed = setup.fail();
        assert_eq!(failed.code, Some(2), "{failed:?}");
        clean(
            "an empty token",
            format!("{}{}", failed.stdout, failed.stderr),
        );
        setup.variable("RLLM_GATEWAY_ADMIN_TOKEN", ADMIN).start()
    };
    let agent = format!("authorization: Bearer {AGENT}");
    let admin = format!("authorization: Bearer {ADMIN}");
    let chat = "POST /v1/chat/completions";
    let session = "x-rllm-session-id: s";
    let cookie = "cookie: key=c4n4ry-cookie";

    // Good calls and bad ones, with every way to bring a token.
    let basic = "authorization: Basic OmM0bjRyeS1hZ2VudA==";
    let key = format!("x-api-key: {AGENT}");
    for (credential, body, status) in [
        (agent.as_str(), say("hi"), 200),
        (agent.as_str(), say_streamed("hi"), 200),
        (basic, say("hi"), 200),
        (&key, say("hi"), 200),
        (&admin, say("hi"), 200),
        (&agent, model("far"), 200),
        (&agent, model("status-400"), 400),
        (&agent, model("status-503"), 503),
        (&agent, model("closed"), 502),
        (&agent, model("gone"), 502),
        (&agent, "{".to_owned(), 400),
        ("authorization: Bearer c4n4ry-wrong", say("hi"), 401),
        ("authorization: Basic OmM0bjRyeS13cm9uZw==", say("hi"), 401),
        ("x-api-key: c4n4ry-wrong", say("hi"), 401),
        ("authorization: c4n4ry-nothing", say("hi"), 401),
        ("x-other: c4n4ry-other", say("hi"), 401),
    ] {
        let reply = gateway
            .call(chat, &[credential, session, cookie], body)
            .await;
        // A worker whose health check has failed meanwhile is a 503.
        let away = status == 502 && reply.status == 503;
        assert!(
            reply.status == status || away,
            "{credential} {}",
            reply.text()
        );
        clean_reply(credential, &reply);
    }
    let two = [&*agent, "authorization: Bearer c4n4ry-second", session];
    clean_reply(
        "two lines",
        &gateway.call(chat, &two, say("hi")).await.expect(400),
    );
    // The gateway did send the upstreams' secrets, or this test would prove nothing.
    let sent = upstream.received();
    let sent: Vec<_> = sent
        .iter()
        .map(|each| String::from_utf8_lossy(each.raw_head()).into_owned())
        .collect();
    for secret in ["c4n4ry-worker", "c4n4ry-provider", "c4n4ry-header"] {
        assert!(
            sent.iter().any(|head| head.contains(secret)),
            "{secret} was not sent"
        );
    }
    for own in [AGENT, ADMIN] {
        assert!(
            !sent.iter().any(|head| head.contains(own)),
            "{own} went upstream"
        );
    }
    // A client that leaves, and bytes that are no HTTP.
    let mut leaving = Client::connect(gateway.address()).await;
    leaving
        .request(chat, &[&agent, session], say_streamed("hi"))
        .await;
    drop(leaving);
    for garbage in [
        "GET / HTTP/1.1\r\nauthorization : Bearer c4n4ry-space\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\nauthorization: Bearer c4n4ry-hosts\r\n\r\n",
        "c4n4ry-garbage\r\n\r\n",
    ] {
        let mut client = Client::connect(gateway.address()).await;
        client.send(garbage).await;
        if let Some(reply) = client.try_reply().await {
            clean_reply("garbage", &reply);
        }
    }

    // The management plane, from both sides of its door.
    let workers = json!([
        {"url": "http://u:c4n4ry-password@127.0.0.1:1"},
        {"url": "http://127.0.0.1:1/other", "auth_header": "Bearer c4n4ry-added"},
        {"url": "http://127.0.0.1:1/bad", "auth_header": "Bearer c4n4ry\nbad"},
        {"url": "http://127.0.0.1:1/bad", "auth_header": ["c4n4ry"]},
    ]);
    for worker in workers.as_array().expect("a list") {
        let line = "POST /admin/workers";
        let reply = gateway.call(line, &[&admin], worker.to_string()).await;
        clean_reply("a registration", &reply);
    }
    for path in [
        "/",
        "/health",
        "/ready",
        "/health/workers",
        "/admin/workers",
        "/metrics",
        "/sessions",
        "/sessions/s",
        "/sessions/s/traces?outcome=all&span_type=all",
        "/sessions/s/report",
        "/traces?outcome=all&span_type=all",
        "/traces/facets",
        "/runs",
        "/openapi.json",
        "/v1/models?key=c4n4ry-query",
        "/sessions?limit=c&token=c4n4ry-query",
    ] {
        let line = format!("GET {path}");
        for credential in [&*admin, &agent, "authorization: Bearer c4n4ry-wrong"] {
            let reply = gateway.call(&line, &[credential], "").await;
            clean_reply(path, &reply);
        }
    }
    let reload = gateway.call("POST /admin/reload", &[&admin], "").await;
    clean_reply("a reload", &reload);
    let traces = gateway
        .call("GET /traces?outcome=all&span_type=all", &[&admin], "")
        .await;
    let traces = traces.expect(200).json()["traces"].as_array().map(Vec::len);
    assert!(traces >= Some(10), "{traces:?}");

    gateway.signal("TERM");
    within("the end", gateway.ended()).await;
    clean("stdout", gateway.printed());
    let log = gateway.log();
    assert!(
        log.contains("DEBUG") && log.contains("unauthorized"),
        "{log}"
    );
    clean("stderr", log);
    clean_files(gateway.setup());
}

/// Where no token is configured, a client's own key goes on to the worker, and nowhere else.
#[tokio::test]
async fn no_key_of_a_client_is_kept() {
    let upstream = Upstream::vllm();
    let mut gateway = Setup::new()
        .worker(&upstream)
        .yaml("log_level: TRACE")
        .argument("--log-format=json")
        .start();
    for (index, credential) in [
        "authorization: Bearer c4n4ry-own",
        "x-api-key: c4n4ry-own",
        "api-key: c4n4ry-own",
        "x-goog-api-key: c4n4ry-own",
        "cookie: c4n4ry=own",
        "proxy-authorization: Basic OmM0bjRyeQ==",
    ]
    .into_iter()
    .enumerate()
    {
        let session = format!("x-rllm-session-id: s{index}");
        let line = "POST /v1/chat/completions?key=c4n4ry-query";
        let reply = gateway.call(line, &[credential, &session], say("hi")).await;
        clean_reply(credential, &reply.expect(200));
        let traces = gateway.traces(&format!("s{index}")).await;
        assert_eq!(traces.len(), 1);
        clean("a trace", Value::Array(traces).to_string());
    }
    gateway.signal("TERM");
    within("the end", gateway.ended()).await;
    clean("stdout", gateway.printed());
    clean("stderr", gateway.log());
    clean_files(gateway.setup());
}

/// What is wrong is named without what is secret, on both ways to hear of it.
#[test]
fn no_secret_is_shown_by_a_check_or_a_failed_start() {
    let upstream = Upstream::vllm();
    let good = full_of_secrets(&upstream)
        .variable("RLLM_GATEWAY_ADMIN_TOKEN", ADMIN)
        .argument("--check-config")
        .fail();
    assert_eq!(good.code, Some(0), "{good:?}");
    assert!(good.stdout.contains("***"), "{good:?}");
    clean("a check", format!("{}{}", good.stdout, good.stderr));

    let files = [
        "inbound_auth_token: {a: c4n4ry}",
        "inbound_auth_token: [c4n4ry, [c4n4ry]]",
        "inbound_auth_token: \"c4n4ry\\u0001\"",
        "admin_auth_token: \"c4n4ry\\n-\"",
        "inbound_auth_token: 'c4n4ry'\nadmin_auth_token: ${UNSET}",
        "session_key_secret: c4n4ry",
        "database_url: postgres://u:c4n4ry@h/db",
        "workers: ['http://u:c4n4ry@h']",
        "workers: [{url: 'http://h', auth_header: \"c4n4ry\\u0007\"}]",
        "workers: [{url: 'http://h', auth_header: [c4n4ry]}]",
        "workers: [{url: 'http://h', auth_header: 'authorization: c4n4ry'}]",
        "workers: [{url: 'http://u:c4n4ry@h:port'}]",
        "workers: [{url: 'http://h', weight: 0, auth_header: c4n4ry}]",
        "routes: {m: {upstream_url: 'https://u:c4n4ry@h/v1'}}",
        "routes: {m: {upstream_url: 'https://h/v1?key=c4n4ry'}}",
        "routes: {m: {upstream_url: h, auth_header: c4n4ry}}",
        "routes: {m: {upstream_url: 'https://h', auth_header: {a: c4n4ry}}}",
        "routes: {m: {upstream_url: 'https://h', headers: {x-a: \"c4n4ry\\u0001\"}}}",
        "routes: {m: {upstream_url: 'https://h', headers: {x-a: [c4n4ry]}}}",
        "routes: {m: {upstream_url: 'https://h', headers: {x-a: c4n4ry, 'x b': c4n4ry}}}",
        "routes: {m: {upstream_url: 'https://h', headers: {transfer-encoding: c4n4ry}}}",
        "inbound_auth_token: c4n4ry\n  admin_auth_token: c4n4ry: [",
        "inbound_auth_token: !!binary c4n4ry",
        "inbound_auth_token: 'c4n4ry\nport: 1",
        "inbound_auth_token: c4n4ry\nno_such_key: 1",
    ];
    let setups = files
        .map(|yaml| Setup::new().yaml(yaml))
        .into_iter()
        .chain([
            Setup::new().variable("RLLM_GATEWAY_INBOUND_TOKEN", "c4n4ry\u{1}"),
            Setup::new().variable("RLLM_GATEWAY_DATABASE_URL", "postgres://u:c4n4ry@h/db"),
            Setup::new()
                .variable("KEY", "c4n4ry\u{7}")
                .yaml("admin_auth_token: ${KEY}"),
            Setup::new()
                .variable("KEY", "u:c4n4ry")
                .yaml("workers: ['http://${KEY}@h']"),
            Setup::new().argument("--database-url=postgres://u:c4n4ry@h/db"),
            Setup::new().argument("--worker=http://u:c4n4ry@h"),
            Setup::new().argument("--inbound-token=c4n4ry"),
        ]);
    for (index, setup) in setups.enumerate() {
        for setup in [setup.clone(), setup.argument("--check-config")] {
            let failed = setup.fail();
            assert_eq!(failed.code, Some(2), "{index}: {failed:?}");
            assert_eq!(
                failed.stderr.trim_end().lines().count(),
                1,
                "{index}: {failed:?}"
            );
            let shown = format!("{}{}", failed.stdout, failed.stderr);
            clean(&format!("setup {index}"), shown);
        }
    }
}

#[test]
fn the_search_finds_a_mark_in_any_form() {
    for shown in [
        "Bearer c4n4ry",
        "C4N4RY",
        "OmM0bjRyeS1hZ2VudA==",
        "YzRuNHJ5LWE=",
        "dTpjNG40cnk=",
    ] {
        let found = std::panic::catch_unwind(|| clean("this", shown));
        assert!(found.is_err(), "{shown}");
    }
    clean("this", "nothing");
}
