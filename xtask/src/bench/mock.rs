//! The mock upstream: raw hyper and prebuilt replies, so that it costs little.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, Interval, MissedTickBehavior};

use super::payload;
use super::process::announce;

/// Serves until it is killed.
pub(crate) async fn serve() -> Result<(), String> {
    let (whole, events) = (payload::whole(), payload::events());
    let listener = announce().await?;
    loop {
        let (stream, _) = listener.accept().await.map_err(|e| e.to_string())?;
        stream.set_nodelay(true).map_err(|e| e.to_string())?;
        let (whole, events) = (whole.clone(), events.clone());
        let service = service_fn(move |request: Request<Incoming>| {
            let (whole, events) = (whole.clone(), events.clone());
            async move { answer(request, whole, events).await }
        });
        tokio::spawn(async move {
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service);
            // A load generator that leaves is no news.
            let _ = connection.await;
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    whole: Bytes,
    events: Vec<Bytes>,
) -> Result<Response<Reply>, Infallible> {
    let kind = request.headers().get("x-bench").cloned();
    let mut body = request.into_body();
    while let Some(Ok(_)) = body.frame().await {}
    let streamed = kind.as_ref().is_some_and(|kind| kind != "plain");
    let reply = match kind.as_ref().map(HeaderValue::as_bytes) {
        Some(b"plain") => Reply::Whole(Some(whole)),
        Some(b"stream") => Reply::stream(events, None),
        Some(b"gap") => Reply::stream(events, Some(Duration::from_millis(5))),
        _ => Reply::Whole(Some(Bytes::new())),
    };
    let mut response = Response::new(reply);
    let content_type = match streamed {
        true => "text/event-stream; charset=utf-8",
        false => "application/json",
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::SERVER, HeaderValue::from_static("uvicorn"));
    Ok(response)
}

/// A prebuilt reply.
enum Reply {
    Whole(Option<Bytes>),
    Stream {
        events: std::vec::IntoIter<Bytes>,
        pace: Option<Interval>,
    },
}

impl Reply {
    fn stream(events: Vec<Bytes>, gap: Option<Duration>) -> Reply {
        let pace = gap.map(|gap| {
            let mut pace = tokio::time::interval_at(Instant::now(), gap);
            pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
            pace
        });
        Reply::Stream {
            events: events.into_iter(),
            pace,
        }
    }
}

impl Body for Reply {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = match self.get_mut() {
            Reply::Whole(body) => body.take(),
            Reply::Stream { events, pace } => {
                if let Some(pace) = pace.as_mut().filter(|_| events.len() > 0) {
                    ready!(pace.poll_tick(context));
                }
                events.next()
            }
        };
        Poll::Ready(next.map(|data| Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Reply::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Reply::Whole(Some(body)) => SizeHint::with_exact(body.len() as u64),
            Reply::Whole(None) => SizeHint::with_exact(0),
            Reply::Stream { .. } => SizeHint::default(),
        }
    }
}
