//! Databases of the Python gateway.
//!
//! There are three forms, none of which says that it is one of these: the first has a table of
//! traces, each a JSON text, and one of the sessions that list them; later ones added runs, and the
//! last (`user_version` 2) columns beside the text that only repeat what stands there.

use std::path::{Path, PathBuf};

use gateway_store::{Run, StoreError};
use gateway_trace::{Imported, OldTrace, import, import_metadata};
use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, OptionalExtension, ffi, params};

use crate::error::{failed, is_damage};
use crate::file::{damaged, header, open_error, open_to_read};
use crate::schema::APPLICATION_ID;

/// How many rows are looked up at once.
const PAGE: usize = 256;

/// A database that the Python gateway wrote, opened to read.
///
/// Nothing is written to it. What a WAL beside it holds is read as well. It may be in use: no lock
/// is held from one call to the next, and what is stored meanwhile comes last.
pub struct PythonDatabase {
    connection: Connection,
    path: PathBuf,
    /// Whether sessions are listed with their run.
    has_run_ids: bool,
    has_runs: bool,
    /// The time and the row of the last trace that was looked up.
    after: (Value, i64),
}

/// Why a file cannot be imported. It has not been touched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PythonDatabaseError {
    /// It is a database of this gateway.
    #[error("{path} is a database of this gateway already: serve it with --db-path")]
    Ours {
        /// The file.
        path: PathBuf,
    },
    /// Nobody knows whose it is.
    #[error("{path} was not written by the Python gateway: it belongs to another program")]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// A writer died in the middle of a change.
    #[error(
        "{path} holds half a change of a writer that died: open it once with the Python gateway \
         or the sqlite3 shell, which rolls that back"
    )]
    HalfWritten {
        /// The file.
        path: PathBuf,
    },
    /// It cannot be opened, or is damaged.
    #[error(transparent)]
    File(#[from] StoreError),
}

/// What a row of the old database holds.
#[derive(Debug)]
pub enum PythonRow {
    /// A trace.
    Trace(PythonTrace),
    /// Nothing that can be read.
    Unreadable {
        /// Which one: its trace id, or else its number.
        name: String,
        /// Why.
        why: String,
    },
    /// Nothing any more: it was deleted meanwhile.
    Gone,
}

/// A trace of the old database.
#[derive(Debug)]
pub struct PythonTrace {
    /// Its id.
    pub trace_id: String,
    session_ids: Vec<String>,
    run_id: Option<String>,
    created_at: f64,
    record: Vec<u8>,
}

impl PythonTrace {
    /// The trace as a call and a reply.
    #[must_use]
    pub fn import(&self) -> Imported {
        import(&OldTrace {
            trace_id: &self.trace_id,
            session_ids: &self.session_ids,
            run_id: self.run_id.as_deref(),
            created_at: self.created_at,
            record: &self.record,
        })
    }
}

impl PythonDatabase {
    /// Opens the file at `path`.
    ///
    /// # Errors
    /// [`PythonDatabaseError`] says what it is instead.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, PythonDatabaseError> {
        let path = path.as_ref();
        let header = header(path)?;
        if header.application_id == APPLICATION_ID {
            return Err(PythonDatabaseError::Ours {
                path: path.to_owned(),
            });
        }
        header.check_name()?;
        let opened = open_to_read(&header).and_then(|connection| {
            let is_python = is_python(&connection)?;
            let has_run_ids = has_columns(&connection, "trace_sessions", &["run_id"])?;
            let columns = ["run_id", "started_at", "ended_at", "metadata"];
            let has_runs = has_columns(&connection, "runs", &columns)?;
            Ok((connection, is_python, has_run_ids, has_runs))
        });
        let (connection, is_python, has_run_ids, has_runs) =
            opened.map_err(|error| refusal(path, error))?;
        if !is_python {
            return Err(PythonDatabaseError::Foreign {
                path: path.to_owned(),
            });
        }
        Ok(Self {
            connection,
            path: path.to_owned(),
            has_run_ids,
            has_runs,
            after: (Value::Real(f64::NEG_INFINITY), i64::MIN),
        })
    }

    /// The runs, in the order in which they started.
    ///
    /// # Errors
    /// [`StoreError::Damaged`], [`StoreError::Locked`] or [`StoreError::Backend`].
    pub fn runs(&self) -> Result<Vec<Run>, StoreError> {
        if !self.has_runs {
            return Ok(Vec::new());
        }
        let sql = "SELECT run_id, started_at, ended_at, metadata FROM runs
            WHERE typeof(run_id) = 'text' AND run_id <> '' ORDER BY started_at, rowid";
        let read = || -> rusqlite::Result<Vec<Run>> {
            let mut statement = self.connection.prepare(sql)?;
            let runs = statement.query_map([], |row| {
                Ok(Run {
                    run_id: row.get(0)?,
                    started_at: row.get(1)?,
                    ended_at: row.get(2)?,
                    metadata: import_metadata(bytes_of(row.get_ref(3)?)),
                })
            })?;
            runs.collect()
        };
        read().map_err(self.failed("reading the runs"))
    }

    /// The rows of the next traces, in the order in which they were stored; none at the end.
    ///
    /// # Errors
    /// As for [`runs`](Self::runs).
    pub fn next_rows(&mut self) -> Result<Vec<i64>, StoreError> {
        let sql = format!(
            "SELECT rowid, created_at FROM traces WHERE (created_at, rowid) > (?, ?)
                ORDER BY created_at, rowid LIMIT {PAGE}"
        );
        let read = || -> rusqlite::Result<Vec<(i64, Value)>> {
            let mut statement = self.connection.prepare_cached(&sql)?;
            let rows = statement.query_map(params![self.after.0, self.after.1], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?;
            rows.collect()
        };
        let rows = read().map_err(self.failed("listing the traces"))?;
        if let Some((row, created_at)) = rows.last() {
            self.after = (created_at.clone(), *row);
        }
        Ok(rows.into_iter().map(|(row, _)| row).collect())
    }

    /// What a row holds.
    ///
    /// # Errors
    /// [`StoreError::Locked`] or [`StoreError::Backend`]: it could not be looked at.
    pub fn row(&self, row: i64) -> Result<PythonRow, StoreError> {
        let mut name = format!("row {row}");
        self.read_row(row, &mut name).or_else(|error| {
            // What SQLite itself does not complain of is a value of a wrong type.
            match is_damage(&error) || error.sqlite_error_code().is_none() {
                true => Ok(PythonRow::Unreadable {
                    name,
                    why: error.to_string(),
                }),
                false => Err(failed("reading a trace")(error)),
            }
        })
    }

    /// Tells `name` the trace id as soon as it is known.
    fn read_row(&self, row: i64, name: &mut String) -> rusqlite::Result<PythonRow> {
        let sql = "SELECT trace_id FROM traces WHERE rowid = ?";
        let mut statement = self.connection.prepare_cached(sql)?;
        let found = statement.query_row([row], |row| row.get(0)).optional()?;
        let Some(trace_id) = found else {
            return Ok(PythonRow::Gone);
        };
        let trace_id: String = trace_id;
        name.clone_from(&trace_id);

        let mut sessions = self.connection.prepare_cached(match self.has_run_ids {
            true => {
                "SELECT session_id, run_id FROM trace_sessions WHERE trace_id = ?
                    ORDER BY created_at, rowid"
            }
            false => {
                "SELECT session_id, '' FROM trace_sessions WHERE trace_id = ?
                    ORDER BY created_at, rowid"
            }
        })?;
        let listed = sessions.query_map([&trace_id], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let listed: Vec<(String, String)> = listed.collect::<Result<_, _>>()?;
        let (session_ids, run_ids): (Vec<_>, Vec<_>) = listed.into_iter().unzip();

        let sql = "SELECT data, created_at FROM traces WHERE rowid = ?";
        let mut statement = self.connection.prepare_cached(sql)?;
        let read = statement.query_row([row], |row| {
            let created_at = row.get_ref(1)?.as_f64_or_null()?.unwrap_or(0.0);
            Ok((bytes_of(row.get_ref(0)?).to_vec(), created_at))
        });
        Ok(match read.optional()? {
            None => PythonRow::Gone,
            Some((record, created_at)) => PythonRow::Trace(PythonTrace {
                trace_id,
                session_ids,
                run_id: run_ids.into_iter().find(|run_id| !run_id.is_empty()),
                created_at,
                record,
            }),
        })
    }

    fn failed(&self, doing: &'static str) -> impl FnOnce(rusqlite::Error) -> StoreError {
        let path = &self.path;
        move |error| match is_damage(&error) {
            true => damaged(path, error.to_string()),
            false => failed(doing)(error),
        }
    }
}

/// Whether a database has the tables of the Python gateway, in any of their forms.
pub(crate) fn is_python(connection: &Connection) -> rusqlite::Result<bool> {
    Ok(
        has_columns(connection, "traces", &["trace_id", "data", "created_at"])?
            && has_columns(connection, "trace_sessions", &["trace_id", "session_id"])?,
    )
}

fn has_columns(connection: &Connection, table: &str, columns: &[&str]) -> rusqlite::Result<bool> {
    let mut statement = connection.prepare("SELECT name FROM pragma_table_info(?)")?;
    let names: Vec<String> = statement
        .query_map([table], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    Ok(columns
        .iter()
        .all(|&column| names.iter().any(|name| name == column)))
}

/// Why a file that was to be imported cannot be read at all.
fn refusal(path: &Path, error: rusqlite::Error) -> PythonDatabaseError {
    let extended = error.sqlite_error().map(|error| error.extended_code);
    if extended == Some(ffi::SQLITE_READONLY_ROLLBACK) {
        return PythonDatabaseError::HalfWritten {
            path: path.to_owned(),
        };
    }
    PythonDatabaseError::File(match is_damage(&error) {
        true => damaged(path, error.to_string()),
        false => open_error(path, error),
    })
}

/// A text as it is stored, whatever its encoding; none where there is something else.
fn bytes_of(value: ValueRef<'_>) -> &[u8] {
    value.as_bytes().unwrap_or_default()
}
