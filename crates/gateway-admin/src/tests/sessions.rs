//! Sessions: made, updated, listed, scoped by run, and deleted.

use serde_json::json;

use super::*;

fn run_of(row: &Value) -> Option<&str> {
    row["run_id"].as_str()
}

#[tokio::test]
async fn a_session_is_made_and_made_again() {
    let plane = Plane::new();
    let answer = plane.post(
        "/sessions",
        r#"{"session_id":" s1 ","metadata":{"lr": 1.0e-6, "n": 123456789012345678901234567890}}"#,
    );
    assert_eq!(
        answer.await.ok(),
        json!({"session_id": "s1", "url": "/sessions/s1/v1"})
    );

    let info = plane.get("/sessions/s1").await;
    assert!(
        info.text
            .contains(r#""metadata":{"lr": 1.0e-6, "n": 123456789012345678901234567890}"#),
        "{}",
        info.text
    );
    let info = info.ok();
    let created_at = info["created_at"].as_f64().unwrap();
    let now = std::time::SystemTime::UNIX_EPOCH
        .elapsed()
        .unwrap()
        .as_secs_f64();
    assert!((now - created_at).abs() < 60.0);
    assert_eq!(
        (&info["trace_count"], &info["total_count"]),
        (&json!(0), &json!(0))
    );
    assert_eq!(info["first_trace_at"], Value::Null);
    assert_eq!(info["run_id"], Value::Null);

    plane.post("/sessions", r#"{"session_id":"s1"}"#).await.ok();
    assert_eq!(
        plane.get("/sessions/s1").await.ok()["metadata"]["lr"],
        1.0e-6
    );
    plane
        .post("/sessions", r#"{"session_id":"s1","metadata":{"v":2}}"#)
        .await
        .ok();
    let info = plane.get("/sessions/s1").await.ok();
    assert_eq!(info["metadata"], json!({"v": 2}));
    assert_eq!(info["created_at"], created_at);
    assert_eq!(
        plane.get("/sessions").await.ok().as_array().unwrap().len(),
        1
    );
}

#[tokio::test]
async fn an_id_is_chosen_where_none_is_given() {
    let plane = Plane::new();
    let first = plane.post("/sessions", "").await.ok()["session_id"].clone();
    let second = plane.post("/sessions", r#"{"session_id":"  "}"#).await.ok()["session_id"].clone();
    assert_ne!(first, second);
    plane
        .get(&format!("/sessions/{}", first.as_str().unwrap()))
        .await
        .ok();
}

/// An id is what it is, in every form in which a path can hold it.
#[tokio::test]
async fn ids_with_slashes_colons_and_percent_signs_come_back_verbatim() {
    let long = "l".repeat(512);
    for (id, path, url) in [
        ("org/name:0", "org/name:0", "org/name:0"),
        ("org/name:0", "org%2Fname%3A0", "org/name:0"),
        (
            "django__django-1234:3",
            "django__django-1234:3",
            "django__django-1234:3",
        ),
        ("a%2Fv1", "a%252Fv1", "a%252Fv1"),
        ("100%", "100%", "100%25"),
        ("a/../b", "a/../b", "a%2F..%2Fb"),
        ("./a", "%2E%2Fa", ".%2Fa"),
        ("a/b/..", "a/b/..", "a%2Fb%2F.."),
        ("a/.b/c..", "a/.b/c..", "a/.b/c.."),
        ("what?", "what%3F", "what%3F"),
        ("a b#c", "a%20b%23c", "a%20b%23c"),
        ("x/traces", "x%2Ftraces", "x/traces"),
        (
            "'; DROP TABLE traces; --",
            "'%3B%20DROP%20TABLE%20traces;%20--",
            "';%20DROP%20TABLE%20traces;%20--",
        ),
        ("😀", "%F0%9F%98%80", "%F0%9F%98%80"),
        (&long, &long, &long),
    ] {
        let plane = Plane::new();
        let body = json!({"session_id": id}).to_string();
        let made = plane.post("/sessions", body).await.ok();
        assert_eq!(
            made,
            json!({"session_id": id, "url": format!("/sessions/{url}/v1")})
        );
        plane
            .record(Made {
                session: id,
                ..Made::default()
            })
            .await;
        plane
            .record(Made {
                session: "other",
                ..Made::default()
            })
            .await;

        let info = plane.get(&format!("/sessions/{path}")).await.ok();
        assert_eq!(
            (&info["session_id"], &info["trace_count"]),
            (&json!(id), &json!(1)),
            "{path}"
        );
        let traces = plane.get(&format!("/sessions/{path}/traces")).await.ok();
        assert_eq!(traces[0]["session_id"], id, "{path}");
        assert_eq!(
            plane.delete(&format!("/sessions/{path}")).await.ok(),
            json!({"deleted": 1})
        );
        plane
            .get(&format!("/sessions/{path}"))
            .await
            .refused(404, "not_found");
        assert_eq!(plane.get("/traces/count").await.ok(), json!({"count": 1}));
    }
}

#[tokio::test]
async fn sessions_with_one_beginning_are_different_sessions() {
    let plane = Plane::new();
    plane
        .record_in(&[
            ("session-1", None),
            ("session-12", None),
            ("session-12", None),
        ])
        .await;
    assert_eq!(
        plane.get("/sessions/session-1").await.ok()["trace_count"],
        1
    );
    assert_eq!(
        plane.delete("/sessions/session-1").await.ok(),
        json!({"deleted": 1})
    );
    assert_eq!(
        plane.get("/sessions/session-12").await.ok()["trace_count"],
        2
    );
}

#[tokio::test]
async fn a_call_alone_makes_a_session_and_counts_are_not_listings() {
    let plane = Plane::new();
    plane.record(Made::default()).await;
    plane
        .record(Made {
            outcome: Outcome::Truncated,
            ..Made::default()
        })
        .await;
    plane
        .record(Made {
            endpoint: Endpoint::Embeddings,
            ..Made::default()
        })
        .await;
    let info = plane.get("/sessions/s").await.ok();
    assert_eq!(
        (&info["trace_count"], &info["total_count"]),
        (&json!(1), &json!(3))
    );
    assert_eq!(info["metadata"], json!({}));
    let (first, last) = (
        info["first_trace_at"].as_f64().unwrap(),
        info["last_trace_at"].as_f64().unwrap(),
    );
    assert!(first < last);
}

#[tokio::test]
async fn the_list_is_newest_first_and_can_be_cut() {
    let plane = Plane::new();
    for id in ["a", "b", "c"] {
        plane
            .post("/sessions", json!({"session_id": id}).to_string())
            .await
            .ok();
    }
    let names = |list: Value| -> Vec<String> {
        list.as_array()
            .unwrap()
            .iter()
            .map(|row| row["session_id"].as_str().unwrap().to_owned())
            .collect()
    };
    let all = plane.get("/sessions").await.ok();
    let created_at = all[1]["created_at"].as_f64().unwrap();
    assert_eq!(names(all), ["c", "b", "a"]);
    assert_eq!(names(plane.get("/sessions?limit=2").await.ok()), ["c", "b"]);
    assert_eq!(names(plane.get("/sessions?limit=0").await.ok()), [""; 0]);
    assert_eq!(
        names(
            plane
                .get(&format!("/sessions?since={created_at}"))
                .await
                .ok()
        ),
        ["c", "b"]
    );
}

#[tokio::test]
async fn sampling_params_are_there_for_the_calls_of_the_session() {
    let plane = Plane::new();
    let body = r#"{"session_id":"s","sampling_params":{"temperature": 1.0, "top\u005fp":0.9}}"#;
    plane.post("/sessions", body).await.ok();
    let params = |session| {
        let params = plane.state.sampling().find(session)?;
        Some(
            params
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect::<Vec<_>>(),
        )
    };
    assert_eq!(params("s").unwrap(), ["temperature=1.0", "top_p=0.9"]);
    plane
        .post("/sessions", r#"{"session_id":"s","metadata":{}}"#)
        .await
        .ok();
    assert!(params("s").is_some());
    let stored = plane
        .ledger
        .read(TraceStore::sampling_params)
        .await
        .unwrap();
    assert_eq!(
        stored[0].1.as_str(),
        r#"{"temperature": 1.0, "top\u005fp":0.9}"#
    );

    plane
        .post("/sessions", r#"{"session_id":"s","sampling_params":{}}"#)
        .await
        .ok();
    assert!(params("s").is_none());
    plane.post("/sessions", body).await.ok();
    plane.delete("/sessions/s").await.ok();
    assert!(params("s").is_none());
}

#[tokio::test]
async fn sampling_params_stay_until_the_last_run_of_the_session_is_deleted() {
    let plane = Plane::new();
    plane
        .post(
            "/sessions",
            r#"{"session_id":"s","sampling_params":{"top_k":1}}"#,
        )
        .await
        .ok();
    plane
        .record_in(&[("s", Some("r1")), ("s", Some("r2"))])
        .await;
    plane.delete("/sessions/s?run_id=r1").await.ok();
    assert!(plane.state.sampling().find("s").is_some());
    plane.delete("/sessions/s?run_id=r2").await.ok();
    assert!(plane.state.sampling().find("s").is_none());
}

/// Reads and deletes over HTTP ignored the run: one run read and deleted another's session.
#[tokio::test]
async fn defect_13_reads_and_deletes_keep_to_their_run() {
    let plane = Plane::of_run("mine");
    plane
        .record_in(&[
            ("s", Some("mine")),
            ("s", Some("other")),
            ("s", Some("other")),
        ])
        .await;

    for (query, count, run) in [
        ("", 1, Some("mine")),
        ("?run_id=other", 2, Some("other")),
        ("?run_id=*", 3, None),
    ] {
        let info = plane.get(&format!("/sessions/s{query}")).await.ok();
        assert_eq!(
            (info["trace_count"].as_u64(), run_of(&info)),
            (Some(count), run),
            "{query}"
        );
        let traces = plane.get(&format!("/sessions/s/traces{query}")).await.ok();
        assert_eq!(traces.as_array().unwrap().len() as u64, count, "{query}");
    }
    plane
        .get("/sessions/s?run_id=nobody")
        .await
        .refused(404, "not_found");
    let mine = plane.get("/sessions").await.ok();
    assert_eq!(
        mine.as_array()
            .unwrap()
            .iter()
            .map(run_of)
            .collect::<Vec<_>>(),
        [Some("mine")]
    );
    let all = plane.get("/sessions?run_id=*").await.ok();
    assert_eq!(
        all.as_array()
            .unwrap()
            .iter()
            .map(run_of)
            .collect::<Vec<_>>(),
        [Some("other"), Some("mine")]
    );

    assert_eq!(
        plane.delete("/sessions/s").await.ok(),
        json!({"deleted": 1})
    );
    assert_eq!(
        plane.get("/sessions/s?run_id=*").await.ok()["trace_count"],
        2
    );
    assert_eq!(
        plane.delete("/sessions/s?run_id=other").await.ok(),
        json!({"deleted": 2})
    );
}

#[tokio::test]
async fn a_delete_that_would_have_to_guess_the_run_lists_them() {
    let plane = Plane::new();
    plane
        .record_in(&[("s", Some("r1")), ("s", Some("r2")), ("t", Some("r1"))])
        .await;
    let message = plane.delete("/sessions/s").await.refused(409, "conflict");
    assert!(
        message.contains("r1") && message.contains("r2"),
        "{message}"
    );
    let message = plane
        .post("/sessions/batch_delete", r#"{"session_ids":["t","s"]}"#)
        .await
        .refused(409, "conflict");
    assert!(message.contains("`s`"), "{message}");
    assert_eq!(plane.get("/traces/count").await.ok(), json!({"count": 3}));

    assert_eq!(
        plane.delete("/sessions/t").await.ok(),
        json!({"deleted": 1})
    );
    assert_eq!(
        plane.delete("/sessions/s?run_id=*").await.ok(),
        json!({"deleted": 2})
    );
}

#[tokio::test]
async fn a_batch_has_a_limit() {
    let plane = Plane::new();
    plane.record_in(&[("7", None)]).await;
    let batch = |ids: usize| {
        let ids: Vec<_> = (0..ids).map(|id| id.to_string()).collect();
        json!({ "session_ids": ids }).to_string()
    };
    let refused = plane.post("/sessions/batch_delete", &batch(100_001)).await;
    let message = refused.refused(400, "bad_request");
    assert!(message.contains("100000"), "{message}");
    let deleted = plane.post("/sessions/batch_delete", &batch(100_000)).await;
    assert_eq!(deleted.ok(), json!({"deleted": 1}));
}

#[tokio::test]
async fn a_delete_does_not_guess_between_stored_calls_and_calls_under_way() {
    let plane = Plane::new();
    plane.record_in(&[("s", Some("r1"))]).await;
    let of = |run| Made {
        run,
        ..Made::default()
    };
    let open = plane.admit(&of(Some("r2"))).await;
    let message = plane.delete("/sessions/s").await.refused(409, "conflict");
    assert!(message.contains("r1, r2"), "{message}");
    assert_eq!(
        plane.delete("/sessions/s?run_id=r2").await.ok(),
        json!({"deleted": 0})
    );
    // It is overtaken, and so belongs to no run any more.
    assert_eq!(
        plane.delete("/sessions/s").await.ok(),
        json!({"deleted": 1})
    );
    let reply = Reply::interrupted(None);
    plane.ledger.finish(&open, &reply).await.unwrap();
    assert_eq!(plane.get("/traces/count").await.ok(), json!({"count": 0}));

    // A session that was made without a run is in that of its only call.
    plane.post("/sessions", r#"{"session_id":"s"}"#).await.ok();
    let open = plane.admit(&of(Some("r1"))).await;
    plane.delete("/sessions/s").await.ok();
    plane.ledger.finish(&open, &reply).await.unwrap();
    assert_eq!(plane.get("/traces/count").await.ok(), json!({"count": 0}));
}

#[tokio::test]
async fn a_batch_is_deleted_in_one_go_and_the_unknown_count_nothing() {
    let plane = Plane::new();
    plane
        .record_in(&[
            ("a", Some("r1")),
            ("b", None),
            ("c", Some("r2")),
            ("c", Some("r2")),
        ])
        .await;
    assert_eq!(
        plane.delete("/sessions/unknown").await.ok(),
        json!({"deleted": 0})
    );
    let body = r#"{"session_ids":["a","b","b","unknown"]}"#;
    assert_eq!(
        plane.post("/sessions/batch_delete", body).await.ok(),
        json!({"deleted": 2})
    );
    assert_eq!(
        plane
            .post("/sessions/batch_delete", r#"{"session_ids":[]}"#)
            .await
            .ok(),
        json!({"deleted": 0})
    );
    let body = r#"{"session_ids":["c"],"run_id":"r1"}"#;
    assert_eq!(
        plane.post("/sessions/batch_delete", body).await.ok(),
        json!({"deleted": 0})
    );
    let body = r#"{"session_ids":["c"],"run_id":"r2"}"#;
    assert_eq!(
        plane
            .post("/sessions/batch_delete?run_id=*", body)
            .await
            .ok(),
        json!({"deleted": 2})
    );
}

/// The calls of no session belong to every run: an empty id in a list once deleted them all.
#[tokio::test]
async fn ids_in_lists_are_trimmed_and_an_empty_one_names_no_session() {
    let plane = Plane::new();
    plane
        .record_in(&[("a", Some("r1")), ("", Some("r1")), ("", Some("r2"))])
        .await;
    for id in ["", " ", "\\t\\n"] {
        let body = format!(r#"{{"session_ids":["a","{id}"],"run_id":"*"}}"#);
        for path in ["/sessions/batch_delete", "/traces/query"] {
            plane
                .post(path, body.clone())
                .await
                .refused(400, "bad_request");
        }
    }
    assert_eq!(plane.get("/traces/count").await.ok(), json!({"count": 3}));

    let body = r#"{"session_ids":["\t a\n"]}"#;
    let traces = plane.post("/traces/query", body).await.ok();
    assert_eq!(ids(&traces), ["trace-000"]);
    assert_eq!(
        plane.post("/sessions/batch_delete", body).await.ok(),
        json!({"deleted": 1})
    );
}

/// `batch_delete` is a request only where it is posted; it is a good id otherwise.
#[tokio::test]
async fn a_session_may_be_called_batch_delete() {
    let plane = Plane::new();
    plane.record_in(&[("batch_delete", None)]).await;
    assert_eq!(
        plane.get("/sessions/batch_delete").await.ok()["trace_count"],
        1
    );
    assert_eq!(
        plane.delete("/sessions/batch_delete").await.ok(),
        json!({"deleted": 1})
    );
}

#[tokio::test]
async fn runs_that_only_calls_have_named_are_listed() {
    let plane = Plane::new();
    plane
        .record_in(&[("s", Some("org/run:1")), ("s", None)])
        .await;
    let runs = plane.get("/runs").await.ok();
    assert_eq!(
        runs,
        json!([{"run_id": "org/run:1", "started_at": 1_700_000_000.0, "ended_at": null, "metadata": {}}])
    );
    assert_eq!(plane.get("/runs/org/run:1").await.ok(), runs[0]);
    assert_eq!(plane.get("/runs?since=1700000000").await.ok(), runs);
    assert_eq!(plane.get("/runs?since=1700000000.5").await.ok(), json!([]));
    assert_eq!(plane.get("/runs?limit=0").await.ok(), json!([]));
    plane.get("/runs/nobody").await.refused(404, "not_found");
}
