//! The way upstream: the request is sent, and sent again where that is safe (see `retry`).

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant, SystemTime};

use gateway_route::Event;
use gateway_state::{ApiError, Ask, Chosen, Lease, Live, Upstream, UpstreamKind};
use gateway_trace::Attempt;
use http::response;

use crate::call::OpenCall;
use crate::prepare::Prepared;
use crate::proxy::Proxy;
use crate::request::Inbound;
use crate::retry::{self, Attempted, Attempts, Next};
use crate::strip::StripRules;
use crate::upstream::{Failure, FailureKind, PoolKey, UpstreamBody, unfit};

/// A reply whose head has come.
pub(crate) struct Sent {
    pub(crate) parts: response::Parts,
    pub(crate) body: UpstreamBody,
    pub(crate) strip: StripRules,
    /// How many choices were asked for.
    pub(crate) choices: usize,
    pub(crate) upstream: Arc<Upstream>,
    /// Keeps the call counted as its worker's load.
    pub(crate) lease: Option<Lease>,
}

/// What an attempt gives: the head and the body of a reply that can be passed on.
type Answer = Result<(response::Parts, UpstreamBody), Failure>;

impl Proxy {
    /// Sends the request, and again as long as the rules allow it: to another worker, if there is a
    /// healthy one. What the last attempt came to is the call's answer; nothing of it has gone to
    /// the client when this returns.
    ///
    /// Dropping the future ends the attempt under way, or the wait for the next one.
    ///
    /// # Errors
    /// 502 or 504, when no head of a reply came.
    pub(crate) async fn send(
        &self,
        inbound: &Inbound<'_>,
        ask: &Ask<'_>,
        mut prepared: Prepared,
        mut chosen: Chosen,
        live: &Live,
        call: Option<&OpenCall>,
    ) -> Result<Sent, ApiError> {
        let mut attempts = Attempts::default();
        let mut tried = Vec::new();
        loop {
            let answer = self
                .attempt(inbound, &prepared, &chosen, &attempts, live, call)
                .await;
            let (wait, unsent) = match next(&mut attempts, &answer, inbound, live) {
                Next::Stop => return sent(answer, prepared, chosen),
                Next::Fresh => continue,
                Next::Again { wait, unsent } => (wait, unsent),
            };
            tried.push(Arc::clone(&chosen.upstream));
            let another = || {
                let of_pool = chosen.route.is_none();
                of_pool.then(|| {
                    self.state()
                        .choose_another(live, ask, &tried, Instant::now())
                })?
            };
            // What was sent nowhere may go elsewhere at once.
            let mut other = if unsent { another() } else { None };
            if other.is_none() {
                let upstream = &chosen.upstream.name;
                tracing::info!(%upstream, ?wait, "waiting before the next attempt");
                if !self.pause(wait).await {
                    return sent(answer, prepared, chosen);
                }
                other = another();
            }
            if let Ok((_, body)) = answer {
                body.discard().await;
            }
            if let Some(other) = other {
                let (from, to) = (&chosen.upstream.name, &other.upstream.name);
                tracing::info!(%from, %to, "the call goes to another worker");
                prepared.readdress(inbound, &other, live, call)?;
                chosen = other;
            }
        }
    }

    /// One attempt, noted from its beginning to its end.
    async fn attempt(
        &self,
        inbound: &Inbound<'_>,
        prepared: &Prepared,
        chosen: &Chosen,
        attempts: &Attempts,
        live: &Live,
        call: Option<&OpenCall>,
    ) -> Answer {
        let upstream = &chosen.upstream;
        let model = inbound.own_model.as_deref();
        let counters = self.state().counters();
        counters.attempt(upstream, model, attempts.any());
        let begun = Instant::now();
        if let Some(call) = call {
            // Told of before it ends: the client, or the gateway, may end first.
            call.note(|answer| {
                answer.upstream = Some(Arc::clone(upstream));
                answer.upstream_reason = Some(chosen.reason.as_str());
                answer.attempts.push(under_way(upstream));
            });
        }
        let answer = self.exchange(prepared, chosen, attempts.stale, live).await;
        if let Some(call) = call {
            call.note(|noted| {
                noted.attempts.pop();
                noted.attempts.push(ended(upstream, &answer, begun));
            });
        }
        if let Err(failure) = &answer {
            self.report(upstream, failure, live);
        }
        answer
    }

    /// One exchange with the chosen upstream: over an idle connection, unless it must be a `fresh`
    /// one.
    async fn exchange(
        &self,
        prepared: &Prepared,
        chosen: &Chosen,
        fresh: bool,
        live: &Live,
    ) -> Answer {
        let upstream = &chosen.upstream;
        let route = chosen.route.as_deref();
        let read_timeout = route
            .and_then(|route| route.read_timeout)
            .unwrap_or(live.timeouts.read);
        let key = PoolKey::of(&upstream.base);
        let idle = if fresh {
            None
        } else {
            self.pool.take(&key).await
        };
        let conn = match idle {
            Some(conn) => conn,
            None => {
                let connect_timeout = route
                    .and_then(|route| route.connect_timeout)
                    .unwrap_or(live.timeouts.connect);
                self.connector
                    .connect(&upstream.base, upstream.kind, connect_timeout)
                    .await?
            }
        };
        let exchange = conn.exchange(prepared.request());
        let Ok(answered) = tokio::time::timeout(read_timeout, exchange).await else {
            let message = format!("no reply for {} s", read_timeout.as_secs_f64());
            return Err(Failure::new(FailureKind::Timeout, message));
        };
        let (parts, incoming, conn) = answered?;
        if let Some(failure) = unfit(&parts) {
            return Err(failure);
        }
        let home = (Arc::clone(&self.pool), key);
        let mut body = UpstreamBody::new(incoming, conn, home, read_timeout);
        // What is no HTTP before anything of the body was sent is a clean error.
        match poll_fn(|cx| Poll::Ready(body.begin(cx))).await {
            Some(failure) => Err(failure),
            None => Ok((parts, body)),
        }
    }

    /// Waits before an attempt; false where the gateway is about to end, so that there shall be
    /// none. Cancel-safe.
    async fn pause(&self, wait: Duration) -> bool {
        tokio::select! {
            biased;
            () = self.state().drain().wait() => false,
            () = tokio::time::sleep(wait) => true,
        }
    }

    /// A refused connection counts like a failed health check.
    fn report(&self, upstream: &Upstream, failure: &Failure, live: &Live) {
        if failure.kind == FailureKind::StaleConnection {
            return;
        }
        tracing::warn!(upstream = %upstream.name, error = %failure, "upstream failed");
        if upstream.kind == UpstreamKind::Worker && failure.kind == FailureKind::Unreachable {
            self.state()
                .workers()
                .report(&upstream.name, Event::Refused, &live.health.rules);
        }
    }
}

/// What follows an attempt.
fn next(attempts: &mut Attempts, answer: &Answer, inbound: &Inbound<'_>, live: &Live) -> Next {
    let attempted = match answer {
        Ok((parts, _)) => Attempted::Answered(parts.status.as_u16(), &parts.headers),
        Err(failure) => Attempted::Failed(failure.kind),
    };
    let rules = &live.retry;
    if !retry::is_safe(rules, attempted) {
        return Next::Stop;
    }
    // A client that sends again itself and a gateway that does, too, would multiply.
    let clients = inbound.retry_count().is_some_and(|count| count > 0);
    let limit = if clients { 1 } else { rules.attempts };
    let (now, random) = (SystemTime::now(), fastrand::f64());
    attempts.next(attempted, limit, rules.max_backoff, now, random)
}

/// The call's answer.
fn sent(answer: Answer, prepared: Prepared, chosen: Chosen) -> Result<Sent, ApiError> {
    let (parts, body) = answer.map_err(|failure| error_of(&failure))?;
    Ok(Sent {
        parts,
        body,
        strip: prepared.strip,
        choices: prepared.choices,
        upstream: chosen.upstream,
        lease: chosen.lease,
    })
}

fn under_way(upstream: &Upstream) -> Attempt {
    Attempt {
        upstream: Some(upstream.name.clone()),
        ..Attempt::default()
    }
}

fn ended(upstream: &Upstream, answer: &Answer, begun: Instant) -> Attempt {
    let (status, error) = match answer {
        Ok((parts, _)) => (Some(parts.status.as_u16()), None),
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
        FailureKind::Timeout | FailureKind::ConnectTimeout => ApiError::upstream_timeout(message),
        FailureKind::Protocol => {
            ApiError::upstream_protocol(format!("the upstream's reply is unusable: {failure}"))
        }
        FailureKind::Unreachable | FailureKind::StaleConnection | FailureKind::Reset => {
            ApiError::upstream_unreachable(message)
        }
    }
}
