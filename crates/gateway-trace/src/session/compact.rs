//! The compact form of a listing: each call as what it adds to the call that it extends.

use gateway_json::Value;

use super::earlier::EarlierCalls;
use super::same::same;
use crate::record::write::{Object, array, float, integers, strings};
use crate::{Outcome, TraceRecord};

/// Writes the compact form of a listing, record by record.
///
/// A delta with a `parent_trace_id` stands for
/// `messages = parent.messages + [assistant_echo or parent.response_message] + messages_suffix` and
/// `prompt_token_ids = (parent.prompt_token_ids + parent.completion_token_ids)[..prompt_ids_keep or
/// all] + prompt_ids_suffix`; one without carries everything. The parent is the latest completed
/// call of the document whose messages, and then one assistant message, begin the child's.
/// [`expand`](crate::expand) undoes it.
#[derive(Default)]
pub struct Compact {
    earlier: EarlierCalls,
    deltas: String,
    /// Whether a delta has a member that version 1 does not know.
    is_version_2: bool,
}

/// What a record adds to its parent.
struct Suffix<'a> {
    parent: Option<&'a str>,
    echo: Option<Value<'a>>,
    messages: &'a [Value<'a>],
    ids_kept: Option<usize>,
    ids: &'a [i64],
}

impl Compact {
    /// Adds the next record of the listing.
    pub fn push(&mut self, record: &TraceRecord) {
        let messages: Vec<_> = record.messages.walk().elements().collect();
        let parent = self.earlier.begun_by(record, &messages, |_, _| true);
        let suffix = match parent {
            None => Suffix {
                parent: None,
                echo: None,
                messages: &messages,
                ids_kept: None,
                ids: &record.prompt_token_ids,
            },
            Some((parent, count)) => {
                let echo = messages[count];
                let is_reply = same(parent.reply.walk(), echo);
                let own = &record.prompt_token_ids;
                let kept = self.earlier.count_common(parent, own);
                Suffix {
                    parent: Some(&parent.trace_id),
                    echo: (!is_reply).then_some(echo),
                    messages: &messages[count + 1..],
                    ids_kept: (kept < parent.count_ids()).then_some(kept),
                    ids: &own[kept..],
                }
            }
        };
        self.is_version_2 |= suffix.echo.is_some() || suffix.ids_kept.is_some();
        if !self.deltas.is_empty() {
            self.deltas.push(',');
        }
        write_delta(record, &suffix, &mut self.deltas);
        self.earlier.add(record, &messages);
    }

    /// The document.
    #[must_use]
    pub fn finish(self) -> String {
        let version = if self.is_version_2 { 2 } else { 1 };
        format!(
            "{{\"format\":\"compact\",\"version\":{version},\"deltas\":[{}]}}",
            self.deltas
        )
    }
}

fn write_delta(record: &TraceRecord, suffix: &Suffix<'_>, out: &mut String) {
    let mut object = Object::open(out);
    let identity = &record.identity;
    object.string("trace_id", &record.trace_id);
    object.string(
        "session_id",
        identity.session_id.as_deref().unwrap_or_default(),
    );
    object.optional_string("parent_trace_id", suffix.parent);
    object.optional_string("lineage_id", record.lineage_id.as_deref());
    object.string("model", &record.model);
    if let Some(echo) = suffix.echo {
        object.text("assistant_echo", echo.text());
    }
    object.value("messages_suffix", |out| {
        array(out, suffix.messages, |out, message| {
            out.push_str(message.text());
        });
    });
    if let Some(kept) = suffix.ids_kept {
        object.text("prompt_ids_keep", &kept.to_string());
    }
    object.value("prompt_ids_suffix", |out| integers(out, suffix.ids));
    object.json("response_message", &record.response_message);
    object.value("completion_token_ids", |out| {
        integers(out, &record.completion_token_ids);
    });
    object.optional("logprobs", record.logprobs.as_ref(), |out, all| {
        array(out, all, |out, one| float(out, *one));
    });
    object.optional(
        "routing_matrices",
        record.routing_matrices.as_ref(),
        |out, all| strings(out, all),
    );
    object.optional_string("finish_reason", record.finish_reason.as_deref());
    object.optional_integer("weight_version", record.weight_version);
    object.value("latency_ms", |out| float(out, record.latency_ms));
    object.value("token_counts", |out| record.token_counts.write(out));
    object.value("timestamp", |out| float(out, record.timestamp));
    object.json("metadata", &record.metadata);
    object.optional_string("run_id", identity.run_id.as_deref());
    object.optional_string("harness", identity.harness.as_deref());
    object.optional_integer("step_id", identity.step_id);
    object.optional_string("parent_span_id", identity.parent_span_id.as_deref());
    object.optional_string("project", identity.project.as_deref());
    object.optional_string("experiment", identity.experiment.as_deref());
    if record.outcome != Outcome::Completed {
        object.string("outcome", record.outcome.as_str());
        object.optional("error", record.error.as_ref(), |out, error| {
            error.write(out);
        });
    }
    object.close();
}
