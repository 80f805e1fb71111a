//! The life of a call, in order. Every rule is one hop from here.
//!
//! authenticate ([`Proxy::door`]) → identify → read the body → admit → pass the pause gate →
//! choose the upstream → edit → send → tee (bytes to the client, a copy to the recorder) → finish,
//! which hands the record to the ledger and holds the reply's end for the receipt.

use std::time::Instant;

use bytes::Bytes;
use gateway_auth::Principal;
use gateway_json::{Dialect, Parsed};
use gateway_state::{ApiError, Destination, Live};
use http::{Request, Response};

use crate::answer::models;
use crate::body::Body;
use crate::call::OpenCall;
use crate::places::Place;
use crate::proxy::Proxy;
use crate::request::{Head, Inbound};
use crate::send::Sent;

/// What a call comes to before its reply is passed on.
enum Answered {
    Upstream(Box<Sent>),
    /// The list of models that the routes name.
    Models(String),
}

impl Proxy {
    /// Answers one request of the data plane, whatever becomes of it. [`Proxy::door`] has let it
    /// in as `principal`.
    ///
    /// Dropping the future, or the body of the answer, cancels the upstream's work, and the call
    /// is recorded as left by its client.
    pub async fn handle<B>(&self, request: Request<B>, principal: Principal) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes>,
    {
        match self.call(request, principal).await {
            Ok(response) => response,
            Err(error) => self.refuse(error),
        }
    }

    async fn call<B>(
        &self,
        request: Request<B>,
        principal: Principal,
    ) -> Result<Response<Body>, ApiError>
    where
        B: http_body::Body<Data = Bytes>,
    {
        let live = self.state().live();
        let (parts, body) = request.into_parts();

        // Identify by path and headers, read the body, identify by it, too.
        let head = Head::new(&parts, principal)?;
        let mut place = self.occupy(&live)?;
        let (body, decoded) = tokio::select! {
            biased;
            read = head.read(body, &live) => read?,
            // No call yet: nothing more of it is waited for.
            () = self.state().drain().wait() => return Err(ApiError::draining()),
        };
        let started = Instant::now();
        let parsed = Parsed::new(&body, Dialect::Strict);
        let inbound = head.with_body(&body, &parsed, decoded, &live)?;

        // Admit: from here on the call leaves exactly one trace, whatever happens to it.
        let open = self.admit(&inbound, started, &live).await?;

        // Pass the pause gate, choose the upstream, edit, send; tee the reply, and hold its end for
        // the receipt.
        Ok(
            match self.sent(&inbound, &live, &mut place, open.as_ref()).await {
                Ok(Answered::Upstream(sent)) => self.tee(&inbound, *sent, open, place, &live).await,
                Ok(Answered::Models(list)) => models(list),
                Err(error) => self.failed(error, open).await,
            },
        )
    }

    async fn sent(
        &self,
        inbound: &Inbound<'_>,
        live: &Live,
        place: &mut Place,
        open: Option<&OpenCall>,
    ) -> Result<Answered, ApiError> {
        let ask = inbound.ask()?;
        place.passed = self.pass(inbound, live, open).await?;
        Ok(match self.state().choose(live, &ask, Instant::now())? {
            Destination::Models(list) => Answered::Models(list),
            Destination::Upstream(chosen) => {
                let prepared = self.prepare(inbound, &chosen, live, open)?;
                let sent = self
                    .send(inbound, &ask, prepared, chosen, live, open)
                    .await?;
                Answered::Upstream(Box::new(sent))
            }
        })
    }
}
