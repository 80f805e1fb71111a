//! The table of requests: which handler answers what, and who may use which method.

use axum::Router;
use http::Method;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};
use utoipa_axum::routes;

use crate::refusal::Refusal;
use crate::{
    Shared, control, health, metrics, openapi, pause, reload, runs, sessions, traces, workers,
};

/// Every request of the management plane, ready to be served.
pub(crate) fn router(shared: Shared) -> Router {
    let (router, _) = requests().split_for_parts();
    router.fallback(nobodys).with_state(shared)
}

/// The path is nobody's.
async fn nobodys(method: Method) -> Refusal {
    Refusal::no_path(&method)
}

/// The requests; their paths stand beside the handlers. A `GET` handler answers `HEAD` as well; ids
/// are one segment each, see [`path`](crate::path).
pub(crate) fn requests() -> OpenApiRouter<Shared> {
    OpenApiRouter::with_openapi(openapi::begun())
        .routes(reads(routes!(health::knock)))
        .routes(reads(routes!(health::alive)))
        .routes(reads(routes!(health::ready)))
        .routes(reads(routes!(health::workers)))
        .routes(only(
            "GET, HEAD, POST",
            routes!(sessions::list, sessions::create),
        ))
        .routes(writes(routes!(sessions::batch_delete)))
        .routes(only(
            "GET, HEAD, DELETE",
            routes!(sessions::one, sessions::delete),
        ))
        .routes(reads(routes!(traces::of_session)))
        .routes(reads(routes!(traces::report)))
        .routes(reads(routes!(traces::feed)))
        .routes(reads(routes!(traces::count)))
        .routes(reads(routes!(traces::facets)))
        .routes(writes(routes!(traces::query)))
        .routes(reads(routes!(traces::one)))
        .routes(reads(routes!(runs::list)))
        .routes(reads(routes!(runs::one)))
        .routes(only(
            "GET, HEAD, POST",
            routes!(workers::list, workers::register),
        ))
        .routes(only("DELETE", routes!(workers::remove)))
        .routes(only(
            "GET, HEAD, POST",
            routes!(control::weight_version, control::set_weight_version),
        ))
        .routes(writes(routes!(control::flush)))
        .routes(writes(routes!(pause::pause)))
        .routes(writes(routes!(pause::resume)))
        .routes(writes(routes!(reload::reload)))
        .routes(reads(routes!(metrics::page)))
        .routes(reads(routes!(openapi::document)))
}

fn reads(methods: UtoipaMethodRouter<Shared>) -> UtoipaMethodRouter<Shared> {
    only("GET, HEAD", methods)
}

fn writes(methods: UtoipaMethodRouter<Shared>) -> UtoipaMethodRouter<Shared> {
    only("POST", methods)
}

/// Any other method is refused with those that the path takes.
fn only(
    allow: &'static str,
    (schemas, paths, methods): UtoipaMethodRouter<Shared>,
) -> UtoipaMethodRouter<Shared> {
    let methods = methods.fallback(Refusal::method(allow));
    (schemas, paths, methods)
}
