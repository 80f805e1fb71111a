//! OpenAI completions.

use gateway_json::Value;

use super::choices::{self, Shape};
use super::{Assembler, Dialect, Glance, ReplyParts, RequestParts};
use crate::assemble::ChoicesAssembler;
use crate::notes::Notes;

pub(crate) struct Completions;

impl Dialect for Completions {
    fn read_request(&self, root: Value<'_>) -> RequestParts {
        RequestParts {
            messages: None,
            prompt_token_ids: prompts(root.get("prompt")),
            n: choices::for_each_prompt(root.get("n")),
            echo: root.get("echo").and_then(Value::as_bool).unwrap_or(false),
        }
    }

    fn glance(&self, root: Value<'_>) -> Glance {
        choices::glance(Shape::Completions, root)
    }

    fn read_reply(&self, root: Value<'_>, request: &RequestParts, notes: &mut Notes) -> ReplyParts {
        choices::read_reply(Shape::Completions, root, request, notes)
    }

    fn assembler(&self, max_bytes: usize) -> Box<dyn Assembler> {
        Box::new(ChoicesAssembler::new(Shape::Completions, max_bytes))
    }
}

/// How many prompts a request gives: one, unless it is an array of texts or of arrays of ids.
pub(super) fn count_prompts(prompt: Option<Value<'_>>) -> usize {
    let prompts = prompt.into_iter().flat_map(Value::elements);
    prompts
        .take_while(|prompt| prompt.is_string() || prompt.is_array())
        .count()
        .max(1)
}

/// The token ids of each prompt, where the request gives its prompts as ids: one array of them, or
/// an array of such arrays.
pub(super) fn prompts(prompt: Option<Value<'_>>) -> Vec<Vec<i64>> {
    let ids = |prompt: Value<'_>| {
        prompt
            .elements()
            .map(Value::as_integral)
            .collect::<Option<Vec<i64>>>()
    };
    let Some(prompt) = prompt.filter(|prompt| prompt.is_array()) else {
        return Vec::new();
    };
    match prompt.elements().next() {
        None => Vec::new(),
        Some(first) if first.is_array() => {
            // A prompt that is no array of ids leaves its place empty, so that the others keep theirs.
            prompt
                .elements()
                .map(|prompt| ids(prompt).unwrap_or_default())
                .collect()
        }
        Some(_) => ids(prompt).into_iter().collect(),
    }
}
