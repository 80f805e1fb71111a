//! Walks and number readings, each against serde_json or a table.

use proptest::prelude::*;

use crate::{Dialect, ErrorKind, Kind, Parsed, Value, parse, quote, strict_text};

fn strict(text: &str) -> Value<'_> {
    parse(text.as_bytes(), Dialect::Strict).expect("valid")
}

#[track_caller]
fn check_error(text: &[u8], offset: usize, kind: ErrorKind) {
    let error = parse(text, Dialect::Strict).expect_err("invalid");
    assert_eq!((error.offset, error.kind), (offset, kind));
}

#[test]
fn errors_name_what_and_where() {
    check_error(b"", 0, ErrorKind::UnexpectedEnd);
    check_error(b"  ", 2, ErrorKind::UnexpectedEnd);
    check_error(b"{\"a\":}", 5, ErrorKind::UnexpectedCharacter);
    check_error(b"{\"a\":1,}", 7, ErrorKind::UnexpectedCharacter);
    check_error(b"[1 2]", 3, ErrorKind::UnexpectedCharacter);
    check_error(b"[1", 2, ErrorKind::UnexpectedEnd);
    check_error(b"{} x", 3, ErrorKind::TrailingData);
    check_error(b"\"a\nb\"", 2, ErrorKind::ControlCharacter);
    check_error(b"\"\\x\"", 1, ErrorKind::InvalidEscape);
    check_error(b"\"\\u12g4\"", 1, ErrorKind::InvalidEscape);
    check_error(b"\"\\u12", 5, ErrorKind::UnexpectedEnd);
    check_error(b"01", 1, ErrorKind::InvalidNumber);
    check_error(b"1.", 2, ErrorKind::InvalidNumber);
    check_error(b"-", 1, ErrorKind::InvalidNumber);
    check_error(b"1e+", 3, ErrorKind::InvalidNumber);
    check_error(b"\"\xff\"", 1, ErrorKind::InvalidUtf8);
    check_error(b"NaN", 0, ErrorKind::UnexpectedCharacter);
    check_error(b"nul", 3, ErrorKind::UnexpectedEnd);
}

#[test]
fn nesting_ends_at_128() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(parse(nested(128).as_bytes(), Dialect::Strict).is_ok());
    check_error(nested(129).as_bytes(), 128, ErrorKind::TooDeep);
    check_error("[".repeat(1 << 20).as_bytes(), 128, ErrorKind::TooDeep);
}

#[test]
fn python_numbers_are_read_and_made_strict() {
    let text = r#"{"a":[NaN,-Infinity,Infinity,-1],"NaN":"Infinity"}"#;
    let root = parse(text.as_bytes(), Dialect::Python).expect("Python's JSON");
    let kinds: Vec<Kind> = root
        .get("a")
        .expect("a")
        .elements()
        .map(Value::kind)
        .collect();
    assert_eq!(
        kinds,
        [
            Kind::NonFinite,
            Kind::NonFinite,
            Kind::NonFinite,
            Kind::Number
        ]
    );
    assert_eq!(
        strict_text(root),
        r#"{"a":[null,null,null,-1],"NaN":"Infinity"}"#
    );
    assert!(parse(b"-Infinit", Dialect::Python).is_err());
}

#[test]
fn the_last_of_repeated_keys_counts() {
    let root = strict(r#"{"a":1,"\u0061":2,"b":3}"#);
    assert_eq!(root.get("a").and_then(Value::as_i64), Some(2));
    assert_eq!(root.get("c").map(Value::text), None);
    assert_eq!(strict("[1]").get("a").map(Value::text), None);
}

#[test]
fn a_name_with_backslashes_is_not_an_escaped_spelling() {
    let root = strict(r#"{"a\\\\b":1,"a\\b":2,"\\":3,"":4}"#);
    for (name, expected) in [
        (r"a\\\\b", None),
        (r"a\\b", Some(1)),
        (r"a\b", Some(2)),
        (r"\\", None),
        (r"\", Some(3)),
        ("", Some(4)),
    ] {
        assert_eq!(root.get(name).and_then(Value::as_i64), expected, "{name}");
    }
}

#[test]
fn strings_are_unescaped() {
    let value = strict(r#""\u00e9\n\"\\\/\ud83d\ude00 é""#);
    assert_eq!(value.as_str().as_deref(), Some("é\n\"\\/😀 é"));
    for lone in [
        r#""\ud800""#,
        r#""\udc00x""#,
        r#""\ud800\ud800""#,
        r#""\ud800\n""#,
    ] {
        assert_eq!(strict(lone).as_str(), None, "{lone}");
        assert!(
            strict(lone)
                .as_str_lossy()
                .is_some_and(|s| s.contains('\u{fffd}'))
        );
    }
}

#[test]
fn integers_are_read_however_they_are_written() {
    let check = |text: &str, plain: Option<i64>, integral: Option<i64>| {
        assert_eq!(strict(text).as_i64(), plain, "{text}");
        assert_eq!(strict(text).as_integral(), integral, "{text}");
    };
    check("7", Some(7), Some(7));
    check("-0", Some(0), Some(0));
    check("4.0", None, Some(4));
    check("-4.00", None, Some(-4));
    check("1e3", None, Some(1000));
    check("1.5e1", None, Some(15));
    check("120e-1", None, Some(12));
    check("0.0e99999", None, Some(0));
    check("0e99999999999999999999", None, Some(0));
    check("0e-5", None, Some(0));
    check("4.5", None, None);
    check("5e-1", None, None);
    check("1e19", None, None);
    check("1e999999999999999999999", None, None);
    check("9223372036854775807", Some(i64::MAX), Some(i64::MAX));
    check("-9223372036854775808.0", None, Some(i64::MIN));
    check("9223372036854775808", None, None);
    check("true", None, None);
}

#[test]
fn floats_are_finite_or_absent() {
    assert_eq!(strict("-1.5e3").as_f64(), Some(-1500.0));
    assert_eq!(strict("1e999").as_f64(), None);
    assert_eq!(strict("\"1\"").as_f64(), None);
}

fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        ".{0,12}".prop_map(Into::into),
        ".{60,80}".prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 48, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
            prop::collection::hash_map(".{0,6}", inner, 0..6)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Rebuilds a tree from a walk, so that the walk can be compared with serde_json's reading.
fn tree(value: Value<'_>) -> serde_json::Value {
    match value.kind() {
        Kind::Object => value
            .members()
            .map(|member| (member.key.to_cow().into_owned(), tree(member.value)))
            .collect(),
        Kind::Array => value.elements().map(tree).collect(),
        Kind::String => value.as_str().expect("no surrogates").into_owned().into(),
        _ => serde_json::from_str(value.text()).expect("a scalar"),
    }
}

proptest! {
    #[test]
    fn a_walk_reads_what_serde_json_reads(value in json(), pretty: bool) {
        let text = if pretty {
            serde_json::to_string_pretty(&value)
        } else {
            serde_json::to_string(&value)
        }
        .expect("serialises");
        let parsed = Parsed::new(text.as_bytes(), Dialect::Strict).expect("valid");
        prop_assert_eq!(tree(parsed.root()), tree(strict(&text)));
        prop_assert_eq!(tree(strict(&text)), serde_json::from_str::<serde_json::Value>(&text).expect("valid"));
    }

    #[test]
    fn acceptance_agrees_with_serde_json(text in r#"[\[\]{},:"0-9eE.+\-truefalsn \\]{0,24}"#) {
        let ours = parse(text.as_bytes(), Dialect::Strict).is_ok();
        let theirs = serde_json::from_str::<&serde_json::value::RawValue>(&text).is_ok();
        prop_assert_eq!(ours, theirs, "{}", text);
    }

    #[test]
    fn quoting_is_undone_by_reading(text in any::<String>()) {
        let literal = quote(&text);
        prop_assert_eq!(strict(&literal).as_str(), Some(text.as_str().into()));
    }
}
