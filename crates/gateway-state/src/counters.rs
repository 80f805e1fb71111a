//! What has been counted since the start.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::{Code, Upstream};

mod histogram;
mod series;
mod table;

pub use histogram::{BUCKETS, Histogram};
pub use series::{CallEnd, OUTCOMES, Series};
use table::Table;

/// What both planes count: plain atomics, so that counting costs next to nothing. How many calls
/// were admitted and have reached the disk is counted by the ledger, which knows.
#[derive(Debug, Default)]
pub struct Counters {
    refused: Counts<{ Code::ALL.len() }>,
    unrecorded: AtomicU64,
    calls: Table,
}

impl Counters {
    /// A request was turned away.
    pub fn refuse(&self, reason: Code) {
        self.refused.0[reason as usize].fetch_add(1, Relaxed);
    }

    /// Requests that were turned away, by reason.
    pub fn refusals(&self) -> impl Iterator<Item = (Code, u64)> {
        Code::ALL
            .into_iter()
            .map(|code| (code, self.refused.0[code as usize].load(Relaxed)))
    }

    /// An upstream's reply to a call that leaves no trace is passed on.
    pub fn pass_unrecorded(&self) {
        self.unrecorded.fetch_add(1, Relaxed);
    }

    /// How often that was.
    #[must_use]
    pub fn unrecorded(&self) -> u64 {
        self.unrecorded.load(Relaxed)
    }

    /// A call is sent to `upstream`, and not for the first time if it is a `retry`.
    pub fn attempt(&self, upstream: &Upstream, model: Option<&str>, retry: bool) {
        let upstream = Some((upstream.kind, &*upstream.name));
        self.calls.get(upstream, model).attempt(retry);
    }

    /// A call that leaves a trace has ended.
    pub fn end_call(&self, upstream: Option<&Upstream>, model: Option<&str>, end: &CallEnd) {
        let upstream = upstream.map(|upstream| (upstream.kind, &*upstream.name));
        self.calls.get(upstream, model).end(end);
    }

    /// What was counted of calls, for each upstream and model, in the order of their names.
    #[must_use]
    pub fn calls(&self) -> Vec<Arc<Series>> {
        self.calls.all()
    }
}

/// So many counters.
#[derive(Debug)]
struct Counts<const N: usize>([AtomicU64; N]);

impl<const N: usize> Default for Counts<N> {
    fn default() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }
}

#[cfg(test)]
mod tests;
