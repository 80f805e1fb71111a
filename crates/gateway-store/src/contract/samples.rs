//! Traces to test with, and what writes them.

use bytes::Bytes;
use gateway_trace::{Call, CallMeta, Endpoint, Json, Outcome, Reply};

use crate::batch::{Applied, Batch, Item, JournalId, NewTrace, Position, Write};
use crate::change::{Change, Scope};
use crate::query::StoredTrace;
use crate::store::TraceStore;

/// A trace to write: a completed chat call, until told otherwise.
#[derive(Debug, Clone)]
pub struct Sample {
    /// The call.
    pub call: Call,
    /// What became of it.
    pub reply: Reply,
}

impl Sample {
    /// A completed chat completion of this trace id and session (`""`: none).
    pub fn new(trace_id: &str, session_id: &str) -> Self {
        let mut meta = CallMeta::new(trace_id, Endpoint::ChatCompletions, 1000.0);
        meta.identity.session_id = Some(session_id.to_owned()).filter(|id| !id.is_empty());
        let request = br#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#;
        let body = br#"{"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"ho"},"finish_reason":"stop"}]}"#;
        let mut reply = Reply {
            body: Bytes::from_static(body),
            ..Reply::default()
        };
        reply.meta.outcome = Outcome::Completed;
        reply.meta.status = Some(200);
        reply.meta.latency_ms = 10.0;
        reply.meta.ended = true;
        Self {
            call: Call {
                meta,
                request: Bytes::from_static(request),
            },
            reply,
        }
    }

    /// Within this run.
    #[must_use]
    pub fn run(mut self, run_id: &str) -> Self {
        self.call.meta.identity.run_id = Some(run_id.to_owned());
        self
    }

    /// From this harness.
    #[must_use]
    pub fn harness(mut self, harness: &str) -> Self {
        self.call.meta.identity.harness = Some(harness.to_owned());
        self
    }

    /// For this model.
    #[must_use]
    pub fn model(mut self, model: &str) -> Self {
        self.call.meta.model = Some(model.to_owned());
        self
    }

    /// With these messages, a JSON array.
    #[must_use]
    pub fn messages(mut self, messages: &str) -> Self {
        self.call.request = format!(r#"{{"model":"m","messages":{messages}}}"#).into();
        self
    }

    /// Ended like this.
    #[must_use]
    pub fn outcome(mut self, outcome: Outcome) -> Self {
        self.reply.meta.outcome = outcome;
        self
    }

    /// To this endpoint.
    #[must_use]
    pub fn endpoint(mut self, endpoint: Endpoint) -> Self {
        self.call.meta.endpoint = endpoint;
        self
    }

    /// After so many milliseconds.
    #[must_use]
    pub fn latency(mut self, ms: f64) -> Self {
        self.reply.meta.latency_ms = ms;
        self
    }

    /// Arrived at this time.
    #[must_use]
    pub fn arrived_at(mut self, at: f64) -> Self {
        self.call.meta.arrived_at = at;
        self
    }

    /// As it is written, with this arrival sequence.
    pub fn write(self, arrival_seq: u64) -> Write {
        Write::Trace(Box::new(NewTrace::new(arrival_seq, self.call, self.reply)))
    }
}

/// Writes to a store as an applier would.
pub struct Writer<'a> {
    store: &'a dyn TraceStore,
    journal_id: JournalId,
    /// The sequence of the last entry.
    pub seq: u64,
    /// The time of the next commit.
    pub now: f64,
}

impl<'a> Writer<'a> {
    /// With a journal of its own, at time 5000.
    pub fn new(store: &'a dyn TraceStore) -> Self {
        Self {
            store,
            journal_id: [1; 16],
            seq: 0,
            now: 5000.0,
        }
    }

    /// The same store, filled from another journal.
    #[must_use]
    pub fn with_journal(mut self, id: u8) -> Self {
        self.journal_id = [id; 16];
        self
    }

    /// Puts writes into a batch of their own, in order.
    pub fn batch(&mut self, writes: impl IntoIterator<Item = Write>) -> Batch {
        let mut items = Vec::new();
        for write in writes {
            self.seq += 1;
            items.push(Item {
                seq: self.seq,
                write,
            });
        }
        let position = Position {
            journal_id: self.journal_id,
            applied: self.seq,
            replay_from: self.seq + 1,
        };
        Batch {
            position,
            at: self.now,
            items,
        }
    }

    /// Applies writes in one batch.
    pub fn apply(&mut self, writes: impl IntoIterator<Item = Write>) -> Applied {
        let batch = self.batch(writes);
        self.store.apply(&batch).expect("the store takes a batch")
    }

    /// Applies a trace in a batch of its own, a second after the last one; its arrival sequence
    /// is that of the entry.
    pub fn trace(&mut self, sample: Sample) {
        self.now += 1.0;
        let arrival = self.seq + 1;
        self.apply([sample.write(arrival)]);
    }

    /// Applies a change in a batch of its own, and gives how many traces it deleted.
    pub fn change(&mut self, change: Change) -> u64 {
        self.now += 1.0;
        let applied = self.apply([Write::Change(change)]);
        applied.deleted.first().map_or(0, |&(_, deleted)| deleted)
    }

    /// Creates a session at the present time.
    pub fn put_session(&mut self, session_id: &str, run_id: Option<&str>, metadata: Option<&str>) {
        let at = self.now;
        self.change(Change::PutSession {
            session_id: session_id.to_owned(),
            run_id: run_id.map(str::to_owned),
            metadata: metadata.map(json),
            sampling_params: None,
            at,
        });
    }

    /// Deletes a session, and gives how many traces that deleted.
    pub fn delete_session(&mut self, session_id: &str, scope: Scope) -> u64 {
        self.change(Change::DeleteSessions {
            session_ids: vec![session_id.to_owned()],
            scope,
        })
    }
}

/// A JSON text that is known to be one.
pub(super) fn json(text: &str) -> Json {
    Json::new(text).expect("the sample is JSON")
}

/// One run of a session.
pub(super) fn run(run_id: &str) -> Scope {
    Scope::Run(run_id.to_owned())
}

/// The trace ids, in order.
pub(super) fn ids(traces: &[StoredTrace]) -> Vec<&str> {
    traces
        .iter()
        .map(|trace| trace.call.meta.trace_id.as_str())
        .collect()
}
