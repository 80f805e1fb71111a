//! What the writer tells about its progress and its troubles.

use std::ops::Range;
use std::time::{Duration, Instant};

/// How far the writer has come; handed to the callback of
/// [`Journal::open`](crate::Journal::open) once a batch.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Progress {
    /// The highest sequence that is durable: it and all before it survive a power cut.
    pub synced: u64,
    /// The highest sequence that was handed to the operating system: it survives a `kill -9`.
    pub written: u64,
    /// Set while the disk refuses writes or syncs.
    pub failing: Option<Failing>,
}

/// The disk refuses; the writer tries again by itself.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Failing {
    /// When the first attempt failed.
    pub since: Instant,
    /// How often it has failed since.
    pub attempts: u32,
    /// What the operating system said last, and in which file.
    pub error: String,
}

/// The state of a journal at one moment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Status {
    /// Set while the disk refuses writes or syncs.
    pub failing: Option<Failing>,
    /// The last error since the journal was opened, also when it has passed.
    pub last_error: Option<String>,
    /// How long the write or sync under way has been taking; `None` between two of them.
    pub busy_for: Option<Duration>,
    /// Segments that were given up after a failed write or sync, since the journal was opened.
    pub given_up: u64,
    /// Syncs that succeeded since the journal was opened.
    pub syncs: u64,
    /// How long syncing entries has taken since the journal was opened, all in all.
    pub sync_time: Duration,
}

/// What was found when the journal was opened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Recovery {
    /// No journal was there: a new one was begun.
    pub created: bool,
    /// The lowest sequence that can be read.
    pub first_seq: u64,
    /// The sequence that the next entry gets: everything from `first_seq` up to it, but for
    /// `lost`, can be read, and is durable.
    pub next_seq: u64,
    /// Sequences that had been synced and cannot be read back. Empty unless the journal was
    /// opened with [`Options::accept_loss`](crate::Options::accept_loss).
    pub lost: Vec<Range<u64>>,
}
