//! The OpenAPI document: it is up to date, and says what the plane does.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::json;

use super::*;

fn document() -> Value {
    serde_json::from_str(openapi()).unwrap()
}

#[test]
fn the_committed_document_is_up_to_date() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json");
    let committed = fs::read_to_string(&file).unwrap_or_default();
    assert!(
        committed == openapi(),
        "docs/openapi.json is stale: write it anew with `cargo xtask docs`"
    );
}

#[tokio::test]
async fn the_document_is_served() {
    let plane = Plane::new();
    let answer = plane.get("/openapi.json").await;
    assert_eq!(answer.ok()["openapi"], "3.1.0");
    assert_eq!(answer.text, openapi());
    assert_eq!(answer.headers["content-type"], "application/json");
}

#[tokio::test]
async fn a_path_takes_the_methods_of_the_document() {
    let plane = Plane::new();
    for (path, operations) in document()["paths"].as_object().unwrap() {
        let target = path.replace(['{', '}'], "");
        let answer = plane.ask("OPTIONS", &target, "").await;
        answer.refused(405, "method_not_allowed");
        let operations = operations.as_object().unwrap();
        let told = [("get", "GET, HEAD"), ("post", "POST"), ("delete", "DELETE")];
        let told = told
            .iter()
            .filter(|(name, _)| operations.contains_key(*name));
        let told: Vec<_> = told.map(|(_, methods)| *methods).collect();
        assert_eq!(answer.headers["allow"], told.join(", "), "{path}");
    }
}

/// Two sessions, the second with a call that failed, a run, a worker.
async fn lived_in() -> Plane {
    let plane = Plane::of_run("r");
    plane
        .post("/sessions", r#"{"session_id":"a","metadata":{"x":1.0}}"#)
        .await
        .ok();
    let second = r#"{"model":"m","messages":[{"role":"user","content":"hi"},
        {"role":"assistant","content":"hello","name":"bot"},{"role":"user","content":"more"}]}"#;
    for request in [Made::default().request, second] {
        plane
            .record(Made {
                session: "a",
                run: Some("r"),
                request,
                ..Made::default()
            })
            .await;
    }
    plane
        .record(Made {
            session: "b",
            run: Some("r"),
            outcome: Outcome::Truncated,
            ..Made::default()
        })
        .await;
    plane
        .post("/admin/workers", r#"{"url":"http://h:8000"}"#)
        .await
        .ok();
    plane
}

/// One request for each answer: what is asked, and which path of the document it is.
const REQUESTS: [(&str, &str, &str, &str); 36] = [
    ("GET", "/", "/", ""),
    ("GET", "/health", "/health", ""),
    ("GET", "/ready", "/ready", ""),
    ("GET", "/health/workers", "/health/workers", ""),
    ("GET", "/sessions", "/sessions", ""),
    ("POST", "/sessions", "/sessions", "{}"),
    ("POST", "/sessions", "/sessions", "7"),
    ("GET", "/sessions/{session_id}", "/sessions/a", ""),
    ("GET", "/sessions/{session_id}", "/sessions/none", ""),
    (
        "GET",
        "/sessions/{session_id}/traces",
        "/sessions/a/traces",
        "",
    ),
    (
        "GET",
        "/sessions/{session_id}/traces",
        "/sessions/a/traces?format=compact",
        "",
    ),
    (
        "GET",
        "/sessions/{session_id}/traces",
        "/sessions/b/traces?outcome=all&format=compact",
        "",
    ),
    (
        "GET",
        "/sessions/{session_id}/traces",
        "/sessions/a/traces?include=timing",
        "",
    ),
    (
        "GET",
        "/sessions/{session_id}/report",
        "/sessions/a/report",
        "",
    ),
    (
        "GET",
        "/sessions/{session_id}/report",
        "/sessions/b/report",
        "",
    ),
    ("GET", "/traces", "/traces?limit=1", ""),
    ("GET", "/traces", "/traces?limit=-1", ""),
    ("GET", "/traces/count", "/traces/count", ""),
    ("GET", "/traces/facets", "/traces/facets", ""),
    ("GET", "/traces/{trace_id}", "/traces/trace-000", ""),
    ("POST", "/traces/query", "/traces/query", ""),
    (
        "POST",
        "/traces/query",
        "/traces/query",
        r#"{"session_ids":["a"]}"#,
    ),
    (
        "POST",
        "/traces/query",
        "/traces/query",
        r#"{"session_ids":["a"],"format":"compact"}"#,
    ),
    ("GET", "/runs", "/runs", ""),
    ("GET", "/runs/{run_id}", "/runs/r", ""),
    ("GET", "/admin/workers", "/admin/workers", ""),
    ("GET", "/admin/weight_version", "/admin/weight_version", ""),
    (
        "POST",
        "/admin/weight_version",
        "/admin/weight_version",
        r#"{"weight_version":1}"#,
    ),
    (
        "POST",
        "/admin/workers",
        "/admin/workers",
        r#"{"url":"http://h:8000","worker_id":"w"}"#,
    ),
    ("POST", "/admin/flush", "/admin/flush", ""),
    ("POST", "/admin/pause", "/admin/pause", r#"{"wait":0}"#),
    ("POST", "/admin/resume", "/admin/resume", ""),
    ("POST", "/admin/reload", "/admin/reload", ""),
    (
        "DELETE",
        "/admin/workers/{worker_id}",
        "/admin/workers/none",
        "",
    ),
    ("DELETE", "/sessions/{session_id}", "/sessions/a", ""),
    (
        "POST",
        "/sessions/batch_delete",
        "/sessions/batch_delete",
        r#"{"session_ids":["b"]}"#,
    ),
];

#[tokio::test]
async fn answers_are_what_the_document_says() {
    let plane = lived_in().await;
    let document = document();
    for (method, path, target, body) in REQUESTS {
        let answer = plane.ask(method, target, body).await;
        let operation = &document["paths"][path][method.to_lowercase()];
        let mut told = &operation["responses"][answer.status.as_str()];
        if let Some(reference) = told["$ref"].as_str() {
            told = document.pointer(reference.trim_start_matches('#')).unwrap();
        }
        let schema = &told["content"]["application/json"]["schema"];
        assert!(schema.is_object(), "{method} {target}: {}", answer.text);
        let schema = json!({"allOf": [schema], "components": document["components"]});
        if let Err(error) = jsonschema::validate(&schema, &answer.json()) {
            panic!("{method} {target}: {error}\n{}", answer.text);
        }
    }
}

/// Every parameter that is not just a text, and every member of a body that is not, is read: a
/// value of another type is refused under its name.
#[tokio::test]
async fn what_the_document_names_is_read() {
    let plane = Plane::new();
    let document = document();
    let mut read = BTreeSet::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        let (get, post) = (&operations["get"], &operations["post"]);
        let parameters = get["parameters"].as_array().into_iter().flatten();
        for parameter in parameters.filter(|parameter| parameter["in"] == "query") {
            let name = parameter["name"].as_str().unwrap();
            let schema = &parameter["schema"];
            let value = match schema["type"] == "string" && schema.get("enum").is_none() {
                true => "%FF",
                false => "nothing",
            };
            let target = path.replace(['{', '}'], "");
            let answer = plane.get(&format!("{target}?{name}={value}")).await;
            let message = answer.refused(400, "bad_request");
            assert!(message.contains(&format!("`{name}`")), "{path}: {message}");
            read.insert(name.to_owned());
        }
        let body = &post["requestBody"]["content"]["application/json"]["schema"];
        let Some(reference) = body["$ref"].as_str() else {
            continue;
        };
        let schema = document.pointer(reference.trim_start_matches('#')).unwrap();
        let members = schema["properties"].as_object().unwrap();
        for (name, member) in members {
            // With another needed member where that is read first.
            let mut body = match path.as_str() {
                "/sessions/batch_delete" => json!({"session_ids": []}),
                "/admin/workers" => json!({"url": "http://h"}),
                _ => json!({}),
            };
            body[name] = match member["type"].to_string().contains("boolean") {
                true => json!("true"),
                false => json!(true),
            };
            let answer = plane.post(path, body.to_string()).await;
            let message = answer.refused(400, "bad_request");
            assert!(message.contains(&format!("`{name}`")), "{path}: {message}");
            read.insert(name.clone());
        }
    }
    assert_eq!(read.len(), 27, "{read:?}");
}
