//! OpenAI responses. Records of it hold the bodies as they are and how the call ended.

use gateway_json::Value;

use super::marks::Marks;
use super::{Assembler, Dialect, Glance, ReplyParts, RequestParts, glance_for_array, named_model};
use crate::notes::Notes;

pub(crate) struct Responses;

impl Dialect for Responses {
    fn read_request(&self, _: Value<'_>) -> RequestParts {
        RequestParts::default()
    }

    fn glance(&self, root: Value<'_>) -> Glance {
        glance_for_array(root, "output", "the reply has no array of output items")
    }

    fn read_reply(&self, root: Value<'_>, _: &RequestParts, _: &mut Notes) -> ReplyParts {
        ReplyParts {
            model: named_model(root),
            ..ReplyParts::default()
        }
    }

    fn assembler(&self, _: usize) -> Box<dyn Assembler> {
        Box::new(Marks::new(
            &["response.completed", "response.incomplete"],
            "response.failed",
            "",
        ))
    }
}
