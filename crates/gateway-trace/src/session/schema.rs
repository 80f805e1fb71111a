//! The schemas of what is told of a whole session, as data; see [`crate::schema`].

use crate::record::schema::Shape::{Array, Integer, Json, Object, OneOf, OrNull, Text};
use crate::record::schema::{Field, Members, RECORD, always, sometimes};

/// The report on a session.
pub const REPORT: Members = Members {
    title: "SessionReport",
    fields: &[
        always("session_id", Text, "The session."),
        always(
            "run_id",
            OrNull(&Text),
            "The run; null where the report is over several.",
        ),
        always(
            "accepted",
            Integer,
            "`persisted + in_flight + deleted`, since the session was made.",
        ),
        always("persisted", Integer, "Calls whose traces are there."),
        always("in_flight", Integer, "Calls that have not ended."),
        always(
            "deleted",
            Integer,
            "Calls that were under way when the session was deleted.",
        ),
        always("completed", Integer, "Traces of completed calls."),
        always(
            "failed",
            Object(&FAILED),
            "Traces of all others, by outcome.",
        ),
        always(
            "superseded",
            Integer,
            "How many of the failed ones a later completed call repeated.",
        ),
        always(
            "prefix_breaks",
            Array(&Object(&PREFIX_BREAK)),
            "Turns whose messages go on from an earlier turn while their token ids do not. They do \
             not spoil the verdict.",
        ),
        always(
            "verdict",
            OneOf(&["complete", "incomplete", "in_progress"]),
            "Whether a trainer may take the session as it is.",
        ),
        always(
            "reasons",
            Array(&Text),
            "Why not, a line each; one about a trace begins with its id.",
        ),
    ],
};

const FAILED: Members = Members {
    title: "FailedCalls",
    fields: &[
        sometimes(
            "upstream_error",
            Integer,
            "An upstream answered with an error.",
        ),
        sometimes("truncated", Integer, "The upstream broke off."),
        sometimes("client_disconnected", Integer, "The client left."),
        sometimes("gateway_error", Integer, "No upstream answered."),
        sometimes("interrupted", Integer, "The gateway died during the call."),
    ],
};

const PREFIX_BREAK: Members = Members {
    title: "PrefixBreak",
    fields: &[
        always("trace_id", Text, "The call."),
        always(
            "at_token",
            Integer,
            "The place in its prompt of the first token that differs.",
        ),
    ],
};

/// The compact form of a listing.
pub const COMPACT: Members = Members {
    title: "CompactTraces",
    fields: &[
        always("format", OneOf(&["compact"]), "The form."),
        always(
            "version",
            Integer,
            "2 where a delta has `assistant_echo` or `prompt_ids_keep`, else 1.",
        ),
        always(
            "deltas",
            Array(&Object(&DELTA)),
            "The calls in the order of the listing.",
        ),
    ],
};

const DELTA: Members = Members {
    title: "Delta",
    fields: &[
        of_record("trace_id"),
        of_record("session_id"),
        always(
            "parent_trace_id",
            OrNull(&Text),
            "The latest earlier call of the document that this one extends; null for a root, which \
             carries everything.",
        ),
        of_record("lineage_id"),
        of_record("model"),
        sometimes(
            "assistant_echo",
            Json,
            "The parent's reply as the client sent it back, where that is not `response_message`.",
        ),
        always(
            "messages_suffix",
            Array(&Json),
            "The messages after the parent's and its reply.",
        ),
        sometimes(
            "prompt_ids_keep",
            Integer,
            "How many of the parent's prompt and completion ids the prompt begins with, where not \
             with all.",
        ),
        always(
            "prompt_ids_suffix",
            Array(&Integer),
            "The prompt's token ids after those.",
        ),
        of_record("response_message"),
        of_record("completion_token_ids"),
        of_record("logprobs"),
        of_record("routing_matrices"),
        of_record("finish_reason"),
        of_record("weight_version"),
        of_record("latency_ms"),
        of_record("token_counts"),
        of_record("timestamp"),
        of_record("metadata"),
        of_record("run_id"),
        of_record("harness"),
        of_record("step_id"),
        of_record("parent_span_id"),
        of_record("project"),
        of_record("experiment"),
        where_failed("outcome"),
        where_failed("error"),
    ],
};

/// A member of a delta that a call has only if it did not complete.
const fn where_failed(name: &str) -> Field {
    Field {
        always: false,
        ..of_record(name)
    }
}

/// A member that a delta has from its record.
const fn of_record(name: &str) -> Field {
    let mut at = 0;
    while at < RECORD.fields.len() {
        let field = RECORD.fields[at];
        if is_same(field.name.as_bytes(), name.as_bytes()) {
            return field;
        }
        at += 1;
    }
    panic!("a record has no such member")
}

/// `==`, which a constant cannot ask for.
const fn is_same(one: &[u8], other: &[u8]) -> bool {
    let mut at = 0;
    while at < one.len() && at < other.len() && one[at] == other[at] {
        at += 1;
    }
    at == one.len() && at == other.len()
}
