//! Which paths there are, and what they take.

use gateway_state::Code;

use super::*;

/// Every path with the methods that it takes.
const PATHS: [(&str, &str); 25] = [
    ("/", "GET, HEAD"),
    ("/health", "GET, HEAD"),
    ("/ready", "GET, HEAD"),
    ("/health/workers", "GET, HEAD"),
    ("/sessions", "GET, HEAD, POST"),
    ("/sessions/s", "GET, HEAD, DELETE"),
    ("/sessions/org/name:0", "GET, HEAD, DELETE"),
    ("/sessions/s/traces", "GET, HEAD"),
    ("/sessions/s/report", "GET, HEAD"),
    ("/traces", "GET, HEAD"),
    ("/traces/count", "GET, HEAD"),
    ("/traces/facets", "GET, HEAD"),
    ("/traces/query", "POST"),
    ("/traces/t", "GET, HEAD"),
    ("/runs", "GET, HEAD"),
    ("/runs/r", "GET, HEAD"),
    ("/admin/workers", "GET, HEAD, POST"),
    ("/admin/workers/w", "DELETE"),
    ("/admin/weight_version", "GET, HEAD, POST"),
    ("/admin/flush", "POST"),
    ("/admin/pause", "POST"),
    ("/admin/resume", "POST"),
    ("/admin/reload", "POST"),
    ("/metrics", "GET, HEAD"),
    ("/openapi.json", "GET, HEAD"),
];

/// Known ones, and some that nobody knows.
const METHODS: [&str; 10] = [
    "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "get",
];

#[tokio::test]
async fn a_path_takes_its_methods_and_names_them_to_all_others() {
    let plane = Plane::new();
    for (path, allow) in PATHS {
        for method in METHODS {
            let answer = plane.ask(method, path, "").await;
            if allow.split(", ").any(|allowed| allowed == method) {
                assert_ne!(answer.status, 405, "{method} {path}");
            } else {
                assert_eq!(answer.status, 405, "{method} {path}");
                if method != "HEAD" {
                    answer.refused(405, "method_not_allowed");
                }
                assert_eq!(answer.headers["allow"], allow, "{method} {path}");
            }
        }
    }
}

#[tokio::test]
async fn a_method_that_means_nothing_on_a_path_of_nobody_is_not_implemented() {
    let plane = Plane::new();
    for (method, path) in [
        ("PROPFIND", "/nowhere"),
        ("TRACE", "/nowhere"),
        ("FOO", "/sessions/"),
        ("PROPFIND", "/sessions//traces"),
        ("get", "/runs/"),
        ("TRACE", "/traces/"),
        ("CONNECT", "host:443"),
        ("CONNECT", "/health"),
    ] {
        plane
            .ask(method, path, "")
            .await
            .refused(501, "not_implemented");
    }
}

#[tokio::test]
async fn an_unknown_path_is_told_where_calls_go() {
    let plane = Plane::new();
    for path in [
        "/nowhere",
        "/sessions/",
        "/sessions//traces",
        "/sessions//v1/models",
        "/health/",
        "/V1/models",
        "*",
    ] {
        for method in ["GET", "POST"] {
            let message = plane.ask(method, path, "").await.refused(404, "not_found");
            assert!(message.contains("/v1/"), "{method} {path}: {message}");
        }
    }
}

#[tokio::test]
async fn head_is_get_without_the_body() {
    let plane = Plane::new();
    plane.record(Made::default()).await;
    for path in [
        "/",
        "/health/workers",
        "/sessions",
        "/sessions/s",
        "/sessions/s/traces",
        "/traces",
        "/nowhere",
    ] {
        let get = plane.get(path).await;
        let head = plane.ask("HEAD", path, "").await;
        assert_eq!(head.status, get.status, "{path}");
        assert_eq!(head.text, "", "{path}");
        assert_eq!(
            head.headers["content-length"],
            get.text.len().to_string(),
            "{path}"
        );
        assert_eq!(head.headers["content-type"], "application/json", "{path}");
        assert_eq!(get.headers["content-type"], "application/json", "{path}");
    }
}

#[tokio::test]
async fn a_refusal_is_counted() {
    let plane = Plane::new();
    plane.get("/nowhere").await;
    plane.get("/sessions?limit=-1").await;
    plane.get("/health").await;
    let counted: Vec<_> = plane
        .state
        .counters()
        .refusals()
        .filter(|(_, n)| *n > 0)
        .collect();
    assert_eq!(counted, [(Code::BadRequest, 1), (Code::NotFound, 1)]);
}
