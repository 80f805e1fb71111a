//! A disk for the journal that can be made to fail.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use gateway_journal::Journal;
use gateway_journal::disk::{Disk, DiskFile};

use super::Lockable;
use crate::ledger::inner::Inner;
use crate::ledger::{Ledger, LedgerOptions};

/// The file system, until it is told to fail.
#[derive(Debug)]
pub(super) struct FailingDisk {
    disk: Arc<dyn Disk>,
    failing: Arc<AtomicBool>,
}

#[derive(Debug)]
struct FailingFile {
    file: Arc<dyn DiskFile>,
    failing: Arc<AtomicBool>,
}

/// A ledger on a disk that fails while the flag is set.
pub(super) fn open(
    folder: &Path,
    options: LedgerOptions,
    store: &Arc<Lockable>,
) -> (Ledger, Arc<AtomicBool>) {
    let failing = Arc::new(AtomicBool::new(false));
    let disk = Journal::disk(folder.join("journal")).unwrap();
    let disk = Arc::new(FailingDisk {
        disk,
        failing: Arc::clone(&failing),
    });
    let store = Arc::clone(store);
    let inner = Inner::open(options, store, |options, on_progress| {
        Journal::open_on(disk, &options, on_progress)
    });
    let inner = Arc::new(inner.expect("the ledger opens"));
    (Ledger { inner }, failing)
}

fn check(failing: &AtomicBool) -> io::Result<()> {
    match failing.load(Ordering::SeqCst) {
        true => Err(io::Error::other("No space left on device")),
        false => Ok(()),
    }
}

impl FailingDisk {
    fn wrap(&self, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(FailingFile {
            file,
            failing: Arc::clone(&self.failing),
        })
    }
}

impl Disk for FailingDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        self.disk.list()
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.wrap(self.disk.open(name)?))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        check(&self.failing)?;
        Ok(self.wrap(self.disk.create(name)?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        check(&self.failing)?;
        self.disk.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }

    fn sync(&self) -> io::Result<()> {
        check(&self.failing)?;
        self.disk.sync()
    }
}

impl DiskFile for FailingFile {
    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        check(&self.failing)?;
        self.file.write_at(bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        check(&self.failing)?;
        self.file.sync_data()
    }
}
