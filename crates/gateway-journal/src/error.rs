//! What can go wrong, by whose fault, and whether trying again helps.

use std::ops::Range;
use std::path::PathBuf;

/// A journal could not be opened. The folder is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process (or another [`Journal`](crate::Journal) of this one) has the folder open.
    #[error("the journal {} is in use by another process", folder.display())]
    Locked {
        /// The journal's folder.
        folder: PathBuf,
    },
    /// Entries that had been synced cannot be read back: the files were damaged, removed or mixed
    /// up. Opening with [`Options::accept_loss`](crate::Options::accept_loss) goes on without them.
    #[error("the journal {} is damaged: {what}", folder.display())]
    Damaged {
        /// The journal's folder.
        folder: PathBuf,
        /// What is wrong, and in which file.
        what: String,
        /// The sequences that are known to be lost.
        lost: Vec<Range<u64>>,
    },
    /// A segment was written by a newer version of this library.
    #[error("{} has format version {found}, this program knows version {known}", file.display())]
    Version {
        /// The segment.
        file: PathBuf,
        /// Its version.
        found: u32,
        /// The version that this library writes.
        known: u32,
    },
    /// The disk or its permissions said no; trying again may help once they are put right.
    #[error("{what} in the journal {}", folder.display())]
    Io {
        /// The journal's folder.
        folder: PathBuf,
        /// What was being done.
        what: &'static str,
        /// The operating system's word.
        #[source]
        source: std::io::Error,
    },
}

/// An entry was not taken. Nothing of it is in the journal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// The queue or the journal has no room; there will be some after the next sync or
    /// [`trim`](crate::Journal::trim).
    #[error("the journal has no room at present")]
    Full,
    /// The entry can never fit; trying again does not help.
    #[error("an entry of {bytes} bytes is larger than this journal takes ({limit})")]
    TooLarge {
        /// Length of the refused entry.
        bytes: u64,
        /// The longest that is taken.
        limit: u64,
    },
    /// The journal has been closed.
    #[error("the journal is closed")]
    Closed,
}

/// An entry could not be read back.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The entry lies below the low-water mark; its place may have been used again.
    #[error("entry {seq} lies below the low-water mark {low_water}")]
    Trimmed {
        /// The entry asked for.
        seq: u64,
        /// The lowest sequence that can be read.
        low_water: u64,
    },
    /// The entry has not been written yet.
    #[error("entry {seq} has not been written yet")]
    NotWritten {
        /// The entry asked for.
        seq: u64,
    },
    /// The entry was lost to damage before the journal was opened; see
    /// [`Recovery::lost`](crate::Recovery::lost).
    #[error("entry {seq} is lost")]
    Lost {
        /// The entry asked for.
        seq: u64,
    },
    /// The file no longer holds what was written to it.
    #[error("entry {seq} is damaged in {file}")]
    Damaged {
        /// The entry asked for.
        seq: u64,
        /// The segment's file name.
        file: String,
    },
    /// The disk said no.
    #[error("entry {seq} could not be read")]
    Io {
        /// The entry asked for.
        seq: u64,
        /// The operating system's word.
        #[source]
        source: std::io::Error,
    },
}

/// A journal was closed before everything in it was durable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the journal was closed with {entries} entries that are not known to be on disk")]
pub struct CloseError {
    /// How many entries were given up.
    pub entries: u64,
    /// The disk's last word, if it had one.
    pub last_error: Option<String>,
}
