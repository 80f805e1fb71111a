//! When a worker counts as unhealthy, and when it is back.

use std::time::Duration;

/// What decides over health: plain settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HealthRules {
    /// So many failed checks in a row make a worker unhealthy (`health_check_failures`); none is
    /// taken as one.
    pub failures: u32,
    /// How long a check may take before it has failed (`health_check_timeout`).
    pub timeout: Duration,
}

impl Default for HealthRules {
    fn default() -> Self {
        Self {
            failures: 3,
            timeout: Duration::from_secs(5),
        }
    }
}

impl HealthRules {
    /// So many good checks in a row bring a worker back: two, so that one that comes and goes does
    /// not draw sessions in between; one where a single failure is enough to lose it.
    #[must_use]
    pub fn recoveries(&self) -> u32 {
        self.failures.clamp(1, 2)
    }
}

/// Whether a worker that answers its health path with this status passes the check: any below 500
/// does, so that a server without that path (404), or with one that wants a token (401), counts as
/// healthy.
#[must_use]
pub fn check_passed(status: u16) -> bool {
    status < 500
}

/// What was seen of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// Its health path answered well.
    Passed,
    /// Its health path answered with a status of 500 or above, or not at all.
    Failed {
        /// Why, for people.
        error: &'a str,
        /// From the start of the check to its end, by the gateway's own clock.
        took: Duration,
    },
    /// A call found the connection refused: this counts like a failed check.
    Refused,
}

/// What an event changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The worker gets no more calls.
    BecameUnhealthy,
    /// The worker gets calls again.
    Recovered,
}

/// The health of one worker: a state machine with hysteresis. A new worker is healthy.
///
/// It counts results, not time: a gateway that was stopped for a minute has seen no failure in it.
/// A check that was under way meanwhile ends as failed although nothing was wrong with the worker;
/// it is known by having taken far longer than a check may, and does not count.
///
/// ```
/// use gateway_route::{Change, Event, Health, HealthRules};
///
/// let rules = HealthRules::default();
/// let mut health = Health::default();
/// assert_eq!(health.handle(Event::Refused, &rules), None);
/// assert_eq!(health.handle(Event::Refused, &rules), None);
/// assert_eq!(health.handle(Event::Refused, &rules), Some(Change::BecameUnhealthy));
/// assert_eq!(health.handle(Event::Passed, &rules), None);
/// assert_eq!(health.handle(Event::Passed, &rules), Some(Change::Recovered));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    state: State,
    last_error: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Healthy { failures: u32 },
    Unhealthy { passes: u32 },
}

impl Default for State {
    fn default() -> Self {
        Self::Healthy { failures: 0 }
    }
}

impl Health {
    /// Whether the worker may get calls.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        matches!(self.state, State::Healthy { .. })
    }

    /// What the latest failure said; none once a check has passed since.
    #[must_use]
    pub fn last_error(&self) -> Option<&str> {
        self.last_error.as_deref()
    }

    /// Takes note of what was seen, and says what that changes.
    pub fn handle(&mut self, event: Event<'_>, rules: &HealthRules) -> Option<Change> {
        match event {
            Event::Passed => self.passed(rules),
            Event::Failed { error, took } if took <= rules.timeout.saturating_mul(2) => {
                self.failed(error, rules)
            }
            Event::Failed { .. } => None,
            Event::Refused => self.failed("connection refused", rules),
        }
    }

    fn passed(&mut self, rules: &HealthRules) -> Option<Change> {
        self.last_error = None;
        match self.state {
            State::Unhealthy { passes } if passes + 1 < rules.recoveries() => {
                self.state = State::Unhealthy { passes: passes + 1 };
                None
            }
            State::Unhealthy { .. } => {
                self.state = State::Healthy { failures: 0 };
                Some(Change::Recovered)
            }
            State::Healthy { .. } => {
                self.state = State::Healthy { failures: 0 };
                None
            }
        }
    }

    fn failed(&mut self, error: &str, rules: &HealthRules) -> Option<Change> {
        self.last_error = Some(error.to_owned());
        match self.state {
            State::Healthy { failures } if failures + 1 < rules.failures => {
                self.state = State::Healthy {
                    failures: failures + 1,
                };
                None
            }
            State::Healthy { .. } => {
                self.state = State::Unhealthy { passes: 0 };
                Some(Change::BecameUnhealthy)
            }
            State::Unhealthy { .. } => {
                self.state = State::Unhealthy { passes: 0 };
                None
            }
        }
    }
}

#[cfg(test)]
mod tests;
