//! Reading entries back while the journal is written, trimmed and its segments are used again.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::error::ReadError;
use crate::layout::SegmentFile;
use crate::log::Shared;
use crate::window::{Found, Window};

/// How much a reader reads ahead.
const STEP: usize = 256 << 10;
/// The same for a single entry: the index is about as fine.
const STEP_FOR_ONE: usize = 32 << 10;

/// Reads entries in sequence, also while the journal is written by others.
///
/// It holds nothing back: what it has not read yet may be trimmed.
#[derive(Debug)]
pub struct Reader {
    shared: Arc<Shared>,
    next: u64,
    step: usize,
    at: Option<Position>,
}

/// Where a reader is.
#[derive(Debug)]
struct Position {
    file: Arc<SegmentFile>,
    window: Window,
    generation: u64,
    salt: u64,
    /// The sequence of the entry at `offset`.
    seq: u64,
    offset: u64,
    /// The sequence after the last that was in there when the extent was looked up.
    end: u64,
}

impl Reader {
    pub(crate) fn new(shared: Arc<Shared>, from: u64) -> Reader {
        Reader {
            shared,
            next: from,
            step: STEP,
            at: None,
        }
    }

    /// The sequence that is read next.
    pub fn position(&self) -> u64 {
        self.next
    }

    /// The next entry with its sequence; `None` if it lies above `up_to` or is not written yet.
    ///
    /// Sequences follow one another without a gap, but for what
    /// [`Recovery::lost`](crate::Recovery::lost) names.
    ///
    /// # Errors
    /// [`ReadError::Trimmed`] if the entry was given up meanwhile; [`ReadError::Damaged`] if the
    /// file has changed under the journal; [`ReadError::Io`]. The reader stays where it is.
    pub fn next(&mut self, up_to: u64) -> Result<Option<(u64, Vec<u8>)>, ReadError> {
        // Once more with a fresh look: the buffer may be older than the entry, and the entry may
        // have moved to another segment since the place was looked up.
        for fresh in [false, true] {
            if self.next > up_to.min(self.shared.written.load(Ordering::Acquire)) {
                return Ok(None);
            }
            let seq = self.next;
            if fresh || self.at.as_ref().is_none_or(|at| at.end <= seq) {
                if !self.locate(fresh)? {
                    return Ok(None);
                }
                if self.next > seq {
                    // What lies between was lost; the bound has to be looked at again.
                    return self.next(up_to);
                }
            }
            let at = self.at.as_mut().expect("the place was looked up");
            match at.read(seq) {
                Ok(Some(payload)) => {
                    self.next += 1;
                    return Ok(Some((seq, payload)));
                }
                Ok(None) => {}
                Err(source) => return Err(ReadError::Io { seq, source }),
            }
        }
        let seq = self.next;
        let file = self.at.take().map(|at| at.file.name.clone());
        let low_water = self.shared.layout().low_water;
        if seq < low_water {
            return Err(ReadError::Trimmed { seq, low_water });
        }
        Err(ReadError::Damaged {
            seq,
            file: file.unwrap_or_default(),
        })
    }

    /// Looks up where the next entry is; moves on over what is lost. `false` if it is nowhere yet.
    fn locate(&mut self, fresh: bool) -> Result<bool, ReadError> {
        let layout = self.shared.layout();
        let Some(seq) = layout.next_present(self.next) else {
            return Ok(false);
        };
        let extent = layout.extent(seq).expect("next_present found it there");
        if self.next < layout.low_water && seq > self.next {
            return Err(ReadError::Trimmed {
                seq: self.next,
                low_water: layout.low_water,
            });
        }
        self.next = seq;
        let (mut at, mut offset) = extent.place(seq).expect("an extent's first is indexed");
        let here = (self.at.take()).filter(|at| Arc::ptr_eq(&at.file, &extent.file));
        let window = match here {
            Some(mut here) => {
                if here.generation == extent.generation && here.seq <= seq && here.seq > at {
                    (at, offset) = (here.seq, here.offset);
                }
                if fresh {
                    here.window.clear();
                }
                here.window
            }
            None => {
                let step = self.step.min(extent.file.len as usize);
                Window::new(Arc::clone(&extent.file.io), step)
            }
        };
        self.at = Some(Position {
            file: Arc::clone(&extent.file),
            window,
            generation: extent.generation,
            salt: extent.salt,
            seq: at,
            offset,
            end: extent.end,
        });
        Ok(true)
    }
}

impl Position {
    /// The entry `seq`, if it is there and holds.
    fn read(&mut self, seq: u64) -> io::Result<Option<Vec<u8>>> {
        loop {
            let found = self.window.find(self.generation, self.seq, self.offset)?;
            let Some(found) = found else {
                return Ok(None);
            };
            let wanted = self.seq == seq;
            let payload = match wanted {
                true => self.payload(found)?,
                false => None,
            };
            if wanted && payload.is_none() {
                return Ok(None);
            }
            (self.seq, self.offset) = (self.seq + 1, found.end());
            if wanted {
                return Ok(payload);
            }
        }
    }

    fn payload(&mut self, found: Found) -> io::Result<Option<Vec<u8>>> {
        // A segment that was not filled ahead is shorter than it may become.
        self.window.owned_payload(self.salt, found, self.file.len)
    }
}

/// Reads one entry.
pub(crate) fn read_one(shared: &Arc<Shared>, seq: u64) -> Result<Vec<u8>, ReadError> {
    let mut reader = Reader::new(Arc::clone(shared), seq);
    reader.step = STEP_FOR_ONE;
    match reader.next(seq)? {
        Some((_, entry)) => Ok(entry),
        None if seq <= shared.written.load(Ordering::Acquire) => Err(ReadError::Lost { seq }),
        None => Err(ReadError::NotWritten { seq }),
    }
}
