//! The table of requests: which handler answers what, and who may use which method.

use axum::Router;
use axum::routing::{MethodRouter, delete, get, post};

use crate::refusal::Refusal;
use crate::{Shared, control, health, metrics, runs, sessions, traces, workers};

/// Every request of the management plane. A `GET` handler answers `HEAD` as well; ids are one
/// segment each, see [`path`](crate::path).
pub(crate) fn router(shared: Shared) -> Router {
    Router::new()
        .route("/", reads(get(health::knock)))
        .route("/health", reads(get(health::alive)))
        .route("/ready", reads(get(health::ready)))
        .route("/health/workers", reads(get(health::workers)))
        .route(
            "/sessions",
            only(
                "GET, HEAD, POST",
                get(sessions::list).post(sessions::create),
            ),
        )
        .route(
            "/sessions/batch_delete",
            writes(post(sessions::batch_delete)),
        )
        .route(
            "/sessions/{session_id}",
            only(
                "GET, HEAD, DELETE",
                get(sessions::one).delete(sessions::delete),
            ),
        )
        .route(
            "/sessions/{session_id}/traces",
            reads(get(traces::of_session)),
        )
        .route("/sessions/{session_id}/report", reads(get(traces::report)))
        .route("/traces", reads(get(traces::feed)))
        .route("/traces/count", reads(get(traces::count)))
        .route("/traces/facets", reads(get(traces::facets)))
        .route("/traces/query", writes(post(traces::query)))
        .route("/traces/{trace_id}", reads(get(traces::one)))
        .route("/runs", reads(get(runs::list)))
        .route("/runs/{run_id}", reads(get(runs::one)))
        .route(
            "/admin/workers",
            only(
                "GET, HEAD, POST",
                get(workers::list).post(workers::register),
            ),
        )
        .route(
            "/admin/workers/{worker_id}",
            only("DELETE", delete(workers::remove)),
        )
        .route(
            "/admin/weight_version",
            only(
                "GET, HEAD, POST",
                get(control::weight_version).post(control::set_weight_version),
            ),
        )
        .route("/admin/flush", writes(post(control::flush)))
        .route("/admin/pause", writes(post(Refusal::not_built("pausing"))))
        .route(
            "/admin/resume",
            writes(post(Refusal::not_built("resuming"))),
        )
        .route(
            "/admin/reload",
            writes(post(Refusal::not_built("reloading the configuration"))),
        )
        .route("/metrics", reads(get(metrics::page)))
        .route(
            "/openapi.json",
            reads(get(Refusal::not_built("the OpenAPI document"))),
        )
        .fallback(Refusal::no_path())
        .with_state(shared)
}

fn reads(methods: MethodRouter<Shared>) -> MethodRouter<Shared> {
    only("GET, HEAD", methods)
}

fn writes(methods: MethodRouter<Shared>) -> MethodRouter<Shared> {
    only("POST", methods)
}

/// Any other method is refused with those that the path takes.
fn only(allow: &'static str, methods: MethodRouter<Shared>) -> MethodRouter<Shared> {
    methods.fallback(Refusal::method(allow))
}
