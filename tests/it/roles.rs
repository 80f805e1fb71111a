//! Two roles: who may ask what, in every configuration and with every form of a credential.

use std::collections::BTreeSet;

use gateway_tests::{Client, Reply, Setup, Upstream};

/// Who a request is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum For {
    /// Agents and admins.
    Everyone,
    /// Admins, where there are any.
    Admins,
}
use For::{Admins, Everyone};

/// The status of a request that is let in.
type Status = u16;

/// Not told here: whatever it is, it is no refusal.
const ANY: Status = 0;

/// Every request of the management plane by the path of the document; ids are `none`.
const MANAGEMENT: [(&str, &str, For, &str, Status); 29] = [
    ("GET", "/", Everyone, "", 200),
    ("GET", "/health", Everyone, "", 200),
    ("GET", "/ready", Everyone, "", 200),
    ("GET", "/health/workers", Admins, "", 200),
    ("GET", "/sessions", Admins, "", 200),
    ("POST", "/sessions", Admins, r#"{"session_id":"made"}"#, 200),
    (
        "POST",
        "/sessions/batch_delete",
        Admins,
        r#"{"session_ids":[]}"#,
        200,
    ),
    ("GET", "/sessions/{session_id}", Admins, "", 404),
    ("DELETE", "/sessions/{session_id}", Admins, "", 200),
    ("GET", "/sessions/{session_id}/traces", Admins, "", 200),
    ("GET", "/sessions/{session_id}/report", Admins, "", 404),
    ("GET", "/traces", Admins, "", 200),
    ("GET", "/traces/count", Admins, "", 200),
    ("GET", "/traces/facets", Admins, "", 200),
    ("POST", "/traces/query", Admins, r#"{"limit":1}"#, 200),
    ("GET", "/traces/{trace_id}", Admins, "", 404),
    ("GET", "/runs", Admins, "", 200),
    ("GET", "/runs/{run_id}", Admins, "", 404),
    ("GET", "/admin/workers", Admins, "", 200),
    ("POST", "/admin/workers", Admins, r#"{"url":"file:"}"#, 400),
    ("DELETE", "/admin/workers/{worker_id}", Admins, "", 404),
    ("GET", "/admin/weight_version", Admins, "", 200),
    (
        "POST",
        "/admin/weight_version",
        Admins,
        r#"{"weight_version":1}"#,
        200,
    ),
    ("POST", "/admin/flush", Admins, "", 200),
    ("POST", "/admin/pause", Admins, "", ANY),
    ("POST", "/admin/resume", Admins, "", ANY),
    ("POST", "/admin/reload", Admins, "", ANY),
    ("GET", "/metrics", Admins, "", 200),
    ("GET", "/openapi.json", Admins, "", 200),
];

/// What no document tells: paths of nobody, methods that a path does not take.
const NOWHERE: [(&str, &str, For, &str, Status); 4] = [
    ("GET", "/nowhere", Admins, "", 404),
    ("PUT", "/sessions", Admins, "", 405),
    ("OPTIONS", "/admin/workers", Admins, "", 405),
    ("PROPFIND", "/health/", Admins, "", 501),
];

const CALL: &str = r#"{"model":"tiny","messages":[{"role":"user","content":"hi"}]}"#;
const STREAM: &str =
    r#"{"model":"tiny","stream":true,"messages":[{"role":"user","content":"hi"}]}"#;

/// Requests of the data plane.
const CALLS: [(&str, &str, For, &str, Status); 7] = [
    ("POST", "/v1/chat/completions", Everyone, CALL, 200),
    ("POST", "/v1/chat/completions", Everyone, STREAM, 200),
    (
        "POST",
        "/v1/completions",
        Everyone,
        r#"{"model":"tiny","prompt":"hi"}"#,
        200,
    ),
    (
        "POST",
        "/sessions/a/b:0/v1/chat/completions",
        Everyone,
        CALL,
        200,
    ),
    (
        "POST",
        "/sessions/sessions/admin/v1/chat/completions",
        Everyone,
        CALL,
        200,
    ),
    ("GET", "/v1/models", Everyone, "", 200),
    ("DELETE", "/v1/files/x", Everyone, "", 404),
];

/// What is presented: nothing, a token of nobody, the agents' and the admins'.
const TOKENS: [Option<&str>; 4] = [
    None,
    Some("wrong-token"),
    Some("agent-token"),
    Some("admin-token"),
];

/// A configuration, and for each of [`TOKENS`] the refusal (0: none) of what is for everyone and of
/// what is for admins.
const CONFIGURATIONS: [(&str, [Status; 4], [Status; 4]); 4] = [
    ("", [0; 4], [0; 4]),
    // Agents are admins then.
    (
        "inbound_auth_token: agent-token",
        [401, 401, 0, 401],
        [401, 401, 0, 401],
    ),
    (
        "inbound_auth_token: agent-token\nadmin_auth_token: admin-token",
        [401, 401, 0, 0],
        [401, 401, 403, 0],
    ),
    ("admin_auth_token: admin-token", [0; 4], [401, 401, 401, 0]),
];

/// The ways to present a token.
fn forms(token: Option<&str>) -> Vec<String> {
    let Some(token) = token else {
        return vec!["x-nothing: 1".to_owned()];
    };
    let basic = match token {
        "agent-token" => "YW55OmFnZW50LXRva2Vu",
        "admin-token" => "YW55OmFkbWluLXRva2Vu",
        "wrong-token" => "YW55Ondyb25nLXRva2Vu",
        other => panic!("{other} has no Basic form here"),
    };
    vec![
        format!("authorization: Bearer {token}"),
        format!("x-api-key: {token}"),
        format!("authorization: Basic {basic}"),
    ]
}

fn check(what: &str, reply: &Reply, refusal: Status, status: Status) {
    if refusal == 0 {
        assert!(
            !matches!(reply.status, 401 | 403),
            "{what}: {}",
            reply.text()
        );
        assert!(
            status == ANY || reply.status == status,
            "{what}: {}",
            reply.status
        );
        return;
    }
    assert_eq!(reply.status, refusal, "{what}: {}", reply.text());
    let code = if refusal == 401 {
        "unauthorized"
    } else {
        "forbidden"
    };
    assert_eq!(reply.json()["error"]["code"], code, "{what}");
    assert_eq!(
        reply.header("www-authenticate").is_some(),
        refusal == 401,
        "{what}"
    );
}

fn requests() -> impl Iterator<Item = (&'static str, String, For, &'static str, Status)> {
    let all = MANAGEMENT.into_iter().chain(NOWHERE).chain(CALLS);
    all.map(|(method, path, who, body, status)| {
        // Every id is `none`.
        let path: Vec<_> = path
            .split('/')
            .map(|part| if part.starts_with('{') { "none" } else { part })
            .collect();
        (method, path.join("/"), who, body, status)
    })
}

#[tokio::test]
async fn every_request_is_for_whom_it_is_meant() {
    for (configuration, for_everyone, for_admins) in CONFIGURATIONS {
        let upstream = Upstream::vllm();
        let gateway = Setup::new().worker(&upstream).yaml(configuration).start();
        for (at, token) in TOKENS.into_iter().enumerate() {
            for credential in forms(token) {
                for (method, path, who, body, status) in requests() {
                    let refusal = match who {
                        Everyone => for_everyone[at],
                        Admins => for_admins[at],
                    };
                    let what = format!("{method} {path} with {credential:?}, {configuration:?}");
                    let line = format!("{method} {path}");
                    let reply = gateway.call(&line, &[&credential], body).await;
                    check(&what, &reply, refusal, status);
                    if method == "GET" {
                        let mut client = Client::connect(gateway.address()).await;
                        client
                            .request(&format!("HEAD {path}"), &[&credential], "")
                            .await;
                        assert_eq!(client.head().await, Some(reply.status), "HEAD: {what}");
                    }
                }
            }
        }
        let log = gateway.log();
        let tokens = TOKENS.into_iter().flatten();
        assert!(tokens.clone().all(|token| !log.contains(token)), "{log}");
        for seen in upstream.received() {
            let head = String::from_utf8_lossy(seen.raw_head());
            let ours = ["agent-token", "admin-token"].into_iter();
            let mut ours = ours.filter(|token| configuration.contains(token));
            assert!(!ours.any(|token| head.contains(token)), "{head}");
        }
    }
}

/// The document is made from the router, so that a request which is missing here is found.
#[tokio::test]
async fn no_request_is_missing_in_the_table() {
    let gateway = Setup::new().start();
    let document = gateway.get("/openapi.json").await;
    let paths = document["paths"].as_object().expect("an object");
    let told = paths.iter().flat_map(|(path, operations)| {
        let methods = operations
            .as_object()
            .into_iter()
            .flat_map(|all| all.keys());
        methods.map(move |method| (method.to_uppercase(), path.clone()))
    });
    let told: BTreeSet<_> = told.collect();
    let table = MANAGEMENT.map(|(method, path, ..)| (method.to_owned(), path.to_owned()));
    let missing: Vec<_> = told.difference(&BTreeSet::from(table)).cloned().collect();
    assert_eq!(missing, []);
    assert!(told.len() > 20, "{told:?}");
}

#[tokio::test]
async fn an_open_path_needs_no_token_and_opens_no_other() {
    let upstream = Upstream::vllm();
    let gateway = Setup::new()
        .worker(&upstream)
        .yaml("inbound_auth_token: agent-token\nadmin_auth_token: admin-token")
        .yaml("open_paths: [/health, /traces/count, /v1/models]")
        .start();
    let forms = TOKENS.into_iter().flat_map(forms);
    for credential in forms {
        for path in ["/health", "/health?deep=1", "/traces/count", "/v1/models"] {
            let reply = gateway
                .call(&format!("GET {path}"), &[&credential], "")
                .await;
            assert_eq!(reply.status, 200, "{path} with {credential:?}");
        }
    }
    for path in [
        "/ready",
        "/health/",
        "/Health",
        "/health/workers",
        "/traces",
        "/traces/count/x",
        "/sessions/s/v1/models",
        "/v1/models/tiny",
        "/v1//models",
        "/v1/%6Dodels",
        "/%68ealth",
    ] {
        let reply = gateway.call(&format!("GET {path}"), &[], "").await;
        assert_eq!(reply.status, 401, "{path}");
    }
    let counted = gateway.get("/traces/count").await;
    assert_eq!(counted["count"], 0);
}
