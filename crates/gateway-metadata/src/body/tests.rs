//! What a body loses of rLLM's keys, and what it keeps.

use gateway_json::{Dialect, Edits, Value, parse};

use super::{client_metadata, strip_body, strip_member, strip_members};

fn root(text: &str) -> Value<'_> {
    parse(text.as_bytes(), Dialect::Python).unwrap()
}

fn stripped(text: &str) -> Option<String> {
    let root = root(text);
    let mut edits = Edits::new(root);
    strip_body(&mut edits, root);
    edits.apply()
}

#[test]
fn what_is_stripped() {
    let check = |text: &str, expected: &str| {
        assert_eq!(stripped(text).as_deref(), Some(expected), "{text}");
    };
    check(r#"{"rllm":{"a":1}}"#, r"{}");
    check(r#"{"rllm":{"a":1},"model":"m"}"#, r#"{"model":"m"}"#);
    check(
        r#"{"model":"m", "rllm" : null , "seed":1.0}"#,
        r#"{"model":"m" , "seed":1.0}"#,
    );
    check(r#"{"model":"m","rllm":"text"}"#, r#"{"model":"m"}"#);
    check(r#"{"r\u006clm":[],"model":"m"}"#, r#"{"model":"m"}"#);
    check(r#"{"rllm":1,"model":"m","rllm":2}"#, r#"{"model":"m"}"#);
    check(r#"{"metadata":{"rllm":{}}}"#, r"{}");
    check(
        r#"{"metadata":{"rllm":{}},"model":"m"}"#,
        r#"{"model":"m"}"#,
    );
    check(
        r#"{"metadata":{"rllm":1,"rllm":2},"model":"m"}"#,
        r#"{"model":"m"}"#,
    );
    check(
        r#"{"metadata":{"rllm":1,"user":"u"},"a":1}"#,
        r#"{"metadata":{"user":"u"},"a":1}"#,
    );
    check(
        r#"{"metadata":{"user":"u", "rllm":1, "x":2e0, "rllm":{}}}"#,
        r#"{"metadata":{"user":"u", "x":2e0}}"#,
    );
    check(r#"{"metadata":{"rllm":{"a":1}},"rllm":{"b":2}}"#, r"{}");
    check(
        r#"{"rllm":1,"metadata":{"a":1,"rllm":1},"metadata":{"rllm":1},"b":2}"#,
        r#"{"metadata":{"a":1},"b":2}"#,
    );
    check(
        "{\n  \"model\": \"m\",\n  \"rllm\": 1\n}",
        "{\n  \"model\": \"m\"\n}",
    );
}

#[test]
fn what_is_left_alone() {
    for text in [
        "{}",
        "[]",
        r#""rllm""#,
        r#"[{"rllm":1}]"#,
        r#"{"metadata":{}}"#,
        r#"{"metadata":"rllm"}"#,
        r#"{"metadata":["rllm",{"rllm":1}]}"#,
        r#"{"metadata":{"deeper":{"rllm":1}}}"#,
        r#"{"messages":[{"rllm":1}],"extra":{"rllm":{},"metadata":{"rllm":1}}}"#,
        r#"{"RLLM":1,"rllm ":2,"rllm_x":3,"Metadata":{"rllm":1}}"#,
    ] {
        assert_eq!(stripped(text), None, "{text}");
    }
}

#[test]
fn all_other_bytes_stay() {
    let text = r#"{ "temperature" : 1.0,"n":12345678901234567890123 ,"rllm":{"x":1},
        "s":"\ud800\u00e9é","top_p":1e-0,"a":{"k":1,"k":2},"x":NaN }"#;
    let expected = r#"{ "temperature" : 1.0,"n":12345678901234567890123 ,
        "s":"\ud800\u00e9é","top_p":1e-0,"a":{"k":1,"k":2},"x":NaN }"#;
    assert_eq!(stripped(text).as_deref(), Some(expected));
}

#[test]
fn strips_together_with_other_edits() {
    let root = root(r#"{"metadata":{"rllm":1,"a":2},"rllm":1,"drop":1,"model":"m"}"#);
    let mut edits = Edits::new(root);
    edits.remove(root, |member| {
        member.key.is("drop") || member.key.is("metadata")
    });
    strip_body(&mut edits, root);
    assert_eq!(edits.apply().as_deref(), Some(r#"{"model":"m"}"#));
}

#[test]
fn members_that_are_left_out_are_left_alone() {
    let root = root(r#"{"metadata":{"rllm":1},"rllm":1,"model":"m"}"#);
    let mut edits = Edits::new(root);
    strip_members(&mut edits, root, |member| !member.key.is("metadata"));
    assert_eq!(
        edits.apply().as_deref(),
        Some(r#"{"metadata":{"rllm":1},"model":"m"}"#)
    );
}

#[test]
fn one_member_alone() {
    for (name, text, expected) in [
        ("rllm", "1.0", None),
        ("rllm", r#"{"a":1}"#, None),
        ("metadata", r#"{"rllm":1,"r\u006clm":2}"#, None),
        ("metadata", r#"{"rllm":1, "x":1.0}"#, Some(r#"{ "x":1.0}"#)),
        ("metadata", r#"{"x":1.0}"#, Some(r#"{"x":1.0}"#)),
        ("metadata", "{}", Some("{}")),
        ("metadata", "null", Some("null")),
        ("extra_body", r#"{"rllm":1}"#, Some(r#"{"rllm":1}"#)),
    ] {
        let left = strip_member(name, root(text));
        assert_eq!(left.as_deref(), expected, "{name}: {text}");
    }
}

#[test]
fn the_clients_metadata() {
    let check = |text: &str, expected: Option<&str>| {
        assert_eq!(client_metadata(root(text)).as_deref(), expected, "{text}");
    };
    check(
        r#"{"metadata": {"user": "u", "n": 1.0}}"#,
        Some(r#"{"user": "u", "n": 1.0}"#),
    );
    check(
        r#"{"metadata":{"rllm":{},"user":"u"}}"#,
        Some(r#"{"user":"u"}"#),
    );
    check(
        r#"{"metadata":{"rllm":1,"a":1,"rllm":2}}"#,
        Some(r#"{"a":1}"#),
    );
    check(r#"{"metadata":{"rllm":{}}}"#, Some("{}"));
    check(r#"{"metadata":{}}"#, Some("{}"));
    check(
        r#"{"metadata":{"a":1},"metadata":{"b":2}}"#,
        Some(r#"{"b":2}"#),
    );
    check(r#"{"metadata":"text"}"#, None);
    check(r#"{"metadata":null,"rllm":{}}"#, None);
    check("{}", None);
    check("[]", None);
}
