//! What the applier knows of the calls that are open at its place in the journal.

use std::collections::{HashMap, HashSet};

use gateway_trace::Call;

use crate::change::Scope;

/// Request bodies of open calls are kept in memory up to this many bytes in all, so that the short
/// calls of a batch are not read twice. The others are read again when their reply comes.
const KEPT_BYTES: usize = 4 << 20;

/// What the journal takes on the disk for a sync at least.
const PAGE: u64 = 4096;

/// The calls whose intent has been read, and whose end has not.
#[derive(Default)]
pub(super) struct Tail {
    open: HashMap<String, OpenCall>,
    kept_bytes: usize,
    /// What the entries read so far take on the disk, at most: the scale of `OpenCall::read_at`.
    read_bytes: u64,
}

/// A call at the applier's place in the journal.
pub(super) struct OpenCall {
    /// The sequence of its first intent.
    pub(super) arrival: u64,
    /// The entry that holds its request: the first intent, or one that carries it forward.
    pub(super) intent: u64,
    /// The entry with what it had received, if it was asked for that.
    pub(super) partial: Option<u64>,
    /// Set once a deletion of its session has been read: its end writes nothing.
    pub(super) overtaken: bool,
    /// The call, where it is kept in memory.
    pub(super) call: Option<Box<Call>>,
    pub(super) session_id: String,
    pub(super) run_id: Option<String>,
    /// Where its intent stands, and how long it is, in bytes of entries read.
    read_at: u64,
    bytes: u64,
    /// Set from carrying it forward until that entry is read.
    carried: bool,
}

impl OpenCall {
    /// Whether a replay must see its intent. An overtaken call needs none: without the intent its
    /// end is passed over just the same.
    fn is_pinned(&self) -> bool {
        !self.overtaken
    }
}

impl Tail {
    /// An entry of so many bytes has been read. It is counted with the page that a sync may leave
    /// half empty: many small entries fill a journal long before their own bytes would.
    pub(super) fn advance(&mut self, bytes: u64) {
        self.read_bytes += bytes.next_multiple_of(PAGE);
    }

    /// An intent has been read.
    pub(super) fn opened(&mut self, seq: u64, arrival: Option<u64>, call: Box<Call>, bytes: u64) {
        let read_at = self.read_bytes;
        if let Some(open) = self.open.get_mut(&call.meta.trace_id) {
            open.carried = false;
            open.intent = seq;
            open.read_at = read_at;
            return;
        }
        let identity = &call.meta.identity;
        let mut open = OpenCall {
            arrival: arrival.unwrap_or(seq),
            intent: seq,
            partial: None,
            overtaken: false,
            call: None,
            session_id: identity.session_id.clone().unwrap_or_default(),
            run_id: identity.run_id.clone(),
            read_at,
            bytes,
            carried: false,
        };
        let trace_id = call.meta.trace_id.clone();
        if self.kept_bytes + call.request.len() <= KEPT_BYTES {
            self.kept_bytes += call.request.len();
            open.call = Some(call);
        }
        self.open.insert(trace_id, open);
    }

    /// What has been received of a call stands in entry `seq`.
    pub(super) fn has_partial(&mut self, trace_id: &str, seq: u64) {
        if let Some(open) = self.open.get_mut(trace_id) {
            open.partial = Some(seq);
        }
    }

    /// A deletion has been read: the open calls that it means leave no trace.
    pub(super) fn deleted(&mut self, session_ids: &[String], scope: &Scope) {
        let session_ids: HashSet<_> = session_ids.iter().collect();
        for open in self.open.values_mut() {
            if session_ids.contains(&open.session_id) && scope.includes(open.run_id.as_deref()) {
                open.overtaken = true;
            }
        }
    }

    pub(super) fn get(&self, trace_id: &str) -> Option<&OpenCall> {
        self.open.get(trace_id)
    }

    /// The end of a call has been read.
    pub(super) fn closed(&mut self, trace_id: &str) -> Option<OpenCall> {
        let open = self.open.remove(trace_id)?;
        self.kept_bytes -= open.call.as_ref().map_or(0, |call| call.request.len());
        Some(open)
    }

    /// The lowest entry that a replay must see, if `next` is the next one to be applied.
    pub(super) fn low_water(&self, next: u64) -> u64 {
        let pinned = self.open.values().filter(|open| open.is_pinned());
        pinned
            .map(|open| open.intent)
            .min()
            .unwrap_or(next)
            .min(next)
    }

    /// The calls whose intent is older than entry `before`: those of an earlier run.
    pub(super) fn opened_before(&self, before: u64) -> Vec<String> {
        let old = self.open.iter().filter(|(_, open)| open.arrival < before);
        let mut old: Vec<_> = old.map(|(id, open)| (open.arrival, id.clone())).collect();
        old.sort_unstable();
        old.into_iter().map(|(_, id)| id).collect()
    }

    /// The calls whose intent holds back more than `bytes` of journal, unless carrying all open
    /// calls forward would itself take more than `most`.
    pub(super) fn holding_back(&self, most: u64, bytes: u64) -> Vec<String> {
        let pinned = || {
            self.open
                .iter()
                .filter(|(_, open)| open.is_pinned() && !open.carried)
        };
        if pinned().map(|(_, open)| open.bytes).sum::<u64>() > most {
            return Vec::new();
        }
        let old = pinned().filter(|(_, open)| self.read_bytes - open.read_at > bytes);
        old.map(|(id, _)| id.clone()).collect()
    }

    /// The call's intent has been appended once more.
    pub(super) fn carried(&mut self, trace_id: &str) {
        if let Some(open) = self.open.get_mut(trace_id) {
            open.carried = true;
        }
    }
}
