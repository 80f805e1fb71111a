//! OpenAI embeddings. Records of it hold the bodies as they are and how the call ended.

use gateway_json::Value;

use super::marks::Marks;
use super::{Assembler, Dialect, Glance, ReplyParts, RequestParts, glance_for_array, named_model};
use crate::notes::Notes;

pub(crate) struct Embeddings;

impl Dialect for Embeddings {
    fn read_request(&self, _: Value<'_>) -> RequestParts {
        RequestParts::default()
    }

    fn glance(&self, root: Value<'_>) -> Glance {
        glance_for_array(root, "data", "the reply has no array of data")
    }

    fn read_reply(&self, root: Value<'_>, _: &RequestParts, _: &mut Notes) -> ReplyParts {
        ReplyParts {
            model: named_model(root),
            ..ReplyParts::default()
        }
    }

    /// No embeddings come in a stream; one that came all the same would have to end with `[DONE]`.
    fn assembler(&self, _: usize) -> Box<dyn Assembler> {
        Box::new(Marks::new(&[], "", ""))
    }
}
