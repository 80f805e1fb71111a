//! The ledger: what carries calls and changes through the journal into the store.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use gateway_journal::{AppendError, Journal, SyncMode};
use gateway_trace::{Call, Reply};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::change::Change;
use crate::entry;
use crate::error::StoreError;
use crate::store::TraceStore;
use applier::Applier;
use calls::Calls;
use shared::Shared;

mod applier;
mod calls;
mod errors;
mod receipt;
mod shared;
mod status;
mod tail;
#[cfg(test)]
mod tests;

pub use errors::{ChangeError, CloseError, FlushError, OpenError, ReadError, Unavailable};
pub use receipt::{Receipt, ReceiptMissed};
pub use status::{Counters, LedgerStatus, Trouble};

/// How long a read or a change waits for the store.
const STORE_PATIENCE: Duration = Duration::from_secs(5);
/// How long a flush waits for the journal and the store.
const FLUSH_PATIENCE: Duration = Duration::from_secs(25);

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

/// What a [`Change`] did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Changed {
    /// Stored traces that were deleted.
    pub deleted: u64,
    /// Calls in flight that the deletion overtook: they will leave no trace.
    pub overtaken: u64,
}

/// The one way in and out of the traces of a running gateway.
///
/// A call is [admitted](Ledger::admit) when it arrives and [finished](Ledger::finish) when it has
/// ended. Both are journalled; a thread of the ledger carries them to the store. What is
/// [read](Ledger::read) shows every call that was finished before.
///
/// Clones share one ledger. When the last one is dropped without [`close`](Ledger::close), what is
/// journalled stays there for the next start.
#[derive(Clone)]
pub struct Ledger {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    journal: Arc<Journal>,
    store: Arc<dyn TraceStore>,
    options: LedgerOptions,
    instance_id: String,
    applier: std::sync::Mutex<Option<std::thread::JoinHandle<()>>>,
}

impl Ledger {
    /// Opens the journal, begins to carry what an earlier run has left in it into the store, and
    /// ends the calls that were open then as `interrupted`. That goes on in the background; reads
    /// wait for it.
    ///
    /// Must be called within a tokio runtime, which runs the one task that hands out receipts.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(options: LedgerOptions, store: Arc<dyn TraceStore>) -> Result<Self, OpenError> {
        let position = store.position()?;
        let last_known = store
            .last_arrival()?
            .max(position.map_or(0, |at| at.applied));
        let journal_options = gateway_journal::Options {
            capacity: options.capacity,
            queue_bytes: options.queue_bytes,
            id: uuid::Uuid::now_v7().into_bytes(),
            first_seq: last_known + 1,
            ..gateway_journal::Options::default()
        };
        let shared = Arc::new(Shared::default());
        let journal = Journal::open(&options.journal_dir, journal_options, {
            let shared = Arc::clone(&shared);
            move |progress| shared.on_progress(progress)
        })?;
        let journal = Arc::new(journal);
        let last = journal.recovery().next_seq - 1;
        let position = position.filter(|at| at.journal_id == journal.id());
        if let Some(at) = position
            && at.applied > last
        {
            return Err(OpenError::JournalBehindStore {
                journal: last,
                store: at.applied,
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
        let applier = std::sync::Mutex::new(Some(applier));
        Ok(Self {
            inner: Arc::new(Inner {
                shared,
                journal,
                store,
                options,
                instance_id,
                applier,
            }),
        })
    }

    /// The name of this gateway in its traces.
    pub fn instance_id(&self) -> &str {
        &self.inner.instance_id
    }

    /// Admits a call: its intent is journalled, without waiting for the disk. Ready at once where
    /// there is room; else it waits for some.
    ///
    /// Cancel-safe: a call whose admission is dropped is not admitted.
    ///
    /// # Errors
    /// [`Unavailable`]: the call must be turned away, as it could not be recorded. At once while
    /// the journal fails; after [`LedgerOptions::admit_timeout`] while it has no room.
    pub async fn admit(&self, call: &Call) -> Result<(), Unavailable> {
        let identity = &call.meta.identity;
        let session_id = identity.session_id.as_deref().unwrap_or_default();
        self.append_when_room(self.inner.options.admit_timeout, || {
            let entry = entry::intent(call, None);
            let mut calls = self.inner.shared.calls();
            self.inner.append(&calls, entry, SyncMode::Lazy)?;
            calls.admit(&call.meta.trace_id, session_id, identity.run_id.as_deref());
            Ok(())
        })
        .await
    }

    /// Notes how an admitted call has ended. Never blocks and never fails: the record goes to the
    /// journal even if that has no room, and into the store from there. What the end of the reply
    /// waits for is the receipt.
    ///
    /// Only the first end of a call counts, so that a guard may finish it when dropped, whatever
    /// has happened before.
    pub fn finish(&self, trace_id: &str, reply: &Reply) -> Receipt {
        let shared = &self.inner.shared;
        let entry = entry::reply(trace_id, reply);
        let mut calls = shared.calls();
        if !calls.is_open(trace_id) {
            return Receipt::ready();
        }
        let appended = match self.inner.force_append(&calls, entry, SyncMode::Now) {
            Err(Unavailable::TooLarge { bytes, .. }) => {
                let entry = entry::reply(trace_id, &without_body(reply, bytes));
                self.inner.force_append(&calls, entry, SyncMode::Now)
            }
            appended => appended,
        };
        let (sender, receiver) = oneshot::channel();
        let Ok(seq) = appended else {
            // The ledger is closed: the call stays open in the journal, and reads `interrupted`
            // after the next start.
            return Receipt::waiting(receiver);
        };
        shared.want(seq);
        match self.inner.options.durability {
            Durability::Background => {
                calls.finish(trace_id, seq, None);
                return Receipt::ready();
            }
            Durability::Always => calls.finish(trace_id, seq, Some(sender)),
            Durability::Receipt { timeout } => {
                calls.finish(trace_id, seq, Some(sender));
                if calls.alarm.is_none() {
                    calls.alarm = Some(Instant::now() + timeout);
                    shared.dispatcher.notify_one();
                }
            }
        }
        Receipt::waiting(receiver)
    }

    /// Journals what an admitted call has received so far, so that this survives if the process
    /// does not. A later [`finish`](Ledger::finish) supersedes it. Does nothing for a call that is
    /// not open.
    pub fn partial(&self, trace_id: &str, reply: &Reply) {
        let entry = entry::partial(trace_id, reply);
        let calls = self.inner.shared.calls();
        if calls.is_open(trace_id)
            && let Err(error) = self.inner.force_append(&calls, entry, SyncMode::Now)
        {
            tracing::warn!(trace_id, %error, "what a call has received so far is not journalled");
        }
    }

    /// Reads from the store, which by then holds every call that was finished, and every change
    /// that was made, before this was called. `read` runs on the blocking pool.
    ///
    /// Cancel-safe.
    ///
    /// # Errors
    /// [`ReadError`], if the store is not that far within 5 s, or fails.
    pub async fn read<T, F>(&self, read: F) -> Result<T, ReadError>
    where
        T: Send + 'static,
        F: FnOnce(&dyn TraceStore) -> Result<T, StoreError> + Send + 'static,
    {
        let shared = &self.inner.shared;
        if !shared.wait_applied(shared.wanted(), STORE_PATIENCE).await {
            return Err(ReadError::Behind {
                lag: shared.lag_entries(),
            });
        }
        let store = Arc::clone(&self.inner.store);
        match tokio::task::spawn_blocking(move || read(&*store)).await {
            Ok(answer) => Ok(answer?),
            Err(panicked) => Err(ReadError::Store(StoreError::Backend {
                message: "reading it did not end well".to_owned(),
                source: Some(panicked.into()),
            })),
        }
    }

    /// Makes a change: journals it, and waits until it is in the store.
    ///
    /// If this is dropped or answers [`ChangeError::Behind`], the change may take effect later.
    ///
    /// # Errors
    /// See [`ChangeError`].
    pub async fn change(&self, change: Change) -> Result<Changed, ChangeError> {
        let changed = self.change_all(vec![change]).await?;
        Ok(changed.into_iter().next().unwrap_or_default())
    }

    /// Makes several changes, in their order, at the price of one. Gives what each has done.
    ///
    /// # Errors
    /// As for [`change`](Ledger::change). After [`ChangeError::Unavailable`] the first ones may
    /// have been taken.
    pub async fn change_all(&self, changes: Vec<Change>) -> Result<Vec<Changed>, ChangeError> {
        let shared = &self.inner.shared;
        let deadline = Instant::now() + STORE_PATIENCE;
        let mut expected = Vec::with_capacity(changes.len());
        for change in &changes {
            let made = self.append_when_room(STORE_PATIENCE, || {
                let entry = entry::change(change);
                let mut calls = shared.calls();
                let (seq, deleted) =
                    shared.expect_change(|| self.inner.append(&calls, entry, SyncMode::Now))?;
                let overtaken = match change {
                    Change::DeleteSession { session_id, scope } => {
                        calls.overtake(session_id, scope)
                    }
                    _ => 0,
                };
                shared.want(seq);
                Ok((seq, overtaken, deleted))
            });
            expected.push(made.await?);
        }
        let behind = || ChangeError::Behind {
            lag: shared.lag_entries(),
        };
        if let Some((last, ..)) = expected.last() {
            let patience = deadline.saturating_duration_since(Instant::now());
            if !shared.wait_applied(*last, patience).await {
                return Err(behind());
            }
        }
        let mut changed = Vec::with_capacity(expected.len());
        for (_, overtaken, deleted) in expected {
            changed.push(Changed {
                deleted: deleted.await.map_err(|_| behind())?,
                overtaken,
            });
        }
        Ok(changed)
    }

    /// Waits until every call that was finished, and every change that was made, before this was
    /// called is durable and in the store.
    ///
    /// # Errors
    /// [`FlushError`] says what is not after 25 s.
    pub async fn flush(&self) -> Result<(), FlushError> {
        let shared = &self.inner.shared;
        let seq = shared.wanted();
        if shared.wait_applied(seq, FLUSH_PATIENCE).await {
            return Ok(());
        }
        Err(FlushError {
            not_durable: shared.calls().unsettled(seq),
            not_stored: seq.saturating_sub(shared.applied()),
            journal: shared.journal_trouble().map(|trouble| trouble.message),
            store: shared.store_trouble().map(|trouble| trouble.message),
        })
    }

    /// How the ledger is doing.
    pub fn status(&self) -> LedgerStatus {
        let Inner {
            shared,
            journal,
            options,
            ..
        } = &*self.inner;
        let calls = shared.calls();
        LedgerStatus {
            journal: shared.journal_trouble(),
            store: shared.store_trouble(),
            waiting: calls.waiting(),
            lag_entries: shared.lag_entries(),
            lag_bytes: shared.lag_bytes(),
            journal_used: journal.used_bytes(),
            journal_capacity: options.capacity,
            receipts_missed: calls.missed(),
            receipts_overdue: calls.overdue(),
            unreadable: shared.unreadable(),
            replayed: shared.is_replayed(),
            counters: calls.counters(),
        }
    }

    /// How many calls became what.
    pub fn counters(&self) -> Counters {
        self.inner.shared.calls().counters()
    }

    /// Brings everything to the disk and into the store, and ends the ledger: what is finished
    /// later is not recorded any more. If the store does not take it within 25 s, the next start
    /// will carry it there.
    ///
    /// # Errors
    /// See [`CloseError`].
    pub async fn close(&self) -> Result<(), CloseError> {
        let flushed = self.flush().await;
        let inner = Arc::clone(&self.inner);
        let closed = tokio::task::spawn_blocking(move || inner.stop()).await;
        closed
            .expect("closing does not panic")
            .map_err(CloseError::NotDurable)?;
        flushed.map_err(CloseError::NotStored)
    }

    /// Appends by `append` as soon as there is room, within `patience`.
    async fn append_when_room<T>(
        &self,
        patience: Duration,
        mut append: impl FnMut() -> Result<T, Unavailable>,
    ) -> Result<T, Unavailable> {
        match append() {
            Err(Unavailable::NoRoom) => {}
            done => return done,
        }
        let deadline = Instant::now() + patience;
        loop {
            let room = self.inner.shared.room.notified();
            tokio::pin!(room);
            // Enabled before the next attempt: what becomes free after it wakes us.
            room.as_mut().enable();
            match append() {
                Err(Unavailable::NoRoom) => {}
                done => return done,
            }
            if tokio::time::timeout_at(deadline, room).await.is_err() {
                return Err(Unavailable::NoRoom);
            }
        }
    }
}

impl Inner {
    /// Appends an entry of a new call or a change, unless the journal is in trouble. The calls are
    /// held locked, so that their order is the journal's.
    fn append(&self, calls: &Calls, entry: Vec<u8>, sync: SyncMode) -> Result<u64, Unavailable> {
        if let Some(trouble) = self.shared.journal_trouble() {
            return Err(Unavailable::Failing {
                message: trouble.message,
            });
        }
        let limit = match self.options.durability {
            Durability::Receipt { timeout } => timeout,
            Durability::Always | Durability::Background => STORE_PATIENCE,
        };
        if let Some(waiting) = calls.waiting().filter(|&waiting| waiting >= limit) {
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
    fn force_append(
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
    fn stop(&self) -> Result<(), gateway_journal::CloseError> {
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

/// A reply that the journal takes in place of one that it does not.
fn without_body(reply: &Reply, bytes: u64) -> Reply {
    let mut reply = Reply {
        meta: reply.meta.clone(),
        body: Bytes::new(),
    };
    reply.meta.notes.push(format!(
        "the reply is left out: its {bytes} bytes do not fit the journal"
    ));
    reply
}
