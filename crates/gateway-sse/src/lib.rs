//! Server-sent events, bytes to events and back, incrementally and for any split.
//!
//! A [`Decoder`] takes the bytes of a `text/event-stream` body as they arrive and gives out an
//! [`Event`] as soon as its blank line is there: never later, and never waiting for the next event.
//! Each event carries the exact bytes it came in, so that a proxy can pass on untouched what it
//! need not edit: all `raw` put together, with what [`Decoder::finish`] gives, are the input again.
//!
//! Lines end with LF, CRLF or CR, and with nothing else (U+2028, U+2029 and U+0085 are text). A
//! leading byte order mark, comments, `data:` with or without its space, data in several lines and
//! the fields `event`, `id`, `retry` or unknown ones are read as the WHATWG HTML standard has it.
//! Bytes need not be UTF-8.
//!
//! ```
//! use bytes::Bytes;
//! use gateway_sse::Decoder;
//!
//! let mut decoder = Decoder::new();
//! let mut seen = Vec::new();
//! // A split anywhere, here inside a field name, changes nothing.
//! for chunk in ["event: note\nda", "ta: {\"n\":1}\n\n: a comm", "ent\n\n"] {
//!     decoder.push(Bytes::from_static(chunk.as_bytes()), &mut |event| seen.push(event));
//! }
//! assert_eq!(seen.len(), 2);
//! assert_eq!(seen[0].name.as_deref(), Some(&b"note"[..]));
//! assert_eq!(seen[0].data.as_deref(), Some(&b"{\"n\":1}"[..]));
//! assert_eq!(seen[1].data, None); // a comment alone
//! assert_eq!(seen[1].raw, ": a comment\n\n");
//!
//! // The same event with other data: its other fields and its line ends stay as they were.
//! assert_eq!(seen[0].with_data("{}"), "event: note\ndata: {}\n\n");
//! assert!(decoder.finish().is_none());
//! ```

mod decoder;
mod event;

pub use decoder::{Decoder, MAX_EVENT, MAX_LINE};
pub use event::{Event, encode};
