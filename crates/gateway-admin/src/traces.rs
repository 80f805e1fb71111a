//! Traces: of a session, one by one, and the feed of all.

use axum::extract::{Path, State};
use gateway_store::{Feed, Order, SessionTraces, StoreError, TraceFilter, TraceStore};
use gateway_trace::{Compact, Include, Outcome, ReportBuilder, SpanType};

use crate::Shared;
use crate::body::Body;
use crate::fields::Fields;
use crate::query::Query;
use crate::refusal::Refusal;
use crate::render::{push_trace, record_of};
use crate::reply::JsonText;
use crate::scope::Runs;

/// How many traces a page of the feed has unless the request says otherwise.
const PAGE: u64 = 200;

/// `GET /sessions/{session_id}/traces`: in the order in which the calls arrived.
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

/// `GET /sessions/{session_id}/report`: whether a trainer may take the session as it is.
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

/// `GET /traces/{trace_id}`
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

/// `GET /traces`: a page of all traces in the order of commits.
pub(crate) async fn feed(State(shared): State<Shared>, query: Query) -> Result<JsonText, Refusal> {
    let page = Page::read(&query)?;
    shared.read(move |store| page.render(store)).await
}

/// `GET /traces/count`
pub(crate) async fn count(State(shared): State<Shared>, query: Query) -> Result<JsonText, Refusal> {
    let filter = filter(&query)?;
    let text = shared.read(move |store| Ok(format!(r#"{{"count":{}}}"#, store.count(&filter)?)));
    text.await.map(JsonText)
}

/// `GET /traces/facets`
pub(crate) async fn facets(State(shared): State<Shared>) -> Result<JsonText, Refusal> {
    shared
        .read(|store| Ok(JsonText::of(&store.facets()?)))
        .await
}

/// `POST /traces/query`: with session ids the traces of these sessions, one after the other; with
/// none the feed, its filters in the body.
pub(crate) async fn query(State(shared): State<Shared>, body: Body) -> Result<JsonText, Refusal> {
    let object = body.object()?;
    if let Some(session_ids) = object.texts("session_ids")? {
        let listing = Listing::read(&object, shared.own_run().as_deref())?;
        return shared
            .read(move |store| listing.render(store, session_ids))
            .await;
    }
    let page = Page::read(&object)?;
    shared.read(move |store| page.render(store)).await
}

/// What a listing of a session shows.
struct Listing {
    /// The query for each session; its id is filled in for each.
    query: SessionTraces,
    include: Include,
    is_compact: bool,
}

impl Listing {
    fn read(fields: &impl Fields, own_run: Option<&str>) -> Result<Self, Refusal> {
        let formats = [("full", false), ("compact", true)];
        let plain = SessionTraces::plain("", Runs::read(fields, own_run)?.scope());
        let query = SessionTraces {
            since: fields.number("since")?,
            limit: fields.count("limit")?,
            outcome: fields.word("outcome", &OUTCOMES)?.unwrap_or(plain.outcome),
            span_type: fields
                .word("span_type", &SPAN_TYPES)?
                .unwrap_or(plain.span_type),
            ..plain
        };
        Ok(Self {
            query,
            include: include(fields)?,
            is_compact: fields.word("format", &formats)?.unwrap_or_default(),
        })
    }

    /// The traces of these sessions: one JSON array, or one compact document.
    fn render(
        mut self,
        store: &dyn TraceStore,
        sessions: Vec<String>,
    ) -> Result<JsonText, StoreError> {
        if self.is_compact {
            let mut compact = Compact::default();
            for session_id in sessions {
                self.query.session_id = session_id;
                for trace in store.session_traces(&self.query)? {
                    compact.push(&record_of(&trace));
                }
            }
            return Ok(JsonText(compact.finish()));
        }
        let mut text = String::from("[");
        for session_id in sessions {
            self.query.session_id = session_id;
            for trace in store.session_traces(&self.query)? {
                if text.len() > 1 {
                    text.push(',');
                }
                push_trace(&mut text, &trace, self.include);
            }
        }
        text.push(']');
        Ok(JsonText(text))
    }
}

const OUTCOMES: [(&str, Option<Outcome>); 7] = [
    ("all", None),
    ("completed", Some(Outcome::Completed)),
    ("upstream_error", Some(Outcome::UpstreamError)),
    ("truncated", Some(Outcome::Truncated)),
    ("client_disconnected", Some(Outcome::ClientDisconnected)),
    ("gateway_error", Some(Outcome::GatewayError)),
    ("interrupted", Some(Outcome::Interrupted)),
];

const SPAN_TYPES: [(&str, Option<SpanType>); 3] = [
    ("all", None),
    ("llm.call", Some(SpanType::Llm)),
    ("llm.embedding", Some(SpanType::Embedding)),
];

/// A page of the feed.
struct Page {
    query: Feed,
    include: Include,
}

impl Page {
    fn read(fields: &impl Fields) -> Result<Self, Refusal> {
        let orders = [("desc", Order::NewestFirst), ("asc", Order::OldestFirst)];
        let query = Feed {
            filter: filter(fields)?,
            order: fields.word("order", &orders)?.unwrap_or_default(),
            cursor: cursor(fields)?,
            limit: fields.count("limit")?.unwrap_or(PAGE),
        };
        Ok(Self {
            query,
            include: include(fields)?,
        })
    }

    fn render(self, store: &dyn TraceStore) -> Result<JsonText, StoreError> {
        let page = store.feed(&self.query)?;
        let mut text = String::from(r#"{"traces":["#);
        for (position, trace) in page.traces.into_iter().enumerate() {
            if position > 0 {
                text.push(',');
            }
            let include = Include {
                created_at: Some(trace.created_at),
                ..self.include
            };
            push_trace(&mut text, &trace, include);
        }
        let next = page
            .next_cursor
            .map_or("null".to_owned(), |seq| format!("\"{seq}\""));
        text.push_str(&format!(r#"],"next_cursor":{next}}}"#));
        Ok(JsonText(text))
    }
}

/// The filters of the feed and its count.
fn filter(fields: &impl Fields) -> Result<TraceFilter, Refusal> {
    Ok(TraceFilter {
        run_id: fields.text("run_id")?.filter(|run_id| run_id != "*"),
        session_id: fields.text("session_id")?,
        model: fields.text("model")?,
        harness: fields.text("harness")?,
        has_error: fields.flag("has_error")?,
        latency_min: fields.number("latency_min")?,
        latency_max: fields.number("latency_max")?,
        since: fields.number("since")?,
        until: fields.number("until")?,
    })
}

/// A `next_cursor` given back. It is opaque to clients; here it is a commit's sequence number.
fn cursor(fields: &impl Fields) -> Result<Option<u64>, Refusal> {
    let Some(text) = fields.text("cursor")? else {
        return Ok(None);
    };
    let seq = text
        .parse::<i64>()
        .ok()
        .and_then(|seq| u64::try_from(seq).ok());
    seq.map(Some)
        .ok_or_else(|| Refusal::field("cursor", "must be a next_cursor of an earlier page"))
}

/// What a listing shows besides what it always shows.
fn include(fields: &impl Fields) -> Result<Include, Refusal> {
    let timing = fields
        .word("include", &[("timing", true)])?
        .unwrap_or_default();
    Ok(Include {
        timing,
        ..Include::default()
    })
}
