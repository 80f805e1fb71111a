//! The calls under way and the records on their way to the disk: what the counters count.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::receipt::ReceiptMissed;
use super::status::Counters;
use crate::change::Scope;

type Outcome = Result<(), ReceiptMissed>;

/// Kept under one lock, which is also held while an entry is appended: the order of what happens
/// here is the order of the journal, so that this table and the applier, which reads the journal,
/// agree on which calls a deletion has overtaken.
#[derive(Default)]
pub(super) struct Calls {
    open: HashMap<String, OpenCall>,
    /// Finished calls whose record is not known to be on disk, in the order of the journal. The
    /// first `overdue` of them have been waiting for too long.
    settling: VecDeque<Settling>,
    overdue: usize,
    /// Receipts to be told; the dispatcher takes them.
    due: Vec<(oneshot::Sender<Outcome>, Outcome)>,
    /// When the dispatcher looks for records that are overdue; `None` while it need not.
    pub(super) alarm: Option<Instant>,
    accepted: u64,
    persisted: u64,
    deleted: u64,
    missed: u64,
    pub(super) closed: bool,
}

struct OpenCall {
    session_id: String,
    run_id: Option<String>,
    overtaken: bool,
    has_partial: bool,
}

struct Settling {
    seq: u64,
    since: Instant,
    overtaken: bool,
    receipt: Option<oneshot::Sender<Outcome>>,
}

impl Calls {
    /// A call's intent has been appended.
    pub(super) fn admit(&mut self, trace_id: &str, session_id: &str, run_id: Option<&str>) {
        self.accepted += 1;
        let call = OpenCall {
            session_id: session_id.to_owned(),
            run_id: run_id.map(str::to_owned),
            overtaken: false,
            has_partial: false,
        };
        self.open.insert(trace_id.to_owned(), call);
    }

    /// What the call has received is about to be journalled.
    pub(super) fn note_partial(&mut self, trace_id: &str) {
        if let Some(call) = self.open.get_mut(trace_id) {
            call.has_partial = true;
        }
    }

    /// Whether the call's intent may be appended once more: the call must not have ended, nor been
    /// overtaken, and nothing else of it may stand before the new intent.
    pub(super) fn can_be_carried(&self, trace_id: &str) -> bool {
        let call = self.open.get(trace_id);
        call.is_some_and(|call| !call.overtaken && !call.has_partial)
    }

    /// The calls of a session that are open and will leave a trace.
    pub(super) fn open_in<'a>(
        &'a self,
        session_id: &'a str,
        scope: &'a Scope,
    ) -> impl Iterator<Item = &'a String> {
        let open = self.open.iter().filter(move |(_, call)| {
            call.session_id == session_id
                && scope.includes(call.run_id.as_deref())
                && !call.overtaken
        });
        open.map(|(trace_id, _)| trace_id)
    }

    /// The runs, `""` for none, in which these sessions have calls that are open and will leave a
    /// trace.
    pub(super) fn open_runs(
        &self,
        session_ids: &HashSet<&str>,
    ) -> HashMap<String, BTreeSet<String>> {
        let mut runs: HashMap<_, BTreeSet<_>> = HashMap::new();
        for call in self.open.values() {
            if !call.overtaken && session_ids.contains(&*call.session_id) {
                let of_session = runs.entry(call.session_id.clone()).or_default();
                of_session.insert(call.run_id.clone().unwrap_or_default());
            }
        }
        runs
    }

    pub(super) fn is_open(&self, trace_id: &str) -> bool {
        self.open.contains_key(trace_id)
    }

    /// A call's last entry has been appended.
    pub(super) fn finish(
        &mut self,
        trace_id: &str,
        seq: u64,
        receipt: Option<oneshot::Sender<Outcome>>,
    ) {
        let Some(call) = self.open.remove(trace_id) else {
            return;
        };
        self.settling.push_back(Settling {
            seq,
            since: Instant::now(),
            overtaken: call.overtaken,
            receipt,
        });
    }

    /// A deletion has been appended: the calls of those sessions that are open leave no trace.
    /// Gives how many.
    pub(super) fn overtake(&mut self, session_ids: &HashSet<&str>, scope: &Scope) -> u64 {
        let mut overtaken = 0;
        for call in self.open.values_mut() {
            if session_ids.contains(&*call.session_id)
                && scope.includes(call.run_id.as_deref())
                && !call.overtaken
            {
                call.overtaken = true;
                overtaken += 1;
            }
        }
        overtaken
    }

    /// Everything up to `synced` is on disk. Gives whether receipts are due.
    pub(super) fn settle(&mut self, synced: u64) -> bool {
        while let Some(front) = self.settling.front() {
            if front.seq > synced {
                break;
            }
            let settled = self.settling.pop_front().expect("there is a front");
            self.overdue = self.overdue.saturating_sub(1);
            match settled.overtaken {
                true => self.deleted += 1,
                false => self.persisted += 1,
            }
            if let Some(receipt) = settled.receipt {
                self.due.push((receipt, Ok(())));
            }
        }
        !self.due.is_empty()
    }

    /// Notes which records have been waiting for longer than `limit`, and sets the alarm for the
    /// next one. If their receipts are not waited for any longer, they are missed.
    pub(super) fn expire(&mut self, now: Instant, limit: Duration, gives_up: bool) {
        while let Some(next) = self.settling.get_mut(self.overdue) {
            if next.since + limit > now {
                break;
            }
            self.overdue += 1;
            if let Some(receipt) = next.receipt.take_if(|_| gives_up) {
                self.missed += 1;
                self.due.push((receipt, Err(ReceiptMissed)));
            }
        }
        let next = self.settling.get(self.overdue);
        self.alarm = next.map(|next| next.since + limit);
    }

    /// The receipts to be told now.
    pub(super) fn take_due(&mut self) -> Vec<(oneshot::Sender<Outcome>, Outcome)> {
        std::mem::take(&mut self.due)
    }

    /// The journal takes nothing more: who still waits for it has missed it.
    pub(super) fn close(&mut self) {
        self.closed = true;
        for settling in &mut self.settling {
            settling.receipt = None;
        }
    }

    /// How long the oldest record has been waiting for the disk.
    pub(super) fn waiting(&self) -> Option<Duration> {
        self.settling.front().map(|front| front.since.elapsed())
    }

    /// How many records up to `seq` are not known to be on disk.
    pub(super) fn unsettled(&self, seq: u64) -> u64 {
        self.settling
            .iter()
            .take_while(|settling| settling.seq <= seq)
            .count() as u64
    }

    pub(super) fn overdue(&self) -> u64 {
        self.overdue as u64
    }

    pub(super) fn missed(&self) -> u64 {
        self.missed
    }

    pub(super) fn counters(&self) -> Counters {
        Counters {
            accepted: self.accepted,
            persisted: self.persisted,
            deleted: self.deleted,
            in_flight: self.accepted - self.persisted - self.deleted,
        }
    }
}
