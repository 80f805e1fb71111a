//! Which worker a session gets, and when it moves.

use std::collections::BTreeMap;

use super::{Candidate, Choice, Last, Policy, Pool, Reason, choose_worker};

mod properties;

fn worker(id: &str) -> Candidate<'_> {
    Candidate {
        id,
        weight: 1,
        healthy: true,
        load: 0,
        turn: 0,
    }
}

fn choose(
    policy: Policy,
    session: Option<&str>,
    last: Last<'_>,
    pool: &[Candidate<'_>],
) -> Option<Choice> {
    choose_worker(policy, session, last, pool.iter().copied())
}

/// The id and the reason of the sticky choice for a session.
fn sticky<'a>(session: &str, last: Last<'_>, pool: &[Candidate<'a>]) -> Option<(&'a str, Reason)> {
    choose(Policy::Sticky, Some(session), last, pool)
        .map(|choice| (pool[choice.index].id, choice.reason))
}

/// A session whose order begins with `first`.
fn session_of(first: &str, pool: &[Candidate<'_>]) -> String {
    let free: Vec<_> = pool
        .iter()
        .map(|worker| Candidate {
            load: 0,
            healthy: true,
            ..*worker
        })
        .collect();
    let mut sessions = (0..).map(|n| format!("session-{n}"));
    sessions
        .find(|session| sticky(session, Last::None, &free).unwrap().0 == first)
        .unwrap()
}

#[test]
fn a_session_stays_where_it_is_while_that_is_healthy() {
    let mut pool = [worker("a"), worker("b"), worker("c")];
    // Load does not move it.
    pool[0].load = 1000;
    assert_eq!(
        sticky("s", Last::Worker("a"), &pool),
        Some(("a", Reason::Sticky))
    );
    pool[0].healthy = false;
    let (moved, reason) = sticky("s", Last::Worker("a"), &pool).unwrap();
    assert_ne!(moved, "a");
    assert_eq!(reason, Reason::Moved);
    // Back again, it draws nobody back.
    pool[0].healthy = true;
    assert_eq!(
        sticky("s", Last::Worker(moved), &pool),
        Some((moved, Reason::Sticky))
    );
}

#[test]
fn a_worker_that_is_gone_is_a_reason_to_move() {
    let pool = [worker("a"), worker("b")];
    assert_eq!(sticky("s", Last::Gone, &pool).unwrap().1, Reason::Moved);
    // One of another pool is as good as gone.
    assert_eq!(
        sticky("s", Last::Worker("z"), &pool).unwrap().1,
        Reason::Moved
    );
    assert_eq!(sticky("s", Last::None, &pool).unwrap().1, Reason::New);
}

#[test]
fn a_new_session_passes_over_workers_with_too_much_load() {
    let mut pool = [worker("a"), worker("b")];
    let session = session_of("a", &pool);
    // The bound with a and b at 2 and 2 is 1.25 × 2 + 1 = 3.5, with 3 and 1 the same, …
    pool[0].load = 3;
    pool[1].load = 1;
    assert_eq!(
        sticky(&session, Last::None, &pool),
        Some(("a", Reason::New))
    );
    // … with 4 and 0 too, which a is above.
    pool[0].load = 4;
    pool[1].load = 0;
    assert_eq!(
        sticky(&session, Last::None, &pool),
        Some(("b", Reason::Overflow))
    );
    // Exactly at the bound there is room: 1.25 × 12/2 + 1 = 8.5, 1.25 × 8/2 + 1 = 6.
    pool[0].load = 6;
    pool[1].load = 2;
    assert_eq!(
        sticky(&session, Last::None, &pool),
        Some(("a", Reason::New))
    );
    pool[0].load = 7;
    pool[1].load = 1;
    assert_eq!(
        sticky(&session, Last::None, &pool),
        Some(("b", Reason::Overflow))
    );
    // Load counts by weight: 7/4 is below 1.25 × 8/5 + 1 = 3.
    pool[0].weight = 4;
    let session = session_of("a", &pool);
    assert_eq!(
        sticky(&session, Last::None, &pool),
        Some(("a", Reason::New))
    );
}

#[test]
fn unhealthy_workers_have_no_part_in_the_mean() {
    let mut pool = [worker("a"), worker("b"), worker("c")];
    let session = session_of("a", &pool);
    pool[0].load = 4;
    pool[2].load = 1000;
    pool[2].healthy = false;
    assert_eq!(
        sticky(&session, Last::None, &pool),
        Some(("b", Reason::Overflow))
    );
}

#[test]
fn without_a_healthy_worker_there_is_none() {
    let mut pool = [worker("a"), worker("b")];
    pool[0].healthy = false;
    pool[1].healthy = false;
    for policy in [Policy::Sticky, Policy::LeastLoaded, Policy::RoundRobin] {
        for session in [None, Some("s")] {
            assert_eq!(choose(policy, session, Last::Worker("a"), &pool), None);
            assert_eq!(choose(policy, session, Last::None, &[]), None);
        }
    }
}

#[test]
fn a_call_without_a_session_goes_to_the_least_loaded() {
    let mut pool = [worker("a"), worker("b"), worker("c")];
    (pool[0].load, pool[1].load, pool[2].load) = (3, 2, 5);
    pool[2].weight = 3;
    for policy in [Policy::Sticky, Policy::LeastLoaded] {
        let choice = choose(policy, None, Last::None, &pool).unwrap();
        assert_eq!((choice.index, choice.reason), (2, Reason::LeastLoaded));
    }
    // The policy looks at no session.
    let choice = choose(Policy::LeastLoaded, Some("s"), Last::Worker("a"), &pool).unwrap();
    assert_eq!((choice.index, choice.reason), (2, Reason::LeastLoaded));
}

/// The ids that are chosen one after another, without load.
fn turns(policy: Policy, pool: &mut [Candidate<'_>], calls: usize) -> String {
    let mut chosen = String::new();
    for _ in 0..calls {
        let choice = choose(policy, None, Last::None, pool).unwrap();
        pool[choice.index].turn = choice.turn;
        chosen.push_str(pool[choice.index].id);
    }
    chosen
}

#[test]
fn round_robin_goes_around() {
    let mut pool = [worker("a"), worker("b"), worker("c")];
    assert_eq!(turns(Policy::RoundRobin, &mut pool, 7), "abcabca");
    // As often as the weight says.
    let mut pool = [worker("a"), worker("b")];
    pool[0].weight = 3;
    let chosen = turns(Policy::RoundRobin, &mut pool, 8);
    assert_eq!(chosen.matches('a').count(), 6, "{chosen}");
    assert!(!chosen.contains("bb"), "{chosen}");
    // Load has no part in it.
    pool[0].load = 1000;
    assert!(turns(Policy::RoundRobin, &mut pool, 4).contains('a'));
}

#[test]
fn a_worker_that_is_new_or_was_away_is_not_flooded() {
    let mut pool = [worker("a"), worker("b"), worker("c")];
    pool[2].healthy = false;
    assert_eq!(
        turns(Policy::RoundRobin, &mut pool, 100)
            .matches('c')
            .count(),
        0
    );
    pool[2].healthy = true;
    let chosen = turns(Policy::RoundRobin, &mut pool, 9);
    assert_eq!(chosen.matches('c').count(), 3, "{chosen}");
    assert!(!chosen.contains("cc"), "{chosen}");
}

#[test]
fn equally_loaded_workers_take_turns() {
    let mut pool = [worker("a"), worker("b"), worker("c")];
    assert_eq!(turns(Policy::LeastLoaded, &mut pool, 6), "abcabc");
}

#[test]
fn a_pool_is_the_model_s_own_else_the_nameless_else_all() {
    #[track_caller]
    fn check(model: Option<&str>, names: &[Option<&str>], expected: Pool<'_>) {
        assert_eq!(Pool::select(model, names.iter().copied()), expected);
    }
    check(Some("m"), &[Some("m"), None, Some("n")], Pool::Named("m"));
    check(Some("m"), &[None, Some("m")], Pool::Named("m"));
    check(Some("m"), &[Some("n"), None], Pool::Unnamed);
    check(Some("m"), &[None, Some("n")], Pool::Unnamed);
    check(Some("m"), &[Some("n"), Some("o")], Pool::All);
    check(None, &[Some("n"), None], Pool::All);
    check(Some("m"), &[], Pool::All);

    let admitted = |pool: Pool<'_>| [Some("m"), Some("n"), None].map(|name| pool.admits(name));
    assert_eq!(admitted(Pool::Named("m")), [true, false, false]);
    assert_eq!(admitted(Pool::Unnamed), [false, false, true]);
    assert_eq!(admitted(Pool::All), [true, true, true]);
}

#[test]
fn a_policy_is_read_by_its_name() {
    assert_eq!("sticky".parse(), Ok(Policy::Sticky));
    assert_eq!("least_loaded".parse(), Ok(Policy::LeastLoaded));
    assert_eq!("round_robin".parse(), Ok(Policy::RoundRobin));
    let error = "my.module:Policy".parse::<Policy>().unwrap_err();
    assert!(
        error
            .to_string()
            .contains("use sticky, least_loaded or round_robin")
    );
}

#[test]
fn reasons_read_as_in_a_trace() {
    let all = [
        (Reason::Route, "route"),
        (Reason::Sticky, "sticky"),
        (Reason::New, "new"),
        (Reason::Moved, "moved"),
        (Reason::Overflow, "overflow"),
        (Reason::LeastLoaded, "least_loaded"),
        (Reason::RoundRobin, "round_robin"),
    ];
    for (reason, expected) in all {
        assert_eq!(
            (reason.as_str(), reason.to_string().as_str()),
            (expected, expected)
        );
    }
}

/// The order must not change from version to version: gateways of both would disagree while an
/// upgrade goes on.
#[test]
fn the_rendezvous_order_is_fixed() {
    let pool = ["w-1", "w-2", "w-3", "w-4"].map(worker);
    let firsts = (0..12).map(|n| {
        sticky(&format!("session-{n}"), Last::None, &pool)
            .unwrap()
            .0
    });
    assert_eq!(
        firsts.collect::<Vec<_>>().join(" "),
        "w-3 w-4 w-1 w-4 w-4 w-3 w-3 w-4 w-1 w-2 w-3 w-3"
    );
}

#[test]
fn sessions_are_shared_out_by_weight() {
    let mut pool = [worker("a"), worker("b"), worker("c")];
    pool[1].weight = 2;
    pool[2].weight = 5;
    let mut counts = BTreeMap::new();
    for n in 0..8000 {
        let (id, _) = sticky(&format!("session-{n}"), Last::None, &pool).unwrap();
        *counts.entry(id).or_insert(0_i32) += 1;
    }
    for (id, expected) in [("a", 1000), ("b", 2000), ("c", 5000)] {
        let deviation = (counts[id] - expected).abs();
        assert!(
            deviation < 150,
            "{id}: {} instead of {expected}",
            counts[id]
        );
    }
}
