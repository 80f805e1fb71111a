//! What may move when workers come and go, over random pools and histories.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// A router that remembers and counts, as the gateway does, with one call in each session.
#[derive(Clone, Default)]
struct Router {
    /// Id, weight, health.
    workers: Vec<(String, u32, bool)>,
    /// The worker that served the session last.
    last: BTreeMap<String, String>,
}

impl Router {
    fn new(workers: &[(String, u32)]) -> Self {
        let workers = workers
            .iter()
            .map(|(id, weight)| (id.clone(), *weight, true))
            .collect();
        Self {
            workers,
            last: BTreeMap::new(),
        }
    }

    fn pool(&self) -> Vec<Candidate<'_>> {
        let load = |id: &str| self.last.values().filter(|last| *last == id).count() as u64;
        self.workers
            .iter()
            .map(|(id, weight, healthy)| Candidate {
                id,
                weight: *weight,
                healthy: *healthy,
                load: load(id),
                turn: 0,
            })
            .collect()
    }

    fn call(&mut self, session: &str) -> Option<(String, Reason)> {
        let pool = self.pool();
        let last = self
            .last
            .get(session)
            .map_or(Last::None, |last| Last::Worker(last));
        let (id, reason) = sticky(session, last, &pool)?;
        let id = id.to_owned();
        self.last.insert(session.to_owned(), id.clone());
        Some((id, reason))
    }

    fn healthy(&mut self, index: usize) -> &mut bool {
        let count = self.workers.len();
        &mut self.workers[index % count].2
    }
}

/// Weight, health, load and turn of a worker.
type State = (u32, bool, u64, u64);

/// Distinct ids with weights.
fn workers() -> impl Strategy<Value = Vec<(String, u32)>> {
    proptest::collection::btree_map("[a-z]{1,6}", 1_u32..20, 1..8)
        .prop_map(|workers| workers.into_iter().collect())
}

/// Distinct sessions, as many as a small training run has.
fn sessions() -> impl Strategy<Value = Vec<String>> {
    proptest::collection::btree_set("[a-z0-9:/-]{1,8}", 1..60)
        .prop_map(|sessions| sessions.into_iter().collect())
}

/// A router with all sessions running.
fn running(workers: &[(String, u32)], sessions: &[String]) -> Router {
    let mut router = Router::new(workers);
    for session in sessions {
        router.call(session).expect("all workers are healthy");
    }
    router
}

proptest! {
    #[test]
    fn adding_a_worker_moves_no_running_session(
        workers in workers(), sessions in sessions(), weight in 1_u32..20,
    ) {
        let mut router = running(&workers, &sessions);
        let before = router.last.clone();
        router.workers.push(("NEW".to_owned(), weight, true));
        for session in &sessions {
            let (id, reason) = router.call(session).unwrap();
            prop_assert_eq!((&id, reason), (&before[session], Reason::Sticky));
        }
    }

    #[test]
    fn removing_a_worker_moves_only_its_own_sessions(
        workers in workers(), sessions in sessions(), index: prop::sample::Index,
    ) {
        prop_assume!(workers.len() > 1);
        let mut router = running(&workers, &sessions);
        let before = router.last.clone();
        let (gone, ..) = router.workers.remove(index.index(workers.len()));
        for session in &sessions {
            let (id, reason) = router.call(session).unwrap();
            if before[session] == gone {
                prop_assert_eq!(reason, Reason::Moved);
                prop_assert_ne!(&id, &gone);
            } else {
                prop_assert_eq!((&id, reason), (&before[session], Reason::Sticky));
            }
        }
    }

    #[test]
    fn a_recovered_worker_draws_none_back(
        workers in workers(), sessions in sessions(), index in 0_usize..8,
    ) {
        prop_assume!(workers.len() > 1);
        let mut router = running(&workers, &sessions);
        *router.healthy(index) = false;
        for session in &sessions {
            router.call(session).unwrap();
        }
        let meanwhile = router.last.clone();
        *router.healthy(index) = true;
        for session in &sessions {
            let (id, reason) = router.call(session).unwrap();
            prop_assert_eq!((&id, reason), (&meanwhile[session], Reason::Sticky));
        }
    }

    #[test]
    fn two_routers_agree_without_talking_as_long_as_load_allows(
        workers in workers(), sessions in sessions(),
    ) {
        let reversed: Vec<_> = workers.iter().rev().cloned().collect();
        for session in &sessions {
            // Each session is the first of its router, as where load never reaches the bound.
            let one = Router::new(&workers).call(session);
            let other = Router::new(&reversed).call(session);
            prop_assert_eq!(one, other);
        }
    }

    #[test]
    fn without_load_a_removed_worker_changes_no_other_order(
        workers in workers(), sessions in sessions(), index: prop::sample::Index,
    ) {
        prop_assume!(workers.len() > 1);
        let mut fewer = workers.clone();
        let (gone, _) = fewer.remove(index.index(workers.len()));
        for session in &sessions {
            let (with, _) = Router::new(&workers).call(session).unwrap();
            let (without, _) = Router::new(&fewer).call(session).unwrap();
            prop_assert!(with == without || with == gone);
        }
    }

    #[test]
    fn the_bound_on_the_load_holds(workers in workers(), sessions in sessions()) {
        let mut router = Router::new(&workers);
        for session in &sessions {
            let before = router.clone();
            let (id, _) = router.call(session).unwrap();
            let pool = before.pool();
            let total = pool.iter().map(|worker| worker.load).sum::<u64>() as f64;
            let weights = pool.iter().map(|worker| worker.weight).sum::<u32>();
            let bound = 1.25 * total / f64::from(weights) + 1.0;
            let chosen = pool.iter().find(|worker| worker.id == id).unwrap();
            prop_assert!(chosen.load as f64 / f64::from(chosen.weight) <= bound + 1e-9);
        }
    }

    #[test]
    fn the_order_of_the_list_decides_nothing(
        (workers, shuffled) in proptest::collection::btree_map(
            "[a-z]{1,4}", (0_u32..5, any::<bool>(), 0_u64..20, 0_u64..5_000_000), 1..8,
        ).prop_flat_map(|workers| {
            let workers: Vec<_> = workers.into_iter().collect();
            (Just(workers.clone()), Just(workers).prop_shuffle())
        }),
        session in proptest::option::of("[a-z]{0,4}"),
        last in proptest::option::of("[a-z]{1,2}"),
        policy in prop_oneof![
            Just(Policy::Sticky), Just(Policy::LeastLoaded), Just(Policy::RoundRobin)
        ],
    ) {
        let last = last.as_deref().map_or(Last::None, Last::Worker);
        let chosen = |workers: &[(String, State)]| {
            let pool: Vec<_> = workers.iter().map(|(id, (weight, healthy, load, turn))| {
                Candidate { id, weight: *weight, healthy: *healthy, load: *load, turn: *turn }
            }).collect();
            let choice = choose(policy, session.as_deref(), last, &pool);
            // There is a choice exactly if one is healthy, and it is of those.
            assert_eq!(choice.is_some(), pool.iter().any(|worker| worker.healthy));
            choice.map(|choice| {
                assert!(pool[choice.index].healthy);
                (pool[choice.index].id.to_owned(), choice.reason, choice.turn)
            })
        };
        prop_assert_eq!(chosen(&workers), chosen(&shuffled));
    }

    #[test]
    fn round_robin_shares_turns_by_weight_whoever_was_away(
        workers in workers(), away in proptest::collection::vec(0_usize..8, 0..3),
    ) {
        let mut pool: Vec<_> = workers
            .iter()
            .map(|(id, weight)| Candidate { weight: *weight, ..worker(id) })
            .collect();
        let count = pool.len();
        for index in &away {
            pool[index % count].healthy = false;
        }
        if pool.iter().any(|worker| worker.healthy) {
            turns(Policy::RoundRobin, &mut pool, 500);
        }
        pool.iter_mut().for_each(|worker| worker.healthy = true);
        let weights: u32 = pool.iter().map(|worker| worker.weight).sum();
        let cycles = 20;
        let mut counts = vec![0_u32; count];
        for _ in 0..cycles * weights {
            let choice = choose(Policy::RoundRobin, None, Last::None, &pool).unwrap();
            pool[choice.index].turn = choice.turn;
            counts[choice.index] += 1;
        }
        for (worker, count) in pool.iter().zip(counts) {
            // The whole cycles, and the turn that may be cut at either end.
            let expected = cycles * worker.weight;
            prop_assert!(count.abs_diff(expected) <= 2, "{} of {}", count, expected);
        }
    }
}
