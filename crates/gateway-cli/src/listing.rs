//! `sessions` and `traces`: what a gateway holds, as tables.

use gateway_json::Value;

use crate::args;
use crate::client::{Client, Question, encoded};
use crate::document::{Object, one_line};
use crate::error::Error;
use crate::feed::{COMPLETED, Filter, PAGE, Page, not_empty, time};
use crate::one;
use crate::screen::{Screen, Tone, note, print};
use crate::table::{Cell, Column, Table};
use crate::text;
use crate::when;

/// How many calls of all are shown unless another number is asked for.
const CALLS: u64 = 50;

/// How much of a text a cell may need.
const LONGEST: usize = 300;

const SESSIONS: &[Column] = &[
    Column::texts("SESSION", 16, 0),
    Column::texts("RUN", 8, 3),
    Column::numbers("TURNS", 0),
    Column::numbers("CALLS", 1),
    Column::words("CREATED", 2),
    Column::words("LAST", 0),
];

/// The columns of calls. A listing of one session leaves `SESSION` empty.
pub(crate) const TRACES: &[Column] = &[
    Column::words("TRACE", 0),
    Column::words("WHEN", 0),
    Column::texts("SESSION", 12, 0),
    Column::texts("MODEL", 8, 5),
    Column::words("OUTCOME", 0),
    Column::numbers("IN", 4),
    Column::numbers("OUT", 4),
    Column::numbers("TOOK", 2),
    Column::texts("TEXT", 16, 3),
];

/// `sessions`
pub(crate) async fn sessions(
    args: &args::Sessions,
    client: &Client,
    screen: &Screen,
) -> Result<u8, Error> {
    // One more than is shown tells whether there are more.
    let limit = (args.limit > 0).then(|| args.limit.saturating_add(1));
    let question = Question::new("/sessions")
        .with("run_id", args.run.as_deref())
        .with("since", time(args.since.as_deref(), screen.now)?)
        .with("limit", limit);
    let answer = client.ask(&question).await?;
    if !answer.root().is_array() {
        return Err(client.foreign(&question, "an answer that is no list"));
    }
    let mut shown = Shown::new(args.json, args.limit);
    for session in answer.root().elements() {
        if !shown.take(session, |session| session_row(session, screen.now))? {
            break;
        }
    }
    shown.end(SESSIONS, "sessions", screen)
}

/// `traces`
pub(crate) async fn traces(
    args: &args::Traces,
    client: &Client,
    screen: &Screen,
) -> Result<u8, Error> {
    if let Some(id) = &args.id {
        return one::print_trace(id, args.calls.json, client, screen).await;
    }
    let filter = Filter::new(args.session.as_deref(), &args.calls, screen.now)?;
    match &args.session {
        Some(session) => {
            let shown = Shown::new(args.calls.json, args.limit.unwrap_or(0));
            turns(session, &filter, client, screen, shown).await
        }
        None => {
            let shown = Shown::new(args.calls.json, args.limit.unwrap_or(CALLS));
            calls(&filter, client, screen, shown).await
        }
    }
}

/// The calls of a session, in the order in which they arrived. A table needs no more of a turn than
/// what it adds, which for a long session is a hundredth of the bytes.
async fn turns(
    session: &str,
    filter: &Filter,
    client: &Client,
    screen: &Screen,
    mut shown: Shown,
) -> Result<u8, Error> {
    let path = format!("/sessions/{}/traces", encoded(&not_empty(session)?));
    let question = Question::new(path)
        .with("outcome", Some(filter.outcome.as_deref().unwrap_or("all")))
        .with("span_type", Some("all"))
        .with("run_id", filter.run.as_deref())
        .with("since", filter.since)
        .with("format", (!shown.json).then_some("compact"));
    let answer = client.ask(&question).await?;
    let list = match shown.json {
        true => Some(answer.root()),
        false => answer.root().get("deltas"),
    };
    let Some(list) = list.filter(|list| list.is_array()) else {
        return Err(client.foreign(&question, "an answer that is no list"));
    };
    for trace in list.elements() {
        let object = Object::of(trace);
        if !filter.is_client(&object) {
            continue;
        }
        let row = |trace: &Object<'_>| {
            let when = trace
                .number("timestamp")
                .map(|at| when::since(at, screen.now));
            trace_row(trace, when, false)
        };
        if !shown.take(trace, row)? {
            break;
        }
    }
    shown.end(TRACES, "calls of this session", screen)
}

/// The latest calls of all, newest first.
async fn calls(
    filter: &Filter,
    client: &Client,
    screen: &Screen,
    mut shown: Shown,
) -> Result<u8, Error> {
    let mut cursor = None;
    loop {
        let limit = match filter.outcome {
            None => shown.left().saturating_add(1).min(PAGE),
            Some(_) => PAGE,
        };
        let question = filter
            .question("desc")
            .with("limit", Some(limit))
            .with("cursor", cursor.as_deref());
        let page = Page::ask(client, &question).await?;
        for trace in page.traces() {
            if !filter.is_outcome(&Object::of(trace)) {
                continue;
            }
            let row = |trace: &Object<'_>| {
                let when = trace
                    .number("timestamp")
                    .map(|at| when::since(at, screen.now));
                trace_row(trace, when, true)
            };
            if !shown.take(trace, row)? {
                return shown.end(TRACES, "calls", screen);
            }
        }
        cursor = page.next_cursor();
        if cursor.is_none() {
            return shown.end(TRACES, "calls", screen);
        }
    }
}

/// What a listing has shown: JSON goes out as it comes, a table once it is whole.
struct Shown {
    json: bool,
    /// 0 is no limit.
    limit: u64,
    count: u64,
    rows: Vec<Vec<Cell>>,
    /// Whether there was more than the limit.
    is_cut: bool,
}

impl Shown {
    fn new(json: bool, limit: u64) -> Self {
        Self {
            json,
            limit,
            count: 0,
            rows: Vec::new(),
            is_cut: false,
        }
    }

    /// How many more are wanted.
    fn left(&self) -> u64 {
        match self.limit {
            0 => u64::MAX,
            limit => limit - self.count,
        }
    }

    /// Shows one more; false if there have been enough.
    fn take(
        &mut self,
        value: Value<'_>,
        row: impl FnOnce(&Object<'_>) -> Vec<Cell>,
    ) -> Result<bool, Error> {
        if self.left() == 0 {
            self.is_cut = true;
            return Ok(false);
        }
        self.count += 1;
        if self.json {
            print(&format!("{}\n", one_line(value)))?;
        } else {
            self.rows.push(row(&Object::of(value)));
        }
        Ok(true)
    }

    fn end(self, columns: &'static [Column], what: &str, screen: &Screen) -> Result<u8, Error> {
        if !self.json && !self.rows.is_empty() {
            print(&Table::whole(columns, &self.rows, screen))?;
        }
        if self.count == 0 && !self.json {
            note(&format!("no {what}"));
        }
        if self.is_cut {
            let limit = self.limit;
            note(&format!(
                "there are more than these {limit} {what}; --limit 0 shows all"
            ));
        }
        Ok(0)
    }
}

fn session_row(session: &Object<'_>, now: f64) -> Vec<Cell> {
    let ago = |name| session.number(name).map(|at| when::since(at, now));
    vec![
        Cell::new(line(session, "session_id")),
        Cell::new(line(session, "run_id")),
        Cell::from(session.integer("trace_count")),
        Cell::from(session.integer("total_count")),
        Cell::from(ago("created_at")),
        Cell::from(ago("last_trace_at")),
    ]
}

/// A call, of a whole listing or of a compact one.
pub(crate) fn trace_row(trace: &Object<'_>, when: Option<String>, with_session: bool) -> Vec<Cell> {
    let outcome = trace.text("outcome").unwrap_or(COMPLETED.into());
    let tone = match &*outcome {
        COMPLETED => Tone::Good,
        _ => Tone::Bad,
    };
    let tokens = trace.object("token_counts");
    let session = match with_session {
        true => line(trace, "session_id"),
        false => String::new(),
    };
    vec![
        Cell::new(line(trace, "trace_id")),
        Cell::from(when),
        Cell::new(session),
        Cell::new(line(trace, "model")),
        Cell::new(text::one_line(&outcome)).tone(tone),
        Cell::from(tokens.integer("prompt")),
        Cell::from(tokens.integer("completion")),
        Cell::from(trace.number("latency_ms").map(when::lasted)),
        Cell::new(gist(trace)),
    ]
}

fn line(object: &Object<'_>, name: &str) -> String {
    text::one_line(&object.text(name).unwrap_or_default())
}

/// A call in a line: what was asked last, and what came of it.
fn gist(trace: &Object<'_>) -> String {
    let asked = trace
        .elements("messages_suffix")
        .chain(trace.elements("messages"))
        .last();
    let asked = asked.map(said).unwrap_or_default();
    let error = trace.object("error");
    let came = match error.text("message") {
        Some(message) => format!("{}: {message}", error.text("code").unwrap_or_default()),
        None => trace.get("response_message").map(said).unwrap_or_default(),
    };
    let parts = [asked, came].map(|part| {
        let part: String = part.chars().take(LONGEST).collect();
        text::one_line(&part)
    });
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    match parts[..] {
        [asked, ""] => asked.to_owned(),
        ["", came] => came.to_owned(),
        _ => parts.join(" → "),
    }
}

/// The text of a message, and the calls of tools in it.
fn said(message: Value<'_>) -> String {
    let message = Object::of(message);
    let texts = one::content(&message).chain(one::tool_calls(&message));
    texts.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests;
