//! What the callers, the journal's thread, the applier and the dispatcher share.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use gateway_journal::Progress;
use tokio::sync::{Notify, oneshot};

use super::calls::Calls;
use super::status::Trouble;

/// How long entries gather before they are applied, if nothing asks for them.
const GATHER: Duration = Duration::from_millis(100);
/// The applier starts at once when so many entries, two a call, have gathered.
const GATHERED_ENTRIES: u64 = 512;
/// Or so many bytes.
const GATHERED_BYTES: u64 = 4 << 20;

#[derive(Default)]
pub(super) struct Shared {
    calls: Mutex<Calls>,
    /// Wakes the task that hands out receipts.
    pub(super) dispatcher: Notify,
    /// Wakes those who wait for room in the journal.
    pub(super) room: Notify,
    /// What the applier waits for.
    pace: Mutex<Pace>,
    paced: Condvar,
    /// Who waits for the applier.
    waiters: Mutex<Waiters>,
    /// The last entry that must be in the store before a reader may look: the newest end of a
    /// call, or change.
    wanted: AtomicU64,
    /// Everything up to here is in the store. Stays 0 until the replay is through.
    applied: AtomicU64,
    replayed: AtomicBool,
    /// Bytes that were appended, and how many of those the applier has read and the store has.
    appended_bytes: AtomicU64,
    read_bytes: AtomicU64,
    applied_bytes: AtomicU64,
    unreadable: AtomicU64,
    batches: AtomicU64,
    apply_nanos: AtomicU64,
    journal_failing: AtomicBool,
    journal_trouble: Mutex<Option<(Instant, String)>>,
    store_trouble: Mutex<Option<(Instant, String)>>,
}

#[derive(Default)]
struct Pace {
    /// Up to here the journal is on disk.
    synced: u64,
    /// Up to here the applier has read.
    read: u64,
    /// Up to here somebody waits for the applier.
    urgent: u64,
    stop: bool,
}

impl Pace {
    fn has_work(&self) -> bool {
        self.synced > self.read
    }

    fn is_due(&self, unread_bytes: u64) -> bool {
        self.stop
            || self.has_work()
                && (self.urgent > self.read
                    || self.synced - self.read >= GATHERED_ENTRIES
                    || unread_bytes >= GATHERED_BYTES)
    }
}

#[derive(Default)]
struct Waiters {
    applied: Vec<(u64, oneshot::Sender<()>)>,
    /// In the order of the journal.
    changed: VecDeque<(u64, oneshot::Sender<u64>)>,
}

impl Shared {
    /// The journal holds entries up to `synced` from an earlier run: the applier is to go through
    /// them at once, and readers wait for that.
    pub(super) fn begin(&self, synced: u64) {
        let mut pace = lock(&self.pace);
        pace.synced = pace.synced.max(synced);
        pace.urgent = synced;
        self.want(synced);
    }

    pub(super) fn calls(&self) -> MutexGuard<'_, Calls> {
        lock(&self.calls)
    }

    /// Called by the journal's thread after each batch, and when its trouble begins or ends.
    pub(super) fn on_progress(&self, progress: &Progress) {
        let failing = progress
            .failing
            .as_ref()
            .map(|failing| (failing.since, failing.error.clone()));
        self.journal_failing
            .store(failing.is_some(), Ordering::Release);
        *lock(&self.journal_trouble) = failing;
        if self.calls().settle(progress.synced) {
            self.dispatcher.notify_one();
        }
        self.room.notify_waiters();
        let mut pace = lock(&self.pace);
        let was_idle = !pace.has_work();
        pace.synced = progress.synced;
        if pace.has_work() && (was_idle || pace.is_due(self.unread_bytes())) {
            drop(pace);
            self.paced.notify_one();
        }
    }

    /// The applier has read up to `read`: waits until it should go on. `false` means that it must
    /// stop.
    pub(super) fn wait_for_work(&self, read: u64) -> bool {
        let mut pace = lock(&self.pace);
        pace.read = read;
        while !pace.has_work() && !pace.stop {
            pace = self
                .paced
                .wait(pace)
                .expect("no holder of a lock of the ledger panics");
        }
        let until = Instant::now() + GATHER;
        while !pace.is_due(self.unread_bytes()) {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let waited = self.paced.wait_timeout(pace, left);
            pace = waited.expect("no holder of a lock of the ledger panics").0;
        }
        !pace.stop
    }

    /// The applier waits before it tries again. `false` means that it must stop.
    pub(super) fn wait_to_retry(&self, delay: Duration) -> bool {
        let until = Instant::now() + delay;
        let mut pace = lock(&self.pace);
        while !pace.stop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            let waited = self.paced.wait_timeout(pace, left);
            pace = waited.expect("no holder of a lock of the ledger panics").0;
        }
        false
    }

    pub(super) fn stop_applier(&self) {
        lock(&self.pace).stop = true;
        self.paced.notify_one();
    }

    /// Entry `seq` ends a call or is a change: whoever reads from now on must find it.
    pub(super) fn want(&self, seq: u64) {
        self.wanted.fetch_max(seq, Ordering::AcqRel);
    }

    pub(super) fn wanted(&self) -> u64 {
        self.wanted.load(Ordering::Acquire)
    }

    pub(super) fn applied(&self) -> u64 {
        self.applied.load(Ordering::Acquire)
    }

    /// How many entries the store lacks of those that a reader must find.
    pub(super) fn lag_entries(&self) -> u64 {
        self.wanted().saturating_sub(self.applied())
    }

    pub(super) fn is_replayed(&self) -> bool {
        self.replayed.load(Ordering::Acquire)
    }

    pub(super) fn count_appended(&self, bytes: u64) {
        self.appended_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn count_read(&self, bytes: u64) {
        self.read_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn count_unreadable(&self) {
        self.unreadable.fetch_add(1, Ordering::Relaxed);
    }

    /// The store has taken so long over a batch; `done` says whether it has applied it.
    pub(super) fn count_apply(&self, took: Duration, done: bool) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.apply_nanos.fetch_add(nanos, Ordering::Relaxed);
        self.batches.fetch_add(u64::from(done), Ordering::Relaxed);
    }

    pub(super) fn batches(&self) -> u64 {
        self.batches.load(Ordering::Relaxed)
    }

    pub(super) fn apply_time(&self) -> Duration {
        Duration::from_nanos(self.apply_nanos.load(Ordering::Relaxed))
    }

    pub(super) fn unreadable(&self) -> u64 {
        self.unreadable.load(Ordering::Relaxed)
    }

    /// How many bytes the applier has not read.
    fn unread_bytes(&self) -> u64 {
        let appended = self.appended_bytes.load(Ordering::Relaxed);
        appended.saturating_sub(self.read_bytes.load(Ordering::Relaxed))
    }

    /// How many bytes the store lacks.
    pub(super) fn lag_bytes(&self) -> u64 {
        let appended = self.appended_bytes.load(Ordering::Relaxed);
        appended.saturating_sub(self.applied_bytes.load(Ordering::Relaxed))
    }

    /// Waits until everything up to `seq` is in the store; the applier is told not to gather.
    /// `false` if that took longer than `patience`. Cancel-safe.
    pub(super) async fn wait_applied(&self, seq: u64, patience: Duration) -> bool {
        let told = {
            let mut waiters = lock(&self.waiters);
            if self.is_applied(seq) {
                return true;
            }
            let (sender, told) = oneshot::channel();
            waiters.applied.retain(|(_, sender)| !sender.is_closed());
            waiters.applied.push((seq, sender));
            told
        };
        self.urge(seq);
        matches!(tokio::time::timeout(patience, told).await, Ok(Ok(())))
    }

    fn is_applied(&self, seq: u64) -> bool {
        self.is_replayed() && self.applied() >= seq
    }

    fn urge(&self, seq: u64) {
        let mut pace = lock(&self.pace);
        pace.urgent = pace.urgent.max(seq);
        if pace.has_work() {
            drop(pace);
            self.paced.notify_one();
        }
    }

    /// Appends a change by `append`, which gives its sequence, so that the applier cannot apply it
    /// before it is known who waits to hear what it deleted.
    pub(super) fn expect_change<E>(
        &self,
        append: impl FnOnce() -> Result<u64, E>,
    ) -> Result<(u64, oneshot::Receiver<u64>), E> {
        let mut waiters = lock(&self.waiters);
        let seq = append()?;
        let (sender, deleted) = oneshot::channel();
        waiters.changed.push_back((seq, sender));
        Ok((seq, deleted))
    }

    /// Everything up to `applied` is in the store; `deleted` tells what its deletions did.
    /// `replayed` says that nothing of an earlier run is missing any more.
    pub(super) fn publish(&self, applied: u64, replayed: bool, deleted: &[(u64, u64)]) {
        let mut waiters = lock(&self.waiters);
        self.applied.store(applied, Ordering::Release);
        let read_bytes = self.read_bytes.load(Ordering::Relaxed);
        self.applied_bytes.store(read_bytes, Ordering::Relaxed);
        if replayed {
            self.replayed.store(true, Ordering::Release);
        }
        let Waiters {
            applied: reached,
            changed,
        } = &mut *waiters;
        while let Some((seq, sender)) = changed.pop_front_if(|(seq, _)| *seq <= applied) {
            let deleted = deleted
                .iter()
                .find(|(of, _)| *of == seq)
                .map_or(0, |(_, n)| *n);
            // Whoever asked may have stopped waiting.
            let _ = sender.send(deleted);
        }
        let replayed = self.is_replayed();
        for (_, sender) in reached.extract_if(.., |(seq, _)| replayed && *seq <= applied) {
            let _ = sender.send(());
        }
    }

    pub(super) fn journal_trouble(&self) -> Option<Trouble> {
        if !self.journal_failing.load(Ordering::Acquire) {
            return None;
        }
        trouble(&self.journal_trouble)
    }

    pub(super) fn store_trouble(&self) -> Option<Trouble> {
        trouble(&self.store_trouble)
    }

    /// Notes what the store fails with, or that it works again.
    pub(super) fn note_store(&self, message: Option<String>) {
        let mut trouble = lock(&self.store_trouble);
        *trouble = message.map(|message| {
            let since = trouble
                .as_ref()
                .map_or_else(Instant::now, |(since, _)| *since);
            (since, message)
        });
    }
}

fn trouble(of: &Mutex<Option<(Instant, String)>>) -> Option<Trouble> {
    lock(of).as_ref().map(|(since, message)| Trouble {
        lasting: since.elapsed(),
        message: message.clone(),
    })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .expect("no holder of a lock of the ledger panics")
}
