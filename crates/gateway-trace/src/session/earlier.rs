//! The calls that have come so far, found by what a later one begins with.

use std::collections::HashMap;

use gateway_json::Value;

use super::keys::{extended, is_assistant, seed};
use crate::{Json, Outcome, TraceRecord};

/// What later calls of a session need to know of an earlier one.
pub(super) struct Earlier {
    pub(super) trace_id: String,
    messages: Json,
    pub(super) reply: Json,
    /// The token ids of the prompt and then of the completion.
    pub(super) token_ids: Vec<i64>,
    /// Whether the completion's are known.
    pub(super) has_completion_ids: bool,
}

/// Completed calls with messages, in their order.
#[derive(Default)]
pub(super) struct EarlierCalls {
    calls: Vec<Earlier>,
    /// The positions of the calls with these messages, by a key of them.
    by_messages: HashMap<u64, Vec<usize>>,
}

impl EarlierCalls {
    /// The latest call of the same session and run whose messages, and then one assistant message
    /// that `fits` its reply, begin these messages; and how many messages those of the call are.
    pub(super) fn begun_by(
        &self,
        record: &TraceRecord,
        messages: &[Value<'_>],
        fits: impl Fn(&Earlier, Value<'_>) -> bool,
    ) -> Option<(&Earlier, usize)> {
        let mut key = seed(&record.identity);
        let mut latest: Option<(usize, usize)> = None;
        for (count, message) in messages.iter().enumerate() {
            if count > 0 && is_assistant(*message) {
                let found = self.by_messages.get(&key).into_iter().flatten().rev();
                let later = found
                    .take_while(|position| latest.is_none_or(|(known, _)| **position > known))
                    .find(|position| {
                        let call = &self.calls[**position];
                        fits(call, *message) && call.says(&messages[..count])
                    });
                latest = later.map(|position| (*position, count)).or(latest);
            }
            key = extended(key, *message);
        }
        latest.map(|(position, count)| (&self.calls[position], count))
    }

    /// Adds a call, if others can extend it.
    pub(super) fn add(&mut self, record: &TraceRecord, messages: &[Value<'_>]) {
        if record.outcome != Outcome::Completed || messages.is_empty() {
            return;
        }
        let key = messages
            .iter()
            .fold(seed(&record.identity), |key, message| {
                extended(key, *message)
            });
        let mut token_ids = record.prompt_token_ids.clone();
        token_ids.extend(&record.completion_token_ids);
        self.by_messages
            .entry(key)
            .or_default()
            .push(self.calls.len());
        self.calls.push(Earlier {
            trace_id: record.trace_id.clone(),
            messages: record.messages.clone(),
            reply: record.response_message.clone(),
            token_ids,
            has_completion_ids: !record.completion_token_ids.is_empty(),
        });
    }
}

impl Earlier {
    /// Whether its messages are these: a key alone is no proof.
    fn says(&self, messages: &[Value<'_>]) -> bool {
        let mut others = messages.iter();
        let mut own = self.messages.walk().elements();
        own.all(|one| {
            others
                .next()
                .is_some_and(|other| one.text() == other.text())
        }) && others.next().is_none()
    }
}
