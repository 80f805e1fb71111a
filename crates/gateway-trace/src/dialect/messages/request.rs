//! The messages of a request, in OpenAI's shape.

use gateway_json::{Member, Value};

use super::assistant::Assistant;
use crate::Json;

/// The system prompt and the messages of a request; none where it has neither.
///
/// Content that is nothing but text becomes one string, however it was sent, so that the marks that
/// clients move from turn to turn (`cache_control`) change nothing; other content becomes an array
/// of parts. Each tool result is a message of its own.
pub(super) fn messages(root: Value<'_>) -> Option<Json> {
    let system = root
        .get("system")
        .filter(|system| !system.is_null() && system.text() != "[]");
    let messages = root.get("messages").filter(|messages| messages.is_array());
    if system.is_none() && messages.is_none() {
        return None;
    }
    let length = messages.map_or(0, |messages| messages.text().len());
    let mut out = String::with_capacity(length + 64);
    out.push('[');
    if let Some(system) = system {
        open(&mut out);
        push_member(&mut out, "\"role\"", "\"system\"");
        push_key(&mut out, "\"content\"");
        if system.is_array() {
            let blocks: Vec<_> = system
                .elements()
                .filter(|block| !is_accounting(*block))
                .collect();
            push_blocks(&mut out, &blocks);
        } else {
            out.push_str(system.text());
        }
        out.push('}');
    }
    for message in messages.into_iter().flat_map(Value::elements) {
        if message.is_object() {
            push_message(&mut out, message);
        } else {
            open(&mut out);
            push_member(&mut out, "\"content\"", message.text());
            out.push('}');
        }
    }
    out.push(']');
    Some(Json::trusted(out))
}

/// Whether this is what Claude Code puts before its system prompt: no part of it, but accounting
/// that differs from call to call, so that no call would extend another. vLLM leaves it out, too.
fn is_accounting(block: Value<'_>) -> bool {
    text_of(block).is_some_and(|text| text.starts_with("x-anthropic-billing-header"))
}

fn push_message(out: &mut String, message: Value<'_>) {
    let role = message.get("role");
    let content = message.get("content");
    let blocks = content.filter(|content| content.is_array());
    let is_assistant = role.is_some_and(|role| role.text() == "\"assistant\"");
    if let Some(blocks) = blocks.filter(|_| is_assistant) {
        let mut assistant = Assistant::default();
        for block in blocks.elements() {
            assistant.take(block);
        }
        open(out);
        out.push_str(&assistant.members());
    } else {
        let is_result = |block: &Value<'_>| is_kind(*block, "tool_result");
        let blocks = blocks.into_iter().flat_map(Value::elements);
        let (results, rest): (Vec<_>, Vec<_>) = blocks.partition(is_result);
        for result in &results {
            push_result(out, *result);
        }
        if rest.is_empty() && !results.is_empty() {
            return;
        }
        open(out);
        if let Some(role) = role {
            push_member(out, "\"role\"", role.text());
        }
        if let Some(content) = content {
            push_key(out, "\"content\"");
            if results.is_empty() {
                push_content(out, content);
            } else {
                push_blocks(out, &rest);
            }
        }
    }
    push_members(out, message, |member| {
        !member.key.is("role") && !member.key.is("content")
    });
    out.push('}');
}

/// The result of a tool, as a message of that tool.
fn push_result(out: &mut String, result: Value<'_>) {
    open(out);
    push_member(out, "\"role\"", "\"tool\"");
    if let Some(id) = result.get("tool_use_id") {
        push_member(out, "\"tool_call_id\"", id.text());
    }
    push_key(out, "\"content\"");
    match result.get("content") {
        Some(content) => push_content(out, content),
        None => out.push_str("null"),
    }
    out.push('}');
}

/// Content that is a string, an array of blocks or something wrong.
fn push_content(out: &mut String, content: Value<'_>) {
    if content.is_array() {
        let blocks: Vec<_> = content.elements().collect();
        push_blocks(out, &blocks);
    } else {
        out.push_str(content.text());
    }
}

/// The text of all blocks, if they are nothing but text; else an array of parts.
fn push_blocks(out: &mut String, blocks: &[Value<'_>]) {
    if blocks.is_empty() {
        out.push_str("null");
        return;
    }
    let start = out.len();
    out.push('"');
    for block in blocks {
        let Some(text) = text_of(*block) else {
            out.truncate(start);
            push_parts(out, blocks);
            return;
        };
        out.push_str(text);
    }
    out.push('"');
}

fn push_parts(out: &mut String, blocks: &[Value<'_>]) {
    out.push('[');
    for block in blocks {
        if let Some(text) = text_of(*block) {
            open(out);
            out.push_str("\"type\":\"text\",\"text\":\"");
            out.push_str(text);
            out.push_str("\"}");
        } else if let Some(url) = image_url(*block) {
            open(out);
            out.push_str("\"type\":\"image_url\",\"image_url\":{\"url\":\"");
            out.push_str(&url);
            out.push_str("\"}}");
        } else if block.is_object() {
            open(out);
            push_members(out, *block, |member| !member.key.is("cache_control"));
            out.push('}');
        } else {
            separate(out);
            out.push_str(block.text());
        }
    }
    out.push(']');
}

/// The escaped text of a text block.
fn text_of(block: Value<'_>) -> Option<&str> {
    if !is_kind(block, "text") {
        return None;
    }
    block.get("text")?.string_text()
}

/// The escaped URL of an image block: where the image is, or the image itself.
fn image_url(block: Value<'_>) -> Option<String> {
    if !is_kind(block, "image") {
        return None;
    }
    let source = block.get("source")?;
    let member = |key: &str| source.get(key)?.string_text();
    if is_kind(source, "url") {
        return member("url").map(str::to_owned);
    }
    if !is_kind(source, "base64") {
        return None;
    }
    Some(format!(
        "data:{};base64,{}",
        member("media_type")?,
        member("data")?
    ))
}

fn is_kind(value: Value<'_>, kind: &str) -> bool {
    let own = value.get("type").and_then(Value::as_str_lossy);
    own.is_some_and(|own| own == kind)
}

/// Opens the next object of an array.
fn open(out: &mut String) {
    separate(out);
    out.push('{');
}

/// A comma, unless this is the first element of its array.
fn separate(out: &mut String) {
    if !out.ends_with('[') {
        out.push(',');
    }
}

/// The key of the next member of an object.
fn push_key(out: &mut String, literal: &str) {
    if !out.ends_with('{') {
        out.push(',');
    }
    out.push_str(literal);
    out.push(':');
}

fn push_member(out: &mut String, literal: &str, value: &str) {
    push_key(out, literal);
    out.push_str(value);
}

/// The members of an object that are wanted, as they stand.
fn push_members(out: &mut String, object: Value<'_>, wanted: impl Fn(&Member<'_>) -> bool) {
    for member in object.members().filter(wanted) {
        push_member(out, member.key.literal(), member.value.text());
    }
}
