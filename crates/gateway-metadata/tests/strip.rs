//! Stripping a body removes every key of ours and nothing else.

use gateway_json::{Dialect, Edits, Value, parse};
use gateway_metadata::strip_body;
use proptest::prelude::*;

/// A JSON value of up to two further levels, with our names among the keys.
fn value() -> impl Strategy<Value = String> {
    let scalar = prop::sample::select(vec![
        "null",
        "true",
        "1.0",
        "1e3",
        "-12345678901234567890123",
        r#""rllm""#,
        r#""\ud800,}\"""#,
        "{}",
        "[ ]",
        r#"{"rllm":{"session_id":"s"}}"#,
    ])
    .prop_map(str::to_owned);
    scalar.prop_recursive(2, 12, 4, |inner| {
        prop_oneof![
            object(inner.clone()),
            proptest::collection::vec(inner, 0..3)
                .prop_map(|list| format!("[{}]", list.join(" , "))),
        ]
    })
}

fn object(value: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    let key = prop::sample::select(vec![
        "rllm",
        "r\\u006clm",
        "metadata",
        "meta\\u0064ata",
        "model",
        "rllm2",
        "RLLM",
        "",
        "é",
    ]);
    let space = prop::sample::select(vec!["", " ", "\n\t"]);
    let member = (space, key, value)
        .prop_map(|(space, key, value)| format!("{space}\"{key}\"{space}:{space}{value}{space}"));
    proptest::collection::vec(member, 0..6).prop_map(|list| format!("{{{}}}", list.join(",")))
}

/// The members that must be left, in order, as they stand in the text.
fn kept<'a>(object: Value<'a>, also: impl Fn(Value<'a>) -> bool) -> Vec<(&'a str, Value<'a>)> {
    object
        .members()
        .filter(|member| !member.key.is("rllm"))
        .filter(|member| !(member.key.is("metadata") && also(member.value)))
        .map(|member| (member.key.literal(), member.value))
        .collect()
}

fn is_emptied(metadata: Value<'_>) -> bool {
    metadata.members().next().is_some() && kept(metadata, |_| false).is_empty()
}

fn is_subsequence(part: &str, whole: &str) -> bool {
    let mut whole = whole.chars();
    part.chars()
        .all(|character| whole.any(|other| other == character))
}

proptest! {
    #[test]
    fn every_key_of_ours_goes_and_nothing_else(text in object(value())) {
        let root = parse(text.as_bytes(), Dialect::Strict).unwrap();
        let mut edits = Edits::new(root);
        strip_body(&mut edits, root);
        let untouched = edits.is_empty();
        let stripped = edits.apply().unwrap_or_else(|| text.clone());
        prop_assert_eq!(untouched, stripped == text);
        prop_assert!(is_subsequence(&stripped, &text), "{}", stripped);

        let after = parse(stripped.as_bytes(), Dialect::Strict).unwrap();
        let expected = kept(root, is_emptied);
        let found: Vec<_> =
            after.members().map(|member| (member.key.literal(), member.value)).collect();
        prop_assert_eq!(found.len(), expected.len(), "{}", stripped);
        for ((key, found), (expected_key, expected)) in found.into_iter().zip(expected) {
            prop_assert_eq!(key, expected_key);
            let is_metadata = ["\"metadata\"", "\"meta\\u0064ata\""].contains(&key);
            if is_metadata && expected.members().any(|member| member.key.is("rllm")) {
                let texts = |object| -> Vec<(&str, &str)> {
                    kept(object, |_| false).into_iter().map(|(key, value)| (key, value.text())).collect()
                };
                prop_assert_eq!(texts(found), texts(expected));
                prop_assert!(!found.members().any(|member| member.key.is("rllm")));
            } else {
                prop_assert_eq!(found.text(), expected.text());
            }
        }
    }
}
