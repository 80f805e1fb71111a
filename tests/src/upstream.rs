//! A scriptable inference server on a real socket.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};

use crate::script::Step;
use crate::wire::{Framing, Head, Wire};
use crate::{Gate, Script, eventually, vllm, within};

/// A request as it came, byte for byte.
#[derive(Clone, Debug)]
pub struct Received {
    head: Head,
    /// The body, out of its chunks if it came in chunks.
    pub body: Vec<u8>,
    /// Counts connections from 0.
    pub connection: usize,
}

impl Received {
    /// The request's head, every byte of it.
    #[must_use]
    pub fn raw_head(&self) -> &[u8] {
        &self.head.raw
    }

    /// The method.
    #[must_use]
    pub fn method(&self) -> &str {
        self.head.first.split(' ').next().unwrap_or_default()
    }

    /// The request target as it was sent.
    #[must_use]
    pub fn target(&self) -> &str {
        self.head.first.split(' ').nth(1).unwrap_or_default()
    }

    /// Header names and values in the order in which they came.
    #[must_use]
    pub fn headers(&self) -> &[(String, String)] {
        &self.head.headers
    }

    /// The first header of this name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.header(name)
    }

    /// The body as text.
    ///
    /// # Panics
    ///
    /// If it is not UTF-8.
    #[must_use]
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is UTF-8")
    }

    /// The body as JSON; null if it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

type Handler = dyn Fn(&Received) -> Script + Send + Sync;

struct Shared {
    handler: Box<Handler>,
    received: Mutex<Vec<Received>>,
    count: watch::Sender<usize>,
    checks: watch::Sender<usize>,
    healthy: AtomicBool,
}

impl Shared {
    fn record(&self, request: Received) {
        let received = self.received.lock();
        let mut received = received.unwrap_or_else(PoisonError::into_inner);
        received.push(request);
        self.count.send_replace(received.len());
    }
}

/// A server on a free port of loopback, on a thread of its own; it ends when
/// it is dropped. `GET /health` is answered with 200 (or 500, as
/// [`Upstream::set_healthy`] has it), counted, and not recorded.
pub struct Upstream {
    address: SocketAddr,
    shared: Arc<Shared>,
    _stop: oneshot::Sender<()>,
}

impl Upstream {
    /// Starts a server that asks `handler` for the answer to each request.
    ///
    /// # Panics
    ///
    /// If no port can be had.
    pub fn start(handler: impl Fn(&Received) -> Script + Send + Sync + 'static) -> Upstream {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("non-blocking");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared {
            handler: Box::new(handler),
            received: Mutex::default(),
            count: watch::Sender::new(0),
            checks: watch::Sender::new(0),
            healthy: AtomicBool::new(true),
        });
        let (stop, stopped) = oneshot::channel();
        let serving = Arc::clone(&shared);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener).expect("a listener");
                tokio::select! {
                    () = accept(listener, serving) => {}
                    _ = stopped => {}
                }
            });
        });
        Upstream {
            address,
            shared,
            _stop: stop,
        }
    }

    /// A server that answers as vLLM does: see [`vllm::reply`].
    #[must_use]
    pub fn vllm() -> Upstream {
        Upstream::start(vllm::reply)
    }

    /// The same, but nothing is answered until the gate is open.
    #[must_use]
    pub fn vllm_behind(gate: &Gate) -> Upstream {
        let gate = gate.clone();
        Upstream::start(move |request| vllm::reply(request).after(Script::new().wait(&gate)))
    }

    /// A server that gives every request the same answer.
    #[must_use]
    pub fn always(script: Script) -> Upstream {
        Upstream::start(move |_| script.clone())
    }

    /// A server that gives the first request the first of these answers, the
    /// next one the next, and all further ones the last.
    ///
    /// # Panics
    ///
    /// If there is no answer.
    #[must_use]
    pub fn in_turn(scripts: impl IntoIterator<Item = Script>) -> Upstream {
        let scripts: Vec<Script> = scripts.into_iter().collect();
        assert!(!scripts.is_empty(), "an answer");
        let turn = AtomicUsize::new(0);
        Upstream::start(move |_| {
            let turn = turn.fetch_add(1, Ordering::SeqCst);
            scripts[turn.min(scripts.len() - 1)].clone()
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its base URL, without a path.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Every request so far whose head and body were read in full.
    #[must_use]
    pub fn received(&self) -> Vec<Received> {
        let received = self.shared.received.lock();
        received.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Lets go of the requests so far.
    pub fn forget(&self) {
        let received = self.shared.received.lock();
        received.unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// The one request that it has received.
    ///
    /// # Panics
    ///
    /// If there were none, or several.
    pub fn only(&self) -> Received {
        let mut received = self.received();
        assert_eq!(received.len(), 1, "requests at the upstream");
        received.remove(0)
    }

    /// Waits until so many requests have been received.
    pub async fn wait_for(&self, count: usize) {
        let mut watch = self.shared.count.subscribe();
        let reached = watch.wait_for(|received| *received >= count);
        let _ = within("requests at the upstream", reached).await;
    }

    /// Stops it, and waits until its port refuses connections.
    pub async fn stop(self) {
        let address = self.address;
        drop(self);
        eventually("a port that refuses", async || {
            let connected = TcpStream::connect(address).await;
            connected.is_err().then_some(())
        })
        .await;
    }

    /// Whether its health path answers well from now on.
    pub fn set_healthy(&self, healthy: bool) {
        self.shared.healthy.store(healthy, Ordering::SeqCst);
    }

    /// Waits for so many more health checks.
    pub async fn wait_for_checks(&self, more: usize) {
        let mut watch = self.shared.checks.subscribe();
        let wanted = *watch.borrow() + more;
        let reached = watch.wait_for(|checks| *checks >= wanted);
        let _ = within("health checks", reached).await;
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = 0;
    while let Ok((stream, _)) = listener.accept().await {
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            // A peer that leaves ends its own connection and nothing else.
            let _ = serve(stream, connections, &shared).await;
        });
        connections += 1;
    }
}

async fn serve(stream: TcpStream, connection: usize, shared: &Shared) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut wire = Wire::new(stream);
    while let Some(head) = wire.head().await? {
        let mut framing = match (
            head.header("transfer-encoding"),
            head.header("content-length"),
        ) {
            (Some(_), _) => Framing::Chunked(0),
            (None, Some(length)) => Framing::Length(length.parse().map_err(io::Error::other)?),
            (None, None) => Framing::Ended,
        };
        let mut body = Vec::new();
        loop {
            let piece = wire.piece(&mut framing).await?;
            if piece.is_empty() {
                break;
            }
            body.extend_from_slice(&piece);
        }
        let request = Received {
            head,
            body,
            connection,
        };
        if request.method() == "GET" && request.target() == "/health" {
            let status = match shared.healthy.load(Ordering::SeqCst) {
                true => "200 OK",
                false => "500 Not Well",
            };
            play(&mut wire, Script::whole(status, &[], "")).await?;
            shared.checks.send_modify(|checks| *checks += 1);
            continue;
        }
        let script = (shared.handler)(&request);
        shared.record(request);
        if !play(&mut wire, script).await? {
            break;
        }
    }
    Ok(())
}

/// Plays a script; false when the connection is to be closed.
async fn play(wire: &mut Wire, script: Script) -> io::Result<bool> {
    for step in script.steps {
        match step {
            Step::Send(bytes) => wire.stream.write_all(&bytes).await?,
            Step::Wait(gate) => gate.opened().await,
            Step::Open(gate) => gate.open(),
            Step::Gone(gate) => {
                let mut byte = [0];
                // A reset is as good as an end here.
                while matches!(wire.stream.read(&mut byte).await, Ok(1)) {}
                gate.open();
                return Ok(false);
            }
            Step::Reset => {
                wire.stream.set_zero_linger()?;
                return Ok(false);
            }
            Step::Close => {
                wire.stream.shutdown().await?;
                return Ok(false);
            }
        }
    }
    Ok(true)
}
