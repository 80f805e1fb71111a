//! Runs, read.

use axum::extract::{Path, State};

use crate::Shared;
use crate::fields::Fields;
use crate::query::Query;
use crate::refusal::Refusal;
use crate::reply::JsonText;

/// `GET /runs`: newest first.
pub(crate) async fn list(State(shared): State<Shared>, query: Query) -> Result<JsonText, Refusal> {
    let (since, limit) = (query.number("since")?, query.count("limit")?);
    shared
        .read(move |store| Ok(JsonText::of(&store.runs(since, limit)?)))
        .await
}

/// `GET /runs/{run_id}`
pub(crate) async fn one(
    State(shared): State<Shared>,
    Path(run_id): Path<String>,
) -> Result<JsonText, Refusal> {
    let unknown = Refusal::unknown("run", &run_id);
    let found = shared.read(move |store| Ok(store.run(&run_id)?.map(|run| JsonText::of(&run))));
    found.await?.ok_or(unknown)
}
