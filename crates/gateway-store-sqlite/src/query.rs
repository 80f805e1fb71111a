//! Filters as SQL.

use gateway_store::{
    Facets, Feed, FeedPage, Order, Run, Scope, Session, SessionList, SessionTraces, StoredTrace,
    TraceFilter,
};
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

use crate::rows::{self, RUN, SESSION, TRACE, signed, unsigned};

/// Conditions, all of which must hold, and their parameters in order.
#[derive(Default)]
struct Conditions {
    sql: Vec<String>,
    values: Vec<Value>,
}

impl Conditions {
    /// Adds a condition with one `?`, if it has a value.
    fn add(&mut self, sql: impl Into<String>, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.sql.push(sql.into());
            self.values.push(value.into());
        }
    }

    fn clause(&self) -> String {
        match self.sql.is_empty() {
            true => String::new(),
            false => format!("WHERE {}", self.sql.join(" AND ")),
        }
    }
}

/// How many rows at most; without a limit SQLite takes -1.
fn limit(limit: Option<u64>) -> i64 {
    limit.map_or(-1, signed)
}

pub(crate) fn session_traces(
    connection: &Connection,
    query: &SessionTraces,
) -> rusqlite::Result<Vec<StoredTrace>> {
    let mut conditions = Conditions::default();
    conditions.add("t.session_id = ?", Some(query.session_id.clone()));
    conditions.add("+t.run_id = ?", run_of(&query.scope));
    conditions.add("+t.created_at >= ?", query.since);
    conditions.add(
        "t.outcome = ?",
        query.outcome.map(|outcome| outcome.as_str().to_owned()),
    );
    conditions.add(
        "t.span_type = ?",
        query.span_type.map(|kind| kind.as_str().to_owned()),
    );
    conditions.values.push(limit(query.limit).into());
    let clause = conditions.clause();
    let sql = format!("SELECT {TRACE} {clause} ORDER BY t.arrival_seq, t.commit_seq LIMIT ?");
    let mut statement = connection.prepare_cached(&sql)?;
    statement
        .query_map(params_from_iter(conditions.values), rows::trace)?
        .collect()
}

pub(crate) fn trace(
    connection: &Connection,
    trace_id: &str,
) -> rusqlite::Result<Option<StoredTrace>> {
    let sql = format!("SELECT {TRACE} WHERE t.trace_id = ?");
    let mut statement = connection.prepare_cached(&sql)?;
    statement
        .query_map([trace_id], rows::trace)?
        .next()
        .transpose()
}

pub(crate) fn feed(connection: &Connection, query: &Feed) -> rusqlite::Result<FeedPage> {
    let mut conditions = conditions(&query.filter, Purpose::Page);
    let (after, direction) = match query.order {
        Order::NewestFirst => ("t.commit_seq < ?", "DESC"),
        Order::OldestFirst => ("t.commit_seq > ?", "ASC"),
    };
    conditions.add(after, query.cursor.map(signed));
    // One more than asked for tells whether there is a next page.
    conditions
        .values
        .push(signed(query.limit).saturating_add(1).into());
    let clause = conditions.clause();
    let sql = format!("SELECT {TRACE} {clause} ORDER BY t.commit_seq {direction} LIMIT ?");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut found = statement.query(params_from_iter(conditions.values))?;
    let mut page = FeedPage::default();
    while let Some(row) = found.next()? {
        if page.traces.len() as u64 == query.limit {
            page.next_cursor = page.traces.last().map(|trace| trace.commit_seq);
            break;
        }
        page.traces.push(rows::trace(row)?);
    }
    Ok(page)
}

pub(crate) fn count(connection: &Connection, filter: &TraceFilter) -> rusqlite::Result<u64> {
    let conditions = conditions(filter, Purpose::Count);
    let sql = format!("SELECT count(*) FROM traces AS t {}", conditions.clause());
    let mut statement = connection.prepare_cached(&sql)?;
    statement.query_row(params_from_iter(conditions.values), |row| {
        row.get(0).map(unsigned)
    })
}

/// What a filter is for: a page follows the order of commits and stops early, a count sees all.
#[derive(Clone, Copy, PartialEq)]
enum Purpose {
    Page,
    Count,
}

/// The conditions of a filter. A `+` keeps SQLite from using a column's index: of several filters
/// the one that tells most should lead.
fn conditions(filter: &TraceFilter, purpose: Purpose) -> Conditions {
    let mut conditions = Conditions::default();
    let mut leads = "";
    let mut add = |sql: &str, value: Option<Value>| {
        if value.is_some() {
            conditions.add(format!("{leads}{sql}"), value);
            leads = "+";
        }
    };
    let text = |text: &Option<String>| text.clone().map(Value::from);
    let has_error = |wanted| {
        filter
            .has_error
            .filter(|&flag| flag == wanted)
            .map(Value::from)
    };
    add("t.session_id = ?", text(&filter.session_id));
    // Errors are few; what is no error is nearly all.
    add("t.has_error = ?", has_error(true));
    add("t.run_id = ?", text(&filter.run_id));
    add("t.harness = ?", text(&filter.harness));
    add("t.model = ?", text(&filter.model));
    add("t.has_error = ?", has_error(false));
    if purpose == Purpose::Page {
        // The latency index is in no useful order for a page.
        leads = "+";
    }
    conditions.add(format!("{leads}t.latency_ms >= ?"), filter.latency_min);
    conditions.add(format!("{leads}t.latency_ms <= ?"), filter.latency_max);
    // Commit times grow with the commit sequence. A bound on it goes with any index.
    conditions.add(
        "t.commit_seq > coalesce((SELECT commit_seq FROM traces WHERE created_at <= ?
            ORDER BY created_at DESC LIMIT 1), 0)",
        filter.since,
    );
    conditions.add(
        "t.commit_seq < coalesce((SELECT commit_seq FROM traces WHERE created_at >= ?
            ORDER BY created_at LIMIT 1), 9223372036854775807)",
        filter.until,
    );
    conditions
}

pub(crate) fn facets(connection: &Connection) -> rusqlite::Result<Facets> {
    // Steps from one value to the next along the index, instead of reading all of it.
    let distinct = |column: &str| -> rusqlite::Result<Vec<String>> {
        let sql = format!(
            "WITH RECURSIVE seen (value) AS (
                SELECT min({column}) FROM traces WHERE {column} > ''
                UNION ALL
                SELECT (SELECT min({column}) FROM traces WHERE {column} > value)
                    FROM seen WHERE value NOT NULL)
                SELECT value FROM seen WHERE value NOT NULL"
        );
        let mut statement = connection.prepare_cached(&sql)?;
        statement.query_map([], |row| row.get(0))?.collect()
    };
    Ok(Facets {
        models: distinct("model")?,
        harnesses: distinct("harness")?,
        runs: distinct("run_id")?,
    })
}

pub(crate) fn sessions(
    connection: &Connection,
    query: &SessionList,
) -> rusqlite::Result<Vec<Session>> {
    let mut conditions = Conditions::default();
    conditions.add("created_at >= ?", query.since);
    conditions.add("run_id = ?", query.run_id.clone());
    list_sessions(connection, conditions, query.limit)
}

pub(crate) fn session_rows(
    connection: &Connection,
    session_id: &str,
    scope: &Scope,
) -> rusqlite::Result<Vec<Session>> {
    let mut conditions = Conditions::default();
    conditions.add("session_id = ?", Some(session_id.to_owned()));
    conditions.add("run_id = ?", run_of(scope));
    list_sessions(connection, conditions, None)
}

pub(crate) fn session_runs(
    connection: &Connection,
    session_ids: &[String],
) -> rusqlite::Result<Vec<Session>> {
    let sql = format!("SELECT {SESSION} WHERE session_id = ? ORDER BY created_at DESC, made DESC");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut all = Vec::new();
    for session_id in session_ids {
        for row in statement.query_map([session_id], rows::session)? {
            all.push(row?);
        }
    }
    Ok(all)
}

fn list_sessions(
    connection: &Connection,
    mut conditions: Conditions,
    most: Option<u64>,
) -> rusqlite::Result<Vec<Session>> {
    conditions.values.push(limit(most).into());
    let clause = conditions.clause();
    let sql = format!("SELECT {SESSION} {clause} ORDER BY created_at DESC, made DESC LIMIT ?");
    let mut statement = connection.prepare_cached(&sql)?;
    statement
        .query_map(params_from_iter(conditions.values), rows::session)?
        .collect()
}

pub(crate) fn runs(
    connection: &Connection,
    since: Option<f64>,
    most: Option<u64>,
) -> rusqlite::Result<Vec<Run>> {
    let mut conditions = Conditions::default();
    conditions.add("started_at >= ?", since);
    conditions.values.push(limit(most).into());
    let clause = conditions.clause();
    let sql = format!("SELECT {RUN} {clause} ORDER BY started_at DESC, made DESC LIMIT ?");
    let mut statement = connection.prepare_cached(&sql)?;
    statement
        .query_map(params_from_iter(conditions.values), rows::run)?
        .collect()
}

pub(crate) fn run(connection: &Connection, run_id: &str) -> rusqlite::Result<Option<Run>> {
    let mut statement = connection.prepare_cached(&format!("SELECT {RUN} WHERE run_id = ?"))?;
    statement.query_map([run_id], rows::run)?.next().transpose()
}

fn run_of(scope: &Scope) -> Option<String> {
    match scope {
        Scope::All => None,
        Scope::Run(run_id) => Some(run_id.clone()),
    }
}
