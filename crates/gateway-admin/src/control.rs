//! What trainers do to a running gateway: tell the version of the weights, and flush.

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use crate::Shared;
use crate::body::Body;
use crate::fields::Fields;
use crate::refusal::Refusal;

/// The version of the weights that the workers serve; null before it was told.
#[derive(Serialize)]
pub(crate) struct WeightVersion {
    weight_version: Option<i64>,
}

/// `GET /admin/weight_version`
pub(crate) async fn weight_version(State(shared): State<Shared>) -> Json<WeightVersion> {
    Json(WeightVersion {
        weight_version: shared.state.weight_version(),
    })
}

/// `POST /admin/weight_version`: for calls that arrive from now on.
pub(crate) async fn set_weight_version(
    State(shared): State<Shared>,
    body: Body,
) -> Result<Json<WeightVersion>, Refusal> {
    const NAME: &str = "weight_version";
    let version = body.object()?.integer(NAME)?;
    let version = version.ok_or_else(|| Refusal::field(NAME, "is needed: an integer"))?;
    shared.state.set_weight_version(version);
    Ok(Json(WeightVersion {
        weight_version: Some(version),
    }))
}

/// The answer to a flush.
#[derive(Serialize)]
pub(crate) struct Flushed {
    status: &'static str,
}

/// `POST /admin/flush`: once every call whose reply has ended is durable and in the store.
pub(crate) async fn flush(State(shared): State<Shared>) -> Result<Json<Flushed>, Refusal> {
    shared.ledger.flush().await?;
    Ok(Json(Flushed { status: "flushed" }))
}
