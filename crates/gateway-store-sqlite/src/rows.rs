//! Rows to values.

use bytes::Bytes;
use gateway_store::{Json, Run, Session, StoredTrace};
use gateway_trace::{Call, CallMeta, Endpoint, Kin, Reply, ReplyMeta};
use rusqlite::Row;

/// What [`trace`] reads, from `traces AS t`.
pub(crate) const TRACE: &str = "t.commit_seq, t.arrival_seq, t.created_at, c.call_meta,
    c.reply_meta, q.data, p.data, t.trace_id, t.session_id, t.run_id, t.endpoint, t.timestamp,
    t.parent_trace_id, t.line,
    CASE WHEN t.outcome <> 'completed' THEN (SELECT trace_id FROM traces AS s
        WHERE s.session_id = t.session_id AND s.arrival_seq > t.arrival_seq
        AND s.request_key = t.request_key AND s.outcome = 'completed'
        ORDER BY s.arrival_seq, s.commit_seq LIMIT 1) END
    FROM traces AS t
    JOIN contents AS c ON c.commit_seq = t.commit_seq
    LEFT JOIN bodies AS q ON q.body_id = c.request
    LEFT JOIN bodies AS p ON p.body_id = c.reply";

/// What [`session`] reads.
pub(crate) const SESSION: &str = "session_id, run_id, created_at, metadata, trace_count,
    total_count, first_trace_at, last_trace_at, deleted_count FROM sessions";

/// What [`run`] reads.
pub(crate) const RUN: &str = "run_id, started_at, ended_at, metadata FROM runs";

pub(crate) fn trace(row: &Row<'_>) -> rusqlite::Result<StoredTrace> {
    let call_meta: String = row.get(3)?;
    let reply_meta: String = row.get(4)?;
    // One trace that cannot be read, because a later version wrote it or the disk forgot, must not
    // hide the others: what its columns say is shown instead.
    let call_meta = match serde_json::from_str(&call_meta) {
        Ok(meta) => meta,
        Err(error) => from_columns(row, &error)?,
    };
    let reply_meta = serde_json::from_str(&reply_meta).unwrap_or_else(|error| {
        let notes = vec![format!("what became of the call cannot be read: {error}")];
        ReplyMeta {
            notes,
            ..ReplyMeta::default()
        }
    });
    Ok(StoredTrace {
        commit_seq: unsigned(row.get(0)?),
        arrival_seq: unsigned(row.get(1)?),
        created_at: row.get(2)?,
        call: Call {
            meta: call_meta,
            request: body(row, 5)?,
        },
        reply: Reply {
            meta: reply_meta,
            body: body(row, 6)?,
        },
        kin: Kin {
            parent_trace_id: row.get(12)?,
            line: row.get::<_, Option<i64>>(13)?.map(unsigned),
            superseded_by: row.get(14)?,
        },
    })
}

fn from_columns(row: &Row<'_>, error: &serde_json::Error) -> rusqlite::Result<CallMeta> {
    let trace_id: String = row.get(7)?;
    tracing::error!(trace_id, %error, "what is stored of a call cannot be read");
    let endpoint: String = row.get(10)?;
    let endpoint = Endpoint::from_path(&endpoint).unwrap_or(Endpoint::ChatCompletions);
    let mut meta = CallMeta::new(trace_id, endpoint, row.get(11)?);
    meta.identity.session_id = named(row.get(8)?);
    meta.identity.run_id = named(row.get(9)?);
    Ok(meta)
}

fn body(row: &Row<'_>, column: usize) -> rusqlite::Result<Bytes> {
    let data: Option<Vec<u8>> = row.get(column)?;
    Ok(data.map_or_else(Bytes::new, Bytes::from))
}

pub(crate) fn session(row: &Row<'_>) -> rusqlite::Result<Session> {
    Ok(Session {
        session_id: row.get(0)?,
        run_id: named(row.get(1)?),
        created_at: row.get(2)?,
        metadata: json(row.get_ref(3)?.as_str()?),
        trace_count: unsigned(row.get(4)?),
        total_count: unsigned(row.get(5)?),
        first_trace_at: row.get(6)?,
        last_trace_at: row.get(7)?,
        deleted_count: unsigned(row.get(8)?),
    })
}

pub(crate) fn run(row: &Row<'_>) -> rusqlite::Result<Run> {
    Ok(Run {
        run_id: row.get(0)?,
        started_at: row.get(1)?,
        ended_at: row.get(2)?,
        metadata: json(row.get_ref(3)?.as_str()?),
    })
}

/// A text that was JSON when it was written.
pub(crate) fn json(text: &str) -> Json {
    Json::new(text).unwrap_or_else(|error| {
        tracing::error!(text, %error, "stored metadata is not JSON");
        Json::empty_object()
    })
}

/// A name, none of which is written as `''`.
fn named(name: String) -> Option<String> {
    Some(name).filter(|name| !name.is_empty())
}

/// Sequences and counts are never negative, and never come near the limit of an `i64`.
pub(crate) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// A number for SQLite, which has no greater ones.
pub(crate) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
