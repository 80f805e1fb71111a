//! The schema of a record: every member of its JSON, once, as data.
//!
//! The table [`RECORD`] is the source of `docs/trace-schema.json` ([`json_schema`]) and of
//! `docs/trace-schema.md` ([`page`]); `cargo xtask docs` writes both. The members stand in the
//! order in which a record writes them. Tests hold the table against what records write, so a
//! field that is forgotten here fails them. [`REPORT`] and [`COMPACT`] are such tables of what is
//! told of a whole session.

use Shape::{Array, Boolean, Float, Integer, Json, Object, OneOf, OrNull, Text};

mod json;
mod page;

pub use crate::session::schema::{COMPACT, REPORT};
pub use json::{json_schema, json_schema_of};
pub use page::page;

/// An object whose members are ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Members {
    /// What one is called.
    pub title: &'static str,
    /// Its members, in the order of the JSON.
    pub fields: &'static [Field],
}

/// One member of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// Its name in the JSON.
    pub name: &'static str,
    /// What its value may be.
    pub shape: Shape,
    /// Whether it is always there, if only as null. Others are left out where there is nothing to
    /// tell.
    pub always: bool,
    /// What it means, with its unit, in Markdown.
    pub meaning: &'static str,
}

/// What a value may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// A string.
    Text,
    /// One of these strings.
    OneOf(&'static [&'static str]),
    /// An integer.
    Integer,
    /// A number that is always written with a point or an exponent.
    Float,
    /// `true` or `false`.
    Boolean,
    /// An object with members that are a client's or an upstream's own.
    Json,
    /// An object whose members are ours.
    Object(&'static Members),
    /// An array of such values.
    Array(&'static Shape),
    /// Such a value, or null.
    OrNull(&'static Shape),
}

/// The record of one call.
pub const RECORD: Members = Members {
    title: "TraceRecord",
    fields: &[
        always(
            "trace_id",
            Text,
            "A UUIDv7, made when the call arrives; the client gets it as the header `x-rllm-trace-id`.",
        ),
        always(
            "session_id",
            Text,
            "The session; `\"\"` for a call that belongs to none.",
        ),
        always(
            "model",
            Text,
            "What the client asked for; else what the upstream named; else `\"\"`.",
        ),
        always("run_id", OrNull(&Text), "The run."),
        always("harness", OrNull(&Text), "The harness that runs the agent."),
        always(
            "step_id",
            OrNull(&Integer),
            "The step of the rollout, as the client counts.",
        ),
        always(
            "parent_span_id",
            OrNull(&Text),
            "The span of the client's own tracing that the call is part of.",
        ),
        always(
            "span_type",
            OneOf(&["llm.call", "llm.embedding"]),
            "`llm.embedding` for the endpoint `embeddings`, `llm.call` for all others.",
        ),
        always(
            "messages",
            Array(&Json),
            "The request's messages in the form of chat completions, as sent; those of other APIs \
             are mapped to it. An entry that is no object stands as `{\"content\": it}`.",
        ),
        always(
            "prompt_token_ids",
            Array(&Integer),
            "The prompt as token ids: the reply's; else those of a `completions` request whose \
             `prompt` is an array of ids. With several prompts, those of choice 0. Empty where \
             they are not known.",
        ),
        always(
            "response_message",
            Json,
            "The assistant message of choice 0 in the form of chat completions, complete but for what \
             streams and whole replies tell differently: members that are null (`content` aside) \
             and the `index` of tool calls are left out, and an empty `content` beside tool calls \
             or reasoning is null. `{}` where none came.",
        ),
        always(
            "completion_token_ids",
            Array(&Integer),
            "The token ids of choice 0, the end-of-sequence token included. Empty where they are \
             not known.",
        ),
        always(
            "logprobs",
            OrNull(&Array(&Float)),
            "The log probabilities (natural logarithm) of choice 0, one for each completion token: \
             index i always means token i. Null where the upstream gave none, and where it left \
             one null; `choices` then holds them with their gaps.",
        ),
        always(
            "routing_matrices",
            OrNull(&Array(&Text)),
            "The expert routing of choice 0, as base64; one string that covers all tokens stands \
             as an array of one.",
        ),
        always(
            "finish_reason",
            OrNull(&Text),
            "Why choice 0 ended, in OpenAI's words; see *Finish reasons*.",
        ),
        always(
            "weight_version",
            OrNull(&Integer),
            "The version of the weights: the reply's own, else the gateway's when the call arrived \
             or left the pause gate.",
        ),
        always(
            "latency_ms",
            Float,
            "Milliseconds from the request's last byte in to the upstream's last byte. The wait \
             for the receipt does not count.",
        ),
        always(
            "token_counts",
            Object(&TOKEN_COUNTS),
            "What the upstream counted; a count that it did not tell is left out.",
        ),
        always("timestamp", Float, "Arrival of the call, in UNIX seconds."),
        always(
            "metadata",
            Json,
            "The body's `metadata` without its `rllm`, if it is an object; else `{}`.",
        ),
        always(
            "raw_request",
            OrNull(&Json),
            "The body as the client sent it, before the gateway's edits, without rLLM's keys; see \
             *Fidelity*.",
        ),
        always(
            "raw_response",
            OrNull(&Json),
            "The whole reply as the upstream sent it, before anything was stripped. Null for a \
             streamed reply, which stands in `assembled_response`, and where nothing came.",
        ),
        always("project", OrNull(&Text), "The project."),
        always("experiment", OrNull(&Text), "The experiment."),
        always(
            "endpoint",
            OneOf(&[
                "chat/completions",
                "completions",
                "responses",
                "messages",
                "embeddings",
            ]),
            "The path that was called, after `/v1/`.",
        ),
        always("stream", Boolean, "Whether the client asked for a stream."),
        always(
            "status",
            OrNull(&Integer),
            "The HTTP status that the client got; null if it got none.",
        ),
        always(
            "outcome",
            OneOf(&[
                "completed",
                "upstream_error",
                "truncated",
                "client_disconnected",
                "gateway_error",
                "interrupted",
            ]),
            "How the call ended; see *Outcomes*.",
        ),
        always(
            "error",
            OrNull(&Object(&ERROR)),
            "Why it failed; set for every outcome but `completed`.",
        ),
        always(
            "choices",
            OrNull(&Array(&Object(&CHOICE))),
            "Every choice in the order of its index, where more than one was asked for or came, and \
             where a log probability is null.",
        ),
        always(
            "assembled_response",
            OrNull(&Json),
            "Of a streamed reply: the whole reply in the upstream's own dialect, put together from \
             its events, unknown members kept. What JSON cannot say (`NaN`, `Infinity`) is null.",
        ),
        always(
            "edits",
            OrNull(&Object(&EDITS)),
            "What was sent instead of the client's own, so that the sampling that really happened \
             can be read. rLLM's keys, the capture flags that the gateway adds, and session values \
             equal to the client's do not count. Null where nothing else was edited.",
        ),
        always(
            "ttft_ms",
            OrNull(&Float),
            "Milliseconds from the request's last byte in to the first byte of the reply's body.",
        ),
        always("attempts", Integer, "How often an upstream was tried."),
        always(
            "attempt_log",
            OrNull(&Array(&Object(&ATTEMPT))),
            "Each attempt in order, where there was more than one.",
        ),
        always(
            "upstream",
            OrNull(&Text),
            "The worker id or the route name that answered.",
        ),
        always(
            "upstream_reason",
            OrNull(&OneOf(&[
                "route",
                "sticky",
                "new",
                "moved",
                "overflow",
                "least_loaded",
                "round_robin",
            ])),
            "Why that one.",
        ),
        always(
            "weight_version_end",
            OrNull(&Integer),
            "The gateway's weight version at the reply's end: another one than `weight_version` \
             where weights were changed during the call.",
        ),
        always(
            "parent_trace_id",
            OrNull(&Text),
            "The earlier call of the session that this one extends: its messages and one assistant \
             message begin this call's. Null for a root.",
        ),
        always(
            "lineage_id",
            OrNull(&Text),
            "The line of the session that the call is on, `<session>#<n>`: n counts the roots of \
             session and run from 0, and a branch keeps its parent's line.",
        ),
        always(
            "superseded_by",
            OrNull(&Text),
            "Of a call that did not complete: the later completed call that repeated it, byte for \
             byte apart from rLLM's keys.",
        ),
        always(
            "principal",
            OrNull(&OneOf(&["agent", "admin", "session"])),
            "In which role the client called: with the inbound token, the admin token, a session \
             key; null without authentication.",
        ),
        always(
            "client",
            Object(&CLIENT),
            "What the client said of itself; what it did not say is left out.",
        ),
        always(
            "instance_id",
            Text,
            "The gateway that wrote the record; the id is kept with its journal.",
        ),
        always(
            "has_error",
            Boolean,
            "Whether the outcome is not `completed`, or there is a finish reason other than `stop`, \
             `tool_calls`, `length` and `function_call`.",
        ),
        always(
            "request_id",
            OrNull(&Text),
            "The upstream's `x-request-id`, else its `request-id` (Anthropic's).",
        ),
        sometimes(
            "event_ms",
            OrNull(&Array(&Integer)),
            "Of a streamed reply: milliseconds from the request's last byte in to each event with \
             data, `[DONE]` too. There with `?include=timing` alone.",
        ),
        always(
            "integrity",
            Object(&INTEGRITY),
            "What was checked, and what could not be read.",
        ),
        sometimes(
            "_created_at",
            Float,
            "When the record was committed, in UNIX seconds; grows from record to record. There in \
             `GET /traces` alone.",
        ),
    ],
};

const TOKEN_COUNTS: Members = Members {
    title: "TokenCounts",
    fields: &[
        sometimes(
            "prompt",
            Integer,
            "Tokens of the prompt, cached ones included, in every dialect.",
        ),
        sometimes("completion", Integer, "Tokens of the completion."),
        sometimes(
            "cached",
            Integer,
            "Of the prompt's, those that were read from a cache.",
        ),
        sometimes(
            "reasoning",
            Integer,
            "Of the completion's, those spent on reasoning.",
        ),
    ],
};

const ERROR: Members = Members {
    title: "CallError",
    fields: &[
        always(
            "type",
            Text,
            "The class of the error: the upstream's word for it, else one of the gateway's.",
        ),
        always(
            "code",
            Text,
            "The error itself, always as text: the upstream's code, else the HTTP status, else one \
             of the gateway's (`unreadable_reply`, `truncated`, `upstream_timeout`, …).",
        ),
        always("message", Text, "For people."),
    ],
};

const CHOICE: Members = Members {
    title: "Choice",
    fields: &[
        always("index", Integer, "Its `index`, else its position."),
        always("message", Json, "Its message, as `response_message`."),
        always(
            "prompt_token_ids",
            OrNull(&Array(&Integer)),
            "The token ids of its prompt; null where they are not known.",
        ),
        always("token_ids", Array(&Integer), "Its token ids."),
        always(
            "logprobs",
            OrNull(&Array(&OrNull(&Float))),
            "Its log probabilities, one for each token; null where the upstream left one null.",
        ),
        always(
            "finish_reason",
            OrNull(&Text),
            "Why it ended, as `finish_reason` of the record.",
        ),
        always(
            "routing_matrices",
            OrNull(&Array(&Text)),
            "Its expert routing, as that of the record.",
        ),
    ],
};

const EDITS: Members = Members {
    title: "Edits",
    fields: &[
        always(
            "set",
            Json,
            "Members of the body and the values that were sent.",
        ),
        always(
            "removed",
            Array(&Text),
            "Members of the body that were not sent.",
        ),
    ],
};

const ATTEMPT: Members = Members {
    title: "Attempt",
    fields: &[
        always(
            "upstream",
            OrNull(&Text),
            "The worker id or the route name; null where none was found.",
        ),
        always(
            "status",
            OrNull(&Integer),
            "The HTTP status that it answered with.",
        ),
        always(
            "error",
            OrNull(&Text),
            "Why it gave no answer, as a code of the gateway's errors; null where it answered.",
        ),
        always("ms", Float, "Milliseconds that the attempt took."),
    ],
};

const CLIENT: Members = Members {
    title: "Client",
    fields: &[
        sometimes("user_agent", Text, "`User-Agent`."),
        sometimes(
            "retry_count",
            Integer,
            "`x-stainless-retry-count`: how often the client's SDK had tried before.",
        ),
        sometimes("traceparent", Text, "`traceparent`."),
        sometimes(
            "session_header",
            Object(&SESSION_HEADER),
            "The client's own session header.",
        ),
    ],
};

const SESSION_HEADER: Members = Members {
    title: "SessionHeader",
    fields: &[
        always("name", Text, "Its name, in lower case."),
        always("value", Text, "Its value."),
    ],
};

const INTEGRITY: Members = Members {
    title: "Integrity",
    fields: &[
        always(
            "ids_match_usage",
            OrNull(&Boolean),
            "Whether there are as many completion token ids as the upstream counted; null where \
             that cannot be told.",
        ),
        always(
            "logprobs_match_ids",
            OrNull(&Boolean),
            "Whether there are as many log probabilities as token ids; null where one is missing.",
        ),
        always("ended", Boolean, "Whether the reply's end was seen."),
        always(
            "notes",
            Array(&Text),
            "What could not be read, was capped or is missing, in words.",
        ),
    ],
};

pub(crate) const fn always(name: &'static str, shape: Shape, meaning: &'static str) -> Field {
    Field {
        name,
        shape,
        always: true,
        meaning,
    }
}

pub(crate) const fn sometimes(name: &'static str, shape: Shape, meaning: &'static str) -> Field {
    Field {
        name,
        shape,
        always: false,
        meaning,
    }
}

#[cfg(test)]
mod tests {
    use super::{RECORD, Shape};
    use crate::{Endpoint, Outcome, SpanType};

    fn choices(name: &str) -> &'static [&'static str] {
        let field = RECORD.fields.iter().find(|field| field.name == name);
        match field.map(|field| field.shape) {
            Some(Shape::OneOf(all)) => all,
            other => panic!("{name} is {other:?}"),
        }
    }

    #[test]
    fn words_are_those_of_the_types() {
        assert_eq!(choices("endpoint"), Endpoint::ALL.map(Endpoint::as_str));
        assert_eq!(choices("outcome"), Outcome::ALL.map(Outcome::as_str));
        let spans = [SpanType::Llm, SpanType::Embedding];
        assert_eq!(choices("span_type"), spans.map(SpanType::as_str));
    }
}
