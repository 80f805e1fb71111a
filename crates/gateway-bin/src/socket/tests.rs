//! When a connection is closed for its silence.

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::*;

const CLOCKS: Clocks = Clocks {
    header: Duration::from_secs(10),
    idle: Duration::from_secs(120),
    write: Duration::from_secs(600),
};

impl Peer for DuplexStream {
    fn has_left(&self) -> bool {
        false
    }
}

fn pair(buffer: usize) -> (Socket<DuplexStream>, DuplexStream, Arc<Activity>) {
    let (ours, theirs) = duplex(buffer);
    let activity = Arc::new(Activity::default());
    (Socket::new(ours, CLOCKS, &activity), theirs, activity)
}

/// Reads until something is wrong or the stream ends, and tells when, in seconds.
async fn read_to_the_end(socket: &mut Socket<DuplexStream>) -> (io::Result<usize>, u64) {
    let start = Instant::now();
    let mut all = Vec::new();
    let ended = socket.read_to_end(&mut all).await;
    (ended, start.elapsed().as_secs())
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_ends_quietly() {
    let (mut socket, _client, _) = pair(64);
    let (ended, after) = read_to_the_end(&mut socket).await;
    assert_eq!((ended.unwrap(), after), (0, 120));
}

#[tokio::test(start_paused = true)]
async fn a_head_is_timed_from_its_first_byte() {
    let (mut socket, mut client, _) = pair(64);
    let trickle = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(100)).await;
        loop {
            if client.write_all(b"G").await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_secs(4)).await;
        }
    });
    let (ended, after) = read_to_the_end(&mut socket).await;
    assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::TimedOut);
    assert_eq!(after, 110);
    drop(socket);
    trickle.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_call_under_way_is_not_timed_and_the_idle_wait_begins_after_it() {
    let (mut socket, mut client, _) = pair(64);
    client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut head = [0; 18];
    socket.read_exact(&mut head).await.unwrap();
    let serving = socket.exchange().begin(http::Version::HTTP_11);
    let read = read_to_the_end(&mut socket);
    let under_way = tokio::time::timeout(Duration::from_secs(100_000), read).await;
    assert!(under_way.is_err(), "the reply takes as long as it takes");
    drop(serving);
    let (ended, after) = read_to_the_end(&mut socket).await;
    assert_eq!((ended.unwrap(), after), (0, 120));
}

/// Nobody may have read while the request was there.
#[tokio::test(start_paused = true)]
async fn a_call_that_came_and_went_unnoticed_starts_the_clock_anew() {
    let (mut socket, mut client, _) = pair(64);
    client.write_all(b"G").await.unwrap();
    socket.read_u8().await.unwrap();
    drop(socket.exchange().begin(http::Version::HTTP_11));
    tokio::time::advance(Duration::from_secs(60)).await;
    let (ended, after) = read_to_the_end(&mut socket).await;
    assert_eq!((ended.unwrap(), after), (0, 120));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_stops_reading_is_left() {
    let (mut socket, mut client, _) = pair(8);
    let start = Instant::now();
    let reader = tokio::spawn(async move {
        // It reads a little, late, and never again.
        tokio::time::sleep(Duration::from_secs(500)).await;
        client.read_u8().await.unwrap();
        client
    });
    let error = socket.write_all(&[b'x'; 64]).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert_eq!(start.elapsed().as_secs(), 500 + 600);
    reader.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_target_without_end_is_refused() {
    let (mut socket, mut client, _) = pair(256 << 10);
    client.write_all(&[b'a'; 100 << 10]).await.unwrap();
    let mut all = Vec::new();
    socket.read_to_end(&mut all).await.unwrap();
    assert!(all.len() <= MAX_REQUEST_LINE, "{}", all.len());
    socket.close().await;
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 414 URI Too Long\r\n"),
        "{answer}"
    );
    assert!(
        answer.ends_with('}') && answer.contains("uri_too_long"),
        "{answer}"
    );
}

#[tokio::test(start_paused = true)]
async fn long_headers_are_no_long_target() {
    let (mut socket, mut client, _) = pair(256 << 10);
    client.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    client.write_all(&[b'a'; 60 << 10]).await.unwrap();
    let mut head = vec![0; 60 << 10];
    socket.read_exact(&mut head).await.unwrap();
    assert!(socket.refusal.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_request_counts_until_its_reply_is_flushed() {
    let (mut socket, _client, activity) = pair(64);
    let exchange = Arc::clone(socket.exchange());
    assert_eq!(activity.count(), 0);
    let serving = exchange.begin(http::Version::HTTP_11);
    socket.flush().await.unwrap();
    assert_eq!(activity.count(), 1, "a flush in between is not the end");
    drop(serving);
    assert_eq!(activity.count(), 1, "not flushed yet");
    drop(exchange.begin(http::Version::HTTP_11));
    assert_eq!(activity.count(), 1, "the next one on the same connection");
    socket.flush().await.unwrap();
    assert_eq!(activity.count(), 0);
    activity.wait_for_none().await;

    let serving = exchange.begin(http::Version::HTTP_11);
    assert_eq!(activity.count(), 1);
    drop(socket);
    assert_eq!(activity.count(), 0, "the connection is gone");
    drop(serving);
    assert_eq!(activity.count(), 0);
}

/// A client that is still sending must be able to read the answer that it got early.
#[tokio::test(start_paused = true)]
async fn closing_reads_what_is_still_on_its_way() {
    let (socket, mut client, _) = pair(8);
    let closing = tokio::spawn(socket.close());
    client.write_all(&[b'x'; 1024]).await.unwrap();
    let mut end = Vec::new();
    client.read_to_end(&mut end).await.unwrap();
    drop(client);
    closing.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn closing_does_not_wait_for_ever() {
    let (socket, client, _) = pair(8);
    let start = Instant::now();
    socket.close().await;
    assert_eq!(start.elapsed(), LINGER);
    drop(client);
}
