//! Where traces are kept, and how they get there.
//!
//! Two things stand side by side here:
//!
//! - [`TraceStore`], the trait of a backend: it applies whole batches, and is read. A backend
//!   knows nothing of journals, receipts or waiting. [`contract`] tests one; [`MemoryStore`] is
//!   the simplest, and `gateway-store-sqlite` the usual one.
//! - [`Ledger`], what a running gateway talks to. It journals each call when it arrives and when
//!   it has ended, hands out the [`Receipt`] once that is on disk, and carries everything to the
//!   store behind the calls' backs. Back-pressure, replay, flush and shutdown are its business,
//!   once, for every backend.
//!
//! # The way of a call
//! [`Ledger::admit`] appends the *intent*: the request and who sends it. [`Ledger::finish`]
//! appends the *reply*, and gives the receipt. A thread of the ledger reads both back from the
//! journal as soon as they are on disk, joins them, and commits large batches to the store, each
//! in one transaction with the place in the journal that it reached. Then the journal may use that
//! space again. After a crash the journal is read from that place on: what was finished is
//! applied, once, and what was not reads `interrupted`.
//!
//! [`Ledger::read`] first waits until the store has all that was finished when it was called, so
//! that nobody sees the gap between the two.
//!
//! A [`Change`], such as the deletion of a session, goes the same way and so has its place among
//! the calls: those that had arrived before and end after it leave no trace, even if the gateway
//! dies in between.
//!
//! # Absent, and why
//! - The path of a call never touches a store: a database may be locked, slow or full.
//! - Records are not stored. They are a pure function of the call and the reply
//!   ([`StoredTrace::record`]), so that they can grow with the schema; only the columns that
//!   traces are found by are derived when they are applied.
//!
//! # Example
//! ```
//! use std::sync::Arc;
//! use bytes::Bytes;
//! use gateway_store::{Ledger, LedgerOptions, MemoryStore, Scope, SessionTraces};
//! use gateway_trace::{Call, CallMeta, Endpoint, Outcome, Reply};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let folder = tempfile::tempdir()?;
//! let options = LedgerOptions::new(folder.path().join("journal"));
//! let ledger = Ledger::open(options, Arc::new(MemoryStore::new()))?;
//!
//! // A call arrives ...
//! let mut meta = CallMeta::new("trace-1", Endpoint::ChatCompletions, 1_700_000_000.0);
//! meta.identity.session_id = Some("session-1".to_owned());
//! let request = Bytes::from_static(br#"{"model": "m", "messages": []}"#);
//! ledger.admit(&Call { meta, request }).await?;
//!
//! // ... and has ended: its last byte may go out once this is on disk.
//! let mut reply = Reply::default();
//! reply.meta.outcome = Outcome::Completed;
//! ledger.finish("trace-1", &reply).await?;
//!
//! let session = SessionTraces::plain("session-1", Scope::All);
//! let traces = ledger.read(move |store| store.session_traces(&session)).await?;
//! assert_eq!(traces[0].call.meta.trace_id, "trace-1");
//! ledger.close().await?;
//! # Ok(())
//! # }
//! ```

mod batch;
mod change;
pub mod contract;
mod entry;
mod error;
mod ledger;
mod memory;
mod query;
mod store;

pub use batch::{
    Applied, Batch, COMMIT_STEP, Item, JournalId, NewTrace, Position, Write, is_plain,
};
pub use change::{Change, Scope};
pub use error::StoreError;
pub use gateway_trace::Json;
pub use ledger::{
    ChangeError, Changed, CloseError, Counters, Durability, FlushError, Ledger, LedgerOptions,
    LedgerStatus, OpenError, ReadError, Receipt, ReceiptMissed, Trouble, Unavailable,
};
pub use memory::MemoryStore;
pub use query::{
    Facets, Feed, FeedPage, Order, Run, Session, SessionList, SessionTraces, StoredTrace,
    TraceFilter,
};
pub use store::TraceStore;
