//! Traces: of a session, one by one, and the feed of all.

use axum::extract::{Path, State};
use gateway_store::{Facets, SessionTraces};
use gateway_trace::ReportBuilder;
use serde::Serialize;
use utoipa::ToSchema;

use crate::Shared;
use crate::body::Body;
use crate::listing::{
    Filter, Listing, Page, QueriedTraces, SessionListing, Timing, TracePage, TraceQuery, filter,
    include,
};
use crate::openapi::{
    BadBody, Behind, NotThere, Scope, SessionId, SessionReport, TraceId, TraceRecord,
};
use crate::query::Query;
use crate::refusal::Refusal;
use crate::render::{push_trace, record_of};
use crate::reply::JsonText;
use crate::scope::Runs;
use crate::sessions::named_sessions;

/// Lists the traces of a session in the order in which the calls arrived: completed model calls,
/// unless more is asked for. A session that is not known has none.
#[utoipa::path(
    get, path = "/sessions/{session_id}/traces", operation_id = "session_traces", tag = "sessions",
    params(SessionId, Scope, Listing),
    responses((status = 200, description = "The traces.", body = SessionListing), Behind),
)]
pub(crate) async fn of_session(
    State(shared): State<Shared>,
    Path(session_id): Path<String>,
    query: Query,
) -> Result<JsonText, Refusal> {
    let listing = Listing::read(&query, shared.own_run().as_deref())?;
    shared
        .read(move |store| listing.render(store, vec![session_id]))
        .await
}

/// Says whether a trainer may take a session as it is.
#[utoipa::path(
    get, path = "/sessions/{session_id}/report", operation_id = "session_report",
    tag = "sessions",
    params(SessionId, Scope),
    responses((status = 200, description = "The report.", body = SessionReport), NotThere, Behind),
)]
pub(crate) async fn report(
    State(shared): State<Shared>,
    Path(session_id): Path<String>,
    query: Query,
) -> Result<JsonText, Refusal> {
    let scope = Runs::read(&query, shared.own_run().as_deref())?.scope();
    // Asked for before the store is read: a call that ends meanwhile is there then, and is told
    // from those that are still open by its id.
    let mut open = shared.ledger.open_calls(&session_id, &scope);
    let unknown = Refusal::unknown("session", &session_id);
    let report = shared.read(move |store| {
        let session = store.session(&session_id, &scope)?;
        if session.is_none() && open.is_empty() {
            return Ok(None);
        }
        let mut report = ReportBuilder::default();
        for trace in store.session_traces(&SessionTraces::all(&session_id, scope))? {
            open.retain(|trace_id| *trace_id != trace.call.meta.trace_id);
            report.add(&record_of(&trace));
        }
        let run_id = session.as_ref().and_then(|row| row.run_id.as_deref());
        let deleted = session.as_ref().map_or(0, |row| row.deleted_count);
        let report = report.finish(&session_id, run_id, open.len() as u64, deleted);
        Ok(Some(JsonText::of(&report)))
    });
    report.await?.ok_or(unknown)
}

/// Shows one trace.
#[utoipa::path(
    get, path = "/traces/{trace_id}", operation_id = "trace", tag = "traces",
    params(TraceId, Timing),
    responses(
        (status = 200, description = "The trace.", body = TraceRecord), NotThere, Behind,
    ),
)]
pub(crate) async fn one(
    State(shared): State<Shared>,
    Path(trace_id): Path<String>,
    query: Query,
) -> Result<JsonText, Refusal> {
    let include = include(&query)?;
    let unknown = Refusal::unknown("trace", &trace_id);
    let found = shared.read(move |store| {
        let trace = store.trace(&trace_id)?;
        Ok(trace.map(|trace| {
            let mut text = String::new();
            push_trace(&mut text, &trace, include);
            JsonText(text)
        }))
    });
    found.await?.ok_or(unknown)
}

/// Shows a page of all traces in the order of commits.
#[utoipa::path(
    get, path = "/traces", operation_id = "list_traces", tag = "traces",
    params(Page),
    responses((status = 200, description = "The page.", body = TracePage), Behind),
)]
pub(crate) async fn feed(State(shared): State<Shared>, query: Query) -> Result<JsonText, Refusal> {
    let page = Page::read(&query)?;
    shared.read(move |store| page.render(store)).await
}

/// Counts the traces that the filters of the feed let through.
#[utoipa::path(
    get, path = "/traces/count", operation_id = "count_traces", tag = "traces",
    params(Filter),
    responses((status = 200, description = "How many.", body = TraceCount), Behind),
)]
pub(crate) async fn count(State(shared): State<Shared>, query: Query) -> Result<JsonText, Refusal> {
    let filter = filter(&query)?;
    shared
        .read(move |store| {
            let count = store.count(&filter)?;
            Ok(JsonText::of(&TraceCount { count }))
        })
        .await
}

/// Lists the distinct values that the feed can be filtered by, sorted.
#[utoipa::path(
    get, path = "/traces/facets", operation_id = "trace_facets", tag = "traces",
    responses((status = 200, description = "The values.", body = Facets), Behind),
)]
pub(crate) async fn facets(State(shared): State<Shared>) -> Result<JsonText, Refusal> {
    shared
        .read(|store| Ok(JsonText::of(&store.facets()?)))
        .await
}

/// Lists the traces of several sessions, or a page of the feed.
///
/// With `session_ids`: the traces of these sessions, one after the other, each listed as a session
/// is, `limit` for each. Without: the feed, its parameters as members.
#[utoipa::path(
    post, path = "/traces/query", operation_id = "query_traces", tag = "traces",
    request_body = TraceQuery,
    responses(
        (status = 200, description = "The traces.", body = QueriedTraces), BadBody, Behind,
    ),
)]
pub(crate) async fn query(State(shared): State<Shared>, body: Body) -> Result<JsonText, Refusal> {
    let object = body.object()?;
    let session_ids = named_sessions(object)?;
    // Both, so that no member of a wrong type passes.
    let listing = Listing::read(&object, shared.own_run().as_deref())?;
    let page = Page::read(&object)?;
    shared
        .read(move |store| match session_ids {
            Some(session_ids) => listing.render(store, session_ids),
            None => page.render(store),
        })
        .await
}

/// How many traces there are.
#[derive(Serialize, ToSchema)]
struct TraceCount {
    count: u64,
}
