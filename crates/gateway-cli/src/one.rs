//! `traces --id`: one trace in full, for reading.

use gateway_json::Value;

use crate::client::{Client, Question, encoded};
use crate::document::{Document, Object, one_line};
use crate::error::Error;
use crate::feed::COMPLETED;
use crate::screen::{Screen, Tone, print};
use crate::text;
use crate::when;

/// How wide the names of the facts are.
const NAMES: usize = 12;

/// `traces --id`
pub(crate) async fn print_trace(
    id: &str,
    json: bool,
    client: &Client,
    screen: &Screen,
) -> Result<u8, Error> {
    let question = Question::new(format!("/traces/{}", encoded(id)));
    let answer: Document = client.ask(&question).await?;
    if !answer.root().is_object() {
        return Err(client.foreign(&question, "an answer that is no trace"));
    }
    match json {
        true => print(&format!("{}\n", one_line(answer.root())))?,
        false => print(&read_out(&Object::of(answer.root()), screen))?,
    }
    Ok(0)
}

/// The trace as a page: its facts, then the conversation.
pub(crate) fn read_out(trace: &Object<'_>, screen: &Screen) -> String {
    let mut out = String::new();
    for (name, value) in facts(trace) {
        let value = text::one_line(&value);
        if value.is_empty() {
            continue;
        }
        let tone = match (name, trace.text("outcome").as_deref()) {
            ("outcome", Some(COMPLETED)) => Tone::Good,
            ("outcome" | "error", _) => Tone::Bad,
            _ => Tone::Plain,
        };
        let name = format!("{name:<NAMES$}");
        out.push_str(&format!(
            "{}{}\n",
            screen.paint(Tone::Title, &name),
            screen.paint(tone, &value)
        ));
    }
    for message in trace.elements("messages") {
        let message = Object::of(message);
        let role = message.text("role").unwrap_or("message".into());
        push_message(&mut out, &role, &message, screen);
    }
    let choices: Vec<_> = trace.elements("choices").collect();
    if choices.len() > 1 {
        for choice in choices {
            let choice = Object::of(choice);
            let reply = format!("reply {}", choice.integer("index").unwrap_or(0));
            push_message(&mut out, &reply, &choice.object("message"), screen);
        }
    } else if let Some(reply) = trace.get("response_message") {
        push_message(&mut out, "reply", &Object::of(reply), screen);
    }
    out
}

fn facts(trace: &Object<'_>) -> Vec<(&'static str, String)> {
    let field = |name| trace.text(name).unwrap_or_default().into_owned();
    let error = trace.object("error");
    let integrity = trace.object("integrity");
    let mut facts = vec![
        ("trace", field("trace_id")),
        ("session", field("session_id")),
        ("run", field("run_id")),
        ("harness", field("harness")),
        ("step", integer(trace, "step_id")),
        ("project", field("project")),
        ("experiment", field("experiment")),
        ("endpoint", {
            let stream = trace.get("stream").and_then(Value::as_bool) == Some(true);
            field("endpoint") + if stream { ", streamed" } else { "" }
        }),
        ("model", field("model")),
        (
            "upstream",
            joined(
                " ",
                [
                    field("upstream"),
                    wrapped("(", field("upstream_reason"), ")"),
                ],
            ),
        ),
        (
            "outcome",
            joined(
                ", ",
                [
                    field("outcome"),
                    wrapped("finish reason ", field("finish_reason"), ""),
                    wrapped("HTTP ", integer(trace, "status"), ""),
                    wrapped("repeated by ", field("superseded_by"), ""),
                ],
            ),
        ),
        (
            "error",
            joined(
                ": ",
                ["type", "code", "message"].map(|name| {
                    let part = error.text(name).unwrap_or_default();
                    part.into_owned()
                }),
            ),
        ),
        (
            "arrived",
            trace.number("timestamp").map(when::iso).unwrap_or_default(),
        ),
        ("took", took(trace)),
        ("tokens", tokens(trace)),
        (
            "weights",
            joined(
                " to ",
                [
                    integer(trace, "weight_version"),
                    integer(trace, "weight_version_end"),
                ],
            ),
        ),
        (
            "line",
            joined(", after ", [field("lineage_id"), field("parent_trace_id")]),
        ),
        (
            "edits",
            trace
                .get("edits")
                .map(|edits| one_line(edits).into_owned())
                .unwrap_or_default(),
        ),
    ];
    for note in integrity.elements("notes") {
        facts.push(("note", note.as_str_lossy().unwrap_or_default().into_owned()));
    }
    facts
}

fn took(trace: &Object<'_>) -> String {
    let first = trace
        .number("ttft_ms")
        .map(when::lasted)
        .unwrap_or_default();
    let attempts = trace.integer("attempts").filter(|attempts| *attempts > 1);
    joined(
        ", ",
        [
            trace
                .number("latency_ms")
                .map(when::lasted)
                .unwrap_or_default(),
            wrapped("the first byte after ", first, ""),
            wrapped(
                "",
                attempts.map_or_else(String::new, |n| n.to_string()),
                " attempts",
            ),
        ],
    )
}

fn tokens(trace: &Object<'_>) -> String {
    let counts = trace.object("token_counts");
    let count = |name| integer(&counts, name);
    let listed = |name: &str| trace.elements(name).count();
    let (prompt, completion) = (listed("prompt_token_ids"), listed("completion_token_ids"));
    let ids = match (prompt, completion) {
        (0, 0) => String::new(),
        (prompt, completion) => format!("ids {prompt} + {completion}"),
    };
    let logprobs = match listed("logprobs") {
        0 => String::new(),
        count => format!("{count} logprobs"),
    };
    joined(
        ", ",
        [
            wrapped("", count("prompt"), " in"),
            wrapped("", count("cached"), " of them cached"),
            wrapped("", count("completion"), " out"),
            wrapped("", count("reasoning"), " of them reasoning"),
            ids,
            logprobs,
        ],
    )
}

fn integer(object: &Object<'_>, name: &str) -> String {
    let number = object.integer(name);
    number.map_or_else(String::new, |number| number.to_string())
}

/// `text` between two others, if there is any.
fn wrapped(before: &str, text: String, after: &str) -> String {
    match text.is_empty() {
        true => text,
        false => format!("{before}{text}{after}"),
    }
}

/// The texts that are not empty.
fn joined<const N: usize>(between: &str, texts: [String; N]) -> String {
    let texts: Vec<String> = texts.into_iter().filter(|text| !text.is_empty()).collect();
    texts.join(between)
}

fn push_message(out: &mut String, title: &str, message: &Object<'_>, screen: &Screen) {
    let name = message
        .text("name")
        .or_else(|| message.text("tool_call_id"));
    let title = joined(
        " ",
        [
            title.to_owned(),
            wrapped("(", name.unwrap_or_default().into_owned(), ")"),
        ],
    );
    let reasoning = ["reasoning_content", "reasoning"]
        .into_iter()
        .find_map(|name| message.text(name))
        .map(|text| format!("(thinks) {text}"));
    let said: Vec<String> = reasoning
        .into_iter()
        .chain(content(message))
        .chain(
            message
                .text("refusal")
                .map(|text| format!("(refuses) {text}")),
        )
        .chain(tool_calls(message))
        .collect();
    if said.is_empty() {
        return;
    }
    out.push('\n');
    out.push_str(&screen.paint(Tone::Title, &text::one_line(&title)));
    out.push('\n');
    for line in said.iter().flat_map(|part| text::lines(part)) {
        out.push_str(format!("  {line}").trim_end());
        out.push('\n');
    }
}

/// The texts of a message's content; of other parts their type.
pub(crate) fn content<'a>(message: &Object<'a>) -> impl Iterator<Item = String> + use<'a> {
    let content = message.get("content");
    let text = content.and_then(Value::as_str_lossy).map(String::from);
    let parts = content.into_iter().flat_map(Value::elements).map(|part| {
        let object = Object::of(part);
        match (object.text("text"), object.text("type")) {
            (Some(text), _) => text.into_owned(),
            (None, Some(kind)) => format!("[{kind}]"),
            (None, None) => one_line(part).into_owned(),
        }
    });
    text.into_iter()
        .chain(parts)
        .filter(|text| !text.is_empty())
}

/// The calls of tools that a message makes, as `name(arguments)`.
pub(crate) fn tool_calls<'a>(message: &Object<'a>) -> impl Iterator<Item = String> + use<'a> {
    let single = message.get("function_call").map(Object::of);
    let calls = message
        .elements("tool_calls")
        .map(|call| Object::of(call).object("function"));
    calls.chain(single).map(|function| {
        let name = function.text("name").unwrap_or_default();
        let arguments = function.text("arguments").unwrap_or_default();
        format!("{name}({arguments})")
    })
}

#[cfg(test)]
mod tests;
