//! The pool of workers: registered, listed and removed.

use axum::Json;
use axum::extract::{Path, State};
use gateway_auth::Secret;
use gateway_state::{WorkerInfo, WorkerSpec};
use serde::Serialize;
use utoipa::ToSchema;

use crate::Shared;
use crate::body::Body;
use crate::fields::Fields;
use crate::openapi::{BadBody, Conflict, NotThere, WorkerId};
use crate::refusal::Refusal;

/// The answer to a registration.
#[derive(Serialize, ToSchema)]
pub(crate) struct Registered {
    /// That of the existing worker where it was updated.
    worker_id: String,
    /// Without the `api_path`.
    url: String,
    /// Where calls go below it.
    api_path: String,
}

/// Registers a worker, or updates the one with the same URL, which keeps its id and what is not
/// given.
#[utoipa::path(
    post, path = "/admin/workers", operation_id = "register_worker", tag = "workers",
    request_body = WorkerSpec,
    responses(
        (status = 200, description = "It is in the pool.", body = Registered), Conflict, BadBody,
    ),
)]
pub(crate) async fn register(
    State(shared): State<Shared>,
    body: Body,
) -> Result<Json<Registered>, Refusal> {
    let object = body.object()?;
    let spec = WorkerSpec {
        url: object
            .text("url")?
            .ok_or_else(|| Refusal::field("url", "is needed"))?,
        api_path: object.text("api_path")?,
        worker_id: object.text("worker_id")?,
        model_name: object.text("model_name")?,
        weight: weight(&object)?,
        auth_header: object.text("auth_header")?.map(Secret::from),
    };
    let added = shared
        .state
        .workers()
        .add(&spec, &shared.state.live().worker_allow)?;
    tracing::info!(
        worker_id = added.worker_id,
        url = added.url,
        new = added.new,
        "worker registered"
    );
    Ok(Json(Registered {
        worker_id: added.worker_id,
        url: added.url,
        api_path: added.api_path,
    }))
}

fn weight(fields: &impl Fields) -> Result<Option<u32>, Refusal> {
    const NAME: &str = "weight";
    let wrong = || Refusal::field(NAME, "must be a positive integer within 32 bits");
    match fields.integer(NAME)? {
        None => Ok(None),
        Some(weight) => u32::try_from(weight)
            .ok()
            .filter(|weight| *weight > 0)
            .map(Some)
            .ok_or_else(wrong),
    }
}

/// Lists the workers in the order of their registration.
#[utoipa::path(
    get, path = "/admin/workers", operation_id = "list_workers", tag = "workers",
    responses((status = 200, description = "The workers.", body = Vec<WorkerInfo>)),
)]
pub(crate) async fn list(State(shared): State<Shared>) -> Json<Vec<WorkerInfo>> {
    Json(shared.state.workers().list())
}

/// Which worker was removed.
#[derive(Serialize, ToSchema)]
pub(crate) struct Removed {
    /// Its id.
    removed: String,
}

/// Removes a worker: calls under way go on, its sessions move.
#[utoipa::path(
    delete, path = "/admin/workers/{worker_id}", operation_id = "remove_worker", tag = "workers",
    params(WorkerId),
    responses((status = 200, description = "It is gone.", body = Removed), NotThere),
)]
pub(crate) async fn remove(
    State(shared): State<Shared>,
    Path(worker_id): Path<String>,
) -> Result<Json<Removed>, Refusal> {
    if !shared.state.workers().remove(&worker_id) {
        return Err(Refusal::unknown("worker", &worker_id));
    }
    tracing::info!(worker_id, "worker removed");
    Ok(Json(Removed { removed: worker_id }))
}
