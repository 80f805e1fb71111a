//! Which entries lie in which segment. Shared by the writer, the readers and whoever trims.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::disk::DiskFile;
use crate::format::ENTRIES_AT;

/// An entry in this many bytes is indexed.
const INDEX_EVERY: u64 = 16 << 10;
/// Segments that are kept for another use; with more, their disk space is given back.
const KEPT_IDLE: usize = 2;
/// A new journal begins with a segment of this length; each further one is twice as long, up to
/// the configured length, so that a little-used journal stays small.
const FIRST_LEN: u64 = 4 << 20;

/// An open segment file.
#[derive(Debug)]
pub(crate) struct SegmentFile {
    pub(crate) name: String,
    pub(crate) io: Arc<dyn DiskFile>,
    /// How far it may be written. The file itself may still be shorter.
    pub(crate) len: u64,
}

/// A stretch of entries that follow one another in one use of a segment.
#[derive(Clone, Debug)]
pub(crate) struct Extent {
    pub(crate) file: Arc<SegmentFile>,
    /// The slot that holds the header of this use.
    pub(crate) slot: u8,
    pub(crate) generation: u64,
    pub(crate) salt: u64,
    /// Its first sequence.
    pub(crate) first: u64,
    /// The sequence after its last.
    pub(crate) end: u64,
    /// Places of some of its entries; the first of them is at or before `first`.
    pub(crate) index: Vec<(u64, u64)>,
    /// Where its last entry ends in the file.
    pub(crate) end_offset: u64,
    /// A write or sync of its file has failed: it is never written again.
    pub(crate) given_up: bool,
}

impl Extent {
    /// Notes that entry `seq` begins at `offset`.
    pub(crate) fn note(&mut self, seq: u64, offset: u64) {
        note(&mut self.index, seq, offset);
        self.end = seq + 1;
    }

    /// The indexed entry from which `seq` is to be looked for.
    pub(crate) fn place(&self, seq: u64) -> Option<(u64, u64)> {
        let after = self.index.partition_point(|&(known, _)| known <= seq);
        self.index.get(after.checked_sub(1)?).copied()
    }

    fn bytes(&self) -> u64 {
        let begin = self.index.first().map_or(ENTRIES_AT, |&(_, offset)| offset);
        self.end_offset.saturating_sub(begin)
    }
}

/// Adds an entry to a sparse index.
pub(crate) fn note(index: &mut Vec<(u64, u64)>, seq: u64, offset: u64) {
    if index
        .last()
        .is_none_or(|&(_, last)| offset - last >= INDEX_EVERY)
    {
        index.push((seq, offset));
    }
}

/// A segment file that holds nothing anyone needs.
#[derive(Debug)]
pub(crate) struct Idle {
    pub(crate) file: Arc<SegmentFile>,
    /// The slot of its valid header, if it has one.
    pub(crate) slot: Option<u8>,
    /// What it held lay below this sequence.
    pub(crate) end: u64,
    /// A write or sync has failed on it: it waits to be removed.
    pub(crate) given_up: bool,
}

/// All segment files of a journal.
#[derive(Debug)]
pub(crate) struct Layout {
    /// In order of their sequences; the writer appends to the last.
    pub(crate) live: VecDeque<Extent>,
    pub(crate) idle: Vec<Idle>,
    /// Entries below are not needed any more.
    pub(crate) low_water: u64,
    /// The mark that is in a durable header: only what lies below it may be missing from the disk.
    pub(crate) durable_low_water: u64,
    /// Number of the next new file.
    pub(crate) next_number: u64,
    /// Length of a segment, as configured.
    pub(crate) segment_bytes: u64,
}

impl Layout {
    /// Bytes between the oldest entry that is kept and the newest.
    pub(crate) fn used(&self) -> u64 {
        self.live.iter().map(Extent::bytes).sum()
    }

    /// The extent that holds `seq`.
    pub(crate) fn extent(&self, seq: u64) -> Option<&Extent> {
        let after = self.live.partition_point(|extent| extent.first <= seq);
        let extent = self.live.get(after.checked_sub(1)?)?;
        (seq < extent.end).then_some(extent)
    }

    /// The first sequence at or after `seq` that is there; later than `seq` only where entries
    /// were lost.
    pub(crate) fn next_present(&self, seq: u64) -> Option<u64> {
        let holder = self.live.iter().find(|extent| seq < extent.end)?;
        Some(seq.max(holder.first))
    }

    /// Gives up what lies below `below`, but never the extent that is being written.
    pub(crate) fn trim(&mut self, below: u64) {
        self.low_water = self.low_water.max(below);
        while self.live.len() > 1 && self.live[0].end <= self.low_water {
            if let Some(extent) = self.live.pop_front() {
                self.retire(&extent);
            }
        }
    }

    /// Puts the file of an extent that was taken out among the idle ones, unless another extent
    /// still lies in it.
    pub(crate) fn retire(&mut self, extent: &Extent) {
        let shared = |other: &Extent| Arc::ptr_eq(&other.file, &extent.file);
        if !self.live.iter().any(shared) {
            self.idle.push(Idle {
                file: Arc::clone(&extent.file),
                slot: Some(extent.slot),
                end: extent.end,
                given_up: extent.given_up,
            });
        }
    }

    /// Takes out the newest extent if it was begun and never written to.
    pub(crate) fn retire_empty(&mut self) {
        if let Some(mut extent) = self.live.pop_back_if(|extent| extent.end == extent.first) {
            extent.end = 0;
            self.retire(&extent);
        }
    }

    /// Takes an idle file that has room for `need` bytes: the longest, and of these the one that
    /// was used last, because its pages are the likeliest to be cached. One that still holds what
    /// is not durable elsewhere is left alone.
    pub(crate) fn take_idle(&mut self, need: u64, synced: u64) -> Option<Idle> {
        let fits = |idle: &Idle| {
            self.worth_keeping(idle) && idle.file.len >= need && idle.end <= synced + 1
        };
        let (best, _) = (self.idle.iter().enumerate())
            .filter(|(_, idle)| fits(idle))
            .max_by_key(|(_, idle)| idle.file.len)?;
        Some(self.idle.remove(best))
    }

    /// Whether the next segment is ready.
    pub(crate) fn has_spare(&self) -> bool {
        self.idle.iter().any(|idle| self.worth_keeping(idle))
    }

    /// Takes out the idle files that are to be removed: all but a few good ones. One whose entries
    /// a durable low-water mark does not cover yet stays, or recovery would take them for lost.
    pub(crate) fn take_excess(&mut self) -> Vec<Idle> {
        let mut kept = Vec::new();
        let mut excess = Vec::new();
        let mut idle = std::mem::take(&mut self.idle);
        idle.sort_by_key(|idle| std::cmp::Reverse(idle.file.len));
        let mut good = 0;
        for idle in idle {
            good += usize::from(self.worth_keeping(&idle));
            let wanted = self.worth_keeping(&idle) && good <= KEPT_IDLE;
            if wanted || idle.end > self.durable_low_water {
                kept.push(idle);
            } else {
                excess.push(idle);
            }
        }
        self.idle = kept;
        excess
    }

    /// Length of the next new segment.
    pub(crate) fn next_len(&self) -> u64 {
        let lens = self.live.iter().map(|extent| extent.file.len);
        let longest = lens.chain(self.idle.iter().map(|idle| idle.file.len)).max();
        let next = longest.map_or(FIRST_LEN, |longest| {
            longest.saturating_mul(2).max(FIRST_LEN)
        });
        next.min(self.segment_bytes)
    }

    /// A name for a new segment file.
    pub(crate) fn new_name(&mut self) -> String {
        let number = self.next_number;
        self.next_number += 1;
        segment_name(number)
    }

    fn worth_keeping(&self, idle: &Idle) -> bool {
        let shortest = FIRST_LEN.min(self.segment_bytes);
        !idle.given_up && (shortest..=self.segment_bytes).contains(&idle.file.len)
    }
}

/// The file name of segment `number`.
pub(crate) fn segment_name(number: u64) -> String {
    format!("segment-{number:08}")
}

/// The number in a segment's file name; `None` for any other file.
pub(crate) fn segment_number(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("segment-")?;
    (digits.len() >= 8 && digits.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| digits.parse().ok())
        .flatten()
}
