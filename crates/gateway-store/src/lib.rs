//! The TraceStore trait, its contract suite, the memory store, and the ledger that carries calls from journal to store.

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
