//! One event: the bytes it came in, what they mean, and the same bytes with other data.

use bytes::{BufMut, Bytes, BytesMut};
use memchr::memchr2;

/// One event of a stream, or a piece that is none but must be passed on all the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The exact bytes, the blank line that ends the event included.
    pub raw: Bytes,
    /// The value of the last `event` field, if there is one.
    pub name: Option<Bytes>,
    /// The values of the `data` fields, joined with LF; none if the event has no such field
    /// (a comment, a lone blank line).
    pub data: Option<Bytes>,
    /// Part of an event whose line is over [`MAX_LINE`](crate::MAX_LINE), or which is over
    /// [`MAX_EVENT`](crate::MAX_EVENT): passed on as it comes, its fields unread.
    pub unread: bool,
}

impl Event {
    /// Reads the fields of a complete event's bytes.
    pub(crate) fn read(raw: Bytes) -> Self {
        let mut name = None;
        let mut data: Option<Bytes> = None;
        let mut joined: Option<BytesMut> = None;
        for line in Lines::of(&raw) {
            let (field, value) = line.field(&raw);
            match field {
                b"event" => name = Some(raw.slice_ref(value)),
                b"data" => match (&mut joined, &data) {
                    (None, None) => data = Some(raw.slice_ref(value)),
                    (None, Some(first)) => {
                        let mut both = BytesMut::with_capacity(raw.len());
                        both.put_slice(first);
                        both.put_u8(b'\n');
                        both.put_slice(value);
                        joined = Some(both);
                    }
                    (Some(both), _) => {
                        both.put_u8(b'\n');
                        both.put_slice(value);
                    }
                },
                _ => {}
            }
        }
        if let Some(joined) = joined {
            data = Some(joined.freeze());
        }
        Self {
            raw,
            name,
            data,
            unread: false,
        }
    }

    /// Bytes that are passed on without being read.
    pub(crate) fn passed(raw: Bytes, unread: bool) -> Self {
        Self {
            raw,
            name: None,
            data: None,
            unread,
        }
    }

    /// The bytes of this event with other data.
    ///
    /// The new data stand where the first `data` line stood, in its spelling (with or without the
    /// space) and with its line end; the other `data` lines go; every other byte stays. Data of
    /// several lines become several `data` lines. An event without data is given back as it is.
    #[must_use]
    pub fn with_data(&self, new_data: &str) -> Bytes {
        if self.data.is_none() {
            return self.raw.clone();
        }
        let mut out = BytesMut::with_capacity(self.raw.len() + new_data.len());
        let mut written = false;
        for line in Lines::of(&self.raw) {
            let (field, value) = line.field(&self.raw);
            if field != b"data" {
                // Where a data line went, a CR may meet the LF of the next line: two line ends
                // must not become one.
                if out.last() == Some(&b'\r') && self.raw[line.start] == b'\n' {
                    out.put_u8(b'\n');
                }
                out.put_slice(&self.raw[line.start..line.end]);
                continue;
            }
            if written {
                continue;
            }
            written = true;
            // A line that is only `data` has no colon of its own to keep.
            let bare = line.content_end - line.start - field.len() == line.skipped;
            let prefix_end = line.content_end - value.len();
            let mut prefix = &self.raw[line.start..prefix_end];
            let line_end = &self.raw[line.content_end..line.end];
            let mut parts = lines_of_text(new_data).peekable();
            while let Some(part) = parts.next() {
                out.put_slice(prefix);
                if bare {
                    out.put_u8(b':');
                }
                out.put_slice(part.as_bytes());
                // The last line of a stream that broke off has no end to copy.
                let needs_one = line_end.is_empty() && parts.peek().is_some();
                out.put_slice(if needs_one { b"\n" } else { line_end });
                // A byte order mark stands only once.
                prefix = &self.raw[line.start + line.skipped..prefix_end];
            }
        }
        out.freeze()
    }
}

/// The bytes of an event with the given data and, if any, name; LF line ends.
///
/// ```
/// assert_eq!(gateway_sse::encode(Some("error"), "{}"), "event: error\ndata: {}\n\n");
/// ```
#[must_use]
pub fn encode(name: Option<&str>, data: &str) -> Bytes {
    let mut out = BytesMut::with_capacity(data.len() + name.map_or(0, str::len) + 24);
    if let Some(name) = name {
        out.put_slice(b"event: ");
        out.put_slice(name.as_bytes());
        out.put_u8(b'\n');
    }
    for line in lines_of_text(data) {
        out.put_slice(b"data: ");
        out.put_slice(line.as_bytes());
        out.put_u8(b'\n');
    }
    out.put_u8(b'\n');
    out.freeze()
}

/// A data line cannot hold a line end, so that text with line ends becomes several lines.
fn lines_of_text(text: &str) -> impl Iterator<Item = &str> {
    text.split('\n')
        .map(|line| line.strip_suffix('\r').unwrap_or(line))
        .flat_map(|line| line.split('\r'))
}

/// Where one line of an event lies.
struct Line {
    start: usize,
    /// The length of the byte order mark before the line's content.
    skipped: usize,
    /// Before the line end.
    content_end: usize,
    /// After the line end.
    end: usize,
}

impl Line {
    /// Field name and value; a comment's name is empty.
    fn field<'a>(&self, raw: &'a [u8]) -> (&'a [u8], &'a [u8]) {
        let line = &raw[self.start + self.skipped..self.content_end];
        match memchr::memchr(b':', line) {
            Some(colon) => {
                let value = &line[colon + 1..];
                (&line[..colon], value.strip_prefix(b" ").unwrap_or(value))
            }
            None => (line, &line[line.len()..]),
        }
    }
}

/// The lines of an event's bytes.
struct Lines<'a> {
    raw: &'a [u8],
    at: usize,
}

impl<'a> Lines<'a> {
    fn of(raw: &'a [u8]) -> Self {
        Self { raw, at: 0 }
    }
}

impl Iterator for Lines<'_> {
    type Item = Line;

    fn next(&mut self) -> Option<Line> {
        let start = self.at;
        let rest = self.raw.get(start..).filter(|rest| !rest.is_empty())?;
        // A mark before the first event of a stream; in a later event it would be an odd field
        // name that nobody reads, and is taken for a mark too.
        let skipped = if start == 0 && rest.starts_with(BYTE_ORDER_MARK) {
            BYTE_ORDER_MARK.len()
        } else {
            0
        };
        let (content, end) = match memchr2(b'\n', b'\r', rest) {
            Some(at) if rest[at] == b'\r' && rest.get(at + 1) == Some(&b'\n') => (at, at + 2),
            Some(at) => (at, at + 1),
            None => (rest.len(), rest.len()),
        };
        self.at = start + end;
        Some(Line {
            start,
            skipped,
            content_end: start + content,
            end: start + end,
        })
    }
}

const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

#[cfg(test)]
mod tests;
