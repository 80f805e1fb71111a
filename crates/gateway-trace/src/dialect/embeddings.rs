//! OpenAI embeddings, whose replies are vectors: a record holds them in its raw form alone.

use gateway_json::Value;

use super::choices::token_counts;
use super::completions::prompts;
use super::{
    Assembler, Dialect, Glance, ReplyParts, RequestParts, Step, glance_for_array, named_model,
};
use crate::notes::Notes;
use crate::{ReplyDigest, error_body};

pub(crate) struct Embeddings;

impl Dialect for Embeddings {
    fn read_request(&self, root: Value<'_>) -> RequestParts {
        RequestParts {
            prompt_token_ids: prompts(root.get("input")),
            ..RequestParts::default()
        }
    }

    fn glance(&self, root: Value<'_>) -> Glance {
        let mut glance = glance_for_array(root, "data", "the reply has no array of data");
        glance.digest.count(token_counts(root));
        glance
    }

    fn read_reply(&self, root: Value<'_>, _: &RequestParts, _: &mut Notes) -> ReplyParts {
        ReplyParts {
            model: named_model(root),
            token_counts: token_counts(root),
            weight_version: root.get("weight_version").and_then(Value::as_integral),
            ..ReplyParts::default()
        }
    }

    fn assembler(&self, _: usize) -> Box<dyn Assembler> {
        Box::new(NoStream::default())
    }
}

/// No embeddings come in a stream. Of one that came all the same nothing is kept; `[DONE]` and
/// errors would end it.
#[derive(Debug, Default)]
struct NoStream {
    notes: Notes,
}

impl Assembler for NoStream {
    fn event(&mut self, name: Option<&[u8]>, data: &[u8], root: Option<Value<'_>>) -> Step {
        if name == Some(b"error") || root.is_some_and(error_body::is_error) {
            Step::Error(error_body::of_event(root, data))
        } else {
            Step::Data
        }
    }

    fn settled(&self, _: usize) -> bool {
        false
    }

    fn assembled(&self) -> Option<String> {
        None
    }

    fn unreadable(&self) -> Option<&'static str> {
        None
    }

    fn digest(&self) -> ReplyDigest {
        ReplyDigest::default()
    }

    fn notes(&self) -> &Notes {
        &self.notes
    }
}
