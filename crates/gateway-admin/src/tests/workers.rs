//! Workers: registered, updated, listed and removed.

use serde_json::json;

use super::*;

#[tokio::test]
async fn a_worker_comes_and_goes() {
    let plane = Plane::new();
    let added = plane
        .post("/admin/workers", r#"{"url":"http://h:8000/v1"}"#)
        .await
        .ok();
    assert_eq!(
        (&added["url"], &added["api_path"]),
        (&json!("http://h:8000"), &json!("/v1"))
    );
    let id = added["worker_id"].as_str().unwrap();

    let listed = plane.get("/admin/workers").await.ok();
    let worker = &listed[0];
    assert_eq!(worker["worker_id"], id);
    assert_eq!(
        (
            &worker["weight"],
            &worker["model_name"],
            &worker["healthy"],
            &worker["active_requests"]
        ),
        (&json!(1), &Value::Null, &json!(true), &json!(0))
    );
    assert_eq!(
        plane.get("/health/workers").await.ok(),
        json!({"workers": listed, "healthy": 1, "total": 1})
    );

    assert_eq!(
        plane.delete(&format!("/admin/workers/{id}")).await.ok(),
        json!({"removed": id})
    );
    plane
        .delete(&format!("/admin/workers/{id}"))
        .await
        .refused(404, "not_found");
    assert_eq!(plane.get("/admin/workers").await.ok(), json!([]));
}

/// Registering the same URL again gave an id that could not be deleted.
#[tokio::test]
async fn defect_26_the_same_url_again_updates_the_worker() {
    let plane = Plane::new();
    let first = plane
        .post(
            "/admin/workers",
            r#"{"url":"http://h:8000","api_path":"/v1","weight":2}"#,
        )
        .await
        .ok();
    // The form of the PyPI client, which sends the api_path always.
    let body = r#"{"url":"http://h:8000/v1","api_path":"/v1","worker_id":"mine","model_name":"m"}"#;
    assert_eq!(plane.post("/admin/workers", body).await.ok(), first);
    let listed = plane.get("/admin/workers").await.ok();
    assert_eq!(listed.as_array().unwrap().len(), 1);
    assert_eq!(
        (&listed[0]["weight"], &listed[0]["model_name"]),
        (&json!(2), &json!("m"))
    );
    let id = first["worker_id"].as_str().unwrap();
    plane.delete(&format!("/admin/workers/{id}")).await.ok();
}

#[tokio::test]
async fn an_id_of_ones_own_may_hold_slashes() {
    let plane = Plane::new();
    let body = r#"{"url":"http://h:8000","worker_id":"rack/1:0"}"#;
    assert_eq!(
        plane.post("/admin/workers", body).await.ok()["worker_id"],
        "rack/1:0"
    );
    let body = r#"{"url":"http://other:8000","worker_id":"rack/1:0"}"#;
    plane
        .post("/admin/workers", body)
        .await
        .refused(409, "conflict");
    assert_eq!(
        plane.delete("/admin/workers/rack/1:0").await.ok(),
        json!({"removed": "rack/1:0"})
    );
}

#[tokio::test]
async fn an_address_that_must_not_be_a_worker_is_refused() {
    let plane = Plane::new();
    for url in [
        "file:///etc/passwd",
        "ftp://h",
        "h:8000",
        "http://user:secret@h",
        "http://169.254.169.254/latest",
        "http://[::ffff:169.254.169.254]/",
        "http://2852039166/",
        "http://metadata.google.internal/",
        "http://",
        "http://h:0",
        "http://h?x=1",
    ] {
        let message = plane
            .post("/admin/workers", json!({"url": url}).to_string())
            .await
            .refused(400, "bad_request");
        assert!(message.contains("`url`"), "{url}: {message}");
        assert!(!message.contains("secret"), "{message}");
    }
    assert_eq!(plane.get("/admin/workers").await.ok(), json!([]));
}

#[tokio::test]
async fn a_credential_is_never_shown() {
    let plane = Plane::new();
    let body = r#"{"url":"http://h","auth_header":"Bearer canary-1"}"#;
    let added = plane.post("/admin/workers", body).await;
    let listed = plane.get("/admin/workers").await;
    let health = plane.get("/health/workers").await;
    assert!(
        [added, listed, health]
            .iter()
            .all(|answer| answer.status == 200 && !answer.text.contains("canary"))
    );
}
