//! What the clones of a ledger share, and how it begins and ends.

use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use gateway_journal::{AppendError, Journal, Progress, SyncMode};

use super::applier::Applier;
use super::calls::Calls;
use super::errors::{OpenError, Unavailable};
use super::options::LedgerOptions;
use super::shared::Shared;
use super::{STORE_PATIENCE, receipt};
use crate::store::TraceStore;

pub(super) struct Inner {
    pub(super) shared: Arc<Shared>,
    pub(super) journal: Arc<Journal>,
    pub(super) store: Arc<dyn TraceStore>,
    pub(super) options: LedgerOptions,
    pub(super) instance_id: String,
    applier: Mutex<Option<JoinHandle<()>>>,
}

/// What the journal tells of its progress.
type OnProgress = Box<dyn Fn(&Progress) + Send>;

impl Inner {
    /// Opens the journal by `open_journal`, and starts the applier and the dispatcher.
    pub(super) fn open(
        options: LedgerOptions,
        store: Arc<dyn TraceStore>,
        open_journal: impl FnOnce(
            gateway_journal::Options,
            OnProgress,
        ) -> Result<Journal, gateway_journal::OpenError>,
    ) -> Result<Self, OpenError> {
        let position = store.position()?;
        let stored = position.map_or(0, |at| at.applied);
        let journal_options = gateway_journal::Options {
            capacity: options.capacity,
            queue_bytes: options.queue_bytes,
            id: uuid::Uuid::now_v7().into_bytes(),
            // A new journal goes on counting where the store has got to, so that the order of
            // arrival goes on as well.
            first_seq: stored.max(store.last_arrival()?) + 1,
            ..gateway_journal::Options::default()
        };
        let shared = Arc::new(Shared::default());
        let progress = Arc::clone(&shared);
        let on_progress: OnProgress = Box::new(move |now| progress.on_progress(now));
        let journal = Arc::new(open_journal(journal_options, on_progress)?);
        let last = journal.recovery().next_seq - 1;
        // The position in another journal says nothing about this one.
        let position = position.filter(|at| at.journal_id == journal.id());
        if stored > last && position.is_some() {
            return Err(OpenError::JournalBehindStore {
                journal: last,
                store: stored,
            });
        }
        shared.begin(last);
        let applier = Applier::new(
            Arc::clone(&shared),
            Arc::clone(&journal),
            Arc::clone(&store),
            position,
            options.capacity / 4,
        );
        let applier = std::thread::Builder::new()
            .name("rllm-applier".to_owned())
            .spawn(move || applier.run())
            .map_err(OpenError::Thread)?;
        tokio::spawn(receipt::dispatch(Arc::clone(&shared), options.durability));
        let instance_id = options
            .instance_id
            .clone()
            .unwrap_or_else(|| uuid::Uuid::from_bytes(journal.id()).to_string());
        Ok(Self {
            shared,
            journal,
            store,
            options,
            instance_id,
            applier: Mutex::new(Some(applier)),
        })
    }

    /// Appends an entry of a new call or a change, unless the journal is in trouble. The calls are
    /// held locked, so that their order is the journal's.
    pub(super) fn append(
        &self,
        calls: &Calls,
        entry: Vec<u8>,
        sync: SyncMode,
    ) -> Result<u64, Unavailable> {
        if let Some(trouble) = self.shared.journal_trouble() {
            return Err(Unavailable::Failing {
                message: trouble.message,
            });
        }
        if calls.overdue() > 0 {
            let waiting = calls.waiting().unwrap_or_default();
            return Err(Unavailable::Stalled { waiting });
        }
        let bytes = entry.len() as u64;
        let seq = self
            .journal
            .append(entry, sync)
            .map_err(|error| unavailable(&error))?;
        self.shared.count_appended(bytes);
        Ok(seq)
    }

    /// Appends what belongs to a call that was admitted, whatever room there is.
    pub(super) fn force_append(
        &self,
        _calls: &Calls,
        entry: Vec<u8>,
        sync: SyncMode,
    ) -> Result<u64, Unavailable> {
        let bytes = entry.len() as u64;
        let seq = self
            .journal
            .force_append(entry, sync)
            .map_err(|error| unavailable(&error))?;
        self.shared.count_appended(bytes);
        Ok(seq)
    }

    /// Ends the applier and the journal.
    pub(super) fn stop(&self) -> Result<(), gateway_journal::CloseError> {
        self.shared.stop_applier();
        let applier = self.applier.lock().expect("stopping does not panic").take();
        if let Some(applier) = applier
            && applier.join().is_err()
        {
            tracing::error!("the applier had panicked");
        }
        let closed = self.journal.close(STORE_PATIENCE);
        self.shared.calls().close();
        self.shared.dispatcher.notify_one();
        self.shared.room.notify_waiters();
        closed
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            tracing::error!(%error, "the journal was dropped without its last entries");
        }
    }
}

fn unavailable(error: &AppendError) -> Unavailable {
    match *error {
        AppendError::Full => Unavailable::NoRoom,
        AppendError::TooLarge { bytes, limit } => Unavailable::TooLarge { bytes, limit },
        _ => Unavailable::Closed,
    }
}
