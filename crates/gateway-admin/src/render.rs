//! One stored trace as the JSON of a listing.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use gateway_store::StoredTrace;
use gateway_trace::{Call, Include, Reply, TraceRecord};

/// Appends the record of a stored trace.
pub(crate) fn push_trace(out: &mut String, trace: &StoredTrace, include: Include) {
    record_of(trace).write_json(include, out);
}

/// The record of a stored trace.
///
/// Deriving a record never fails by contract; but what is stored outlives the code that stored it,
/// and one trace must not take all others of its session with it. So a derivation that panics is
/// caught here, and the trace is shown without its bodies.
pub(crate) fn record_of(trace: &StoredTrace) -> TraceRecord {
    derived_by(gateway_trace::record, trace)
}

fn derived_by(derive: impl Fn(&Call, &Reply) -> TraceRecord, trace: &StoredTrace) -> TraceRecord {
    // The derivation is pure: there is no state that a panic could leave half changed.
    let record = catch_unwind(AssertUnwindSafe(|| derive(&trace.call, &trace.reply)));
    let record = record.unwrap_or_else(|_| {
        let trace_id = &trace.call.meta.trace_id;
        tracing::error!(trace_id, "the record of a stored trace cannot be derived");
        without_bodies(trace)
    });
    record.with_kin(&trace.kin)
}

/// What the columns of a trace alone say of it, and a note of what is missing.
fn without_bodies(trace: &StoredTrace) -> TraceRecord {
    let call = Call {
        meta: trace.call.meta.clone(),
        request: Bytes::new(),
    };
    let reply = Reply {
        meta: trace.reply.meta.clone(),
        body: Bytes::new(),
    };
    let mut record = gateway_trace::record(&call, &reply);
    record
        .integrity
        .notes
        .push("the stored request and reply cannot be read".to_owned());
    record
}

#[cfg(test)]
mod tests {
    use gateway_trace::{CallMeta, Endpoint, Kin};

    use super::*;

    /// Listing side of defect 17: one bad stored trace made the whole listing a 500.
    #[test]
    fn defect_17_a_trace_that_cannot_be_derived_is_shown_without_its_bodies() {
        let meta = CallMeta::new("trace-1", Endpoint::ChatCompletions, 1.5);
        let trace = StoredTrace {
            commit_seq: 1,
            arrival_seq: 1,
            created_at: 2.5,
            call: Call {
                meta,
                request: Bytes::from_static(b"{}"),
            },
            reply: Reply::interrupted(None),
            kin: Kin::default(),
        };
        let record = derived_by(|_, _| panic!("a bug in a dialect"), &trace);
        let record: serde_json::Value = serde_json::from_str(&record.to_json()).unwrap();
        assert_eq!(record["trace_id"], "trace-1");
        assert_eq!(record["outcome"], "interrupted");
        let notes = record["integrity"]["notes"].as_array().unwrap();
        assert!(
            notes
                .iter()
                .any(|note| note.as_str().unwrap().contains("cannot be read"))
        );
    }
}
