//! The trait that every backend implements.

use crate::batch::{Applied, Batch, Position};
use crate::change::Scope;
use crate::error::StoreError;
use crate::query::{
    Facets, Feed, FeedPage, Run, Session, SessionList, SessionTraces, StoredTrace, TraceFilter,
};
use gateway_trace::Json;

/// Where traces, sessions and runs are kept.
///
/// All methods block. Nothing on the path of a call uses a store: it is filled by the applier
/// thread of a [`Ledger`](crate::Ledger), alone, and read through [`Ledger::read`](crate::Ledger::read),
/// which sees to it that a reader finds what was finished before it asked.
///
/// Whether an implementation keeps the promises below is what [`contract`](crate::contract) tests.
///
/// # Errors
/// Every method fails with [`StoreError::Locked`] or [`StoreError::Backend`] where the backend
/// cannot answer within 5 s; an answer is never cut short instead.
pub trait TraceStore: Send + Sync + 'static {
    /// Applies a batch in one transaction, and stores its position in the same.
    ///
    /// - *Idempotent by position*: items of the journal that the store's position names, at or
    ///   below [`Position::applied`], are passed over. The position never goes back.
    /// - *Idempotent by trace id*: a trace that is stored already is passed over.
    /// - Commit sequences grow with each new trace; `created_at` is the batch's time, or a
    ///   microsecond more than the last one where that is later, so that it grows as well.
    /// - A trace of a session creates its row: that of the session and run; a row of the session
    ///   without a run and without traces becomes it. `""` is no session. A trace of a run that
    ///   is not known makes a run that started when the call arrived.
    /// - A trace finds its place among those of its session and run ([`StoredTrace::kin`]). Its
    ///   parent is the latest stored one that arrived before it, completed, and whose
    ///   [`line_key`](crate::NewTrace::line_key) is among its
    ///   [`parent_keys`](crate::NewTrace::parent_keys); it stands on its parent's line. A completed
    ///   model call without a parent begins a line; they are numbered from 0.
    fn apply(&self, batch: &Batch) -> Result<Applied, StoreError>;

    /// How far the store has got; `None` for a new one.
    fn position(&self) -> Result<Option<Position>, StoreError>;

    /// The greatest arrival sequence that was ever stored, deleted traces too; 0 for a new store.
    fn last_arrival(&self) -> Result<u64, StoreError>;

    /// The traces of a session in the order of arrival; none if it is not known.
    fn session_traces(&self, query: &SessionTraces) -> Result<Vec<StoredTrace>, StoreError>;

    /// One trace.
    fn trace(&self, trace_id: &str) -> Result<Option<StoredTrace>, StoreError>;

    /// A page of all traces in the order of commits.
    fn feed(&self, query: &Feed) -> Result<FeedPage, StoreError>;

    /// How many traces match.
    fn count(&self, filter: &TraceFilter) -> Result<u64, StoreError>;

    /// The distinct models, harnesses and runs of all traces.
    fn facets(&self) -> Result<Facets, StoreError>;

    /// Sessions, newest first: one row for each session and run.
    fn sessions(&self, query: &SessionList) -> Result<Vec<Session>, StoreError>;

    /// One session within a scope. Over several rows: their counts added up, the earliest
    /// `created_at` and first trace, the latest last trace, the metadata of the newest row that has
    /// any, and no run. `None` if the scope holds no row of it.
    fn session(&self, session_id: &str, scope: &Scope) -> Result<Option<Session>, StoreError>;

    /// The rows of these sessions, one session after the other: the runs of each, newest first.
    fn session_runs(&self, session_ids: &[String]) -> Result<Vec<Session>, StoreError>;

    /// Runs, newest first, started at `since` or later, at most `limit`.
    fn runs(&self, since: Option<f64>, limit: Option<u64>) -> Result<Vec<Run>, StoreError>;

    /// One run.
    fn run(&self, run_id: &str) -> Result<Option<Run>, StoreError>;

    /// The sampling params of all sessions that have some, by session id, sorted.
    fn sampling_params(&self) -> Result<Vec<(String, Json)>, StoreError>;
}
