//! What a listing of traces is asked for, and the text that it becomes.

use gateway_store::{Feed, Order, SessionTraces, StoreError, TraceFilter, TraceStore};
use gateway_trace::{Compact, Include, Outcome, SpanType};
use utoipa::openapi::path::{Parameter, ParameterIn};
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, OneOfBuilder, SchemaType, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{IntoParams, PartialSchema, ToSchema};

use crate::fields::Fields;
use crate::openapi::{self, CompactTraces, NamedSession, Scope, TraceRecord};
use crate::refusal::Refusal;
use crate::render::{push_trace, record_of};
use crate::reply::JsonText;
use crate::scope::Runs;

/// How many traces a page of the feed has unless the request says otherwise.
const PAGE: u64 = 200;

/// What a listing of a session shows.
pub(crate) struct Listing {
    /// The query for each session; its id is filled in for each.
    query: SessionTraces,
    include: Include,
    is_compact: bool,
}

impl Listing {
    pub(crate) fn read(fields: &impl Fields, own_run: Option<&str>) -> Result<Self, Refusal> {
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
            is_compact: fields.word("format", &FORMATS)?.unwrap_or_default(),
        })
    }

    /// The traces of these sessions: one JSON array, or one compact document.
    pub(crate) fn render(
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

const FORMATS: [(&str, bool); 2] = [("full", false), ("compact", true)];

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

impl IntoParams for Listing {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let mut parameters = vec![
            openapi::number("since", "Only traces committed at this time or later."),
            openapi::count("limit", "The first so many."),
            openapi::words("outcome", &OUTCOMES, "`completed` by default."),
            openapi::words("span_type", &SPAN_TYPES, "`llm.call` by default."),
            openapi::words("format", &FORMATS, "`full` by default."),
        ];
        parameters.extend(Timing::into_params(|| None));
        parameters
    }
}

/// A page of the feed.
pub(crate) struct Page {
    query: Feed,
    include: Include,
}

impl Page {
    pub(crate) fn read(fields: &impl Fields) -> Result<Self, Refusal> {
        let query = Feed {
            filter: filter(fields)?,
            order: fields.word("order", &ORDERS)?.unwrap_or_default(),
            cursor: cursor(fields)?,
            limit: fields.count("limit")?.unwrap_or(PAGE),
        };
        Ok(Self {
            query,
            include: include(fields)?,
        })
    }

    pub(crate) fn render(self, store: &dyn TraceStore) -> Result<JsonText, StoreError> {
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

const ORDERS: [(&str, Order); 2] = [("desc", Order::NewestFirst), ("asc", Order::OldestFirst)];

impl IntoParams for Page {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let mut parameters = Filter::into_params(|| None);
        parameters.extend([
            openapi::words(
                "order",
                &ORDERS,
                "`desc`, the latest commit first, by default.",
            ),
            openapi::count("limit", "200 by default."),
            openapi::cursor("cursor", "The `next_cursor` of the page before."),
        ]);
        parameters.extend(Timing::into_params(|| None));
        parameters
    }
}

/// The filters of the feed and its count, as the document tells them.
pub(crate) struct Filter;

impl IntoParams for Filter {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        vec![
            openapi::text("run_id", "Only this run; `*` is as good as none."),
            openapi::text("session_id", "Only this session."),
            openapi::text("model", "Only this model."),
            openapi::text("harness", "Only this harness."),
            openapi::flag(
                "has_error",
                "Only traces with an error, or only those without.",
            ),
            openapi::number("latency_min", "The least latency in ms, inclusive."),
            openapi::number("latency_max", "The greatest latency in ms, inclusive."),
            openapi::number("since", "Only traces committed after this time."),
            openapi::number("until", "Only traces committed before this time."),
        ]
    }
}

/// The filters of the feed and its count.
pub(crate) fn filter(fields: &impl Fields) -> Result<TraceFilter, Refusal> {
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
    let Some(text) = fields.string("cursor")? else {
        return Ok(None);
    };
    let seq = text
        .parse::<i64>()
        .ok()
        .and_then(|seq| u64::try_from(seq).ok());
    seq.map(Some)
        .ok_or_else(|| Refusal::field("cursor", "must be a next_cursor of an earlier page"))
}

/// What a trace shows besides what it always shows, as the document tells it.
pub(crate) struct Timing;

impl IntoParams for Timing {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let meaning = "`timing` adds `event_ms` to streamed calls.";
        vec![openapi::words("include", &INCLUDES, meaning)]
    }
}

const INCLUDES: [(&str, bool); 1] = [("timing", true)];

/// What a listing shows besides what it always shows.
pub(crate) fn include(fields: &impl Fields) -> Result<Include, Refusal> {
    let timing = fields.word("include", &INCLUDES)?.unwrap_or_default();
    Ok(Include {
        timing,
        ..Include::default()
    })
}

/// A page of the feed.
#[derive(ToSchema)]
#[expect(dead_code, reason = "written as text; this is its schema")]
pub(crate) struct TracePage {
    traces: Vec<TraceRecord>,
    /// Continues after the last of them; null where nothing follows.
    #[schema(required = true)]
    next_cursor: Option<String>,
}

/// What a listing of a session answers, by `format`.
pub(crate) struct SessionListing;

impl PartialSchema for SessionListing {
    fn schema() -> RefOr<Schema> {
        let full = ArrayBuilder::new().items(openapi::reference::<TraceRecord>());
        let full = full.description(Some("`format=full`."));
        let forms = OneOfBuilder::new().item(full);
        forms.item(openapi::reference::<CompactTraces>()).into()
    }
}

impl ToSchema for SessionListing {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        openapi::add::<TraceRecord>(schemas);
        openapi::add::<CompactTraces>(schemas);
    }
}

/// What a query answers: a listing with `session_ids`, without them a page of the feed.
pub(crate) struct QueriedTraces;

impl PartialSchema for QueriedTraces {
    fn schema() -> RefOr<Schema> {
        let forms = OneOfBuilder::new().item(openapi::reference::<SessionListing>());
        forms.item(openapi::reference::<TracePage>()).into()
    }
}

impl ToSchema for QueriedTraces {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        openapi::add::<SessionListing>(schemas);
        openapi::add::<TracePage>(schemas);
    }
}

/// What can be asked of both forms of a query: what is asked of the listing of a session and of the
/// feed, as members.
pub(crate) struct TraceQuery;

impl PartialSchema for TraceQuery {
    fn schema() -> RefOr<Schema> {
        let sessions = ArrayBuilder::new()
            .items(NamedSession::schema())
            .schema_type(SchemaType::from_iter([Type::Array, Type::Null]))
            .description(Some("The sessions; without them the feed is meant."));
        let mut query = ObjectBuilder::new()
            .description(Some("All of it may be left out."))
            .property("session_ids", sessions);
        let feed = Page::into_params(|| None);
        let mut listing = Listing::into_params(|| None);
        listing.extend(Scope::into_params(|| None));
        for mut parameter in feed {
            let of_listing = listing
                .extract_if(.., |other| other.name == parameter.name)
                .next();
            let meaning = |parameter: &Parameter| parameter.description.clone().unwrap_or_default();
            if let Some(other) = of_listing.filter(|other| *other != parameter) {
                parameter.description = Some(format!(
                    "With `session_ids`: {} Without: {}",
                    meaning(&other),
                    meaning(&parameter),
                ));
            }
            let (name, schema) = openapi::member(parameter);
            query = query.property(name, schema);
        }
        for parameter in listing {
            let (name, schema) = openapi::member(parameter);
            query = query.property(name, schema);
        }
        query.into()
    }
}

impl ToSchema for TraceQuery {}
