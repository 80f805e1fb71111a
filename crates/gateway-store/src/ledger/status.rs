//! What a ledger tells about itself.

use std::time::Duration;

/// Calls by what became of them, since the ledger was opened. At every moment
/// `accepted = persisted + in_flight + deleted`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Calls that were admitted.
    pub accepted: u64,
    /// Calls whose record is on disk.
    pub persisted: u64,
    /// Calls that a deletion of their session overtook, once they have ended.
    pub deleted: u64,
    /// Calls under way, and records that wait for the disk.
    pub in_flight: u64,
}

/// Something that fails, and is being tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// For how long.
    pub lasting: Duration,
    /// What it says.
    pub message: String,
}

/// The state of a ledger at one moment: what `/ready` and the metrics are made of.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LedgerStatus {
    /// Set while the journal cannot write: no call is admitted.
    pub journal: Option<Trouble>,
    /// Set while the store cannot apply what is journalled: calls go on while there is room.
    pub store: Option<Trouble>,
    /// How long the oldest finished record has been waiting for the disk.
    pub waiting: Option<Duration>,
    /// Journal entries that are not in the store yet.
    pub lag_entries: u64,
    /// Roughly how many bytes they are.
    pub lag_bytes: u64,
    /// Bytes of journal that cannot be used again yet.
    pub journal_used: u64,
    /// How many there may be.
    pub journal_capacity: u64,
    /// Receipts that were missed since the ledger was opened.
    pub receipts_missed: u64,
    /// Records that have been waiting for the disk for too long, to this moment: longer than a
    /// receipt is waited for, or 5 s. No call is admitted meanwhile.
    pub receipts_overdue: u64,
    /// Journal entries that could not be read or decoded, and were passed over.
    pub unreadable: u64,
    /// Syncs of the journal that succeeded since the ledger was opened.
    pub syncs: u64,
    /// How long syncing has taken since then, all in all.
    pub sync_time: Duration,
    /// Batches that the store has applied since then.
    pub batches: u64,
    /// How long applying has taken since then, all in all, failed attempts included.
    pub apply_time: Duration,
    /// Whether what an earlier run has left in the journal is in the store.
    pub replayed: bool,
    /// The calls.
    pub counters: Counters,
}
