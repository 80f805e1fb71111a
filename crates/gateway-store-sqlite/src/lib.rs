//! A [`TraceStore`](gateway_store::TraceStore) on one SQLite file.
//!
//! [`SqliteStore::open`] makes the file, with its folder, or checks that a file that is there is
//! one of ours, whole and of a version that is known here, before anything in it is touched.
//! A connection for writing is used by the applier alone; a few others read beside it, and see
//! the last commit while the next one is written.
//!
//! # The file
//! - `application_id` is `rLLM`, `user_version` counts the versions of the schema.
//! - Pages of 32 KiB: the bodies of calls are larger than a small page, and a row then costs half
//!   the CPU. `auto_vacuum` is incremental, so that space can be given back later.
//! - WAL with `synchronous=FULL`: a batch that was applied survives a power cut. The journal is
//!   trimmed on that promise.
//! - Searchable columns stand in `traces`, in narrow rows, each filter with an index of its own
//!   that also gives the order of commits. What is only read with the trace stands in `contents`,
//!   and the bodies in `bodies`, by number, so that calls can share them.
//! - A file of an earlier version is migrated in one transaction, and a copy of it is kept.
//! - One gateway uses it at a time: links are followed, and the file itself is locked.
//! - Mode 0600, as the files that SQLite puts beside it.
//!
//! # Other files
//! [`PythonDatabase`] reads the databases of the Python gateway, so that they can be imported, and
//! [`SqliteStore::check`] checks a file of ours in full. Neither changes a file, nor holds it.
//!
//! # Example
//! ```
//! use gateway_store::TraceStore;
//! use gateway_store::contract::{Sample, Writer};
//! use gateway_store_sqlite::SqliteStore;
//!
//! let folder = tempfile::tempdir()?;
//! let store = SqliteStore::open(folder.path().join("gateway.db"))?;
//! Writer::new(&store).trace(Sample::new("trace-1", "session-1").run("run-1"));
//!
//! let trace = store.trace("trace-1")?.expect("it was written");
//! assert_eq!(trace.call.meta.identity.run_id.as_deref(), Some("run-1"));
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```

mod audit;
mod check;
mod error;
mod file;
mod lock;
mod migrate;
mod python;
mod query;
mod readers;
mod rows;
mod schema;
mod store;
mod write;

#[cfg(test)]
mod tests;

pub use audit::Sound;
pub use python::{PythonDatabase, PythonDatabaseError, PythonRow, PythonTrace};
pub use store::SqliteStore;
