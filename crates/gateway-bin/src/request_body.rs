//! A request's body that tells whether it was read to its end.
//!
//! A request may be answered before its body is there: hyper then closes the connection behind the
//! reply. A client that keeps connections has to hear of that, or it sends its next request into
//! the close and loses it.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{CONNECTION, HeaderValue};
use http::{HeaderMap, Request};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

pub(crate) struct RequestBody {
    incoming: Incoming,
    read: Read,
}

/// Whether a request's body was read to its end.
#[derive(Clone)]
pub(crate) struct Read(Arc<AtomicBool>);

impl RequestBody {
    /// The request with its body watched.
    pub(crate) fn watched(request: Request<Incoming>) -> (Request<RequestBody>, Read) {
        let read = Read(Arc::new(AtomicBool::new(request.body().is_end_stream())));
        let watch = read.clone();
        (request.map(|incoming| Self { incoming, read }), watch)
    }
}

impl Read {
    /// Says in the reply's headers that the connection will be closed, if it will.
    pub(crate) fn tell(&self, headers: &mut HeaderMap) {
        let said = || {
            headers
                .get_all(CONNECTION)
                .iter()
                .any(|said| said == "close")
        };
        if !self.0.load(Ordering::Relaxed) && !said() {
            headers.append(CONNECTION, HeaderValue::from_static("close"));
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.incoming).poll_frame(cx));
        if frame.is_none() || self.incoming.is_end_stream() {
            self.read.0.store(true, Ordering::Relaxed);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
