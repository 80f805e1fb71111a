//! An assistant's message in OpenAI's shape, from content blocks: of a reply, and of a request that
//! sends a reply back, so that both give the same message.

use std::borrow::Cow;

use gateway_json::{Value, push_quoted, quote, strict_text};

use crate::notes;

/// What the content blocks of an assistant say.
#[derive(Debug, Default)]
pub(super) struct Assistant {
    /// The escaped text of all text blocks, if there is one.
    text: Option<String>,
    /// The escaped text of all thinking.
    reasoning: String,
    /// The tool calls, with commas between them.
    calls: String,
}

impl Assistant {
    /// Takes the next block, and says what is noteworthy of it. What OpenAI's shape has no place
    /// for (redacted thinking, the server's own tools and their results, kinds that are not known)
    /// stays in the raw body.
    pub(super) fn take(&mut self, block: Value<'_>) -> Option<&'static str> {
        let text_of = |key: &str| block.get(key).and_then(Value::string_text);
        match block.get("type").and_then(Value::as_str_lossy).as_deref() {
            Some("text") => match text_of("text") {
                Some(text) => self.text.get_or_insert_default().push_str(text),
                None => return Some(notes::UNREADABLE_BLOCK),
            },
            Some("thinking") => match text_of("thinking") {
                Some(thinking) => self.reasoning.push_str(thinking),
                None => return Some(notes::UNREADABLE_BLOCK),
            },
            Some("tool_use") => {
                let input = block.get("input").filter(|input| !input.is_null());
                self.call(block, input);
                if input.is_some_and(|input| !input.is_object()) {
                    return Some(notes::UNREADABLE_INPUT);
                }
            }
            _ if !block.is_object() => return Some(notes::UNREADABLE_BLOCK),
            _ => {}
        }
        None
    }

    fn call(&mut self, block: Value<'_>, input: Option<Value<'_>>) {
        let calls = &mut self.calls;
        calls.push_str(if calls.is_empty() { "{" } else { ",{" });
        if let Some(id) = block.get("id") {
            calls.push_str("\"id\":");
            calls.push_str(&strict_text(id));
            calls.push(',');
        }
        calls.push_str("\"type\":\"function\",\"function\":{");
        if let Some(name) = block.get("name") {
            calls.push_str("\"name\":");
            calls.push_str(&strict_text(name));
            calls.push(',');
        }
        calls.push_str("\"arguments\":");
        match input {
            // The text of an input that is no JSON, as a stream that broke off leaves it.
            Some(input) if input.is_string() => calls.push_str(input.text()),
            Some(input) => push_quoted(calls, &plain(&strict_text(input))),
            None => calls.push_str("\"{}\""),
        }
        calls.push_str("}}");
    }

    /// The members of the message, with commas between them.
    pub(super) fn members(&self) -> String {
        let mut out = String::from("\"role\":\"assistant\",\"content\":");
        match &self.text {
            Some(text) => {
                out.push('"');
                out.push_str(text);
                out.push('"');
            }
            None => out.push_str("null"),
        }
        if !self.reasoning.is_empty() {
            out.push_str(",\"reasoning_content\":\"");
            out.push_str(&self.reasoning);
            out.push('"');
        }
        if !self.calls.is_empty() {
            out.push_str(",\"tool_calls\":[");
            out.push_str(&self.calls);
            out.push(']');
        }
        out
    }
}

/// A JSON text without white space around its tokens and with its strings in one spelling. A
/// stream brings an input as the model wrote it, a whole reply and a client's echo bring it as
/// somebody wrote it again: the arguments must be the same.
fn plain(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    let mut rest = json;
    while let Some(at) = rest.find(['"', ' ', '\t', '\n', '\r']) {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let length = if rest.starts_with('"') {
            let length = string_length(rest);
            out.push_str(&respelled(&rest[..length]));
            length
        } else {
            1
        };
        rest = &rest[length..];
    }
    out.push_str(rest);
    out
}

/// The length of the string literal at the start of a text.
fn string_length(text: &str) -> usize {
    let mut at = 1;
    while let Some(next) = text[at..].find(['"', '\\']) {
        at += next;
        if text.as_bytes()[at] == b'"' {
            return at + 1;
        }
        // What an escape needs to be known for is its first character alone, which is ASCII.
        at += 2;
    }
    text.len()
}

/// A string literal with no more escapes than it needs; as it is, if no text can hold it.
fn respelled(literal: &str) -> Cow<'_, str> {
    if !literal.contains('\\') {
        return literal.into();
    }
    match Value::of_valid(literal).as_str() {
        Some(text) => quote(&text).into(),
        None => literal.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[track_caller]
    fn check(json: &str, expected: &str) {
        assert_eq!(plain(json), expected, "{json}");
    }

    #[test]
    fn white_space_goes_and_values_stay() {
        check("{}", "{}");
        check("{ \"a\" :\t[1.0 ,\r\n 1e3, -0]}", r#"{"a":[1.0,1e3,-0]}"#);
        check(
            r#"{"a b": " c \" d ", "n": 123456789012345678901234567890}"#,
            r#"{"a b":" c \" d ","n":123456789012345678901234567890}"#,
        );
        check("\"\"", "\"\"");
        check(r#""\\""#, r#""\\""#);
        check(r#"["\\", " "]"#, r#"["\\"," "]"#);
    }

    #[test]
    fn strings_have_one_spelling() {
        check(r#""\u00e9\/\u0022\n\u000a""#, r#""é/\"\n\n""#);
        check(r#"{"\u0061":"\ud83d\ude00"}"#, r#"{"a":"😀"}"#);
        check(r#"["\ud800","\u0061"]"#, r#"["\ud800","a"]"#);
    }
}
