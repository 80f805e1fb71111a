//! Reading the configuration anew, which is somebody else's work.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::Shared;
use crate::refusal::Refusal;

/// Reads the configuration anew and puts it in force. What is wrong with one that cannot be taken is
/// one line for whoever runs the gateway.
pub type Reload = Arc<dyn Fn() -> Reloading + Send + Sync>;

/// What [`Reload`] gives; it goes on to its end once it was polled.
pub type Reloading = Pin<Box<dyn Future<Output = Result<Reloaded, String>> + Send>>;

/// What a reload came to: the top-level keys that differ, each in one of the two lists.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Reloaded {
    /// Those whose new values are in force now.
    pub changed: Vec<&'static str>,
    /// Those that keep their old values until the gateway is started anew.
    pub restart_needed: Vec<&'static str>,
}

/// The answer to a reload.
#[derive(Serialize, ToSchema)]
pub(crate) struct ReloadReport {
    #[schema(pattern = "^ok$")]
    status: &'static str,
    #[serde(flatten)]
    reloaded: Reloaded,
}

/// Reads the configuration anew, and puts in force what can change while calls run.
///
/// A configuration that cannot be taken changes nothing, and is a 400 that says where.
#[utoipa::path(
    post, path = "/admin/reload", operation_id = "reload", tag = "control",
    responses((status = 200, description = "It is in force.", body = ReloadReport)),
)]
pub(crate) async fn reload(State(shared): State<Shared>) -> Result<Json<ReloadReport>, Refusal> {
    let reloaded = (shared.reload)().await.map_err(Refusal::malformed)?;
    Ok(Json(ReloadReport {
        status: "ok",
        reloaded,
    }))
}
