//! Any sequence of calls, deletions, locks and restarts leaves what a plain model says.

use bytes::Bytes;
use proptest::prelude::*;

use super::{change_or_give_up, delete, listed, open_with, reply, store};
use crate::contract::Sample;
use crate::ledger::LedgerOptions;

#[derive(Debug, Clone)]
enum Step {
    Admit { session: usize },
    Finish { nth: usize },
    Partial { nth: usize },
    Delete { session: usize },
    Read { session: usize },
    Lock,
    Restart,
}

const SESSIONS: [&str; 2] = ["s", "t"];

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (0..2usize).prop_map(|session| Step::Admit { session }),
        5 => any::<usize>().prop_map(|nth| Step::Finish { nth }),
        1 => any::<usize>().prop_map(|nth| Step::Partial { nth }),
        1 => (0..2usize).prop_map(|session| Step::Delete { session }),
        1 => (0..2usize).prop_map(|session| Step::Read { session }),
        1 => Just(Step::Lock),
        1 => Just(Step::Restart),
    ]
}

/// A call as the model knows it.
struct Known {
    id: String,
    session: usize,
    /// What a listing shows of it; nothing for an open call.
    shown: Option<&'static str>,
}

#[derive(Default)]
struct Model {
    calls: Vec<Known>,
    /// Calls that were deleted while open: their end must change nothing.
    overtaken: Vec<String>,
}

impl Model {
    fn open(&self) -> Vec<String> {
        let open = self.calls.iter().filter(|call| call.shown.is_none());
        open.map(|call| call.id.clone())
            .chain(self.overtaken.iter().cloned())
            .collect()
    }

    fn finish(&mut self, id: &str) {
        if let Some(call) = self.calls.iter_mut().find(|call| call.id == id) {
            call.shown = Some("completed");
        }
        self.overtaken.retain(|other| other != id);
    }

    fn delete(&mut self, session: usize) {
        let doomed = self.calls.extract_if(.., |call| call.session == session);
        let open = doomed.filter(|call| call.shown.is_none());
        self.overtaken.extend(open.map(|call| call.id));
    }

    fn restart(&mut self) {
        self.overtaken.clear();
        for call in &mut self.calls {
            call.shown = call.shown.or(Some("interrupted"));
        }
    }

    fn listed(&self, session: usize) -> String {
        let of_session = self.calls.iter().filter(|call| call.session == session);
        let shown = of_session.filter_map(|call| Some(format!("{}:{}", call.id, call.shown?)));
        shown.collect::<Vec<_>>().join(" ")
    }
}

/// With a small journal, in which open calls are carried forward, the store is never locked, and
/// few calls are open at once, none of them with a partial, which cannot be carried. It has room
/// for all the steps of one case: what happens in a full one is a test of its own.
async fn run(steps: Vec<Step>, small: bool) {
    let folder = tempfile::tempdir().unwrap();
    let mut options = LedgerOptions::new(folder.path().join("journal"));
    let padding = if small { 24 << 10 } else { 0 };
    if small {
        options.capacity = 2 << 20;
    }
    let store = store();
    let mut ledger = open_with(&options, &store);
    let mut model = Model::default();
    let mut locked = false;
    for (n, step) in steps.into_iter().enumerate() {
        let step = match step {
            Step::Admit { .. } if small && model.open().len() > 2 => Step::Finish { nth: n },
            Step::Lock | Step::Partial { .. } if small => continue,
            step => step,
        };
        match step {
            Step::Admit { session } => {
                let id = format!("t{n}");
                let mut call = Sample::new(&id, SESSIONS[session]).call;
                call.request = Bytes::from(vec![b' '; padding]);
                ledger.admit(&call).await.unwrap();
                model.calls.push(Known {
                    id,
                    session,
                    shown: None,
                });
            }
            Step::Finish { nth } => {
                let open = model.open();
                if let Some(id) = open.get(nth % open.len().max(1)) {
                    ledger.finish(id, &reply()).await.unwrap();
                    model.finish(id);
                }
            }
            Step::Partial { nth } => {
                let open = model.open();
                if let Some(id) = open.get(nth % open.len().max(1)) {
                    ledger.partial(id, &reply());
                }
            }
            Step::Delete { session } => {
                let changed = change_or_give_up(&ledger, delete(SESSIONS[session]), locked).await;
                assert_eq!(changed.is_err(), locked);
                model.delete(session);
            }
            Step::Read { session } => {
                if !locked {
                    assert_eq!(
                        listed(&ledger, SESSIONS[session]).await,
                        model.listed(session)
                    );
                }
            }
            Step::Lock => {
                locked = !locked;
                store.lock(locked);
            }
            Step::Restart => {
                drop(ledger);
                ledger = open_with(&options, &store);
                model.restart();
            }
        }
        let counters = ledger.counters();
        let all = counters.persisted + counters.deleted + counters.in_flight;
        assert_eq!(counters.accepted, all);
    }
    store.lock(false);
    drop(ledger);
    let ledger = open_with(&options, &store);
    model.restart();
    for (session, name) in SESSIONS.iter().enumerate() {
        assert_eq!(listed(&ledger, name).await, model.listed(session));
    }
}

fn check(steps: Vec<Step>, small: bool) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(run(steps, small));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn the_ledger_keeps_its_promise(steps in prop::collection::vec(step(), 1..40)) {
        check(steps, false);
    }

    #[test]
    fn the_ledger_keeps_its_promise_in_a_small_journal(
        steps in prop::collection::vec(step(), 1..150),
    ) {
        check(steps, true);
    }
}
