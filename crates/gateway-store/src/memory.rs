//! A store in memory.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard};

use gateway_trace::Json;

use crate::batch::{Applied, Batch, Position};
use crate::change::Scope;
use crate::error::StoreError;
use crate::query::{
    Facets, Feed, FeedPage, Order, Run, Session, SessionList, SessionTraces, StoredTrace,
    TraceFilter,
};
use crate::store::TraceStore;
use tables::{Tables, Trace};

mod tables;

/// Keeps everything in memory, for tests and for runs whose traces are read before they end.
///
/// It is also the plainest statement of what [`TraceStore`] means: other stores are tested against
/// it.
#[derive(Default)]
pub struct MemoryStore {
    tables: Mutex<Tables>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().expect("no holder of the tables panics")
    }
}

impl TraceStore for MemoryStore {
    fn apply(&self, batch: &Batch) -> Result<Applied, StoreError> {
        Ok(self.tables().apply(batch))
    }

    fn position(&self) -> Result<Option<Position>, StoreError> {
        Ok(self.tables().position)
    }

    fn last_arrival(&self) -> Result<u64, StoreError> {
        Ok(self.tables().last_arrival)
    }

    fn session_traces(&self, query: &SessionTraces) -> Result<Vec<StoredTrace>, StoreError> {
        let tables = self.tables();
        let wanted = |trace: &&Trace| {
            let summary = &trace.summary;
            query.scope.includes(summary.identity.run_id.as_deref())
                && query
                    .since
                    .is_none_or(|since| trace.stored.created_at >= since)
                && query
                    .outcome
                    .is_none_or(|outcome| summary.outcome == outcome)
                && query
                    .span_type
                    .is_none_or(|span_type| summary.span_type == span_type)
        };
        let found = tables.of_session(&query.session_id).filter(wanted);
        Ok(found
            .take(limit(query.limit))
            .map(|trace| tables.shown(trace))
            .collect())
    }

    fn trace(&self, trace_id: &str) -> Result<Option<StoredTrace>, StoreError> {
        let tables = self.tables();
        let commit_seq = tables.by_id.get(trace_id);
        Ok(commit_seq.map(|commit_seq| tables.shown(&tables.traces[commit_seq])))
    }

    fn feed(&self, query: &Feed) -> Result<FeedPage, StoreError> {
        let tables = self.tables();
        let matching = tables.traces.values().filter(|trace| {
            query
                .filter
                .matches(&trace.summary, trace.stored.created_at)
        });
        let limit = limit(Some(query.limit));
        let mut traces: Vec<_> = match (query.order, query.cursor) {
            (Order::OldestFirst, cursor) => matching
                .filter(|trace| cursor.is_none_or(|cursor| trace.stored.commit_seq > cursor))
                .take(limit.saturating_add(1))
                .map(|trace| tables.shown(trace))
                .collect(),
            (Order::NewestFirst, cursor) => matching
                .rev()
                .filter(|trace| cursor.is_none_or(|cursor| trace.stored.commit_seq < cursor))
                .take(limit.saturating_add(1))
                .map(|trace| tables.shown(trace))
                .collect(),
        };
        let more = traces.len() > limit;
        traces.truncate(limit);
        let next_cursor = traces.last().map(|trace| trace.commit_seq).filter(|_| more);
        Ok(FeedPage {
            traces,
            next_cursor,
        })
    }

    fn count(&self, filter: &TraceFilter) -> Result<u64, StoreError> {
        let tables = self.tables();
        let all = tables.traces.values();
        let matching = all.filter(|trace| filter.matches(&trace.summary, trace.stored.created_at));
        Ok(matching.count() as u64)
    }

    fn facets(&self) -> Result<Facets, StoreError> {
        let tables = self.tables();
        let distinct = |of: fn(&Trace) -> Option<&String>| {
            let values: BTreeSet<_> = tables.traces.values().filter_map(of).collect();
            values
                .into_iter()
                .filter(|value| !value.is_empty())
                .cloned()
                .collect()
        };
        Ok(Facets {
            models: distinct(|trace| Some(&trace.summary.model)),
            harnesses: distinct(|trace| trace.summary.identity.harness.as_ref()),
            runs: distinct(|trace| trace.summary.identity.run_id.as_ref()),
        })
    }

    fn sessions(&self, query: &SessionList) -> Result<Vec<Session>, StoreError> {
        let tables = self.tables();
        let wanted = |row: &&Session| {
            query.since.is_none_or(|since| row.created_at >= since)
                && query
                    .run_id
                    .as_deref()
                    .is_none_or(|run| row.run_id.as_deref().unwrap_or("") == run)
        };
        let rows = tables.sessions().into_iter().filter(wanted);
        Ok(rows.take(limit(query.limit)).cloned().collect())
    }

    fn session(&self, session_id: &str, scope: &Scope) -> Result<Option<Session>, StoreError> {
        let tables = self.tables();
        let rows = tables.session(session_id).into_iter();
        let wanted = rows.filter(|row| scope.includes(row.run_id.as_deref()));
        Ok(Session::sum(wanted.cloned()))
    }

    fn session_runs(&self, session_ids: &[String]) -> Result<Vec<Session>, StoreError> {
        let tables = self.tables();
        let rows = session_ids.iter().flat_map(|id| tables.session(id));
        Ok(rows.cloned().collect())
    }

    fn runs(&self, since: Option<f64>, most: Option<u64>) -> Result<Vec<Run>, StoreError> {
        let tables = self.tables();
        let runs = tables.runs_newest_first();
        let wanted = runs.filter(|run| since.is_none_or(|since| run.started_at >= since));
        Ok(wanted.take(limit(most)).cloned().collect())
    }

    fn run(&self, run_id: &str) -> Result<Option<Run>, StoreError> {
        Ok(self.tables().runs.get(run_id).map(|row| row.run.clone()))
    }

    fn sampling_params(&self) -> Result<Vec<(String, Json)>, StoreError> {
        let tables = self.tables();
        let params = tables.sampling_params.iter();
        Ok(params
            .map(|(id, params)| (id.clone(), params.clone()))
            .collect())
    }
}

fn limit(limit: Option<u64>) -> usize {
    limit.map_or(usize::MAX, |limit| {
        usize::try_from(limit).unwrap_or(usize::MAX)
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::MemoryStore;

    #[test]
    fn keeps_the_contract() {
        crate::contract::run(&mut || Arc::new(MemoryStore::new()));
    }
}
