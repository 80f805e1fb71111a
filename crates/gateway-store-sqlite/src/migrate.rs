//! Files of earlier versions.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use gateway_store::{NewTrace, StoreError};
use rusqlite::{Connection, Transaction, TransactionBehavior};

use crate::error::{failed, is_damage};
use crate::file::open_error;
use crate::rows;
use crate::schema::{STATEMENTS, VERSION};
use crate::write;

/// Brings a file of version `from` to the present one, in one transaction. A copy of it as it was
/// is kept beside it, named after its version.
///
/// # Errors
/// As for [`SqliteStore::open`](crate::SqliteStore::open); the file is as it was then.
pub(crate) fn migrate(
    path: &Path,
    connection: &mut Connection,
    from: i64,
) -> Result<(), StoreError> {
    let copy = beside(path, &format!(".version-{from}"));
    tracing::info!(path = %path.display(), from, to = VERSION, copy = %copy.display(), "migrating the database");
    keep(path, connection, &copy)?;
    migrate_rows(connection).map_err(|error| match is_damage(&error) {
        true => StoreError::Damaged {
            path: path.to_owned(),
            what: error.to_string(),
        },
        false => failed("migrating it")(error),
    })
}

/// Puts a whole copy of the database there.
fn keep(path: &Path, connection: &Connection, copy: &Path) -> Result<(), StoreError> {
    let new = beside(copy, ".new");
    let open = |file: &Path| {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        options.open(file)
    };
    let file = open(&new).map_err(|error| open_error(&new, error))?;
    let copied = connection
        .execute("VACUUM INTO ?", [new.to_string_lossy()])
        .map_err(failed("copying it"));
    let published = copied.and_then(|_| {
        file.sync_all()
            .and_then(|()| fs::rename(&new, copy))
            .and_then(|()| match path.parent() {
                Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
                _ => File::open(".")?.sync_all(),
            })
            .map_err(|error| open_error(copy, error))
    });
    if published.is_err() {
        // What is left of the attempt is nobody's.
        let _ = fs::remove_file(&new);
    }
    published
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

/// Version 1 knew nothing of what calls are to each other.
fn migrate_rows(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for table in ["traces", "sessions"] {
        transaction.execute_batch(&format!("ALTER TABLE {table} RENAME TO old_{table}"))?;
        for index in indexes_of(&transaction, &format!("old_{table}"))? {
            transaction.execute_batch(&format!("DROP INDEX {index}"))?;
        }
        let statements = STATEMENTS.iter();
        let making = statements.filter(|sql| {
            sql.starts_with(&format!("CREATE TABLE {table} "))
                || sql.contains(&format!(" ON {table} "))
        });
        for sql in making {
            transaction.execute_batch(sql)?;
        }
        let columns = columns_of(&transaction, &format!("old_{table}"))?.join(", ");
        transaction.execute_batch(&format!(
            "INSERT INTO {table} ({columns}) SELECT {columns} FROM old_{table} ORDER BY rowid;
                DROP TABLE old_{table};"
        ))?;
    }
    place_traces(&transaction)?;
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()
}

/// Finds the places of the traces among those of their sessions, one after the other, as they were
/// committed.
fn place_traces(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    let mut statement = transaction.prepare("SELECT commit_seq FROM traces ORDER BY commit_seq")?;
    let all: Vec<i64> = statement
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let sql = format!("SELECT {} WHERE t.commit_seq = ?", rows::TRACE);
    let mut statement = transaction.prepare(&sql)?;
    for commit_seq in all {
        let stored = statement.query_row([commit_seq], rows::trace)?;
        let trace = NewTrace::new(stored.arrival_seq, stored.call, stored.reply);
        write::place_again(transaction, commit_seq, &trace)?;
    }
    Ok(())
}

/// Those that were made by name: the others go with their table.
fn indexes_of(connection: &Connection, table: &str) -> rusqlite::Result<Vec<String>> {
    names(
        connection,
        "SELECT name FROM sqlite_master WHERE type = 'index' AND sql NOT NULL AND tbl_name = ?",
        table,
    )
}

fn columns_of(connection: &Connection, table: &str) -> rusqlite::Result<Vec<String>> {
    names(connection, "SELECT name FROM pragma_table_info(?)", table)
}

fn names(connection: &Connection, sql: &str, of: &str) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare(sql)?;
    statement.query_map([of], |row| row.get(0))?.collect()
}
