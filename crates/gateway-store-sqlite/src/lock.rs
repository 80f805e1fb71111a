//! One gateway at a time, by whatever name each calls the file.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use gateway_store::StoreError;

use crate::file::open_error;

/// The file that `path` leads to, links followed, in a folder that is made if it is not there:
/// what lies beside the file is found from every path that leads to it.
///
/// # Errors
/// [`StoreError::Open`], also for a link that leads to nothing.
pub(crate) fn resolve(path: &Path) -> Result<PathBuf, StoreError> {
    match path.canonicalize() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        found => return found.map_err(|error| open_error(path, error)),
    }
    if path.is_symlink() {
        return Err(open_error(path, "it is a link, and leads to no file"));
    }
    let name = path.file_name();
    let name = name.ok_or_else(|| open_error(path, "it names no file"))?;
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .and_then(|()| Ok(folder.canonicalize()?.join(name)))
        .map_err(|error| open_error(folder, error))
}

/// Locks the file at `path` against other gateways for as long as it is held open.
///
/// A lock of the file itself, so that other names of it (hard links) are locked too, and one of a
/// kind that SQLite does not use. It must be held until SQLite has closed the file: by POSIX, a
/// process that closes any descriptor of a file loses all record locks that it has on it, and those
/// are SQLite's.
///
/// # Errors
/// [`StoreError::InUse`], or [`StoreError::Open`].
pub(crate) fn lock(path: &Path) -> Result<File, StoreError> {
    loop {
        let file = File::open(path).map_err(|error| open_error(path, error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                // It may be a store of this very process, whose locks the close would take away.
                std::mem::forget(file);
                let path = path.to_owned();
                return Err(StoreError::InUse { path });
            }
            Err(TryLockError::Error(error)) => return Err(open_error(path, error)),
        }
        // Another process may just have put a whole file in the place of an empty one.
        if is_at(&file, path).map_err(|error| open_error(path, error))? {
            return Ok(file);
        }
    }
}

fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let (held, there) = (file.metadata()?, fs::metadata(path)?);
    Ok((held.dev(), held.ino()) == (there.dev(), there.ino()))
}
