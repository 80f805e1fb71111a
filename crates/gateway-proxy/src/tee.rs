//! The reply on its way back: bytes to the client, a copy to the recorder.
//!
//! Nothing here waits for anything but the upstream and, at the very end, the receipt: what
//! completes the reply for its reader (the event with the end mark, the last bytes, or the end of
//! the stream) is held until the record is on disk. Recording cannot change or fail a reply.

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use gateway_json::{Dialect, Parsed};
use gateway_sse::{Decoder, Event};
use gateway_store::Receipt;
use gateway_trace::{End, EventKind, Outcome};
use http_body::Frame;

use crate::call::OpenCall;
use crate::joined::Joined;
use crate::strip::{StripRules, Stripped};
use crate::unpack::PackedReply;
use crate::upstream::{Failure, Framing, UpstreamBody};

/// Why a reply's body was cut off towards the client.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The upstream broke off; the client must not take what it has for whole.
    #[error("the upstream broke off")]
    Upstream,
    /// The record could not be made durable, and `sync_traces` forbids to go without.
    #[error("the trace could not be written")]
    NoReceipt,
}

/// A reply under way from an upstream to the client.
pub(crate) struct Tee {
    upstream: UpstreamBody,
    framing: Framing,
    /// `None`: the call is not recorded.
    call: Option<OpenCall>,
    form: Form,
    /// What may go now.
    ready: Bytes,
    /// What goes once the receipt is there.
    held: Bytes,
    receipt: Option<Receipt>,
    /// Whether a reply may not end without its receipt (`sync_traces`).
    strict: bool,
    end: Option<Result<(), BodyError>>,
    /// Whether hyper had the time to write what came before an error.
    flushed: bool,
    /// Dropped with the reply: what the call occupies while it is under way.
    _occupied: Occupied,
}

/// What a call occupies until its reply has ended, whatever that is.
pub(crate) type Occupied = Box<dyn Send>;

enum Form {
    /// Bytes as they come.
    Bytes {
        /// How many are still to come, if that is known.
        left: Option<u64>,
        /// Reads them, where they are compressed.
        packed: Option<PackedReply>,
    },
    /// Server-sent events.
    Events(Events),
}

struct Events {
    decoder: Decoder,
    passing: Passing,
}

/// How events are passed on.
struct Passing {
    rules: StripRules,
    /// How many bytes of the event being read have gone out already.
    passed: usize,
    /// The last event did not pass, and its last byte was a CR.
    dropped_cr: bool,
}

impl Tee {
    /// A reply that passes as it comes.
    pub(crate) fn bytes(
        upstream: UpstreamBody,
        framing: Framing,
        call: Option<OpenCall>,
        occupied: Occupied,
    ) -> Self {
        let form = Form::Bytes {
            left: upstream.exact_length(),
            packed: None,
        };
        Self::new(upstream, framing, call, form, occupied)
    }

    /// A stream of events, each of which `rules` may change.
    pub(crate) fn events(
        upstream: UpstreamBody,
        framing: Framing,
        call: Option<OpenCall>,
        rules: StripRules,
        occupied: Occupied,
    ) -> Self {
        let events = Events {
            decoder: Decoder::new(),
            passing: Passing {
                rules,
                passed: 0,
                dropped_cr: false,
            },
        };
        Self::new(upstream, framing, call, Form::Events(events), occupied)
    }

    fn new(
        upstream: UpstreamBody,
        framing: Framing,
        call: Option<OpenCall>,
        form: Form,
        occupied: Occupied,
    ) -> Self {
        Self {
            upstream,
            framing,
            call,
            form,
            ready: Bytes::new(),
            held: Bytes::new(),
            receipt: None,
            strict: false,
            end: None,
            flushed: false,
            _occupied: occupied,
        }
    }

    /// Forbids the reply to end without its receipt.
    pub(crate) fn strict(mut self, strict: bool) -> Self {
        self.strict = strict;
        self
    }

    /// Has a reply that passes as it comes recorded as what `reply` decodes it to.
    pub(crate) fn packed(mut self, reply: PackedReply) -> Self {
        if let Form::Bytes { packed, .. } = &mut self.form {
            *packed = Some(reply);
        }
        self
    }

    /// Puts bytes that were read and recorded already before all others.
    pub(crate) fn after(mut self, read: Bytes) -> Self {
        self.ready = read;
        self
    }

    /// The next bytes for the client; `None` at the end.
    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        loop {
            if !self.ready.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.ready)))));
            }
            if let Some(receipt) = &mut self.receipt {
                let received = ready!(Pin::new(receipt).poll(cx));
                self.receipt = None;
                if received.is_err() && self.strict {
                    self.held = Bytes::new();
                    self.end = Some(Err(BodyError::NoReceipt));
                    continue;
                }
                self.ready = std::mem::take(&mut self.held);
                continue;
            }
            match &mut self.end {
                Some(Ok(())) => return Poll::Ready(None),
                Some(_) if !std::mem::replace(&mut self.flushed, true) => {
                    // At an error hyper drops what it has not written yet. Once around, and it has
                    // written: the client then has every byte that the trace tells of.
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Some(end) => {
                    let error = std::mem::replace(end, Ok(()));
                    return Poll::Ready(error.err().map(Err));
                }
                None => {}
            }
            match ready!(self.upstream.poll_chunk(cx)) {
                Some(Ok(chunk)) => self.take(chunk),
                Some(Err(failure)) => self.broken(&failure),
                None => self.ended(),
            }
        }
    }

    fn take(&mut self, chunk: Bytes) {
        if let Some(call) = &self.call {
            call.received(chunk.len());
        }
        match &mut self.form {
            Form::Bytes { left, packed } => {
                match (&self.call, packed) {
                    (Some(call), Some(packed)) => self.receipt = packed.record(&chunk, call),
                    (Some(call), None) => call.push(&chunk),
                    (None, _) => {}
                }
                let last = left.as_mut().is_some_and(|left| {
                    *left = left.saturating_sub(chunk.len() as u64);
                    *left == 0
                });
                // A client that was told the length stops reading at the last byte.
                if last {
                    self.finish(End::Eof);
                }
                if self.receipt.is_some() {
                    self.held = chunk;
                } else {
                    self.ready = chunk;
                }
            }
            Form::Events(_) => self.take_events(chunk),
        }
    }

    fn take_events(&mut self, chunk: Bytes) {
        let Form::Events(Events { decoder, passing }) = &mut self.form else {
            return;
        };
        let mut out = Out::default();
        let call = self.call.as_ref();
        if let Some(call) = call {
            call.arrived();
        }
        decoder.push(chunk, &mut |event| passing.pass(&event, call, &mut out));
        // A stream that needs no edit goes byte by byte, but for what may become an end mark.
        if passing.rules.is_empty() && out.receipt.is_none() {
            let pending = decoder.pending();
            let passed = passing.passed;
            if pending.len() > passed && !may_be_end_mark(pending) {
                out.ready.push(Bytes::copy_from_slice(&pending[passed..]));
                passing.passed = pending.len();
            }
        }
        self.put(out);
    }

    fn put(&mut self, out: Out) {
        self.ready = out.ready.into_bytes();
        self.held = out.held.into_bytes();
        self.receipt = out.receipt;
    }

    fn broken(&mut self, failure: &Failure) {
        tracing::debug!(%failure, "upstream broke off");
        if let Some(call) = &self.call {
            // Whoever is cut off waits for no receipt.
            drop(call.finish(End::Broken));
        }
        self.end = Some(Err(BodyError::Upstream));
    }

    fn ended(&mut self) {
        match &mut self.form {
            Form::Events(events) => {
                // The blank line after the last event is missing; what it says counts all the same.
                if let Some(event) = std::mem::take(&mut events.decoder).finish() {
                    let mut out = Out::default();
                    events.passing.pass(&event, self.call.as_ref(), &mut out);
                    self.put(out);
                }
            }
            Form::Bytes { packed, .. } => {
                if let (Some(packed), Some(call)) = (packed, &self.call) {
                    packed.end(call);
                }
            }
        }
        self.end = Some(match self.finish(self.framing.end()) {
            // Delimited by the connection's close and without its end: it may have been cut.
            Some(Outcome::Truncated) if self.framing == Framing::Close => {
                self.receipt = None;
                Err(BodyError::Upstream)
            }
            _ => Ok(()),
        });
    }

    fn finish(&mut self, end: End) -> Option<Outcome> {
        let (outcome, receipt) = self.call.as_ref()?.finish(end)?;
        self.receipt = receipt;
        Some(outcome)
    }
}

/// What the events of one chunk come to.
#[derive(Default)]
struct Out {
    ready: Joined,
    held: Joined,
    receipt: Option<Receipt>,
}

impl Passing {
    /// Takes one event.
    fn pass(&mut self, event: &Event, call: Option<&OpenCall>, out: &mut Out) {
        let passed = std::mem::take(&mut self.passed);
        // What is left of a CRLF that was split there goes with it.
        if std::mem::take(&mut self.dropped_cr) && *event.raw == *b"\n" {
            return;
        }
        let mut kind = EventKind::Data;
        let bytes = match &event.data {
            Some(data) if !self.rules.is_empty() => {
                let parsed = Parsed::new(data, Dialect::Python).ok();
                let root = parsed.as_ref().map(Parsed::root);
                if let Some(call) = call {
                    kind = call.event_parsed(event.name.as_deref(), data, root);
                }
                match root.map_or(Stripped::Unchanged, |root| self.rules.event(root)) {
                    Stripped::Unchanged => event.raw.slice(passed..),
                    Stripped::Edited(data) => event.with_data(&data),
                    Stripped::Dropped => {
                        self.dropped_cr = event.raw.ends_with(b"\r");
                        return;
                    }
                }
            }
            _ => {
                if let Some(call) = call {
                    kind = read_event(event, call);
                }
                event.raw.slice(passed..)
            }
        };
        if kind != EventKind::Data
            && let Some((_, receipt)) = call.and_then(|call| call.finish(End::Eof))
        {
            out.receipt = receipt;
        }
        if out.receipt.is_some() {
            out.held.push(bytes);
        } else {
            out.ready.push(bytes);
        }
    }
}

/// Records an event that is not edited.
pub(crate) fn read_event(event: &Event, call: &OpenCall) -> EventKind {
    match &event.data {
        Some(data) => call.event(event.name.as_deref(), data),
        None => {
            if event.unread {
                call.push(&event.raw);
            }
            EventKind::Data
        }
    }
}

/// Whether an event that begins like this may turn out to complete the reply by what its first
/// line says: such a one is held back whole, because some readers act on the line and do not wait
/// for the blank one. Of all others the blank line is all that has to be held.
fn may_be_end_mark(pending: &[u8]) -> bool {
    const MARKS: [&[u8]; 12] = [
        b"data: [DONE]",
        b"data:[DONE]",
        b"event: message_stop",
        b"event:message_stop",
        b"event: response.completed",
        b"event:response.completed",
        b"event: response.incomplete",
        b"event:response.incomplete",
        b"event: response.failed",
        b"event:response.failed",
        b"event: error",
        b"event:error",
    ];
    let pending = pending.strip_prefix(b"\xef\xbb\xbf").unwrap_or(pending);
    MARKS
        .iter()
        .any(|mark| mark.starts_with(pending) || pending.starts_with(mark))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strip::Asked;

    /// What of `stream` passes, cut in two at `at`, where usage was asked for on the recorder's
    /// behalf.
    fn passed(stream: &'static str, at: usize) -> String {
        let asked = Asked {
            injected_usage: true,
            ..Asked::default()
        };
        let mut passing = Passing {
            rules: StripRules::new(asked, true),
            passed: 0,
            dropped_cr: false,
        };
        let (mut decoder, mut out) = (Decoder::new(), Out::default());
        let (first, second) = stream.split_at(at);
        for chunk in [first, second] {
            let chunk = Bytes::from_static(chunk.as_bytes());
            decoder.push(chunk, &mut |event| passing.pass(&event, None, &mut out));
        }
        String::from_utf8(out.ready.into_bytes().to_vec()).unwrap()
    }

    #[test]
    fn a_dropped_event_leaves_nothing_at_any_split() {
        for (stream, expected) in [
            (
                "data: 1\r\n\r\ndata: {\"choices\":[],\"usage\":{}}\r\n\r\ndata: 2\r\n\r\n",
                "data: 1\r\n\r\ndata: 2\r\n\r\n",
            ),
            (
                "data: 1\n\ndata: {\"choices\":[],\"usage\":{}}\n\n\ndata: 2\n\n",
                "data: 1\n\n\ndata: 2\n\n",
            ),
            (
                "data: 1\r\rdata: {\"choices\":[],\"usage\":{}}\r\r\rdata: 2\r\r",
                "data: 1\r\r\rdata: 2\r\r",
            ),
        ] {
            for at in 0..=stream.len() {
                assert_eq!(passed(stream, at), expected, "{stream:?} cut at {at}");
            }
        }
    }

    #[test]
    fn only_what_may_end_a_reply_is_held_back() {
        for held in [
            "",
            "d",
            "data: ",
            "data:[DO",
            "data: [DONE]\n",
            "\u{feff}data: [",
            "event: ",
            "event: message_st",
            "event: message_stop\ndata: {}",
            "event: response.",
            "event:response.failed\n",
            "event: err",
        ] {
            assert!(may_be_end_mark(held.as_bytes()), "{held:?}");
        }
        for passes in [
            "data: {",
            "data:{\"error\"",
            "data: [1",
            ": comment",
            "id: 1",
            "event: message_start",
            "event: response.output_text.delta",
        ] {
            assert!(!may_be_end_mark(passes.as_bytes()), "{passes:?}");
        }
    }
}
