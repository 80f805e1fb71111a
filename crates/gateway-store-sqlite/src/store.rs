//! The store itself: opening it, and the trait.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use gateway_store::{
    Applied, Batch, Facets, Feed, FeedPage, Json, Position, Run, Scope, Session, SessionList,
    SessionTraces, StoreError, StoredTrace, TraceFilter, TraceStore,
};
use rusqlite::{Connection, OpenFlags};

use crate::audit::{Sound, audit};
use crate::check::check;
use crate::error::failed;
use crate::file::open_error;
use crate::lock::{lock, resolve};
use crate::migrate::migrate;
use crate::readers::Readers;
use crate::{query, rows, schema, write};

/// How long one attempt to write waits for a lock. Short, because the applier tries again for as
/// long as it takes, and must be able to stop in between.
const WRITE_PATIENCE: Duration = Duration::from_millis(250);

/// Traces, sessions and runs in one SQLite file; see the [crate's page](crate).
pub struct SqliteStore {
    path: PathBuf,
    readers: Readers,
    /// Dropped after them, because only a connection that writes can bring the WAL into the file.
    writer: Mutex<Connection>,
    /// Dropped last: see [`lock`].
    _lock: File,
}

impl SqliteStore {
    /// Opens the file at `path`. If there is none, or an empty one, it is made, with its folder.
    ///
    /// Links are followed, and the file is locked: no other gateway can use it meanwhile, by
    /// whatever name it calls it.
    ///
    /// # Errors
    /// [`StoreError::Foreign`], [`PythonReference`](StoreError::PythonReference),
    /// [`Newer`](StoreError::Newer), [`Damaged`](StoreError::Damaged): the file is not ours to
    /// use, and has not been touched. [`StoreError::Open`]: it cannot be read, or made.
    /// [`StoreError::InUse`]: it is another gateway's at present. [`StoreError::Locked`]: another
    /// process keeps us out.
    ///
    /// A file of an earlier version is brought to the present one; a copy of it as it was is kept
    /// beside it, as `<path>.version-<n>`.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let path = resolve(path.as_ref())?;
        match fs::metadata(&path) {
            // `/dev/null`, in the place of which no file must be put.
            Ok(found) if !found.is_file() => return Err(open_error(&path, "it is no file")),
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                // Another process may be just as far; the first one's file stays.
                make(&path, |new| {
                    let linked = fs::hard_link(new, &path);
                    fs::remove_file(new)?;
                    match linked {
                        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
                        linked => linked,
                    }
                })?;
            }
            Err(error) => return Err(open_error(&path, error)),
        }
        let mut held = lock(&path)?;
        let found = held.metadata();
        if found.map_err(|error| open_error(&path, error))?.len() == 0 {
            make(&path, |new| fs::rename(new, &path))?;
            held = lock(&path)?;
        }
        if let Some(version) = check(&path)? {
            let mut connection = open_writer(&path)?;
            migrate(&path, &mut connection, version)?;
            drop(connection);
            check(&path)?;
        }
        Ok(Self {
            readers: Readers::new(&path),
            writer: Mutex::new(open_writer(&path)?),
            _lock: held,
            path,
        })
    }

    /// The file, links followed.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Checks the file at `path` in full, which takes time in a large one. It may be in use, and is
    /// not touched.
    ///
    /// # Errors
    /// The variant of [`StoreError`] that says what the file is instead, or what is wrong with it.
    pub fn check(path: impl AsRef<Path>) -> Result<Sound, StoreError> {
        audit(path.as_ref())
    }
}

fn open_writer(path: &Path) -> Result<Connection, StoreError> {
    connect_to_write(path).map_err(failed("opening it to write"))
}

fn connect_to_write(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(WRITE_PATIENCE)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "journal_size_limit", 64 << 20)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    // In KiB: an index page for each place where a batch writes.
    connection.pragma_update(None, "cache_size", -4096)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

/// Makes a file beside `path`, whole and on disk, and puts it there by `publish`: whoever comes
/// later finds either nothing or all of it.
fn make(path: &Path, publish: impl FnOnce(&Path) -> std::io::Result<()>) -> Result<(), StoreError> {
    let folder = path.parent().expect("a file lies in a folder");
    let mut new = path.as_os_str().to_owned();
    new.push(format!(".new-{}", std::process::id()));
    let new = Path::new(&new);
    let made = make_at(new).and_then(|()| {
        let synced = OpenOptions::new()
            .write(true)
            .open(new)
            .and_then(|file| file.sync_all());
        let published = synced.and_then(|()| publish(new));
        let folder_synced = published.and_then(|()| File::open(folder)?.sync_all());
        folder_synced.map_err(|error| open_error(path, error))
    });
    if made.is_err() {
        // What is left of the attempt is nobody's.
        let _ = fs::remove_file(new);
    }
    made
}

fn make_at(new: &Path) -> Result<(), StoreError> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(new);
    file.map_err(|error| open_error(new, error))?;
    let made = Connection::open(new).and_then(|mut connection| {
        schema::create(&mut connection)?;
        connection.close().map_err(|(_, error)| error)
    });
    made.map_err(failed("making the file"))
}

impl TraceStore for SqliteStore {
    fn apply(&self, batch: &Batch) -> Result<Applied, StoreError> {
        let mut writer = self
            .writer
            .lock()
            .expect("no holder of the connection panics");
        write::apply(&mut writer, batch).map_err(failed("applying a batch"))
    }

    fn position(&self) -> Result<Option<Position>, StoreError> {
        let progress = self.readers.read("reading its position", write::progress)?;
        Ok(progress.position)
    }

    fn last_arrival(&self) -> Result<u64, StoreError> {
        let progress = self.readers.read("reading its position", write::progress)?;
        Ok(progress.last_arrival)
    }

    fn session_traces(&self, query: &SessionTraces) -> Result<Vec<StoredTrace>, StoreError> {
        self.readers
            .read("listing a session", |db| query::session_traces(db, query))
    }

    fn trace(&self, trace_id: &str) -> Result<Option<StoredTrace>, StoreError> {
        self.readers
            .read("reading a trace", |db| query::trace(db, trace_id))
    }

    fn feed(&self, query: &Feed) -> Result<FeedPage, StoreError> {
        self.readers
            .read("listing traces", |db| query::feed(db, query))
    }

    fn count(&self, filter: &TraceFilter) -> Result<u64, StoreError> {
        self.readers
            .read("counting traces", |db| query::count(db, filter))
    }

    fn facets(&self) -> Result<Facets, StoreError> {
        self.readers.read("listing facets", query::facets)
    }

    fn sessions(&self, query: &SessionList) -> Result<Vec<Session>, StoreError> {
        self.readers
            .read("listing sessions", |db| query::sessions(db, query))
    }

    fn session(&self, session_id: &str, scope: &Scope) -> Result<Option<Session>, StoreError> {
        let read = |db: &Connection| query::session_rows(db, session_id, scope);
        Ok(Session::sum(self.readers.read("reading a session", read)?))
    }

    fn session_runs(&self, session_ids: &[String]) -> Result<Vec<Session>, StoreError> {
        self.readers.read("reading sessions", |db| {
            query::session_runs(db, session_ids)
        })
    }

    fn runs(&self, since: Option<f64>, limit: Option<u64>) -> Result<Vec<Run>, StoreError> {
        self.readers
            .read("listing runs", |db| query::runs(db, since, limit))
    }

    fn run(&self, run_id: &str) -> Result<Option<Run>, StoreError> {
        self.readers
            .read("reading a run", |db| query::run(db, run_id))
    }

    fn sampling_params(&self) -> Result<Vec<(String, Json)>, StoreError> {
        self.readers.read("reading sampling params", |db| {
            let sql = "SELECT session_id, params FROM sampling_params ORDER BY session_id";
            let mut statement = db.prepare_cached(sql)?;
            let params = statement.query_map([], |row| {
                Ok((row.get(0)?, rows::json(row.get_ref(1)?.as_str()?)))
            })?;
            params.collect()
        })
    }
}
