//! The calls that have come so far, found by what a later one begins with.
//!
//! Each call of a session says again what the one before it said. What they share is kept once, so
//! that a session takes the memory of what its calls add to each other: messages are a tree, and
//! token ids those that a call adds to an earlier one's.

use std::collections::HashMap;

use gateway_json::Value;

use super::keys::{extended, is_assistant, seed};
use crate::{Json, Outcome, TraceRecord};

/// What later calls of a session need to know of an earlier one.
pub(super) struct Earlier {
    pub(super) trace_id: String,
    pub(super) reply: Json,
    /// Whether the completion's token ids are known.
    pub(super) has_completion_ids: bool,
    /// The call whose token ids, so many of them, its own begin with.
    shares: Option<(usize, usize)>,
    /// The rest of its token ids: of the prompt, and then of the completion.
    ids: Vec<i64>,
}

/// A message after those that lead to it.
struct Node {
    before: Option<usize>,
    message: Box<str>,
    /// The calls whose messages end here.
    calls: Vec<usize>,
}

/// Completed calls with messages, in their order.
#[derive(Default)]
pub(super) struct EarlierCalls {
    calls: Vec<Earlier>,
    nodes: Vec<Node>,
    /// The nodes by a key of all their messages.
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
        let mut node = None;
        let mut latest: Option<(usize, usize)> = None;
        for (count, message) in messages.iter().enumerate() {
            if let Some(node) = node
                && is_assistant(*message)
            {
                let node: &Node = &self.nodes[node];
                let found = node.calls.iter().rev();
                let later = found
                    .take_while(|position| latest.is_none_or(|(known, _)| **position > known))
                    .find(|position| fits(&self.calls[**position], *message));
                latest = later.map(|position| (*position, count)).or(latest);
            }
            key = extended(key, *message);
            node = self.node(key, node, *message);
            if node.is_none() {
                break;
            }
        }
        latest.map(|(position, count)| (&self.calls[position], count))
    }

    /// How many of these token ids, from the first on, are those of the call.
    pub(super) fn count_common(&self, call: &Earlier, ids: &[i64]) -> usize {
        let (mut call, mut end) = (call, call.count_ids());
        let mut common = end.min(ids.len());
        // From the last of the call's ids to the first: the first that differs counts.
        loop {
            let start = call.shared();
            let own = &call.ids[..end - start];
            let others = ids.get(start..).unwrap_or_default();
            let same = own.iter().zip(others).take_while(|(a, b)| a == b).count();
            if same < own.len() {
                common = start + same;
            }
            let Some((before, _)) = call.shares else {
                return common;
            };
            (call, end) = (&self.calls[before], start);
        }
    }

    /// Adds a call, if others can extend it.
    pub(super) fn add(&mut self, record: &TraceRecord, messages: &[Value<'_>]) {
        if record.outcome != Outcome::Completed || messages.is_empty() {
            return;
        }
        let position = self.calls.len();
        let mut key = seed(&record.identity);
        let (mut node, mut nearest) = (None, None);
        for message in messages {
            key = extended(key, *message);
            let known = self.node(key, node, *message);
            let next = known.unwrap_or_else(|| self.grow(key, node, *message));
            nearest = self.nodes[next].calls.last().copied().or(nearest);
            node = Some(next);
        }
        if let Some(node) = node {
            self.nodes[node].calls.push(position);
        }
        let mut ids = record.prompt_token_ids.clone();
        ids.extend(&record.completion_token_ids);
        let shares = nearest.and_then(|nearest| self.share(nearest, &ids));
        self.calls.push(Earlier {
            trace_id: record.trace_id.clone(),
            reply: record.response_message.clone(),
            has_completion_ids: !record.completion_token_ids.is_empty(),
            shares,
            ids: ids[shares.map_or(0, |(_, count)| count)..].to_vec(),
        });
    }

    /// The call that these token ids share the first ones with, and how many: the nearest one, or
    /// the one that it has those from, so that every step back to it gives some.
    fn share(&self, nearest: usize, ids: &[i64]) -> Option<(usize, usize)> {
        let count = self.count_common(&self.calls[nearest], ids);
        let mut call = nearest;
        while count <= self.calls[call].shared() {
            call = self.calls[call].shares?.0;
        }
        Some((call, count))
    }

    /// The node of a message after others. A key alone is no proof.
    fn node(&self, key: u64, before: Option<usize>, message: Value<'_>) -> Option<usize> {
        let mut nodes = self.by_messages.get(&key)?.iter().copied();
        nodes.find(|node| {
            let node = &self.nodes[*node];
            node.before == before && *node.message == *message.text()
        })
    }

    fn grow(&mut self, key: u64, before: Option<usize>, message: Value<'_>) -> usize {
        self.nodes.push(Node {
            before,
            message: message.text().into(),
            calls: Vec::new(),
        });
        let node = self.nodes.len() - 1;
        self.by_messages.entry(key).or_default().push(node);
        node
    }
}

impl Earlier {
    /// How many token ids it has.
    pub(super) fn count_ids(&self) -> usize {
        self.shared() + self.ids.len()
    }

    /// How many of its token ids are another call's.
    fn shared(&self) -> usize {
        self.shares.map_or(0, |(_, count)| count)
    }
}

#[cfg(test)]
mod tests;
