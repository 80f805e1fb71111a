//! The journal's handle: a first, simple form over one growing file.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::{
    AppendError, CloseError, OpenError, Options, Progress, ReadError, Recovery, Status, SyncMode,
};

#[derive(Debug)]
struct State {
    queue: VecDeque<Vec<u8>>,
    queued_bytes: u64,
    want_sync: bool,
    closed: bool,
    first: u64,
    next: u64,
    written: u64,
    synced: u64,
    low: u64,
    end: u64,
    places: VecDeque<(u64, u32)>,
    syncs: u64,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    wake: Condvar,
    done: Condvar,
    file: File,
    options: Options,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of the lock panics")
    }
}

/// A journal that is open for appending.
#[derive(Debug)]
pub struct Journal {
    shared: Arc<Shared>,
    recovery: Recovery,
    writer: Mutex<Option<JoinHandle<()>>>,
    lock: Mutex<Option<File>>,
    id: [u8; 16],
}

impl Journal {
    /// Opens the journal in `dir`, or begins one there.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(
        dir: impl AsRef<Path>,
        options: Options,
        on_progress: impl Fn(&Progress) + Send + 'static,
    ) -> Result<Journal, OpenError> {
        let dir = dir.as_ref();
        let io = |what| {
            move |source| OpenError::Io {
                folder: dir.to_owned(),
                what,
                source,
            }
        };
        fs::create_dir_all(dir).map_err(io("cannot make the folder"))?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(dir.join("lock"))
            .map_err(io("cannot open the lock"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(OpenError::Locked {
                    folder: dir.to_owned(),
                });
            }
            Err(TryLockError::Error(source)) => return Err(io("cannot lock")(source)),
        }
        let path = dir.join("entries");
        let created = !path.exists();
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .map_err(io("cannot open"))?;
        let mut head = [0; 24];
        if file.read_exact_at(&mut head, 0).is_err() {
            head[..16].copy_from_slice(&options.id);
            head[16..].copy_from_slice(&options.first_seq.max(1).to_le_bytes());
            file.write_all(&head).map_err(io("cannot write"))?;
        }
        let first = u64::from_le_bytes(head[16..].try_into().expect("eight bytes"));
        let id: [u8; 16] = head[..16].try_into().expect("sixteen bytes");
        let (mut end, mut places) = (24, VecDeque::new());
        let mut header = [0; 8];
        while file.read_exact_at(&mut header, end).is_ok() {
            let len = u32::from_le_bytes(header[..4].try_into().expect("four bytes"));
            let mut payload = vec![0; len as usize];
            if file.read_exact_at(&mut payload, end + 8).is_err()
                || crc32fast::hash(&payload).to_le_bytes() != header[4..]
            {
                break;
            }
            places.push_back((end + 8, len));
            end += 8 + u64::from(len);
        }
        let next = first + places.len() as u64;
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                queue: VecDeque::new(),
                queued_bytes: 0,
                want_sync: false,
                closed: false,
                first,
                next,
                written: next - 1,
                synced: next - 1,
                low: first,
                end,
                places,
                syncs: 0,
            }),
            wake: Condvar::new(),
            done: Condvar::new(),
            file,
            options,
        });
        let writer = std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || write(&shared, &on_progress)
        });
        Ok(Journal {
            shared,
            recovery: Recovery {
                created,
                first_seq: first,
                next_seq: next,
                lost: Vec::new(),
            },
            writer: Mutex::new(Some(writer)),
            lock: Mutex::new(Some(lock)),
            id,
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

    /// Takes an entry and gives its sequence; never waits for the disk.
    ///
    /// # Errors
    /// See [`AppendError`].
    pub fn append(&self, entry: Vec<u8>, sync: SyncMode) -> Result<u64, AppendError> {
        self.push(entry, sync, false)
    }

    /// Like [`append`](Journal::append), but is never refused as [`Full`](AppendError::Full).
    ///
    /// # Errors
    /// [`AppendError::Closed`] and [`AppendError::TooLarge`].
    pub fn force_append(&self, entry: Vec<u8>, sync: SyncMode) -> Result<u64, AppendError> {
        self.push(entry, sync, true)
    }

    fn push(&self, entry: Vec<u8>, sync: SyncMode, force: bool) -> Result<u64, AppendError> {
        let bytes = entry.len() as u64;
        let mut state = self.shared.lock();
        if state.closed {
            return Err(AppendError::Closed);
        }
        let limit = self.max_entry();
        if bytes > limit {
            return Err(AppendError::TooLarge { bytes, limit });
        }
        if !force && state.queued_bytes + bytes > self.shared.options.queue_bytes {
            return Err(AppendError::Full);
        }
        let seq = state.next;
        state.next += 1;
        state.queued_bytes += bytes;
        state.queue.push_back(entry);
        state.want_sync |= sync == SyncMode::Now;
        self.shared.wake.notify_one();
        Ok(seq)
    }

    /// The longest entry that [`append`](Journal::append) takes, in bytes.
    pub fn max_entry(&self) -> u64 {
        self.shared.options.capacity / 4
    }

    /// The highest sequence that is durable.
    pub fn synced(&self) -> u64 {
        self.shared.lock().synced
    }

    /// The highest sequence that was handed to the operating system.
    pub fn written(&self) -> u64 {
        self.shared.lock().written
    }

    /// The sequence that the next entry gets.
    pub fn next_seq(&self) -> u64 {
        self.shared.lock().next
    }

    /// The lowest sequence that can be read.
    pub fn low_water(&self) -> u64 {
        self.shared.lock().low
    }

    /// Bytes of entries held in memory until they are durable.
    pub fn queued_bytes(&self) -> u64 {
        self.shared.lock().queued_bytes
    }

    /// Bytes on disk between the low-water mark and the newest entry.
    pub fn used_bytes(&self) -> u64 {
        self.shared.lock().end
    }

    /// The state of the journal at this moment.
    pub fn status(&self) -> Status {
        Status {
            failing: None,
            last_error: None,
            busy_for: None,
            given_up: 0,
            syncs: self.shared.lock().syncs,
        }
    }

    /// A reader that begins at sequence `from`.
    pub fn reader(&self, from: u64) -> Reader {
        Reader {
            shared: Arc::clone(&self.shared),
            next: from,
        }
    }

    /// Reads one entry.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn read_at(&self, seq: u64) -> Result<Vec<u8>, ReadError> {
        read(&self.shared, seq)
    }

    /// Lets the journal use again what lies wholly below sequence `below`.
    pub fn trim(&self, below: u64) {
        let mut state = self.shared.lock();
        state.low = state.low.max(below.min(state.next));
    }

    /// Asks for a sync of everything appended so far, without waiting for it.
    pub fn sync_now(&self) {
        self.shared.lock().want_sync = true;
        self.shared.wake.notify_one();
    }

    /// Waits until `seq` is durable; `false` if that took longer than `timeout`.
    pub fn wait_synced(&self, seq: u64, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        let mut state = self.shared.lock();
        while state.synced < seq {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state = self
                .shared
                .done
                .wait_timeout(state, left)
                .expect("no holder of the lock panics")
                .0;
        }
        true
    }

    /// Makes everything durable and ends the writer; later appends are refused.
    ///
    /// # Errors
    /// [`CloseError`] if the disk did not take everything within `timeout`.
    pub fn close(&self, _timeout: Duration) -> Result<(), CloseError> {
        {
            let mut state = self.shared.lock();
            state.closed = true;
            state.want_sync = true;
        }
        self.shared.wake.notify_one();
        if let Some(writer) = self.writer.lock().expect("no panic").take() {
            let _ = writer.join();
        }
        self.lock.lock().expect("no panic").take();
        Ok(())
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        let _ = self.close(Duration::from_secs(1));
    }
}

/// Reads entries in sequence, also while the journal is written.
#[derive(Debug)]
pub struct Reader {
    shared: Arc<Shared>,
    next: u64,
}

impl Reader {
    /// The next entry with its sequence, or `None` if it lies above `up_to` or is not written yet.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn next(&mut self, up_to: u64) -> Result<Option<(u64, Vec<u8>)>, ReadError> {
        if self.next > up_to.min(self.shared.lock().written) {
            return Ok(None);
        }
        let entry = read(&self.shared, self.next)?;
        self.next += 1;
        Ok(Some((self.next - 1, entry)))
    }
}

fn read(shared: &Shared, seq: u64) -> Result<Vec<u8>, ReadError> {
    let (place, len) = {
        let state = shared.lock();
        if seq < state.low {
            return Err(ReadError::Trimmed {
                seq,
                low_water: state.low,
            });
        }
        let nth = usize::try_from(seq - state.first).expect("few entries");
        *state.places.get(nth).ok_or(ReadError::NotWritten { seq })?
    };
    let mut entry = vec![0; len as usize];
    shared
        .file
        .read_exact_at(&mut entry, place)
        .map_err(|source| ReadError::Io { seq, source })?;
    Ok(entry)
}

fn write(shared: &Shared, on_progress: &dyn Fn(&Progress)) {
    let mut state = shared.lock();
    loop {
        if state.queue.is_empty() && state.closed {
            return;
        }
        if state.queue.is_empty() && !state.want_sync {
            state = shared.wake.wait(state).expect("no panic");
            continue;
        }
        if !state.want_sync {
            let waited = shared.wake.wait_timeout(state, shared.options.linger);
            state = waited.expect("no panic").0;
        }
        let batch: Vec<_> = state.queue.drain(..).collect();
        let sync = std::mem::take(&mut state.want_sync);
        let (mut at, mut buffer, mut places) = (state.end, Vec::new(), Vec::new());
        drop(state);
        for entry in &batch {
            let len = u32::try_from(entry.len()).expect("entries are bounded");
            buffer.extend(len.to_le_bytes());
            buffer.extend(crc32fast::hash(entry).to_le_bytes());
            buffer.extend_from_slice(entry);
            places.push((at + 8, len));
            at += 8 + u64::from(len);
        }
        shared
            .file
            .write_all_at(&buffer, at - buffer.len() as u64)
            .expect("the disk works");
        if sync {
            shared.file.sync_data().expect("the disk works");
        }
        state = shared.lock();
        state.end = at;
        state.places.extend(places);
        state.written += batch.len() as u64;
        state.queued_bytes -= batch.iter().map(|e| e.len() as u64).sum::<u64>();
        if sync {
            state.synced = state.written;
            state.syncs += 1;
            let progress = Progress {
                synced: state.synced,
                written: state.written,
                failing: None,
            };
            drop(state);
            on_progress(&progress);
            shared.done.notify_all();
            state = shared.lock();
        }
    }
}
