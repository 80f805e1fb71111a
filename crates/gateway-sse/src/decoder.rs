//! Bytes to events, for any split.

use bytes::{Bytes, BytesMut};
use memchr::memchr2;

use crate::event::Event;

/// The longest line that is read: 16 MiB. An event with a longer one is passed on unread.
pub const MAX_LINE: usize = 16 << 20;

/// The longest event that is read: 32 MiB, so that many lines cannot fill the memory either.
pub const MAX_EVENT: usize = 2 * MAX_LINE;

/// Cuts the bytes of a stream into its events.
///
/// An event that lies within one chunk shares that chunk's memory; only one that spans chunks is
/// copied. What is held back is never more than the event being read, and never more than
/// [`MAX_EVENT`].
#[derive(Debug)]
pub struct Decoder {
    /// The bytes of the event being read, from earlier chunks.
    pending: BytesMut,
    /// How many bytes of the current line are behind us.
    line: usize,
    /// The last byte was a CR that ended a line: an LF now belongs to it.
    after_cr: bool,
    /// The event being read is too long: its bytes go out as they come.
    unread: bool,
    limits: Limits,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) line: usize,
    pub(crate) event: usize,
}

impl Decoder {
    /// A decoder at the start of a stream.
    #[must_use]
    pub fn new() -> Self {
        Self::with_limits(Limits {
            line: MAX_LINE,
            event: MAX_EVENT,
        })
    }

    pub(crate) fn with_limits(limits: Limits) -> Self {
        Self {
            pending: BytesMut::new(),
            line: 0,
            after_cr: false,
            unread: false,
            limits,
        }
    }

    /// Takes the next bytes and gives out, in order, every event that they complete.
    pub fn push(&mut self, mut chunk: Bytes, sink: &mut impl FnMut(Event)) {
        // An event that ends with CR is given out at once; the LF of a CRLF that was split there
        // follows on its own, so that nothing waits for it.
        if self.after_cr && self.pending.is_empty() && !self.unread && !chunk.is_empty() {
            self.after_cr = false;
            if chunk[0] == b'\n' {
                sink(Event::passed(chunk.split_to(1), false));
            }
        }
        while !chunk.is_empty() {
            let Some(end) = self.find_end(&chunk) else {
                self.keep(chunk, sink);
                return;
            };
            let head = chunk.split_to(end);
            let unread = std::mem::take(&mut self.unread)
                || self.pending.len() + head.len() > self.limits.event;
            let raw = if self.pending.is_empty() {
                head
            } else {
                self.pending.extend_from_slice(&head);
                self.pending.split().freeze()
            };
            sink(if unread {
                Event::passed(raw, true)
            } else {
                Event::read(raw)
            });
        }
    }

    /// The bytes of the event being read, as far as they have come.
    #[must_use]
    pub fn pending(&self) -> &[u8] {
        &self.pending
    }

    /// Ends the stream: what came after the last complete event, if anything did.
    ///
    /// Its fields are read as if a blank line followed. The standard drops such an event; a
    /// gateway passes its bytes on, and may still want to know what they say.
    #[must_use]
    pub fn finish(self) -> Option<Event> {
        if self.pending.is_empty() {
            return None;
        }
        Some(Event::read(self.pending.freeze()))
    }

    /// Where in `bytes`, which continue the event being read, that event ends.
    fn find_end(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        if std::mem::take(&mut self.after_cr) && bytes.first() == Some(&b'\n') {
            at = 1;
        }
        while at < bytes.len() {
            let Some(content) = memchr2(b'\n', b'\r', &bytes[at..]) else {
                self.line += bytes.len() - at;
                return None;
            };
            let length = std::mem::take(&mut self.line) + content;
            self.unread |= length > self.limits.line;
            let cr = bytes[at + content] == b'\r';
            at += content + 1;
            if cr {
                match bytes.get(at) {
                    Some(b'\n') => at += 1,
                    Some(_) => {}
                    None => self.after_cr = true,
                }
            }
            if length == 0 {
                return Some(at);
            }
        }
        None
    }

    /// Keeps the bytes of an event that is not complete, or passes them on if it is too long.
    fn keep(&mut self, chunk: Bytes, sink: &mut impl FnMut(Event)) {
        self.unread |=
            self.line > self.limits.line || self.pending.len() + chunk.len() > self.limits.event;
        if !self.unread {
            self.pending.extend_from_slice(&chunk);
            return;
        }
        if !self.pending.is_empty() {
            sink(Event::passed(
                std::mem::take(&mut self.pending).freeze(),
                true,
            ));
        }
        sink(Event::passed(chunk, true));
    }
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests;
