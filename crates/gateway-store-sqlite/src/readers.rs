//! A few connections that only read.

use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use gateway_store::StoreError;
use rusqlite::{Connection, OpenFlags};

use crate::error::failed;

/// How many reads run at once; further ones wait for their turn.
const READERS: usize = 4;
/// For how long, and how long each waits for a lock.
const PATIENCE: Duration = Duration::from_secs(5);

pub(crate) struct Readers {
    path: PathBuf,
    pool: Mutex<Pool>,
    returned: Condvar,
}

#[derive(Default)]
struct Pool {
    idle: Vec<Connection>,
    lent: usize,
}

impl Readers {
    pub(crate) fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            pool: Mutex::default(),
            returned: Condvar::new(),
        }
    }

    /// Runs `read` on one state of the database: what is committed meanwhile does not show.
    pub(crate) fn read<T>(
        &self,
        doing: &'static str,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let mut lent = self.borrow()?;
        let connection = match &mut lent.connection {
            Some(connection) => connection,
            none => none.insert(self.connect().map_err(failed("opening it to read"))?),
        };
        let transaction = connection.transaction().map_err(failed(doing))?;
        let answer = read(&transaction).map_err(failed(doing))?;
        transaction.finish().map_err(failed(doing))?;
        Ok(answer)
    }

    fn borrow(&self) -> Result<Lent<'_>, StoreError> {
        let until = Instant::now() + PATIENCE;
        let mut pool = self.lock();
        while pool.lent >= READERS {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(StoreError::Locked);
            }
            let waited = self.returned.wait_timeout(pool, left);
            pool = waited.expect("no holder of the pool panics").0;
        }
        pool.lent += 1;
        let connection = pool.idle.pop();
        Ok(Lent {
            readers: self,
            connection,
        })
    }

    fn connect(&self) -> rusqlite::Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.path, flags)?;
        connection.busy_timeout(PATIENCE)?;
        Ok(connection)
    }

    fn lock(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().expect("no holder of the pool panics")
    }
}

/// A turn to read, and the connection for it once there is one.
struct Lent<'a> {
    readers: &'a Readers,
    connection: Option<Connection>,
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let mut pool = self.readers.lock();
        pool.lent -= 1;
        pool.idle.extend(self.connection.take());
        drop(pool);
        self.readers.returned.notify_one();
    }
}
