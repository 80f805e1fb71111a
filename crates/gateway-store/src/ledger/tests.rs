//! The ledger over a memory store, with a store and a disk that can be made to fail.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use gateway_trace::{Json, Reply};

use super::{ChangeError, Changed, Ledger, LedgerOptions, OpenError};
use crate::batch::{Applied, Batch, Position};
use crate::change::{Change, Scope};
use crate::contract::Sample;
use crate::error::StoreError;
use crate::memory::MemoryStore;
use crate::query::{
    Facets, Feed, FeedPage, Run, Session, SessionList, SessionTraces, StoredTrace, TraceFilter,
};
use crate::store::TraceStore;

mod calls;
mod deletes;
mod disk;
mod random;
mod replay;
mod trouble;

/// A memory store that can be locked against writing, as a database by another process.
#[derive(Default)]
struct Lockable {
    store: MemoryStore,
    locked: AtomicBool,
}

impl Lockable {
    fn lock(&self, locked: bool) {
        self.locked.store(locked, Ordering::SeqCst);
    }
}

impl TraceStore for Lockable {
    fn apply(&self, batch: &Batch) -> Result<Applied, StoreError> {
        match self.locked.load(Ordering::SeqCst) {
            true => Err(StoreError::Locked),
            false => self.store.apply(batch),
        }
    }

    fn position(&self) -> Result<Option<Position>, StoreError> {
        self.store.position()
    }

    fn last_arrival(&self) -> Result<u64, StoreError> {
        self.store.last_arrival()
    }

    fn session_traces(&self, query: &SessionTraces) -> Result<Vec<StoredTrace>, StoreError> {
        self.store.session_traces(query)
    }

    fn trace(&self, trace_id: &str) -> Result<Option<StoredTrace>, StoreError> {
        self.store.trace(trace_id)
    }

    fn feed(&self, query: &Feed) -> Result<FeedPage, StoreError> {
        self.store.feed(query)
    }

    fn count(&self, filter: &TraceFilter) -> Result<u64, StoreError> {
        self.store.count(filter)
    }

    fn facets(&self) -> Result<Facets, StoreError> {
        self.store.facets()
    }

    fn sessions(&self, query: &SessionList) -> Result<Vec<Session>, StoreError> {
        self.store.sessions(query)
    }

    fn session(&self, session_id: &str, scope: &Scope) -> Result<Option<Session>, StoreError> {
        self.store.session(session_id, scope)
    }

    fn session_runs(&self, session_ids: &[String]) -> Result<Vec<Session>, StoreError> {
        self.store.session_runs(session_ids)
    }

    fn runs(&self, since: Option<f64>, limit: Option<u64>) -> Result<Vec<Run>, StoreError> {
        self.store.runs(since, limit)
    }

    fn run(&self, run_id: &str) -> Result<Option<Run>, StoreError> {
        self.store.run(run_id)
    }

    fn sampling_params(&self) -> Result<Vec<(String, Json)>, StoreError> {
        self.store.sampling_params()
    }
}

fn store() -> Arc<Lockable> {
    Arc::default()
}

/// A ledger on a journal in `folder`, with the defaults.
fn open(folder: &Path, store: &Arc<Lockable>) -> Ledger {
    open_with(&LedgerOptions::new(folder.join("journal")), store)
}

fn open_with(options: &LedgerOptions, store: &Arc<Lockable>) -> Ledger {
    loop {
        match Ledger::open(options.clone(), Arc::clone(store) as Arc<dyn TraceStore>) {
            Ok(ledger) => return ledger,
            // A thread that the journal of the run before has left may hold the folder a little
            // longer than that.
            Err(OpenError::Journal(gateway_journal::OpenError::Locked { .. })) => {
                std::thread::yield_now();
            }
            Err(error) => panic!("the ledger does not open: {error:?}"),
        }
    }
}

async fn admit(ledger: &Ledger, trace_id: &str, session_id: &str) {
    ledger
        .admit(&Sample::new(trace_id, session_id).call)
        .await
        .expect("there is room");
}

fn reply() -> Reply {
    Sample::new("", "").reply
}

/// A call from its beginning to its receipt.
async fn call(ledger: &Ledger, trace_id: &str, session_id: &str) {
    admit(ledger, trace_id, session_id).await;
    ledger
        .finish(trace_id, &reply())
        .await
        .expect("the disk takes it");
}

fn delete(session_id: &str) -> Change {
    Change::DeleteSessions {
        session_ids: vec![session_id.to_owned()],
        scope: Scope::All,
    }
}

/// All traces of a session in the order of arrival, each as `id:outcome`.
async fn listed(ledger: &Ledger, session_id: &str) -> String {
    let query = SessionTraces::all(session_id, Scope::All);
    let traces = ledger.read(move |store| store.session_traces(&query)).await;
    let traces = traces.expect("the store answers");
    let shown = traces.iter().map(|trace| {
        format!(
            "{}:{}",
            trace.call.meta.trace_id,
            trace.reply.meta.outcome.as_str()
        )
    });
    shown.collect::<Vec<_>>().join(" ")
}

/// Makes a change. If the store is locked, the time that is waited for it passes at once.
async fn change_or_give_up(
    ledger: &Ledger,
    change: Change,
    locked: bool,
) -> Result<Changed, ChangeError> {
    if !locked {
        return ledger.change(change).await;
    }
    tokio::time::pause();
    let changed = ledger.change(change).await;
    tokio::time::resume();
    changed
}

/// Waits until `done` says so, giving way to other tasks and threads.
async fn until(mut done: impl FnMut() -> bool) {
    while !done() {
        tokio::task::yield_now().await;
        std::thread::yield_now();
    }
}
