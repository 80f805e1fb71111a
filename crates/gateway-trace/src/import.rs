//! Records of the Python gateway, made a call and a reply.
//!
//! That gateway stored a finished record, and beside it the bodies that it had. Here the bodies are
//! stored and the record is derived from them, so that an old one goes the other way: its bodies are
//! taken as they are, those that are missing are put together from its fields, and what the derived
//! record would say otherwise than the old one is [stated](crate::ReplyMeta::stated).

use std::borrow::Cow;

use bytes::Bytes;
use gateway_json::{Dialect, Value, parse, quote, strict_text};
use gateway_metadata::{Field, Identity};

use crate::dialect::{self, string};
use crate::{
    Call, CallError, CallMeta, Endpoint, Json, Outcome, Reply, ReplyDigest, ReplyMeta, error_body,
    notes, record,
};

mod bodies;
mod stated;

pub(crate) use stated::restate;

const IMPORTED: &str = "imported from the Python gateway: the timestamp is the call's end, and \
                        raw_request is what went upstream";
const NO_REQUEST: &str = "the old record holds no request: its messages stand for it";
const NO_REPLY: &str = "the old record holds no whole reply: its fields stand for it";
const NON_FINITE: &str = "the old request holds NaN or Infinity, which are null here";
const KEPT_TEXT: &str = "the old record cannot be read: its text stands in raw_response";

/// A trace as the Python gateway stored it.
#[derive(Debug, Clone, Copy)]
pub struct OldTrace<'a> {
    /// Its id.
    pub trace_id: &'a str,
    /// The sessions that list it. The trace is of the one that its record names, else of the first;
    /// of the others a note tells.
    pub session_ids: &'a [String],
    /// The run that the database names, if it names one. Else the record's own counts.
    pub run_id: Option<&'a str>,
    /// When it was stored, in UNIX seconds.
    pub created_at: f64,
    /// The record: the JSON of a `TraceRecord` of the Python gateway, as Python writes it.
    pub record: &'a [u8],
}

/// An old record as a call and a reply.
#[derive(Debug, Clone, PartialEq)]
pub struct Imported {
    /// The call.
    pub call: Call,
    /// What became of it.
    pub reply: Reply,
    /// Why the old record cannot be read, if it cannot: it then stands in the reply as it is.
    pub unreadable: Option<String>,
}

/// The two halves of an old record. The record that is derived from them says what the old one
/// says, value for value; what it cannot say is named in its notes.
///
/// An old record that is no JSON object makes a failed call, whose reply is the old record's text.
#[must_use]
pub fn import(old: &OldTrace<'_>) -> Imported {
    match parse(old.record, Dialect::Python) {
        Ok(root) if root.is_object() => {
            let (call, reply) = import_record(old, root);
            Imported {
                call,
                reply,
                unreadable: None,
            }
        }
        Ok(_) => keep_text(old, "it is no JSON object".to_owned()),
        Err(error) => keep_text(old, format!("it is no JSON: {error}")),
    }
}

/// The metadata of a run, as Python wrote them; what is no JSON object counts as none.
#[must_use]
pub fn import_metadata(text: &[u8]) -> Json {
    let root = parse(text, Dialect::Python).ok();
    root.filter(|root| root.is_object())
        .map_or_else(Json::empty_object, |root| Json::trusted(strict_text(root)))
}

fn import_record(old: &OldTrace<'_>, root: Value<'_>) -> (Call, Reply) {
    let fields = Fields::new(root);
    let endpoint = fields.endpoint();
    let (meta, mut lost) = call_meta(old, &fields, endpoint);
    let call = Call {
        meta,
        request: match fields.raw_request {
            Some(request) => Bytes::copy_from_slice(strict_text(request).as_bytes()),
            None => bodies::request(root).into(),
        },
    };
    let (outcome, error) = fields.outcome(endpoint);
    let mut reply = Reply {
        meta: ReplyMeta {
            outcome,
            error,
            streamed: fields.raw_response.is_none(),
            latency_ms: fields.number("latency_ms").unwrap_or(0.0).max(0.0),
            ended: matches!(outcome, Outcome::Completed | Outcome::UpstreamError),
            notes: notes_of(old, &fields),
            attempts: 1,
            ..ReplyMeta::default()
        },
        body: match fields.raw_response {
            Some(response) => Bytes::copy_from_slice(response.text().as_bytes()),
            None => bodies::reply(endpoint, root).unwrap_or_default().into(),
        },
    };
    let differences = stated::differences(root, endpoint, &record(&call, &reply));
    reply.meta.stated = differences.stated;
    lost.extend(differences.lost);
    reply.meta.notes.extend(note_of_lost(&lost));
    // The columns are those of the record as it is read.
    let restated = record(&call, &reply);
    reply.meta.digest = Some(ReplyDigest {
        model: Some(restated.model),
        finish_reason: restated.finish_reason,
        ..ReplyDigest::default()
    });
    (call, reply)
}

/// What is left to do with a record that cannot be read: a failed call that has its text.
fn keep_text(old: &OldTrace<'_>, why: String) -> Imported {
    let empty = Fields::new(Value::of_valid("{}"));
    let (meta, lost) = call_meta(old, &empty, Endpoint::ChatCompletions);
    let reply_meta = ReplyMeta {
        outcome: Outcome::UpstreamError,
        error: Some(CallError::unreadable(format!(
            "the record of the Python gateway cannot be read: {why}"
        ))),
        notes: [IMPORTED.to_owned(), KEPT_TEXT.to_owned()]
            .into_iter()
            .chain(note_of_lost(&lost))
            .collect(),
        stated: Some(Json::trusted(r#"{"raw_request":null}"#)),
        ..ReplyMeta::default()
    };
    Imported {
        call: Call {
            meta,
            request: Bytes::from_static(b"{}"),
        },
        reply: Reply {
            meta: reply_meta,
            body: Bytes::copy_from_slice(old.record),
        },
        unreadable: Some(why),
    }
}

/// What decides how an old record is read.
struct Fields<'a> {
    root: Value<'a>,
    raw_request: Option<Value<'a>>,
    raw_response: Option<Value<'a>>,
}

impl<'a> Fields<'a> {
    fn new(root: Value<'a>) -> Self {
        let body = |key| root.get(key).filter(|value| value.is_object());
        Self {
            root,
            raw_request: body("raw_request"),
            raw_response: body("raw_response"),
        }
    }

    fn string(&self, key: &str) -> Option<String> {
        self.root
            .get(key)
            .and_then(string)
            .filter(|text| !text.is_empty())
    }

    fn number(&self, key: &str) -> Option<f64> {
        self.root.get(key)?.as_f64()
    }

    /// The database does not tell where a call went; its bodies do.
    fn endpoint(&self) -> Endpoint {
        let named = |key: &str| self.raw_response?.get(key)?.as_str();
        let asks = |key: &str| self.raw_request.and_then(|root| root.get(key)).is_some();
        let kind = named("object").or_else(|| named("type"));
        if self.string("span_type").as_deref() == Some("llm.embedding") {
            return Endpoint::Embeddings;
        }
        match kind.as_deref() {
            Some("text_completion") => Endpoint::Completions,
            Some("response") => Endpoint::Responses,
            Some("message") => Endpoint::Messages,
            Some("list") if asks("input") => Endpoint::Embeddings,
            _ if asks("messages") => Endpoint::ChatCompletions,
            _ if asks("prompt") => Endpoint::Completions,
            _ if asks("input") => Endpoint::Responses,
            _ => Endpoint::ChatCompletions,
        }
    }

    fn is_stream(&self) -> bool {
        let stream = self.raw_request.and_then(|root| root.get("stream"));
        stream.and_then(Value::as_bool) == Some(true)
    }

    /// Whether the old record holds anything of a reply.
    fn says_something(&self) -> bool {
        let message = self.root.get("response_message");
        let ids = self.root.get("completion_token_ids");
        message.is_some_and(|message| message.members().next().is_some())
            || ids.is_some_and(|ids| ids.elements().next().is_some())
    }

    /// The Python gateway recorded errors and broken streams like everything else.
    fn outcome(&self, endpoint: Endpoint) -> (Outcome, Option<CallError>) {
        let glance = self
            .raw_response
            .map(|root| (root, dialect::of(endpoint).glance(root)));
        let error = match glance {
            Some((root, glance)) if glance.is_error => Some(error_body::of_record(root)),
            _ if self.says_something() => None,
            Some((_, glance)) => glance.unreadable.map(CallError::unreadable),
            None => Some(CallError::unreadable("the old record holds no reply")),
        };
        if let Some(error) = error {
            return (Outcome::UpstreamError, Some(error));
        }
        let has_finish = self.root.get("finish_reason").is_some_and(Value::is_string);
        if self.raw_response.is_none() && self.is_stream() && !has_finish {
            let error = CallError::truncated("the stream ended without a finish_reason");
            return (Outcome::Truncated, Some(error));
        }
        (Outcome::Completed, None)
    }
}

/// What is known of a call, and the names and values that it cannot have here.
fn call_meta(
    old: &OldTrace<'_>,
    fields: &Fields<'_>,
    endpoint: Endpoint,
) -> (CallMeta, Vec<String>) {
    let arrived_at = fields.number("timestamp").unwrap_or(old.created_at);
    let mut meta = CallMeta::new(old.trace_id, endpoint, arrived_at);
    let integer = |key: &str| fields.root.get(key).and_then(Value::as_integral);
    let own = fields.string("session_id");
    let listed = old.session_ids;
    let session = own.filter(|own| listed.is_empty() || listed.contains(own));
    let session = session.or_else(|| listed.first().cloned().filter(|name| !name.is_empty()));
    meta.identity.session_id = session;
    meta.identity.run_id = old
        .run_id
        .map(str::to_owned)
        .filter(|name| !name.is_empty())
        .or_else(|| fields.string("run_id"));
    meta.identity.harness = fields.string("harness");
    meta.identity.step_id = integer("step_id");
    meta.identity.parent_span_id = fields.string("parent_span_id");
    meta.identity.project = fields.string("project");
    meta.identity.experiment = fields.string("experiment");
    meta.stream = fields.is_stream();
    meta.model = fields.string("model");
    meta.weight_version = integer("weight_version");
    let lost = keep_valid(&mut meta.identity);
    (meta, lost)
}

/// Reads the texts of an identity as those of a call are read: trimmed, and none that no request
/// could name again. Gives what that takes away.
fn keep_valid(identity: &mut Identity) -> Vec<String> {
    let mut lost = Vec::new();
    let texts = [
        (Field::SessionId, &mut identity.session_id),
        (Field::RunId, &mut identity.run_id),
        (Field::Harness, &mut identity.harness),
        (Field::ParentSpanId, &mut identity.parent_span_id),
        (Field::Project, &mut identity.project),
        (Field::Experiment, &mut identity.experiment),
    ];
    for (field, text) in texts {
        let Some(old) = text.take() else { continue };
        match field.check(old.trim()) {
            Ok(()) => *text = Some(old.trim().to_owned()).filter(|trimmed| !trimmed.is_empty()),
            Err(_) => lost.push(format!("{} {}", field.name(), quote(&old))),
        }
    }
    lost
}

fn note_of_lost(lost: &[String]) -> Option<String> {
    (!lost.is_empty()).then(|| format!("{}: {}", notes::NOT_CARRIED, lost.join(", ")))
}

fn notes_of(old: &OldTrace<'_>, fields: &Fields<'_>) -> Vec<String> {
    let mut notes = vec![IMPORTED.to_owned()];
    if fields.raw_request.is_none() {
        notes.push(NO_REQUEST.to_owned());
    }
    if let Some(request) = fields.raw_request
        && matches!(strict_text(request), Cow::Owned(_))
    {
        notes.push(NON_FINITE.to_owned());
    }
    if fields.raw_response.is_none() {
        notes.push(NO_REPLY.to_owned());
    }
    if old.session_ids.len() > 1 {
        let all: Vec<_> = old.session_ids.iter().map(|id| quote(id)).collect();
        notes.push(format!(
            "sessions that listed the trace: {}",
            all.join(", ")
        ));
    }
    notes
}
