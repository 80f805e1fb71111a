//! The management plane: sessions, traces, workers, health and flush over HTTP.
//!
//! [`Admin::handle`] answers one request. It knows no socket and no configuration: what both planes
//! share comes as a [`State`], traces and sessions are read and changed through a [`Ledger`]. Who
//! may ask is decided before, at the door of the server; what arrives here is answered.
//!
//! - A path may hold an id with raw slashes; `path` makes one segment of it.
//! - Values are read strictly, from the query and from JSON bodies alike (`fields`): what is
//!   absent, null or unknown is no error, what is wrong is a 400 that names it.
//! - Reads wait until the store holds what was finished before, and become text on the blocking
//!   pool, so that a large listing delays no call.
//! - Whatever goes wrong is the one error shape (`refusal`).
//!
//! What is absent: no authorisation (the door's), no forwarding (the data plane's), no state of
//! its own but for the locks that keep changes of one session in order.
//!
//! ```
//! use std::sync::Arc;
//!
//! use gateway_admin::{Admin, Reload, Reloaded};
//! use gateway_auth::Principal;
//! use gateway_state::{Live, State};
//! use gateway_store::{Ledger, LedgerOptions, MemoryStore};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! # let folder = tempfile::tempdir()?;
//! let state = Arc::new(State::new(Live::default(), "0.1.0"));
//! let ledger = Ledger::open(LedgerOptions::new(folder.path()), Arc::new(MemoryStore::new()))?;
//! let reload: Reload = Arc::new(|| Box::pin(async { Ok(Reloaded::default()) }));
//! let admin = Admin::new(state, ledger, reload);
//!
//! let request = http::Request::get("/traces/count").body(String::new())?;
//! let response = admin.handle(request, Principal::Anonymous).await;
//! assert_eq!(response.status(), 200);
//! let body = axum::body::to_bytes(response.into_body(), 1024).await?;
//! assert_eq!(body, r#"{"count":0}"#);
//! # Ok(()) })
//! # }
//! ```

mod body;
mod control;
mod fields;
mod health;
mod listing;
mod metrics;
mod openapi;
mod path;
mod pause;
mod query;
mod refusal;
mod reload;
mod render;
mod reply;
mod router;
mod runs;
mod scope;
mod sessions;
mod shared;
mod traces;
mod workers;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::response::IntoResponse;
use bytes::Bytes;
use gateway_auth::Principal;
use gateway_state::{ApiError, State};
use gateway_store::Ledger;
use http::uri::PathAndQuery;
use http::{Method, Request, Response, Uri};
use tower_service::Service;

pub use crate::openapi::openapi;
pub use crate::reload::{Reload, Reloaded, Reloading};

use crate::refusal::Refusal;
use crate::shared::Shared;

/// The management plane of one gateway. Clones share it.
#[derive(Clone)]
pub struct Admin {
    state: Arc<State>,
    router: Router,
}

impl Admin {
    /// The management plane over what both planes share; `reload` reads the configuration anew.
    #[must_use]
    pub fn new(state: Arc<State>, ledger: Ledger, reload: Reload) -> Self {
        let shared = Shared::new(Arc::clone(&state), ledger, reload);
        Self {
            state,
            router: router::router(shared),
        }
    }

    /// Answers a request that the door has let in, from `principal`. Always a reply: an error is
    /// the JSON of [`gateway_state::ApiError`].
    ///
    /// Cancel-safe: once the request is read, what it asks for is done whether or not the reply is
    /// still waited for, so that a client that leaves does not leave half a change.
    pub async fn handle<B>(&self, request: Request<B>, principal: Principal) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let method = request.method().clone();
        // A path is the caller's text: as a string it is quoted and escaped in logs.
        let path = request.uri().path().to_owned();
        let principal = principal.name();
        let response = match routed(request) {
            Ok(request) => self.answer(request).await,
            Err(refusal) => refusal.into_response(),
        };
        let status = response.status().as_u16();
        match response.extensions().get::<ApiError>() {
            Some(error) => {
                self.state.counters().refuse(error.reason());
                let (code, reason) = (error.code(), error.message());
                tracing::info!(%method, path, principal, status, code, reason, "refused");
            }
            None => tracing::debug!(%method, path, principal, status, "answered"),
        }
        response
    }

    /// Runs the handler in a task of its own, which goes on when the client has left. A panic in it
    /// is a 500.
    async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let mut router = self.router.clone();
        match tokio::spawn(async move { router.call(request).await }).await {
            Ok(Ok(response)) => response,
            Ok(Err(never)) => match never {},
            Err(error) => {
                tracing::error!(%error, "a management handler did not end well");
                Refusal::internal().into_response()
            }
        }
    }
}

/// The request as the router takes it: its path canonical.
fn routed<B>(request: Request<B>) -> Result<Request<Body>, Refusal>
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (mut parts, body) = request.into_parts();
    if parts.method == Method::CONNECT {
        // Its target is no path.
        return Err(Refusal::unknown_method());
    }
    let target = path::canonical(&parts.method, parts.uri.path())?;
    let target = match parts.uri.query() {
        Some(query) => format!("{target}?{query}"),
        None => target.into_owned(),
    };
    let target = PathAndQuery::try_from(target)
        .map_err(|_| Refusal::malformed("the request target cannot be read"))?;
    parts.uri = Uri::from(target);
    Ok(Request::from_parts(parts, Body::new(body)))
}

#[cfg(test)]
mod tests;
