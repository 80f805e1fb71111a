//! The ledger: what carries calls and changes through the journal into the store.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use gateway_journal::{Journal, SyncMode};
use gateway_trace::{Call, Reply};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::change::{Change, Scope};
use crate::entry;
use crate::error::StoreError;
use crate::store::TraceStore;
use inner::Inner;

mod applier;
mod calls;
mod errors;
mod inner;
mod options;
mod receipt;
mod shared;
mod status;
mod tail;
#[cfg(test)]
mod tests;

pub use errors::{ChangeError, CloseError, FlushError, OpenError, ReadError, Unavailable};
pub use options::{Durability, LedgerOptions};
pub use receipt::{Receipt, ReceiptMissed};
pub use status::{Counters, LedgerStatus, Trouble};

/// How long a read or a change waits for the store.
const STORE_PATIENCE: Duration = Duration::from_secs(5);
/// How long a flush waits for the journal and the store.
const FLUSH_PATIENCE: Duration = Duration::from_secs(25);

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

impl Ledger {
    /// Opens the journal, begins to carry what an earlier run has left in it into the store, and
    /// ends the calls that were open then as `interrupted`. That goes on in the background; reads
    /// wait for it.
    ///
    /// Must be called within a tokio runtime, which runs the one task that hands out receipts.
    ///
    /// # Errors
    /// See [`OpenError`].
    ///
    /// # Panics
    /// Outside a runtime.
    pub fn open(options: LedgerOptions, store: Arc<dyn TraceStore>) -> Result<Self, OpenError> {
        let folder = options.journal_dir.clone();
        let open = |options, on_progress| Journal::open(folder, options, on_progress);
        Inner::open(options, store, open).map(|inner| Self {
            inner: Arc::new(inner),
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
        let durability = self.inner.options.durability;
        if calls.alarm.is_none() {
            calls.alarm = Some(Instant::now() + durability.limit());
            shared.dispatcher.notify_one();
        }
        if durability == Durability::Background {
            calls.finish(trace_id, seq, None);
            return Receipt::ready();
        }
        calls.finish(trace_id, seq, Some(sender));
        Receipt::waiting(receiver)
    }

    /// Journals a call that has ended elsewhere, in one entry, so that there is never half of it.
    /// It counts neither as admitted nor as finished. Waits for room as [`admit`](Ledger::admit)
    /// does; that it is in the store is known after a [`flush`](Ledger::flush). Cancel-safe.
    ///
    /// # Errors
    /// [`Unavailable`]: it was not taken.
    pub async fn import(&self, call: &Call, reply: &Reply) -> Result<(), Unavailable> {
        self.append_when_room(self.inner.options.admit_timeout, || {
            let entry = entry::whole(call, reply);
            let calls = self.inner.shared.calls();
            let seq = self.inner.append(&calls, entry, SyncMode::Now)?;
            self.inner.shared.want(seq);
            Ok(())
        })
        .await
    }

    /// Journals what an admitted call has received so far, so that this survives if the process
    /// does not. A later [`finish`](Ledger::finish) supersedes it. Does nothing for a call that is
    /// not open.
    pub fn partial(&self, trace_id: &str, reply: &Reply) {
        let entry = entry::partial(trace_id, reply);
        let mut calls = self.inner.shared.calls();
        calls.note_partial(trace_id);
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
        let shared = &self.inner.shared;
        let deadline = Instant::now() + STORE_PATIENCE;
        let deletion = match &change {
            Change::DeleteSessions { session_ids, scope } => {
                let session_ids: HashSet<_> = session_ids.iter().map(String::as_str).collect();
                Some((session_ids, scope))
            }
            _ => None,
        };
        let made = self.append_when_room(STORE_PATIENCE, || {
            let entry = entry::change(&change);
            let mut calls = shared.calls();
            let (seq, deleted) =
                shared.expect_change(|| self.inner.append(&calls, entry, SyncMode::Now))?;
            let overtaken = deletion
                .as_ref()
                .map_or(0, |(session_ids, scope)| calls.overtake(session_ids, scope));
            shared.want(seq);
            Ok((seq, overtaken, deleted))
        });
        let (seq, overtaken, deleted) = made.await?;
        let behind = || ChangeError::Behind {
            lag: shared.lag_entries(),
        };
        let patience = deadline.saturating_duration_since(Instant::now());
        if !shared.wait_applied(seq, patience).await {
            return Err(behind());
        }
        Ok(Changed {
            deleted: deleted.await.map_err(|_| behind())?,
            overtaken,
        })
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
        let progress = journal.status();
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
            syncs: progress.syncs,
            sync_time: progress.sync_time,
            batches: shared.batches(),
            apply_time: shared.apply_time(),
            replayed: shared.is_replayed(),
            counters: calls.counters(),
        }
    }

    /// The trace ids of the calls of a session that have been admitted and have not ended, but for
    /// those that a deletion has overtaken.
    pub fn open_calls(&self, session_id: &str, scope: &Scope) -> Vec<String> {
        let calls = self.inner.shared.calls();
        calls.open_in(session_id, scope).cloned().collect()
    }

    /// The runs, `""` for none, in which these sessions have such calls; a session without any is
    /// left out.
    pub fn open_runs(&self, session_ids: &HashSet<&str>) -> HashMap<String, BTreeSet<String>> {
        self.inner.shared.calls().open_runs(session_ids)
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
