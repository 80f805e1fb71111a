//! Whether a file that is there may be used. Nothing here changes a byte of it.

use std::path::Path;

use gateway_store::StoreError;
use rusqlite::Connection;

use crate::error::{failed, is_damage};
use crate::file::{Header, damaged, header, open_error, open_to_read};
use crate::python::is_python;
use crate::schema::{APPLICATION_ID, CHECK_BYTES, STATEMENTS, VERSION};

/// Refuses a file that is foreign, newer or damaged, and gives the version of one that is older.
///
/// # Errors
/// The variant of [`StoreError`] that says which; [`StoreError::Locked`] if another process keeps
/// it from being read.
pub(crate) fn check(path: &Path) -> Result<Option<i64>, StoreError> {
    let ours = Ours::open(path, &header(path)?)?;
    if ours.len <= CHECK_BYTES {
        let checked = ours
            .connection
            .pragma_query_value(None, "quick_check", |row| row.get(0));
        let said: String = checked.map_err(as_damage(path))?;
        if said != "ok" {
            return Err(damaged(path, said));
        }
    }
    Ok((ours.version < VERSION).then_some(ours.version))
}

/// A file of ours, opened to read.
pub(crate) struct Ours {
    pub(crate) connection: Connection,
    pub(crate) version: i64,
    len: u64,
}

impl Ours {
    /// Opens a file that is ours by its header, of a known version, and whole in its schema.
    pub(crate) fn open(path: &Path, header: &Header) -> Result<Self, StoreError> {
        let open = || open_to_read(header).map_err(|error| open_error(path, error));
        if header.application_id != APPLICATION_ID {
            let path = path.to_owned();
            return Err(match is_python(&open()?) {
                Ok(true) => StoreError::PythonReference { path },
                _ => StoreError::Foreign { path },
            });
        }
        let connection = open()?;
        let version = connection.pragma_query_value(None, "user_version", |row| row.get(0));
        let version: i64 = version.map_err(as_damage(path))?;
        if version > VERSION {
            return Err(StoreError::Newer {
                path: path.to_owned(),
                found: version,
                known: VERSION,
            });
        }
        if version < 1 {
            return Err(damaged(path, "it has no schema version"));
        }
        if version == VERSION
            && let Some(what) = check_schema(&connection).map_err(as_damage(path))?
        {
            return Err(damaged(path, what));
        }
        Ok(Self {
            connection,
            version,
            len: header.len,
        })
    }
}

/// What SQLite said while a file was checked.
pub(crate) fn as_damage(path: &Path) -> impl Fn(rusqlite::Error) -> StoreError + Copy {
    move |error| match is_damage(&error) {
        true => damaged(path, error.to_string()),
        false => failed("checking the file")(error),
    }
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
