//! The one object that both planes share.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

use crate::{Counters, Drain, Live, PauseGate, SamplingCache, Workers};

/// The name of the program, as it tells it.
pub const NAME: &str = "rllm-model-gateway";

/// What both planes share while the gateway runs. See the crate's page.
#[derive(Debug)]
pub struct State {
    live: ArcSwap<Live>,
    workers: Workers,
    sampling: SamplingCache,
    weight_version: Mutex<Option<i64>>,
    pause: PauseGate,
    drain: Drain,
    counters: Counters,
    version: &'static str,
    started: Instant,
}

impl State {
    /// A state without workers, as of now. `version` is what the program says of itself.
    #[must_use]
    pub fn new(live: Live, version: &'static str) -> Self {
        Self {
            live: ArcSwap::from_pointee(live),
            workers: Workers::default(),
            sampling: SamplingCache::default(),
            weight_version: Mutex::default(),
            pause: PauseGate::default(),
            drain: Drain::default(),
            counters: Counters::default(),
            version,
            started: Instant::now(),
        }
    }

    /// The settings in force. A call takes them once and keeps them.
    #[must_use]
    pub fn live(&self) -> Arc<Live> {
        self.live.load_full()
    }

    /// Puts other settings in force, for calls that come from now on.
    pub fn set_live(&self, live: Live) {
        self.live.store(Arc::new(live));
    }

    /// The pool of workers.
    #[must_use]
    pub fn workers(&self) -> &Workers {
        &self.workers
    }

    /// Sampling parameters by session.
    #[must_use]
    pub fn sampling(&self) -> &SamplingCache {
        &self.sampling
    }

    /// Forgets what is held in memory for a session that was deleted: its sampling parameters and
    /// its worker. A call of it that is under way still counts as load until it ends.
    pub fn forget_session(&self, session: &str) {
        self.sampling.remove(session);
        self.workers.forget_session(session);
    }

    /// The version of the weights that the workers serve, as last told.
    #[must_use]
    pub fn weight_version(&self) -> Option<i64> {
        *self
            .weight_version
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of another version of the weights.
    pub fn set_weight_version(&self, version: i64) {
        *self
            .weight_version
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(version);
    }

    /// Where new calls wait while the weights are changed.
    #[must_use]
    pub fn pause(&self) -> &PauseGate {
        &self.pause
    }

    /// The end of serving: begun once, and waited for by whom it concerns.
    #[must_use]
    pub fn drain(&self) -> &Drain {
        &self.drain
    }

    /// Whether new calls are refused because the gateway is about to end.
    #[must_use]
    pub fn draining(&self) -> bool {
        self.drain.begun()
    }

    /// What has been counted since the start.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// What the program says of itself.
    #[must_use]
    pub fn version(&self) -> &'static str {
        self.version
    }

    /// The time since the start.
    #[must_use]
    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }
}

#[cfg(test)]
mod tests;
