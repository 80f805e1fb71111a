//! OpenAI embeddings, whose replies are vectors: a record holds them in its raw form alone.

use gateway_json::Value;

use super::choices::token_counts;
use super::completions::prompts;
use super::marks::Marks;
use super::{Assembler, Dialect, Glance, ReplyParts, RequestParts, glance_for_array, named_model};
use crate::notes::Notes;

pub(crate) struct Embeddings;

impl Dialect for Embeddings {
    fn read_request(&self, root: Value<'_>) -> RequestParts {
        RequestParts {
            prompt_token_ids: prompts(root.get("input")),
            ..RequestParts::default()
        }
    }

    fn glance(&self, root: Value<'_>) -> Glance {
        glance_for_array(root, "data", "the reply has no array of data")
    }

    fn read_reply(&self, root: Value<'_>, _: &RequestParts, _: &mut Notes) -> ReplyParts {
        ReplyParts {
            model: named_model(root),
            token_counts: token_counts(root),
            weight_version: root.get("weight_version").and_then(Value::as_integral),
            ..ReplyParts::default()
        }
    }

    /// No embeddings come in a stream; one that came all the same would have to end with `[DONE]`.
    fn assembler(&self, _: usize) -> Box<dyn Assembler> {
        Box::new(Marks::new(&[], "", ""))
    }
}
