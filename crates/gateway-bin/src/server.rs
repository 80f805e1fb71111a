//! The listener: connections in, each a task that speaks HTTP/1.1 on it; and the order in which
//! all that ends.

use std::convert::Infallible;
use std::error::Error;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;

use crate::activity::Activity;
use crate::request_body::RequestBody;
use crate::socket::{Clocks, Serving, Socket};
use crate::stop::Stop;

/// What hyper holds of a head and of unwritten reply at most. It leaves room for 64 KiB of headers
/// behind a target of 8 KiB, which the service measures exactly.
const MAX_BUFFER: usize = 80 << 10;

/// How long accepting rests after it failed for want of something, such as file descriptors:
/// trying again at once would fail again, and keep the processor busy with it.
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// How often such a failure is logged.
const ACCEPT_LOG_INTERVAL: Duration = Duration::from_secs(10);

/// How long connections that have nothing to do any more are waited for at the end.
const LAST_GOODBYES: Duration = Duration::from_millis(400);

/// Answers requests. Dropping the future cancels the work.
pub(crate) trait Handler: Send + Sync + 'static {
    /// The body of an answer.
    type Body: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>>
        + Send
        + Unpin
        + 'static;

    /// Answers one request from `peer`.
    fn handle(
        &self,
        request: Request<RequestBody>,
        peer: SocketAddr,
    ) -> impl Future<Output = Response<Self::Body>> + Send;
}

/// A listener with its settings and the connections that came in on it.
pub(crate) struct Server<H> {
    listener: TcpListener,
    handler: Arc<H>,
    http: http1::Builder,
    clocks: Clocks,
    activity: Arc<Activity>,
    places: Arc<Semaphore>,
    connections: JoinSet<()>,
    /// Tells every connection to end with the reply that it is giving.
    closing: watch::Sender<bool>,
    /// When a failure to accept was logged.
    complained: Option<Instant>,
}

impl<H: Handler> Server<H> {
    pub(crate) fn new(
        listener: TcpListener,
        handler: H,
        clocks: Clocks,
        max_connections: usize,
    ) -> Server<H> {
        let mut http = http1::Builder::new();
        // The socket keeps the clocks; hyper's own is one for the head and the idle wait alike.
        http.half_close(false)
            .header_read_timeout(None)
            .max_buf_size(MAX_BUFFER)
            .max_header_size(MAX_BUFFER);
        Server {
            listener,
            handler: Arc::new(handler),
            http,
            clocks,
            activity: Arc::default(),
            places: Arc::new(Semaphore::new(max_connections.min(Semaphore::MAX_PERMITS))),
            connections: JoinSet::new(),
            closing: watch::Sender::new(false),
            complained: None,
        }
    }

    /// Serves until an end is asked for, then calls `drain` and goes on for as long as requests
    /// are under way, at most `patience`, or until the end is asked for again. What is under way
    /// then is cut, right after `cut` was called.
    pub(crate) async fn run(
        mut self,
        stop: &Stop,
        patience: Duration,
        drain: impl FnOnce(),
        cut: impl FnOnce(),
    ) {
        self.accept_until(stop.requested()).await;
        drain();
        let activity = Arc::clone(&self.activity);
        let calm = async {
            tokio::select! {
                () = activity.wait_for_none() => true,
                () = tokio::time::sleep(patience) => false,
                () = stop.hurried() => false,
            }
        };
        if self.accept_until(calm).await {
            self.closing.send_replace(true);
            let goodbyes = async { while self.connections.join_next().await.is_some() {} };
            // Whoever does not leave in time has nothing of ours to lose.
            let _ = tokio::time::timeout(LAST_GOODBYES, goodbyes).await;
        } else {
            tracing::warn!(
                requests = self.activity.count(),
                "cutting what is still under way"
            );
            cut();
        }
        self.connections.shutdown().await;
    }

    /// Takes connections in until `end` is there.
    async fn accept_until<T>(&mut self, end: impl Future<Output = T>) -> T {
        let mut end = pin!(end);
        loop {
            tokio::select! {
                biased;
                ended = &mut end => return ended,
                Some(ended) = self.connections.join_next() => {
                    if let Err(error) = ended && error.is_panic() {
                        tracing::error!("a connection did not end well");
                    }
                }
                accepted = accept(&self.listener, &self.places) => match accepted {
                    Ok((stream, peer, place)) => self.serve(stream, peer, place),
                    Err(error) => self.complain(&error).await,
                },
            }
        }
    }

    fn serve(&mut self, stream: TcpStream, peer: SocketAddr, place: OwnedSemaphorePermit) {
        let peer = seen_as(peer, stream.local_addr().ok());
        let handler = Arc::clone(&self.handler);
        let http = self.http.clone();
        let closing = self.closing.subscribe();
        let activity = Arc::clone(&self.activity);
        let clocks = self.clocks;
        self.connections.spawn(async move {
            // Small writes must not wait for acknowledgements of earlier ones. Where that cannot
            // be had, the connection is broken anyway.
            let _ = stream.set_nodelay(true);
            let socket = Socket::new(stream, clocks, &activity);
            connection(&http, socket, peer, handler, closing).await;
            drop(place);
        });
    }

    /// Takes note of a failure to accept, and rests unless it was one connection's own.
    async fn complain(&mut self, error: &io::Error) {
        use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
        if matches!(
            error.kind(),
            ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted
        ) {
            return;
        }
        if self
            .complained
            .is_none_or(|at| at.elapsed() >= ACCEPT_LOG_INTERVAL)
        {
            self.complained = Some(Instant::now());
            tracing::error!(%error, "no connection can be accepted at present");
        }
        tokio::time::sleep(ACCEPT_REST).await;
    }
}

/// The next connection, once there is a place for it; until then it waits in the backlog.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let place = Arc::clone(places)
        .acquire_owned()
        .await
        .expect("the semaphore is never closed");
    let (stream, peer) = listener.accept().await?;
    Ok((stream, peer, place))
}

/// Who the peer is to the rules about who may ask: a connection from the machine to one of its own
/// addresses has that address on both ends, and is as good as one over loopback.
fn seen_as(peer: SocketAddr, own: Option<SocketAddr>) -> SocketAddr {
    let mut peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
    if own.is_some_and(|own| own.ip().to_canonical() == peer.ip()) {
        peer.set_ip(IpAddr::from([127, 0, 0, 1]));
    }
    peer
}

/// Speaks HTTP on one connection until it ends.
async fn connection<H: Handler>(
    http: &http1::Builder,
    socket: Socket<TcpStream>,
    peer: SocketAddr,
    handler: Arc<H>,
    mut closing: watch::Receiver<bool>,
) {
    let exchange = Arc::clone(socket.exchange());
    let service = service_fn(|request: Request<Incoming>| {
        let serving = exchange.begin(request.version());
        let handler = Arc::clone(&handler);
        Box::pin(async move {
            let (request, read) = RequestBody::watched(request);
            let mut response = handler.handle(request, peer).await;
            read.tell(response.headers_mut());
            let timed = |body| Timed {
                body,
                _serving: serving,
            };
            Ok::<_, Infallible>(response.map(timed))
        })
    });
    let mut connection = http.serve_connection(TokioIo::new(socket), service);
    let ended = tokio::select! {
        biased;
        ended = std::future::poll_fn(|cx| connection.poll_without_shutdown(cx)) => ended,
        () = told(&mut closing) => {
            Pin::new(&mut connection).graceful_shutdown();
            std::future::poll_fn(|cx| connection.poll_without_shutdown(cx)).await
        }
    };
    let socket = connection.into_parts().io.into_inner();
    // A reply was cut.
    if ended.is_err_and(|error| error.is_user())
        && let Some(stream) = socket.to_reset()
    {
        // Where this cannot be set, the connection is gone already.
        let _ = stream.set_zero_linger();
        return;
    }
    socket.close().await;
}

/// Waits until the connections are told to end.
async fn told(closing: &mut watch::Receiver<bool>) {
    // The sender outlives every connection.
    let _ = closing.wait_for(|closing| *closing).await;
}

/// A reply's body; when it is dropped, the reply is complete but for what is still to be flushed.
struct Timed<B> {
    body: B,
    _serving: Serving,
}

impl<B: Body + Unpin> Body for Timed<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests;
