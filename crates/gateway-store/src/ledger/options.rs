//! What a ledger is opened with.

use std::path::PathBuf;
use std::time::Duration;

use super::STORE_PATIENCE;

/// What the end of a reply waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// The record on disk, but no longer than this: then the receipt is missed, and counted.
    Receipt {
        /// The longest wait.
        timeout: Duration,
    },
    /// The record on disk, however long that takes.
    Always,
    /// Nothing.
    Background,
}

/// How a ledger is opened. Start from [`LedgerOptions::new`].
#[derive(Debug, Clone)]
pub struct LedgerOptions {
    /// The journal's folder; made if it is not there.
    pub journal_dir: PathBuf,
    /// How many bytes of journal the store may lag behind. Default: 4 GiB.
    pub capacity: u64,
    /// How many bytes may wait for the journal in memory. Default: 64 MiB.
    pub queue_bytes: u64,
    /// What the end of a reply waits for. Default: its receipt, 5 s.
    pub durability: Durability,
    /// How long an admission waits for room. Default: 60 s.
    pub admit_timeout: Duration,
    /// The name of this gateway in its traces. Default: random, kept with the journal.
    pub instance_id: Option<String>,
}

impl LedgerOptions {
    /// The defaults, for a journal in `journal_dir`.
    pub fn new(journal_dir: impl Into<PathBuf>) -> Self {
        Self {
            journal_dir: journal_dir.into(),
            capacity: 4 << 30,
            queue_bytes: 64 << 20,
            durability: Durability::Receipt {
                timeout: Duration::from_secs(5),
            },
            admit_timeout: Duration::from_secs(60),
            instance_id: None,
        }
    }
}

impl Durability {
    /// How long a record may wait for the disk before that counts as a disk in trouble.
    pub(super) fn limit(self) -> Duration {
        match self {
            Durability::Receipt { timeout } => timeout,
            Durability::Always | Durability::Background => STORE_PATIENCE,
        }
    }
}
