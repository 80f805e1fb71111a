//! The recorder: a sink for a reply as it comes.

use bytes::Bytes;

use crate::{CallError, Endpoint, Reply};

/// The head of a reply, as far as the record needs it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReplyHead {
    /// The HTTP status.
    pub status: u16,
    /// Whether the body is an event stream.
    pub streamed: bool,
    /// The upstream's `x-request-id`.
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

/// A sink for one reply as it comes; see the [crate](crate) page for its use.
///
/// Times are milliseconds since the request's last byte. Nothing that an upstream sends makes a
/// recorder fail: what cannot be read is noted in the reply that [`Recorder::finish`] gives.
#[derive(Debug)]
pub struct Recorder {
    endpoint: Endpoint,
}

impl Recorder {
    /// A recorder for a call to this endpoint, which keeps at most `max_record_bytes` of its reply.
    #[must_use]
    pub fn new(endpoint: Endpoint, max_record_bytes: usize) -> Self {
        let _ = max_record_bytes;
        Self { endpoint }
    }

    /// Takes the head of the reply that goes to the client.
    pub fn start(&mut self, head: ReplyHead, now_ms: f64) {
        let _ = (head, now_ms);
    }

    /// Takes the next bytes of a whole reply's body. Of a stream, takes bytes that could not be
    /// read as events.
    pub fn push(&mut self, chunk: Bytes, now_ms: f64) {
        let _ = (chunk, now_ms);
    }

    /// Takes the next event of a stream that has data.
    pub fn event(&mut self, name: Option<&[u8]>, data: &[u8], now_ms: f64) -> EventKind {
        let _ = (name, data, now_ms);
        EventKind::Data
    }

    /// Whether the stream's end mark (or an error event) has come.
    #[must_use]
    pub fn ended(&self) -> bool {
        false
    }

    /// What came so far, as the reply of a call that the gateway's own end cut off.
    #[must_use]
    pub fn snapshot(&self, now_ms: f64) -> Reply {
        let _ = (now_ms, self.endpoint);
        Reply::interrupted(None)
    }

    /// Ends the reply and says how the call ended.
    #[must_use]
    pub fn finish(self, end: End, now_ms: f64) -> Reply {
        let _ = (end, now_ms);
        Reply::default()
    }
}
