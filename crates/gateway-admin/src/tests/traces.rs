//! Traces: of a session, by id, and the feed.

use std::collections::HashSet;

use serde_json::json;

use super::*;

#[tokio::test]
async fn a_session_lists_its_completed_model_calls_in_order() {
    let plane = Plane::new();
    let first = plane.record(Made::default()).await;
    let cut = plane
        .record(Made {
            outcome: Outcome::Truncated,
            ..Made::default()
        })
        .await;
    let embedding = plane
        .record(Made {
            endpoint: Endpoint::Embeddings,
            ..Made::default()
        })
        .await;
    let last = plane.record(Made::default()).await;
    plane
        .record(Made {
            session: "other",
            ..Made::default()
        })
        .await;
    for (query, expected) in [
        ("", vec![&first, &last]),
        ("?outcome=completed&span_type=llm.call", vec![&first, &last]),
        ("?outcome=all", vec![&first, &cut, &last]),
        ("?outcome=truncated", vec![&cut]),
        ("?outcome=interrupted", vec![]),
        ("?span_type=all", vec![&first, &embedding, &last]),
        ("?span_type=llm.embedding", vec![&embedding]),
        (
            "?outcome=all&span_type=all",
            vec![&first, &cut, &embedding, &last],
        ),
        ("?limit=1", vec![&first]),
        ("?limit=0", vec![]),
        ("?format=full", vec![&first, &last]),
    ] {
        let traces = plane.get(&format!("/sessions/s/traces{query}")).await.ok();
        assert_eq!(ids(&traces).iter().collect::<Vec<_>>(), expected, "{query}");
    }
    assert_eq!(plane.get("/sessions/unknown/traces").await.ok(), json!([]));
}

#[tokio::test]
async fn a_trace_is_the_same_wherever_it_is_read() {
    let plane = Plane::new();
    let id = plane
        .record(Made {
            run: Some("r"),
            ..Made::default()
        })
        .await;
    let one = plane.get(&format!("/traces/{id}")).await.ok();
    assert_eq!(one["trace_id"], id.as_str());
    assert_eq!(
        one["response_message"],
        json!({"role": "assistant", "content": "hello"})
    );
    assert_eq!(one["messages"], json!([{"role": "user", "content": "hi"}]));
    assert_eq!(
        (&one["run_id"], &one["finish_reason"]),
        (&json!("r"), &json!("stop"))
    );
    assert!(one.get("event_ms").is_none() && one.get("_created_at").is_none());
    assert_eq!(plane.get("/sessions/s/traces").await.ok(), json!([one]));
    let body = r#"{"session_ids":["s"]}"#;
    assert_eq!(plane.post("/traces/query", body).await.ok(), json!([one]));
    let mut fed = plane.get("/traces").await.ok()["traces"][0].take();
    assert!(
        fed.as_object_mut()
            .unwrap()
            .remove("_created_at")
            .unwrap()
            .is_f64()
    );
    assert_eq!(fed, one);

    let timed = plane
        .get(&format!("/traces/{id}?include=timing"))
        .await
        .ok();
    assert_eq!(timed["event_ms"], json!([1, 2]));
    let timed = plane.get("/sessions/s/traces?include=timing").await.ok();
    assert_eq!(timed[0]["event_ms"], json!([1, 2]));
    plane.get("/traces/unknown").await.refused(404, "not_found");
}

#[tokio::test]
async fn since_is_inclusive_for_a_session_and_exclusive_for_the_feed() {
    let plane = Plane::new();
    for _ in 0..3 {
        plane.record(Made::default()).await;
    }
    let feed = plane.get("/traces?order=asc").await.ok()["traces"].take();
    let times: Vec<_> = feed
        .as_array()
        .unwrap()
        .iter()
        .map(|trace| trace["_created_at"].to_string())
        .collect();
    let all = ids(&feed);
    let listed = plane
        .get(&format!("/sessions/s/traces?since={}", times[1]))
        .await
        .ok();
    assert_eq!(ids(&listed), all[1..]);
    let fed = plane
        .get(&format!("/traces?order=asc&since={}", times[1]))
        .await
        .ok();
    assert_eq!(ids(&fed["traces"]), all[2..]);
    let fed = plane
        .get(&format!("/traces?order=asc&until={}", times[1]))
        .await
        .ok();
    assert_eq!(ids(&fed["traces"]), all[..1]);
    let body = format!(r#"{{"session_ids":["s"],"since":{}}}"#, times[2]);
    assert_eq!(ids(&plane.post("/traces/query", body).await.ok()), all[2..]);
}

#[tokio::test]
async fn the_feed_filters_in_both_forms() {
    let plane = Plane::new();
    let other_model = r#"{"model":"other","messages":[]}"#;
    let a = plane
        .record(Made {
            session: "a",
            run: Some("r1"),
            latency_ms: 10.0,
            ..Made::default()
        })
        .await;
    let b = plane
        .record(Made {
            session: "b",
            run: Some("r2"),
            latency_ms: 20.0,
            ..Made::default()
        })
        .await;
    let c = plane
        .record(Made {
            session: "c",
            request: other_model,
            latency_ms: 30.0,
            ..Made::default()
        })
        .await;
    let d = plane
        .record(Made {
            session: "a",
            outcome: Outcome::GatewayError,
            latency_ms: 40.0,
            ..Made::default()
        })
        .await;
    for (name, value, expected) in [
        ("run_id", "\"r1\"", vec![&a]),
        ("run_id", "\"*\"", vec![&d, &c, &b, &a]),
        ("session_id", "\"a\"", vec![&d, &a]),
        ("model", "\"other\"", vec![&c]),
        ("harness", "\"none\"", vec![]),
        ("has_error", "true", vec![&d]),
        ("has_error", "false", vec![&c, &b, &a]),
        ("latency_min", "20", vec![&d, &c, &b]),
        ("latency_max", "20.0", vec![&b, &a]),
        ("limit", "2", vec![&d, &c]),
        ("limit", "0", vec![]),
        ("order", "\"asc\"", vec![&a, &b, &c, &d]),
        ("order", "\"desc\"", vec![&d, &c, &b, &a]),
    ] {
        let query = format!("{name}={}", value.trim_matches('"'));
        let body = format!(r#"{{"{name}":{value}}}"#);
        let page = plane.get(&format!("/traces?{query}")).await.ok();
        assert_eq!(
            ids(&page["traces"]).iter().collect::<Vec<_>>(),
            expected,
            "{query}"
        );
        assert_eq!(
            plane.post("/traces/query", body).await.ok(),
            page,
            "{query}"
        );
        if !["limit", "order"].contains(&name) {
            let count = plane.get(&format!("/traces/count?{query}")).await.ok();
            assert_eq!(count, json!({"count": expected.len()}), "{query}");
        }
    }
    assert_eq!(
        plane.get("/traces/facets").await.ok(),
        json!({"models": ["m", "other"], "harnesses": [], "runs": ["r1", "r2"]}),
    );
}

/// The feed of a gateway with a run of its own still shows all runs; only sessions are scoped.
#[tokio::test]
async fn the_feed_shows_all_runs() {
    let plane = Plane::of_run("mine");
    plane
        .record_in(&[
            ("s", Some("mine")),
            ("s", Some("other")),
            ("", Some("mine")),
        ])
        .await;
    assert_eq!(plane.get("/traces/count").await.ok(), json!({"count": 3}));
    let traces = plane.get("/traces").await.ok();
    assert_eq!(traces["traces"][0]["session_id"], "");
}

#[tokio::test]
async fn a_query_by_sessions_limits_each_and_keeps_their_order() {
    let plane = Plane::new();
    plane
        .record_in(&[("a", None), ("b", None), ("a", None), ("b", None)])
        .await;
    let traces = plane
        .post(
            "/traces/query",
            r#"{"session_ids":["b","unknown","a"],"limit":1}"#,
        )
        .await
        .ok();
    assert_eq!(ids(&traces), ["trace-001", "trace-000"]);
    assert_eq!(
        plane
            .post("/traces/query", r#"{"session_ids":[]}"#)
            .await
            .ok(),
        json!([])
    );
}

/// Equal timestamps were skipped or repeated by cursors.
#[tokio::test]
async fn defect_23_pages_neither_skip_nor_repeat() {
    for order in ["asc", "desc"] {
        let plane = Plane::new();
        // All of them arrive at the same second.
        let before: Vec<_> = {
            let mut made = Vec::new();
            for _ in 0..11 {
                made.push(plane.record(Made::default()).await);
            }
            made
        };
        let mut seen = Vec::new();
        let mut cursor = String::new();
        for page in 0.. {
            let feed = plane
                .get(&format!("/traces?order={order}&limit=3{cursor}"))
                .await
                .ok();
            seen.extend(ids(&feed["traces"]));
            // Writes go on between the pages.
            if page < 2 {
                plane.record(Made::default()).await;
            }
            match feed["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        let distinct: HashSet<_> = seen.iter().collect();
        assert_eq!(distinct.len(), seen.len(), "{order}: a trace came twice");
        assert!(
            before.iter().all(|id| distinct.contains(id)),
            "{order}: a trace was skipped"
        );
        assert!(if order == "asc" {
            seen.is_sorted()
        } else {
            seen.iter().rev().is_sorted()
        });
        assert_eq!(seen.len(), if order == "asc" { 13 } else { 11 });
    }
}

/// One stored `-Infinity` or lone surrogate made the whole listing of its session a 500.
#[tokio::test]
async fn defect_17_a_listing_survives_what_is_stored() {
    let bodies = [
        r#"{"choices":[{"index":0,"message":{"role":"assistant","content":"x"},"logprobs":{"content":[{"token":"x","logprob":-Infinity}]}}]}"#,
        r#"{"choices":[{"index":0,"message":{"role":"assistant","content":"\ud800"}}]}"#,
        r#"{"choices":[{"index":0,"message":{"role":"assistant","content":"x","n":123456789012345678901234567890}}]}"#,
        r#"{"choices":null,"usage":[],"model":7}"#,
        "[1,2]",
        "<html>",
        "",
    ];
    let plane = Plane::new();
    for reply in bodies {
        plane
            .record(Made {
                reply,
                ..Made::default()
            })
            .await;
    }
    for request in [
        r#"{"messages":[{"role":"user","content":"\udfff"}]}"#,
        "[NaN]",
        "",
        "\u{0}",
        r#"{"messages":[1,null,"x"]}"#,
    ] {
        plane
            .record(Made {
                request,
                ..Made::default()
            })
            .await;
    }
    let deep = format!(r#"{{"a":{}{}}}"#, "[".repeat(50_000), "]".repeat(50_000));
    plane
        .record(Made {
            reply: &deep,
            request: &deep,
            ..Made::default()
        })
        .await;

    let listed = plane.get("/sessions/s/traces?outcome=all").await;
    assert_eq!(listed.status, 200);
    // Each trace is valid JSON, whatever a reader thinks of the text of one of them.
    let traces: Vec<Box<serde_json::value::RawValue>> = serde_json::from_str(&listed.text).unwrap();
    assert_eq!(traces.len(), 13);
    assert_eq!(plane.get("/traces").await.status, 200);
    for number in 0..13 {
        assert_eq!(
            plane
                .get(&format!("/traces/trace-{number:03}"))
                .await
                .status,
            200
        );
    }
}

/// Three turns of an agent that sends replies back as they came.
async fn three_turns(plane: &Plane) -> Vec<String> {
    let mut messages = vec![json!({"role": "user", "content": "hi"})];
    let mut ids = Vec::new();
    for _ in 0..3 {
        let request = json!({"model": "m", "messages": messages}).to_string();
        let made = Made {
            request: &request,
            ..Made::default()
        };
        ids.push(plane.record(made).await);
        messages.push(json!({"role": "assistant", "content": "hello"}));
        messages.push(json!({"role": "user", "content": "go on"}));
    }
    ids
}

#[tokio::test]
async fn a_session_tells_its_lines_and_has_a_compact_form() {
    let plane = Plane::new();
    let turns = three_turns(&plane).await;
    let listed = plane.get("/sessions/s/traces").await.ok();
    for (position, trace) in listed.as_array().unwrap().iter().enumerate() {
        assert_eq!(trace["lineage_id"], "s#0");
        let parent = position.checked_sub(1).map(|before| turns[before].as_str());
        assert_eq!(trace["parent_trace_id"], json!(parent));
    }
    let document = plane.get("/sessions/s/traces?format=compact").await.ok();
    assert_eq!(
        (&document["format"], &document["version"]),
        (&json!("compact"), &json!(1))
    );
    assert_eq!(ids(&document["deltas"]), turns);
    let suffix = &document["deltas"][2]["messages_suffix"];
    assert_eq!(*suffix, json!([{"role": "user", "content": "go on"}]));
    let expanded = gateway_trace::expand(&document.to_string()).unwrap();
    let last: Value = serde_json::from_str(expanded[2].as_str()).unwrap();
    assert_eq!(last["messages"], listed[2]["messages"]);
    // A slice has its own root.
    let since = plane.get("/traces?order=asc").await.ok()["traces"][1]["_created_at"].clone();
    let path = format!("/sessions/s/traces?format=compact&since={since}&limit=1");
    let slice = plane.get(&path).await.ok();
    assert_eq!(ids(&slice["deltas"]), turns[1..2]);
    assert_eq!(slice["deltas"][0]["parent_trace_id"], Value::Null);
    let none = plane.get("/sessions/unknown/traces?format=compact").await;
    assert_eq!(none.ok()["deltas"], json!([]));
}

#[tokio::test]
async fn the_report_says_whether_a_session_is_whole() {
    let plane = Plane::new();
    let unknown = plane.get("/sessions/s/report").await;
    unknown.refused(404, "not_found");
    three_turns(&plane).await;
    let report = plane.get("/sessions/s/report").await.ok();
    assert_eq!(
        report,
        json!({
            "session_id": "s", "run_id": null, "accepted": 3, "persisted": 3, "in_flight": 0,
            "deleted": 0, "completed": 3, "failed": {}, "superseded": 0, "prefix_breaks": [],
            "verdict": "complete", "reasons": [],
        })
    );
    let cut = Made {
        outcome: Outcome::Truncated,
        request: r#"{"model":"m","messages":[{"role":"user","content":"cut"}]}"#,
        ..Made::default()
    };
    let cut = plane.record(cut).await;
    let failed = Made {
        outcome: Outcome::UpstreamError,
        ..Made::default()
    };
    let failed = plane.record(failed).await;
    let retried = plane.record(Made::default()).await;
    let report = plane.get("/sessions/s/report").await.ok();
    assert_eq!(report["verdict"], "incomplete");
    assert_eq!(report["superseded"], 1);
    assert_eq!(
        report["failed"],
        json!({"truncated": 1, "upstream_error": 1})
    );
    let reasons = report["reasons"].as_array().unwrap();
    assert!(reasons.len() == 1 && reasons[0].as_str().unwrap().starts_with(&cut));
    let trace = plane.get(&format!("/traces/{failed}")).await.ok();
    assert_eq!(trace["superseded_by"], retried.as_str());
}

#[tokio::test]
async fn the_report_counts_what_is_under_way_and_what_was_overtaken() {
    let plane = Plane::new();
    let admit = async || plane.admit(&Made::default()).await;
    let counts = async || {
        let report = plane.get("/sessions/s/report").await.ok();
        let count = |name: &str| report[name].as_u64().unwrap();
        let counts = ["persisted", "in_flight", "deleted"].map(count);
        assert_eq!(count("accepted"), counts.iter().sum::<u64>());
        (counts, report["verdict"].as_str().unwrap().to_owned())
    };
    let first = admit().await;
    assert_eq!(counts().await, ([0, 1, 0], "in_progress".to_owned()));
    plane.ask("DELETE", "/sessions/s", "").await.ok();
    plane
        .get("/sessions/s/report")
        .await
        .refused(404, "not_found");
    plane.record(Made::default()).await;
    assert_eq!(counts().await, ([1, 0, 0], "complete".to_owned()));
    let reply = Reply::interrupted(None);
    plane.ledger.finish(&first, &reply).await.unwrap();
    assert_eq!(counts().await, ([1, 0, 1], "complete".to_owned()));
    let second = admit().await;
    assert_eq!(counts().await, ([1, 1, 1], "in_progress".to_owned()));
    plane.ledger.finish(&second, &reply).await.unwrap();
    assert_eq!(counts().await, ([2, 0, 1], "incomplete".to_owned()));
}
