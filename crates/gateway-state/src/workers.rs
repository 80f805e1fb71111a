//! The pool of workers: registration, health, load, and which of them serves a session.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use gateway_route::{
    BaseUrl, Candidate, Change, Cidr, Event, Health, HealthRules, Last, Policy, Pool, Reason,
    WorkerUrl, choose_worker,
};

use crate::Upstream;

mod registration;
mod sessions;

pub use registration::{AddError, Added, WorkerInfo, WorkerSpec};
use sessions::{SessionKey, Sessions, WorkerKey};

/// The pool. One lock, held for a walk over the workers at most; cloning shares it.
#[derive(Clone, Debug)]
pub struct Workers(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// Sessions are kept in milliseconds from here on.
    epoch: Instant,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// In the order of their registration.
    workers: Vec<Worker>,
    sessions: Sessions,
    /// Keys given out so far.
    keys: WorkerKey,
}

#[derive(Debug)]
struct Worker {
    /// Of this registration alone: what is still counted for an earlier one of the same id finds
    /// nothing to change.
    key: WorkerKey,
    id: String,
    /// Whether it is the configuration's, and not registered over the API.
    configured: bool,
    /// The URL as it was given, in one spelling.
    given: BaseUrl,
    url: WorkerUrl,
    model_name: Option<String>,
    weight: u32,
    upstream: Arc<Upstream>,
    health: Health,
    /// Calls in flight.
    calls: u64,
    /// Those of them without a session.
    loose_calls: u64,
    /// Sessions with a call in flight or in the last 5 minutes.
    sessions: u64,
    turn: u64,
}

/// Why no worker could be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoWorker {
    /// None is registered.
    NoneThere,
    /// None of those that may serve the call is healthy.
    NoneHealthy,
}

/// A worker to be checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// For [`Workers::report`].
    pub worker_id: String,
    /// The worker's `url`; the health path is appended.
    pub url: BaseUrl,
}

impl Default for Workers {
    fn default() -> Self {
        Self(Arc::new(Shared {
            epoch: Instant::now(),
            inner: Mutex::default(),
        }))
    }
}

impl Workers {
    /// Registers a worker, or updates the one with the same URL. `allow` are the ranges of
    /// `worker_allow`.
    ///
    /// An update changes what `spec` gives and leaves the rest, the id too. URLs are the same if
    /// they are so as given, or together with their `api_path`.
    ///
    /// # Errors
    ///
    /// [`AddError`]: the registrant's error, and nothing was changed.
    pub fn add(&self, spec: &WorkerSpec, allow: &[Cidr]) -> Result<Added, AddError> {
        self.lock().add(spec, allow)
    }

    /// Makes the workers of the configuration `specs`, under one lock: new ones come, those that are
    /// not among them any more go, others are changed in place and keep their sessions and their
    /// health. What a spec does not give is the default. Workers that were [added](Self::add) stay
    /// as they are, and win over a spec of the same URL.
    ///
    /// # Errors
    ///
    /// [`AddError`] with the index of its spec, and nothing was changed.
    pub fn configure(&self, specs: &[WorkerSpec], allow: &[Cidr]) -> Result<(), (usize, AddError)> {
        self.lock().configure(specs, allow)
    }

    /// All workers, in the order of their registration.
    #[must_use]
    pub fn list(&self) -> Vec<WorkerInfo> {
        self.lock().workers.iter().map(WorkerInfo::of).collect()
    }

    /// Removes a worker: it gets no more calls, those under way go on, and its sessions move.
    /// False if there is none of that id.
    pub fn remove(&self, worker_id: &str) -> bool {
        let mut inner = self.lock();
        let before = inner.workers.len();
        inner.workers.retain(|worker| worker.id != worker_id);
        inner.workers.len() < before
    }

    /// What is to be checked.
    #[must_use]
    pub fn probes(&self) -> Vec<Probe> {
        let probe = |worker: &Worker| Probe {
            worker_id: worker.id.clone(),
            url: worker.url.url().clone(),
        };
        self.lock().workers.iter().map(probe).collect()
    }

    /// Takes note of what was seen of a worker, and says what that changed. One that is gone is
    /// passed over.
    pub fn report(&self, worker_id: &str, event: Event<'_>, rules: &HealthRules) -> Option<Change> {
        let mut inner = self.lock();
        let worker = inner
            .workers
            .iter_mut()
            .find(|worker| worker.id == worker_id)?;
        worker.health.handle(event, rules)
    }

    /// Forgets which worker serves a session.
    pub fn forget_session(&self, session: &str) {
        let mut inner = self.lock();
        let Inner {
            workers, sessions, ..
        } = &mut *inner;
        sessions.forget(session, |key| count_session(workers, key, -1));
    }

    /// Chooses a worker, none of `tried`, and counts the call as its load until the lease is
    /// dropped.
    ///
    /// A call that names no model belongs to the session's last worker, whatever model that
    /// serves, but leaves the session where it is: such calls (`GET /models`) make no session.
    pub(crate) fn choose(
        &self,
        policy: Policy,
        model: Option<&str>,
        session: Option<&str>,
        tried: &[Arc<Upstream>],
        now: Instant,
    ) -> Result<(Arc<Upstream>, Reason, Lease), NoWorker> {
        let mut inner = self.lock();
        let Inner {
            workers, sessions, ..
        } = &mut *inner;
        if workers.is_empty() {
            return Err(NoWorker::NoneThere);
        }
        sessions.expire(self.0.millis(now), |key| count_session(workers, key, -1));

        let names = workers.iter().map(|worker| worker.model_name.as_deref());
        let pool = Pool::select(model, names);
        let session_key = session.map(|session| SessionKey::new(session, pool));
        let last = match (session_key, model) {
            (None, _) => None,
            (Some(key), Some(_)) => sessions.last(key),
            (Some(key), None) => sessions.last_of_any_pool(key),
        };
        let last = match last {
            None => Last::None,
            Some(last) => workers
                .iter()
                .find(|worker| worker.key == last)
                .map_or(Last::Gone, |worker| Last::Worker(&worker.id)),
        };
        let in_pool = |worker: &&Worker| pool.admits(worker.model_name.as_deref());
        let candidates = workers
            .iter()
            .filter(in_pool)
            .map(|worker| worker.as_candidate(tried));
        let choice =
            choose_worker(policy, session, last, candidates).ok_or(NoWorker::NoneHealthy)?;

        let worker = workers
            .iter_mut()
            .filter(|worker| in_pool(&&**worker))
            .nth(choice.index);
        let worker = worker.expect("the choice is one of the candidates");
        let (key, upstream) = (worker.key, Arc::clone(&worker.upstream));
        worker.turn = choice.turn;
        worker.calls += 1;
        // Only the sticky policy binds a session to a worker; load is then counted by sessions.
        let bound = session_key.filter(|_| policy == Policy::Sticky && model.is_some());
        match bound {
            None => worker.loose_calls += 1,
            Some(bound) => sessions.begin(bound, key, |key, change| {
                count_session(workers, key, change);
            }),
        }
        let lease = Lease {
            pool: self.clone(),
            worker: key,
            session: bound,
        };
        Ok((upstream, choice.reason, lease))
    }

    fn release(&self, lease: &Lease, now: Instant) {
        let mut inner = self.lock();
        let Inner {
            workers, sessions, ..
        } = &mut *inner;
        if let Some(worker) = workers.iter_mut().find(|worker| worker.key == lease.worker) {
            worker.calls -= 1;
            worker.loose_calls -= u64::from(lease.session.is_none());
        }
        if let Some(session) = lease.session {
            let now = self.0.millis(now);
            sessions.end(session, now, |key| count_session(workers, key, -1));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing that holds the lock calls into foreign code, so that a panic leaves counts that
        // are whole.
        self.0.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    fn millis(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.epoch).as_millis();
        u64::try_from(since).unwrap_or(u64::MAX)
    }
}

impl Worker {
    /// The worker as the choice sees it; to a call that has tried it, it is not well.
    fn as_candidate(&self, tried: &[Arc<Upstream>]) -> Candidate<'_> {
        let tried = tried.iter().any(|tried| tried.name == self.id);
        Candidate {
            id: &self.id,
            weight: self.weight,
            healthy: !tried && self.health.is_healthy(),
            load: self.sessions + self.loose_calls,
            turn: self.turn,
        }
    }
}

/// Counts a session more or less for a worker, if that is still there.
fn count_session(workers: &mut [Worker], key: WorkerKey, change: i64) {
    if let Some(worker) = workers.iter_mut().find(|worker| worker.key == key) {
        worker.sessions = worker.sessions.saturating_add_signed(change);
    }
}

/// A call that a worker is serving; dropping it is the call's end.
#[derive(Debug)]
pub struct Lease {
    pool: Workers,
    worker: WorkerKey,
    session: Option<SessionKey>,
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.pool.release(self, Instant::now());
    }
}

#[cfg(test)]
mod tests;
