//! Pieces of bytes that go out together.

use bytes::{Bytes, BytesMut};

/// Joins pieces into one; a single piece is not copied.
#[derive(Default)]
pub(crate) struct Joined {
    first: Option<Bytes>,
    all: BytesMut,
}

impl Joined {
    pub(crate) fn len(&self) -> usize {
        self.all.len() + self.first.as_ref().map_or(0, Bytes::len)
    }

    pub(crate) fn push(&mut self, piece: Bytes) {
        match self.first.take() {
            None if self.all.is_empty() => self.first = Some(piece),
            None => self.all.extend_from_slice(&piece),
            Some(first) => {
                // More follows more often than not: one growth now saves several.
                self.all
                    .reserve((first.len() + piece.len()).next_power_of_two().max(4096));
                self.all.extend_from_slice(&first);
                self.all.extend_from_slice(&piece);
            }
        }
    }

    pub(crate) fn into_bytes(self) -> Bytes {
        self.first.unwrap_or_else(|| self.all.freeze())
    }
}
