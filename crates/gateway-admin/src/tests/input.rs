//! Bad input: always a 400 that names what is wrong, never a 500.

use std::pin::Pin;
use std::task::{Context, Poll};

use http::header::CONTENT_ENCODING;
use http_body::Frame;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::*;
use crate::body::MAX_BODY_BYTES;

#[tokio::test]
async fn a_bad_parameter_is_named() {
    let plane = Plane::new();
    let integers = [
        "-1",
        "1.5",
        "abc",
        "",
        "1e3",
        "9223372036854775808",
        "-9223372036854775809",
        "0x10",
        "%201",
        "+%201",
    ];
    let numbers = [
        "abc",
        "",
        "nan",
        "inf",
        "-Infinity",
        "1e999",
        "1,5",
        "0x10",
        "--1",
    ];
    let flags = ["2", "", "maybe", "null"];
    let cases: [(&str, &[&str], &[&str]); 4] = [
        (
            "limit",
            &integers,
            &["/sessions", "/sessions/s/traces", "/traces", "/runs"],
        ),
        (
            "since",
            &numbers,
            &[
                "/sessions",
                "/sessions/s/traces",
                "/traces",
                "/traces/count",
                "/runs",
            ],
        ),
        ("latency_min", &numbers, &["/traces", "/traces/count"]),
        ("has_error", &flags, &["/traces", "/traces/count"]),
    ];
    for (name, values, paths) in cases {
        for value in values {
            for path in paths {
                let target = format!("{path}?{name}={value}");
                let message = plane.get(&target).await.refused(400, "bad_request");
                assert!(
                    message.contains(&format!("`{name}`")),
                    "{target}: {message}"
                );
            }
        }
    }
    for (name, target) in [
        ("outcome", "/sessions/s/traces?outcome=fine"),
        ("span_type", "/sessions/s/traces?span_type=llm"),
        ("format", "/sessions/s/traces?format=xml"),
        ("include", "/sessions/s/traces?include=all"),
        ("include", "/traces/t?include=all"),
        ("order", "/traces?order=up"),
        ("order", "/traces?order="),
        ("cursor", "/traces?cursor=-1"),
        ("cursor", "/traces?cursor=abc"),
        ("cursor", "/traces?cursor=9223372036854775808"),
        ("model", "/traces?model=%FF"),
        ("until", "/traces?until=x"),
        ("latency_max", "/traces?latency_max=x"),
    ] {
        let message = plane.get(target).await.refused(400, "bad_request");
        assert!(
            message.contains(&format!("`{name}`")),
            "{target}: {message}"
        );
    }
}

#[tokio::test]
async fn a_bad_member_is_named() {
    let plane = Plane::new();
    for (path, body, name) in [
        ("/sessions", r#"{"session_id":7}"#, "session_id"),
        ("/sessions", r#"{"session_id":"a/v1/b"}"#, "session_id"),
        ("/sessions", r#"{"session_id":".."}"#, "session_id"),
        ("/sessions", r#"{"session_id":" . "}"#, "session_id"),
        ("/sessions", r#"{"metadata":[1]}"#, "metadata"),
        ("/sessions", r#"{"metadata":"x"}"#, "metadata"),
        ("/sessions", r#"{"sampling_params":1}"#, "sampling_params"),
        (
            "/sessions",
            r#"{"sampling_params":{"model":"x"}}"#,
            "sampling_params",
        ),
        (
            "/sessions",
            r#"{"sampling_params":{"stre\u0061m":true}}"#,
            "sampling_params",
        ),
        (
            "/sessions",
            r#"{"sampling_params":{"messages":[]}}"#,
            "sampling_params",
        ),
        ("/sessions/batch_delete", "{}", "session_ids"),
        (
            "/sessions/batch_delete",
            r#"{"session_ids":"s"}"#,
            "session_ids",
        ),
        (
            "/sessions/batch_delete",
            r#"{"session_ids":["s",1]}"#,
            "session_ids",
        ),
        (
            "/sessions/batch_delete",
            r#"{"session_ids":["s",""]}"#,
            "session_ids",
        ),
        (
            "/sessions/batch_delete",
            r#"{"session_ids":[" \u3000"],"run_id":"*"}"#,
            "session_ids",
        ),
        ("/traces/query", r#"{"session_ids":[""]}"#, "session_ids"),
        (
            "/sessions/batch_delete",
            r#"{"session_ids":["s"],"run_id":1}"#,
            "run_id",
        ),
        ("/traces/query", r#"{"session_ids":{}}"#, "session_ids"),
        (
            "/traces/query",
            r#"{"session_ids":["s"],"limit":-1}"#,
            "limit",
        ),
        (
            "/traces/query",
            r#"{"session_ids":["s"],"limit":"5"}"#,
            "limit",
        ),
        (
            "/traces/query",
            r#"{"session_ids":["s"],"since":"abc"}"#,
            "since",
        ),
        (
            "/traces/query",
            r#"{"session_ids":["s"],"since":1e999}"#,
            "since",
        ),
        ("/traces/query", r#"{"limit":9223372036854775808}"#, "limit"),
        ("/traces/query", r#"{"limit":1.5}"#, "limit"),
        ("/traces/query", r#"{"has_error":"true"}"#, "has_error"),
        ("/traces/query", r#"{"model":1}"#, "model"),
        ("/traces/query", r#"{"cursor":17}"#, "cursor"),
        ("/admin/workers", "{}", "url"),
        ("/admin/workers", r#"{"url":1}"#, "url"),
        (
            "/admin/workers",
            r#"{"url":"http://h","weight":0}"#,
            "weight",
        ),
        (
            "/admin/workers",
            r#"{"url":"http://h","weight":-1}"#,
            "weight",
        ),
        (
            "/admin/workers",
            r#"{"url":"http://h","weight":1.5}"#,
            "weight",
        ),
        (
            "/admin/workers",
            r#"{"url":"http://h","weight":4294967296}"#,
            "weight",
        ),
        (
            "/admin/workers",
            r#"{"url":"http://h","api_path":5}"#,
            "api_path",
        ),
        (
            "/admin/workers",
            r#"{"url":"http://h","model_name":[]}"#,
            "model_name",
        ),
        ("/admin/weight_version", "{}", "weight_version"),
        (
            "/admin/weight_version",
            r#"{"weight_version":null}"#,
            "weight_version",
        ),
        (
            "/admin/weight_version",
            r#"{"weight_version":"3"}"#,
            "weight_version",
        ),
        (
            "/admin/weight_version",
            r#"{"weight_version":1.5}"#,
            "weight_version",
        ),
        (
            "/admin/weight_version",
            r#"{"weight_version":true}"#,
            "weight_version",
        ),
        (
            "/admin/weight_version",
            r#"{"weight_version":9223372036854775808}"#,
            "weight_version",
        ),
    ] {
        let message = plane.post(path, body).await.refused(400, "bad_request");
        assert!(
            message.contains(&format!("`{name}`")),
            "{path} {body}: {message}"
        );
    }
    assert_eq!(plane.get("/sessions").await.ok(), serde_json::json!([]));
    assert_eq!(
        plane.get("/admin/workers").await.ok(),
        serde_json::json!([])
    );
}

#[tokio::test]
async fn a_body_that_is_no_json_object_is_refused() {
    let plane = Plane::new();
    let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    let deep_member = format!(r#"{{"metadata":{{"a":{deep}}}}}"#);
    for body in [
        "nonsense",
        "{",
        "[]",
        "7",
        r#""s""#,
        "null",
        "{\"a\":NaN}",
        "{'a':1}",
        "{}{}",
        &deep,
        &deep_member,
    ] {
        for path in [
            "/sessions",
            "/sessions/batch_delete",
            "/traces/query",
            "/admin/workers",
            "/admin/weight_version",
        ] {
            plane.post(path, body).await.refused(400, "bad_request");
        }
    }
}

#[tokio::test]
async fn no_body_is_an_empty_object_and_unknown_members_are_ignored() {
    let plane = Plane::new();
    for body in [
        "",
        " \n",
        "{}",
        r#"{"session_id":null,"metadata":null,"colour":{"x":[1]}}"#,
    ] {
        let answer = plane.post("/sessions", body).await.ok();
        assert!(!answer["session_id"].as_str().unwrap().is_empty());
    }
    assert_eq!(
        plane.get("/traces?colour=blue&model=").await.ok()["traces"],
        serde_json::json!([])
    );
}

#[tokio::test]
async fn an_id_that_is_no_identity_value_is_bad_identity() {
    let plane = Plane::new();
    let long = "x".repeat(513);
    for target in [
        "/sessions/%FF",
        "/sessions/a%00b/traces",
        "/sessions/a%0d%0ab",
        &format!("/sessions/{long}"),
    ] {
        plane.get(target).await.refused(400, "bad_identity");
    }
    for id in ["a\\u0000b", "\\ud800", "a\\u0085b", &long] {
        let body = format!(r#"{{"session_id":"{id}"}}"#);
        plane
            .post("/sessions", body)
            .await
            .refused(400, "bad_identity");
        for path in ["/sessions/batch_delete", "/traces/query"] {
            let body = format!(r#"{{"session_ids":["s","{id}"]}}"#);
            plane.post(path, body).await.refused(400, "bad_identity");
        }
    }
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_however_it_comes() {
    let plane = Plane::new();
    let body = " ".repeat(MAX_BODY_BYTES);
    plane.post("/sessions", body.clone()).await.ok();
    let answer = plane.post("/sessions", format!("{body} ")).await;
    answer.refused(413, "body_too_large");
    assert_eq!(answer.headers["connection"], "close");
    // By its length alone: the body is never asked for.
    let request = Request::post("/sessions").header("content-length", MAX_BODY_BYTES + 1);
    plane
        .send(request.body(String::new()).unwrap())
        .await
        .refused(413, "body_too_large");
}

#[tokio::test]
async fn a_compressed_body_is_refused() {
    let plane = Plane::new();
    for (coding, status) in [
        ("gzip", 415),
        ("identity, gzip", 415),
        ("identity", 200),
        ("IDENTITY", 200),
    ] {
        let request = Request::post("/sessions").header(CONTENT_ENCODING, coding);
        let answer = plane.send(request.body("{}".to_owned()).unwrap()).await;
        assert_eq!(answer.status, status, "{coding}");
    }
}

/// A body that never comes, breaks off, or is the gateway's own fault.
enum Bad {
    Silent,
    Broken,
    Panics,
}

impl http_body::Body for Bad {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        match *self {
            Self::Silent => Poll::Pending,
            Self::Broken => Poll::Ready(Some(Err(std::io::ErrorKind::UnexpectedEof.into()))),
            Self::Panics => panic!("a fault of a handler"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_whole_is_refused_and_the_connection_closed() {
    let plane = Plane::new();
    for (body, status) in [(Bad::Silent, 408), (Bad::Broken, 400)] {
        let request = Request::post("/sessions").body(body).unwrap();
        let response = plane.admin.handle(request, Principal::Anonymous).await;
        assert_eq!(response.status(), status);
        assert_eq!(response.headers()["connection"], "close");
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_has_not_come_does_not_hold_up_the_end() {
    let plane = Plane::new();
    let drain = async || {
        tokio::task::yield_now().await;
        plane.state.drain().begin();
    };
    for _ in ["begun before the drain", "begun in it"] {
        let begun = tokio::time::Instant::now();
        let request = Request::post("/sessions").body(Bad::Silent).unwrap();
        let answered = plane.admin.handle(request, Principal::Anonymous);
        let (response, ()) = tokio::join!(answered, drain());
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()["connection"], "close");
        assert!(begun.elapsed() < std::time::Duration::from_millis(500));
    }
    // While a call is under way the end is not near.
    let call = plane.state.pause().try_pass();
    let begun = tokio::time::Instant::now();
    let request = Request::post("/sessions").body(Bad::Silent).unwrap();
    let ends = async {
        tokio::time::sleep(std::time::Duration::from_secs(3)).await;
        drop(call);
    };
    let answered = plane.admin.handle(request, Principal::Anonymous);
    let (response, ()) = tokio::join!(answered, ends);
    assert_eq!(response.status(), 503);
    assert!(begun.elapsed() >= std::time::Duration::from_secs(3));
    // What comes is answered as ever.
    let whole = plane.post("/admin/weight_version", r#"{"weight_version":1}"#);
    whole.await.ok();
}

#[tokio::test]
async fn a_panic_in_a_handler_is_a_500_and_nobody_elses_end() {
    let plane = Plane::new();
    let request = Request::post("/sessions").body(Bad::Panics).unwrap();
    let response = plane.admin.handle(request, Principal::Anonymous).await;
    assert_eq!(response.status(), 500);
    plane.post("/sessions", "").await.ok();
}

fn any_value() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ -~]{0,12}",
        any::<i64>().prop_map(|number| number.to_string()),
        any::<f64>().prop_map(|number| number.to_string()),
        "(%[0-9A-Fa-f]{2}){1,4}",
    ]
}

fn any_json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|flag| flag.to_string()),
        any::<i64>().prop_map(|number| number.to_string()),
        Just("-0.0".to_owned()),
        Just("1e999".to_owned()),
        Just(r#""\ud800""#.to_owned()),
        "[a-z/]{0,8}".prop_map(|text| format!("\"{text}\"")),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3)
                .prop_map(|all| format!("[{}]", all.join(","))),
            inner.prop_map(|value| format!(r#"{{"model":{value}}}"#)),
        ]
    })
}

const PARAMETERS: &[&str] = &[
    "run_id",
    "session_id",
    "model",
    "harness",
    "has_error",
    "latency_min",
    "latency_max",
    "since",
    "until",
    "limit",
    "order",
    "cursor",
    "outcome",
    "include",
];
const MEMBERS: &[&str] = &[
    "session_id",
    "session_ids",
    "metadata",
    "sampling_params",
    "run_id",
    "since",
    "limit",
    "cursor",
    "order",
    "has_error",
    "url",
    "api_path",
    "worker_id",
    "weight",
    "auth_header",
    "weight_version",
];

/// Sends whatever `requests` gives, to one gateway, and expects JSON that blames the client.
fn never_a_server_error(requests: impl Strategy<Value = (&'static str, String, String)>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let plane = runtime.block_on(async { Plane::new() });
    let mut runner = TestRunner::new(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(300)
    });
    let outcome = runner.run(&requests, |(method, target, body)| {
        // What is no URI at all does not get through the HTTP library.
        prop_assume!(target.parse::<Uri>().is_ok());
        let answer = runtime.block_on(plane.ask(method, &target, body));
        prop_assert!(answer.status.as_u16() < 500, "{}", answer.text);
        answer.json();
        Ok(())
    });
    outcome.unwrap();
}

#[test]
fn no_query_is_a_server_error() {
    const PATHS: &[&str] = &[
        "/sessions",
        "/sessions/s",
        "/sessions/s/traces",
        "/traces",
        "/traces/count",
        "/traces/t",
        "/runs",
    ];
    let parameters = prop::collection::vec((prop::sample::select(PARAMETERS), any_value()), 0..4);
    never_a_server_error((prop::sample::select(PATHS), parameters).prop_map(
        |(path, parameters)| {
            let query: Vec<_> = parameters
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            ("GET", format!("{path}?{}", query.join("&")), String::new())
        },
    ));
}

#[test]
fn no_body_is_a_server_error() {
    const PATHS: &[&str] = &[
        "/sessions",
        "/sessions/batch_delete",
        "/traces/query",
        "/admin/workers",
        "/admin/weight_version",
    ];
    let members = prop::collection::vec((prop::sample::select(MEMBERS), any_json()), 0..4);
    never_a_server_error(
        (prop::sample::select(PATHS), members).prop_map(|(path, members)| {
            let members: Vec<_> = members
                .iter()
                .map(|(name, value)| format!(r#""{name}":{value}"#))
                .collect();
            (
                "POST",
                path.to_owned(),
                format!("{{{}}}", members.join(",")),
            )
        }),
    );
}
