//! Writing: batches into segments, syncs, the next segment, and what follows when the disk fails.
//!
//! No thread, clock or queue in here: [`writer`](crate::writer) adds those, and the power-loss
//! tests drive this directly.
//!
//! Two rules carry the promise:
//!
//! * Every entry stays in memory until a sync that covers it has succeeded. When a write or a sync
//!   fails, the segment is given up and all that is not durable is written again, into another.
//! * A segment's header is durable before its first entry is written. So an entry of an earlier use
//!   is overwritten only when the disk already says that nobody needs it.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use crate::disk::Disk;
use crate::format::{ENTRIES_AT, ENTRY_HEAD, EntryHead, Header, entry_size, page_up, slot_offset};
use crate::layout::{Extent, Idle, Layout, SegmentFile};

/// A payload of at least this many bytes is written from where it is, without a copy.
const DIRECT: usize = 128 << 10;
/// How much is collected for one write.
const STAGING: usize = 1 << 20;

/// What the writer shares with readers and with whoever trims.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) disk: Arc<dyn Disk>,
    layout: Mutex<Layout>,
    /// The highest sequence that was handed to the operating system.
    pub(crate) written: AtomicU64,
    /// The highest sequence that is durable.
    pub(crate) synced: AtomicU64,
    /// Bytes from the oldest kept entry to the newest.
    pub(crate) used: AtomicU64,
    /// How long syncs of entries have taken, all in all.
    pub(crate) sync_nanos: AtomicU64,
    /// The journal is closing: no spare is needed any more.
    pub(crate) stop: AtomicBool,
}

impl Shared {
    pub(crate) fn new(disk: Arc<dyn Disk>, layout: Layout, synced: u64) -> Shared {
        Shared {
            disk,
            used: AtomicU64::new(layout.used()),
            layout: Mutex::new(layout),
            written: AtomicU64::new(synced),
            synced: AtomicU64::new(synced),
            sync_nanos: AtomicU64::new(0),
            stop: AtomicBool::new(false),
        }
    }

    pub(crate) fn layout(&self) -> MutexGuard<'_, Layout> {
        self.layout
            .lock()
            .expect("nobody panics with the layout in hand")
    }

    /// Lets the segments wholly below `below` be used again, and removes those that are too many.
    pub(crate) fn trim(&self, below: u64) {
        let excess = {
            let mut layout = self.layout();
            layout.trim(below.min(self.synced.load(Ordering::Acquire) + 1));
            self.used.store(layout.used(), Ordering::Release);
            layout.take_excess()
        };
        self.remove(excess);
    }

    fn remove(&self, excess: Vec<Idle>) {
        for idle in excess {
            // One that cannot be removed costs its disk space until the next opening, no more.
            let _ = self.disk.remove(&idle.file.name);
        }
    }
}

/// An entry that is not known to be durable.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) seq: u64,
    pub(crate) payload: Vec<u8>,
}

/// Where a [`Log`] begins.
#[derive(Debug)]
pub(crate) struct Start {
    pub(crate) journal: [u8; 16],
    /// The highest generation that was ever used.
    pub(crate) generation: u64,
    /// Losses below were accepted.
    pub(crate) accepted: u64,
    /// Entries that were found but not known to be durable; they are written once more.
    pub(crate) tail: VecDeque<Entry>,
}

/// The segment that is being written.
#[derive(Debug)]
struct Active {
    file: Arc<SegmentFile>,
    generation: u64,
    salt: u64,
    /// Where the staged bytes belong.
    staged_at: u64,
    /// Asked for a spare already.
    spare_asked: bool,
}

/// The writing side of a journal.
#[derive(Debug)]
pub(crate) struct Log {
    shared: Arc<Shared>,
    journal: [u8; 16],
    generation: u64,
    accepted: u64,
    active: Option<Active>,
    /// All entries that are not durable, in order.
    pending: VecDeque<Entry>,
    /// How many of them are in the active segment.
    placed: usize,
    placed_bytes: u64,
    /// Bytes of entries that have become durable.
    freed: u64,
    /// The highest sequence of which something may have been written anywhere.
    attempted: u64,
    staging: Vec<u8>,
    /// Sequence and offset of what was staged since the layout was last told.
    unpublished: Vec<(u64, u64)>,
    salts: RandomState,
}

/// A segment to be filled with zeros ahead of its use.
#[derive(Debug)]
pub(crate) struct Spare {
    name: String,
    len: u64,
}

impl Log {
    /// Takes over a recovered layout and begins a segment; what was in doubt is durable afterwards.
    pub(crate) fn start(shared: Arc<Shared>, start: Start) -> io::Result<Log> {
        let synced = shared.synced.load(Ordering::Acquire);
        let mut log = Log {
            shared,
            journal: start.journal,
            generation: start.generation,
            accepted: start.accepted,
            active: None,
            attempted: start.tail.back().map_or(synced, |entry| entry.seq),
            pending: start.tail,
            placed: 0,
            placed_bytes: 0,
            freed: 0,
            staging: Vec::new(),
            unpublished: Vec::new(),
            salts: RandomState::new(),
        };
        // A process that was killed may have left names that no power cut would.
        log.shared.disk.sync()?;
        log.begin(ENTRIES_AT)?;
        log.write(VecDeque::new())?;
        log.sync()?;
        // The queue has never heard of these.
        log.freed = 0;
        let excess = log.shared.layout().take_excess();
        log.shared.remove(excess);
        Ok(log)
    }

    /// Hands the batch to the operating system, after all that waits from earlier ones.
    ///
    /// After an error call [`give_up`](Log::give_up) and try again; nothing of the batch is lost.
    pub(crate) fn write(&mut self, batch: VecDeque<Entry>) -> io::Result<()> {
        self.pending.extend(batch);
        while let Some(entry) = self.pending.get(self.placed) {
            let size = entry_size(entry.payload.len());
            let Some(offset) = self.room(size) else {
                // What is in the old segment must be durable before the new one's header says so.
                self.flush(true)?;
                self.sync()?;
                self.begin(ENTRIES_AT + page_up(size))?;
                continue;
            };
            self.stage(offset)?;
        }
        self.flush(true)
    }

    /// Makes all that was written durable.
    ///
    /// After an error call [`give_up`](Log::give_up).
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        let Some(active) = self.active.as_mut().filter(|_| self.placed > 0) else {
            return Ok(());
        };
        let begun = Instant::now();
        let synced = active.file.io.sync_data();
        let nanos = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.shared.sync_nanos.fetch_add(nanos, Ordering::Relaxed);
        synced.map_err(|error| named("cannot sync", &active.file.name, &error))?;
        // Synced pages are never touched again.
        active.staged_at = page_up(active.staged_at);
        let last = self.pending[self.placed - 1].seq;
        for entry in self.pending.drain(..self.placed) {
            self.freed += entry.payload.len() as u64;
        }
        self.placed = 0;
        self.placed_bytes = 0;
        self.shared.synced.store(last, Ordering::Release);
        Ok(())
    }

    /// Bytes of entries that memory got rid of since this was asked last.
    pub(crate) fn take_freed(&mut self) -> u64 {
        std::mem::take(&mut self.freed)
    }

    /// Gives the active segment up: it is never written or synced again, and what it was to hold
    /// will be written to another one.
    pub(crate) fn give_up(&mut self) {
        self.staging = Vec::new();
        self.unpublished.clear();
        self.placed = 0;
        self.placed_bytes = 0;
        let Some(active) = self.active.take() else {
            return;
        };
        let synced = self.shared.synced.load(Ordering::Acquire);
        let mut layout = self.shared.layout();
        if let Some(mut extent) = layout.live.pop_back() {
            debug_assert_eq!(extent.generation, active.generation);
            extent.given_up = true;
            extent.end = extent.end.min(synced + 1).max(extent.first);
            extent.index.retain(|&(seq, _)| seq <= synced);
            if extent.end > extent.first {
                layout.live.push_back(extent);
            } else {
                // Until they are written again, the copies in there are better than none.
                extent.end = self.attempted + 1;
                layout.retire(&extent);
            }
        }
        self.shared.written.store(synced, Ordering::Release);
        self.shared.used.store(layout.used(), Ordering::Release);
    }

    /// Bytes that were written and not synced.
    pub(crate) fn unsynced_bytes(&self) -> u64 {
        self.placed_bytes
    }

    /// How many entries are not durable.
    pub(crate) fn pending(&self) -> usize {
        self.pending.len()
    }

    /// A spare to be made ready, once for each segment, when it is filled by a quarter.
    pub(crate) fn wanted_spare(&mut self) -> Option<Spare> {
        let active = self.active.as_mut()?;
        if active.spare_asked || active.staged_at < active.file.len / 4 {
            return None;
        }
        active.spare_asked = true;
        let mut layout = self.shared.layout();
        (!layout.has_spare()).then(|| Spare::wanted(&mut layout))
    }

    /// Where an entry of `size` bytes goes, if the active segment has room for it.
    fn room(&self, size: u64) -> Option<u64> {
        let active = self.active.as_ref()?;
        let offset = active.staged_at + self.staging.len() as u64;
        (offset + size <= active.file.len).then_some(offset)
    }

    /// Stages the next entry, or writes it where it is long.
    fn stage(&mut self, offset: u64) -> io::Result<()> {
        let active = self.active.as_ref().expect("there is room in it");
        let entry = &self.pending[self.placed];
        let synced = self.shared.synced.load(Ordering::Acquire);
        let head = EntryHead::new(
            active.salt,
            active.generation,
            entry.seq,
            synced,
            &entry.payload,
        );
        self.attempted = self.attempted.max(entry.seq);
        self.staging.extend_from_slice(&head.encode());
        let padding = entry_size(entry.payload.len()) as usize - ENTRY_HEAD - entry.payload.len();
        if entry.payload.len() < DIRECT {
            self.staging.extend_from_slice(&entry.payload);
        } else {
            self.flush(false)?;
            let active = self.active.as_mut().expect("there is room in it");
            let payload = &self.pending[self.placed].payload;
            let written = active.file.io.write_at(payload, active.staged_at);
            written.map_err(|error| named("cannot write", &active.file.name, &error))?;
            active.staged_at += payload.len() as u64;
        }
        self.staging.resize(self.staging.len() + padding, 0);
        let entry = &self.pending[self.placed];
        self.placed_bytes += entry.payload.len() as u64;
        self.placed += 1;
        self.unpublished.push((entry.seq, offset));
        if self.staging.len() >= STAGING {
            self.flush(false)?;
        }
        Ok(())
    }

    /// Writes what is staged. The last write of a batch fills its page with zeros: a whole page
    /// need not be read first, and nothing of an earlier use follows the newest entry.
    fn flush(&mut self, last: bool) -> io::Result<()> {
        let Some(active) = self.active.as_mut() else {
            return Ok(());
        };
        if !self.staging.is_empty() {
            let end = active.staged_at + self.staging.len() as u64;
            if last {
                let padding = page_up(end) - end;
                self.staging
                    .resize(self.staging.len() + padding as usize, 0);
            }
            let written = active.file.io.write_at(&self.staging, active.staged_at);
            written.map_err(|error| named("cannot write", &active.file.name, &error))?;
            active.staged_at = end;
            self.staging.clear();
        }
        if last && !self.unpublished.is_empty() {
            let mut layout = self.shared.layout();
            let extent = layout.live.back_mut().expect("the active one is in there");
            for (seq, offset) in self.unpublished.drain(..) {
                extent.note(seq, offset);
            }
            extent.end_offset = active.staged_at;
            let written = extent.end - 1;
            self.shared.used.store(layout.used(), Ordering::Release);
            drop(layout);
            self.shared.written.store(written, Ordering::Release);
        }
        Ok(())
    }

    /// Begins a segment with room for `need` bytes, header and all.
    fn begin(&mut self, need: u64) -> io::Result<()> {
        self.active = None;
        self.generation += 1;
        let synced = self.shared.synced.load(Ordering::Acquire);
        let first_seq = synced + 1;
        let (idle, low_water, len, name) = {
            let mut layout = self.shared.layout();
            let idle = layout.take_idle(need, synced);
            let len = layout.next_len().max(need);
            let name = idle.is_none().then(|| layout.new_name());
            (idle, layout.low_water, len, name)
        };
        let header = Header {
            journal: self.journal,
            generation: self.generation,
            salt: self.salts.hash_one(self.generation),
            first_seq,
            carries_to: first_seq.max(self.attempted + 1),
            low_water,
            accepted: self.accepted,
        };
        let (file, slot) = match (idle, name) {
            (Some(idle), _) => {
                let slot = idle.slot.map_or(0, |slot| 1 - slot);
                if let Err(error) = write_header(&idle.file, slot, &header) {
                    self.shared.layout().idle.push(Idle {
                        given_up: true,
                        ..idle
                    });
                    return Err(error);
                }
                (idle.file, slot)
            }
            (None, name) => {
                let name = name.expect("a name was drawn where no file is idle");
                (self.create(name, len, &header)?, 0)
            }
        };
        let mut layout = self.shared.layout();
        layout.retire_empty();
        layout.live.push_back(Extent {
            file: Arc::clone(&file),
            slot,
            generation: self.generation,
            salt: header.salt,
            first: first_seq,
            end: first_seq,
            index: Vec::new(),
            end_offset: ENTRIES_AT,
            given_up: false,
        });
        // Now that an active one follows it, the segment before may be idle already.
        layout.trim(low_water);
        layout.durable_low_water = low_water;
        self.active = Some(Active {
            file,
            generation: self.generation,
            salt: header.salt,
            staged_at: ENTRIES_AT,
            spare_asked: false,
        });
        Ok(())
    }

    /// Makes a segment that is not filled ahead: its syncs cost more, but nobody waits for zeros.
    fn create(&self, name: String, len: u64, header: &Header) -> io::Result<Arc<SegmentFile>> {
        let disk = &self.shared.disk;
        let io = (disk.create(&name)).map_err(|error| named("cannot make", &name, &error))?;
        let file = Arc::new(SegmentFile {
            name,
            io,
            len: page_up(len),
        });
        write_header(&file, 0, header)
            .and_then(|()| {
                (disk.sync())
                    .map_err(|error| named("cannot sync the folder of", &file.name, &error))
            })
            .inspect_err(|_| {
                // It holds nothing; what is left of it does no harm either.
                let _ = disk.remove(&file.name);
            })?;
        Ok(file)
    }
}

impl Spare {
    /// The next new segment.
    pub(crate) fn wanted(layout: &mut Layout) -> Spare {
        Spare {
            name: layout.new_name(),
            len: layout.next_len(),
        }
    }

    /// Writes the zeros, bit by bit, so that the syncs of entries meanwhile need not wait for them
    /// all, and puts the file among the idle ones. On an error there is just no spare.
    pub(crate) fn prepare(self, shared: &Shared) -> io::Result<()> {
        let new = format!("{}.new", self.name);
        let filled = (|| {
            let io = shared.disk.create(&new)?;
            let zeros = vec![0; STAGING.min(self.len as usize)];
            let mut offset = 0;
            while offset < self.len {
                if shared.stop.load(Ordering::Acquire) {
                    return Err(io::Error::other("the journal is closing"));
                }
                let more = (self.len - offset).min(zeros.len() as u64);
                io.write_at(&zeros[..more as usize], offset)?;
                io.sync_data()?;
                offset += more;
            }
            shared.disk.rename(&new, &self.name)?;
            shared.disk.sync()?;
            Ok(io)
        })();
        match filled {
            Ok(io) => {
                shared.layout().idle.push(Idle {
                    file: Arc::new(SegmentFile {
                        name: self.name,
                        io,
                        len: self.len,
                    }),
                    slot: None,
                    end: 0,
                    given_up: false,
                });
                Ok(())
            }
            Err(error) => {
                let _ = shared.disk.remove(&new);
                Err(error)
            }
        }
    }
}

fn write_header(file: &SegmentFile, slot: u8, header: &Header) -> io::Result<()> {
    let written = file.io.write_at(&header.encode(), slot_offset(slot));
    written
        .and_then(|()| file.io.sync_data())
        .map_err(|error| named("cannot begin", &file.name, &error))
}

/// The error with what was being done to which file.
fn named(what: &str, name: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{what} {name}: {error}"))
}
