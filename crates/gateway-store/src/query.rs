//! What can be asked of a store, and what it answers.

use gateway_trace::{Call, Json, Kin, Outcome, Reply, SpanType, Summary, TraceRecord};
use serde::Serialize;
use utoipa::ToSchema;

use crate::change::Scope;

/// A trace as a store gives it back.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredTrace {
    /// Its place in the order of commits. Later commits have greater numbers, also across
    /// restarts; a number is never given twice.
    pub commit_seq: u64,
    /// Its place in the order in which calls arrived.
    pub arrival_seq: u64,
    /// When it was committed, UNIX seconds: the `_created_at` of the wire. Greater for each later
    /// commit, whatever the clock did.
    pub created_at: f64,
    /// The call.
    pub call: Call,
    /// What became of it.
    pub reply: Reply,
    /// Its place among the calls of its session and run. What superseded it is the first completed
    /// call stored that arrived after it with the same request key, if it did not complete itself.
    pub kin: Kin,
}

impl StoredTrace {
    /// The record of the call: a pure function of what is stored.
    pub fn record(&self) -> TraceRecord {
        gateway_trace::record(&self.call, &self.reply).with_kin(&self.kin)
    }
}

/// Asks for the traces of one session, in the order in which the calls arrived.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionTraces {
    /// The session.
    pub session_id: String,
    /// Which of its runs.
    pub scope: Scope,
    /// Only traces committed at this time or later.
    pub since: Option<f64>,
    /// At most this many, the first ones.
    pub limit: Option<u64>,
    /// Only this outcome; `None` is all.
    pub outcome: Option<Outcome>,
    /// Only this span type; `None` is all.
    pub span_type: Option<SpanType>,
}

impl SessionTraces {
    /// The plain listing, which trainers match turn by turn: completed model calls alone.
    pub fn plain(session_id: impl Into<String>, scope: Scope) -> Self {
        Self {
            session_id: session_id.into(),
            scope,
            since: None,
            limit: None,
            outcome: Some(Outcome::Completed),
            span_type: Some(SpanType::Llm),
        }
    }

    /// Every trace of the session.
    pub fn all(session_id: impl Into<String>, scope: Scope) -> Self {
        Self {
            outcome: None,
            span_type: None,
            ..Self::plain(session_id, scope)
        }
    }
}

/// Narrows the feed and its count. Every field that is set must match.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TraceFilter {
    /// The run.
    pub run_id: Option<String>,
    /// The session.
    pub session_id: Option<String>,
    /// The record's model.
    pub model: Option<String>,
    /// The harness.
    pub harness: Option<String>,
    /// The record's `has_error`.
    pub has_error: Option<bool>,
    /// The least latency in ms, inclusive.
    pub latency_min: Option<f64>,
    /// The greatest latency in ms, inclusive.
    pub latency_max: Option<f64>,
    /// Committed after this time, exclusive.
    pub since: Option<f64>,
    /// Committed before this time, exclusive.
    pub until: Option<f64>,
}

impl TraceFilter {
    /// Whether a trace with this summary, committed at `created_at`, is meant.
    pub fn matches(&self, summary: &Summary, created_at: f64) -> bool {
        fn is<'a>(wanted: &'a Option<String>, found: Option<&'a str>) -> bool {
            wanted
                .as_deref()
                .is_none_or(|wanted| found.unwrap_or_default() == wanted)
        }
        is(&self.run_id, summary.identity.run_id.as_deref())
            && is(&self.session_id, Some(summary.session_id()))
            && is(&self.model, Some(&summary.model))
            && is(&self.harness, summary.identity.harness.as_deref())
            && self
                .has_error
                .is_none_or(|wanted| wanted == summary.has_error)
            && self
                .latency_min
                .is_none_or(|least| summary.latency_ms >= least)
            && self
                .latency_max
                .is_none_or(|greatest| summary.latency_ms <= greatest)
            && self.since.is_none_or(|since| created_at > since)
            && self.until.is_none_or(|until| created_at < until)
    }
}

/// The direction of the feed along the order of commits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Order {
    /// The latest commit first.
    #[default]
    NewestFirst,
    /// The first commit first.
    OldestFirst,
}

/// Asks for a page of the feed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Feed {
    /// What to show.
    pub filter: TraceFilter,
    /// In which direction.
    pub order: Order,
    /// Continues after this commit: the `next_cursor` of the page before.
    pub cursor: Option<u64>,
    /// At most this many.
    pub limit: u64,
}

/// A page of the feed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FeedPage {
    /// The traces, in the order that was asked for.
    pub traces: Vec<StoredTrace>,
    /// The commit sequence of the last one, if more follow.
    pub next_cursor: Option<u64>,
}

/// The distinct values that traces can be filtered by, sorted, empty ones left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Facets {
    /// Models.
    pub models: Vec<String>,
    /// Harnesses.
    pub harnesses: Vec<String>,
    /// Runs.
    pub runs: Vec<String>,
}

/// Asks for sessions, newest first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SessionList {
    /// Only sessions created at this time or later.
    pub since: Option<f64>,
    /// At most this many.
    pub limit: Option<u64>,
    /// Only those of this run; `""` means those without one.
    pub run_id: Option<String>,
}

/// One session within one run, or, where it was asked for over several runs, their sum.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Session {
    /// The session.
    pub session_id: String,
    /// How many traces the plain listing shows.
    pub trace_count: u64,
    /// How many traces there are.
    pub total_count: u64,
    /// When the session was created, UNIX seconds: asked for, or the arrival of its first call.
    pub created_at: f64,
    /// What the session was created with; `{}` where nothing was given.
    #[schema(value_type = Object)]
    pub metadata: Json,
    /// The run; none for a session without one, and for a sum over several.
    #[schema(required = true)]
    pub run_id: Option<String>,
    /// When its first trace was committed.
    #[schema(required = true)]
    pub first_trace_at: Option<f64>,
    /// When its last trace was committed.
    #[schema(required = true)]
    pub last_trace_at: Option<f64>,
    /// How many calls have ended since it was created that a deletion had overtaken. No part of a
    /// listing.
    #[serde(skip)]
    pub deleted_count: u64,
}

/// One run.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Run {
    /// The run.
    pub run_id: String,
    /// When it was registered, or its first call arrived, UNIX seconds.
    pub started_at: f64,
    /// When it ended; none while it is live.
    #[schema(required = true)]
    pub ended_at: Option<f64>,
    /// Its metadata; `{}` for a run that only calls have named.
    #[schema(value_type = Object)]
    pub metadata: Json,
}

impl Session {
    /// Adds up the rows of a session, given newest first. None if there are none.
    pub fn sum(rows: impl IntoIterator<Item = Session>) -> Option<Session> {
        rows.into_iter().reduce(|sum, row| Session {
            trace_count: sum.trace_count + row.trace_count,
            total_count: sum.total_count + row.total_count,
            deleted_count: sum.deleted_count + row.deleted_count,
            metadata: match sum.metadata == Json::empty_object() {
                true => row.metadata,
                false => sum.metadata,
            },
            created_at: sum.created_at.min(row.created_at),
            run_id: None,
            first_trace_at: earliest(sum.first_trace_at, row.first_trace_at),
            last_trace_at: latest(sum.last_trace_at, row.last_trace_at),
            ..sum
        })
    }
}

fn earliest(one: Option<f64>, other: Option<f64>) -> Option<f64> {
    one.into_iter().chain(other).reduce(f64::min)
}

fn latest(one: Option<f64>, other: Option<f64>) -> Option<f64> {
    one.into_iter().chain(other).reduce(f64::max)
}
