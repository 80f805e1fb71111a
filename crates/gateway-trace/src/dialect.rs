//! The dialects: what requests, replies and streams of each API look like.
//!
//! A new one is a module with an implementation of [`Dialect`] and a line in [`of`].

use std::fmt;

use gateway_json::Value;

use crate::notes::Notes;
use crate::{CallError, ChoiceRecord, Endpoint, Json, ReplyDigest, TokenCounts, error_body};

mod chat;
pub(crate) mod choices;
mod completions;
mod embeddings;
pub(crate) mod messages;
pub(crate) mod responses;

/// The dialect of an endpoint.
pub(crate) fn of(endpoint: Endpoint) -> &'static dyn Dialect {
    match endpoint {
        Endpoint::ChatCompletions => &chat::Chat,
        Endpoint::Completions => &completions::Completions,
        Endpoint::Responses => &responses::Responses,
        Endpoint::Messages => &messages::Messages,
        Endpoint::Embeddings => &embeddings::Embeddings,
    }
}

/// How many choices a request asks for that has this `n` and this `prompt`, if it has them.
#[must_use]
pub fn choices_asked(endpoint: Endpoint, n: Option<Value<'_>>, prompt: Option<Value<'_>>) -> usize {
    match endpoint {
        Endpoint::ChatCompletions => choices::for_each_prompt(n),
        Endpoint::Completions => {
            choices::for_each_prompt(n).saturating_mul(completions::count_prompts(prompt))
        }
        _ => 1,
    }
}

/// The model that a reply or a request names.
pub(crate) fn named_model(root: Value<'_>) -> Option<String> {
    string(root.get("model")?)
}

/// The characters of a string.
pub(crate) fn string(value: Value<'_>) -> Option<String> {
    Some(value.as_str_lossy()?.into_owned())
}

/// What requests, replies and streams of one API look like. Roots are objects.
pub(crate) trait Dialect: Sync {
    /// Reads what is this dialect's own in a request.
    fn read_request(&self, root: Value<'_>) -> RequestParts;

    /// Takes in one pass what must be known of a whole reply when it has ended.
    fn glance(&self, root: Value<'_>) -> Glance;

    /// Reads a whole reply, as the upstream sent it or as it was assembled.
    fn read_reply(&self, root: Value<'_>, request: &RequestParts, notes: &mut Notes) -> ReplyParts;

    /// An assembler for a stream that keeps at most `max_bytes` of it.
    fn assembler(&self, max_bytes: usize) -> Box<dyn Assembler>;
}

/// What a dialect reads of a request.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct RequestParts {
    /// The messages; none where the request has none of its own kind.
    pub(crate) messages: Option<Json>,
    /// The token ids of each prompt, where the request gave them.
    pub(crate) prompt_token_ids: Vec<Vec<i64>>,
    /// How many choices were asked for each prompt.
    pub(crate) n: usize,
    /// The prompt's tokens come again before those of the completion.
    pub(crate) echo: bool,
}

impl RequestParts {
    /// The prompt of a choice, where the request gave its ids: the choices of several prompts come
    /// in the order of the prompts, `n` for each.
    pub(crate) fn prompt_of(&self, index: i64) -> Option<&[i64]> {
        let prompt = usize::try_from(index).ok()? / self.n.max(1);
        self.prompt_token_ids.get(prompt).map(Vec::as_slice)
    }
}

/// What must be known of a whole reply when it has ended.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Glance {
    /// The reply is an error, whatever its status.
    pub(crate) is_error: bool,
    /// Why no message can be read from it, if none can.
    pub(crate) unreadable: Option<&'static str>,
    /// The same as [`Dialect::read_reply`] says.
    pub(crate) digest: ReplyDigest,
}

/// Of a dialect whose replies can be read if they have an array of this name.
pub(crate) fn glance_for_array(root: Value<'_>, name: &str, unreadable: &'static str) -> Glance {
    let mut glance = Glance {
        unreadable: Some(unreadable),
        ..Glance::default()
    };
    for member in root.members() {
        let key = member.key.to_cow();
        glance.is_error |= error_body::is_error_member(&key, member.value);
        if key == "model" {
            glance.digest.model = string(member.value);
        } else if key == name {
            glance.unreadable = (!member.value.is_array()).then_some(unreadable);
        }
    }
    glance
}

/// What a dialect reads of a whole reply.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct ReplyParts {
    pub(crate) model: Option<String>,
    /// The prompt's token ids that hold for every choice without its own.
    pub(crate) prompt_token_ids: Option<Vec<i64>>,
    /// In the order of their indexes.
    pub(crate) choices: Vec<ChoiceRecord>,
    pub(crate) token_counts: TokenCounts,
    pub(crate) weight_version: Option<i64>,
}

/// Puts the events of a stream together.
pub(crate) trait Assembler: Send + fmt::Debug {
    /// Takes the next event with data, of which `root` is the root object, if they are one; what
    /// is noteworthy goes into [`Assembler::notes`].
    fn event(&mut self, name: Option<&[u8]>, data: &[u8], root: Option<Value<'_>>) -> Step;

    /// Whether all that was asked for has been finished, though no end mark has come. So many
    /// `choices` were asked for, where there are choices.
    fn settled(&self, choices: usize) -> bool;

    /// The whole reply in the upstream's own dialect; none if nothing came, or if this dialect
    /// does not assemble.
    fn assembled(&self) -> Option<String>;

    /// Why no message can be read from what came, if none can.
    fn unreadable(&self) -> Option<&'static str>;

    /// The digest of what came; the same as [`Dialect::glance`] at the assembled reply.
    fn digest(&self) -> ReplyDigest;

    /// What could not be read.
    fn notes(&self) -> &Notes;
}

/// What an event means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    Data,
    EndMark,
    Error(CallError),
}
