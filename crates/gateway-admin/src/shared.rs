//! What the handlers share, and the changes to sessions, which must keep their order.

use std::collections::{BTreeSet, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use gateway_state::{SamplingParams, State};
use gateway_store::{Change, ChangeError, Ledger, Scope, StoreError, TraceStore};
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::refusal::Refusal;
use crate::reload::Reload;
use crate::scope::Runs;

/// What every handler is given.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) state: Arc<State>,
    pub(crate) ledger: Ledger,
    pub(crate) reload: Reload,
    locks: Arc<SessionLocks>,
}

impl Shared {
    pub(crate) fn new(state: Arc<State>, ledger: Ledger, reload: Reload) -> Self {
        Self {
            state,
            ledger,
            reload,
            locks: Arc::default(),
        }
    }

    /// The gateway's own run.
    pub(crate) fn own_run(&self) -> Option<String> {
        self.state.live().run_id.clone()
    }

    /// How long a request's body may make no progress.
    pub(crate) fn patience(&self) -> Duration {
        self.state.live().timeouts.request
    }

    /// Reads from the store what was finished before, on the blocking pool.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&dyn TraceStore) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Refusal> {
        Ok(self.ledger.read(read).await?)
    }

    /// Creates or updates a session.
    pub(crate) async fn put_session(&self, put: PutSession) -> Result<(), Refusal> {
        let (stored, for_calls) = put.sampling_params.unzip();
        let change = Change::PutSession {
            session_id: put.session_id.clone(),
            run_id: self.own_run(),
            metadata: put.metadata,
            sampling_params: stored,
            at: now(),
        };
        let _order = self.locks.lock([put.session_id.as_str()]).await;
        let changed = self.ledger.change(change).await;
        if let (Some(params), true) = (for_calls, is_taken(&changed)) {
            self.state.sampling().set(&put.session_id, params);
        }
        changed?;
        Ok(())
    }

    /// Deletes sessions within the runs that are meant, and gives the number of traces that this
    /// deleted. Where one of them would have to be guessed, none is deleted.
    pub(crate) async fn delete_sessions(
        &self,
        session_ids: Vec<String>,
        runs: Runs,
    ) -> Result<u64, Refusal> {
        let _order = self
            .locks
            .lock(session_ids.iter().map(String::as_str))
            .await;
        if runs == Runs::Unsaid {
            self.refuse_ambiguous(session_ids.clone()).await?;
        }
        let scope = runs.scope();
        let change = Change::DeleteSessions {
            session_ids: session_ids.clone(),
            scope: scope.clone(),
        };
        let changed = self.ledger.change(change).await;
        if is_taken(&changed) {
            self.forget_deleted(session_ids, &scope).await?;
        }
        Ok(changed?.deleted)
    }

    /// Refuses if one of the sessions is in several runs, those of its open calls included.
    async fn refuse_ambiguous(&self, session_ids: Vec<String>) -> Result<(), Refusal> {
        let wanted: HashSet<&str> = session_ids.iter().map(String::as_str).collect();
        // Asked for before the store is read: a call that ends meanwhile is there then.
        let mut runs = self.ledger.open_runs(&wanted);
        let spread = self.read(move |store| {
            let rows = store.session_runs(&session_ids)?.into_iter();
            // A row without a run and without traces takes the run of the first call.
            for row in rows.filter(|row| row.run_id.is_some() || row.total_count > 0) {
                let of_session = runs.entry(row.session_id).or_default();
                of_session.insert(row.run_id.unwrap_or_default());
            }
            let mut spread = session_ids.iter().filter_map(|session_id| {
                let runs = runs.get(session_id).filter(|runs| runs.len() > 1)?;
                Some(Runs::ambiguous(session_id, runs))
            });
            Ok(spread.next())
        });
        match spread.await? {
            Some(refusal) => Err(refusal),
            None => Ok(()),
        }
    }

    /// Sessions of which nothing is left are forgotten by calls, too.
    async fn forget_deleted(&self, session_ids: Vec<String>, scope: &Scope) -> Result<(), Refusal> {
        let gone = match scope {
            Scope::All => session_ids,
            Scope::Run(_) => {
                let gone = self.read(move |store| {
                    let rows = store.session_runs(&session_ids)?.into_iter();
                    let left: HashSet<_> = rows.map(|row| row.session_id).collect();
                    let mut gone = session_ids;
                    gone.retain(|session_id| !left.contains(session_id));
                    Ok(gone)
                });
                gone.await?
            }
        };
        for session_id in &gone {
            self.state.forget_session(session_id);
        }
        Ok(())
    }
}

/// What a session is created or updated with.
pub(crate) struct PutSession {
    pub(crate) session_id: String,
    pub(crate) metadata: Option<gateway_store::Json>,
    /// As they are stored, and as the calls of the session take them.
    pub(crate) sampling_params: Option<(gateway_store::Json, SamplingParams)>,
}

/// Whether a change is made, or will be although nobody waited for it.
fn is_taken<T>(changed: &Result<T, ChangeError>) -> bool {
    matches!(changed, Ok(_) | Err(ChangeError::Behind { .. }))
}

fn now() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0.0, |since| since.as_secs_f64())
}

/// Keeps the changes of one session in order, so that what calls are told of it (its sampling
/// params) is what the store says. Sessions share a few locks; a wait for a stranger is short.
struct SessionLocks([Arc<Mutex<()>>; 64]);

impl Default for SessionLocks {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Arc::default()))
    }
}

impl SessionLocks {
    /// Locks these sessions until the guards are dropped.
    async fn lock<'a>(
        &self,
        session_ids: impl IntoIterator<Item = &'a str>,
    ) -> Vec<OwnedMutexGuard<()>> {
        let places = session_ids.into_iter().map(|session_id| {
            let mut hasher = DefaultHasher::new();
            session_id.hash(&mut hasher);
            (hasher.finish() % self.0.len() as u64) as usize
        });
        // In ascending order, so that no two who need several wait for each other.
        let places: BTreeSet<usize> = places.collect();
        let mut guards = Vec::with_capacity(places.len());
        for place in places {
            guards.push(Arc::clone(&self.0[place]).lock_owned().await);
        }
        guards
    }
}
