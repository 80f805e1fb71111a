//! The schema, and how a new file gets it.

use rusqlite::Connection;

/// `rLLM`: tells our files from everyone else's.
pub(crate) const APPLICATION_ID: i32 = 0x724C_4C4D;

/// The version of the schema below. It only grows, with a migration from each version before.
pub(crate) const VERSION: i64 = 2;

/// The longest file that is checked in full when it is opened; larger ones would take too long.
pub(crate) const CHECK_BYTES: u64 = 64 << 20;

/// Everything in a file of this version, one statement each.
pub(crate) const STATEMENTS: [&str; 18] = [
    // How far the store has got. `last_*` outlive the rows that they come from, so that nothing is
    // numbered twice after a deletion.
    "CREATE TABLE progress (
        id INTEGER PRIMARY KEY CHECK (id = 0),
        journal_id BLOB,
        applied INTEGER NOT NULL,
        replay_from INTEGER NOT NULL,
        last_arrival INTEGER NOT NULL,
        last_commit INTEGER NOT NULL,
        last_created_at REAL NOT NULL
    ) STRICT",
    // What traces are found by. No run, no session, no harness is ''.
    "CREATE TABLE traces (
        commit_seq INTEGER PRIMARY KEY,
        arrival_seq INTEGER NOT NULL,
        created_at REAL NOT NULL,
        trace_id TEXT NOT NULL,
        session_id TEXT NOT NULL,
        run_id TEXT NOT NULL,
        harness TEXT NOT NULL,
        model TEXT NOT NULL,
        endpoint TEXT NOT NULL,
        span_type TEXT NOT NULL,
        outcome TEXT NOT NULL,
        has_error INTEGER NOT NULL,
        finish_reason TEXT,
        status INTEGER,
        stream INTEGER NOT NULL,
        latency_ms REAL NOT NULL,
        timestamp REAL NOT NULL,
        request_key INTEGER,
        line_key INTEGER,
        parent_trace_id TEXT,
        line INTEGER
    ) STRICT",
    // An index also holds the commit sequence, so that each gives a filter in the order of commits.
    "CREATE UNIQUE INDEX traces_by_id ON traces (trace_id)",
    "CREATE INDEX traces_by_session ON traces (session_id, arrival_seq)",
    // Only what others may extend.
    "CREATE INDEX traces_by_line ON traces (line_key, arrival_seq) WHERE line_key NOT NULL",
    "CREATE INDEX traces_by_run ON traces (run_id)",
    "CREATE INDEX traces_by_model ON traces (model)",
    "CREATE INDEX traces_by_harness ON traces (harness)",
    "CREATE INDEX traces_by_error ON traces (has_error)",
    "CREATE INDEX traces_by_latency ON traces (latency_ms)",
    "CREATE INDEX traces_by_time ON traces (created_at)",
    // What is read along with a trace. An empty body is no body.
    "CREATE TABLE contents (
        commit_seq INTEGER PRIMARY KEY,
        call_meta TEXT NOT NULL,
        reply_meta TEXT NOT NULL,
        request INTEGER,
        reply INTEGER
    ) STRICT",
    "CREATE TABLE bodies (
        body_id INTEGER PRIMARY KEY,
        data BLOB NOT NULL
    ) STRICT",
    // One row for each session and run. Its counts are kept as traces come, so that a listing
    // loads none of them.
    "CREATE TABLE sessions (
        made INTEGER PRIMARY KEY,
        session_id TEXT NOT NULL,
        run_id TEXT NOT NULL,
        created_at REAL NOT NULL,
        metadata TEXT NOT NULL,
        trace_count INTEGER NOT NULL,
        total_count INTEGER NOT NULL,
        deleted_count INTEGER NOT NULL DEFAULT 0,
        lines INTEGER NOT NULL DEFAULT 0,
        first_trace_at REAL,
        last_trace_at REAL,
        UNIQUE (session_id, run_id)
    ) STRICT",
    "CREATE INDEX sessions_by_time ON sessions (created_at)",
    "CREATE TABLE sampling_params (
        session_id TEXT PRIMARY KEY,
        params TEXT NOT NULL
    ) STRICT, WITHOUT ROWID",
    // `registered` is 0 for a run that only calls have named.
    "CREATE TABLE runs (
        made INTEGER PRIMARY KEY,
        run_id TEXT NOT NULL UNIQUE,
        started_at REAL NOT NULL,
        ended_at REAL,
        metadata TEXT NOT NULL,
        registered INTEGER NOT NULL
    ) STRICT",
    "CREATE INDEX runs_by_time ON runs (started_at)",
];

/// Lays out a new, empty file.
pub(crate) fn create(connection: &mut Connection) -> rusqlite::Result<()> {
    // These can only be set while there is no table.
    connection.pragma_update(None, "page_size", 32 << 10)?;
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    let transaction = connection.transaction()?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", VERSION)?;
    for statement in STATEMENTS {
        transaction.execute(statement, [])?;
    }
    transaction.execute("INSERT INTO progress VALUES (0, NULL, 0, 1, 0, 0, 0)", [])?;
    transaction.commit()?;
    // Only now, so that the header of the file itself shows whose it is, without the WAL.
    connection.pragma_update(None, "journal_mode", "WAL")
}
