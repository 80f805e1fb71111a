//! An append-only, checksummed, group-synced journal of opaque entries in re-used segments.
//!
//! A [`Journal`] is what a *receipt* needs, and no more: it takes entries (bytes that it never
//! looks into), gives each a sequence number, writes and syncs them in groups, and says when they
//! are durable. Somebody else reads them back, carries them to where they belong, and sets the
//! low-water mark; the space below is used again.
//!
//! ```
//! use std::time::Duration;
//! use gateway_journal::{Journal, Options, SyncMode};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let temporary = tempfile::tempdir()?;
//! # let folder = temporary.path();
//! let journal = Journal::open(folder, Options::default(), |progress| {
//!     // Called by the writer's thread, once a batch.
//!     println!("all up to {} is on disk", progress.synced);
//! })?;
//!
//! // Nobody waits for this one, but no `kill -9` loses it after a few milliseconds.
//! journal.append(b"somebody is about to ask".to_vec(), SyncMode::Lazy)?;
//! // This one is a receipt: once synced, it survives a power cut, and so does all before it.
//! let seq = journal.append(b"this was the answer".to_vec(), SyncMode::Now)?;
//! assert!(journal.wait_synced(seq, Duration::from_secs(5)));
//!
//! // Read back, in order, also while others append.
//! let mut reader = journal.reader(1);
//! while let Some((seq, entry)) = reader.next(journal.synced())? {
//!     println!("{seq}: {} bytes", entry.len());
//! }
//! // They have been taken care of: their space may be used again.
//! journal.trim(seq + 1);
//!
//! journal.close(Duration::from_secs(5))?;
//! # Ok(())
//! # }
//! ```
//!
//! # What it promises
//! * An entry at or below [`Journal::synced`] is there after a power cut, and none is there that
//!   was not appended. What was appended later is there as a prefix, in order, without a gap.
//! * An entry at or below [`Journal::written`] is there after a `kill -9`. A
//!   [`Lazy`](SyncMode::Lazy) one is written within [`Options::linger`].
//! * A failed write or sync drops nothing. The segment is given up, never synced again, and all
//!   that is not durable goes to another one; while that fails too, it is tried again, and
//!   [`Progress::failing`] tells.
//! * Damage to what was durable refuses the opening ([`OpenError::Damaged`]), unless the loss is
//!   accepted; it is never passed over in silence.
//! * A folder is open once at a time ([`OpenError::Locked`]).
//!
//! # How it is made
//! `journal` is the handle, `writer` the thread with its queue; `log` does the writing without
//! threads or clocks, `layout` knows which entries lie where, `format` what they look like;
//! `recovery` and `reader` read. `disk` is the seam for tests that cut the power or fail.

#[doc(hidden)]
pub mod disk;
mod error;
mod format;
mod journal;
mod layout;
mod log;
mod options;
mod progress;
mod reader;
mod recovery;
#[cfg(test)]
mod tests;
mod window;
mod writer;

pub use error::{AppendError, CloseError, OpenError, ReadError};
pub use journal::Journal;
pub use options::{Options, SyncMode};
pub use progress::{Failing, Progress, Recovery, Status};
pub use reader::Reader;
