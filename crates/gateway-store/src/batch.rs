//! What the applier hands to a store in one transaction.

use gateway_trace::{Call, CallKeys, Outcome, Reply, SpanType, Summary, keys};

use crate::change::Change;

/// Names a journal, so that a store knows whether the position it holds is of this one.
pub type JournalId = [u8; 16];

/// How far a store has got in a journal. It is stored in the transaction of the rows themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The journal that the two numbers belong to.
    pub journal_id: JournalId,
    /// Every entry up to and with this sequence number has been applied.
    pub applied: u64,
    /// Where a replay must begin so that it sees the intents of the calls that were open.
    pub replay_from: u64,
}

impl Position {
    /// The farther of two positions in the same journal: a store's position never goes back.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        debug_assert_eq!(self.journal_id, other.journal_id);
        if other.applied > self.applied {
            other
        } else {
            self
        }
    }
}

/// How far apart, in seconds, the `created_at` of two commits is at least.
pub const COMMIT_STEP: f64 = 1e-6;

/// Whether a trace of this summary shows in the plain listing of its session: completed model
/// calls do.
pub fn is_plain(summary: &Summary) -> bool {
    summary.outcome == Outcome::Completed && summary.span_type == SpanType::Llm
}

/// A run of journal entries, to be applied whole or not at all.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// What the store has reached once the batch is applied.
    pub position: Position,
    /// The time of the commit in UNIX seconds. A store never lets its clock go back: see
    /// [`TraceStore::apply`](crate::TraceStore::apply).
    pub at: f64,
    /// The writes, in the order of their sequence numbers.
    pub items: Vec<Item>,
}

/// One write and the journal entry that it came from.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// The sequence number of the entry that brought it about.
    pub seq: u64,
    /// What to write.
    pub write: Write,
}

/// What a journal entry asks of a store.
#[derive(Debug, Clone, PartialEq)]
pub enum Write {
    /// A finished call.
    Trace(Box<NewTrace>),
    /// A call has ended that a deletion of its session had overtaken. It is counted in the row of
    /// the session and run, if there is one again.
    Overtaken {
        /// The session.
        session_id: String,
        /// The run.
        run_id: Option<String>,
    },
    /// Anything else.
    Change(Change),
}

/// A finished call on its way into a store.
#[derive(Debug, Clone, PartialEq)]
pub struct NewTrace {
    /// The journal sequence of the call's intent: the order in which calls arrived.
    pub arrival_seq: u64,
    /// The call.
    pub call: Call,
    /// What became of it.
    pub reply: Reply,
    /// The columns that traces are searched by, derived from the two.
    pub summary: Summary,
    /// What it says, so that the calls of its session which it belongs to can be found; none
    /// outside of a session.
    pub keys: Option<CallKeys>,
}

impl NewTrace {
    /// Joins a call and its reply.
    pub fn new(arrival_seq: u64, call: Call, reply: Reply) -> Self {
        let summary = gateway_trace::summary(&call, &reply);
        let keys = keys(&call);
        Self {
            arrival_seq,
            call,
            reply,
            summary,
            keys,
        }
    }

    /// The key of its messages, if later calls may extend it: it has completed.
    pub fn line_key(&self) -> Option<u64> {
        let line = self.keys.as_ref()?.line.as_ref()?;
        is_plain(&self.summary).then_some(line.own)
    }

    /// The keys of the calls that it may extend, the longest first.
    pub fn parent_keys(&self) -> &[u64] {
        let line = self.keys.as_ref().and_then(|keys| keys.line.as_ref());
        line.map_or(&[], |line| &line.beginnings)
    }

    /// Whether it begins a line of its session, if it extends no other call.
    pub fn may_begin_line(&self) -> bool {
        self.keys.is_some() && is_plain(&self.summary)
    }
}

/// What a batch did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Applied {
    /// Traces that are new in the store. Those it had already are not counted again.
    pub traces: u64,
    /// For each [`Change::DeleteSessions`] of the batch, its sequence number and how many stored
    /// traces it deleted.
    pub deleted: Vec<(u64, u64)>,
}
