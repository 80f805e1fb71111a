//! The client's body: read whole, within its limits.

use std::future::{Future as _, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::Body;
use tokio::time::Instant;

/// Why a body was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReadError {
    /// Over the limit, by its length or as it came.
    TooLarge,
    /// No byte for too long.
    Timeout,
    /// It ended early or its framing broke.
    Broken,
}

/// Reads `body` to its end: at most `limit` bytes, and no more than `pause` between two of them.
///
/// A body that says it is too large is refused before a byte of it is read, so that no
/// `100 Continue` is sent.
///
/// # Errors
/// [`ReadError`]; the connection cannot be used again then.
pub(crate) async fn read<B>(body: B, limit: usize, pause: Duration) -> Result<Bytes, ReadError>
where
    B: Body<Data = Bytes>,
{
    let length = body.size_hint();
    if usize::try_from(length.lower()).map_or(true, |length| length > limit) {
        return Err(ReadError::TooLarge);
    }
    if length.exact() == Some(0) {
        return Ok(Bytes::new());
    }
    let mut body = pin!(body);
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    let mut last_read = Instant::now();
    let mut timer = None;
    poll_fn(|cx| {
        loop {
            match body.as_mut().poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    // Trailers are ignored, whatever they are called.
                    let Ok(data) = frame.into_data() else {
                        continue;
                    };
                    last_read = Instant::now();
                    if data.len() > limit - first.len() - all.len() {
                        return Poll::Ready(Err(ReadError::TooLarge));
                    }
                    if first.is_empty() && all.is_empty() {
                        first = data;
                        continue;
                    }
                    if all.is_empty() {
                        let whole = usize::try_from(length.lower()).unwrap_or(0);
                        all.reserve(whole.max(first.len() + data.len()));
                        all.extend_from_slice(&std::mem::take(&mut first));
                    }
                    all.extend_from_slice(&data);
                }
                Poll::Ready(Some(Err(_))) => return Poll::Ready(Err(ReadError::Broken)),
                Poll::Ready(None) => return Poll::Ready(Ok(())),
                Poll::Pending => break,
            }
        }
        let timer: &mut Pin<Box<tokio::time::Sleep>> =
            timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(pause)));
        while timer.as_mut().poll(cx).is_ready() {
            let due = last_read + pause;
            if Instant::now() >= due {
                return Poll::Ready(Err(ReadError::Timeout));
            }
            timer.as_mut().reset(due);
        }
        Poll::Pending
    })
    .await?;
    Ok(if all.is_empty() { first } else { all.freeze() })
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http_body_util::Full;

    use super::*;

    const PAUSE: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn a_body_is_read_whole_or_refused() {
        let full = |text: &'static str| Full::new(Bytes::from_static(text.as_bytes()));
        assert_eq!(
            read(full("12345"), 5, PAUSE).await.as_deref(),
            Ok(&b"12345"[..])
        );
        assert_eq!(read(full(""), 0, PAUSE).await.as_deref(), Ok(&b""[..]));
        assert_eq!(
            read(full("123456"), 5, PAUSE).await,
            Err(ReadError::TooLarge)
        );
    }

    #[derive(Clone, Copy)]
    struct Pieces(usize);

    impl Body for Pieces {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
            if self.0 == 0 {
                return Poll::Ready(None);
            }
            self.0 -= 1;
            Poll::Ready(Some(Ok(http_body::Frame::data(Bytes::from_static(b"ab")))))
        }
    }

    #[tokio::test]
    async fn pieces_are_joined_up_to_the_limit() {
        assert_eq!(
            read(Pieces(3), 6, PAUSE).await.as_deref(),
            Ok(&b"ababab"[..])
        );
        assert_eq!(read(Pieces(4), 7, PAUSE).await, Err(ReadError::TooLarge));
        assert_eq!(
            read(Pieces(usize::MAX), 1000, PAUSE).await,
            Err(ReadError::TooLarge)
        );
    }

    struct Silent;

    impl Body for Silent {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
            Poll::Pending
        }
    }

    #[tokio::test(start_paused = true)]
    async fn silence_ends_the_wait() {
        assert_eq!(read(Silent, 9, PAUSE).await, Err(ReadError::Timeout));
    }
}
