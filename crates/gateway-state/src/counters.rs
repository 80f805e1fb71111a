//! What has been counted since the start.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::Code;

/// Counters, each a plain atomic. Reading several of them is no snapshot, but
/// [`Counters::calls`] keeps its promise.
#[derive(Debug, Default)]
pub struct Counters {
    accepted: AtomicU64,
    persisted: AtomicU64,
    deleted: AtomicU64,
    receipts_missed: AtomicU64,
    refused: [AtomicU64; Code::ALL.len()],
}

/// Where the admitted calls are: `accepted = persisted + in_flight + deleted`, always.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CallCounts {
    /// Admitted so far.
    pub accepted: u64,
    /// Whose record reached the disk.
    pub persisted: u64,
    /// Which a deletion of their session overtook.
    pub deleted: u64,
    /// All others: still under way, or with a record that waits for the disk.
    pub in_flight: u64,
}

impl Counters {
    /// A call was admitted. Comes before its [`Self::persist`] or [`Self::delete`].
    pub fn accept(&self) {
        self.accepted.fetch_add(1, Relaxed);
    }

    /// The records of `calls` calls reached the disk.
    pub fn persist(&self, calls: u64) {
        self.persisted.fetch_add(calls, Relaxed);
    }

    /// `calls` calls ended after the deletion of their session.
    pub fn delete(&self, calls: u64) {
        self.deleted.fetch_add(calls, Relaxed);
    }

    /// A reply ended without its receipt.
    pub fn miss_receipt(&self) {
        self.receipts_missed.fetch_add(1, Relaxed);
    }

    /// A request was turned away.
    pub fn refuse(&self, reason: Code) {
        self.refused[reason as usize].fetch_add(1, Relaxed);
    }

    /// Where the admitted calls are.
    #[must_use]
    pub fn calls(&self) -> CallCounts {
        // Those that ended are read first: whatever happens in between can then only make more of
        // them in flight, never less than none.
        let persisted = self.persisted.load(Relaxed);
        let deleted = self.deleted.load(Relaxed);
        let accepted = self.accepted.load(Relaxed).max(persisted + deleted);
        CallCounts {
            accepted,
            persisted,
            deleted,
            in_flight: accepted - persisted - deleted,
        }
    }

    /// Replies that ended without their receipt.
    #[must_use]
    pub fn receipts_missed(&self) -> u64 {
        self.receipts_missed.load(Relaxed)
    }

    /// Requests that were turned away, by reason.
    pub fn refusals(&self) -> impl Iterator<Item = (Code, u64)> {
        Code::ALL
            .into_iter()
            .map(|code| (code, self.refused[code as usize].load(Relaxed)))
    }
}

#[cfg(test)]
mod tests;
