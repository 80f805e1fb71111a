//! The body of every answer of the data plane.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use crate::tee::{BodyError, Tee};

/// The body of an answer: bytes that are there already, or a reply on its way from an upstream.
pub struct Body(Kind);

enum Kind {
    Full(Bytes),
    Tee(Box<Tee>),
    /// Aborted: the record is not on disk, and the reply may not end without it.
    NoReceipt,
}

impl Body {
    pub(crate) fn tee(tee: Tee) -> Self {
        Self(Kind::Tee(Box::new(tee)))
    }

    pub(crate) fn without_receipt() -> Self {
        Self(Kind::NoReceipt)
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self(Kind::Full(bytes))
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut self.0 {
            Kind::Full(bytes) if bytes.is_empty() => Poll::Ready(None),
            Kind::Full(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Kind::Tee(tee) => tee.poll_frame(cx),
            Kind::NoReceipt => Poll::Ready(Some(Err(BodyError::NoReceipt))),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.0, Kind::Full(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Tee(_) | Kind::NoReceipt => SizeHint::default(),
        }
    }
}
