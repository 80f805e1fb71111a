//! The answer to the client: an upstream's reply, teed, or one of the gateway's own.

use std::future::poll_fn;

use bytes::Bytes;
use gateway_json::{Dialect, Parsed};
use gateway_state::{ApiError, Live};
use gateway_trace::{CallError, ContentCoding, End, ReplyHead, is_cut};
use http::header::{self, HeaderValue};
use http::{HeaderMap, Response, response};

use crate::body::Body;
use crate::call::OpenCall;
use crate::decode;
use crate::headers;
use crate::joined::Joined;
use crate::places::Place;
use crate::proxy::{Proxy, answer};
use crate::request::Inbound;
use crate::send::{Sent, error_of};
use crate::tee::Tee;
use crate::unpack::PackedReply;
use crate::upstream::{Failure, FailureKind, Framing};

impl Proxy {
    /// Passes an upstream's reply on, and records it where the call is recorded.
    pub(crate) async fn tee(
        &self,
        inbound: &Inbound<'_>,
        sent: Sent,
        mut call: Option<OpenCall>,
        place: Place,
        live: &Live,
    ) -> Response<Body> {
        let status = sent.parts.status;
        let framing = Framing::of(&sent.parts.headers);
        if call.is_none() {
            self.note_unrecorded(inbound, &sent);
        }
        if call.is_none()
            && framing == Framing::Close
            && let Some(endpoint) = inbound.head.endpoint
        {
            call = Some(self.watch(endpoint, live));
        }
        // An upstream may compress although it was told not to: that passes as it comes.
        let coding = decode::coding(&sent.parts.headers);
        let streamed = is_event_stream(&sent.parts.headers);
        if let Some(call) = &call {
            let headers = &sent.parts.headers;
            let head = ReplyHead {
                status: status.as_u16(),
                streamed: streamed && coding.is_ok(),
                // Anthropic's is named otherwise.
                request_id: text(headers, "x-request-id").or_else(|| text(headers, "request-id")),
            };
            call.start(head, sent.choices);
        }
        if sent.body.exact_length() == Some(0) {
            return self.empty(inbound, sent, call).await;
        }
        let plain = coding == Ok(None);
        if streamed && plain && (call.is_some() || !sent.strip.is_empty()) {
            return self.events(inbound, sent, call, place);
        }
        if !streamed && plain && !sent.strip.is_empty() && is_json(&sent.parts.headers) {
            return self.whole(inbound, sent, call, place, live).await;
        }
        let parts = reply_parts(inbound, &sent, call.as_ref(), false);
        if let (Some(call), Err(_)) = (&call, &coding) {
            call.content_coding(ContentCoding::AsItCame);
        }
        let mut tee = Tee::bytes(sent.body, framing, call, Box::new((place, sent.lease)));
        if let Ok(Some(coding)) = coding {
            let most = live.limits.max_record_bytes;
            tee = tee.packed(PackedReply::new(coding, streamed, most));
        }
        Response::from_parts(parts, Body::tee(tee.strict(self.strict)))
    }

    /// Of a call that leaves no trace its head is all there is to tell of it.
    fn note_unrecorded(&self, inbound: &Inbound<'_>, sent: &Sent) {
        self.state().counters().pass_unrecorded();
        tracing::info!(
            method = inbound.head.parts.method.as_str(),
            path = inbound.head.path.api,
            model = inbound.own_model.as_deref(),
            upstream = &*sent.upstream.name,
            status = sent.parts.status.as_u16(),
            "call, not recorded"
        );
    }

    /// A reply without a body, which hyper would not ask for: the call ends here.
    async fn empty(
        &self,
        inbound: &Inbound<'_>,
        mut sent: Sent,
        call: Option<OpenCall>,
    ) -> Response<Body> {
        // To the body's end, so that its connection can serve again.
        let _ = poll_fn(|cx| sent.body.poll_chunk(cx)).await;
        let parts = reply_parts(inbound, &sent, call.as_ref(), false);
        let mut response = Response::from_parts(parts, Body::from(Bytes::new()));
        self.receipt(&mut response, call, End::Eof).await;
        response
    }

    fn events(
        &self,
        inbound: &Inbound<'_>,
        sent: Sent,
        call: Option<OpenCall>,
        place: Place,
    ) -> Response<Body> {
        let parts = reply_parts(inbound, &sent, call.as_ref(), !sent.strip.is_empty());
        let framing = Framing::of(&sent.parts.headers);
        let occupied = Box::new((place, sent.lease));
        let tee = Tee::events(sent.body, framing, call, sent.strip, occupied);
        Response::from_parts(parts, Body::tee(tee.strict(self.strict)))
    }

    /// A whole reply that has to be edited, and so is read first.
    async fn whole(
        &self,
        inbound: &Inbound<'_>,
        mut sent: Sent,
        call: Option<OpenCall>,
        place: Place,
        live: &Live,
    ) -> Response<Body> {
        let framing = Framing::of(&sent.parts.headers);
        let mut read = Joined::default();
        let cut = loop {
            match poll_fn(|cx| sent.body.poll_chunk(cx)).await {
                Some(Ok(chunk)) => {
                    if let Some(call) = &call {
                        call.received(chunk.len());
                        call.push(&chunk);
                    }
                    read.push(chunk);
                    if read.len() > live.limits.max_record_bytes {
                        // Too large to be edited: it passes as it came.
                        let parts = reply_parts(inbound, &sent, call.as_ref(), false);
                        let occupied = Box::new((place, sent.lease));
                        let tee = Tee::bytes(sent.body, framing, call, occupied)
                            .strict(self.strict)
                            .after(read.into_bytes());
                        return Response::from_parts(parts, Body::tee(tee));
                    }
                }
                Some(Err(failure)) => break Some(failure),
                None => break None,
            }
        };
        let body = read.into_bytes();
        // Python servers write NaN and Infinity, and their replies are edited all the same.
        let parsed = Parsed::new(&body, Dialect::Python);
        let cut = cut.or_else(|| {
            let cut = framing == Framing::Close
                && parsed
                    .as_ref()
                    .is_err_and(|error| is_cut(&body, error, sent.parts.status.is_success()));
            cut.then(|| Failure::new(FailureKind::Reset, "the body is incomplete"))
        });
        if let Some(failure) = cut {
            if body.is_empty() && failure.kind == FailureKind::Protocol {
                return self.failed(error_of(&failure), call).await;
            }
            return self.broken(&failure, call).await;
        }
        let root = parsed.as_ref().ok().map(Parsed::root);
        let edited = root.and_then(|root| sent.strip.whole(&body, root));
        let parts = reply_parts(inbound, &sent, call.as_ref(), edited.is_some());
        let ended = call.and_then(|call| match root {
            Some(root) => call.finish_parsed(root),
            None => call.finish(framing.end()),
        });
        let body = edited.map_or_else(|| body.clone(), Bytes::from);
        if let Some((_, Some(receipt))) = ended
            && receipt.await.is_err()
            && self.strict
        {
            return Response::from_parts(parts, Body::without_receipt());
        }
        Response::from_parts(parts, Body::from(body))
    }

    /// A reply that broke off before anything of it was sent: the client gets a clean error, the
    /// record what had come.
    async fn broken(&self, failure: &Failure, call: Option<OpenCall>) -> Response<Body> {
        let error = error_of(failure);
        let Some(call) = call else {
            return self.refuse(error);
        };
        call.note(|answer| answer.status = Some(error.status()));
        let mut response = answer(error);
        self.receipt(&mut response, Some(call), End::Broken).await;
        response
    }

    /// One of the gateway's own answers to a call: an error, recorded if the call was admitted.
    pub(crate) async fn failed(&self, error: ApiError, call: Option<OpenCall>) -> Response<Body> {
        let Some(call) = call else {
            return self.refuse(error);
        };
        let end = End::GatewayError(CallError::new(error.kind(), error.code(), error.message()));
        call.note(|answer| answer.status = Some(error.status()));
        let mut response = answer(error);
        self.receipt(&mut response, Some(call), end).await;
        response
    }

    /// Ends a call whose answer is there already, and waits for the receipt.
    async fn receipt(&self, response: &mut Response<Body>, call: Option<OpenCall>, end: End) {
        let Some(call) = call else {
            return;
        };
        name_trace(response.headers_mut(), &call);
        let ended = call.finish(end);
        if let Some((_, Some(receipt))) = ended
            && receipt.await.is_err()
            && self.strict
        {
            *response.body_mut() = Body::without_receipt();
        }
    }
}

/// The list of models, which the gateway knows from its routes.
pub(crate) fn models(list: String) -> Response<Body> {
    let mut response = Response::new(Body::from(Bytes::from(list)));
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

/// The head of the reply as the client gets it.
fn reply_parts(
    inbound: &Inbound<'_>,
    sent: &Sent,
    call: Option<&OpenCall>,
    edited: bool,
) -> response::Parts {
    let (mut parts, ()) = Response::new(()).into_parts();
    parts.status = sent.parts.status;
    parts.headers = headers::reply(&sent.parts.headers, edited);
    let base = &sent.upstream.base;
    headers::rewrite_location(
        &mut parts.headers,
        &base.authority(),
        base.path(),
        inbound.prefix(),
    );
    if let Some(call) = call {
        name_trace(&mut parts.headers, call);
    }
    parts
}

fn name_trace(headers: &mut HeaderMap, call: &OpenCall) {
    if let Some(id) = call
        .trace_id()
        .and_then(|id| HeaderValue::from_str(id).ok())
    {
        headers.insert("x-rllm-trace-id", id);
    }
}

fn content_type(headers: &HeaderMap) -> &[u8] {
    let value = headers.get(header::CONTENT_TYPE);
    let value = value.map_or(&b""[..], HeaderValue::as_bytes);
    let end = value.iter().position(|byte| *byte == b';');
    value[..end.unwrap_or(value.len())].trim_ascii()
}

fn is_event_stream(headers: &HeaderMap) -> bool {
    content_type(headers).eq_ignore_ascii_case(b"text/event-stream")
}

fn is_json(headers: &HeaderMap) -> bool {
    let content_type = content_type(headers).to_ascii_lowercase();
    content_type == b"application/json" || content_type.ends_with(b"+json")
}

/// A header's value, if it says anything.
fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    let value = headers.get(name).filter(|value| !value.is_empty())?;
    Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
}
