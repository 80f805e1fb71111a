//! Connections from the first byte to the last, and what the end of serving does to them.

use std::sync::atomic::{AtomicUsize, Ordering};

use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;

use super::*;

type TestBody = UnsyncBoxBody<Bytes, io::Error>;

/// What the tests ask for, by path.
#[derive(Default)]
struct Scripted {
    requests: AtomicUsize,
    /// `/held` ends when this is told.
    release: Notify,
    /// Told when `/held` or `/endless` is under way.
    arrived: Notify,
    /// Told when a reply of `/endless` is dropped.
    dropped: Notify,
}

struct Test(Arc<Scripted>);

struct TellsDrop(Arc<Scripted>);

impl Drop for TellsDrop {
    fn drop(&mut self) {
        self.0.dropped.notify_one();
    }
}

fn text(text: &'static str) -> TestBody {
    Full::new(Bytes::from(text))
        .map_err(|never| match never {})
        .boxed_unsync()
}

impl Handler for Test {
    type Body = TestBody;

    async fn handle(&self, request: Request<RequestBody>, _peer: SocketAddr) -> Response<TestBody> {
        let script = &self.0;
        script.requests.fetch_add(1, Ordering::Relaxed);
        match request.uri().path() {
            "/held" => {
                script.arrived.notify_one();
                script.release.notified().await;
                Response::new(text("held"))
            }
            "/endless" => {
                script.arrived.notify_one();
                let (sender, receiver) = mpsc::channel::<Result<Frame<Bytes>, io::Error>>(1);
                let tells = TellsDrop(Arc::clone(script));
                let stream = futures_of(receiver, (sender, tells));
                Response::new(stream)
            }
            "/cut" => {
                let (sender, receiver) = mpsc::channel(2);
                sender
                    .try_send(Ok(Frame::data(Bytes::from_static(b"part"))))
                    .unwrap();
                sender
                    .try_send(Err(io::ErrorKind::ConnectionReset.into()))
                    .unwrap();
                Response::new(futures_of(receiver, ()))
            }
            "/early" => {
                let mut response = Response::new(text("refused"));
                *response.status_mut() = http::StatusCode::PAYLOAD_TOO_LARGE;
                response
            }
            "/echo" => match request.into_body().collect().await {
                Ok(body) => Response::new(
                    Full::new(body.to_bytes())
                        .map_err(|never| match never {})
                        .boxed_unsync(),
                ),
                Err(_) => {
                    let mut response = Response::new(text("bad body"));
                    *response.status_mut() = http::StatusCode::BAD_REQUEST;
                    response
                }
            },
            _ => Response::new(text("hello")),
        }
    }
}

/// A body of what comes over a channel; it keeps `guard` for as long as it lives.
fn futures_of<G: Send + Unpin + 'static>(
    receiver: mpsc::Receiver<Result<Frame<Bytes>, io::Error>>,
    guard: G,
) -> TestBody {
    struct Channel<G>(mpsc::Receiver<Result<Frame<Bytes>, io::Error>>, G);
    impl<G: Unpin> Body for Channel<G> {
        type Data = Bytes;
        type Error = io::Error;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
            self.0.poll_recv(cx)
        }
    }
    Channel(receiver, guard).boxed_unsync()
}

struct Running {
    address: SocketAddr,
    script: Arc<Scripted>,
    stop: Stop,
    drained: Arc<Notify>,
    task: JoinHandle<()>,
}

async fn start(max_connections: usize) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let script = Arc::new(Scripted::default());
    let clocks = Clocks {
        header: Duration::from_secs(10),
        idle: Duration::from_secs(120),
        write: Duration::from_secs(600),
    };
    let server = Server::new(listener, Test(Arc::clone(&script)), clocks, max_connections);
    let stop = Stop::default();
    let drained = Arc::new(Notify::new());
    let (ends, tells) = (stop.clone(), Arc::clone(&drained));
    let task = tokio::spawn(async move {
        let patience = Duration::from_secs(60);
        let drain = || tells.notify_one();
        server.run(&ends, patience, drain, || {}).await;
    });
    Running {
        address,
        script,
        stop,
        drained,
        task,
    }
}

async fn connect(running: &Running) -> TcpStream {
    TcpStream::connect(running.address).await.unwrap()
}

/// Everything that comes until the connection ends.
async fn rest(stream: &mut TcpStream) -> io::Result<String> {
    let mut all = Vec::new();
    stream.read_to_end(&mut all).await?;
    Ok(String::from_utf8_lossy(&all).into_owned())
}

async fn exchange(running: &Running, request: impl AsRef<[u8]>) -> io::Result<String> {
    let mut stream = connect(running).await;
    stream.write_all(request.as_ref()).await?;
    rest(&mut stream).await
}

/// Reads one reply whose body ends in `end`.
async fn reply(stream: &mut TcpStream, end: &str) -> String {
    let mut all = String::new();
    while !all.ends_with(end) {
        let mut piece = [0; 1024];
        let read = stream.read(&mut piece).await.unwrap();
        assert!(read > 0, "closed after {all:?}");
        all.push_str(std::str::from_utf8(&piece[..read]).unwrap());
    }
    all
}

#[test]
fn the_machine_s_own_address_is_as_good_as_loopback() {
    for (peer, own, expected) in [
        ("203.0.113.7:5000", "203.0.113.7:9090", "127.0.0.1:5000"),
        (
            "[::ffff:203.0.113.7]:5000",
            "203.0.113.7:9090",
            "127.0.0.1:5000",
        ),
        ("203.0.113.8:5000", "203.0.113.7:9090", "203.0.113.8:5000"),
        ("[2001:db8::1]:5000", "[2001:db8::1]:9090", "127.0.0.1:5000"),
        ("[::ffff:10.0.0.1]:5000", "10.0.0.2:9090", "10.0.0.1:5000"),
    ] {
        let seen = seen_as(peer.parse().unwrap(), own.parse().ok());
        assert_eq!(seen, expected.parse().unwrap(), "{peer} {own}");
    }
}

#[tokio::test]
async fn a_connection_serves_one_request_after_the_other() {
    let running = start(10).await;
    let mut stream = connect(&running).await;
    for _ in 0..3 {
        stream
            .write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            .await
            .unwrap();
        reply(&mut stream, "hello").await;
    }
    let pipelined = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n".repeat(2);
    stream.write_all(&pipelined).await.unwrap();
    stream.shutdown().await.unwrap();
    let answers = rest(&mut stream).await.unwrap();
    assert!(answers.matches("hello").count() >= 1, "{answers}");
}

/// hyper closes the connection when it was answered before the body came.
#[tokio::test]
async fn a_reply_says_whether_the_connection_will_be_closed() {
    let running = start(10).await;
    let cases = [
        ("GET / HTTP/1.1\r\nhost: a\r\n\r\n", "hello", false),
        (
            "POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nbody",
            "body",
            false,
        ),
        (
            "POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
            "body",
            false,
        ),
        (
            "POST /early HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n",
            "refused",
            false,
        ),
        (
            "POST /early HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\n",
            "refused",
            true,
        ),
        (
            "POST /early HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n",
            "refused",
            true,
        ),
    ];
    for (request, end, closes) in cases {
        let mut stream = connect(&running).await;
        stream.write_all(request.as_bytes()).await.unwrap();
        let answer = reply(&mut stream, end).await;
        let says = answer.contains("connection: close\r\n");
        assert_eq!(says, closes, "{request}{answer}");
        if closes {
            assert_eq!(rest(&mut stream).await.unwrap(), "");
        } else {
            let again = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";
            stream.write_all(again).await.unwrap();
            reply(&mut stream, "hello").await;
        }
    }
}

#[tokio::test]
async fn an_idle_server_ends_at_once_even_with_connections_open() {
    let running = start(10).await;
    let _silent = connect(&running).await;
    let mut kept = connect(&running).await;
    kept.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    reply(&mut kept, "hello").await;
    let mut begun = connect(&running).await;
    begun.write_all(b"GET / HT").await.unwrap();
    let asked = Instant::now();
    running.stop.request();
    running.task.await.unwrap();
    assert!(asked.elapsed() < Duration::from_secs(1));
    assert_eq!(rest(&mut kept).await.unwrap(), "");
}

#[tokio::test]
async fn a_drain_waits_for_what_is_under_way_and_still_answers() {
    let running = start(10).await;
    let mut held = connect(&running).await;
    held.write_all(b"GET /held HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    running.script.arrived.notified().await;
    running.stop.request();
    running.drained.notified().await;
    let answer = exchange(
        &running,
        "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
    )
    .await;
    assert!(answer.unwrap().ends_with("hello"));
    assert!(!running.task.is_finished());
    running.script.release.notify_one();
    assert!(rest(&mut held).await.unwrap().ends_with("held"));
    running.task.await.unwrap();
}

#[tokio::test]
async fn a_second_request_to_end_cuts_what_is_under_way() {
    let running = start(10).await;
    let mut endless = connect(&running).await;
    endless
        .write_all(b"GET /endless HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    running.script.arrived.notified().await;
    running.stop.request();
    running.drained.notified().await;
    running.stop.request();
    running.script.dropped.notified().await;
    running.task.await.unwrap();
}

#[tokio::test]
async fn a_client_that_leaves_drops_its_reply() {
    let running = start(10).await;
    let mut endless = connect(&running).await;
    endless
        .write_all(b"GET /endless HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    running.script.arrived.notified().await;
    drop(endless);
    running.script.dropped.notified().await;
}

/// While hyper keeps a later request's bytes, it reads nothing more from the client.
#[tokio::test]
async fn a_client_that_leaves_while_a_later_request_waits_is_noticed() {
    // A busy machine may be late, but not always.
    let mut fastest = Duration::MAX;
    for reset in [false, true] {
        let running = start(10).await;
        let mut endless = connect(&running).await;
        let request = "GET /endless HTTP/1.1\r\nhost: a\r\n\r\n";
        endless
            .write_all(request.repeat(2).as_bytes())
            .await
            .unwrap();
        running.script.arrived.notified().await;
        let left = Instant::now();
        if reset {
            endless.set_zero_linger().unwrap();
        }
        drop(endless);
        running.script.dropped.notified().await;
        fastest = fastest.min(left.elapsed());
    }
    assert!(fastest < Duration::from_secs(1), "{fastest:?}");
}

#[tokio::test]
async fn a_client_that_waits_for_two_replies_gets_both() {
    let running = start(10).await;
    let mut stream = connect(&running).await;
    let request = "GET /held HTTP/1.1\r\nhost: a\r\n\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    running.script.arrived.notified().await;
    // It is looked at meanwhile.
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(5)).await;
    tokio::time::resume();
    running.script.release.notify_one();
    let replies = reply(&mut stream, "hello").await;
    assert!(replies.contains("held"), "{replies}");
}

#[tokio::test]
async fn connections_past_the_limit_wait_to_be_accepted() {
    let running = start(1).await;
    let mut first = connect(&running).await;
    first
        .write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    reply(&mut first, "hello").await;
    let mut second = connect(&running).await;
    second
        .write_all(b"GET /held HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    first
        .write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    reply(&mut first, "hello").await;
    assert_eq!(running.script.requests.load(Ordering::Relaxed), 2);
    drop(first);
    running.script.arrived.notified().await;
    running.script.release.notify_one();
    reply(&mut second, "held").await;
}

/// A reply that breaks off must not look complete: not by its framing, and where it has none, not
/// by an ordinary close.
#[tokio::test]
async fn a_cut_reply_looks_cut() {
    let running = start(10).await;
    let chunked = exchange(&running, "GET /cut HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let chunked = chunked.unwrap_or_default();
    assert!(!chunked.contains("\r\n0\r\n"), "{chunked}");
    let close_delimited = exchange(&running, "GET /cut HTTP/1.0\r\nhost: a\r\n\r\n").await;
    let error = close_delimited.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn an_early_answer_reaches_a_client_that_is_still_sending() {
    let running = start(10).await;
    let body = vec![b'x'; 4 << 20];
    let mut stream = connect(&running).await;
    let head = format!(
        "POST /early HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&body).await.unwrap();
    let answer = rest(&mut stream).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(answer.ends_with("refused"), "{answer}");
}

/// What hyper's parser refuses it answers itself, and the answer arrives although more is being
/// sent (bad input, rows 1, 2, 7, 10 and 13).
#[tokio::test]
async fn bad_framing_is_refused_and_closes() {
    let running = start(10).await;
    let next = "GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n";
    let long = "a".repeat(200 << 10);
    let many = "x: 1\r\n".repeat(101);
    let cases: [(&str, &str); 14] = [
        (
            "GET / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nx",
            "400",
        ),
        (
            "GET / HTTP/1.1\r\nhost: a\r\ncontent-length: +1\r\n\r\nx",
            "400",
        ),
        (
            "GET / HTTP/1.1\r\nhost: a\r\ncontent-length: 0x1\r\n\r\nx",
            "400",
        ),
        (
            "GET / HTTP/1.1\r\nhost: a\r\ncontent-length: 99999999999999999999\r\n\r\nx",
            "400",
        ),
        (
            "GET / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip\r\n\r\n",
            "400",
        ),
        (
            "POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
            "400",
        ),
        (
            "POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n1\r\nxx\r\n",
            "400",
        ),
        ("GET / HTTP/1.1\r\nhost: a\r\nx: a\0b\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nhost: a\r\nx : a\r\n\r\n", "400"),
        (
            "GET / HTTP/1.1\r\nhost: a\r\nx: a\r\n folded\r\n\r\n",
            "400",
        ),
        ("GET / HTTP/9.9\r\nhost: a\r\n\r\n", "400"),
        ("\u{16}\u{3}\u{1}\u{2} a TLS hello\r\n\r\n", "400"),
        (&format!("GET / HTTP/1.1\r\nhost: a\r\n{many}\r\n"), "431"),
        (
            &format!("GET / HTTP/1.1\r\nhost: a\r\nx: {long}\r\n\r\n"),
            "431",
        ),
    ];
    for (request, status) in cases {
        let shown = &request[..request.len().min(90)];
        let answer = exchange(&running, format!("{request}{next}")).await;
        let answer = answer.unwrap_or_else(|error| panic!("{shown:?}: {error}"));
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{shown:?}: {answer:?}"
        );
        assert!(!answer.contains("hello"), "smuggled: {shown:?}");
    }
    let long_target = format!("GET /{long} HTTP/1.1\r\nhost: a\r\n\r\n");
    let answer = exchange(&running, long_target).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 414 "), "{answer:?}");
}

/// Both framings at once: hyper reads the chunks, and nothing after them on that connection.
#[tokio::test]
async fn a_smuggled_request_never_runs() {
    let running = start(10).await;
    let answer = exchange(
        &running,
        "POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n\
         0\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n",
    )
    .await;
    assert!(!answer.unwrap().contains("hello"));
}

#[tokio::test]
async fn an_upgrade_is_an_ordinary_request() {
    let running = start(10).await;
    let answer = exchange(
        &running,
        "GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade, http2-settings\r\nupgrade: h2c\r\n\
         http2-settings: AA\r\n\r\nGET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
    )
    .await
    .unwrap();
    assert_eq!(answer.matches("HTTP/1.1 200 OK").count(), 2, "{answer}");
}
