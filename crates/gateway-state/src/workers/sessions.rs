//! Which worker serves a session, and for how long a session counts as load.

use std::collections::{BTreeMap, BTreeSet};

use gateway_route::Pool;
use xxhash_rust::xxh3::xxh3_64;

/// A registration of a worker.
pub(super) type WorkerKey = u64;

/// A session counts as load until it had no call for so long, in milliseconds.
const LOAD_MS: u64 = 5 * 60 * 1000;

/// A session is remembered until it had no call for so long, in milliseconds. Nothing that a
/// worker keeps for it lives longer; if it comes back all the same, rendezvous finds the same
/// worker in most cases.
const MEMORY_MS: u64 = 24 * 60 * 60 * 1000;

/// So many sessions without load are remembered at most, the latest ones.
const MEMORY: usize = 1 << 18;

/// So many sessions are let go at once at most, so that no call pays for a crowd.
const EXPIRIES: usize = 1024;

/// A session and the pool that it asks: one that uses two models may be served by two workers.
/// Hashes are enough. Two sessions of the same hash would share a worker, nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SessionKey {
    session: u64,
    pool: u64,
}

impl SessionKey {
    pub(super) fn new(session: &str, pool: Pool<'_>) -> Self {
        let pool = match pool {
            Pool::All => 0,
            Pool::Unnamed => 1,
            Pool::Named(model) => xxh3_64(model.as_bytes()),
        };
        Self {
            session: xxh3_64(session.as_bytes()),
            pool,
        }
    }
}

/// Sessions by key. Trees, because they give back the memory of what is removed.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    entries: BTreeMap<SessionKey, Entry>,
    /// Without a call in flight, but still counted as load, by the end of the last call.
    recent: BTreeSet<(u64, SessionKey)>,
    /// Not counted any more, only remembered, by the end of the last call.
    remembered: BTreeSet<(u64, SessionKey)>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    worker: WorkerKey,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// With calls in flight.
    Busy {
        calls: u32,
        /// The session was deleted meanwhile: nothing remains of it when they end.
        forgotten: bool,
    },
    /// In `recent`.
    Recent { since: u64 },
    /// In `remembered`.
    Remembered { since: u64 },
}

impl Sessions {
    /// The worker that served the session last, within its pool.
    pub(super) fn last(&self, key: SessionKey) -> Option<WorkerKey> {
        self.entries.get(&key).map(|entry| entry.worker)
    }

    /// The worker that served the session last, in any pool.
    pub(super) fn last_of_any_pool(&self, key: SessionKey) -> Option<WorkerKey> {
        let age = |entry: &Entry| match entry.phase {
            Phase::Busy { .. } => u64::MAX,
            Phase::Recent { since } | Phase::Remembered { since } => since,
        };
        self.of_session(key.session)
            .max_by_key(|(_, entry)| age(entry))
            .map(|(_, entry)| entry.worker)
    }

    /// A call of the session begins at `worker`. `count` hears which worker has a session more or
    /// less.
    pub(super) fn begin(
        &mut self,
        key: SessionKey,
        worker: WorkerKey,
        mut count: impl FnMut(WorkerKey, i64),
    ) {
        let Some(entry) = self.entries.get_mut(&key) else {
            let phase = Phase::Busy {
                calls: 1,
                forgotten: false,
            };
            self.entries.insert(key, Entry { worker, phase });
            return count(worker, 1);
        };
        let (counted, calls) = match entry.phase {
            Phase::Busy { calls, .. } => (true, calls),
            Phase::Recent { since } => {
                self.recent.remove(&(since, key));
                (true, 0)
            }
            Phase::Remembered { since } => {
                self.remembered.remove(&(since, key));
                (false, 0)
            }
        };
        if counted {
            count(entry.worker, -1);
        }
        count(worker, 1);
        *entry = Entry {
            worker,
            phase: Phase::Busy {
                calls: calls + 1,
                forgotten: false,
            },
        };
    }

    /// A call of the session ends. `uncount` hears which worker has a session less.
    pub(super) fn end(&mut self, key: SessionKey, now: u64, mut uncount: impl FnMut(WorkerKey)) {
        let Some(entry) = self.entries.get_mut(&key) else {
            return;
        };
        match &mut entry.phase {
            Phase::Busy { calls, .. } if *calls > 1 => *calls -= 1,
            Phase::Busy {
                forgotten: true, ..
            } => {
                uncount(entry.worker);
                self.entries.remove(&key);
            }
            phase => {
                *phase = Phase::Recent { since: now };
                self.recent.insert((now, key));
            }
        }
    }

    /// The session was deleted.
    pub(super) fn forget(&mut self, session: &str, mut uncount: impl FnMut(WorkerKey)) {
        let session = xxh3_64(session.as_bytes());
        let keys: Vec<SessionKey> = self.of_session(session).map(|(key, _)| *key).collect();
        for key in keys {
            let Some(entry) = self.entries.get_mut(&key) else {
                continue;
            };
            match &mut entry.phase {
                Phase::Busy { forgotten, .. } => {
                    *forgotten = true;
                    continue;
                }
                Phase::Recent { since } => {
                    self.recent.remove(&(*since, key));
                    uncount(entry.worker);
                }
                Phase::Remembered { since } => {
                    self.remembered.remove(&(*since, key));
                }
            }
            self.entries.remove(&key);
        }
    }

    /// Lets go of what was long ago. `uncount` hears which worker has a session less.
    pub(super) fn expire(&mut self, now: u64, mut uncount: impl FnMut(WorkerKey)) {
        for _ in 0..EXPIRIES {
            let Some(&(since, key)) = self.recent.first() else {
                break;
            };
            if now.saturating_sub(since) < LOAD_MS {
                break;
            }
            self.recent.pop_first();
            self.remembered.insert((since, key));
            if let Some(entry) = self.entries.get_mut(&key) {
                entry.phase = Phase::Remembered { since };
                uncount(entry.worker);
            }
        }
        for _ in 0..EXPIRIES {
            let Some(&(since, key)) = self.remembered.first() else {
                break;
            };
            if now.saturating_sub(since) < MEMORY_MS && self.remembered.len() <= MEMORY {
                break;
            }
            self.remembered.pop_first();
            self.entries.remove(&key);
        }
    }

    fn of_session(&self, session: u64) -> impl Iterator<Item = (&SessionKey, &Entry)> {
        let first = SessionKey { session, pool: 0 };
        let last = SessionKey {
            session,
            pool: u64::MAX,
        };
        self.entries.range(first..=last)
    }
}

#[cfg(test)]
mod tests;
