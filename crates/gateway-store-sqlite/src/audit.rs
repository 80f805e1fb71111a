//! The full check of a file: what SQLite says of it, and what must hold of what is in it.

use std::fmt;
use std::path::Path;

use gateway_store::StoreError;
use gateway_trace::{CallMeta, ReplyMeta};
use rusqlite::Connection;

use crate::check::{Ours, as_damage};
use crate::file::{damaged, header};
use crate::rows::unsigned;
use crate::schema::VERSION;

/// A file that is sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sound {
    /// The version of its schema.
    pub version: i64,
    /// Whether that is an earlier one: the next start migrates it. Of such a file SQLite's own check
    /// is all that is made.
    pub older: bool,
    /// How many traces it has.
    pub traces: u64,
    /// How many sessions, one for each run.
    pub sessions: u64,
}

impl fmt::Display for Sound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Sound {
            version,
            traces,
            sessions,
            ..
        } = self;
        write!(
            f,
            "traces: {traces}, sessions: {sessions}, schema version {version}"
        )?;
        match self.older {
            true => f.write_str(", which the next start will bring up to date"),
            false => Ok(()),
        }
    }
}

/// What must hold: each counts what breaks it, and what then is wrong.
const INVARIANTS: [(&str, &str); 13] = [
    (
        "SELECT count(*) <> 1 FROM progress WHERE id = 0",
        "its place in the journal is missing, rows",
    ),
    (
        "SELECT count(*) FROM traces AS t WHERE NOT EXISTS
            (SELECT 1 FROM contents AS c WHERE c.commit_seq = t.commit_seq)",
        "traces without contents",
    ),
    (
        "SELECT count(*) FROM contents AS c WHERE NOT EXISTS
            (SELECT 1 FROM traces AS t WHERE t.commit_seq = c.commit_seq)",
        "contents without a trace",
    ),
    (
        "SELECT count(*) FROM contents AS c WHERE c.request NOT NULL AND NOT EXISTS
            (SELECT 1 FROM bodies AS b WHERE b.body_id = c.request)",
        "requests that are missing",
    ),
    (
        "SELECT count(*) FROM contents AS c WHERE c.reply NOT NULL AND NOT EXISTS
            (SELECT 1 FROM bodies AS b WHERE b.body_id = c.reply)",
        "replies that are missing",
    ),
    (
        "SELECT count(*) FROM (SELECT body_id FROM bodies EXCEPT
            SELECT request FROM contents EXCEPT SELECT reply FROM contents)",
        "bodies of no trace",
    ),
    (
        "SELECT count(*) FROM traces AS t WHERE t.session_id <> '' AND NOT EXISTS
            (SELECT 1 FROM sessions AS s
                WHERE s.session_id = t.session_id AND s.run_id = t.run_id)",
        "traces of sessions that are not known",
    ),
    (
        "SELECT count(*) FROM sessions AS s LEFT JOIN
            (SELECT session_id, run_id, count(*) AS total,
                sum(outcome = 'completed' AND span_type = 'llm.call') AS plain
                FROM traces GROUP BY session_id, run_id) AS t USING (session_id, run_id)
            WHERE s.total_count <> coalesce(t.total, 0)
                OR s.trace_count <> coalesce(t.plain, 0)",
        "sessions that miscount their traces",
    ),
    (
        "SELECT count(*) FROM traces AS t JOIN sessions AS s USING (session_id, run_id)
            WHERE t.line >= s.lines",
        "traces on lines that their session has not begun",
    ),
    (
        "SELECT count(*) FROM traces AS t WHERE t.run_id <> '' AND NOT EXISTS
            (SELECT 1 FROM runs AS r WHERE r.run_id = t.run_id)",
        "traces of runs that are not known",
    ),
    (
        "SELECT count(*) FROM traces, progress WHERE commit_seq > last_commit",
        "traces beyond the last commit",
    ),
    (
        "SELECT count(*) FROM traces, progress WHERE arrival_seq > last_arrival",
        "traces beyond the last arrival",
    ),
    (
        "SELECT count(*) FROM traces AS t JOIN traces AS u ON u.commit_seq =
            (SELECT min(commit_seq) FROM traces WHERE commit_seq > t.commit_seq)
            WHERE u.created_at <= t.created_at",
        "traces that are not in the order of time",
    ),
];

/// Checks a file in full; nothing in it is changed. It may be in use.
///
/// # Errors
/// [`StoreError`]: the file is damaged, or no database of this gateway, or cannot be read.
pub(crate) fn audit(path: &Path) -> Result<Sound, StoreError> {
    let header = header(path)?;
    header.check_name()?;
    let ours = Ours::open(path, &header)?;
    let connection = &ours.connection;
    let as_damage = as_damage(path);
    // One state of it, whatever its gateway does meanwhile.
    connection.execute_batch("BEGIN").map_err(as_damage)?;
    let said: String = connection
        .query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))
        .map_err(as_damage)?;
    if said != "ok" {
        return Err(damaged(path, said));
    }
    let older = ours.version < VERSION;
    if !older && let Some(what) = broken(connection).map_err(as_damage)? {
        return Err(damaged(path, what));
    }
    let count = |sql| {
        let counted = connection.query_row(sql, [], |row| row.get(0));
        counted.map(unsigned).map_err(as_damage)
    };
    Ok(Sound {
        version: ours.version,
        older,
        traces: count("SELECT count(*) FROM traces")?,
        sessions: count("SELECT count(*) FROM sessions")?,
    })
}

/// What does not hold of the rows.
fn broken(connection: &Connection) -> rusqlite::Result<Option<String>> {
    for (sql, what) in INVARIANTS {
        let found: i64 = connection.query_row(sql, [], |row| row.get(0))?;
        if found > 0 {
            return Ok(Some(format!("{what}: {found}")));
        }
    }
    let mut statement = connection.prepare(
        "SELECT t.trace_id, t.session_id, t.run_id, c.call_meta, c.reply_meta
            FROM traces AS t JOIN contents AS c ON c.commit_seq = t.commit_seq",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let trace_id: String = row.get(0)?;
        let call: Result<CallMeta, _> = serde_json::from_str(row.get_ref(3)?.as_str()?);
        let reply: Result<ReplyMeta, _> = serde_json::from_str(row.get_ref(4)?.as_str()?);
        let call = match (call, reply) {
            (Ok(call), Ok(_)) => call,
            (Err(error), _) | (_, Err(error)) => {
                return Ok(Some(format!("trace {trace_id} cannot be read: {error}")));
            }
        };
        let name = |name: &Option<String>| name.clone().unwrap_or_default();
        let said = (
            call.trace_id,
            name(&call.identity.session_id),
            name(&call.identity.run_id),
        );
        if said != (trace_id.clone(), row.get(1)?, row.get(2)?) {
            return Ok(Some(format!("trace {trace_id} is listed as another one")));
        }
    }
    Ok(None)
}
