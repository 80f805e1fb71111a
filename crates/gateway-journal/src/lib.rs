//! An append-only, checksummed, group-synced journal of opaque entries in re-used segments.

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
