//! Whether all of a session is there: the verdict on a rollout.

use std::collections::BTreeMap;

use serde::Serialize;

use super::earlier::EarlierCalls;
use super::same::echoes;
use crate::{ChoiceRecord, Integrity, Outcome, TraceRecord, notes};

/// The report on a session, as the management API answers it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SessionReport {
    /// The session.
    pub session_id: String,
    /// The run; none where the report is over several.
    pub run_id: Option<String>,
    /// Calls that were admitted: `persisted + in_flight + deleted`.
    pub accepted: u64,
    /// Calls whose traces are there.
    pub persisted: u64,
    /// Calls that have not ended.
    pub in_flight: u64,
    /// Calls that a deletion of the session overtook.
    pub deleted: u64,
    /// Traces of completed calls.
    pub completed: u64,
    /// Traces of all others, by outcome.
    pub failed: BTreeMap<&'static str, u64>,
    /// How many of the failed ones a later completed call repeated.
    pub superseded: u64,
    /// Where the tokens of a turn are not those that the turn before left.
    pub prefix_breaks: Vec<PrefixBreak>,
    /// Whether a trainer may take the session as it is.
    pub verdict: Verdict,
    /// Why not, a line each; a trace is named by its id.
    pub reasons: Vec<String>,
}

/// A completed call whose messages extend an earlier call's messages and reply, while its token ids
/// do not extend that call's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PrefixBreak {
    /// The call.
    pub trace_id: String,
    /// The place in its prompt of the first token that differs.
    pub at_token: usize,
}

/// What a report comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Every call completed, or was repeated by one that did, and nothing is missing of them.
    Complete,
    /// Something is missing.
    Incomplete,
    /// A call has not ended.
    InProgress,
}

/// Makes a report from the traces of a session, one after the other.
#[derive(Default)]
pub struct ReportBuilder {
    persisted: u64,
    completed: u64,
    failed: BTreeMap<&'static str, u64>,
    superseded: u64,
    earlier: EarlierCalls,
    prefix_breaks: Vec<PrefixBreak>,
    reasons: Vec<String>,
}

impl ReportBuilder {
    /// Adds the next trace, whatever its outcome, in the order of arrival.
    pub fn add(&mut self, record: &TraceRecord) {
        self.persisted += 1;
        if record.outcome == Outcome::Completed {
            self.completed += 1;
            self.check_tokens(record);
        } else {
            *self.failed.entry(record.outcome.as_str()).or_default() += 1;
            if record.superseded_by.is_some() {
                self.superseded += 1;
            } else {
                let why = match &record.error {
                    Some(error) => &error.message,
                    None => "",
                };
                self.blame(record, &format!("{}: {why}", record.outcome.as_str()));
            }
        }
    }

    /// The report, with what the traces do not tell.
    #[must_use]
    pub fn finish(
        self,
        session_id: &str,
        run_id: Option<&str>,
        in_flight: u64,
        deleted: u64,
    ) -> SessionReport {
        let mut reasons = self.reasons;
        let verdict = match (in_flight, reasons.is_empty()) {
            (0, true) => Verdict::Complete,
            (0, false) => Verdict::Incomplete,
            _ => Verdict::InProgress,
        };
        if in_flight > 0 {
            reasons.push(format!("{in_flight} calls have not ended"));
        }
        SessionReport {
            session_id: session_id.to_owned(),
            run_id: run_id.map(str::to_owned),
            accepted: self.persisted + in_flight + deleted,
            persisted: self.persisted,
            in_flight,
            deleted,
            completed: self.completed,
            failed: self.failed,
            superseded: self.superseded,
            prefix_breaks: self.prefix_breaks,
            verdict,
            reasons,
        }
    }

    fn check_tokens(&mut self, record: &TraceRecord) {
        if let Some(what) = missing(record) {
            self.blame(record, &what);
        }
        let messages: Vec<_> = record.messages.walk().elements().collect();
        if !record.prompt_token_ids.is_empty() {
            let parent = self.earlier.begun_by(record, &messages, |call, message| {
                call.has_completion_ids && echoes(message, call.reply.walk())
            });
            let breaks_at = parent.and_then(|(parent, _)| {
                let kept = self.earlier.count_common(parent, &record.prompt_token_ids);
                Some(kept).filter(|kept| *kept < parent.count_ids())
            });
            if let Some(at_token) = breaks_at {
                self.prefix_breaks.push(PrefixBreak {
                    trace_id: record.trace_id.clone(),
                    at_token,
                });
            }
        }
        self.earlier.add(record, &messages);
    }

    fn blame(&mut self, record: &TraceRecord, what: &str) {
        self.reasons.push(format!("{}: {what}", record.trace_id));
    }
}

/// What a completed call's record lacks that a trainer counts on.
fn missing(record: &TraceRecord) -> Option<String> {
    let Integrity {
        ids_match_usage,
        logprobs_match_ids,
        notes,
        ..
    } = &record.integrity;
    if let Some(note) = notes.iter().find(|note| notes::tells_of_loss(note)) {
        return Some(note.clone());
    }
    let gaps = |choice: &ChoiceRecord| choice.logprobs.iter().flatten().any(Option::is_none);
    if record.choices.iter().flatten().any(gaps) {
        return Some("log probabilities are null".to_owned());
    }
    if *ids_match_usage == Some(false) {
        return Some("there are not as many token ids as the upstream counted".to_owned());
    }
    if *logprobs_match_ids == Some(false) {
        return Some("there are not as many log probabilities as token ids".to_owned());
    }
    None
}
