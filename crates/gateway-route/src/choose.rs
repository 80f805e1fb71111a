//! Which worker of the pool serves a call.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// How workers are chosen (`routing_policy`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Policy {
    /// A session stays where it is. The default.
    #[default]
    Sticky,
    /// Each call to the worker with the least load for its weight.
    LeastLoaded,
    /// Each call to the next worker, as often as its weight says.
    RoundRobin,
}

/// The text names no policy: the operator's error.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no routing policy; use sticky, least_loaded or round_robin")]
pub struct UnknownPolicy(String);

impl FromStr for Policy {
    type Err = UnknownPolicy;

    fn from_str(text: &str) -> Result<Self, UnknownPolicy> {
        match text {
            "sticky" => Ok(Self::Sticky),
            "least_loaded" => Ok(Self::LeastLoaded),
            "round_robin" => Ok(Self::RoundRobin),
            _ => Err(UnknownPolicy(text.to_owned())),
        }
    }
}

/// How the upstream of a call came to be chosen: the trace's `upstream_reason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// A route matches the model.
    Route,
    /// The worker that served the session last.
    Sticky,
    /// The first worker of the session's order, which had none before.
    New,
    /// Another worker, because the session's last one is gone or unhealthy.
    Moved,
    /// A later worker of the session's order, because the earlier ones have too much load.
    Overflow,
    /// The worker with the least load: the policy, or a call without a session.
    LeastLoaded,
    /// The next in turn.
    RoundRobin,
}

impl Reason {
    /// As it stands in a trace.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Route => "route",
            Self::Sticky => "sticky",
            Self::New => "new",
            Self::Moved => "moved",
            Self::Overflow => "overflow",
            Self::LeastLoaded => "least_loaded",
            Self::RoundRobin => "round_robin",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which of the workers may serve a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pool<'m> {
    /// Those registered for this model.
    Named(&'m str),
    /// Those registered for no model in particular.
    Unnamed,
    /// All of them.
    All,
}

impl<'m> Pool<'m> {
    /// The pool of a call for `model`, given the `model_name` of every worker, healthy or not:
    /// those of that name; if there is none, those without a name; if there is none either, all. A
    /// call that names no model may be served by all.
    pub fn select<'w>(
        model: Option<&'m str>,
        names: impl IntoIterator<Item = Option<&'w str>>,
    ) -> Self {
        let Some(model) = model else {
            return Self::All;
        };
        let mut pool = Self::All;
        for name in names {
            match name {
                Some(name) if name == model => return Self::Named(model),
                Some(_) => {}
                None => pool = Self::Unnamed,
            }
        }
        pool
    }

    /// Whether a worker with this `model_name` is in the pool.
    #[must_use]
    pub fn admits(self, name: Option<&str>) -> bool {
        match self {
            Self::Named(model) => name == Some(model),
            Self::Unnamed => name.is_none(),
            Self::All => true,
        }
    }
}

/// A worker as the choice sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate<'a> {
    /// Its id, unique within the pool. Gateways that shall agree must use the same ids.
    pub id: &'a str,
    /// Its share of the load in relation to the others; 0 is taken as 1.
    pub weight: u32,
    /// Whether it may get calls.
    pub healthy: bool,
    /// Sessions with a call in flight or in the last 5 minutes, and calls in flight without a
    /// session.
    pub load: u64,
    /// Its place in the order of turns: what [`Choice::turn`] said when it was last chosen; 0 for
    /// a new one.
    pub turn: u64,
}

/// Where a session's last call went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Last<'a> {
    /// There was none.
    None,
    /// To a worker that is no longer there.
    Gone,
    /// To the worker of this id.
    Worker(&'a str),
}

/// A chosen worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Its place in the iteration over the pool.
    pub index: usize,
    /// How it came to be chosen.
    pub reason: Reason,
    /// Its new place in the order of turns.
    pub turn: u64,
}

/// Chooses a worker of the pool, or none if none is healthy.
///
/// - [`Policy::Sticky`], with a session: (a) its last worker, if that is healthy; (b) else the
///   first one in the session's weighted rendezvous order whose load/weight is at most
///   1.25 × Σload/Σweight + 1. The caller remembers it (c). Without a session: the least loaded.
/// - [`Policy::LeastLoaded`]: the lowest load/weight, of equal ones the one whose turn it is.
/// - [`Policy::RoundRobin`]: in turns, each as often as its weight says.
///
/// Sums are taken over the healthy workers of the pool, because the others carry nothing. The
/// result does not depend on the order of the pool; it depends on nothing but the arguments.
pub fn choose_worker<'a>(
    policy: Policy,
    session: Option<&str>,
    last: Last<'_>,
    pool: impl Iterator<Item = Candidate<'a>> + Clone,
) -> Option<Choice> {
    match (policy, session) {
        (Policy::Sticky, Some(session)) => sticky(session, last, pool),
        (Policy::Sticky | Policy::LeastLoaded, _) => {
            in_turn(pool, Reason::LeastLoaded, compare_load)
        }
        (Policy::RoundRobin, _) => in_turn(pool, Reason::RoundRobin, |_, _| Ordering::Equal),
    }
}

fn sticky<'a>(
    session: &str,
    last: Last<'_>,
    pool: impl Iterator<Item = Candidate<'a>> + Clone,
) -> Option<Choice> {
    if let Last::Worker(id) = last
        && let Some((index, worker)) = pool.clone().enumerate().find(|(_, worker)| worker.id == id)
        && worker.healthy
    {
        return Some(Choice {
            index,
            reason: Reason::Sticky,
            turn: worker.turn,
        });
    }
    let bound = Bound::of(pool.clone());
    let seed = xxh3_64(session.as_bytes());
    // The best of all, and the best of those with room: no order has to be built for that.
    let mut first: Option<Ranked<'_>> = None;
    let mut chosen: Option<(Ranked<'_>, Choice)> = None;
    for (index, worker) in pool.enumerate().filter(|(_, worker)| worker.healthy) {
        let ranked = Ranked {
            score: score(seed, &worker),
            id: worker.id,
        };
        if first.is_none_or(|best| ranked.precedes(best)) {
            first = Some(ranked);
        }
        if bound.admits(&worker) && chosen.is_none_or(|(best, _)| ranked.precedes(best)) {
            let reason = Reason::New;
            chosen = Some((
                ranked,
                Choice {
                    index,
                    reason,
                    turn: worker.turn,
                },
            ));
        }
    }
    // The least loaded worker never lies above the mean, so that there is one if any is healthy.
    let (ranked, mut choice) = chosen?;
    if last != Last::None {
        choice.reason = Reason::Moved;
    } else if first.is_some_and(|first| first.id != ranked.id) {
        choice.reason = Reason::Overflow;
    }
    Some(choice)
}

/// A worker's place in a session's order.
#[derive(Clone, Copy)]
struct Ranked<'a> {
    score: f64,
    id: &'a str,
}

impl Ranked<'_> {
    /// The higher score comes first; the id decides between equal ones.
    fn precedes(self, other: Ranked<'_>) -> bool {
        self.score
            .total_cmp(&other.score)
            .then_with(|| other.id.cmp(self.id))
            == Ordering::Greater
    }
}

/// The score of weighted rendezvous hashing: -w/ln(h), with h the hash of session and worker as a
/// number between 0 and 1. A worker comes first for a share of all sessions that is its share of
/// the weight, and neither its coming nor its going changes the order among the others.
fn score(session_seed: u64, worker: &Candidate<'_>) -> f64 {
    let hash = xxh3_64_with_seed(worker.id.as_bytes(), session_seed);
    // The upper 53 bits, exact as a float; half a step up, so that it is neither 0 nor 1.
    let unit = ((hash >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
    -f64::from(weight(worker)) / unit.ln()
}

/// The most load that a worker may have to get another session.
struct Bound {
    load: u128,
    weight: u128,
}

impl Bound {
    fn of<'a>(pool: impl Iterator<Item = Candidate<'a>>) -> Self {
        let mut bound = Self { load: 0, weight: 0 };
        for worker in pool.filter(|worker| worker.healthy) {
            bound.load += u128::from(worker.load);
            bound.weight += u128::from(weight(&worker));
        }
        bound
    }

    /// load/weight ≤ 1.25 × Σload/Σweight + 1, in whole numbers: both sides times 4·weight·Σweight.
    fn admits(&self, worker: &Candidate<'_>) -> bool {
        let weight = u128::from(weight(worker));
        4 * u128::from(worker.load) * self.weight <= weight * (5 * self.load + 4 * self.weight)
    }
}

/// Compares load/weight.
fn compare_load(a: &Candidate<'_>, b: &Candidate<'_>) -> Ordering {
    let left = u128::from(a.load) * u128::from(weight(b));
    left.cmp(&(u128::from(b.load) * u128::from(weight(a))))
}

/// The healthy worker that `compare` puts first; among equals the one whose turn it is.
///
/// Turns are strides: a worker that was chosen moves on by one stride, which is the shorter the
/// greater its weight, and the one that is furthest behind is next. No worker is let fall behind
/// by more than the others' strides, so that one that is new or was away catches up with no turns.
fn in_turn<'a>(
    pool: impl Iterator<Item = Candidate<'a>> + Clone,
    reason: Reason,
    compare: impl Fn(&Candidate<'_>, &Candidate<'_>) -> Ordering,
) -> Option<Choice> {
    let healthy = pool.enumerate().filter(|(_, worker)| worker.healthy);
    let behind = |worker: &Candidate<'_>| worker.turn.saturating_sub(stride(worker));
    let floor = healthy.clone().map(|(_, worker)| behind(&worker)).max()?;
    let turn = |worker: &Candidate<'_>| worker.turn.max(floor);
    let (index, worker) = healthy.min_by(|(_, a), (_, b)| {
        compare(a, b)
            .then_with(|| turn(a).cmp(&turn(b)))
            .then_with(|| a.id.cmp(b.id))
    })?;
    Some(Choice {
        index,
        reason,
        turn: turn(&worker).saturating_add(stride(&worker)),
    })
}

/// One turn of a worker of weight 1.
const STRIDE: u64 = 1 << 20;

fn stride(worker: &Candidate<'_>) -> u64 {
    (STRIDE / u64::from(weight(worker))).max(1)
}

fn weight(worker: &Candidate<'_>) -> u32 {
    worker.weight.max(1)
}

#[cfg(test)]
mod tests;
