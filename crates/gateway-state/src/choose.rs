//! The upstream of a call.

use std::sync::Arc;
use std::time::Instant;

use gateway_route::{Reason, path_allowed};

use crate::workers::NoWorker;
use crate::{ApiError, Lease, Live, Route, State, Upstream};

/// What the choice depends on.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// The HTTP method.
    pub method: &'a str,
    /// The raw path after `/v1`, without the query: what goes upstream.
    pub api: &'a str,
    /// The model that the body names, or the one that every call is pinned to.
    pub model: Option<&'a str>,
    /// The session, if the call belongs to one.
    pub session: Option<&'a str>,
}

/// Where a call goes.
#[derive(Debug)]
pub enum Destination {
    /// To an upstream.
    Upstream(Chosen),
    /// Nowhere: the list of models, which the gateway knows from its routes. The JSON body of a
    /// 200, in OpenAI's form.
    Models(String),
}

/// The upstream of a call.
#[derive(Debug)]
pub struct Chosen {
    /// Where to send it.
    pub upstream: Arc<Upstream>,
    /// What a route does to its calls; none for a worker.
    pub route: Option<Arc<Route>>,
    /// How it came to be chosen.
    pub reason: Reason,
    /// Keeps the call counted as load of its worker until it is dropped; none for a route.
    pub lease: Option<Lease>,
}

impl State {
    /// Chooses the upstream of a call: the route that matches the model, else a worker of the pool
    /// by the policy in force. A call that names no model goes to the pool if there are workers,
    /// else to the route `*`; else `GET /models` is answered from the routes' exact keys.
    ///
    /// # Errors
    ///
    /// 403 `path_not_allowed` where the route does not open the path, 404 `no_route` where there
    /// is neither a route nor a worker, 503 `no_healthy_worker` where no worker is healthy.
    pub fn choose(
        &self,
        live: &Live,
        ask: &Ask<'_>,
        now: Instant,
    ) -> Result<Destination, ApiError> {
        if let Some((_, route)) = ask.model.and_then(|model| live.routes.find(model)) {
            return through(route, ask).map(Destination::Upstream);
        }
        let session = session_of(ask);
        let found = self
            .workers()
            .choose(live.policy, ask.model, session, &[], now);
        match (found, live.routes.catch_all()) {
            (Ok((upstream, reason, lease)), _) => {
                let chosen = Chosen::worker(upstream, reason, lease);
                Ok(Destination::Upstream(chosen))
            }
            (Err(NoWorker::NoneHealthy), _) => {
                // Sooner than the next check nothing can have changed.
                let seconds = live.health.interval.as_secs().clamp(1, 30);
                let seconds = u32::try_from(seconds).expect("it was clamped");
                let message = "no worker that serves this call is healthy";
                Err(ApiError::no_healthy_worker(message, seconds))
            }
            (Err(NoWorker::NoneThere), Some((_, route))) if ask.model.is_none() => {
                through(route, ask).map(Destination::Upstream)
            }
            (Err(NoWorker::NoneThere), _) => no_worker(live, ask),
        }
    }

    /// Chooses another worker for a call that [`choose`](Self::choose) had given to one, and that
    /// has failed at those of `tried`: by the same rules, as if they were not healthy. A session
    /// moves with its call, for it stays with the worker that served it last. `None` if no other
    /// worker is healthy.
    #[must_use]
    pub fn choose_another(
        &self,
        live: &Live,
        ask: &Ask<'_>,
        tried: &[Arc<Upstream>],
        now: Instant,
    ) -> Option<Chosen> {
        let found = self
            .workers()
            .choose(live.policy, ask.model, session_of(ask), tried, now);
        let (upstream, reason, lease) = found.ok()?;
        Some(Chosen::worker(upstream, reason, lease))
    }
}

impl Chosen {
    fn worker(upstream: Arc<Upstream>, reason: Reason, lease: Lease) -> Self {
        Self {
            upstream,
            route: None,
            reason,
            lease: Some(lease),
        }
    }
}

/// The session that the choice goes by: the empty name is none.
fn session_of<'a>(ask: &Ask<'a>) -> Option<&'a str> {
    ask.session.filter(|session| !session.is_empty())
}

/// The route, if it opens the path.
fn through(route: &Arc<Route>, ask: &Ask<'_>) -> Result<Chosen, ApiError> {
    if !route.any_path && !path_allowed(ask.method, ask.api) {
        return Err(ApiError::path_not_allowed(
            "this route is open to model calls only; `paths: any` in its configuration lifts this",
        ));
    }
    let upstream = Arc::clone(&route.upstream);
    let route = Some(Arc::clone(route));
    Ok(Chosen {
        upstream,
        route,
        reason: Reason::Route,
        lease: None,
    })
}

/// The answer where no route matches and no worker is registered.
fn no_worker(live: &Live, ask: &Ask<'_>) -> Result<Destination, ApiError> {
    let mut segments = ask.api.split('/').filter(|segment| !segment.is_empty());
    let is_models = segments.next() == Some("models") && segments.next().is_none();
    let asks_for_models = is_models && matches!(ask.method, "GET" | "HEAD");
    match ask.model {
        None if asks_for_models && !live.routes.is_empty() => {
            Ok(Destination::Models(model_list(live)))
        }
        None => Err(ApiError::no_route(
            "no worker is registered, and no route takes calls that name no model",
        )),
        Some(model) => {
            // A name is as long as its sender likes; an error message is not.
            let model: String = model.chars().take(128).collect();
            let message = format!("no route matches the model `{model}`, and no worker is there");
            Err(ApiError::no_route(message))
        }
    }
}

/// The exact keys of the routes, as OpenAI lists models.
fn model_list(live: &Live) -> String {
    let entry = |id| {
        let id = serde_json::Value::from(id);
        format!(r#"{{"id":{id},"object":"model","created":0,"owned_by":"rllm-model-gateway"}}"#)
    };
    let entries: Vec<String> = live.routes.exact_keys().map(entry).collect();
    format!(r#"{{"object":"list","data":[{}]}}"#, entries.join(","))
}

#[cfg(test)]
mod tests;
