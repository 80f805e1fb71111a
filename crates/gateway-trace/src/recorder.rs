//! The recorder: a sink for a reply as it comes.

use bytes::Bytes;
use gateway_json::{Dialect, Parsed, Value};

use crate::dialect::{self, Assembler, Step};
use crate::notes::{self, Notes};
use crate::{CallError, Endpoint, Reply, ReplyMeta};

mod brackets;
mod verdict;

use brackets::Brackets;
use verdict::Verdict;
pub use verdict::is_cut;

/// The head of a reply, as far as the record needs it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReplyHead {
    /// The HTTP status.
    pub status: u16,
    /// Whether the body is an event stream.
    pub streamed: bool,
    /// The upstream's `x-request-id`, else its `request-id`.
    pub request_id: Option<String>,
}

/// What an event of a stream means for its reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// More of the reply.
    Data,
    /// The dialect's end mark: readers stop here.
    EndMark,
    /// An error in the dialect's form: readers stop here too.
    Error,
}

/// What became of a reply's content coding, which is undone before the recorder gets the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContentCoding {
    /// What is pushed is decoded.
    Decoded,
    /// It is not known, or not what the bytes are in: they are pushed as they came.
    AsItCame,
    /// It broke after something had been decoded; nothing more is pushed.
    Broke,
    /// What is decoded is over `max_record_bytes`; nothing more is pushed.
    Capped,
}

/// How the bytes of a reply ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// As the framing said: the length was met, or the last chunk came.
    Eof,
    /// The connection was closed, and nothing but that delimits the body.
    CloseDelimited,
    /// The upstream broke off: a reset, a cut chunk, fewer bytes than announced, a timeout.
    Broken,
    /// The client left.
    ClientGone,
    /// No upstream answered; why.
    GatewayError(CallError),
    /// The gateway ends.
    Interrupted,
}

/// A sink for one reply as it comes; see the [crate] page for its use.
///
/// Times are milliseconds since the request's last byte. Nothing that an upstream sends makes a
/// recorder fail: what cannot be read is noted in the reply that [`Recorder::finish`] gives. Memory
/// is linear in the bytes that are kept, and bounded by `max_record_bytes`.
#[derive(Debug)]
pub struct Recorder {
    endpoint: Endpoint,
    max_bytes: usize,
    choices: usize,
    head: Option<ReplyHead>,
    body: Body,
    /// What is open in a whole reply that is longer than may be kept.
    beyond: Option<Brackets>,
    /// The end mark or the error event that closed the record.
    mark: Option<Mark>,
    first_byte_ms: Option<f64>,
    last_byte_ms: Option<f64>,
    event_ms: Vec<u32>,
    notes: Notes,
}

/// What came of the body so far.
#[derive(Debug)]
enum Body {
    /// In one piece, which is not copied.
    Piece(Bytes),
    Pieces(Vec<u8>),
    Stream(Box<dyn Assembler>),
}

/// What closed a stream.
#[derive(Debug)]
enum Mark {
    End,
    Error(CallError),
}

impl Recorder {
    /// A recorder for a call to this endpoint, which keeps at most about `max_record_bytes` of its
    /// reply.
    #[must_use]
    pub fn new(endpoint: Endpoint, max_record_bytes: usize) -> Self {
        Self {
            endpoint,
            max_bytes: max_record_bytes,
            choices: 1,
            head: None,
            body: Body::Piece(Bytes::new()),
            beyond: None,
            mark: None,
            first_byte_ms: None,
            last_byte_ms: None,
            event_ms: Vec::new(),
            notes: Notes::default(),
        }
    }

    /// Notes how many choices the upstream was asked for (see
    /// [`choices_asked`](crate::choices_asked)), if that is not one: a stream without an end mark is
    /// whole only if each has come.
    pub fn expect_choices(&mut self, choices: usize) {
        self.choices = choices;
    }

    /// Takes the head of the reply that goes to the client, which ends at `now_ms`. What came of an
    /// earlier attempt's reply is forgotten.
    pub fn start(&mut self, head: ReplyHead, now_ms: f64) {
        *self = Self {
            choices: self.choices,
            ..Self::new(self.endpoint, self.max_bytes)
        };
        if head.streamed {
            self.body = Body::Stream(dialect::of(self.endpoint).assembler(self.max_bytes));
        }
        self.head = Some(head);
        self.last_byte_ms = Some(now_ms);
    }

    /// Notes that bytes of the body have come, where that is before [`push`](Self::push) or
    /// [`event`](Self::event) gets them: `ttft_ms` counts to the first byte of the body, which may
    /// come before the first event is complete.
    pub fn arrived(&mut self, now_ms: f64) {
        self.first_byte_ms.get_or_insert(now_ms);
        self.last_byte_ms = Some(now_ms);
    }

    /// Takes the next bytes of a whole reply's body, decoded of any content encoding. Of a stream,
    /// takes bytes that could not be read as events.
    pub fn push(&mut self, chunk: Bytes, now_ms: f64) {
        if chunk.is_empty() || self.mark.is_some() {
            return;
        }
        self.arrived(now_ms);
        let kept: &[u8] = match &self.body {
            Body::Stream(_) => {
                self.notes.add(notes::UNREAD_EVENT);
                return;
            }
            Body::Piece(piece) => piece,
            Body::Pieces(pieces) => pieces,
        };
        let room = self.max_bytes - kept.len().min(self.max_bytes);
        let chunk = if chunk.len() > room {
            self.notes.add(notes::CAPPED);
            let beyond = self.beyond.get_or_insert_with(|| {
                let mut brackets = Brackets::default();
                brackets.take(kept);
                brackets
            });
            beyond.take(&chunk);
            chunk.slice(..room)
        } else {
            chunk
        };
        match &mut self.body {
            Body::Piece(piece) if piece.is_empty() => *piece = chunk,
            Body::Piece(piece) => {
                let mut pieces = Vec::with_capacity(2 * (piece.len() + chunk.len()));
                pieces.extend_from_slice(piece);
                pieces.extend_from_slice(&chunk);
                self.body = Body::Pieces(pieces);
            }
            Body::Pieces(pieces) => pieces.extend_from_slice(&chunk),
            Body::Stream(_) => {}
        }
    }

    /// Notes what became of the reply's content coding.
    pub fn content_coding(&mut self, coding: ContentCoding) {
        self.notes.add(match coding {
            ContentCoding::Decoded => notes::DECODED,
            ContentCoding::AsItCame => notes::NOT_DECODED,
            ContentCoding::Broke => notes::CODING_BROKE,
            ContentCoding::Capped => notes::CAPPED,
        });
    }

    /// Takes the next event of a stream that has data, and says what it means.
    ///
    /// The first end mark or error closes the record: what comes later is data that nobody records.
    pub fn event(&mut self, name: Option<&[u8]>, data: &[u8], now_ms: f64) -> EventKind {
        let parsed = Parsed::new(data, Dialect::Python).ok();
        self.event_parsed(name, data, parsed.as_ref().map(Parsed::root), now_ms)
    }

    /// As [`event`](Self::event), for a caller that has parsed the data already, with
    /// [`Dialect::Python`]: `root` is none where they are no JSON.
    pub fn event_parsed(
        &mut self,
        name: Option<&[u8]>,
        data: &[u8],
        root: Option<Value<'_>>,
        now_ms: f64,
    ) -> EventKind {
        let Body::Stream(assembler) = &mut self.body else {
            return EventKind::Data;
        };
        if self.mark.is_some() {
            return EventKind::Data;
        }
        let step = if data.trim_ascii() == b"[DONE]" {
            Step::EndMark
        } else {
            assembler.event(name, data, root.filter(|root| root.is_object()))
        };
        self.arrived(now_ms);
        if self.event_ms.len() < self.max_bytes / size_of::<u32>() {
            self.event_ms.push(whole_ms(now_ms));
        }
        match step {
            Step::Data => EventKind::Data,
            Step::EndMark => {
                self.mark = Some(Mark::End);
                EventKind::EndMark
            }
            Step::Error(error) => {
                self.mark = Some(Mark::Error(error));
                EventKind::Error
            }
        }
    }

    /// Whether the stream's end mark (or an error event) has come.
    #[must_use]
    pub fn ended(&self) -> bool {
        self.mark.is_some()
    }

    /// What came so far, as the reply of a call that the gateway's own end cut off.
    #[must_use]
    pub fn snapshot(&self, now_ms: f64) -> Reply {
        let body = match &self.body {
            Body::Piece(piece) => piece.clone(),
            Body::Pieces(pieces) => Bytes::copy_from_slice(pieces),
            Body::Stream(assembler) => assembler.assembled().unwrap_or_default().into(),
        };
        self.conclude(body, None, End::Interrupted, now_ms)
    }

    /// Ends the reply and says how the call ended.
    ///
    /// The fields of [`ReplyMeta`] that concern the way to the upstream are left for the caller.
    #[must_use]
    pub fn finish(mut self, end: End, now_ms: f64) -> Reply {
        let body = self.take_body();
        self.conclude(body, None, end, now_ms)
    }

    /// As [`finish`](Self::finish), for a caller that has parsed the body already, with
    /// [`Dialect::Python`]: `root` must be the root of all bytes
    /// that were pushed.
    #[must_use]
    pub fn finish_parsed(mut self, root: Value<'_>, end: End, now_ms: f64) -> Reply {
        let body = self.take_body();
        self.conclude(body, Some(root), end, now_ms)
    }

    fn take_body(&mut self) -> Bytes {
        match &mut self.body {
            Body::Piece(piece) => std::mem::take(piece),
            Body::Pieces(pieces) => std::mem::take(pieces).into(),
            Body::Stream(assembler) => assembler.assembled().unwrap_or_default().into(),
        }
    }

    fn conclude(&self, body: Bytes, root: Option<Value<'_>>, end: End, now_ms: f64) -> Reply {
        let Verdict {
            outcome,
            error,
            ended,
            digest,
            note,
        } = self.verdict(&body, root, end);
        let mut notes = self.notes.clone();
        if let Body::Stream(assembler) = &self.body {
            notes.extend(assembler.notes().as_slice());
        }
        if let Some(note) = note {
            notes.add(note);
        }
        let streamed = matches!(self.body, Body::Stream(_));
        let meta = ReplyMeta {
            outcome,
            error,
            status: self.head.as_ref().map(|head| head.status),
            streamed,
            latency_ms: self.last_byte_ms.unwrap_or(now_ms).max(0.0),
            ttft_ms: self.first_byte_ms.map(|ms| ms.max(0.0)),
            event_ms: streamed.then(|| self.event_ms.clone()),
            ended,
            notes: notes.into_vec(),
            request_id: self.head.as_ref().and_then(|head| head.request_id.clone()),
            digest: Some(digest),
            ..ReplyMeta::default()
        };
        Reply { meta, body }
    }
}

/// Whole milliseconds; a clock that went back gives none.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "`as` saturates, which is what is wanted"
)]
fn whole_ms(ms: f64) -> u32 {
    ms as u32
}
