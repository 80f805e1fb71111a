//! Whether a file that is there may be used. Nothing here changes a byte of it.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use gateway_store::StoreError;
use rusqlite::{Connection, OpenFlags};

use crate::error::{failed, is_damage};
use crate::schema::{APPLICATION_ID, CHECK_BYTES, STATEMENTS, VERSION};

/// Refuses a file that is foreign, newer or damaged, and gives the version of one that is older.
///
/// # Errors
/// The variant of [`StoreError`] that says which; [`StoreError::Locked`] if another process keeps
/// it from being read.
pub(crate) fn check(path: &Path) -> Result<Option<i64>, StoreError> {
    let damaged = |what: &str| StoreError::Damaged {
        path: path.to_owned(),
        what: what.to_owned(),
    };
    let mut header = [0; 100];
    let file = File::open(path);
    let read =
        file.and_then(|mut file| Ok((file.metadata()?.len(), read_up_to(&mut file, &mut header)?)));
    let (len, filled) = read.map_err(|error| open_error(path, error))?;
    if filled < header.len() || !header.starts_with(b"SQLite format 3\0") {
        return Err(damaged("it is not an SQLite database"));
    }
    let application_id = i32::from_be_bytes(header[68..72].try_into().expect("four bytes"));
    if application_id != APPLICATION_ID {
        let path = path.to_owned();
        return Err(match was_written_by_python(&path) {
            true => StoreError::PythonReference { path },
            false => StoreError::Foreign { path },
        });
    }
    let connection = open_to_check(path).map_err(|error| open_error(path, error))?;
    let as_damage = |error: rusqlite::Error| match is_damage(&error) {
        true => damaged(&error.to_string()),
        false => failed("checking the file")(error),
    };
    let version = connection.pragma_query_value(None, "user_version", |row| row.get(0));
    let found: i64 = version.map_err(as_damage)?;
    if found > VERSION {
        return Err(StoreError::Newer {
            path: path.to_owned(),
            found,
            known: VERSION,
        });
    }
    if found < 1 {
        return Err(damaged("it has no schema version"));
    }
    let older = (found < VERSION).then_some(found);
    if older.is_none() {
        check_schema(&connection)
            .map_err(as_damage)?
            .map_or(Ok(()), |what| Err(damaged(&what)))?;
    }
    if len <= CHECK_BYTES {
        let checked = connection.pragma_query_value(None, "quick_check", |row| row.get(0));
        let said: String = checked.map_err(as_damage)?;
        if said != "ok" {
            return Err(damaged(&said));
        }
    }
    Ok(older)
}

/// Opens a database of ours to read. Where it has a WAL, what that holds counts.
fn open_to_check(path: &Path) -> rusqlite::Result<Connection> {
    match wal_path(path).metadata() {
        Ok(wal) if wal.len() > 0 => open_uri(&uri(path)),
        _ => open_untouched(path),
    }
}

/// Opens a database so that nothing is written, not even beside it: `immutable` keeps SQLite from
/// looking for a WAL, or making one.
fn open_untouched(path: &Path) -> rusqlite::Result<Connection> {
    open_uri(&format!("{}?immutable=1", uri(path)))
}

fn open_uri(uri: &str) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_URI
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(uri, flags)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    Ok(connection)
}

/// The tables of the Python gateway, in either of its schemas.
fn was_written_by_python(path: &Path) -> bool {
    let names = || -> rusqlite::Result<i64> {
        let sql = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND (name = 'traces'
            OR name IN ('sessions', 'trace_sessions'))";
        open_untouched(path)?.query_row(sql, [], |row| row.get(0))
    };
    names().is_ok_and(|tables| tables >= 2)
}

/// What is missing of the schema.
fn check_schema(connection: &Connection) -> rusqlite::Result<Option<String>> {
    let mut statement = connection.prepare("SELECT sql FROM sqlite_master WHERE sql NOT NULL")?;
    let found: Vec<String> = statement
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let missing = STATEMENTS
        .iter()
        .find(|wanted| !found.iter().any(|sql| sql == *wanted));
    Ok(missing.map(|sql| {
        let what = sql
            .split(" (")
            .next()
            .unwrap_or(sql)
            .trim_start_matches("CREATE ");
        format!("its schema lacks {what}")
    }))
}

pub(crate) fn open_error(
    path: &Path,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> StoreError {
    StoreError::Open {
        path: path.to_owned(),
        source: source.into(),
    }
}

fn wal_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    PathBuf::from(name)
}

/// The path as an SQLite URI: what has a meaning there is escaped.
fn uri(path: &Path) -> String {
    let mut uri = String::from("file:");
    for &byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'/' | b'.' | b'-' | b'_' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => {
                uri.push(char::from(byte));
            }
            byte => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri
}

fn read_up_to(file: &mut File, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..])? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(filled)
}
