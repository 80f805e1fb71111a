//! The JSON form of a record: every field, in the order of the schema.

use gateway_json::push_quoted;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use crate::{CallError, ChoiceRecord, ClientInfo, Integrity, Json, TokenCounts, TraceRecord};

/// What a record's JSON form shows besides what it always shows.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Include {
    /// `event_ms`.
    pub timing: bool,
    /// `_created_at`: when the record was committed, in UNIX seconds. It stands last.
    pub created_at: Option<f64>,
}

impl TraceRecord {
    /// The record as JSON, without white space.
    #[must_use]
    pub fn to_json(&self) -> String {
        self.to_json_with(Include::default())
    }

    /// The record as JSON, with what is asked for besides.
    #[must_use]
    pub fn to_json_with(&self, include: Include) -> String {
        let mut out = String::with_capacity(self.size_hint());
        self.write_json(include, &mut out);
        out
    }

    /// Appends the record's JSON to `out`.
    pub fn write_json(&self, include: Include, out: &mut String) {
        let mut object = Object::open(out);
        let identity = &self.identity;
        object.string("trace_id", &self.trace_id);
        object.string(
            "session_id",
            identity.session_id.as_deref().unwrap_or_default(),
        );
        object.string("model", &self.model);
        object.optional_string("run_id", identity.run_id.as_deref());
        object.optional_string("harness", identity.harness.as_deref());
        object.optional_integer("step_id", identity.step_id);
        object.optional_string("parent_span_id", identity.parent_span_id.as_deref());
        object.string("span_type", self.span_type.as_str());
        object.json("messages", &self.messages);
        object.value("prompt_token_ids", |out| {
            integers(out, &self.prompt_token_ids);
        });
        object.json("response_message", &self.response_message);
        object.value("completion_token_ids", |out| {
            integers(out, &self.completion_token_ids);
        });
        object.optional("logprobs", self.logprobs.as_ref(), |out, all| {
            array(out, all, |out, one| float(out, *one));
        });
        object.optional(
            "routing_matrices",
            self.routing_matrices.as_ref(),
            |out, all| strings(out, all),
        );
        object.optional_string("finish_reason", self.finish_reason.as_deref());
        object.optional_integer("weight_version", self.weight_version);
        object.value("latency_ms", |out| float(out, self.latency_ms));
        object.value("token_counts", |out| self.token_counts.write(out));
        object.value("timestamp", |out| float(out, self.timestamp));
        object.json("metadata", &self.metadata);
        object.optional_json("raw_request", self.raw_request.as_ref());
        object.optional_json("raw_response", self.raw_response.as_ref());

        object.optional_string("project", identity.project.as_deref());
        object.optional_string("experiment", identity.experiment.as_deref());
        object.string("endpoint", self.endpoint.as_str());
        object.text("stream", if self.stream { "true" } else { "false" });
        object.optional_integer("status", self.status.map(i64::from));
        object.string("outcome", self.outcome.as_str());
        object.optional("error", self.error.as_ref(), |out, error| error.write(out));
        object.optional("choices", self.choices.as_ref(), |out, all| {
            array(out, all, |out, one| one.write(out));
        });
        object.optional_json("assembled_response", self.assembled_response.as_ref());
        object.optional_json("edits", self.edits.as_ref());
        object.optional("ttft_ms", self.ttft_ms.as_ref(), |out, ms| float(out, *ms));
        object.integer("attempts", i64::from(self.attempts));
        object.optional("attempt_log", self.attempt_log.as_ref(), |out, all| {
            array(out, all, |out, attempt| {
                let mut object = Object::open(out);
                object.optional_string("upstream", attempt.upstream.as_deref());
                object.optional_integer("status", attempt.status.map(i64::from));
                object.optional_string("error", attempt.error.as_deref());
                object.value("ms", |out| float(out, attempt.ms));
                object.close();
            });
        });
        object.optional_string("upstream", self.upstream.as_deref());
        object.optional_string("upstream_reason", self.upstream_reason.as_deref());
        object.optional_integer("weight_version_end", self.weight_version_end);
        object.optional_string("parent_trace_id", self.parent_trace_id.as_deref());
        object.optional_string("lineage_id", self.lineage_id.as_deref());
        object.optional_string("superseded_by", self.superseded_by.as_deref());
        object.optional_string("principal", self.principal.as_deref());
        object.value("client", |out| write_client(&self.client, out));
        object.string("instance_id", &self.instance_id);
        object.text("has_error", if self.has_error { "true" } else { "false" });
        object.optional_string("request_id", self.request_id.as_deref());
        if include.timing {
            object.optional("event_ms", self.event_ms.as_ref(), |out, all| {
                array(out, all, |out, ms| integer(out, i64::from(*ms)));
            });
        }
        object.value("integrity", |out| self.integrity.write(out));
        if let Some(created_at) = include.created_at {
            object.value("_created_at", |out| float(out, created_at));
        }
        object.close();
    }

    /// About how long the JSON form is, so that the text need not grow while it is written.
    fn size_hint(&self) -> usize {
        let json = |json: &Option<Json>| json.as_ref().map_or(0, |json| json.as_str().len());
        2048 + self.messages.as_str().len()
            + self.response_message.as_str().len()
            + json(&self.raw_request)
            + json(&self.raw_response)
            + json(&self.assembled_response)
            + 8 * (self.prompt_token_ids.len() + self.completion_token_ids.len())
            + 24 * self.logprobs.as_ref().map_or(0, Vec::len)
    }
}

/// With `serde_json` alone, because JSON that came from outside is kept as it was written.
impl Serialize for TraceRecord {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        RawValue::from_string(self.to_json())
            .map_err(serde::ser::Error::custom)?
            .serialize(serializer)
    }
}

impl ChoiceRecord {
    fn write(&self, out: &mut String) {
        let mut object = Object::open(out);
        object.integer("index", self.index);
        object.json("message", &self.message);
        object.optional(
            "prompt_token_ids",
            self.prompt_token_ids.as_ref(),
            |out, all| integers(out, all),
        );
        object.value("token_ids", |out| integers(out, &self.token_ids));
        object.optional("logprobs", self.logprobs.as_ref(), |out, all| {
            array(out, all, |out, one| match one {
                Some(one) => float(out, *one),
                None => out.push_str("null"),
            });
        });
        object.optional_string("finish_reason", self.finish_reason.as_deref());
        object.optional(
            "routing_matrices",
            self.routing_matrices.as_ref(),
            |out, all| strings(out, all),
        );
        object.close();
    }
}

impl TokenCounts {
    pub(crate) fn write(self, out: &mut String) {
        let mut object = Object::open(out);
        let counts = [
            ("prompt", self.prompt),
            ("completion", self.completion),
            ("cached", self.cached),
            ("reasoning", self.reasoning),
        ];
        for (name, count) in counts {
            if let Some(count) = count {
                object.integer(name, count);
            }
        }
        object.close();
    }
}

impl CallError {
    pub(crate) fn write(&self, out: &mut String) {
        let mut object = Object::open(out);
        object.string("type", &self.r#type);
        object.string("code", &self.code);
        object.string("message", &self.message);
        object.close();
    }
}

impl Integrity {
    fn write(&self, out: &mut String) {
        let boolean =
            |out: &mut String, value: &bool| out.push_str(if *value { "true" } else { "false" });
        let mut object = Object::open(out);
        object.optional("ids_match_usage", self.ids_match_usage.as_ref(), boolean);
        object.optional(
            "logprobs_match_ids",
            self.logprobs_match_ids.as_ref(),
            boolean,
        );
        object.value("ended", |out| boolean(out, &self.ended));
        object.value("notes", |out| strings(out, &self.notes));
        object.close();
    }
}

/// Members that were not sent are left out.
fn write_client(client: &ClientInfo, out: &mut String) {
    let mut object = Object::open(out);
    if let Some(user_agent) = &client.user_agent {
        object.string("user_agent", user_agent);
    }
    if let Some(retry_count) = client.retry_count {
        object.integer("retry_count", retry_count);
    }
    if let Some(traceparent) = &client.traceparent {
        object.string("traceparent", traceparent);
    }
    if let Some(header) = &client.session_header {
        object.value("session_header", |out| {
            let mut object = Object::open(out);
            object.string("name", &header.name);
            object.string("value", &header.value);
            object.close();
        });
    }
    object.close();
}

/// An object that is being written.
pub(crate) struct Object<'a> {
    out: &'a mut String,
    empty: bool,
}

impl<'a> Object<'a> {
    pub(crate) fn open(out: &'a mut String) -> Self {
        out.push('{');
        Self { out, empty: true }
    }

    pub(crate) fn close(self) {
        self.out.push('}');
    }

    /// A member whose value `write` appends.
    pub(crate) fn value(&mut self, key: &str, write: impl FnOnce(&mut String)) {
        if !std::mem::take(&mut self.empty) {
            self.out.push(',');
        }
        self.out.push('"');
        self.out.push_str(key);
        self.out.push_str("\":");
        write(self.out);
    }

    pub(crate) fn text(&mut self, key: &str, text: &str) {
        self.value(key, |out| out.push_str(text));
    }

    pub(crate) fn string(&mut self, key: &str, string: &str) {
        self.value(key, |out| push_quoted(out, string));
    }

    pub(crate) fn integer(&mut self, key: &str, value: i64) {
        self.value(key, |out| integer(out, value));
    }

    pub(crate) fn json(&mut self, key: &str, json: &Json) {
        self.text(key, json.as_str());
    }

    /// A member that is null where there is no value.
    pub(crate) fn optional<T>(
        &mut self,
        key: &str,
        value: Option<&T>,
        write: impl FnOnce(&mut String, &T),
    ) {
        match value {
            Some(value) => self.value(key, |out| write(out, value)),
            None => self.text(key, "null"),
        }
    }

    pub(crate) fn optional_string(&mut self, key: &str, string: Option<&str>) {
        match string {
            Some(string) => self.string(key, string),
            None => self.text(key, "null"),
        }
    }

    pub(crate) fn optional_integer(&mut self, key: &str, value: Option<i64>) {
        self.optional(key, value.as_ref(), |out, value| integer(out, *value));
    }

    pub(crate) fn optional_json(&mut self, key: &str, json: Option<&Json>) {
        self.text(key, json.map_or("null", Json::as_str));
    }
}

pub(crate) fn array<T>(out: &mut String, items: &[T], mut write: impl FnMut(&mut String, &T)) {
    out.push('[');
    for (position, item) in items.iter().enumerate() {
        if position > 0 {
            out.push(',');
        }
        write(out, item);
    }
    out.push(']');
}

pub(crate) fn integers(out: &mut String, items: &[i64]) {
    array(out, items, |out, item| integer(out, *item));
}

pub(crate) fn strings(out: &mut String, items: &[String]) {
    array(out, items, |out, item| push_quoted(out, item));
}

fn integer(out: &mut String, value: i64) {
    use std::fmt::Write;
    write!(out, "{value}").expect("writing to a string cannot fail");
}

/// A float always shows that it is one. What is not finite has no JSON; clocks and parsed numbers
/// never give it.
pub(crate) fn float(out: &mut String, value: f64) {
    use std::fmt::Write;
    let value = if value.is_finite() { value } else { 0.0 };
    write!(out, "{value:?}").expect("writing to a string cannot fail");
}
