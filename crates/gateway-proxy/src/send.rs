//! The way upstream: the edited request, sent, with the attempts that are safe.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use gateway_route::Event;
use gateway_state::{ApiError, Chosen, Lease, Live, SamplingPriority, Upstream, UpstreamKind};
use gateway_trace::Attempt;
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, Request, Uri, response};
use http_body_util::Full;
use hyper::body::Incoming;
use uuid::Uuid;

use crate::call::OpenCall;
use crate::edit::{Capture, Wishes, edit};
use crate::headers::{self, Outgoing};
use crate::proxy::Proxy;
use crate::request::Inbound;
use crate::strip::StripRules;
use crate::upstream::{Conn, Failure, FailureKind, PoolKey, UpstreamBody};

/// A request as it goes upstream, and what is to be taken out of its reply.
pub(crate) struct Prepared {
    method: Method,
    target: PathAndQuery,
    headers: HeaderMap,
    body: Bytes,
    pub(crate) strip: StripRules,
}

/// A reply whose head has come.
pub(crate) struct Sent {
    pub(crate) parts: response::Parts,
    pub(crate) body: UpstreamBody,
    pub(crate) strip: StripRules,
    pub(crate) upstream: Arc<Upstream>,
    /// Keeps the call counted as its worker's load.
    pub(crate) lease: Option<Lease>,
}

impl Proxy {
    /// Makes the request that goes to the chosen upstream.
    ///
    /// # Errors
    /// 400 where a key that is edited stands twice, or the path cannot be sent.
    pub(crate) fn prepare(
        &self,
        inbound: &Inbound<'_>,
        chosen: &Chosen,
        live: &Live,
        call: Option<&OpenCall>,
    ) -> Result<Prepared, ApiError> {
        let (body, strip) = self.edit(inbound, chosen, live, call)?;
        let upstream = &chosen.upstream;
        let keeps = live.auth.keeps_credentials(inbound.head.principal);
        let fresh;
        let request_id = match call.and_then(OpenCall::trace_id) {
            Some(trace_id) => trace_id,
            None => {
                fresh = Uuid::now_v7().to_string();
                &fresh
            }
        };
        let headers = headers::request(
            &inbound.head.parts.headers,
            &Outgoing {
                host: Some(upstream.host.clone()),
                drop_credentials: keeps || upstream.kind == UpstreamKind::Route,
                auth: upstream.auth.as_ref(),
                set: chosen.route.as_ref().map_or(&[], |route| &route.headers),
                request_id,
                decoded: inbound.decoded,
            },
        );
        let api = inbound.head.path.api;
        let path = match (upstream.base.path(), inbound.head.parts.uri.query()) {
            ("", None) if api.is_empty() => "/".to_owned(),
            (base, None) => format!("{base}{api}"),
            (base, Some(query)) => format!("{base}{api}?{query}"),
        };
        let target = PathAndQuery::try_from(path)
            .map_err(|_| ApiError::bad_request("the path cannot be forwarded"))?;
        Ok(Prepared {
            method: inbound.head.parts.method.clone(),
            target,
            headers,
            body,
            strip,
        })
    }

    fn edit(
        &self,
        inbound: &Inbound<'_>,
        chosen: &Chosen,
        live: &Live,
        call: Option<&OpenCall>,
    ) -> Result<(Bytes, StripRules), ApiError> {
        // Whatever is no JSON object passes untouched; where one is needed, the call has been
        // refused before.
        let Ok(root) = inbound.root else {
            return Ok((inbound.body.clone(), StripRules::default()));
        };
        let route = chosen.route.as_deref();
        let captures = inbound.head.endpoint.is_some() && route.is_none_or(|route| route.inject);
        let session = inbound.identity.session_id.as_deref();
        let params = session.and_then(|session| self.state().sampling().find(session));
        let wishes = Wishes {
            endpoint: inbound.head.endpoint,
            stream: inbound.stream,
            model_pin: inbound.model_pin(live),
            session_params: params.as_deref(),
            session_first: live.sampling_priority == SamplingPriority::Session,
            capture: captures.then_some(Capture {
                logprobs: live.capture.logprobs,
                token_ids: live.capture.token_ids,
                usage: live.capture.usage,
            }),
            upstream_model: route.and_then(|route| route.upstream_model.as_deref()),
            drop_params: route.map_or(&[], |route| &route.drop_params),
        };
        let edited = edit(inbound.body, root, &wishes)
            .map_err(|error| ApiError::bad_request(error.to_string()))?;
        let strip = if captures {
            StripRules::new(edited.asked, live.capture.strip)
        } else {
            StripRules::default()
        };
        if let Some(call) = call {
            call.note(|answer| {
                answer.edits = edited.edits;
                answer.ids_asked = edited.ids_asked;
            });
        }
        Ok((edited.body, strip))
    }

    /// Sends the request, and once more on a fresh connection where an idle one turned out to be
    /// closed: the upstream cannot have begun to process it.
    ///
    /// # Errors
    /// 502 or 504, when no head of a reply came.
    pub(crate) async fn send(
        &self,
        prepared: Prepared,
        chosen: Chosen,
        live: &Live,
        call: Option<&OpenCall>,
    ) -> Result<Sent, ApiError> {
        let Chosen {
            upstream,
            route,
            reason,
            lease,
        } = chosen;
        if let Some(call) = call {
            call.note(|answer| {
                answer.upstream = Some(upstream.name.clone());
                answer.upstream_reason = Some(reason.as_str());
            });
        }
        let route = route.as_deref();
        let way = Way {
            upstream: &upstream,
            connect_timeout: route
                .and_then(|route| route.connect_timeout)
                .unwrap_or(live.timeouts.connect),
            read_timeout: route
                .and_then(|route| route.read_timeout)
                .unwrap_or(live.timeouts.read),
        };
        let key = PoolKey::of(&upstream.base);
        let mut fresh_only = false;
        loop {
            let begun = Instant::now();
            if let Some(call) = call {
                // Told of before it ends: the client, or the gateway, may end first.
                call.note(|answer| answer.attempts.push(under_way(&upstream)));
            }
            let tried = self.attempt(&prepared, &way, &key, fresh_only).await;
            if let Some(call) = call {
                call.note(|answer| {
                    answer.attempts.pop();
                    answer.attempts.push(attempt(&upstream, &tried, begun));
                });
            }
            match tried {
                Ok((parts, incoming, conn)) => {
                    let home = (Arc::clone(&self.pool), key);
                    return Ok(Sent {
                        body: UpstreamBody::new(incoming, conn, home, way.read_timeout),
                        parts,
                        strip: prepared.strip,
                        upstream,
                        lease,
                    });
                }
                Err(failure) if failure.kind == FailureKind::StaleConnection => fresh_only = true,
                Err(failure) => {
                    self.report(&upstream, &failure, live);
                    return Err(error_of(&failure));
                }
            }
        }
    }

    async fn attempt(
        &self,
        prepared: &Prepared,
        way: &Way<'_>,
        key: &PoolKey,
        fresh_only: bool,
    ) -> Result<(response::Parts, Incoming, Conn), Failure> {
        let idle = if fresh_only {
            None
        } else {
            self.pool.take(key).await
        };
        let conn = match idle {
            Some(conn) => conn,
            None => {
                let upstream = way.upstream;
                self.connector
                    .connect(&upstream.base, upstream.kind, way.connect_timeout)
                    .await?
            }
        };
        let mut request = Request::new(Full::new(prepared.body.clone()));
        *request.uri_mut() = Uri::from(prepared.target.clone());
        *request.headers_mut() = prepared.headers.clone();
        *request.method_mut() = prepared.method.clone();
        match tokio::time::timeout(way.read_timeout, conn.exchange(request)).await {
            Ok(answered) => answered,
            Err(_elapsed) => Err(Failure::new(
                FailureKind::Timeout,
                format!("no reply for {} s", way.read_timeout.as_secs_f64()),
            )),
        }
    }

    /// A refused connection counts like a failed health check.
    fn report(&self, upstream: &Upstream, failure: &Failure, live: &Live) {
        tracing::warn!(upstream = %upstream.name, error = %failure, "upstream failed");
        if upstream.kind == UpstreamKind::Worker && failure.kind == FailureKind::Unreachable {
            self.state()
                .workers()
                .report(&upstream.name, Event::Refused, &live.health.rules);
        }
    }
}

/// How an upstream is reached, and how long it may take.
struct Way<'a> {
    upstream: &'a Upstream,
    connect_timeout: Duration,
    read_timeout: Duration,
}

fn under_way(upstream: &Upstream) -> Attempt {
    Attempt {
        upstream: Some(upstream.name.clone()),
        ..Attempt::default()
    }
}

fn attempt<T>(
    upstream: &Upstream,
    tried: &Result<(response::Parts, Incoming, T), Failure>,
    begun: Instant,
) -> Attempt {
    let (status, error) = match tried {
        Ok((parts, ..)) => (Some(parts.status.as_u16()), None),
        Err(failure) => (None, Some(error_of(failure).code().to_owned())),
    };
    Attempt {
        status,
        error,
        ms: begun.elapsed().as_secs_f64() * 1e3,
        ..under_way(upstream)
    }
}

/// What the client is told when no reply came.
pub(crate) fn error_of(failure: &Failure) -> ApiError {
    let message = format!("the upstream did not answer: {failure}");
    match failure.kind {
        FailureKind::Timeout => ApiError::upstream_timeout(message),
        FailureKind::Protocol => ApiError::upstream_protocol(message),
        FailureKind::Unreachable | FailureKind::StaleConnection | FailureKind::Reset => {
            ApiError::upstream_unreachable(message)
        }
    }
}
