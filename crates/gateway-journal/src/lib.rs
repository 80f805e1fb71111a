//! An append-only, checksummed, group-synced journal of opaque entries in re-used segments.

mod error;
mod journal;
mod options;
mod progress;

pub use error::{AppendError, CloseError, OpenError, ReadError};
pub use journal::{Journal, Reader};
pub use options::{Options, SyncMode};
pub use progress::{Failing, Progress, Recovery, Status};
