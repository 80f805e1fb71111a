//! The load generator: a closed loop of N connections, or an open loop at a
//! fixed rate, which measures from the time at which a call was due, so that
//! waiting is not hidden.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::payload::{self, Kind};

/// What to send.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Load {
    /// Where to.
    #[arg(long)]
    pub(crate) address: SocketAddr,
    #[arg(long)]
    pub(crate) kind: Kind,
    /// Connections; each makes one call at a time.
    #[arg(long)]
    pub(crate) connections: usize,
    /// Calls a second; without it, each connection calls as fast as it can.
    #[arg(long)]
    pub(crate) rate: Option<u32>,
    /// Calls in all.
    #[arg(long)]
    pub(crate) calls: usize,
    /// Begins the session ids, so that no two runs share one.
    #[arg(long)]
    pub(crate) session: String,
}

/// What was seen; times in milliseconds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Seen {
    pub(crate) calls: usize,
    pub(crate) failures: usize,
    pub(crate) seconds: f64,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    /// To the first byte of the body.
    pub(crate) first_p50: f64,
    pub(crate) first_p99: f64,
}

/// A connection makes so many calls for one session before the next.
const TURNS: usize = 20;

struct Tally {
    /// Latency, and time to the first byte.
    times: Vec<(Duration, Duration)>,
    failures: usize,
}

/// Sends the load from a runtime of one thread.
pub(crate) async fn run(load: Load) -> Result<Seen, String> {
    let tally = Rc::new(RefCell::new(Tally {
        times: Vec::with_capacity(load.calls),
        failures: 0,
    }));
    let (due, mut dues) = mpsc::unbounded_channel::<Instant>();
    let started = Instant::now();
    if let Some(rate) = load.rate {
        // A thread of its own: the runtime's timer is too coarse.
        let (gap, calls) = (Duration::from_secs(1) / rate, load.calls);
        std::thread::spawn(move || {
            for call in 0..calls {
                let at = started + gap * u32::try_from(call).expect("few calls");
                std::thread::sleep(at.saturating_duration_since(Instant::now()));
                let _ = due.send(at);
            }
        });
    } else {
        drop(due);
    }
    let local = tokio::task::LocalSet::new();
    let left = Rc::new(Cell::new(load.calls));
    let (idle, mut idlers) = mpsc::unbounded_channel::<Connection>();
    for number in 0..load.connections {
        let connection = Connection::open(&load, number).await?;
        let _ = idle.send(connection);
    }
    local
        .run_until(async {
            let mut tasks = Vec::new();
            if load.rate.is_some() {
                while let Some(at) = dues.recv().await {
                    let mut connection = idlers.recv().await.expect("we hold a sender");
                    let (tally, idle) = (Rc::clone(&tally), idle.clone());
                    tasks.push(tokio::task::spawn_local(async move {
                        connection.call(at, &tally).await;
                        let _ = idle.send(connection);
                    }));
                }
            } else {
                while let Ok(mut connection) = idlers.try_recv() {
                    let (tally, left) = (Rc::clone(&tally), Rc::clone(&left));
                    tasks.push(tokio::task::spawn_local(async move {
                        while left.get() > 0 {
                            left.set(left.get() - 1);
                            connection.call(Instant::now(), &tally).await;
                        }
                    }));
                }
            }
            for task in tasks {
                task.await.map_err(|e| e.to_string())?;
            }
            Ok::<(), String>(())
        })
        .await?;
    let seconds = started.elapsed().as_secs_f64();
    let tally = tally.borrow();
    if tally.times.is_empty() {
        return Err(format!("none of {} calls went through", tally.failures));
    }
    let mut latencies: Vec<f64> = Vec::new();
    let mut firsts: Vec<f64> = Vec::new();
    for (latency, first) in &tally.times {
        latencies.push(latency.as_secs_f64() * 1000.0);
        firsts.push(first.as_secs_f64() * 1000.0);
    }
    latencies.sort_by(f64::total_cmp);
    firsts.sort_by(f64::total_cmp);
    Ok(Seen {
        calls: tally.times.len(),
        failures: tally.failures,
        seconds,
        p50: quantile(&latencies, 0.5),
        p99: quantile(&latencies, 0.99),
        first_p50: quantile(&firsts, 0.5),
        first_p99: quantile(&firsts, 0.99),
    })
}

/// The value below which this share of the sorted values lies.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let at = (sorted.len() as f64 * share) as usize;
    sorted
        .get(at.min(sorted.len().saturating_sub(1)))
        .copied()
        .unwrap_or(f64::NAN)
}

/// One keep-alive connection and its prebuilt request.
struct Connection {
    stream: TcpStream,
    address: SocketAddr,
    name: String,
    calls: usize,
    /// The request around the session's id.
    before: String,
    after: String,
    buffer: Vec<u8>,
}

impl Connection {
    async fn open(load: &Load, number: usize) -> Result<Connection, String> {
        let body = payload::request(load.kind);
        let before = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\n\
             accept: application/json\r\nuser-agent: OpenAI/Python 3.54.0\r\nx-bench: {}\r\n\
             x-rllm-run-id: bench\r\nx-rllm-session-id: ",
            load.address,
            load.kind.name(),
        );
        let after = format!("\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        Ok(Connection {
            stream: connect(load.address).await?,
            address: load.address,
            name: format!("{}-{number}", load.session),
            calls: 0,
            before,
            after,
            buffer: Vec::with_capacity(64 * 1024),
        })
    }

    /// Makes one call that was due at this time.
    async fn call(&mut self, due: Instant, tally: &RefCell<Tally>) {
        let session = format!("{}-{}", self.name, self.calls / TURNS);
        self.calls += 1;
        let request = [&*self.before, &session, &self.after].concat();
        let outcome = self.exchange(request.as_bytes()).await;
        if let Ok(first) = outcome {
            let mut tally = tally.borrow_mut();
            tally.times.push((due.elapsed(), first - due));
            return;
        }
        tally.borrow_mut().failures += 1;
        if let Ok(stream) = connect(self.address).await {
            self.stream = stream;
        }
    }

    /// Sends a request and reads its reply; gives the time of the body's first
    /// byte.
    async fn exchange(&mut self, request: &[u8]) -> Result<Instant, String> {
        self.stream
            .write_all(request)
            .await
            .map_err(|e| e.to_string())?;
        self.buffer.clear();
        let mut body = None;
        loop {
            let read = self.stream.read_buf(&mut self.buffer).await;
            if read.map_err(|e| e.to_string())? == 0 {
                return Err("closed".to_owned());
            }
            if body.is_none() {
                body = Head::of(&self.buffer)?;
            }
            let Some((head, first)) = &mut body else {
                continue;
            };
            if self.buffer.len() > head.length {
                first.get_or_insert_with(Instant::now);
            }
            let whole = match head.content {
                Some(content) => self.buffer.len() >= head.length + content,
                None => self.buffer.ends_with(b"\r\n0\r\n\r\n"),
            };
            if whole {
                return first.ok_or_else(|| "an empty body".to_owned());
            }
        }
    }
}

/// As much of a reply's head as is needed to find its end.
struct Head {
    length: usize,
    /// The body's length; none if it is in chunks.
    content: Option<usize>,
}

impl Head {
    fn of(buffer: &[u8]) -> Result<Option<(Head, Option<Instant>)>, String> {
        let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") else {
            return Ok(None);
        };
        let text = String::from_utf8_lossy(&buffer[..end]).to_ascii_lowercase();
        if !text.starts_with("http/1.1 200") {
            return Err(text);
        }
        let length = text
            .lines()
            .find_map(|line| line.strip_prefix("content-length:"));
        let content = match length {
            Some(length) => Some(length.trim().parse().map_err(|_| text.clone())?),
            None => None,
        };
        let head = Head {
            length: end + 4,
            content,
        };
        Ok(Some((head, None)))
    }
}

async fn connect(address: SocketAddr) -> Result<TcpStream, String> {
    let stream = TcpStream::connect(address).await;
    let stream = stream.map_err(|e| format!("{address}: {e}"))?;
    stream.set_nodelay(true).map_err(|e| e.to_string())?;
    Ok(stream)
}
