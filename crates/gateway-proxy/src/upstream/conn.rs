//! One HTTP/1.1 connection to an upstream, and one exchange over it.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// So many interim replies (1xx) may come before the reply itself.
const MAX_INTERIM: usize = 64;

/// Why an exchange with an upstream failed.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Failure {
    pub(crate) kind: FailureKind,
    /// For the log and the trace; it names no secret.
    pub(crate) message: String,
}

/// What kind of failure: it decides the status, and whether another attempt is safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FailureKind {
    /// No connection came about, so that nothing was sent.
    Unreachable,
    /// None came about in time.
    ConnectTimeout,
    /// A connection that had served before closed before any byte of this reply: the request
    /// was not processed.
    StaleConnection,
    /// The connection broke before a whole head had arrived.
    Reset,
    /// What arrived is no HTTP.
    Protocol,
    /// The request was sent, and nothing arrived for too long.
    Timeout,
}

impl Failure {
    pub(crate) fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
        }
    }
}

/// An established connection. It makes progress only while somebody polls it.
pub(crate) struct Conn {
    sender: http1::SendRequest<Full<Bytes>>,
    /// `None` once hyper has finished with it; it cannot be used again then.
    /// Boxed, because a connection is moved from hand to hand with every call.
    connection: Option<Box<http1::Connection<TokioIo<Stream>, Full<Bytes>>>>,
    /// Set by the socket when bytes arrive, cleared before each request.
    received: Arc<AtomicBool>,
    served: bool,
}

impl Conn {
    pub(crate) async fn handshake(socket: Socket) -> Result<Self, Failure> {
        let received = Arc::new(AtomicBool::new(false));
        let stream = Stream {
            socket,
            received: Arc::clone(&received),
        };
        let (sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| Failure::new(FailureKind::Unreachable, error.to_string()))?;
        Ok(Self {
            sender,
            connection: Some(Box::new(connection)),
            received,
            served: false,
        })
    }

    /// Whether the connection may take a request: an upstream that has closed it is noticed here.
    pub(crate) fn is_open(&mut self, cx: &mut Context<'_>) -> bool {
        self.poll_connection(cx);
        self.connection.is_some() && matches!(self.sender.poll_ready(cx), Poll::Ready(Ok(())))
    }

    /// Lets the connection read and write whatever it can now.
    pub(crate) fn poll_connection(&mut self, cx: &mut Context<'_>) {
        if let Some(connection) = &mut self.connection
            && Pin::new(connection).poll(cx).is_ready()
        {
            // Its error, if any, has reached the request or body that it concerns.
            self.connection = None;
        }
    }

    /// Sends one request and waits for the head of its reply.
    ///
    /// Dropping the future closes the connection, and with it the upstream's work on the call.
    pub(crate) async fn exchange(
        mut self,
        mut request: Request<Full<Bytes>>,
    ) -> Result<(response::Parts, Incoming, Conn), Failure> {
        let reused = std::mem::replace(&mut self.served, true);
        self.received.store(false, Ordering::Relaxed);
        let interim = Arc::new(AtomicUsize::new(0));
        hyper::ext::on_informational(&mut request, {
            let interim = Arc::clone(&interim);
            move |_| {
                interim.fetch_add(1, Ordering::Relaxed);
            }
        });
        let answer = {
            let mut answer = pin!(self.sender.send_request(request));
            poll_fn(|cx| {
                if let Poll::Ready(answer) = answer.as_mut().poll(cx) {
                    return Poll::Ready(answer);
                }
                if let Some(connection) = &mut self.connection
                    && Pin::new(connection).poll(cx).is_ready()
                {
                    self.connection = None;
                }
                answer.as_mut().poll(cx)
            })
            .await
        };
        if interim.load(Ordering::Relaxed) > MAX_INTERIM {
            let message = "the upstream sent too many interim replies";
            return Err(Failure::new(FailureKind::Protocol, message));
        }
        match answer {
            Ok(response) => {
                let (parts, body) = response.into_parts();
                Ok((parts, body, self))
            }
            Err(error) => {
                let answered = self.received.load(Ordering::Relaxed);
                let kind = if error.is_parse() {
                    FailureKind::Protocol
                } else if reused && !answered {
                    FailureKind::StaleConnection
                } else if error.is_canceled() {
                    // It closed before the request was begun to be written.
                    FailureKind::Unreachable
                } else {
                    FailureKind::Reset
                };
                Err(Failure::new(kind, chain(&error)))
            }
        }
    }
}

/// An error with its sources, for one line of a log.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

/// The bytes' way to the upstream.
pub(crate) enum Socket {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// A socket that remembers whether anything has arrived.
struct Stream {
    socket: Socket,
    received: Arc<AtomicBool>,
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = match &mut self.socket {
            Socket::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Socket::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        };
        if buf.filled().len() > before {
            self.received.store(true, Ordering::Relaxed);
        }
        polled
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.socket {
            Socket::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Socket::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.socket {
            Socket::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Socket::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.socket {
            Socket::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Socket::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.socket {
            Socket::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Socket::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.socket {
            Socket::Plain(stream) => stream.is_write_vectored(),
            Socket::Tls(stream) => stream.is_write_vectored(),
        }
    }
}
