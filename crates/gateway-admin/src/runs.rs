//! Runs, read.

use axum::extract::{Path, State};
use gateway_store::Run;
use utoipa::IntoParams;
use utoipa::openapi::path::{Parameter, ParameterIn};

use crate::Shared;
use crate::fields::Fields;
use crate::openapi::{self, Behind, NotThere, RunId};
use crate::query::Query;
use crate::refusal::Refusal;
use crate::reply::JsonText;

/// What narrows the list of runs.
pub(crate) struct RunList;

impl IntoParams for RunList {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        vec![
            openapi::number("since", "Only runs started at this time or later."),
            openapi::count("limit", "At most so many."),
        ]
    }
}

/// Lists the runs, newest first; those too that only calls have named.
#[utoipa::path(
    get, path = "/runs", operation_id = "list_runs", tag = "runs",
    params(RunList),
    responses((status = 200, description = "The runs.", body = Vec<Run>), Behind),
)]
pub(crate) async fn list(State(shared): State<Shared>, query: Query) -> Result<JsonText, Refusal> {
    let (since, limit) = (query.number("since")?, query.count("limit")?);
    shared
        .read(move |store| Ok(JsonText::of(&store.runs(since, limit)?)))
        .await
}

/// Tells of one run.
#[utoipa::path(
    get, path = "/runs/{run_id}", operation_id = "run", tag = "runs",
    params(RunId),
    responses((status = 200, description = "The run.", body = Run), NotThere, Behind),
)]
pub(crate) async fn one(
    State(shared): State<Shared>,
    Path(run_id): Path<String>,
) -> Result<JsonText, Refusal> {
    let unknown = Refusal::unknown("run", &run_id);
    let found = shared.read(move |store| Ok(store.run(&run_id)?.map(|run| JsonText::of(&run))));
    found.await?.ok_or(unknown)
}
