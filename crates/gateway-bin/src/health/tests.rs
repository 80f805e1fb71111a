//! What a check sees of a worker, and what becomes of the worker for it.

use gateway_route::BaseUrl;
use gateway_state::{Live, WorkerSpec};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

/// A server that answers every connection with these bytes, and its URL.
async fn server(answer: &'static str) -> (tokio::task::JoinHandle<()>, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let task = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            let read = stream.read(&mut request).await.unwrap();
            let request = std::str::from_utf8(&request[..read]).unwrap();
            assert!(
                request.starts_with("GET /base/health?deep=1 HTTP/1.1\r\n"),
                "{request}"
            );
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    (task, url)
}

async fn ask(url: &str) -> Result<u16, String> {
    let url = BaseUrl::parse(&format!("{url}/base")).unwrap();
    let state = Arc::new(State::new(Live::default(), "0"));
    Connector::new(state).status(&url, "/health?deep=1").await
}

#[tokio::test]
async fn the_status_of_the_health_path_is_what_counts() {
    for (answer, status) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", 200),
        (
            "HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/\r\ncontent-length: 0\r\n\r\n",
            302,
        ),
        ("HTTP/1.1 503 No\r\n\r\n", 503),
    ] {
        let (_task, url) = server(answer).await;
        assert_eq!(ask(&url).await, Ok(status));
    }
    let (_task, url) = server("what?\r\n\r\n").await;
    ask(&url).await.unwrap_err();
    let (_task, url) = server("").await;
    ask(&url).await.unwrap_err();
}

#[tokio::test]
async fn where_nobody_listens_the_check_fails() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let error = ask(&url).await.unwrap_err();
    assert!(error.contains("refused"), "{error}");
    let error = ask("http://169.254.169.254").await.unwrap_err();
    assert!(error.contains("metadata"), "{error}");
}

#[tokio::test]
async fn a_worker_is_found_unhealthy_and_healthy_again() {
    let settings = HealthSettings {
        interval: Duration::from_millis(1),
        path: "/health".to_owned(),
        rules: gateway_route::HealthRules {
            failures: 2,
            timeout: Duration::from_secs(5),
        },
    };
    let live = Live {
        health: settings,
        ..Live::default()
    };
    let state = Arc::new(State::new(live, "0"));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    state.workers().add(&WorkerSpec::new(&url), &[]).unwrap();
    let checks = tokio::spawn(check_workers(Arc::clone(&state)));
    // When a check begins, what came of the ones before it is known.
    for (status, healthy) in [
        ("500 No", true),
        ("500 No", true),
        ("404 No", false),
        ("200 OK", false),
        ("200 OK", true),
    ] {
        let (mut stream, _) = listener.accept().await.unwrap();
        assert_eq!(state.workers().list()[0].healthy, healthy, "{status}");
        stream.read_exact(&mut [0; 16]).await.unwrap();
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
        stream.write_all(answer.as_bytes()).await.unwrap();
    }
    checks.abort();
}
