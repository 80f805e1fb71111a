//! The writer's thread: what waits is written in one go, synced if anyone asked for it, and told.
//!
//! Waking a thread costs more than writing an entry, so the writer is woken as rarely as can be:
//! while it works it needs no waking, and finds afterwards all that came meanwhile; while it was
//! busy lately it looks by itself every [`linger`](crate::Options::linger), so that a lazy entry
//! wakes nobody; only a wish for a sync, or an entry after a long rest, wakes it.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::disk::FolderLock;
use crate::log::{Entry, Log, Shared};
use crate::progress::{Failing, Progress};

/// So many fruitless looks, and the writer rests until it is woken.
const LOOKS: u32 = 20;
/// Lazily written bytes beyond this are synced unasked, because memory holds them until then.
const UNSYNCED_BYTES: u64 = 1 << 20;
/// Waits between two attempts on a failing disk.
const FIRST_RETRY: Duration = Duration::from_millis(50);
const LAST_RETRY: Duration = Duration::from_secs(1);

/// What appenders and the writer share.
#[derive(Debug)]
pub(crate) struct Queue {
    state: Mutex<QueueState>,
    /// Wakes the writer.
    work: Condvar,
    /// Wakes those who wait for progress.
    progress: Condvar,
}

#[derive(Debug)]
pub(crate) struct QueueState {
    pub(crate) entries: VecDeque<Entry>,
    /// Bytes in `entries`.
    pub(crate) waiting_bytes: u64,
    /// Bytes of all entries that are held in memory, written or not.
    pub(crate) held_bytes: u64,
    pub(crate) next_seq: u64,
    /// The highest sequence that is durable, as far as it has been told.
    pub(crate) synced: u64,
    /// When the oldest of `entries` came.
    oldest: Option<Instant>,
    want_sync: bool,
    writer: WriterState,
    /// Since when the writer has been writing or syncing.
    pub(crate) busy_since: Option<Instant>,
    /// How many wait for progress: to wake nobody costs as much as to wake somebody.
    waiters: u32,
    /// Set by a close: until when the writer may try.
    pub(crate) closing: Option<Instant>,
    /// The writer has ended, and left so many entries behind.
    pub(crate) ended: Option<u64>,
    pub(crate) failing: Option<Failing>,
    pub(crate) last_error: Option<String>,
    pub(crate) given_up: u64,
    pub(crate) syncs: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WriterState {
    /// Works, or waits for its next attempt: will look by itself.
    Busy,
    /// Looks by itself before long; a sync must not wait for that.
    Looking,
    /// Sleeps until it is woken.
    Resting,
}

impl Queue {
    pub(crate) fn new(next_seq: u64) -> Queue {
        Queue {
            state: Mutex::new(QueueState {
                entries: VecDeque::new(),
                waiting_bytes: 0,
                held_bytes: 0,
                next_seq,
                synced: next_seq - 1,
                oldest: None,
                want_sync: false,
                writer: WriterState::Busy,
                busy_since: None,
                waiters: 0,
                closing: None,
                ended: None,
                failing: None,
                last_error: None,
                given_up: 0,
                syncs: 0,
            }),
            work: Condvar::new(),
            progress: Condvar::new(),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.state
            .lock()
            .expect("nobody panics with the queue in hand")
    }

    /// Takes an entry; gives its sequence.
    pub(crate) fn push(
        &self,
        mut state: MutexGuard<'_, QueueState>,
        payload: Vec<u8>,
        sync: bool,
    ) -> u64 {
        let seq = state.next_seq;
        let bytes = payload.len() as u64;
        state.next_seq += 1;
        state.waiting_bytes += bytes;
        state.held_bytes += bytes;
        if state.entries.is_empty() {
            state.oldest = Some(Instant::now());
        }
        state.entries.push_back(Entry { seq, payload });
        self.ask(state, sync);
        seq
    }

    /// Wakes the writer if it would not look in time by itself.
    pub(crate) fn ask(&self, mut state: MutexGuard<'_, QueueState>, sync: bool) {
        state.want_sync |= sync;
        let wake = match state.writer {
            WriterState::Busy => false,
            WriterState::Looking => sync,
            WriterState::Resting => true,
        };
        if wake {
            // Until it runs, further entries need not wake it again.
            state.writer = WriterState::Busy;
            drop(state);
            self.work.notify_one();
        }
    }

    /// Tells the writer to end; it may try until `deadline`.
    pub(crate) fn close(&self, deadline: Instant) {
        let mut state = self.lock();
        state.closing.get_or_insert(deadline);
        state.want_sync = true;
        drop(state);
        self.work.notify_one();
    }

    /// Waits until `done` finds what it looks for, or the deadline has passed.
    pub(crate) fn wait<T>(
        &self,
        deadline: Instant,
        mut done: impl FnMut(&QueueState) -> Option<T>,
    ) -> Option<T> {
        let mut state = self.lock();
        loop {
            if let Some(found) = done(&state) {
                return Some(found);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            state.waiters += 1;
            state = wait(&self.progress, state, left);
            state.waiters -= 1;
        }
    }
}

fn wait<'a>(
    condition: &Condvar,
    state: MutexGuard<'a, QueueState>,
    left: Duration,
) -> MutexGuard<'a, QueueState> {
    let woken = condition.wait_timeout(state, left);
    woken.expect("nobody panics with the queue in hand").0
}

/// The writer itself.
pub(crate) struct Writer<F> {
    pub(crate) queue: Arc<Queue>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) log: Log,
    pub(crate) linger: Duration,
    /// No more than this is held in memory for the next sync.
    pub(crate) unsynced_limit: u64,
    pub(crate) on_progress: F,
    /// Held until the thread has ended, and the one that prepares a spare.
    pub(crate) lock: Option<Arc<FolderLock>>,
    pub(crate) preparing: Option<JoinHandle<()>>,
}

/// What the writer does next.
struct Task {
    batch: VecDeque<Entry>,
    sync: bool,
    closing: Option<Instant>,
}

/// The disk has been refusing.
struct Trouble {
    failing: Failing,
    wait: Duration,
    retry_at: Instant,
}

impl<F: Fn(&Progress)> Writer<F> {
    /// Runs until the journal is closed and everything is durable, or time is up.
    pub(crate) fn run(mut self) {
        // Also if the callback panics: nobody must wait for a writer that is gone.
        let _end = End(Arc::clone(&self.queue));
        let mut trouble: Option<Trouble> = None;
        loop {
            let task = self.next_task(trouble.as_ref().map(|trouble| trouble.retry_at));
            let result = self.attempt(task.batch, task.sync || trouble.is_some());
            let moved = self.note_progress();
            match result {
                Ok(()) => {
                    let over = trouble.take().is_some();
                    if over {
                        self.queue.lock().failing = None;
                    }
                    if moved || over {
                        self.tell(None);
                    }
                    self.prepare_spare();
                }
                Err(error) => {
                    self.log.give_up();
                    let now = self.note_failure(trouble.take(), &error);
                    self.tell(Some(now.failing.clone()));
                    trouble = Some(now);
                }
            }
            let Some(deadline) = task.closing else {
                continue;
            };
            let left = self.log.pending() as u64;
            let waiting = self.queue.lock().entries.len() as u64;
            if left + waiting == 0 || (trouble.is_some() && Instant::now() >= deadline) {
                self.shared.stop.store(true, Ordering::Release);
                if let Some(preparing) = self.preparing.take() {
                    // If it panicked, there is no spare; the panic hook has told.
                    let _ = preparing.join();
                }
                self.queue.lock().ended = Some(left + waiting);
                return;
            }
        }
    }

    /// Waits for something to do.
    fn next_task(&self, retry_at: Option<Instant>) -> Task {
        let mut state = self.queue.lock();
        state.busy_since = None;
        let mut looks = 0;
        loop {
            let now = Instant::now();
            let wait_for = if let Some(retry_at) = retry_at {
                let left = retry_at.saturating_duration_since(now);
                let closed = state.closing.is_some_and(|deadline| now >= deadline);
                (!left.is_zero() && !closed).then(|| {
                    let closing = state.closing.map(|deadline| deadline - now);
                    (
                        WriterState::Busy,
                        Some(closing.map_or(left, |end| end.min(left))),
                    )
                })
            } else if state.want_sync || state.closing.is_some() {
                None
            } else if let Some(oldest) = state.oldest {
                let left = self.linger.saturating_sub(now - oldest);
                (!left.is_zero()).then_some((WriterState::Looking, Some(left)))
            } else if looks < LOOKS {
                looks += 1;
                Some((WriterState::Looking, Some(self.linger)))
            } else {
                looks = 0;
                Some((WriterState::Resting, None))
            };
            let Some((writer, left)) = wait_for else {
                break;
            };
            state.writer = writer;
            state = match left {
                Some(left) => wait(&self.queue.work, state, left),
                None => {
                    let woken = self.queue.work.wait(state);
                    woken.expect("nobody panics with the queue in hand")
                }
            };
        }
        state.writer = WriterState::Busy;
        state.busy_since = Some(Instant::now());
        state.waiting_bytes = 0;
        state.oldest = None;
        Task {
            batch: std::mem::take(&mut state.entries),
            sync: std::mem::take(&mut state.want_sync),
            closing: state.closing,
        }
    }

    fn attempt(&mut self, batch: VecDeque<Entry>, sync: bool) -> io::Result<()> {
        self.log.write(batch)?;
        if sync || self.log.unsynced_bytes() > self.unsynced_limit.min(UNSYNCED_BYTES) {
            self.log.sync()?;
        }
        Ok(())
    }

    /// Notes what has become durable, and whether there is any. Even a failed attempt may have
    /// filled a segment and synced it.
    fn note_progress(&mut self) -> bool {
        let freed = self.log.take_freed();
        let synced = self.shared.synced.load(Ordering::Acquire);
        let mut state = self.queue.lock();
        let moved = synced > state.synced;
        state.held_bytes -= freed;
        state.synced = synced;
        state.syncs += u64::from(moved);
        moved
    }

    fn note_failure(&self, before: Option<Trouble>, error: &io::Error) -> Trouble {
        let now = Instant::now();
        let wait = before
            .as_ref()
            .map_or(FIRST_RETRY, |before| (before.wait * 2).min(LAST_RETRY));
        let (since, attempts) = before.map_or((now, 0), |before| {
            (before.failing.since, before.failing.attempts)
        });
        let failing = Failing {
            since,
            attempts: attempts + 1,
            error: error.to_string(),
        };
        let mut state = self.queue.lock();
        state.failing = Some(failing.clone());
        state.last_error = Some(failing.error.clone());
        state.given_up += 1;
        Trouble {
            failing,
            wait,
            retry_at: now + wait,
        }
    }

    fn tell(&self, failing: Option<Failing>) {
        (self.on_progress)(&Progress {
            synced: self.shared.synced.load(Ordering::Acquire),
            written: self.shared.written.load(Ordering::Acquire),
            failing,
        });
        if self.queue.lock().waiters > 0 {
            self.queue.progress.notify_all();
        }
    }

    /// Has the next segment filled with zeros by a thread of its own, so that no sync waits for it.
    fn prepare_spare(&mut self) {
        if let Some(spare) = self.log.wanted_spare() {
            let shared = Arc::clone(&self.shared);
            let lock = self.lock.clone();
            let prepare = move || {
                // It is of no use to anybody that this failed: then the next segment is made when
                // it is needed, and just costs more to fill.
                let _ = spare.prepare(&shared);
                drop(lock);
            };
            let thread = std::thread::Builder::new().name("journal-spare".to_owned());
            self.preparing = thread.spawn(prepare).ok();
        }
    }
}

/// Tells, when the writer is gone, that it is.
struct End(Arc<Queue>);

impl Drop for End {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        let left = state.entries.len() as u64;
        state.ended.get_or_insert(left);
        state.closing.get_or_insert(Instant::now());
        drop(state);
        self.0.progress.notify_all();
    }
}
