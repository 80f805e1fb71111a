//! TraceStore on SQLite.
