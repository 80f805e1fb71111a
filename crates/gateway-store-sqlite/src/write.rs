//! Applying a batch.

use gateway_store::{
    Applied, Batch, COMMIT_STEP, Change, Item, JournalId, Json, NewTrace, Position, Scope, Write,
    is_plain,
};
use gateway_trace::Summary;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};

use crate::rows::{signed, unsigned};

/// The row of `progress`.
pub(crate) struct Progress {
    pub(crate) position: Option<Position>,
    pub(crate) last_arrival: u64,
    last_commit: u64,
    last_created_at: f64,
}

pub(crate) fn apply(connection: &mut Connection, batch: &Batch) -> rusqlite::Result<Applied> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut writer = Writer {
        progress: progress(&transaction)?,
        at: batch.at,
        transaction,
    };
    let applied = writer.apply(batch)?;
    writer.transaction.commit()?;
    Ok(applied)
}

pub(crate) fn progress(connection: &Connection) -> rusqlite::Result<Progress> {
    let mut statement = connection.prepare_cached(
        "SELECT journal_id, applied, replay_from, last_arrival, last_commit, last_created_at
            FROM progress WHERE id = 0",
    )?;
    statement.query_row([], |row| {
        let (applied, replay_from) = (unsigned(row.get(1)?), unsigned(row.get(2)?));
        let journal_id: Option<JournalId> = row.get(0)?;
        Ok(Progress {
            position: journal_id.map(|journal_id| Position {
                journal_id,
                applied,
                replay_from,
            }),
            last_arrival: unsigned(row.get(3)?),
            last_commit: unsigned(row.get(4)?),
            last_created_at: row.get(5)?,
        })
    })
}

struct Writer<'a> {
    transaction: Transaction<'a>,
    progress: Progress,
    at: f64,
}

impl Writer<'_> {
    fn apply(&mut self, batch: &Batch) -> rusqlite::Result<Applied> {
        let mut applied = Applied::default();
        let at = batch.position;
        let known = self
            .progress
            .position
            .filter(|known| known.journal_id == at.journal_id);
        let stored = known.map_or(0, |known| known.applied);
        for Item { seq, write } in batch.items.iter().filter(|item| item.seq > stored) {
            match write {
                Write::Trace(trace) => applied.traces += u64::from(self.insert(trace)?),
                Write::Overtaken { session_id, run_id } => {
                    self.execute(
                        "UPDATE sessions SET deleted_count = deleted_count + 1
                            WHERE session_id = ? AND run_id = ?",
                        params![session_id, run_id.as_deref().unwrap_or_default()],
                    )?;
                }
                Write::Change(change) => {
                    if let Some(deleted) = self.change(change)? {
                        applied.deleted.push((*seq, deleted));
                    }
                }
            }
        }
        self.progress.position = Some(known.map_or(at, |known| known.max(at)));
        self.put_progress()?;
        Ok(applied)
    }

    fn put_progress(&self) -> rusqlite::Result<()> {
        let Progress {
            position,
            last_arrival,
            last_commit,
            last_created_at,
        } = &self.progress;
        let position = position.expect("a batch has a position");
        self.execute(
            "UPDATE progress SET journal_id = ?, applied = ?, replay_from = ?, last_arrival = ?,
                last_commit = ?, last_created_at = ? WHERE id = 0",
            params![
                position.journal_id,
                signed(position.applied),
                signed(position.replay_from),
                signed(*last_arrival),
                signed(*last_commit),
                last_created_at
            ],
        )?;
        Ok(())
    }

    /// Gives whether the trace is new.
    fn insert(&mut self, trace: &NewTrace) -> rusqlite::Result<bool> {
        let summary = &trace.summary;
        let progress = &mut self.progress;
        progress.last_arrival = progress.last_arrival.max(trace.arrival_seq);
        let commit_seq = signed(progress.last_commit + 1);
        let created_at = self.at.max(progress.last_created_at + COMMIT_STEP);
        let place = place(&self.transaction, trace)?;
        let inserted = self.execute(
            "INSERT INTO traces (commit_seq, arrival_seq, created_at, trace_id, session_id, run_id,
                harness, model, endpoint, span_type, outcome, has_error, finish_reason, status,
                stream, latency_ms, timestamp, request_key, line_key, parent_trace_id, line)
                VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
                ON CONFLICT (trace_id) DO NOTHING",
            params![
                commit_seq,
                signed(trace.arrival_seq),
                created_at,
                summary.trace_id,
                summary.session_id(),
                summary.identity.run_id.as_deref().unwrap_or_default(),
                summary.identity.harness.as_deref().unwrap_or_default(),
                summary.model,
                summary.endpoint.as_str(),
                summary.span_type.as_str(),
                summary.outcome.as_str(),
                summary.has_error,
                summary.finish_reason,
                summary.status,
                summary.stream,
                summary.latency_ms,
                summary.timestamp,
                trace.keys.as_ref().map(|keys| keys.request.cast_signed()),
                trace.line_key().map(u64::cast_signed),
                place.parent_trace_id,
                place.line,
            ],
        )?;
        if inserted == 0 {
            return Ok(false);
        }
        self.progress.last_commit += 1;
        self.progress.last_created_at = created_at;
        let request = self.insert_body(&trace.call.request)?;
        let reply = self.insert_body(&trace.reply.body)?;
        let text = "what describes a call is plain data";
        self.execute(
            "INSERT INTO contents (commit_seq, call_meta, reply_meta, request, reply)
                VALUES (?, ?, ?, ?, ?)",
            params![
                commit_seq,
                serde_json::to_string(&trace.call.meta).expect(text),
                serde_json::to_string(&trace.reply.meta).expect(text),
                request,
                reply
            ],
        )?;
        self.count_in_session(summary, place.begins_line)?;
        self.note_run(summary)?;
        Ok(true)
    }

    fn insert_body(&self, data: &[u8]) -> rusqlite::Result<Option<i64>> {
        if data.is_empty() {
            return Ok(None);
        }
        self.execute("INSERT INTO bodies (data) VALUES (?)", [data])?;
        Ok(Some(self.transaction.last_insert_rowid()))
    }

    /// Counts a new trace in the row of its session, which it may make.
    fn count_in_session(&self, summary: &Summary, begins_line: bool) -> rusqlite::Result<()> {
        let session_id = summary.session_id();
        if session_id.is_empty() {
            return Ok(());
        }
        let run_id = summary.identity.run_id.as_deref().unwrap_or_default();
        let created_at = self.progress.last_created_at;
        let count = || {
            self.execute(
                "UPDATE sessions SET trace_count = trace_count + ?3, total_count = total_count + 1,
                    first_trace_at = coalesce(first_trace_at, ?4), last_trace_at = ?4,
                    lines = lines + ?5 WHERE session_id = ?1 AND run_id = ?2",
                params![
                    session_id,
                    run_id,
                    is_plain(summary),
                    created_at,
                    begins_line
                ],
            )
        };
        if count()? == 0 {
            self.bind(session_id, run_id)?;
            self.make_session(session_id, run_id, summary.timestamp)?;
            count()?;
        }
        Ok(())
    }

    /// Gives a session that was made without a run, and has no traces, its run.
    fn bind(&self, session_id: &str, run_id: &str) -> rusqlite::Result<()> {
        if !run_id.is_empty() {
            self.execute(
                "UPDATE OR IGNORE sessions SET run_id = ?2
                    WHERE session_id = ?1 AND run_id = '' AND total_count = 0",
                params![session_id, run_id],
            )?;
        }
        Ok(())
    }

    /// Makes the row of a session and run, if it is not there.
    fn make_session(&self, session_id: &str, run_id: &str, at: f64) -> rusqlite::Result<()> {
        self.execute(
            "INSERT INTO sessions (session_id, run_id, created_at, metadata, trace_count,
                total_count) VALUES (?, ?, ?, '{}', 0, 0) ON CONFLICT DO NOTHING",
            params![session_id, run_id, at],
        )?;
        Ok(())
    }

    fn note_run(&self, summary: &Summary) -> rusqlite::Result<()> {
        if let Some(run_id) = &summary.identity.run_id {
            self.execute(
                "INSERT INTO runs (run_id, started_at, metadata, registered) VALUES (?, ?, '{}', 0)
                    ON CONFLICT (run_id) DO UPDATE SET started_at = excluded.started_at
                    WHERE registered = 0 AND excluded.started_at < started_at",
                params![run_id, summary.timestamp],
            )?;
        }
        Ok(())
    }

    /// Gives how many traces a deletion deleted.
    fn change(&self, change: &Change) -> rusqlite::Result<Option<u64>> {
        match change {
            Change::PutSession {
                session_id,
                run_id,
                metadata,
                sampling_params,
                at,
            } => {
                self.put_session(session_id, run_id.as_deref(), metadata.as_ref(), *at)?;
                if let Some(params) = sampling_params {
                    self.execute(
                        "INSERT INTO sampling_params (session_id, params) VALUES (?, ?)
                            ON CONFLICT DO UPDATE SET params = excluded.params",
                        params![session_id, params.as_str()],
                    )?;
                }
            }
            Change::DeleteSessions { session_ids, scope } => {
                return self.delete(session_ids, scope).map(Some);
            }
            Change::StartRun {
                run_id,
                metadata,
                at,
            } => {
                self.execute(
                    "INSERT INTO runs (run_id, started_at, metadata, registered) VALUES (?, ?, ?, 1)
                        ON CONFLICT (run_id) DO UPDATE SET metadata = excluded.metadata,
                        ended_at = NULL, registered = 1",
                    params![run_id, at, metadata.as_str()],
                )?;
            }
            Change::EndRun { run_id, at } => {
                let sql = "UPDATE runs SET ended_at = ?2 WHERE run_id = ?1";
                self.execute(sql, params![run_id, at])?;
            }
        }
        Ok(None)
    }

    fn put_session(
        &self,
        session_id: &str,
        run_id: Option<&str>,
        metadata: Option<&Json>,
        at: f64,
    ) -> rusqlite::Result<()> {
        match run_id {
            Some(run_id) => {
                self.bind(session_id, run_id)?;
                self.make_session(session_id, run_id, at)?;
            }
            None => {
                let sql = "SELECT 1 FROM sessions WHERE session_id = ? LIMIT 1";
                let mut known = self.transaction.prepare_cached(sql)?;
                if known
                    .query_row([session_id], |_| Ok(()))
                    .optional()?
                    .is_none()
                {
                    self.make_session(session_id, "", at)?;
                }
            }
        }
        if let Some(metadata) = metadata {
            self.execute(
                "UPDATE sessions SET metadata = ?3
                    WHERE session_id = ?1 AND (?2 IS NULL OR run_id = ?2)",
                params![session_id, run_id, metadata.as_str()],
            )?;
        }
        Ok(())
    }

    /// Deletes all of the sessions at once: one after the other takes many times as long.
    fn delete(&self, session_ids: &[String], scope: &Scope) -> rusqlite::Result<u64> {
        let run_id = match scope {
            Scope::All => None,
            Scope::Run(run_id) => Some(run_id),
        };
        self.execute(
            "CREATE TEMP TABLE IF NOT EXISTS doomed (session_id TEXT PRIMARY KEY) WITHOUT ROWID",
            [],
        )?;
        for session_id in session_ids {
            let sql = "INSERT OR IGNORE INTO temp.doomed VALUES (?)";
            self.execute(sql, [session_id])?;
        }
        let doomed = "session_id IN (SELECT session_id FROM temp.doomed)
            AND (?1 IS NULL OR run_id = ?1)";
        let of_traces =
            format!("WHERE commit_seq IN (SELECT commit_seq FROM traces WHERE {doomed})");
        for body in ["request", "reply"] {
            let sql = format!(
                "DELETE FROM bodies WHERE body_id IN (SELECT {body} FROM contents {of_traces})"
            );
            self.execute(&sql, [run_id])?;
        }
        self.execute(&format!("DELETE FROM contents {of_traces}"), [run_id])?;
        let deleted = self.execute(&format!("DELETE FROM traces WHERE {doomed}"), [run_id])?;
        self.execute(&format!("DELETE FROM sessions WHERE {doomed}"), [run_id])?;
        self.execute(
            "DELETE FROM sampling_params WHERE session_id IN (SELECT session_id FROM temp.doomed)
                AND NOT EXISTS (SELECT 1 FROM sessions
                WHERE sessions.session_id = sampling_params.session_id)",
            [],
        )?;
        self.execute("DELETE FROM temp.doomed", [])?;
        Ok(deleted as u64)
    }

    fn execute(&self, sql: &str, params: impl rusqlite::Params) -> rusqlite::Result<usize> {
        self.transaction.prepare_cached(sql)?.execute(params)
    }
}

/// Where a new trace stands among those of its session.
#[derive(Default)]
struct Place {
    parent_trace_id: Option<String>,
    line: Option<i64>,
    begins_line: bool,
}

/// Where a new trace stands among those of its session.
fn place(connection: &Connection, new: &NewTrace) -> rusqlite::Result<Place> {
    if let Some((parent_trace_id, line)) = parent(connection, new)? {
        return Ok(Place {
            parent_trace_id: Some(parent_trace_id),
            line,
            begins_line: false,
        });
    }
    let mut place = Place::default();
    if new.may_begin_line() {
        let summary = &new.summary;
        let run_id = summary.identity.run_id.as_deref().unwrap_or_default();
        let sql = "SELECT lines FROM sessions WHERE session_id = ? AND run_id = ?";
        let mut statement = connection.prepare_cached(sql)?;
        let begun = statement.query_row([summary.session_id(), run_id], |row| row.get(0));
        place.line = Some(begun.optional()?.unwrap_or(0));
        place.begins_line = true;
    }
    Ok(place)
}

/// The trace that a new one extends, and its line.
fn parent(
    connection: &Connection,
    new: &NewTrace,
) -> rusqlite::Result<Option<(String, Option<i64>)>> {
    let arrival_seq = signed(new.arrival_seq);
    let mut longest = connection.prepare_cached(
        "SELECT arrival_seq, trace_id, line FROM traces
            WHERE line_key = ? AND arrival_seq < ?
            ORDER BY arrival_seq DESC, commit_seq DESC LIMIT 1",
    )?;
    let mut parent = None;
    for key in new.parent_keys() {
        let found = longest.query_row(params![key.cast_signed(), arrival_seq], |row| {
            Ok((row.get::<_, i64>(0)?, (row.get(1)?, row.get(2)?)))
        });
        parent = found.optional()?;
        if parent.is_some() {
            break;
        }
    }
    let Some((found_at, mut parent)) = parent else {
        return Ok(None);
    };
    // Nearly always that is it. What has come since may begin the new one as well, though, and
    // the latest counts.
    let mut since = connection.prepare_cached(
        "SELECT line_key, trace_id, line FROM traces
            WHERE session_id = ? AND arrival_seq >= ? AND arrival_seq < ? AND line_key NOT NULL
            ORDER BY arrival_seq DESC, commit_seq DESC",
    )?;
    let mut rows = since.query(params![new.summary.session_id(), found_at, arrival_seq])?;
    while let Some(row) = rows.next()? {
        if new
            .parent_keys()
            .contains(&row.get::<_, i64>(0)?.cast_unsigned())
        {
            parent = (row.get(1)?, row.get(2)?);
            break;
        }
    }
    Ok(Some(parent))
}

/// Gives a trace that is stored already its place among those committed before it.
pub(crate) fn place_again(
    connection: &Connection,
    commit_seq: i64,
    trace: &NewTrace,
) -> rusqlite::Result<()> {
    let place = place(connection, trace)?;
    let mut statement = connection.prepare_cached(
        "UPDATE traces SET request_key = ?, line_key = ?, parent_trace_id = ?, line = ?
            WHERE commit_seq = ?",
    )?;
    statement.execute(params![
        trace.keys.as_ref().map(|keys| keys.request.cast_signed()),
        trace.line_key().map(u64::cast_signed),
        place.parent_trace_id,
        place.line,
        commit_seq
    ])?;
    if place.begins_line {
        let summary = &trace.summary;
        let run_id = summary.identity.run_id.as_deref().unwrap_or_default();
        let sql = "UPDATE sessions SET lines = lines + 1 WHERE session_id = ? AND run_id = ?";
        let mut statement = connection.prepare_cached(sql)?;
        statement.execute([summary.session_id(), run_id])?;
    }
    Ok(())
}
