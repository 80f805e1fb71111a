//! How workers come into the pool, and how they are shown.

use std::sync::Arc;

use gateway_auth::Secret;
use gateway_route::{BaseUrl, Cidr, Health, UrlError, WorkerUrl};
use serde::Serialize;
use utoipa::ToSchema;
use xxhash_rust::xxh3::xxh3_64;

use super::{Inner, Worker};
use crate::{AuthHeader, InvalidAuthHeader, Upstream, UpstreamKind};

/// A worker to be registered. What is not given is the default of a new worker, and stays as it is
/// where a worker is updated.
#[derive(Clone, Debug, Default, ToSchema)]
pub struct WorkerSpec {
    /// `http(s)://host[:port][/path]`.
    #[schema(pattern = "^[hH][tT][tT][pP][sS]?://")]
    pub url: String,
    /// Where calls go below it. By default the URL's own path, else `/v1`.
    pub api_path: Option<String>,
    /// By default one that is made from the URL, so that gateways with the same workers agree.
    pub worker_id: Option<String>,
    /// The model that it serves. By default any.
    pub model_name: Option<String>,
    /// Its share of the load. By default 1.
    #[schema(value_type = Option<i64>, minimum = 1, maximum = 4_294_967_295_i64)]
    pub weight: Option<u32>,
    /// The credential to send, in place of the client's. By default none.
    #[schema(value_type = Option<String>)]
    pub auth_header: Option<Secret>,
}

impl WorkerSpec {
    /// The worker at `url`, with the defaults.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            ..Self::default()
        }
    }
}

/// A registration that cannot be taken: always the registrant's error.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddError {
    /// The URL is none, or one that must not be a worker.
    #[error("`url` {0}")]
    Url(#[source] UrlError),
    /// The `api_path` is none.
    #[error("`api_path` {0}")]
    ApiPath(#[source] UrlError),
    /// The credential cannot be sent.
    #[error(transparent)]
    AuthHeader(#[from] InvalidAuthHeader),
    /// No positive weight.
    #[error("`weight` must be a positive integer")]
    Weight,
    /// An id that is too long or holds controls.
    #[error("`worker_id` must be at most 256 bytes without control characters")]
    Id,
    /// The id belongs to a worker with another URL.
    #[error("`worker_id` is taken by a worker with another url")]
    IdTaken,
}

/// A worker that was registered or updated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Added {
    /// Its id: the existing one where it was updated.
    pub worker_id: String,
    /// Without the `api_path`.
    pub url: String,
    /// Where calls go below it.
    pub api_path: String,
    /// Whether it was not there before.
    pub new: bool,
}

/// A worker as it is shown: the reference's fields, and what else helps to see why it gets calls
/// or none. Credentials are not among it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct WorkerInfo {
    /// Unique within the pool.
    pub worker_id: String,
    /// Without the `api_path`.
    pub url: String,
    /// Where calls go below it.
    pub api_path: String,
    /// The model that it serves; none: any.
    #[schema(required = true)]
    pub model_name: Option<String>,
    /// Its share of the load.
    #[schema(value_type = i64, minimum = 1, maximum = 4_294_967_295_i64)]
    pub weight: u32,
    /// Whether it gets calls.
    pub healthy: bool,
    /// Calls in flight.
    pub active_requests: u64,
    /// Sessions with a call in flight or in the last 5 minutes, and calls in flight without a
    /// session.
    pub load: u64,
    /// What its latest failed check said; none once one has passed since.
    #[schema(required = true)]
    pub last_error: Option<String>,
}

impl WorkerInfo {
    pub(super) fn of(worker: &Worker) -> Self {
        Self {
            worker_id: worker.id.clone(),
            url: worker.url.url().to_string(),
            api_path: worker.url.api_path().to_owned(),
            model_name: worker.model_name.clone(),
            weight: worker.weight,
            healthy: worker.health.is_healthy(),
            active_requests: worker.calls,
            load: worker.sessions + worker.loose_calls,
            last_error: worker.health.last_error().map(str::to_owned),
        }
    }
}

/// A registration that was read, and can be taken unless its id is another worker's.
struct Draft {
    given: BaseUrl,
    url: WorkerUrl,
    worker_id: Option<String>,
    model_name: Option<String>,
    weight: Option<u32>,
    auth: Option<AuthHeader>,
    /// Whether an `api_path` was given beside the URL.
    has_path: bool,
}

impl Draft {
    fn read(spec: &WorkerSpec, allow: &[Cidr]) -> Result<Self, AddError> {
        let given = BaseUrl::parse(&spec.url).map_err(AddError::Url)?;
        let url = parse_url(spec, allow)?;
        let auth = spec
            .auth_header
            .as_ref()
            .map(AuthHeader::parse)
            .transpose()?;
        if spec.weight == Some(0) {
            return Err(AddError::Weight);
        }
        let worker_id = spec.worker_id.clone().filter(|id| !id.is_empty());
        if worker_id
            .as_ref()
            .is_some_and(|id| id.len() > 256 || id.chars().any(char::is_control))
        {
            return Err(AddError::Id);
        }
        Ok(Self {
            given,
            url,
            worker_id,
            model_name: spec.model_name.clone().filter(|name| !name.is_empty()),
            weight: spec.weight,
            auth,
            has_path: spec.api_path.is_some(),
        })
    }

    fn names(&self, worker: &Worker) -> bool {
        self.has_target_of(worker) || worker.given == self.given
    }

    fn has_target_of(&self, worker: &Worker) -> bool {
        worker.url.api_url() == self.url.api_url()
    }
}

impl Inner {
    /// See [`Workers::add`](super::Workers::add).
    pub(super) fn add(&mut self, spec: &WorkerSpec, allow: &[Cidr]) -> Result<Added, AddError> {
        let draft = Draft::read(spec, allow)?;
        let with = |is: &dyn Fn(&Worker) -> bool| self.workers.iter().position(is);
        let existing = with(&|worker| draft.has_target_of(worker));
        if let Some(index) = existing.or_else(|| with(&|worker| draft.names(worker))) {
            let worker = &mut self.workers[index];
            if draft.has_path || worker.given != draft.given {
                worker.given = draft.given;
                worker.url = draft.url;
            }
            worker.model_name = draft.model_name.or_else(|| worker.model_name.take());
            worker.weight = draft.weight.unwrap_or(worker.weight);
            let auth = draft.auth.or_else(|| worker.upstream.auth.clone());
            worker.upstream = upstream(&worker.id, &worker.url, auth);
            worker.configured = false;
            return Ok(worker.added(false));
        }
        if let Some(id) = &draft.worker_id
            && self.workers.iter().any(|worker| worker.id == *id)
        {
            return Err(AddError::IdTaken);
        }
        Ok(self.register(draft, false, &[]))
    }

    /// See [`Workers::configure`](super::Workers::configure).
    pub(super) fn configure(
        &mut self,
        specs: &[WorkerSpec],
        allow: &[Cidr],
    ) -> Result<(), (usize, AddError)> {
        let mut drafts = Vec::new();
        for (index, spec) in specs.iter().enumerate() {
            let draft = Draft::read(spec, allow).map_err(|error| (index, error))?;
            let mut registered = self.workers.iter().filter(|worker| !worker.configured);
            if registered.clone().any(|worker| draft.names(worker)) {
                continue;
            }
            if registered.any(|worker| draft.worker_id.as_ref() == Some(&worker.id)) {
                return Err((index, AddError::IdTaken));
            }
            drafts.push(draft);
        }
        // From here on nothing fails. What goes makes room for what comes, ids among it.
        self.workers.retain(|worker| {
            let wants_id = |draft: &Draft| draft.worker_id.as_ref() == Some(&worker.id);
            let mut own = drafts.iter().filter(|draft| draft.has_target_of(worker));
            let mut others = drafts.iter().filter(|draft| !draft.has_target_of(worker));
            let stays = own.any(|draft| draft.worker_id.is_none() || wants_id(draft));
            !worker.configured || (stays && !others.any(wants_id))
        });
        let wanted: Vec<String> = drafts
            .iter()
            .filter_map(|draft| draft.worker_id.clone())
            .collect();
        for draft in drafts {
            let there = |worker: &&mut Worker| draft.has_target_of(worker);
            match self.workers.iter_mut().find(there) {
                None => {
                    self.register(draft, true, &wanted);
                }
                Some(worker) => {
                    worker.model_name = draft.model_name;
                    worker.weight = draft.weight.unwrap_or(1);
                    worker.upstream = upstream(&worker.id, &worker.url, draft.auth);
                }
            }
        }
        Ok(())
    }

    /// Takes in a worker that is not there. Its id is its own, or one that neither a worker has nor
    /// anybody wants.
    fn register(&mut self, draft: Draft, configured: bool, wanted: &[String]) -> Added {
        let taken =
            |id: &String| wanted.contains(id) || self.workers.iter().any(|worker| worker.id == *id);
        let id = draft.worker_id.unwrap_or_else(|| {
            default_ids(&draft.url)
                .find(|id| !taken(id))
                .expect("there is no end of them")
        });
        self.keys += 1;
        let worker = Worker {
            key: self.keys,
            upstream: upstream(&id, &draft.url, draft.auth),
            id,
            configured,
            given: draft.given,
            url: draft.url,
            model_name: draft.model_name,
            weight: draft.weight.unwrap_or(1),
            health: Health::default(),
            calls: 0,
            loose_calls: 0,
            sessions: 0,
            turn: 0,
        };
        let added = worker.added(true);
        self.workers.push(worker);
        added
    }
}

impl Worker {
    fn added(&self, new: bool) -> Added {
        Added {
            worker_id: self.id.clone(),
            url: self.url.url().to_string(),
            api_path: self.url.api_path().to_owned(),
            new,
        }
    }
}

/// Reads the address, and tells an error of the `api_path` from one of the URL.
fn parse_url(spec: &WorkerSpec, allow: &[Cidr]) -> Result<WorkerUrl, AddError> {
    let alone = WorkerUrl::parse(&spec.url, None, allow).map_err(AddError::Url)?;
    match spec.api_path.as_deref() {
        None => Ok(alone),
        given => WorkerUrl::parse(&spec.url, given, allow).map_err(AddError::ApiPath),
    }
}

fn upstream(id: &str, url: &WorkerUrl, auth: Option<AuthHeader>) -> Arc<Upstream> {
    Arc::new(Upstream::new(UpstreamKind::Worker, id, url.api_url(), auth))
}

/// The ids of a worker that is given none: made from its address alone, because the rendezvous
/// order goes by id, and gateways with the same workers must agree. Only if somebody has taken the
/// first one for another worker is there need of more.
fn default_ids(url: &WorkerUrl) -> impl Iterator<Item = String> {
    let hash = xxh3_64(url.api_url().to_string().as_bytes());
    (0_u64..).map(move |attempt| format!("w-{:016x}", hash.wrapping_add(attempt)))
}
