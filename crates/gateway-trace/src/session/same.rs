//! Whether two pieces of JSON say the same.

use gateway_json::{Dialect, Value, parse};

/// Whether two values are the same value: members in any order, strings however they are escaped,
/// numbers only as they are spelt. Where it cannot be told (a key that repeats, a lone surrogate),
/// only the same text is the same.
pub(crate) fn same(a: Value<'_>, b: Value<'_>) -> bool {
    if a.text() == b.text() {
        return true;
    }
    if a.is_string() && b.is_string() {
        return matches!((a.as_str(), b.as_str()), (Some(a), Some(b)) if a == b);
    }
    if a.is_array() && b.is_array() {
        let mut others = b.elements();
        return a
            .elements()
            .all(|one| others.next().is_some_and(|other| same(one, other)))
            && others.next().is_none();
    }
    if a.is_object() && b.is_object() {
        let (Some(a), Some(b)) = (sorted(a), sorted(b)) else {
            return false;
        };
        return a.len() == b.len()
            && a.iter()
                .zip(&b)
                .all(|(one, other)| one.0 == other.0 && same(one.1, other.1));
    }
    false
}

/// The members by name; none if a name repeats.
fn sorted<'a>(object: Value<'a>) -> Option<Vec<(std::borrow::Cow<'a, str>, Value<'a>)>> {
    let mut members: Vec<_> = object
        .members()
        .map(|member| (member.key.to_cow(), member.value))
        .collect();
    members.sort_by(|one, other| one.0.cmp(&other.0));
    let unique = members.windows(2).all(|pair| pair[0].0 != pair[1].0);
    unique.then_some(members)
}

/// Whether `message` is what a client makes of the reply `reply` when it sends it back: the same
/// text and the same calls of the same tools. Clients drop the rest (nulls, reasoning, ids), or
/// move it elsewhere.
pub(super) fn echoes(message: Value<'_>, reply: Value<'_>) -> bool {
    text_of(message) == text_of(reply) && same_calls(message, reply)
}

/// The text of a message; none if it has no text, or an empty one.
fn text_of(message: Value<'_>) -> Option<String> {
    let content = message.get("content")?;
    let text = match content.as_str_lossy() {
        Some(text) => text.into_owned(),
        None => content
            .elements()
            .filter_map(|part| part.get("text")?.as_str_lossy())
            .collect(),
    };
    (!text.is_empty()).then_some(text)
}

fn same_calls(a: Value<'_>, b: Value<'_>) -> bool {
    let (a, b) = (calls_of(a), calls_of(b));
    a.len() == b.len() && a.iter().zip(&b).all(|(one, other)| same_call(*one, *other))
}

fn calls_of(message: Value<'_>) -> Vec<Value<'_>> {
    let calls = message.get("tool_calls");
    calls.into_iter().flat_map(Value::elements).collect()
}

fn same_call(a: Value<'_>, b: Value<'_>) -> bool {
    let (Some(a), Some(b)) = (a.get("function"), b.get("function")) else {
        return same(a, b);
    };
    let share_name = |name: Option<Value<'_>>, other: Option<Value<'_>>| {
        name.and_then(Value::as_str_lossy) == other.and_then(Value::as_str_lossy)
    };
    if !share_name(a.get("name"), b.get("name")) {
        return false;
    }
    match (a.get("arguments"), b.get("arguments")) {
        (Some(a), Some(b)) => same(a, b) || same_inside(a, b),
        (a, b) => a.is_none() && b.is_none(),
    }
}

/// Whether two strings hold the same JSON: clients parse arguments and write them again.
fn same_inside(a: Value<'_>, b: Value<'_>) -> bool {
    let (Some(a), Some(b)) = (a.as_str(), b.as_str()) else {
        return false;
    };
    match (
        parse(a.as_bytes(), Dialect::Python),
        parse(b.as_bytes(), Dialect::Python),
    ) {
        (Ok(a), Ok(b)) => same(a, b),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn pair(a: &'static str, b: &'static str) -> (Value<'static>, Value<'static>) {
        let value = |text: &'static str| parse(text.as_bytes(), Dialect::Strict).expect(text);
        (value(a), value(b))
    }

    #[test]
    fn the_same_value_in_another_spelling() {
        for (a, b) in [
            (
                r#"{"a":1,"b":[1.0,"x"]}"#,
                r#"{ "b": [1.0, "\u0078"], "a": 1 }"#,
            ),
            (r#""\ud800""#, r#""\ud800""#),
            (r#"{"a":1,"a":2}"#, r#"{"a":1,"a":2}"#),
            ("[]", "[ ]"),
        ] {
            let (a, b) = pair(a, b);
            assert!(same(a, b) && same(b, a), "{} {}", a.text(), b.text());
        }
    }

    #[test]
    fn another_value() {
        for (a, b) in [
            ("1", "1.0"),
            ("[1]", "[1,2]"),
            (r#"{"a":1}"#, r#"{"a":1,"b":null}"#),
            (r#"{"a":1,"a":2}"#, r#"{"a":2,"a":1}"#),
            (r#""\ud800""#, r#""\ud801""#),
            (r#""1""#, "1"),
            ("null", "{}"),
        ] {
            let (a, b) = pair(a, b);
            assert!(!same(a, b) && !same(b, a), "{} {}", a.text(), b.text());
        }
    }

    #[test]
    fn what_clients_send_back_of_a_reply() {
        let reply = r#"{"role":"assistant","content":"Hi","reasoning_content":"hm","tool_calls":[
            {"id":"1","type":"function","function":{"name":"f","arguments":"{\"a\": 1}"}}]}"#;
        for (echo, is_one) in [
            (reply, true),
            (
                r#"{"role":"assistant","content":[{"type":"text","text":"Hi"}],"refusal":null,
                "tool_calls":[{"function":{"arguments":"{\"a\":1}","name":"f"},"id":"9"}]}"#,
                true,
            ),
            (r#"{"role":"assistant","content":"Hi"}"#, false),
            (
                r#"{"content":"Hi","tool_calls":[{"function":{"name":"g","arguments":"{\"a\":1}"}}]}"#,
                false,
            ),
            (
                r#"{"content":"Ho","tool_calls":[{"function":{"name":"f","arguments":"{\"a\":1}"}}]}"#,
                false,
            ),
            (
                r#"{"content":"Hi","tool_calls":[{"function":{"name":"f","arguments":"{\"a\":2}"}}]}"#,
                false,
            ),
        ] {
            let (echo, reply) = pair(echo, reply);
            assert_eq!(echoes(echo, reply), is_one, "{}", echo.text());
        }
        let (nothing, null) = pair(r#"{"content":""}"#, r#"{"content":null,"tool_calls":null}"#);
        assert!(echoes(nothing, null));
    }
}
