//! The way of a request through the server: what its head may measure, the door, then the plane
//! that it belongs to.

use std::error::Error;
use std::future::Future;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use gateway_admin::Admin;
use gateway_metadata::split_path;
use gateway_proxy::{Body, Proxy};
use gateway_state::ApiError;
use http::{Request, Response, request};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Either};

use crate::request_body::RequestBody;
use crate::server::Handler;

/// The longest request target, in bytes.
const MAX_TARGET: usize = 8 << 10;

/// The most that header lines may hold, in bytes; hyper itself takes at most 100 of them.
const MAX_HEADERS: usize = 64 << 10;

/// Both planes behind one door.
pub(crate) struct Planes {
    pub(crate) proxy: Arc<Proxy>,
    pub(crate) admin: Admin,
}

/// An answer of the data plane, or of the management plane.
type Answer = Either<Body, UnsyncBoxBody<Bytes, Box<dyn Error + Send + Sync>>>;

impl Handler for Planes {
    type Body = Answer;

    async fn handle(&self, request: Request<RequestBody>, peer: SocketAddr) -> Response<Answer> {
        let answered = caught(self.answer(request, peer)).await;
        answered.unwrap_or_else(|| {
            let error = ApiError::internal_error("the gateway failed on this request");
            self.refuse(error.closing())
        })
    }
}

impl Planes {
    async fn answer(&self, request: Request<RequestBody>, peer: SocketAddr) -> Response<Answer> {
        let (parts, body) = request.into_parts();
        let principal = match measure(&parts).and_then(|()| self.proxy.door(&parts, peer)) {
            Ok(principal) => principal,
            Err(error) => return self.refuse(error),
        };
        let data_plane = split_path(parts.uri.path()).is_some();
        let request = Request::from_parts(parts, body);
        if data_plane {
            let response = self.proxy.handle(request, principal).await;
            response.map(Either::Left)
        } else {
            let response = self.admin.handle(request, principal).await;
            response.map(|body| Either::Right(body.map_err(Into::into).boxed_unsync()))
        }
    }

    fn refuse(&self, error: ApiError) -> Response<Answer> {
        self.proxy.refuse(error).map(Either::Left)
    }
}

/// Refuses a head that is too large.
fn measure(parts: &request::Parts) -> Result<(), ApiError> {
    let uri = &parts.uri;
    let target = uri.path_and_query().map_or(0, |path| path.as_str().len())
        + uri
            .authority()
            .map_or(0, |authority| authority.as_str().len())
        + uri
            .scheme_str()
            .map_or(0, |scheme| scheme.len() + "://".len());
    if target > MAX_TARGET {
        return Err(ApiError::uri_too_long("the target is over 8 KiB").closing());
    }
    let line = |name: &http::HeaderName, value: &http::HeaderValue| {
        name.as_str().len() + ": ".len() + value.len() + "\r\n".len()
    };
    let headers: usize = parts
        .headers
        .iter()
        .map(|(name, value)| line(name, value))
        .sum();
    if headers > MAX_HEADERS {
        return Err(ApiError::headers_too_large("the headers are over 64 KiB").closing());
    }
    Ok(())
}

/// What `work` gives; `None` if it panicked, which the panic hook has logged.
async fn caught<T>(work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    std::future::poll_fn(|cx| {
        // After a panic the work is not polled again, so that nobody sees what it left half done;
        // what is shared recovers by itself from a lock that was held.
        match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx))) {
            Ok(Poll::Ready(value)) => Poll::Ready(Some(value)),
            Ok(Poll::Pending) => Poll::Pending,
            Err(_panic) => Poll::Ready(None),
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_caught_wherever_it_happens() {
        assert_eq!(caught(async { 1 }).await, Some(1));
        assert_eq!(caught::<()>(async { panic!("at once") }).await, None);
        let later = async {
            tokio::task::yield_now().await;
            panic!("later")
        };
        assert_eq!(caught::<()>(later).await, None);
    }

    #[test]
    fn heads_are_measured() {
        let check = |target: &str, header: usize, expected: Option<u16>| {
            let mut request = Request::get(target);
            if header > 0 {
                request = request.header("x", "v".repeat(header - "x: \r\n".len()));
            }
            let (parts, ()) = request.body(()).unwrap().into_parts();
            let measured = measure(&parts).err().map(|error| error.status());
            assert_eq!(measured, expected, "{} {header}", target.len());
        };
        check("/", 0, None);
        check(
            &format!("/{}", "a".repeat(MAX_TARGET - 1)),
            MAX_HEADERS,
            None,
        );
        check(&format!("/{}", "a".repeat(MAX_TARGET)), 0, Some(414));
        check(&format!("/?{}", "a".repeat(MAX_TARGET)), 0, Some(414));
        let absolute = format!("http://h/{}", "a".repeat(MAX_TARGET - 9));
        check(&absolute, 0, None);
        check(&format!("{absolute}a"), 0, Some(414));
        check("/", MAX_HEADERS + 1, Some(431));
    }
}
