//! Files that are only looked at: nothing here changes a byte of one.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use gateway_store::StoreError;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

/// What the first bytes of a database say.
pub(crate) struct Header {
    /// The file, links followed: its WAL lies beside it.
    path: PathBuf,
    /// How long the file is, in bytes.
    pub(crate) len: u64,
    pub(crate) application_id: i32,
    is_wal: bool,
    has_other_names: bool,
}

impl Header {
    fn has_wal(&self) -> bool {
        wal_path(&self.path).exists()
    }

    /// Refuses a file whose newest changes may lie where nobody looks: a WAL goes by the name.
    ///
    /// # Errors
    /// [`StoreError::Open`]
    pub(crate) fn check_name(&self) -> Result<(), StoreError> {
        if self.has_other_names && self.is_wal && !self.has_wal() {
            let problem = "it has another name (a hard link), beside which its newest changes may \
                           lie: remove that name, or take a copy that SQLite made";
            return Err(open_error(&self.path, problem));
        }
        Ok(())
    }
}

/// Reads the first bytes of a file.
///
/// # Errors
/// [`StoreError::Open`]: it cannot be read. [`StoreError::Damaged`]: it is no SQLite database.
pub(crate) fn header(path: &Path) -> Result<Header, StoreError> {
    let as_error = |error| open_error(path, error);
    let resolved = path.canonicalize().map_err(as_error)?;
    // To open a pipe would wait for its writer.
    let found = fs::metadata(&resolved).map_err(as_error)?;
    if !found.is_file() {
        return Err(open_error(path, "it is no file"));
    }
    let mut bytes = [0; 100];
    let file = File::open(&resolved);
    let filled = file.and_then(|mut file| read_up_to(&mut file, &mut bytes));
    if filled.map_err(as_error)? < bytes.len() || !bytes.starts_with(b"SQLite format 3\0") {
        return Err(damaged(path, "it is not an SQLite database"));
    }
    Ok(Header {
        path: resolved,
        len: found.len(),
        application_id: i32::from_be_bytes(bytes[68..72].try_into().expect("four bytes")),
        is_wal: bytes[18] == 2,
        has_other_names: found.nlink() > 1,
    })
}

/// Opens a database to read. What its WAL holds counts.
///
/// Where a database has a WAL by its header and none beside it, nobody has it open, and SQLite is
/// told so: it would make one otherwise. Everywhere else others are waited for and respected. With
/// a WAL that was left behind SQLite needs its index (`-shm`), and makes one if there is none.
pub(crate) fn open_to_read(header: &Header) -> rusqlite::Result<Connection> {
    let mut uri = uri(&header.path);
    if header.is_wal && !header.has_wal() {
        uri.push_str("?immutable=1");
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_URI
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(uri, flags)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    Ok(connection)
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

pub(crate) fn damaged(path: &Path, what: impl Into<String>) -> StoreError {
    StoreError::Damaged {
        path: path.to_owned(),
        what: what.into(),
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
