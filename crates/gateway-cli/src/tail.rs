//! `tail`: the calls as they end.

use std::time::Duration;

use gateway_json::Value;

use crate::args;
use crate::client::Client;
use crate::document::{Object, one_line};
use crate::error::Error;
use crate::feed::{Filter, PAGE, Page, committed};
use crate::listing::{TRACES, trace_row};
use crate::screen::{Screen, note, print};
use crate::table::Table;
use crate::when;

/// How long it rests where there is nothing new, and where there is no gateway.
const REST: Duration = Duration::from_millis(500);

/// `tail`; ends when it is interrupted, or when nobody reads it.
pub(crate) async fn follow(
    args: &args::Tail,
    client: &Client,
    screen: &Screen,
) -> Result<u8, Error> {
    let filter = Filter::new(args.session.as_deref(), &args.calls, screen.now)?;
    let mut tail = Tail {
        filter,
        client,
        screen,
        table: (!args.calls.json).then(|| Table::growing(TRACES)),
        has_titles: false,
    };
    let follow = async {
        tail.begin(args.limit).await?;
        tail.go_on().await
    };
    tokio::select! {
        ended = follow => ended,
        interrupted = tokio::signal::ctrl_c() => interrupted.map(|()| 0).map_err(Error::Runtime),
    }
}

struct Tail<'a> {
    /// Its `since` is the commit of the last call that is dealt with.
    filter: Filter,
    client: &'a Client,
    screen: &'a Screen,
    table: Option<Table>,
    has_titles: bool,
}

impl Tail<'_> {
    /// Shows the last calls, unless all since a time are asked for. From here on nothing is missed:
    /// times of commits only grow.
    async fn begin(&mut self, count: u64) -> Result<(), Error> {
        if self.filter.since.is_some() {
            return Ok(());
        }
        let question = Filter::default().question("desc").with("limit", Some(1));
        let newest = Page::ask(self.client, &question).await?;
        let newest = newest.traces().next();
        let Some(at) = newest.and_then(|trace| committed(&Object::of(trace))) else {
            self.filter.since = Some(0.0);
            return Ok(());
        };
        let mut pages = Vec::new();
        let mut left = count;
        let mut cursor = None;
        while left > 0 {
            let question = self
                .filter
                .question("desc")
                .with("until", Some(at.next_up()))
                .with("limit", Some(left.min(PAGE)))
                .with("cursor", cursor.as_deref());
            let page = Page::ask(self.client, &question).await?;
            let wanted = |trace: &Value<'_>| self.filter.is_outcome(&Object::of(*trace));
            left = left.saturating_sub(page.traces().filter(wanted).count() as u64);
            cursor = page.next_cursor();
            pages.push(page);
            if cursor.is_none() {
                break;
            }
        }
        let mut last: Vec<Value<'_>> = pages.iter().flat_map(Page::traces).collect();
        last.reverse();
        self.filter.since = Some(at);
        self.show(&last)
    }

    /// Shows what is new, for ever.
    async fn go_on(&mut self) -> Result<u8, Error> {
        let mut is_away = false;
        loop {
            let question = self.filter.question("asc").with("limit", Some(PAGE));
            let has_more = match Page::ask(self.client, &question).await {
                Ok(page) => {
                    let traces: Vec<_> = page.traces().collect();
                    let last = traces
                        .last()
                        .and_then(|trace| committed(&Object::of(*trace)));
                    self.show(&traces)?;
                    self.filter.since = last.or(self.filter.since);
                    is_away = false;
                    page.next_cursor().is_some()
                }
                Err(error) if error.may_pass() => {
                    if !is_away {
                        note(&format!("{error}; waiting for it"));
                    }
                    is_away = true;
                    false
                }
                Err(error) => return Err(error),
            };
            if !has_more {
                tokio::time::sleep(REST).await;
            }
        }
    }

    fn show(&mut self, traces: &[Value<'_>]) -> Result<(), Error> {
        let wanted = traces
            .iter()
            .map(|trace| (*trace, Object::of(*trace)))
            .filter(|(_, trace)| self.filter.is_outcome(trace));
        let Some(table) = &mut self.table else {
            let lines: String = wanted
                .map(|(trace, _)| format!("{}\n", one_line(trace)))
                .collect();
            return print(&lines);
        };
        let rows: Vec<_> = wanted
            .map(|(_, trace)| {
                let at = trace.number("timestamp").map(when::clock);
                trace_row(&trace, at, true)
            })
            .collect();
        if rows.is_empty() {
            return Ok(());
        }
        let body = table.rows(&rows, self.screen);
        let titles = match self.has_titles {
            true => String::new(),
            false => table.titles(self.screen),
        };
        self.has_titles = true;
        print(&(titles + &body))
    }
}
