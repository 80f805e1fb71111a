//! The OpenAPI document of the management plane, made from the router and from what stands beside
//! the handlers.
//!
//! Each handler tells its path, parameters, body and answers in an attribute, and the router takes
//! the path from there; so a request cannot be missing here. What all requests have in common is
//! added in this file.

mod parameters;
mod refused;
mod schemas;

use std::sync::LazyLock;

use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use utoipa::OpenApi;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{RefOr, Required};

pub(crate) use parameters::{
    RunId, Scope, SessionId, TraceId, WorkerId, count, cursor, flag, member, number, text, words,
};
pub(crate) use refused::{BadBody, Behind, Conflict, NotThere};
pub(crate) use schemas::{
    AnyObject, CompactTraces, NamedSession, SessionReport, TraceRecord, add, reference,
};

/// What all requests have in common, in words.
const DESCRIPTION: &str = "\
What the gateway answers itself: sessions and their traces, runs, workers, health. All other paths \
below `/v1` and `/sessions/{session_id}/v1` are model calls, which go to an upstream as they are.

- `HEAD` works wherever `GET` does. Any other method is a 405 that lists those that the path takes.
- Unknown parameters and members are ignored. A member that is null is as good as absent, and so is \
an empty string where a text is meant. A value of the wrong type is a 400 that names it.
- Times are UNIX seconds.
- Where tokens are configured, a request presents one in any of the three forms. With an \
`admin_auth_token`, all requests but `/`, `/health` and `/ready` need that one.
- An id in a path is percent-encoded; a raw `/` in it is understood too.";

/// What is not beside a handler.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "rllm-model-gateway",
        description = DESCRIPTION,
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    servers((url = "/", description = "The gateway itself.")),
    security((), ("bearer" = []), ("api_key" = []), ("basic" = [])),
    tags(
        (name = "health", description = "Whether the gateway lives, and is ready."),
        (name = "sessions", description = "Made, updated, listed and deleted."),
        (name = "traces", description = "Of a session, one by one, and the feed of all."),
        (name = "runs", description = "Registered at a start, or named by calls."),
        (name = "workers", description = "The pool of inference servers."),
        (name = "control", description = "What a trainer does to a running gateway."),
    ),
)]
struct Document;

/// The document without its paths, to which the router adds them.
pub(crate) fn begun() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

/// Adds what all requests have in common.
fn finished(mut document: utoipa::openapi::OpenApi) -> utoipa::openapi::OpenApi {
    refused::add_everywhere(&mut document);
    for path in ["/sessions", "/traces/query", "/admin/pause"] {
        // No body is an object without members, and here none is needed.
        let path = document.paths.paths.get_mut(path);
        let body = path.and_then(|path| path.post.as_mut()?.request_body.as_mut());
        if let Some(RefOr::T(body)) = body {
            body.required = Some(Required::False);
        }
    }
    let components = document.components.get_or_insert_default();
    let http = |scheme| SecurityScheme::Http(HttpBuilder::new().scheme(scheme).build());
    let key = SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::new("x-api-key")));
    components.add_security_scheme("bearer", http(HttpAuthScheme::Bearer));
    components.add_security_scheme("api_key", key);
    components.add_security_scheme("basic", http(HttpAuthScheme::Basic));
    document
}

/// The document as indented JSON that ends with a newline.
#[must_use]
pub fn openapi() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| {
        let (_, document) = crate::router::requests().split_for_parts();
        let json = finished(document).to_pretty_json();
        json.expect("plain data has a JSON form") + "\n"
    });
    &TEXT
}

/// This document.
#[utoipa::path(
    get, path = "/openapi.json", operation_id = "openapi", tag = "control",
    responses((status = 200, description = "OpenAPI 3.1.", body = AnyObject)),
)]
pub(crate) async fn document() -> Response {
    ([(CONTENT_TYPE, "application/json")], openapi()).into_response()
}
