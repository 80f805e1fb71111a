//! OpenAI chat completions, as vLLM, SGLang and many others speak them too.

use gateway_json::Value;

use super::choices::{self, Shape};
use super::{Assembler, Dialect, Glance, ReplyParts, RequestParts};
use crate::Json;
use crate::assemble::ChoicesAssembler;
use crate::notes::Notes;

pub(crate) struct Chat;

impl Dialect for Chat {
    fn read_request(&self, root: Value<'_>) -> RequestParts {
        RequestParts {
            messages: messages(root),
            n: choices::for_each_prompt(root.get("n")),
            ..RequestParts::default()
        }
    }

    fn glance(&self, root: Value<'_>) -> Glance {
        choices::glance(Shape::Chat, root)
    }

    fn read_reply(&self, root: Value<'_>, request: &RequestParts, notes: &mut Notes) -> ReplyParts {
        choices::read_reply(Shape::Chat, root, request, notes)
    }

    fn assembler(&self, max_bytes: usize) -> Box<dyn Assembler> {
        Box::new(ChoicesAssembler::new(Shape::Chat, max_bytes))
    }
}

/// The request's messages, made an array of objects.
pub(super) fn messages(root: Value<'_>) -> Option<Json> {
    let messages = root
        .get("messages")
        .filter(|messages| messages.is_array())?;
    if messages.elements().all(Value::is_object) {
        return Some(Json::trusted(messages.text()));
    }
    let mut text = String::with_capacity(messages.text().len() + 64);
    text.push('[');
    for message in messages.elements() {
        if text.len() > 1 {
            text.push(',');
        }
        if message.is_object() {
            text.push_str(message.text());
        } else {
            text.push_str("{\"content\":");
            text.push_str(message.text());
            text.push('}');
        }
    }
    text.push(']');
    Some(Json::trusted(text))
}
