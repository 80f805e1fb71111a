//! The request as it goes upstream: edited once, addressed for each upstream that it is sent to.

use bytes::Bytes;
use gateway_state::{ApiError, Chosen, Live, SamplingPriority, UpstreamKind};
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, Request, Uri};
use http_body_util::Full;
use uuid::Uuid;

use crate::call::OpenCall;
use crate::edit::{Capture, Wishes, edit};
use crate::headers::{self, Outgoing};
use crate::proxy::Proxy;
use crate::request::Inbound;
use crate::strip::StripRules;

/// A request as it goes upstream, and what is to be taken out of its reply.
pub(crate) struct Prepared {
    method: Method,
    target: PathAndQuery,
    headers: HeaderMap,
    body: Bytes,
    pub(crate) strip: StripRules,
    /// How many choices are asked for.
    pub(crate) choices: usize,
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
        let (body, strip, choices) = self.edit(inbound, chosen, live, call)?;
        let (target, headers) = address(inbound, chosen, live, call)?;
        Ok(Prepared {
            method: inbound.head.parts.method.clone(),
            target,
            headers,
            body,
            strip,
            choices,
        })
    }

    fn edit(
        &self,
        inbound: &Inbound<'_>,
        chosen: &Chosen,
        live: &Live,
        call: Option<&OpenCall>,
    ) -> Result<(Bytes, StripRules, usize), ApiError> {
        // Whatever is no JSON object passes untouched; where one is needed, the call has been
        // refused before.
        let Ok(root) = inbound.root else {
            return Ok((inbound.body.clone(), StripRules::default(), 1));
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
        Ok((edited.body, strip, edited.choices))
    }
}

impl Prepared {
    /// Makes it the request for another worker, which is asked for the same.
    ///
    /// # Errors
    /// 400 where the path cannot be sent there.
    pub(crate) fn readdress(
        &mut self,
        inbound: &Inbound<'_>,
        chosen: &Chosen,
        live: &Live,
        call: Option<&OpenCall>,
    ) -> Result<(), ApiError> {
        (self.target, self.headers) = address(inbound, chosen, live, call)?;
        Ok(())
    }

    /// The request for one exchange.
    pub(crate) fn request(&self) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.uri_mut() = Uri::from(self.target.clone());
        *request.headers_mut() = self.headers.clone();
        *request.method_mut() = self.method.clone();
        request
    }
}

/// What of the request names its upstream: the target and the headers.
fn address(
    inbound: &Inbound<'_>,
    chosen: &Chosen,
    live: &Live,
    call: Option<&OpenCall>,
) -> Result<(PathAndQuery, HeaderMap), ApiError> {
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
    Ok((target, headers))
}
