//! Items of a conversation as OpenAI's chat API has them: messages.
//!
//! What a model says in one go is several items here, and one message there. The items of a
//! reply's `output` make the same message as they do when a client sends them back in `input`:
//! only so can a call be recognised as the continuation of an earlier one.

use std::borrow::Cow;

use gateway_json::{Value, strict_text};

use crate::Json;

/// The messages of a request: its `instructions`, then its `input`. None if it has neither.
pub(super) fn of_request(root: Value<'_>) -> Option<Json> {
    let instructions = root
        .get("instructions")
        .filter(|instructions| !instructions.is_null());
    let input = root
        .get("input")
        .filter(|input| input.is_string() || input.is_array());
    if instructions.is_none() && input.is_none() {
        return None;
    }
    let mut messages = Messages::default();
    if let Some(instructions) = instructions {
        messages.push(&message("\"system\"", &content(Some(instructions))));
    }
    match input {
        Some(input) if input.is_string() => messages.push(&message("\"user\"", input.text())),
        Some(input) => input.elements().for_each(|item| messages.item(item)),
        None => {}
    }
    Some(messages.finish())
}

/// The message that the items of a reply's `output` make; `{}` if none of them says anything.
pub(super) fn of_output(output: Value<'_>) -> Json {
    let mut turn = Turn::default();
    for item in output.elements() {
        turn.take(item);
    }
    if turn.begun {
        Json::trusted(turn.message())
    } else {
        Json::empty_object()
    }
}

/// Whether an item is a call that waits for the client's answer.
pub(super) fn is_call(item: Value<'_>) -> bool {
    matches!(&*kind(item), "function_call" | "custom_tool_call")
}

/// The messages of a request, as they are put together.
#[derive(Default)]
struct Messages<'a> {
    /// The messages, with commas between them.
    list: String,
    /// What the assistant says at this point.
    turn: Turn<'a>,
    /// What came in the midst of that and is no part of it.
    aside: Vec<&'a str>,
}

impl<'a> Messages<'a> {
    fn item(&mut self, item: Value<'a>) {
        if !item.is_object() {
            self.end_turn();
            self.push(&format!("{{\"content\":{}}}", item.text()));
            return;
        }
        let kind = kind(item);
        let role = item.get("role").filter(|role| role.is_string());
        match (&*kind, role) {
            ("message", Some(role)) if role.text() != "\"assistant\"" => {
                self.end_turn();
                self.push(&message(role.text(), &content(item.get("content"))));
            }
            ("message", Some(_)) | ("reasoning" | "function_call" | "custom_tool_call", _) => {
                self.turn.take(item);
            }
            ("function_call_output" | "custom_tool_call_output", _) => {
                self.end_turn();
                self.push(&tool_message(item));
            }
            _ => {
                if is_answer(&kind, item) {
                    self.end_turn();
                }
                if self.turn.begun {
                    self.aside.push(item.text());
                } else {
                    self.push(item.text());
                }
            }
        }
    }

    fn end_turn(&mut self) {
        let turn = std::mem::take(&mut self.turn);
        if turn.begun {
            self.push(&turn.message());
        }
        for aside in std::mem::take(&mut self.aside) {
            self.push(aside);
        }
    }

    fn push(&mut self, message: &str) {
        push_element(&mut self.list, message);
    }

    fn finish(mut self) -> Json {
        self.end_turn();
        Json::trusted(format!("[{}]", self.list))
    }
}

/// Whether an item is a client's answer to a call of a built-in tool. What a server's own tool
/// gave stands among the assistant's items, and has an id.
fn is_answer(kind: &str, item: Value<'_>) -> bool {
    (kind.ends_with("_output") || kind.ends_with("_response"))
        && !item.get("id").is_some_and(Value::is_string)
}

/// One message of the assistant, as its items come.
#[derive(Default)]
struct Turn<'a> {
    begun: bool,
    /// The contents of its messages.
    contents: Vec<Value<'a>>,
    /// Escaped text.
    refusal: Option<String>,
    /// Escaped text.
    reasoning: String,
    /// The tool calls, with commas between them.
    calls: String,
}

impl<'a> Turn<'a> {
    /// Takes the next item, whose role, if it is a message, is not looked at. Items that are no
    /// part of a message are passed over.
    fn take(&mut self, item: Value<'a>) {
        match &*kind(item) {
            "message" => self.take_content(item.get("content")),
            "reasoning" => self.take_reasoning(item),
            "function_call" => self.take_call(item, "function", "arguments"),
            "custom_tool_call" => self.take_call(item, "custom", "input"),
            _ => return,
        }
        self.begun = true;
    }

    fn take_content(&mut self, content: Option<Value<'a>>) {
        let Some(content) = content.filter(|content| !content.is_null()) else {
            return;
        };
        for text in content.elements().filter_map(refusal) {
            self.refusal.get_or_insert_default().push_str(text);
        }
        self.contents.push(content);
    }

    /// What was thought, where the upstream shows it, else the summary of it.
    fn take_reasoning(&mut self, item: Value<'a>) {
        let texts = |name: &str| {
            let list = item.get(name).into_iter().flat_map(Value::elements);
            list.filter_map(|part| part.get("text")?.string_text())
                .filter(|text| !text.is_empty())
        };
        let name = match texts("content").next() {
            Some(_) => "content",
            None => "summary",
        };
        for text in texts(name) {
            if !self.reasoning.is_empty() {
                self.reasoning.push_str("\\n\\n");
            }
            self.reasoning.push_str(text);
        }
    }

    /// A call as chat completions have it; members that are missing or null are left out.
    fn take_call(&mut self, item: Value<'_>, kind: &str, given: &str) {
        let mut call = String::from("{");
        if let Some(id) = present(item, "call_id").or_else(|| present(item, "id")) {
            call.push_str(&format!("\"id\":{},", strict_text(id)));
        }
        call.push_str(&format!("\"type\":\"{kind}\",\"{kind}\":{{"));
        let mut comma = "";
        for name in ["name", given] {
            if let Some(value) = present(item, name) {
                call.push_str(&format!("{comma}\"{name}\":{}", strict_text(value)));
                comma = ",";
            }
        }
        call.push_str("}}");
        push_element(&mut self.calls, &call);
    }

    fn message(&self) -> String {
        let parts = self.contents.iter().flat_map(|content| parts(*content));
        let content = content_of(parts.filter(|part| refusal(*part).is_none()));
        let mut out = format!(
            "{{\"role\":\"assistant\",\"content\":{}",
            content.as_deref().unwrap_or("null")
        );
        if let Some(refusal) = &self.refusal {
            out.push_str(&format!(",\"refusal\":\"{refusal}\""));
        }
        if !self.reasoning.is_empty() {
            out.push_str(&format!(",\"reasoning_content\":\"{}\"", self.reasoning));
        }
        if !self.calls.is_empty() {
            out.push_str(&format!(",\"tool_calls\":[{}]", self.calls));
        }
        out.push('}');
        out
    }
}

/// The parts of a content: those of an array, else the content itself.
fn parts(content: Value<'_>) -> impl Iterator<Item = Value<'_>> + Clone {
    let alone = (!content.is_array()).then_some(content);
    content.elements().chain(alone)
}

/// The escaped text of a part, if it is one of text.
fn text(part: Value<'_>) -> Option<&str> {
    match part.get("type").and_then(Value::as_str).as_deref() {
        Some("input_text" | "output_text" | "text") => part.get("text")?.string_text(),
        Some(_) => None,
        None => part.string_text(),
    }
}

/// The escaped text of a part, if it is a refusal.
fn refusal(part: Value<'_>) -> Option<&str> {
    let kind = part.get("type")?;
    (kind.text() == "\"refusal\"").then(|| part.get("refusal")?.string_text())?
}

/// An image by its reference, which may be a data URL, as chat completions have it.
fn image(part: Value<'_>) -> Option<String> {
    if part.get("type")?.text() != "\"input_image\"" {
        return None;
    }
    let url = present(part, "image_url");
    let mut members = match url {
        Some(url) if url.is_string() => format!("\"url\":{}", url.text()),
        Some(_) => return None,
        None => format!("\"file_id\":{}", strict_text(present(part, "file_id")?)),
    };
    if let Some(detail) = present(part, "detail") {
        members.push_str(&format!(",\"detail\":{}", strict_text(detail)));
    }
    Some(format!(
        "{{\"type\":\"image_url\",\"image_url\":{{{members}}}}}"
    ))
}

/// The content that parts make: one string if they are all text, else an array; none if there are
/// none.
fn content_of<'a>(parts: impl Iterator<Item = Value<'a>> + Clone) -> Option<String> {
    let mut joined = None;
    let all_text = parts.clone().all(|part| match text(part) {
        Some(text) => {
            joined.get_or_insert_with(String::new).push_str(text);
            true
        }
        None => false,
    });
    if all_text {
        return joined.map(|text| format!("\"{text}\""));
    }
    let mut list = String::new();
    for part in parts {
        if let Some(text) = text(part) {
            push_element(
                &mut list,
                &format!("{{\"type\":\"text\",\"text\":\"{text}\"}}"),
            );
        } else if let Some(image) = image(part) {
            push_element(&mut list, &image);
        } else {
            push_element(&mut list, &strict_text(part));
        }
    }
    Some(format!("[{list}]"))
}

/// The content of a message that is not the assistant's, or of a tool's answer. What is neither
/// text nor parts stays as it is.
fn content(content: Option<Value<'_>>) -> String {
    match content {
        Some(array) if array.is_array() => {
            content_of(parts(array)).unwrap_or_else(|| "[]".to_owned())
        }
        Some(content) => content.text().to_owned(),
        None => "null".to_owned(),
    }
}

fn message(role: &str, content: &str) -> String {
    format!("{{\"role\":{role},\"content\":{content}}}")
}

fn tool_message(item: Value<'_>) -> String {
    let id = present(item, "call_id")
        .map(|id| format!("\"tool_call_id\":{},", id.text()))
        .unwrap_or_default();
    let content = content(item.get("output"));
    format!("{{\"role\":\"tool\",{id}\"content\":{content}}}")
}

/// What an item is. Messages may leave out their type.
fn kind(item: Value<'_>) -> Cow<'_, str> {
    match item.get("type").and_then(Value::as_str) {
        Some(kind) => kind,
        None if item.get("role").is_some() => Cow::Borrowed("message"),
        None => Cow::Borrowed(""),
    }
}

/// A member that is there and is not null.
fn present<'a>(item: Value<'a>, name: &str) -> Option<Value<'a>> {
    item.get(name).filter(|value| !value.is_null())
}

fn push_element(list: &mut String, element: &str) {
    if !list.is_empty() {
        list.push(',');
    }
    list.push_str(element);
}
