//! Reading entries from a segment through a buffer.

use std::io;
use std::sync::Arc;

use crate::disk::DiskFile;
use crate::format::{ENTRY_HEAD, EntryHead, entry_size, page_up};

/// A buffered view of one file.
#[derive(Debug)]
pub(crate) struct Window {
    file: Arc<dyn DiskFile>,
    /// How much is read at a time.
    step: usize,
    buffer: Vec<u8>,
    /// How much of the buffer is of the file.
    filled: usize,
    /// Where the buffer lies in the file.
    offset: u64,
}

/// The entry that was looked for, and where it was found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    pub(crate) head: EntryHead,
    pub(crate) offset: u64,
}

impl Found {
    /// Where the next entry begins, unless it begins a page.
    pub(crate) fn end(&self) -> u64 {
        self.offset + entry_size(self.head.len as usize)
    }
}

impl Window {
    pub(crate) fn new(file: Arc<dyn DiskFile>, step: usize) -> Window {
        Window {
            file,
            step,
            buffer: Vec::new(),
            filled: 0,
            offset: 0,
        }
    }

    /// Forgets what was read, because the file may have changed since.
    pub(crate) fn clear(&mut self) {
        self.filled = 0;
    }

    /// `len` bytes from `offset`, or as many as the file has.
    pub(crate) fn bytes(&mut self, offset: u64, len: usize) -> io::Result<&[u8]> {
        let within = offset
            .checked_sub(self.offset)
            .and_then(|at| usize::try_from(at).ok())
            .filter(|at| at.saturating_add(len) <= self.filled);
        let at = if let Some(at) = within {
            at
        } else {
            // One long entry must not keep its buffer for ever.
            let size = self.step.max(len);
            if self.buffer.len() != size {
                self.buffer = vec![0; size];
            }
            self.filled = 0;
            self.offset = offset;
            self.filled = self.file.read_at(&mut self.buffer, offset)?;
            0
        };
        let end = self.filled.min(at + len);
        Ok(&self.buffer[at.min(end)..end])
    }

    /// The head at `offset`, if the file reaches that far; it need not be one.
    pub(crate) fn head(&mut self, offset: u64) -> io::Result<Option<EntryHead>> {
        let bytes = self.bytes(offset, ENTRY_HEAD)?;
        Ok(bytes.try_into().ok().map(EntryHead::decode))
    }

    /// The entry `seq` of `generation` at `offset`, or at the next page boundary, where a write
    /// after a sync begins. Its checksum is not looked at.
    pub(crate) fn find(
        &mut self,
        generation: u64,
        seq: u64,
        offset: u64,
    ) -> io::Result<Option<Found>> {
        let ours = |head: &EntryHead| head.generation == generation && head.seq == seq;
        if let Some(head) = self.head(offset)?.filter(ours) {
            return Ok(Some(Found { head, offset }));
        }
        let offset = page_up(offset);
        let head = self.head(offset)?.filter(ours);
        Ok(head.map(|head| Found { head, offset }))
    }

    /// The payload of `found`, if it holds; `limit` is where the file ends.
    pub(crate) fn payload(
        &mut self,
        salt: u64,
        found: Found,
        limit: u64,
    ) -> io::Result<Option<&[u8]>> {
        // A length that does not fit into the file must not make us allocate it.
        if found.offset + ENTRY_HEAD as u64 + u64::from(found.head.len) > limit {
            return Ok(None);
        }
        let payload = self.bytes(found.offset + ENTRY_HEAD as u64, found.head.len as usize)?;
        Ok(Some(payload).filter(|payload| found.head.holds(salt, payload)))
    }

    /// Like [`payload`](Window::payload), but as a vector of its own, read without the buffer
    /// where the buffer does not have it.
    pub(crate) fn owned_payload(
        &mut self,
        salt: u64,
        found: Found,
        limit: u64,
    ) -> io::Result<Option<Vec<u8>>> {
        let len = found.head.len as usize;
        if len <= self.step {
            return Ok(self.payload(salt, found, limit)?.map(<[u8]>::to_vec));
        }
        let at = found.offset + ENTRY_HEAD as u64;
        if at + len as u64 > limit {
            return Ok(None);
        }
        let mut payload = vec![0; len];
        let read = self.file.read_at(&mut payload, at)?;
        payload.truncate(read);
        Ok(Some(payload).filter(|payload| found.head.holds(salt, payload)))
    }
}
