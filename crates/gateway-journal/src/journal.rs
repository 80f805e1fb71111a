//! The handle.

use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::disk::{Disk, Folder, FolderLock};
use crate::error::{AppendError, CloseError, OpenError, ReadError};
use crate::format::{ENTRIES_AT, PAGE, entry_size, page_up};
use crate::log::{Log, Shared, Spare};
use crate::options::{Options, SyncMode};
use crate::progress::{Progress, Recovery, Status};
use crate::reader::{Reader, read_one};
use crate::recovery::{Wanted, recover};
use crate::writer::{Queue, Writer};

/// The smallest capacity and segment that hold a few entries.
const MIN_SEGMENT: u64 = 16 << 10;
const MIN_CAPACITY: u64 = 4 * MIN_SEGMENT;
/// How long a journal that is dropped without being closed may keep its owner waiting.
const DROP_PATIENCE: Duration = Duration::from_secs(5);

/// A journal that is open for appending. All methods may be called from any thread.
///
/// Dropping it closes it.
#[derive(Debug)]
pub struct Journal {
    shared: Arc<Shared>,
    queue: Arc<Queue>,
    recovery: Recovery,
    id: [u8; 16],
    capacity: u64,
    queue_bytes: u64,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl Journal {
    /// Opens the journal in the folder `dir`, or begins one there, and locks it against others.
    ///
    /// What was not known to be durable is written and synced once more before this returns, so
    /// that everything that can be read then is durable.
    ///
    /// `on_progress` is called by the writer's thread, once a batch in which
    /// [`synced`](Progress::synced) went up, and when the disk begins or ceases to fail. It must
    /// neither block nor panic.
    ///
    /// # Errors
    /// [`OpenError`]; the entries in the folder are as they were.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "callers make the options for this one call"
    )]
    pub fn open(
        dir: impl AsRef<Path>,
        options: Options,
        on_progress: impl Fn(&Progress) + Send + 'static,
    ) -> Result<Journal, OpenError> {
        let path = dir.as_ref();
        let failed = |what| {
            let folder = path.to_owned();
            move |source| OpenError::Io {
                folder,
                what,
                source,
            }
        };
        let folder = Folder::make(path).map_err(failed("cannot make the folder"))?;
        let lock = folder.lock().map_err(failed("cannot lock"))?;
        let Some(lock) = lock else {
            return Err(OpenError::Locked {
                folder: path.to_owned(),
            });
        };
        Journal::start(Arc::new(folder), path, &options, Some(lock), on_progress)
    }

    /// The same on a disk of the caller's making, for tests of what happens when it fails.
    ///
    /// # Errors
    /// [`OpenError`].
    #[doc(hidden)]
    pub fn open_on(
        disk: Arc<dyn Disk>,
        options: &Options,
        on_progress: impl Fn(&Progress) + Send + 'static,
    ) -> Result<Journal, OpenError> {
        Journal::start(disk, &PathBuf::from("(test)"), options, None, on_progress)
    }

    /// The file system folder as a [`Disk`], to be wrapped by tests.
    ///
    /// # Errors
    /// What the operating system says.
    #[doc(hidden)]
    pub fn disk(dir: impl AsRef<Path>) -> std::io::Result<Arc<dyn Disk>> {
        Ok(Arc::new(Folder::make(dir.as_ref())?))
    }

    fn start(
        disk: Arc<dyn Disk>,
        folder: &Path,
        options: &Options,
        lock: Option<FolderLock>,
        on_progress: impl Fn(&Progress) + Send + 'static,
    ) -> Result<Journal, OpenError> {
        let capacity = options.capacity.max(MIN_CAPACITY);
        let segment = options.segment_bytes.clamp(MIN_SEGMENT, capacity / 4);
        let recovered = recover(
            &*disk,
            folder,
            Wanted {
                id: options.id,
                first_seq: options.first_seq,
                segment_bytes: segment / PAGE * PAGE,
                accept_loss: options.accept_loss,
            },
        )?;
        let id = recovered.start.journal;
        let first_seq = recovered.layout.low_water;
        let failed = |what| {
            move |source| OpenError::Io {
                folder: folder.to_owned(),
                what,
                source,
            }
        };
        let shared = Arc::new(Shared::new(disk, recovered.layout, recovered.synced));
        if recovered.created && !shared.layout().has_spare() {
            let first = Spare::wanted(&mut shared.layout());
            let made = first.prepare(&shared);
            made.map_err(failed("cannot make the first segment"))?;
        }
        let log = Log::start(Arc::clone(&shared), recovered.start)
            .map_err(failed("cannot begin a segment"))?;
        let next_seq = shared.synced.load(Ordering::Acquire) + 1;
        let queue = Arc::new(Queue::new(next_seq));
        let writer = Writer {
            queue: Arc::clone(&queue),
            shared: Arc::clone(&shared),
            log,
            linger: options.linger,
            unsynced_limit: options.queue_bytes / 4,
            on_progress,
            lock: lock.map(Arc::new),
            preparing: None,
        };
        let writer = std::thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || writer.run())
            .map_err(failed("cannot start the writer's thread"))?;
        Ok(Journal {
            shared,
            queue,
            recovery: Recovery {
                created: recovered.created,
                first_seq,
                next_seq,
                lost: recovered.lost,
            },
            id,
            capacity,
            queue_bytes: options.queue_bytes,
            writer: Mutex::new(Some(writer)),
        })
    }

    /// What was found when the journal was opened.
    pub fn recovery(&self) -> &Recovery {
        &self.recovery
    }

    /// The journal's identity, kept from its first opening on.
    pub fn id(&self) -> [u8; 16] {
        self.id
    }

    /// Takes an entry and gives its sequence. Only puts it into a queue: never waits for the disk.
    ///
    /// # Errors
    /// [`AppendError`]; nothing of the entry is kept then.
    pub fn append(&self, entry: Vec<u8>, sync: SyncMode) -> Result<u64, AppendError> {
        let (bytes, limit) = (entry.len() as u64, self.max_entry());
        if bytes > limit {
            return Err(AppendError::TooLarge { bytes, limit });
        }
        let state = self.queue.lock();
        if state.closing.is_some() {
            return Err(AppendError::Closed);
        }
        // An entry that is larger than the whole queue may pass where nothing else waits.
        let queue_full = state.held_bytes > 0 && state.held_bytes + bytes > self.queue_bytes;
        if queue_full || self.used_bytes() + state.waiting_bytes + bytes > self.capacity {
            return Err(AppendError::Full);
        }
        Ok(self.queue.push(state, entry, sync == SyncMode::Now))
    }

    /// Like [`append`](Journal::append), but goes over the bounds of the queue and of the capacity,
    /// and takes an entry of any length below 4 GiB: for what must not be refused. The journal
    /// then takes more memory or disk for a while.
    ///
    /// # Errors
    /// [`AppendError::Closed`], and [`AppendError::TooLarge`] from 4 GiB on.
    pub fn force_append(&self, entry: Vec<u8>, sync: SyncMode) -> Result<u64, AppendError> {
        let (bytes, limit) = (entry.len() as u64, u64::from(u32::MAX) - PAGE);
        if bytes > limit {
            return Err(AppendError::TooLarge { bytes, limit });
        }
        let state = self.queue.lock();
        if state.closing.is_some() {
            return Err(AppendError::Closed);
        }
        Ok(self.queue.push(state, entry, sync == SyncMode::Now))
    }

    /// The longest entry that [`append`](Journal::append) takes, in bytes: one that fills a segment
    /// of a quarter of the capacity.
    pub fn max_entry(&self) -> u64 {
        let room = self.capacity / 4 / PAGE * PAGE - ENTRIES_AT;
        debug_assert!(page_up(entry_size(0)) <= room);
        room.min(u64::from(u32::MAX) - PAGE) - entry_size(0)
    }

    /// The highest sequence that is durable; one below the first if there is none.
    pub fn synced(&self) -> u64 {
        self.shared.synced.load(Ordering::Acquire)
    }

    /// The highest sequence that was handed to the operating system: it survives the end of this
    /// process, but not a power cut. After a failed write it steps back to
    /// [`synced`](Journal::synced) until the entries have been written anew.
    pub fn written(&self) -> u64 {
        self.shared.written.load(Ordering::Acquire)
    }

    /// The sequence that the next entry gets.
    pub fn next_seq(&self) -> u64 {
        self.queue.lock().next_seq
    }

    /// The mark set by [`trim`](Journal::trim); an older one after a restart, since the mark is
    /// stored along with other things only.
    pub fn low_water(&self) -> u64 {
        self.shared.layout().low_water
    }

    /// Bytes of entries that are held in memory until they are durable.
    pub fn queued_bytes(&self) -> u64 {
        self.queue.lock().held_bytes
    }

    /// Bytes on disk from the segment of the low-water mark up to the newest entry; what
    /// [`Options::capacity`] bounds.
    pub fn used_bytes(&self) -> u64 {
        self.shared.used.load(Ordering::Acquire)
    }

    /// The state of the journal at this moment.
    pub fn status(&self) -> Status {
        let state = self.queue.lock();
        Status {
            failing: state.failing.clone(),
            last_error: state.last_error.clone(),
            busy_for: state.busy_since.map(|since| since.elapsed()),
            given_up: state.given_up,
            syncs: state.syncs,
            sync_time: Duration::from_nanos(self.shared.sync_nanos.load(Ordering::Relaxed)),
        }
    }

    /// A reader that begins at sequence `from`.
    pub fn reader(&self, from: u64) -> Reader {
        Reader::new(Arc::clone(&self.shared), from)
    }

    /// Reads one entry that has been [`written`](Journal::written).
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn read_at(&self, seq: u64) -> Result<Vec<u8>, ReadError> {
        read_one(&self.shared, seq)
    }

    /// Sets the low-water mark: nobody needs what lies below sequence `below` any more. Segments
    /// that lie wholly below are used again, or removed where there are too many; so this may
    /// touch the disk. The mark never goes down, and never beyond what is synced.
    pub fn trim(&self, below: u64) {
        self.shared.trim(below);
    }

    /// Asks for a sync of everything appended so far, without waiting for it.
    pub fn sync_now(&self) {
        self.queue.ask(self.queue.lock(), true);
    }

    /// Waits until `seq` is durable. `false` if it was not after `timeout`, or if the journal was
    /// closed without it.
    pub fn wait_synced(&self, seq: u64, timeout: Duration) -> bool {
        let found = self.queue.wait(Instant::now() + timeout, |state| {
            let done = state.synced >= seq;
            (done || state.ended.is_some()).then_some(done)
        });
        found.unwrap_or(false)
    }

    /// Refuses further entries, makes everything durable, ends the writer's thread and unlocks the
    /// folder. Reading goes on to work.
    ///
    /// # Errors
    /// [`CloseError`] if the disk did not take everything within `timeout`. If it hangs in the
    /// middle of a write, the folder stays locked until it has come back.
    pub fn close(&self, timeout: Duration) -> Result<(), CloseError> {
        let deadline = Instant::now() + timeout;
        self.queue.close(deadline);
        // The last attempt may have begun just before the deadline.
        let ended = self
            .queue
            .wait(deadline + Duration::from_millis(200), |state| state.ended);
        let Some(entries) = ended else {
            let entries = self.next_seq() - 1 - self.synced();
            return Err(self.unclosed(entries));
        };
        if let Some(writer) = self.writer.lock().expect("joining does not panic").take() {
            // A panic of the writer has been reported by the panic hook already.
            let _ = writer.join();
        }
        match entries {
            0 => Ok(()),
            entries => Err(self.unclosed(entries)),
        }
    }

    fn unclosed(&self, entries: u64) -> CloseError {
        CloseError {
            entries,
            last_error: self.queue.lock().last_error.clone(),
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        if self.queue.lock().closing.is_none() {
            // Whoever wants to know whether it succeeds closes the journal before.
            let _ = self.close(DROP_PATIENCE);
        }
    }
}
