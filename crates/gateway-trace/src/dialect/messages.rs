//! Anthropic messages. Records of it hold the bodies as they are and how the call ended.

use gateway_json::Value;

use super::marks::Marks;
use super::{
    Assembler, Dialect, Glance, ReplyParts, RequestParts, chat, glance_for_array, named_model,
};
use crate::notes::Notes;

pub(crate) struct Messages;

impl Dialect for Messages {
    fn read_request(&self, root: Value<'_>) -> RequestParts {
        RequestParts {
            messages: chat::messages(root),
            ..RequestParts::default()
        }
    }

    fn glance(&self, root: Value<'_>) -> Glance {
        glance_for_array(root, "content", "the reply has no array of content blocks")
    }

    fn read_reply(&self, root: Value<'_>, _: &RequestParts, _: &mut Notes) -> ReplyParts {
        ReplyParts {
            model: named_model(root),
            ..ReplyParts::default()
        }
    }

    fn assembler(&self, _: usize) -> Box<dyn Assembler> {
        Box::new(Marks::new(&["message_stop"], "", "message_delta"))
    }
}
