//! A client's socket, with the clocks that hyper has not: the head of a request timed from its
//! first byte, the idle wait apart from it, and a limit on how long a client may not read. It
//! notices a client that leaves even while hyper, which has a later request to read, does not.
//!
//! It also knows whether a call is under way on it, which is what an orderly end waits for, and
//! refuses a target that is too long for hyper to answer properly.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use gateway_state::ApiError;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

use crate::activity::Activity;

/// A request line without an end after so many bytes holds a target over the limit of 8 KiB.
const MAX_REQUEST_LINE: usize = 16 << 10;

/// How long a closed connection is read from, so that what the client is still sending does not
/// destroy the answer on its way (RFC 9112 §9.6).
const LINGER: Duration = Duration::from_secs(1);

/// How often a client that nobody reads from is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// The other end of a connection, as far as it can be seen without reading.
pub(crate) trait Peer {
    /// Whether it has closed its side or is gone, be there unread bytes before that or not.
    fn has_left(&self) -> bool;
}

impl Peer for TcpStream {
    fn has_left(&self) -> bool {
        let ready = pin!(self.ready(Interest::READABLE));
        let ready = ready.poll(&mut Context::from_waker(Waker::noop()));
        matches!(ready, Poll::Ready(Ok(ready)) if ready.is_read_closed())
    }
}

/// The clocks of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clocks {
    /// From the first byte of a head to its last.
    pub(crate) header: Duration,
    /// From the end of one reply to the first byte of the next head.
    pub(crate) idle: Duration,
    /// Without a byte that the client takes.
    pub(crate) write: Duration,
}

/// What the socket and the service on it tell each other.
#[derive(Debug)]
pub(crate) struct Exchange {
    phase: AtomicU8,
    /// How many requests have begun.
    requests: AtomicU32,
    /// The reply under way is delimited by the connection's close, if by anything.
    close_delimited: AtomicBool,
    activity: Arc<Activity>,
}

/// No request is under way.
const IDLE: u8 = 0;
/// A request is being served.
const SERVING: u8 = 1;
/// Its reply is complete, and on its way to the client.
const FLUSHING: u8 = 2;

impl Exchange {
    fn new(activity: Arc<Activity>) -> Arc<Exchange> {
        Arc::new(Exchange {
            phase: AtomicU8::new(IDLE),
            requests: AtomicU32::new(0),
            close_delimited: AtomicBool::new(false),
            activity,
        })
    }

    /// A request's head is there. The reply is over when what this returns is dropped.
    pub(crate) fn begin(self: &Arc<Self>, version: http::Version) -> Serving {
        if self.phase.swap(SERVING, Ordering::AcqRel) == IDLE {
            self.activity.begin();
        }
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.close_delimited
            .store(version < http::Version::HTTP_11, Ordering::Relaxed);
        Serving(Arc::clone(self))
    }

    fn is_serving(&self) -> bool {
        self.phase.load(Ordering::Acquire) == SERVING
    }

    /// Everything that was to be written is with the operating system.
    fn flushed(&self) {
        let flushed =
            self.phase
                .compare_exchange(FLUSHING, IDLE, Ordering::AcqRel, Ordering::Acquire);
        if flushed.is_ok() {
            self.activity.end();
        }
    }

    fn gone(&self) {
        if self.phase.swap(IDLE, Ordering::AcqRel) != IDLE {
            self.activity.end();
        }
    }
}

/// A request under way; dropped at the end of its reply.
#[derive(Debug)]
pub(crate) struct Serving(Arc<Exchange>);

impl Drop for Serving {
    fn drop(&mut self) {
        // A later request on this connection, or its end, must not be taken back.
        let _ =
            self.0
                .phase
                .compare_exchange(SERVING, FLUSHING, Ordering::AcqRel, Ordering::Acquire);
    }
}

/// One deadline at a time, with few visits to the timer wheel: a deadline that moves back costs
/// nothing until the earlier one is over.
#[derive(Debug, Default)]
struct Clock(Option<Pin<Box<Sleep>>>);

impl Clock {
    /// Whether `deadline` is over; if not, the task is woken by then.
    fn is_over(&mut self, deadline: Instant, cx: &mut Context<'_>) -> bool {
        let sleep = self
            .0
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if sleep.deadline() > deadline {
            sleep.as_mut().reset(deadline);
        }
        while sleep.as_mut().poll(cx).is_ready() {
            if sleep.deadline() >= deadline {
                return true;
            }
            sleep.as_mut().reset(deadline);
        }
        false
    }
}

/// What is being waited for from the client.
#[derive(Clone, Copy, Debug)]
enum Wait {
    /// Nothing that is timed here: a call is under way.
    None,
    /// The first byte of a head, since then.
    Head(Instant),
    /// The rest of a head that began then.
    Rest {
        since: Instant,
        /// The bytes so far, while no line has ended.
        line: Option<usize>,
    },
}

/// A client's socket. See the module's page.
#[derive(Debug)]
pub(crate) struct Socket<T> {
    inner: T,
    clocks: Clocks,
    exchange: Arc<Exchange>,
    wait: Wait,
    /// The requests that had begun when `wait` was set.
    requests: u32,
    read_clock: Clock,
    write_clock: Clock,
    /// Since when the client takes no bytes.
    blocked: Option<Instant>,
    look_clock: Clock,
    /// Whether hyper waits for the client's next byte, and so hears it leave.
    listens: bool,
    /// Since when it does not, though a request is served, or since the last look then.
    unseen: Option<Instant>,
    /// The answer to a target that is too long, and how much of it is written.
    refusal: Option<(Vec<u8>, usize)>,
    /// A clock ran out, or the socket failed: there is nobody to be polite to.
    broken: bool,
}

impl<T: Peer + AsyncRead + AsyncWrite + Unpin> Socket<T> {
    pub(crate) fn new(inner: T, clocks: Clocks, activity: &Arc<Activity>) -> Socket<T> {
        Socket {
            inner,
            clocks,
            exchange: Exchange::new(Arc::clone(activity)),
            wait: Wait::Head(Instant::now()),
            requests: 0,
            read_clock: Clock::default(),
            write_clock: Clock::default(),
            blocked: None,
            look_clock: Clock::default(),
            listens: false,
            unseen: None,
            refusal: None,
            broken: false,
        }
    }

    /// What the service on this socket tells it.
    pub(crate) fn exchange(&self) -> &Arc<Exchange> {
        &self.exchange
    }

    /// The socket below, if the client must see that its reply was cut: where only the close
    /// delimits it, an ordinary close would make it look complete.
    pub(crate) fn to_reset(&self) -> Option<&T> {
        self.exchange
            .close_delimited
            .load(Ordering::Relaxed)
            .then_some(&self.inner)
    }

    /// Closes in the order that lets the client read the answer: our side first, then, for a
    /// moment, whatever it is still sending is read and forgotten.
    pub(crate) async fn close(mut self) {
        self.exchange.gone();
        if self.broken {
            return;
        }
        let farewell = std::future::poll_fn(|cx| self.poll_farewell(cx));
        // Whoever does not hear it in time has gone.
        let _ = tokio::time::timeout(LINGER, farewell).await;
    }

    fn poll_farewell(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.inner).poll_shutdown(cx))?;
        let mut space = [0; 4096];
        loop {
            let mut buf = ReadBuf::new(&mut space);
            ready!(Pin::new(&mut self.inner).poll_read(cx, &mut buf))?;
            if buf.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Brings what is waited for up to date with what the service has told.
    fn catch_up(&mut self) {
        let requests = self.exchange.requests.load(Ordering::Relaxed);
        let serving = self.exchange.is_serving();
        if serving {
            self.wait = Wait::None;
        } else if self.requests != requests || matches!(self.wait, Wait::None) {
            // A request has come and gone since.
            self.wait = Wait::Head(Instant::now());
        }
        self.requests = requests;
    }

    /// Takes note of bytes that arrived outside of any request.
    fn head_bytes(&mut self, bytes: &[u8]) {
        let (since, line) = match self.wait {
            Wait::None => return,
            Wait::Head(_) => (Instant::now(), Some(0)),
            Wait::Rest { since, line } => (since, line),
        };
        let line = line
            .filter(|_| !bytes.contains(&b'\n'))
            .map(|so_far| so_far + bytes.len());
        if line.is_some_and(|bytes| bytes > MAX_REQUEST_LINE) {
            self.refusal = Some((refusal(), 0));
        }
        self.wait = Wait::Rest { since, line };
    }

    /// Writes the refusal and ends the reading.
    fn poll_refusal(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some((text, written)) = &mut self.refusal
            && *written < text.len()
        {
            *written += ready!(Pin::new(&mut self.inner).poll_write(cx, &text[*written..]))?;
        }
        Poll::Ready(Ok(()))
    }

    fn timed_out(&mut self) -> io::Error {
        self.broken = true;
        io::ErrorKind::TimedOut.into()
    }

    /// Looks now and then whether the client is still there while a request of its is served and
    /// nobody listens: hyper stops reading once bytes of a later request wait.
    fn look(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if self.listens || !self.exchange.is_serving() {
            self.unseen = None;
            return Ok(());
        }
        loop {
            let since = *self.unseen.get_or_insert_with(Instant::now);
            if !self.look_clock.is_over(since + LOOK_INTERVAL, cx) {
                return Ok(());
            }
            if self.inner.has_left() {
                self.broken = true;
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            self.unseen = None;
        }
    }

    /// What a write gives, with the time that the client takes for it.
    fn timed<R>(
        &mut self,
        written: Poll<io::Result<R>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<R>> {
        match written {
            Poll::Pending => {
                let since = *self.blocked.get_or_insert_with(Instant::now);
                if self.write_clock.is_over(since + self.clocks.write, cx) {
                    return Poll::Ready(Err(self.timed_out()));
                }
                match self.look(cx) {
                    Ok(()) => Poll::Pending,
                    Err(error) => Poll::Ready(Err(error)),
                }
            }
            Poll::Ready(result) => {
                self.blocked = None;
                self.broken |= result.is_err();
                Poll::Ready(result)
            }
        }
    }
}

impl<T: Peer + AsyncRead + AsyncWrite + Unpin> AsyncRead for Socket<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.refusal.is_some() {
            // The end of the stream: nothing is filled.
            return this.poll_refusal(cx);
        }
        this.catch_up();
        let before = buf.filled().len();
        let read = Pin::new(&mut this.inner).poll_read(cx, buf);
        this.listens = read.is_pending();
        match read {
            Poll::Ready(Ok(())) => {
                let bytes = &buf.filled()[before..];
                if !bytes.is_empty() {
                    this.head_bytes(bytes);
                }
                if this.refusal.is_some() {
                    // What hyper does not see it cannot answer a second time.
                    buf.set_filled(before);
                    return this.poll_refusal(cx);
                }
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => {
                this.broken = true;
                Poll::Ready(Err(error))
            }
            Poll::Pending => match this.wait {
                Wait::None => Poll::Pending,
                // An idle connection ends as if the client had closed it.
                Wait::Head(since) => {
                    if this.read_clock.is_over(since + this.clocks.idle, cx) {
                        this.broken = true;
                        return Poll::Ready(Ok(()));
                    }
                    Poll::Pending
                }
                Wait::Rest { since, .. } => {
                    if this.read_clock.is_over(since + this.clocks.header, cx) {
                        return Poll::Ready(Err(this.timed_out()));
                    }
                    Poll::Pending
                }
            },
        }
    }
}

impl<T: Peer + AsyncRead + AsyncWrite + Unpin> AsyncWrite for Socket<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.inner).poll_write(cx, bytes);
        this.timed(written, cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.inner).poll_write_vectored(cx, slices);
        this.timed(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.look(cx)?;
        let flushed = Pin::new(&mut this.inner).poll_flush(cx);
        let flushed = this.timed(flushed, cx);
        if matches!(flushed, Poll::Ready(Ok(()))) {
            this.exchange.flushed();
        }
        flushed
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }
}

impl<T> Drop for Socket<T> {
    fn drop(&mut self) {
        self.exchange.gone();
    }
}

/// What hyper would answer too late, or as if the headers were too large.
fn refusal() -> Vec<u8> {
    let error = ApiError::uri_too_long("the target is over 8 KiB");
    let body = error.body();
    format!(
        "HTTP/1.1 414 URI Too Long\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

#[cfg(test)]
mod tests;
