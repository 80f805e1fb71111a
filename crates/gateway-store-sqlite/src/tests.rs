//! The contract, the file, and the comparison with the memory store.

use std::path::Path;
use std::sync::Arc;

use gateway_store::contract;

use crate::SqliteStore;

mod audit;
mod files;
mod locks;
mod migration;
mod python;
mod random;

fn open(path: &Path) -> SqliteStore {
    SqliteStore::open(path).expect("the file opens")
}

#[test]
fn keeps_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    let mut files = 0;
    contract::run(&mut || {
        files += 1;
        Arc::new(open(&folder.path().join(format!("{files}.db"))))
    });
}
