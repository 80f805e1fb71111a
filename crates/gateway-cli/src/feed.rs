//! The feed of all calls, page by page.

use gateway_json::Value;

use crate::args::Calls;
use crate::client::{Client, Question};
use crate::document::{Document, Object};
use crate::error::Error;
use crate::when;

/// How many traces a page has at most: each comes in full, with its request and reply.
pub(crate) const PAGE: u64 = 100;

/// Which calls are meant.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    pub(crate) session: Option<String>,
    pub(crate) run: Option<String>,
    pub(crate) model: Option<String>,
    pub(crate) harness: Option<String>,
    pub(crate) outcome: Option<String>,
    /// UNIX seconds.
    pub(crate) since: Option<f64>,
}

impl Filter {
    /// # Errors
    /// [`Error::Usage`] for a time that cannot be read, and for an empty session.
    pub(crate) fn new(session: Option<&str>, calls: &Calls, now: f64) -> Result<Self, Error> {
        Ok(Self {
            session: session.map(not_empty).transpose()?,
            run: calls.run.clone(),
            model: calls.model.clone(),
            harness: calls.harness.clone(),
            outcome: calls.outcome.clone(),
            since: time(calls.since.as_deref(), now)?,
        })
    }

    /// Asks for a page of these calls. The feed knows outcomes only as good and bad: what it lets
    /// through too much, [`Filter::is_outcome`] takes out.
    pub(crate) fn question(&self, order: &str) -> Question {
        let is_bad = self.outcome.as_deref().is_some_and(|one| one != COMPLETED);
        Question::new("/traces")
            .with("order", Some(order))
            .with("session_id", self.session.as_deref())
            .with("run_id", self.run.as_deref())
            .with("model", self.model.as_deref())
            .with("harness", self.harness.as_deref())
            .with("has_error", is_bad.then_some(true))
            .with("since", self.since)
    }

    pub(crate) fn is_outcome(&self, trace: &Object<'_>) -> bool {
        is(self.outcome.as_deref(), trace, "outcome")
    }

    /// The filters that a session's listing does not know.
    pub(crate) fn is_client(&self, trace: &Object<'_>) -> bool {
        is(self.model.as_deref(), trace, "model") && is(self.harness.as_deref(), trace, "harness")
    }
}

/// The outcome of a call that went well.
pub(crate) const COMPLETED: &str = "completed";

fn is(wanted: Option<&str>, trace: &Object<'_>, name: &str) -> bool {
    wanted.is_none_or(|wanted| trace.text(name).as_deref().unwrap_or_default() == wanted)
}

/// A session id of the command line.
///
/// # Errors
/// [`Error::Usage`] for an empty one: it names no session.
pub(crate) fn not_empty(session: &str) -> Result<String, Error> {
    match session.trim() {
        "" => Err(Error::Usage("the session id is empty".to_owned())),
        session => Ok(session.to_owned()),
    }
}

/// The `--since` of the command line.
///
/// # Errors
/// [`Error::Usage`]
pub(crate) fn time(since: Option<&str>, now: f64) -> Result<Option<f64>, Error> {
    let read = |text: &str| {
        when::read(text, now).ok_or_else(|| {
            let text = text.escape_debug();
            Error::Usage(format!(
                "--since {text} is no time: 90s, 10m, 2h, 3d, 2026-11-20T10:00:00Z, or UNIX seconds"
            ))
        })
    };
    since.map(read).transpose()
}

/// A page of the feed.
pub(crate) struct Page(Document);

impl Page {
    /// # Errors
    /// As [`Client::ask`].
    pub(crate) async fn ask(client: &Client, question: &Question) -> Result<Self, Error> {
        let document = client.ask(question).await?;
        match document.root().get("traces") {
            Some(traces) if traces.is_array() => Ok(Self(document)),
            _ => Err(client.foreign(question, "an answer without `traces`")),
        }
    }

    pub(crate) fn traces(&self) -> impl Iterator<Item = Value<'_>> {
        let traces = self.0.root().get("traces");
        traces.into_iter().flat_map(Value::elements)
    }

    pub(crate) fn next_cursor(&self) -> Option<String> {
        let cursor = self.0.root().get("next_cursor")?.as_str()?;
        Some(cursor.into_owned())
    }
}

/// When a trace of the feed was committed: what `since` is compared with.
pub(crate) fn committed(trace: &Object<'_>) -> Option<f64> {
    trace.number("_created_at")
}
