//! What trainers do to a running gateway: tell the version of the weights, and flush.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::Shared;
use crate::body::Body;
use crate::fields::Fields;
use crate::openapi::BadBody;
use crate::refusal::Refusal;

/// The version of the weights that the workers serve; null before it was told.
#[derive(Serialize, ToSchema)]
pub(crate) struct WeightVersion {
    #[schema(required = true)]
    weight_version: Option<i64>,
}

/// Tells the version of the weights that the workers serve.
#[utoipa::path(
    get, path = "/admin/weight_version", operation_id = "weight_version", tag = "control",
    responses((status = 200, description = "As it was told last.", body = WeightVersion)),
)]
pub(crate) async fn weight_version(State(shared): State<Shared>) -> Json<WeightVersion> {
    Json(WeightVersion {
        weight_version: shared.state.weight_version(),
    })
}

/// What is told of the weights.
#[derive(ToSchema)]
#[expect(
    dead_code,
    reason = "handlers read a body member by member; this is its schema"
)]
pub(crate) struct NewWeightVersion {
    weight_version: i64,
}

/// Takes note of another version of the weights, for calls that arrive from now on.
#[utoipa::path(
    post, path = "/admin/weight_version", operation_id = "set_weight_version", tag = "control",
    request_body = NewWeightVersion,
    responses((status = 200, description = "It is noted.", body = WeightVersion), BadBody),
)]
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
#[derive(Serialize, ToSchema)]
pub(crate) struct Flushed {
    #[schema(pattern = "^flushed$")]
    status: &'static str,
}

/// Answers once every call whose reply has ended is durable and in the store.
///
/// If that cannot be done within 25 s: 500, and the message says what is not where it belongs.
#[utoipa::path(
    post, path = "/admin/flush", operation_id = "flush", tag = "control",
    responses((status = 200, description = "It is done.", body = Flushed)),
)]
pub(crate) async fn flush(State(shared): State<Shared>) -> Result<Json<Flushed>, Refusal> {
    shared.ledger.flush().await?;
    Ok(Json(Flushed { status: "flushed" }))
}
