//! Errors as upstreams write them: OpenAI's, Anthropic's, vLLM's and FastAPI's bodies and events.

use gateway_json::Value;

use crate::CallError;

/// So much of an error text that is no JSON is kept, in bytes.
const MAX_MESSAGE: usize = 2048;

/// Whether an object is an error, whatever its status says.
pub(crate) fn is_error(root: Value<'_>) -> bool {
    root.members()
        .any(|member| is_error_member(&member.key.to_cow(), member.value))
}

/// Whether this member at the root of an object says that the object is an error.
pub(crate) fn is_error_member(key: &str, value: Value<'_>) -> bool {
    match key {
        // An empty one says that there is none.
        "error" => {
            (value.is_object() && value.members().next().is_some())
                || (value.is_string() && value.text() != "\"\"")
        }
        "object" | "type" => value.text() == "\"error\"",
        _ => false,
    }
}

/// The error of a reply with this status.
pub(crate) fn of_reply(root: Option<Value<'_>>, body: &[u8], status: u16) -> CallError {
    let parts = match root {
        Some(root) => Parts::of(root),
        None => Parts {
            message: text(body),
            ..Parts::default()
        },
    };
    parts.or(&status.to_string(), || match status {
        200..300 => "the upstream answered with an error".to_owned(),
        _ => format!("the upstream answered with status {status}"),
    })
}

/// The error of a reply whose status is not known.
pub(crate) fn of_record(root: Value<'_>) -> CallError {
    Parts::of(root).or("upstream_error", || {
        "the upstream answered with an error".to_owned()
    })
}

/// The error of an event, whose data may be no JSON.
pub(crate) fn of_event(root: Option<Value<'_>>, data: &[u8]) -> CallError {
    let parts = match root {
        Some(root) => Parts::of(root),
        None => Parts {
            message: text(data),
            ..Parts::default()
        },
    };
    parts.or("error_event", || {
        "the upstream ended the stream with an error".to_owned()
    })
}

/// What an error says of itself.
#[derive(Default)]
struct Parts {
    kind: Option<String>,
    code: Option<String>,
    message: Option<String>,
}

impl Parts {
    fn of(root: Value<'_>) -> Self {
        let error = root
            .get("error")
            .filter(|error| !error.is_null())
            .unwrap_or(root);
        let string = |value: Value<'_>| value.as_str_lossy().map(std::borrow::Cow::into_owned);
        let member = |key: &str| error.get(key).and_then(string);
        Self {
            // Anthropic's outer type is `error` for every error.
            kind: member("type").filter(|kind| kind != "error"),
            code: member("code").or_else(|| Some(error.get("code")?.as_integral()?.to_string())),
            message: member("message")
                .or_else(|| string(error))
                .or_else(|| {
                    // FastAPI: a text, or an array of what is wrong with each field.
                    let detail = root.get("detail")?;
                    Some(string(detail).unwrap_or_else(|| detail.text().to_owned()))
                })
                .or_else(|| {
                    // A response that has failed may have no error.
                    let status = string(root.get("status")?)?;
                    let failed = (status == "failed").then(|| "the response failed".to_owned())?;
                    let details = root.get("incomplete_details");
                    let reason = details.and_then(|details| string(details.get("reason")?));
                    Some(match reason {
                        Some(reason) => format!("{failed}: {reason}"),
                        None => failed,
                    })
                }),
        }
    }

    fn or(self, code: &str, message: impl FnOnce() -> String) -> CallError {
        CallError {
            r#type: self.kind.unwrap_or_else(|| "upstream_error".to_owned()),
            code: self.code.unwrap_or_else(|| code.to_owned()),
            message: self.message.unwrap_or_else(message),
        }
    }
}

/// The beginning of a text that is no JSON.
fn text(bytes: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(MAX_MESSAGE)]);
    let text = text.trim_end_matches(char::REPLACEMENT_CHARACTER).trim();
    (!text.is_empty()).then(|| text.to_owned())
}
