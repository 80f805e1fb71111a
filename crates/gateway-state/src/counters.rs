//! What has been turned away since the start.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::Code;

/// Requests that were turned away, by reason: plain atomics, so that counting costs nothing.
/// Admitted calls are counted by the ledger, which knows what became of them.
#[derive(Debug, Default)]
pub struct Counters {
    refused: [AtomicU64; Code::ALL.len()],
}

impl Counters {
    /// A request was turned away.
    pub fn refuse(&self, reason: Code) {
        self.refused[reason as usize].fetch_add(1, Relaxed);
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
