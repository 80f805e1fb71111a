//! Short names of what a call says, so that a store can find the calls that it belongs to.

use gateway_json::{Dialect, Edits, Value, parse};
use gateway_metadata::{Identity, strip_body};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::{Call, Json, SpanType, dialect};

/// Names for what a call says: equal where it is the same, and else different, but for chance
/// (2⁻⁶⁴). They hold within a session and run, and stay the same across versions, because stores
/// keep them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CallKeys {
    /// The session, the run, the endpoint and the body without rLLM's keys: a call that repeats
    /// another has the same.
    pub request: u64,
    /// The messages; none for a call that has none, and for embeddings.
    pub line: Option<LineKeys>,
}

/// Names for the messages of a call and for their beginnings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineKeys {
    /// All messages.
    pub own: u64,
    /// Each beginning of the messages that an assistant message follows, the longest first: the
    /// `own` of the calls that this one may extend.
    pub beginnings: Vec<u64>,
}

/// The keys of a call. Without a session it has none: nothing is looked for outside of one.
#[must_use]
pub fn keys(call: &Call) -> Option<CallKeys> {
    let identity = &call.meta.identity;
    identity.session_id.as_ref()?;
    let seed = seed(identity);
    let root = parse(&call.request, Dialect::Strict)
        .ok()
        .filter(|root| root.is_object());
    let endpoint = call.meta.endpoint;
    Some(CallKeys {
        request: request_key(
            root,
            &call.request,
            xxh3_64_with_seed(endpoint.as_str().as_bytes(), seed),
        ),
        line: root
            .filter(|_| endpoint.span_type() == SpanType::Llm)
            .and_then(|root| dialect::of(endpoint).read_request(root).messages)
            .and_then(|messages| line_keys(&messages, seed)),
    })
}

/// What the keys of a session and run begin with.
pub(super) fn seed(identity: &Identity) -> u64 {
    let names = [&identity.session_id, &identity.run_id];
    names.into_iter().fold(0, |seed, name| {
        xxh3_64_with_seed(name.as_deref().unwrap_or_default().as_bytes(), seed)
    })
}

fn request_key(root: Option<Value<'_>>, body: &[u8], seed: u64) -> u64 {
    let Some(root) = root else {
        return xxh3_64_with_seed(body, seed);
    };
    let mut edits = Edits::new(root);
    strip_body(&mut edits, root);
    match edits.apply() {
        Some(stripped) => xxh3_64_with_seed(stripped.as_bytes(), seed),
        None => xxh3_64_with_seed(root.text().as_bytes(), seed),
    }
}

fn line_keys(messages: &Json, seed: u64) -> Option<LineKeys> {
    let mut messages = messages.walk().elements();
    let mut own = extended(seed, messages.next()?);
    let mut beginnings = Vec::new();
    for message in messages {
        if is_assistant(message) {
            beginnings.push(own);
        }
        own = extended(own, message);
    }
    beginnings.reverse();
    Some(LineKeys { own, beginnings })
}

/// The key of a beginning and the message after it.
pub(super) fn extended(key: u64, message: Value<'_>) -> u64 {
    xxh3_64_with_seed(message.text().as_bytes(), key)
}

/// Whether a message is the assistant's.
pub(super) fn is_assistant(message: Value<'_>) -> bool {
    message
        .members()
        .filter(|member| member.key.is("role"))
        .last()
        .is_some_and(|role| role.value.text() == "\"assistant\"")
}
