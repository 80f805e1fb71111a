//! What a journal is opened with, and how an entry is to be written.

use std::time::Duration;

/// How a journal is laid out and bounded.
///
/// Start from [`Options::default`] and change what matters:
///
/// ```
/// use gateway_journal::Options;
/// let options = Options { capacity: 64 << 20, ..Options::default() };
/// ```
#[derive(Clone, Debug)]
pub struct Options {
    /// Bytes that may lie between the low-water mark and the newest entry before
    /// [`append`](crate::Journal::append) answers [`Full`](crate::AppendError::Full).
    /// At least 64 KiB; smaller values are taken as that. Default: 4 GiB.
    pub capacity: u64,
    /// Length of a segment file in bytes; at most a quarter of the capacity and at least
    /// 16 KiB, and brought into these bounds. Default: 64 MiB.
    pub segment_bytes: u64,
    /// Bytes of entries that may be held in memory until they are durable before
    /// [`append`](crate::Journal::append) answers [`Full`](crate::AppendError::Full).
    /// Default: 64 MiB.
    pub queue_bytes: u64,
    /// How long a [`Lazy`](SyncMode::Lazy) entry may stay in memory before it is handed to the
    /// operating system. Default: 5 ms.
    pub linger: Duration,
    /// The journal's identity. Used only when a new journal is begun: an existing one keeps its
    /// own.
    pub id: [u8; 16],
    /// Sequence of the first entry, at least 1. Used only when a new journal is begun.
    pub first_seq: u64,
    /// Opens a damaged journal without what is lost, instead of refusing it with
    /// [`OpenError::Damaged`](crate::OpenError::Damaged). What was lost is in
    /// [`Recovery::lost`](crate::Recovery::lost). Default: `false`.
    pub accept_loss: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            capacity: 4 << 30,
            segment_bytes: 64 << 20,
            queue_bytes: 64 << 20,
            linger: Duration::from_millis(5),
            id: [0; 16],
            first_seq: 1,
            accept_loss: false,
        }
    }
}

/// When an appended entry is written, and whether it is synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncMode {
    /// Handed to the operating system within [`Options::linger`], or along with the next
    /// [`Now`](SyncMode::Now); synced whenever something else asks for it. Nobody is woken for it.
    Lazy,
    /// Written and synced at once, together with everything else that waits by then.
    Now,
}
