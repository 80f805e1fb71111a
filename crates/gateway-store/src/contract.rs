//! What every [`TraceStore`] must do, as tests that a backend runs against itself.
//!
//! ```
//! use std::sync::Arc;
//! use gateway_store::{MemoryStore, contract};
//!
//! contract::run(&mut || Arc::new(MemoryStore::new()));
//! ```

use std::sync::Arc;

use crate::error::StoreError;
use crate::store::TraceStore;

mod apply;
mod feed;
mod kin;
mod runs;
mod samples;
mod sessions;
mod traces;

pub use samples::{Sample, Writer};

/// One promise, tested on a new store.
type Case = fn(&dyn TraceStore) -> Result<(), StoreError>;

/// Runs every case, each on a store that `open` makes for it.
///
/// # Panics
/// If the store breaks a promise; the last line printed names the case.
pub fn run(open: &mut dyn FnMut() -> Arc<dyn TraceStore>) {
    let cases: [&[(&str, Case)]; 6] = [
        apply::CASES,
        traces::CASES,
        feed::CASES,
        kin::CASES,
        sessions::CASES,
        runs::CASES,
    ];
    for (name, case) in cases.into_iter().flatten() {
        println!("contract: {name}");
        if let Err(error) = case(&*open()) {
            panic!("{name}: {error:?}");
        }
    }
}
