//! OpenAI responses. Records of it hold the bodies as they are and how the call ended.

use gateway_json::Value;

use super::marks::Marks;
use super::{Assembler, Dialect, ReplyParts, RequestParts, named_model};
use crate::ReplyDigest;
use crate::notes::Notes;

pub(crate) struct Responses;

impl Dialect for Responses {
    fn read_request(&self, _: Value<'_>) -> RequestParts {
        RequestParts::default()
    }

    fn unreadable(&self, root: Value<'_>) -> Option<&'static str> {
        let readable = root.get("output").is_some_and(Value::is_array);
        (!readable).then_some("the reply has no array of output items")
    }

    fn read_reply(&self, root: Value<'_>, _: &RequestParts, _: &mut Notes) -> ReplyParts {
        ReplyParts {
            model: named_model(root),
            ..ReplyParts::default()
        }
    }

    fn digest(&self, root: Value<'_>) -> ReplyDigest {
        ReplyDigest {
            model: named_model(root),
            finish_reason: None,
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
