//! Moving over: the traces of a database of the Python gateway, brought into the store.
//!
//! They go through the journal as calls do, each in one entry, and a page of them is in the store
//! before the next one is read. So memory does not grow with the old database, and where an import
//! was cut off the next one goes on: what is there already is passed over.

use std::fmt;
use std::path::Path;

use gateway_config::{Config, StoreKind};
use gateway_metadata::Field;
use gateway_store::{
    Change, ChangeError, CloseError, FlushError, Ledger, StoreError, TraceStore, Unavailable,
};
use gateway_store_sqlite::{PythonDatabase, PythonDatabaseError, PythonRow, PythonTrace};

use crate::StartError;
use crate::app;

/// So many names are listed in a summary.
const NAMED: usize = 20;

/// Why an import does not begin, or does not go on. What it had brought over stays, and another run
/// brings the rest; the old database has not been touched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// What was configured keeps nothing: the operator's error.
    #[error("an import needs a database, and the store is `memory`")]
    Memory,
    /// The old file is none of the Python gateway's.
    #[error(transparent)]
    Old(#[from] PythonDatabaseError),
    /// The store cannot be had.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The old file cannot be read on.
    #[error("the old database cannot be read to its end")]
    Read(#[source] StoreError),
    /// The store cannot be read.
    #[error("the store cannot be read")]
    Store(#[source] StoreError),
    /// The journal took no more.
    #[error("the journal takes no more")]
    Journal(#[from] Unavailable),
    /// A run cannot be brought over.
    #[error("a run cannot be brought over")]
    Run(#[from] ChangeError),
    /// The store does not take what was read.
    #[error("the store does not take what was read: {0}")]
    Flush(FlushError),
    /// What was read did not reach the disk.
    #[error(transparent)]
    Close(#[from] CloseError),
}

/// What an import did, in one line.
#[derive(Debug, Default)]
pub struct Summary {
    imported: u64,
    known: u64,
    runs: u64,
    /// What is no record, and was kept as its text.
    as_text: Names,
    /// What could not be read at all.
    left: Names,
}

/// How many there are, and what the first ones are called.
#[derive(Debug, Default)]
struct Names {
    count: u64,
    first: Vec<String>,
}

impl Summary {
    /// Whether everything of the old database is in the store.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.left.count == 0
    }

    fn leave(&mut self, name: &str, why: &str) {
        tracing::warn!(name, why, "a row of the old database cannot be imported");
        self.left.add(name);
    }
}

impl Names {
    fn add(&mut self, name: &str) {
        self.count += 1;
        if self.first.len() < NAMED {
            self.first.push(name.escape_debug().to_string());
        }
    }
}

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.first.join(", "))?;
        match self.count - self.first.len() as u64 {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Summary {
            imported,
            known,
            runs,
            as_text,
            left,
        } = self;
        write!(f, "traces imported: {imported}, already there: {known}")?;
        write!(f, ", unreadable: {}", as_text.count + left.count)?;
        if as_text.count > 0 {
            write!(f, "; kept as their text: {as_text}")?;
        }
        if left.count > 0 {
            write!(f, "; left behind: {left}")?;
        }
        match runs {
            0 => Ok(()),
            runs => write!(f, "; runs: {runs}"),
        }
    }
}

/// Brings what the old database at `path` holds into the store of this configuration.
///
/// Must be called within a tokio runtime; reading the files blocks it.
///
/// # Errors
///
/// [`ImportError`]. Single rows that cannot be read are none: the summary names them.
pub async fn import(config: &Config, path: &Path) -> Result<Summary, ImportError> {
    if config.store == StoreKind::Memory {
        return Err(ImportError::Memory);
    }
    let mut old = PythonDatabase::open(path)?;
    let opened = app::open(config)?;
    let import = Import {
        ledger: opened.ledger,
        store: &*opened.store,
    };
    let done = import.all(&mut old).await;
    let closed = import.ledger.close().await;
    let summary = done?;
    closed?;
    Ok(summary)
}

struct Import<'a> {
    ledger: Ledger,
    store: &'a dyn TraceStore,
}

impl Import<'_> {
    async fn all(&self, old: &mut PythonDatabase) -> Result<Summary, ImportError> {
        // What an earlier run has left in the journal is there already.
        self.settle().await?;
        let mut summary = Summary::default();
        self.runs(old, &mut summary).await?;
        loop {
            let rows = old.next_rows().map_err(ImportError::Read)?;
            if rows.is_empty() {
                return Ok(summary);
            }
            for row in rows {
                match old.row(row).map_err(ImportError::Read)? {
                    PythonRow::Trace(trace) => self.trace(&trace, &mut summary).await?,
                    PythonRow::Unreadable { name, why } => summary.leave(&name, &why),
                    PythonRow::Gone => {}
                }
            }
            self.settle().await?;
        }
    }

    async fn trace(&self, old: &PythonTrace, summary: &mut Summary) -> Result<(), ImportError> {
        let known = self.store.trace(&old.trace_id);
        if known.map_err(ImportError::Store)?.is_some() {
            summary.known += 1;
            return Ok(());
        }
        let imported = old.import();
        match self.ledger.import(&imported.call, &imported.reply).await {
            Err(error @ Unavailable::TooLarge { .. }) => {
                summary.leave(&old.trace_id, &error.to_string());
                return Ok(());
            }
            taken => taken?,
        }
        summary.imported += 1;
        if let Some(why) = imported.unreadable {
            tracing::warn!(trace_id = old.trace_id, why, "a record is kept as its text");
            summary.as_text.add(&old.trace_id);
        }
        Ok(())
    }

    /// Runs that the store knows have gone on here, and stay as they are.
    async fn runs(&self, old: &PythonDatabase, summary: &mut Summary) -> Result<(), ImportError> {
        let runs = match old.runs() {
            Err(error @ StoreError::Locked) => return Err(ImportError::Read(error)),
            // Those that calls name come with their calls.
            Err(error) => {
                summary.leave("the runs", &crate::chain(&error));
                return Ok(());
            }
            Ok(runs) => runs,
        };
        for mut run in runs {
            run.run_id = run.run_id.trim().to_owned();
            if let Err(error) = Field::RunId.check(&run.run_id) {
                summary.leave(&run.run_id, &error.to_string());
                continue;
            }
            if run.run_id.is_empty() {
                continue;
            }
            let known = self.store.run(&run.run_id).map_err(ImportError::Store)?;
            let end = run.ended_at.map(|at| Change::EndRun {
                run_id: run.run_id.clone(),
                at,
            });
            let start = Change::StartRun {
                run_id: run.run_id,
                metadata: run.metadata,
                at: run.started_at,
            };
            let changes: Vec<_> = match known {
                None => {
                    summary.runs += 1;
                    std::iter::once(start).chain(end).collect()
                }
                // An import was cut off between the two.
                Some(known) if known.started_at == run.started_at && known.ended_at.is_none() => {
                    end.into_iter().collect()
                }
                Some(_) => continue,
            };
            for change in changes {
                self.ledger.change(change).await?;
            }
        }
        Ok(())
    }

    /// Waits until all that was taken is in the store, for as long as there is no trouble.
    async fn settle(&self) -> Result<(), ImportError> {
        loop {
            match self.ledger.flush().await {
                Err(slow) if slow.journal.is_none() && slow.store.is_none() => {}
                flushed => return flushed.map_err(ImportError::Flush),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_is_one_line() {
        let mut summary = Summary {
            imported: 3,
            known: 2,
            ..Summary::default()
        };
        let expected = "traces imported: 3, already there: 2, unreadable: 0";
        assert_eq!(summary.to_string(), expected);
        assert!(summary.is_complete());
        summary.as_text.add("a\nb");
        summary.runs = 1;
        let expected = "traces imported: 3, already there: 2, unreadable: 1; \
                        kept as their text: a\\nb; runs: 1";
        assert_eq!(summary.to_string(), expected);
        assert!(summary.is_complete());
        for n in 0..22 {
            summary.leave(&format!("row {n}"), "it is damaged");
        }
        let said = summary.to_string();
        assert!(
            said.contains("unreadable: 23; ") && said.contains("row 19 and 2 more; runs"),
            "{said}"
        );
        assert!(!summary.is_complete());
    }
}
