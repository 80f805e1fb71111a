//! What a folder of segments holds: after a clean end, a `kill -9`, a power cut, or damage.
//!
//! A power cut may lose or garble any part of what was not synced, in any order. So entries are
//! read until the first that does not hold, and that is the journal's end, unless something proves
//! that more had been durable: the header of a later segment names the sequences that were durable
//! when it was begun, and so does every entry. What is missing below such a proof is damage, and
//! damage is never passed over in silence.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use crate::disk::Disk;
use crate::error::OpenError;
use crate::format::{ENTRIES_AT, Header, PAGE, Slot, VERSION, page_up, slot_offset};
use crate::layout::{Extent, Idle, Layout, SegmentFile, note, segment_number};
use crate::log::{Entry, Start};
use crate::window::{Found, Window};

/// How much is read at a time.
const STEP: usize = 1 << 20;

/// A journal as it was found.
#[derive(Debug)]
pub(crate) struct Recovered {
    /// No segment was in use: this is a new journal.
    pub(crate) created: bool,
    /// What is known to be durable.
    pub(crate) synced: u64,
    pub(crate) layout: Layout,
    pub(crate) start: Start,
    /// Sequences that were durable once and cannot be read.
    pub(crate) lost: Vec<Range<u64>>,
}

/// One use of a segment file, and the entries found in it.
#[derive(Debug)]
struct Segment {
    file: Arc<SegmentFile>,
    slot: u8,
    header: Header,
    /// A later header than this one is damaged.
    spoilt: bool,
    runs: Vec<Run>,
}

/// Entries that follow one another.
#[derive(Debug)]
struct Run {
    first: u64,
    end: u64,
    index: Vec<(u64, u64)>,
    end_offset: u64,
}

/// No more generations than this can have begun without a header that tells of them; a higher
/// number is garbage.
const UNKNOWN_GENERATIONS: u64 = 1 << 32;

/// How far the evidence goes.
#[derive(Debug)]
struct Proof {
    /// The highest sequence that something says was durable.
    synced: u64,
    low_water: u64,
    accepted: u64,
    generation: u64,
    /// Damage that is no gap in the sequences.
    damage: Vec<String>,
}

/// Settings of a recovery that come from [`Options`](crate::Options).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    pub(crate) id: [u8; 16],
    pub(crate) first_seq: u64,
    pub(crate) segment_bytes: u64,
    pub(crate) accept_loss: bool,
}

/// Reads the folder; writes nothing but for removing unfinished files.
pub(crate) fn recover(
    disk: &dyn Disk,
    folder: &Path,
    wanted: Wanted,
) -> Result<Recovered, OpenError> {
    let failed = |source| OpenError::Io {
        folder: folder.to_owned(),
        what: "cannot read the segments",
        source,
    };
    let mut files = Vec::new();
    let mut next_number = 1;
    let mut unfinished = Vec::new();
    let mut proof = Proof {
        synced: 0,
        low_water: 0,
        accepted: 0,
        generation: 0,
        damage: Vec::new(),
    };
    for name in disk.list().map_err(failed)? {
        if let Some(number) = name.strip_suffix(".new").and_then(segment_number) {
            next_number = next_number.max(number + 1);
            unfinished.push(name);
            continue;
        }
        let Some(number) = segment_number(&name) else {
            continue;
        };
        next_number = next_number.max(number + 1);
        let io = disk.open(&name).map_err(failed)?;
        let len = page_up(io.length().map_err(failed)?);
        let file = Arc::new(SegmentFile { name, io, len });
        let header = read_header(&file, folder, &mut proof)?;
        files.push((file, header));
    }
    let mut segments = Vec::new();
    let mut idle = Vec::new();
    for (file, found) in files {
        let spoilt = found.hint.is_some_and(|generation| {
            generation < proof.generation.saturating_add(UNKNOWN_GENERATIONS)
        });
        if spoilt {
            (proof.damage).push(format!("the header of {} does not hold", file.name));
        }
        match found.best {
            Some((slot, header)) => segments.push(Segment {
                file,
                slot,
                header,
                spoilt,
                runs: Vec::new(),
            }),
            None => idle.push(Idle {
                file,
                slot: None,
                end: 0,
                given_up: spoilt,
            }),
        }
    }
    segments.sort_by_key(|segment| segment.header.generation);
    let journal = segments.last().map(|newest| newest.header.journal);
    if let Some(stranger) = (segments.iter()).find(|one| Some(one.header.journal) != journal) {
        // Not even an accepted loss is a reason to remove what may be somebody else's.
        return Err(OpenError::Damaged {
            folder: folder.to_owned(),
            what: format!("{} belongs to another journal", stranger.file.name),
            lost: Vec::new(),
        });
    }
    let created = segments.is_empty();
    if created {
        proof.low_water = wanted.first_seq.max(1);
    }
    proof.synced = proof.synced.max(proof.low_water - 1);

    let mut limit = u64::MAX;
    for nth in (0..segments.len()).rev() {
        // What lies below the low-water mark, or does not count any more, need not be looked at.
        if limit > proof.low_water {
            let next_first = (segments.get(nth + 1)).map(|next| next.header.first_seq);
            segments[nth].runs = scan(&segments[nth], next_first, &mut proof).map_err(failed)?;
        }
        limit = limit.min(segments[nth].header.carries_to);
    }
    let (extents, lost, end) = chain(&segments, &proof);
    let fresh = (lost.iter()).any(|range| range.end > proof.accepted);
    if !wanted.accept_loss && (fresh || !proof.damage.is_empty()) {
        let mut what = proof.damage;
        what.extend((lost.iter()).map(|range| {
            let last = range.end - 1;
            format!(
                "entries {} to {last} were durable and are gone",
                range.start
            )
        }));
        return Err(OpenError::Damaged {
            folder: folder.to_owned(),
            what: what.join("; "),
            lost,
        });
    }

    for name in unfinished {
        // One that cannot be removed is tried again at the next opening.
        let _ = disk.remove(&name);
    }
    let accepted = lost.last().map_or(0, |range| range.end).max(proof.accepted);
    let mut layout = Layout {
        live: extents.into(),
        idle,
        low_water: proof.low_water,
        durable_low_water: proof.low_water,
        next_number,
        segment_bytes: wanted.segment_bytes,
    };
    let tail = take_tail(&mut layout, proof.synced).map_err(failed)?;
    for segment in segments {
        let used = |extent: &Extent| Arc::ptr_eq(&extent.file, &segment.file);
        if !layout.live.iter().any(used) {
            layout.idle.push(Idle {
                file: segment.file,
                slot: Some(segment.slot),
                // The tail is still in there until it has been written anew, and the next header
                // that says so is durable only after that one.
                end: if segment.runs.is_empty() { 0 } else { end },
                given_up: segment.spoilt,
            });
        }
    }
    Ok(Recovered {
        created,
        synced: proof.synced,
        layout,
        start: Start {
            journal: journal.unwrap_or(wanted.id),
            generation: proof.generation,
            accepted,
            tail,
        },
        lost,
    })
}

/// What the headers of a file say.
#[derive(Debug)]
struct Headers {
    /// The valid one of the higher generation, with its slot; `None` if the file was never used.
    best: Option<(u8, Header)>,
    /// One header does not hold, and the first entry seems to be of this later generation.
    hint: Option<u64>,
}

fn read_header(file: &SegmentFile, folder: &Path, proof: &mut Proof) -> Result<Headers, OpenError> {
    let failed = |source| OpenError::Io {
        folder: folder.to_owned(),
        what: "cannot read the segments",
        source,
    };
    let mut window = Window::new(Arc::clone(&file.io), PAGE as usize);
    let mut best: Option<(u8, Header)> = None;
    let mut broken = false;
    for number in [0, 1] {
        let bytes = window.bytes(slot_offset(number), PAGE as usize);
        match Slot::decode(bytes.map_err(failed)?) {
            Slot::Blank => {}
            Slot::Broken => broken = true,
            Slot::Version(found) => {
                return Err(OpenError::Version {
                    file: folder.join(&file.name),
                    found,
                    known: VERSION,
                });
            }
            Slot::Valid(header) => {
                // What an overwritten use of the segment proved stays proved.
                proof.low_water = proof.low_water.max(header.low_water);
                proof.accepted = proof.accepted.max(header.accepted);
                proof.synced = proof.synced.max(header.first_seq - 1);
                proof.generation = proof.generation.max(header.generation);
                if best.is_none_or(|(_, best)| header.generation > best.generation) {
                    best = Some((number, header));
                }
            }
        }
    }
    let mut hint = None;
    if broken {
        // A header is durable before its first entry is written. So if an entry bears a higher
        // generation than any header, a durable header was spoilt; if none does, this header was
        // being written when the power went, and what the segment held before still counts.
        let known = best.map_or(0, |(_, header)| header.generation);
        let first = window.head(ENTRIES_AT).map_err(failed)?;
        hint = first
            .map(|first| first.generation)
            .filter(|&generation| generation > known);
    }
    Ok(Headers { best, hint })
}

/// The entries of a segment. `next_first` is the first sequence of the segment begun after it.
fn scan(segment: &Segment, next_first: Option<u64>, proof: &mut Proof) -> io::Result<Vec<Run>> {
    let limit = segment.file.io.length()?;
    let mut window = Window::new(Arc::clone(&segment.file.io), STEP.min(limit as usize));
    let mut runs = Vec::new();
    let (mut seq, mut offset) = (segment.header.first_seq, ENTRIES_AT);
    loop {
        let run = scan_run(segment, &mut window, seq, offset, limit, proof)?;
        (seq, offset) = (run.end, run.end_offset);
        if run.end > run.first {
            runs.push(run);
        }
        if next_first.is_some_and(|next| seq >= next) {
            return Ok(runs);
        }
        // Either this is where the writing ended, or something durable was spoilt. The first entry
        // written after a sync begins a page and names what was durable by then.
        match resume(segment, &mut window, seq, offset, limit)? {
            Some(found) => (seq, offset) = (found.head.seq, found.offset),
            None => return Ok(runs),
        }
    }
}

fn scan_run(
    segment: &Segment,
    window: &mut Window,
    first: u64,
    offset: u64,
    limit: u64,
    proof: &mut Proof,
) -> io::Result<Run> {
    let Header {
        generation, salt, ..
    } = segment.header;
    let mut run = Run {
        first,
        end: first,
        index: Vec::new(),
        end_offset: offset,
    };
    while let Some(found) = window.find(generation, run.end, run.end_offset)? {
        if window.payload(salt, found, limit)?.is_none() {
            break;
        }
        note(&mut run.index, run.end, found.offset);
        run.end += 1;
        run.end_offset = found.end();
        proof.synced = proof.synced.max(found.head.synced);
    }
    Ok(run)
}

/// The next entry after a gap which proves that the gap is damage.
fn resume(
    segment: &Segment,
    window: &mut Window,
    seq: u64,
    offset: u64,
    limit: u64,
) -> io::Result<Option<Found>> {
    let Header {
        generation, salt, ..
    } = segment.header;
    let mut offset = page_up(offset + 1);
    while offset < limit {
        let head = window.head(offset)?;
        let later = head
            .filter(|head| head.generation == generation && head.seq > seq && head.synced >= seq);
        if let Some(head) = later {
            let found = Found { head, offset };
            if window.payload(salt, found, limit)?.is_some() {
                return Ok(Some(found));
            }
        }
        offset += PAGE;
    }
    Ok(None)
}

/// Puts the runs together: extents in the order of their sequences, what is lost, and the sequence
/// after the last.
fn chain(segments: &[Segment], proof: &Proof) -> (Vec<Extent>, Vec<Range<u64>>, u64) {
    // Newest first. An entry counts if no later segment was begun below it but for copying it.
    let mut runs = Vec::new();
    let mut limit = u64::MAX;
    for segment in segments.iter().rev() {
        for run in segment.runs.iter().rev() {
            runs.push((segment, run, run.end.min(limit)));
        }
        limit = limit.min(segment.header.carries_to);
    }
    let mut extents = Vec::new();
    let mut lost = Vec::new();
    let mut seq = proof.low_water;
    loop {
        let holder = (runs.iter()).position(|(_, run, end)| run.first <= seq && seq < *end);
        if let Some(nth) = holder {
            let (segment, run, end) = runs[nth];
            // Copies in later segments are as good, and the only ones from there on.
            let newer = runs[..nth].iter().map(|(_, newer, _)| newer.first);
            let end = newer.filter(|&first| first > seq).fold(end, u64::min);
            extents.push(Extent {
                file: Arc::clone(&segment.file),
                slot: segment.slot,
                generation: segment.header.generation,
                salt: segment.header.salt,
                first: seq,
                end,
                index: run.index.clone(),
                end_offset: run.end_offset,
                given_up: false,
            });
            seq = end;
            continue;
        }
        let later = (runs.iter()).filter(|(_, run, end)| run.first > seq && run.first < *end);
        let resumes = later.map(|(_, run, _)| run.first).min();
        let resumes = resumes.or((seq <= proof.synced).then_some(proof.synced + 1));
        match resumes {
            Some(resumes) => {
                lost.push(seq..resumes);
                seq = resumes;
            }
            None => return (extents, lost, seq),
        }
    }
}

/// Takes out of the layout what is not known to be durable. It has to be written again: the page
/// cache may hold it while the disk does not, and a sync that failed before the restart must not
/// be trusted to succeed now.
fn take_tail(layout: &mut Layout, synced: u64) -> io::Result<VecDeque<Entry>> {
    let mut tail = VecDeque::new();
    for extent in &layout.live {
        let first = extent.first.max(synced + 1);
        let Some((mut seq, mut offset)) = extent.place(first) else {
            continue;
        };
        let step = STEP.min(extent.file.len as usize);
        let mut window = Window::new(Arc::clone(&extent.file.io), step);
        while seq < extent.end {
            let found = window.find(extent.generation, seq, offset)?;
            let payload = match found {
                Some(found) if seq >= first => {
                    window.owned_payload(extent.salt, found, extent.file.len)?
                }
                _ => None,
            };
            if let Some(payload) = payload {
                tail.push_back(Entry { seq, payload });
            } else if found.is_none() || seq >= first {
                return Err(io::Error::other("an entry changed while it was read"));
            }
            (seq, offset) = (seq + 1, found.map_or(offset, |found| found.end()));
        }
    }
    while let Some(extent) = layout.live.back_mut() {
        extent.end = extent.end.min(synced + 1);
        extent.index.retain(|&(seq, _)| seq <= synced);
        if extent.end > extent.first {
            break;
        }
        layout.live.pop_back();
    }
    Ok(tail)
}
