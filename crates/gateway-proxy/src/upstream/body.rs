//! The body of an upstream's reply, read by polling its connection.

use std::future::Future as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use gateway_trace::End;
use http::{HeaderMap, header, response};
use http_body::Body as _;
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};

use super::conn::{Conn, Failure, FailureKind, chain};
use super::pool::{Pool, PoolKey};
use crate::joined::Joined;

/// Past this many bytes a merged chunk is handed on, so that a client which reads slowly holds
/// back the upstream and not our memory.
const MERGE_LIMIT: usize = 64 * 1024;

/// How the upstream marks the end of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// By `Content-Length` or chunks: a body that ends early is known to be cut.
    Delimited,
    /// By closing the connection: a cut body looks like a whole one.
    Close,
}

impl Framing {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        if headers.contains_key(header::CONTENT_LENGTH)
            || headers.contains_key(header::TRANSFER_ENCODING)
        {
            Self::Delimited
        } else {
            Self::Close
        }
    }

    /// What the end of a body that is framed so means.
    pub(crate) fn end(self) -> End {
        match self {
            Self::Delimited => End::Eof,
            Self::Close => End::CloseDelimited,
        }
    }
}

/// Why a reply's head cannot be passed on, if it cannot. Its connection is not used again.
pub(crate) fn unfit(parts: &response::Parts) -> Option<Failure> {
    let failure = |message: String| Some(Failure::new(FailureKind::Protocol, message));
    let status = parts.status.as_u16();
    if status == 101 || status > 599 {
        return failure(format!("its status is {status}"));
    }
    let headers = &parts.headers;
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let coding = codings.next()?;
    // Whoever reads such a reply by the other of the two sees another end of it.
    if headers.contains_key(header::CONTENT_LENGTH) {
        return failure("it has both content-length and transfer-encoding".to_owned());
    }
    let chunked = coding
        .as_bytes()
        .trim_ascii()
        .eq_ignore_ascii_case(b"chunked");
    if !chunked || codings.next().is_some() {
        return failure("it has a transfer-encoding that was not asked for".to_owned());
    }
    None
}

/// A reply's body and the connection it comes from.
///
/// When the body has ended well, the connection goes back to its pool; when this is dropped
/// before that, the connection is closed, which cancels the upstream's work.
pub(crate) struct UpstreamBody {
    incoming: Incoming,
    conn: Option<Conn>,
    home: (Arc<Pool>, PoolKey),
    read_timeout: Duration,
    last_read: Instant,
    /// Armed at the first wait and re-armed only when it fires: a timer for each chunk would
    /// cost more than the chunk.
    timer: Option<Pin<Box<Sleep>>>,
    /// What was read before anybody asked for it.
    begun: Option<Bytes>,
    /// What ended the body, kept back until the bytes before it are handed on.
    ended: Option<Result<(), Failure>>,
}

impl UpstreamBody {
    pub(crate) fn new(
        incoming: Incoming,
        conn: Conn,
        home: (Arc<Pool>, PoolKey),
        read_timeout: Duration,
    ) -> Self {
        Self {
            incoming,
            conn: Some(conn),
            home,
            read_timeout,
            last_read: Instant::now(),
            timer: None,
            begun: None,
            ended: None,
        }
    }

    /// How many bytes are still to come, where the upstream said so.
    pub(crate) fn exact_length(&self) -> Option<u64> {
        let begun = self.begun.as_ref().map_or(0, Bytes::len) as u64;
        self.incoming.size_hint().exact().map(|rest| begun + rest)
    }

    /// Reads what has come with the head, without waiting, and gives what is wrong with it if
    /// nothing else can be had of it.
    pub(crate) fn begin(&mut self, cx: &mut Context<'_>) -> Option<Failure> {
        match self.poll_chunk(cx) {
            Poll::Ready(Some(Ok(chunk))) => self.begun = Some(chunk),
            Poll::Ready(Some(Err(failure))) if failure.kind == FailureKind::Protocol => {
                return Some(failure);
            }
            Poll::Ready(Some(Err(failure))) => self.ended = Some(Err(failure)),
            Poll::Ready(None) | Poll::Pending => {}
        }
        None
    }

    /// The next bytes, all that have arrived in one piece; `None` at the body's end.
    pub(crate) fn poll_chunk(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Failure>>> {
        let mut chunk = Joined::default();
        if let Some(begun) = self.begun.take() {
            chunk.push(begun);
        }
        while self.ended.is_none() && chunk.len() < MERGE_LIMIT {
            match self.poll_frame(cx) {
                Poll::Ready(Some(Ok(data))) => chunk.push(data),
                Poll::Ready(Some(Err(failure))) => self.ended = Some(Err(failure)),
                Poll::Ready(None) => {
                    self.ended = Some(Ok(()));
                    self.release(cx);
                }
                Poll::Pending => break,
            }
        }
        if chunk.len() > 0 {
            self.last_read = Instant::now();
            return Poll::Ready(Some(Ok(chunk.into_bytes())));
        }
        match &mut self.ended {
            // The end stays: a poll after it says so again.
            Some(Ok(())) => Poll::Ready(None),
            Some(ended) => {
                let failure = std::mem::replace(ended, Ok(()));
                self.conn = None;
                Poll::Ready(failure.err().map(Err))
            }
            None => self.poll_timeout(cx),
        }
    }

    /// Does without the rest: what has come is read, so that the connection can serve again if
    /// that was all, and is closed if it was not.
    pub(crate) async fn discard(mut self) {
        std::future::poll_fn(|cx| {
            let _ = self.poll_chunk(cx);
            Poll::Ready(())
        })
        .await;
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Failure>>> {
        loop {
            let polled = match Pin::new(&mut self.incoming).poll_frame(cx) {
                Poll::Pending => {
                    // The body has said that it wants more; now the connection may read it.
                    if let Some(conn) = &mut self.conn {
                        conn.poll_connection(cx);
                    }
                    Pin::new(&mut self.incoming).poll_frame(cx)
                }
                ready => ready,
            };
            return match polled {
                // Trailers end here: nothing that an upstream says in them concerns the client.
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) if data.is_empty() => continue,
                    Ok(data) => Poll::Ready(Some(Ok(data))),
                    Err(_trailers) => continue,
                },
                Poll::Ready(Some(Err(error))) => {
                    let kind = if error.is_parse() || is_malformed(&error) {
                        FailureKind::Protocol
                    } else {
                        FailureKind::Reset
                    };
                    Poll::Ready(Some(Err(Failure::new(kind, chain(&error)))))
                }
                Poll::Ready(None) => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            };
        }
    }

    /// Gives the connection back, if it can serve again.
    fn release(&mut self, cx: &mut Context<'_>) {
        if let Some(mut conn) = self.conn.take()
            && conn.is_open(cx)
        {
            self.home.0.put(&self.home.1, conn);
        }
    }

    fn poll_timeout(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Failure>>> {
        let due = self.last_read + self.read_timeout;
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due)));
        while timer.as_mut().poll(cx).is_ready() {
            if Instant::now() >= due {
                self.conn = None;
                self.ended = Some(Ok(()));
                let message = format!("no byte for {} s", self.read_timeout.as_secs_f64());
                return Poll::Ready(Some(Err(Failure::new(FailureKind::Timeout, message))));
            }
            timer.as_mut().reset(due);
        }
        Poll::Pending
    }
}

/// Whether a chunk was not what it has to be: hyper tells that as an I/O error of its own.
fn is_malformed(error: &hyper::Error) -> bool {
    use std::io::ErrorKind::{InvalidData, InvalidInput};
    let source = std::error::Error::source(error);
    let io = source.and_then(|source| source.downcast_ref::<std::io::Error>());
    io.is_some_and(|io| matches!(io.kind(), InvalidData | InvalidInput))
}
