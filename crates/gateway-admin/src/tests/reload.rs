//! Reading the configuration anew.

use serde_json::json;

use super::*;

#[tokio::test]
async fn a_reload_tells_what_changed_and_what_cannot() {
    let plane = Plane::new();
    assert_eq!(
        plane.post("/admin/reload", "").await.ok(),
        json!({"status": "ok", "changed": ["routes"], "restart_needed": ["port"]})
    );
}

#[tokio::test]
async fn a_configuration_that_cannot_be_taken_is_a_400_with_its_line() {
    let mut plane = Plane::new();
    let bad: Reload = Arc::new(|| Box::pin(async { Err("g.yaml:3: port: no".to_owned()) }));
    plane.admin = Admin::new(Arc::clone(&plane.state), plane.ledger.clone(), bad);
    let answer = plane.post("/admin/reload", "").await;
    assert_eq!(answer.refused(400, "bad_request"), "g.yaml:3: port: no");
}
