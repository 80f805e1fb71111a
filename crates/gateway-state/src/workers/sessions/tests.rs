//! Which sessions are remembered, and for how long.

use std::collections::BTreeMap;

use gateway_route::Pool;
use proptest::prelude::*;

use super::{EXPIRIES, LOAD_MS, MEMORY, MEMORY_MS, SessionKey, Sessions, WorkerKey};

fn key(session: &str) -> SessionKey {
    SessionKey::new(session, Pool::All)
}

/// How many entries are held, over all.
fn held(sessions: &Sessions) -> usize {
    sessions.entries.len() + sessions.recent.len() + sessions.remembered.len()
}

fn use_once(sessions: &mut Sessions, session: &str, now: u64) {
    sessions.begin(key(session), 1, |_, _| {});
    sessions.end(key(session), now, |_| {});
}

#[test]
fn defect_27_sessions_created_used_and_deleted_leave_nothing() {
    let mut sessions = Sessions::default();
    for n in 0..100_000 {
        use_once(&mut sessions, &format!("session-{n}"), n);
    }
    assert_eq!(sessions.entries.len(), 100_000);
    for n in 0..100_000 {
        sessions.forget(&format!("session-{n}"), |_| {});
    }
    assert_eq!(held(&sessions), 0);
}

#[test]
fn defect_27_sessions_that_are_never_deleted_are_forgotten() {
    let mut sessions = Sessions::default();
    for n in 0..EXPIRIES as u64 {
        use_once(&mut sessions, &format!("session-{n}"), n);
    }
    let mut uncounted = 0;
    sessions.expire(2 * LOAD_MS, |_| uncounted += 1);
    assert_eq!((uncounted, sessions.remembered.len()), (EXPIRIES, EXPIRIES));
    sessions.expire(2 * MEMORY_MS, |_| unreachable!("they count no more"));
    assert_eq!(held(&sessions), 0);
}

#[test]
fn no_more_than_so_many_are_remembered() {
    let mut sessions = Sessions::default();
    for n in 0..MEMORY as u64 + 10 {
        use_once(&mut sessions, &format!("session-{n}"), n);
    }
    for _ in 0..MEMORY / EXPIRIES + 1 {
        sessions.expire(2 * LOAD_MS + MEMORY as u64, |_| {});
    }
    assert_eq!(sessions.entries.len(), MEMORY);
    assert_eq!(sessions.last(key("session-9")), None);
    assert_eq!(sessions.last(key("session-10")), Some(1));
}

#[test]
fn a_crowd_is_let_go_in_parts() {
    let mut sessions = Sessions::default();
    for n in 0..EXPIRIES + 1 {
        use_once(&mut sessions, &format!("session-{n}"), 0);
    }
    let mut uncounted = 0;
    sessions.expire(LOAD_MS, |_| uncounted += 1);
    assert_eq!(uncounted, EXPIRIES);
    sessions.expire(LOAD_MS, |_| uncounted += 1);
    assert_eq!(uncounted, EXPIRIES + 1);
}

#[test]
fn a_session_that_is_deleted_during_a_call_counts_until_its_end() {
    let mut sessions = Sessions::default();
    sessions.begin(key("s"), 1, |_, _| {});
    sessions.begin(key("s"), 1, |_, _| {});
    sessions.forget("s", |_| unreachable!("calls are in flight"));
    sessions.end(key("s"), 1, |_| unreachable!("one is still in flight"));
    let mut uncounted = Vec::new();
    sessions.end(key("s"), 2, |worker| uncounted.push(worker));
    assert_eq!(uncounted, [1]);
    assert_eq!(held(&sessions), 0);
    // An end too many does nothing.
    sessions.end(key("s"), 3, |_| unreachable!("it is over"));

    // A call after the deletion makes the session anew.
    sessions.begin(key("s"), 1, |_, _| {});
    sessions.forget("s", |_| {});
    sessions.begin(key("s"), 1, |_, _| {});
    sessions.end(key("s"), 4, |_| {});
    sessions.end(key("s"), 5, |_| {});
    assert_eq!(sessions.last(key("s")), Some(1));
}

#[test]
fn a_session_has_a_worker_in_each_pool_and_is_forgotten_in_all() {
    let mut sessions = Sessions::default();
    let pools = [Pool::All, Pool::Unnamed, Pool::Named("m"), Pool::Named("n")];
    for (worker, pool) in (1..).zip(pools) {
        sessions.begin(SessionKey::new("s", pool), worker, |_, _| {});
        sessions.end(SessionKey::new("s", pool), worker, |_| {});
    }
    assert_eq!(sessions.last(SessionKey::new("s", Pool::Unnamed)), Some(2));
    assert_eq!(
        sessions.last(SessionKey::new("s", Pool::Named("n"))),
        Some(4)
    );
    assert_eq!(sessions.last_of_any_pool(key("s")), Some(4));
    assert_eq!(sessions.last_of_any_pool(key("t")), None);
    let mut uncounted = Vec::new();
    sessions.forget("s", |worker| uncounted.push(worker));
    uncounted.sort_unstable();
    assert_eq!(uncounted, [1, 2, 3, 4]);
    assert_eq!(held(&sessions), 0);
}

/// The definition of a worker's load, with no thought of memory: for each session its worker, its
/// calls in flight, the end of its last call, and whether it was deleted meanwhile.
#[derive(Default)]
struct Definition(BTreeMap<u8, (WorkerKey, u32, u64, bool)>);

impl Definition {
    fn load(&self, worker: WorkerKey, now: u64) -> i64 {
        let counts = |(at, calls, last, _): &&(WorkerKey, u32, u64, bool)| {
            *at == worker && (*calls > 0 || now - last < LOAD_MS)
        };
        self.0.values().filter(counts).count() as i64
    }
}

#[derive(Clone, Debug)]
enum Step {
    Begin(u8, WorkerKey),
    End(u8),
    Forget(u8),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0_u8..6, 0_u64..3).prop_map(|(session, worker)| Step::Begin(session, worker)),
        4 => (0_u8..6).prop_map(Step::End),
        1 => (0_u8..6).prop_map(Step::Forget),
        2 => (0..LOAD_MS).prop_map(Step::Wait),
    ]
}

proptest! {
    #[test]
    fn load_is_as_defined(steps in proptest::collection::vec(step(), 0..120)) {
        let name = |session: u8| format!("session-{session}");
        let mut sessions = Sessions::default();
        let mut definition = Definition::default();
        let mut loads = [0_i64; 3];
        let mut now = 0;
        for step in steps {
            match step {
                Step::Begin(session, worker) => {
                    sessions.begin(key(&name(session)), worker, |worker, change| {
                        loads[worker as usize] += change;
                    });
                    let entry = definition.0.entry(session).or_default();
                    *entry = (worker, entry.1 + 1, entry.2, false);
                }
                Step::End(session) => {
                    // Only a call that began ends.
                    let Some(entry) = definition.0.get_mut(&session).filter(|entry| entry.1 > 0) else {
                        continue;
                    };
                    sessions.end(key(&name(session)), now, |worker| loads[worker as usize] -= 1);
                    (entry.1, entry.2) = (entry.1 - 1, now);
                    if entry.1 == 0 && entry.3 {
                        definition.0.remove(&session);
                    }
                }
                Step::Forget(session) => {
                    sessions.forget(&name(session), |worker| loads[worker as usize] -= 1);
                    match definition.0.get_mut(&session) {
                        Some(entry) if entry.1 > 0 => entry.3 = true,
                        _ => {
                            definition.0.remove(&session);
                        }
                    }
                }
                Step::Wait(millis) => now += millis,
            }
            sessions.expire(now, |worker| loads[worker as usize] -= 1);
            for worker in 0..3 {
                prop_assert_eq!(loads[worker as usize], definition.load(worker, now));
            }
            for (session, (worker, ..)) in &definition.0 {
                prop_assert_eq!(sessions.last(key(&name(*session))), Some(*worker));
            }
            prop_assert_eq!(sessions.entries.len(), definition.0.len());
        }
    }
}
