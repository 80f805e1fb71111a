//! The floor: what any proxy of this stack costs. hyper's server, hyper-util's
//! pooled client, no parsing and no record; with `sync`, 10 KiB are appended to
//! a file and synced (by group commit) before a reply ends.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::mpsc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, Uri};
use hyper::body::{Body, Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::sync::oneshot;

use super::process::announce;

/// What is appended for each reply.
const RECORD: [u8; 10 * 1024] = [b'r'; 10 * 1024];

/// Serves until it is killed.
pub(crate) async fn serve(upstream: &str, sync: Option<PathBuf>) -> Result<(), String> {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client: Client<_, Incoming> = Client::builder(TokioExecutor::new()).build(connector);
    let syncer = sync.as_deref().map(Syncer::start).transpose()?;
    let authority = upstream.trim_start_matches("http://").to_owned();
    let listener = announce().await?;
    loop {
        let (stream, _) = listener.accept().await.map_err(|e| e.to_string())?;
        stream.set_nodelay(true).map_err(|e| e.to_string())?;
        let (client, syncer, authority) = (client.clone(), syncer.clone(), authority.clone());
        let service = service_fn(move |request: Request<Incoming>| {
            let (client, syncer) = (client.clone(), syncer.clone());
            let request = forwarded(request, &authority);
            async move {
                let response = client.request(request).await?;
                Ok::<_, hyper_util::client::legacy::Error>(
                    response.map(|body| Held::new(body, syncer)),
                )
            }
        });
        tokio::spawn(async move {
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service);
            let _ = connection.await;
        });
    }
}

fn forwarded(mut request: Request<Incoming>, authority: &str) -> Request<Incoming> {
    let path = request
        .uri()
        .path_and_query()
        .map_or("/", |path| path.as_str());
    let uri = format!("http://{authority}{path}").parse::<Uri>();
    *request.uri_mut() = uri.expect("a path that came as one");
    request.headers_mut().remove(http::header::HOST);
    request
}

/// Appends records and syncs them, many at once when many wait.
#[derive(Clone)]
struct Syncer {
    queue: mpsc::Sender<oneshot::Sender<()>>,
}

impl Syncer {
    fn start(folder: &Path) -> Result<Syncer, String> {
        let path = folder.join("floor.log");
        let mut file = File::create(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        let (queue, waiting) = mpsc::channel::<oneshot::Sender<()>>();
        std::thread::spawn(move || {
            while let Ok(first) = waiting.recv() {
                let batch: Vec<_> = std::iter::once(first).chain(waiting.try_iter()).collect();
                let written = batch.iter().try_for_each(|_| file.write_all(&RECORD));
                written
                    .and_then(|()| file.sync_data())
                    .expect("the disk writes");
                for waiter in batch {
                    let _ = waiter.send(());
                }
            }
        });
        Ok(Syncer { queue })
    }

    fn record(&self) -> oneshot::Receiver<()> {
        let (done, receipt) = oneshot::channel();
        // The thread lives as long as its queue.
        let _ = self.queue.send(done);
        receipt
    }
}

/// The reply's body; its last frame, or its end, waits for the sync.
struct Held {
    inner: Incoming,
    syncer: Option<Syncer>,
    last: Option<Frame<Bytes>>,
    receipt: Option<oneshot::Receiver<()>>,
    ended: bool,
}

impl Held {
    fn new(inner: Incoming, syncer: Option<Syncer>) -> Held {
        Held {
            inner,
            syncer,
            last: None,
            receipt: None,
            ended: false,
        }
    }
}

impl Body for Held {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = self.get_mut();
        let Some(syncer) = &this.syncer else {
            return Pin::new(&mut this.inner).poll_frame(context);
        };
        if this.receipt.is_none() && !this.ended {
            let frame = ready!(Pin::new(&mut this.inner).poll_frame(context)).transpose()?;
            let last = this.inner.is_end_stream();
            match frame {
                Some(frame) if !last => return Poll::Ready(Some(Ok(frame))),
                frame => this.last = frame,
            }
            this.receipt = Some(syncer.record());
        }
        if let Some(receipt) = &mut this.receipt {
            let _ = ready!(Pin::new(receipt).poll(context));
            this.receipt = None;
            this.ended = true;
        }
        Poll::Ready(this.last.take().map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        match self.syncer {
            None => self.inner.is_end_stream(),
            Some(_) => self.ended && self.last.is_none(),
        }
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        match &self.last {
            None => self.inner.size_hint(),
            Some(_) => hyper::body::SizeHint::default(),
        }
    }
}
