//! SQLite's errors in the words of a store.

use gateway_store::StoreError;
use rusqlite::ErrorCode;

/// What SQLite said while `doing` something.
pub(crate) fn failed(doing: &'static str) -> impl FnOnce(rusqlite::Error) -> StoreError {
    move |error| match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::Locked,
        _ => StoreError::Backend {
            message: doing.to_owned(),
            source: Some(error.into()),
        },
    }
}

/// Whether SQLite says that the file is not what it should be.
pub(crate) fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
    )
}
