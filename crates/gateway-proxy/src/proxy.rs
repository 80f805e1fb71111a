//! The data plane as one object: what its calls share.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use gateway_auth::Principal;
use gateway_state::{ApiError, Live, State};
use gateway_store::{Durability, Ledger};
use gateway_trace::{Call, CallMeta, Endpoint, Recorder};
use http::{Response, request};
use uuid::Uuid;

use crate::body::Body;
use crate::call::{OpenCall, OpenCalls};
use crate::door;
use crate::places::{Place, Places};
use crate::request::Inbound;
use crate::upstream::{Connector, Pool};

/// The data plane: forwards calls, and records them in a [`Ledger`].
///
/// It runs on whatever tokio runtime polls it and starts no task but the one that closes idle
/// upstream connections.
pub struct Proxy {
    state: Arc<State>,
    ledger: Ledger,
    pub(crate) pool: Arc<Pool>,
    pub(crate) connector: Connector,
    calls: Arc<OpenCalls>,
    places: Places,
    /// Whether a reply may not end without its receipt.
    pub(crate) strict: bool,
}

impl Proxy {
    /// A data plane over the shared `state` that records in `ledger`; `durability` is the ledger's.
    #[must_use]
    pub fn new(state: Arc<State>, ledger: Ledger, durability: Durability) -> Self {
        let live = state.live();
        Self {
            pool: Pool::new(live.timeouts.pool_idle),
            connector: Connector::new(Arc::clone(&state)),
            state,
            ledger,
            calls: Arc::default(),
            places: Places::default(),
            strict: durability == Durability::Always,
        }
    }

    /// Decides, from the head of a request on either plane, whether it is let in, and as whom.
    ///
    /// # Errors
    /// The answer to give instead; the body must not be read then.
    pub fn door(&self, parts: &request::Parts, peer: SocketAddr) -> Result<Principal, ApiError> {
        door::check(parts, peer, &self.state.live())
    }

    /// The answer for a request that is not served, counted and logged.
    #[must_use]
    pub fn refuse(&self, error: ApiError) -> Response<Body> {
        // A reason may quote what the client sent: as a string it is quoted and escaped.
        tracing::info!(
            status = error.status(),
            code = error.code(),
            reason = error.message(),
            "refused"
        );
        self.state.counters().refuse(error.reason());
        answer(error)
    }

    /// Journals what every open call has received so far: when the process is told to stop, so
    /// that a kill soon after loses none of it.
    pub fn journal_partials(&self) {
        self.calls.journal_partials();
    }

    /// Ends every open call as interrupted: the gateway ends before their replies have.
    pub fn interrupt(&self) {
        self.calls.interrupt();
    }

    /// How many requests are under way on the data plane, their replies included.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.places.taken()
    }

    /// Waits until no request is under way. Cancel-safe.
    pub async fn idle(&self) {
        self.places.all_free().await;
    }

    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    /// Takes one of the places for calls; it is given back when the guard is dropped.
    pub(crate) fn occupy(&self, live: &Live) -> Result<Place, ApiError> {
        if self.state.draining() {
            return Err(ApiError::draining());
        }
        self.places
            .take(live.limits.max_inflight)
            .ok_or_else(|| ApiError::overloaded("too many calls in flight"))
    }

    /// Admits a call that is to be recorded; `None` where it belongs to no session and no run, or
    /// its endpoint is not recorded.
    ///
    /// # Errors
    /// 503 `store_unavailable` if it cannot be recorded at present.
    pub(crate) async fn admit(
        &self,
        inbound: &Inbound<'_>,
        started: Instant,
        live: &Live,
    ) -> Result<Option<OpenCall>, ApiError> {
        let Some(endpoint) = inbound.head.endpoint else {
            return Ok(None);
        };
        let identity = &inbound.identity;
        if identity.session_id.is_none() && identity.run_id.is_none() {
            return Ok(None);
        }
        let trace_id = Uuid::now_v7().to_string();
        let mut meta = CallMeta::new(trace_id, endpoint, unix_now());
        meta.identity = identity.clone();
        meta.stream = inbound.stream;
        meta.model.clone_from(&inbound.own_model);
        meta.principal = inbound.head.principal.name().map(str::to_owned);
        meta.client = inbound.client();
        meta.instance_id = self.ledger.instance_id().to_owned();
        meta.weight_version = self.state.weight_version();
        let call = Call {
            meta,
            request: inbound.body.clone(),
        };
        self.ledger
            .admit(&call)
            .await
            .map_err(|error| ApiError::store_unavailable(error.to_string()))?;
        Ok(Some(OpenCall::new(
            Arc::clone(&self.calls),
            Arc::clone(&self.state),
            Some(self.ledger.clone()),
            call.meta,
            inbound.body.len(),
            started,
            Recorder::new(endpoint, live.limits.max_record_bytes),
        )))
    }

    /// Watches the reply of a call that is not recorded: whether it is whole, where only the
    /// connection's close delimits it, nothing but its content tells.
    pub(crate) fn watch(&self, endpoint: Endpoint, live: &Live) -> OpenCall {
        OpenCall::new(
            Arc::clone(&self.calls),
            Arc::clone(&self.state),
            None,
            CallMeta::new(String::new(), endpoint, 0.0),
            0,
            Instant::now(),
            Recorder::new(endpoint, live.limits.max_record_bytes),
        )
    }
}

/// The answer that an error is.
pub(crate) fn answer(error: ApiError) -> Response<Body> {
    error
        .into_response()
        .map(|body| Body::from(Bytes::from(body)))
}

fn unix_now() -> f64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or(Duration::ZERO)
        .as_secs_f64()
}
