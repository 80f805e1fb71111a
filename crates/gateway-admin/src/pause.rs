//! Pausing and resuming, around a change of the workers' weights.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::Shared;
use crate::body::Body;
use crate::fields::Fields;
use crate::openapi::{BadBody, Conflict};
use crate::refusal::Refusal;

/// How a pause is asked for.
#[derive(ToSchema)]
#[expect(
    dead_code,
    reason = "handlers read a body member by member; this is its schema"
)]
pub(crate) struct NewPause {
    /// Seconds to wait until no call is under way; 0 by default.
    #[schema(minimum = 0)]
    wait: Option<f64>,
}

/// The answer to a pause.
#[derive(Serialize, ToSchema)]
pub(crate) struct Paused {
    #[schema(pattern = "^paused$")]
    status: &'static str,
    /// Calls that are past the gate and not over.
    in_flight: usize,
}

/// Holds new calls at the door. Answers once no call is under way, or after `wait` seconds.
///
/// A gateway that ends waits no longer; a resume during the wait is a conflict.
#[utoipa::path(
    post, path = "/admin/pause", operation_id = "pause", tag = "control",
    request_body = NewPause,
    responses(
        (status = 200, description = "New calls wait; what is in flight goes on.", body = Paused),
        BadBody, Conflict,
    ),
)]
pub(crate) async fn pause(
    State(shared): State<Shared>,
    body: Body,
) -> Result<Json<Paused>, Refusal> {
    let wait = seconds(&body.object()?, "wait")?;
    let gate = shared.state.pause();
    gate.close();
    tracing::info!(in_flight = gate.under_way(), "paused");
    tokio::select! {
        biased;
        () = gate.clear() => {}
        () = shared.state.drain().wait() => {}
        () = tokio::time::sleep(wait) => {}
    }
    // Whoever paused must not change weights on the word of an answer that is not true any more.
    if !gate.is_closed() {
        return Err(Refusal::conflict(
            "the gateway was resumed during the wait".to_owned(),
        ));
    }
    Ok(Json(Paused {
        status: "paused",
        in_flight: gate.under_way(),
    }))
}

/// The answer to a resume.
#[derive(Serialize, ToSchema)]
pub(crate) struct Resumed {
    #[schema(pattern = "^resumed$")]
    status: &'static str,
}

/// Lets calls pass again, those that wait first. No error where nothing was paused.
#[utoipa::path(
    post, path = "/admin/resume", operation_id = "resume", tag = "control",
    responses((status = 200, description = "Calls pass.", body = Resumed)),
)]
pub(crate) async fn resume(State(shared): State<Shared>) -> Json<Resumed> {
    shared.state.pause().open();
    tracing::info!("resumed");
    Json(Resumed { status: "resumed" })
}

/// A time in seconds; none is 0, and one that never ends is as good as any.
fn seconds(fields: &impl Fields, name: &'static str) -> Result<Duration, Refusal> {
    let seconds = fields.number(name)?.unwrap_or(0.0);
    if seconds < 0.0 {
        return Err(Refusal::field(name, "must not be negative"));
    }
    Ok(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
}
