//! What can go wrong with a ledger.

use std::time::Duration;

use crate::error::StoreError;

/// A ledger could not be opened. Nothing has been changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The journal does not open: it is in use, damaged or not accessible.
    #[error("the journal cannot be used")]
    Journal(#[from] gateway_journal::OpenError),
    /// The store does not answer.
    #[error("the store cannot be used")]
    Store(#[from] StoreError),
    /// The store holds more of this journal than the journal itself: an old copy of the journal was
    /// put back. What it would journal next would be taken for known.
    #[error(
        "the journal ends at entry {journal}, but the store has its entry {store} already: \
         an old journal was put back; move its folder away to start a new one"
    )]
    JournalBehindStore {
        /// The last entry of the journal.
        journal: u64,
        /// The last entry that the store has.
        store: u64,
    },
    /// The applier thread could not be started.
    #[error("a thread cannot be started")]
    Thread(#[source] std::io::Error),
}

/// A call or a change was not taken: nothing of it is recorded. The fault is the gateway's, and
/// trying again helps, but for `TooLarge`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unavailable {
    /// The disk refuses writes or syncs.
    #[error("the journal cannot write: {message}")]
    Failing {
        /// What the operating system said last.
        message: String,
    },
    /// Finished records have been waiting for the disk for too long.
    #[error("the journal has not got a record to disk for {} s", waiting.as_secs())]
    Stalled {
        /// For how long.
        waiting: Duration,
    },
    /// There was no room in the time that may be waited.
    #[error("the journal has no room: the store lags too far behind")]
    NoRoom,
    /// The journal never takes so large an entry.
    #[error("{bytes} bytes are more than the journal takes at once ({limit})")]
    TooLarge {
        /// Its size.
        bytes: u64,
        /// The largest that is taken.
        limit: u64,
    },
    /// The ledger is closed.
    #[error("the journal is closed")]
    Closed,
}

/// A read gave no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// What was finished before did not get into the store within 5 s; a list now would be short.
    #[error("the store is {lag} entries behind")]
    Behind {
        /// How many journal entries are missing.
        lag: u64,
    },
    /// The store failed.
    #[error("the store cannot be read")]
    Store(#[from] StoreError),
}

/// A change was not confirmed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChangeError {
    /// It was not taken.
    #[error("the change was not taken")]
    Unavailable(#[from] Unavailable),
    /// It is journalled, or will be once the disk allows, but was not in the store within 5 s. It
    /// takes effect later.
    #[error("the change is taken, but the store is {lag} entries behind")]
    Behind {
        /// How many journal entries are missing.
        lag: u64,
    },
}

/// Not everything that had ended is durable and in the store.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.describe())]
pub struct FlushError {
    /// Records that are not known to be on disk.
    pub not_durable: u64,
    /// Journal entries that are not in the store.
    pub not_stored: u64,
    /// What the journal says, if it fails.
    pub journal: Option<String>,
    /// What the store says, if it fails.
    pub store: Option<String>,
}

impl FlushError {
    fn describe(&self) -> String {
        let mut said = Vec::new();
        if self.not_durable > 0 {
            said.push(format!("{} records are not on disk", self.not_durable));
        }
        if let Some(journal) = &self.journal {
            said.push(format!("the journal says: {journal}"));
        }
        if self.not_stored > 0 {
            said.push(format!(
                "{} journal entries are not in the store",
                self.not_stored
            ));
        }
        if let Some(store) = &self.store {
            said.push(format!("the store says: {store}"));
        }
        if said.is_empty() {
            said.push("what an earlier run has left is not in the store yet".to_owned());
        }
        said.join("; ")
    }
}

/// A ledger was closed before everything was where it belongs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CloseError {
    /// Everything is on disk, but not all of it in the store: the next start carries it there.
    #[error("the store did not take everything; the next start will finish that: {0}")]
    NotStored(FlushError),
    /// Records may be lost.
    #[error("the journal could not be brought to disk")]
    NotDurable(#[source] gateway_journal::CloseError),
}
