//! What can go wrong in a store.

use std::path::PathBuf;

/// Why a store could not do what it was asked to. All variants but the last two concern opening:
/// nothing helps but another file, and the file has not been touched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The file is some other program's database.
    #[error("{path} is not a database of this gateway: it belongs to another program")]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The file was written by the Python gateway.
    #[error(
        "{path} was written by the Python rllm-model-gateway: take another file as --db-path, and \
         `rllm-model-gateway import {path}` brings its traces there"
    )]
    PythonReference {
        /// The file.
        path: PathBuf,
    },
    /// The file was written by a later version of this gateway.
    #[error("{path} has schema version {found}, this gateway knows {known}: use a newer gateway")]
    Newer {
        /// The file.
        path: PathBuf,
        /// The version that it has.
        found: i64,
        /// The latest version that is known here.
        known: i64,
    },
    /// The file cannot be trusted.
    #[error("{path} is damaged: {what}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What does not hold.
        what: String,
    },
    /// The file or its folder could not be opened or made.
    #[error("cannot open {path}")]
    Open {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Another gateway has the file.
    #[error("{path} is in use by another gateway")]
    InUse {
        /// The file, links followed.
        path: PathBuf,
    },
    /// Someone else holds the database. Trying again helps, once they let go.
    #[error("the database is locked by another process")]
    Locked,
    /// The backend failed: a full disk, a lost connection, a fault of ours. Trying again may help.
    #[error("the database failed: {message}")]
    Backend {
        /// What was being done, and what the backend said.
        message: String,
        /// The backend's own error.
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
}
