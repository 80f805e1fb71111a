//! What header, body and path claim of an identity.

use gateway_json::{Dialect, parse};

use super::Claims;
use crate::identity::{Field, Identity, IdentityError, Problem};

fn headers(list: &[(&str, &[u8])]) -> Result<Identity, IdentityError> {
    Claims::from_headers(list.iter().copied()).identity()
}

fn body(text: &str) -> Result<Identity, IdentityError> {
    let root = parse(text.as_bytes(), Dialect::Strict).unwrap();
    Claims::from_body(root).identity()
}

fn session(value: &str) -> Identity {
    Identity {
        session_id: Some(value.to_owned()),
        ..Identity::default()
    }
}

fn bad_session(problem: Problem) -> Result<Identity, IdentityError> {
    Err(IdentityError {
        field: Field::SessionId,
        problem,
    })
}

/// The step that a header, a body string and (where it is JSON) a body number give.
fn check_step(text: &str, header: Option<i64>, number: Option<i64>) {
    let read = headers(&[("x-rllm-step-id", text.as_bytes())]).unwrap();
    assert_eq!(read.step_id, header, "header {text:?}");
    let quoted = gateway_json::quote(text);
    let read = body(&format!(r#"{{"rllm":{{"step_id":{quoted}}}}}"#)).unwrap();
    assert_eq!(read.step_id, header, "body string {text:?}");
    let document = format!(r#"{{"rllm":{{"step_id":{text}}}}}"#);
    if parse(document.as_bytes(), Dialect::Strict).is_ok() {
        assert_eq!(
            body(&document).unwrap().step_id,
            number,
            "body value {text}"
        );
    } else {
        assert_eq!(number, None, "{text} is no JSON");
    }
}

#[test]
fn header_values() {
    let check = |value: &[u8], expected: Result<Identity, IdentityError>| {
        let read = headers(&[("X-RLLM-Session-ID", value)]);
        assert_eq!(read, expected, "{}", value.escape_ascii());
    };
    check(b"s", Ok(session("s")));
    check(b"\t two words ", Ok(session("two words")));
    check(b"", Ok(Identity::default()));
    check(b" \t ", Ok(Identity::default()));
    check("größe-🦀".as_bytes(), Ok(session("größe-🦀")));
    check(b"gr\xf6\xdfe", Ok(session("größe")));
    check(b"\xa0", Ok(Identity::default()));
    check(b"a\x80b", bad_session(Problem::Control));
    check(b"a\0b", bad_session(Problem::Control));
    check(&[b'x'; 512], Ok(session(&"x".repeat(512))));
    check(&[b'x'; 513], bad_session(Problem::TooLong));
    // 300 bytes of Latin-1 are 600 of UTF-8.
    check(&[0xe9; 300], bad_session(Problem::TooLong));
    let mut padded = vec![b' '; 600];
    padded.push(b's');
    check(&padded, Ok(session("s")));
}

#[test]
fn repeated_headers() {
    let check = |values: &[&[u8]], expected: Result<Identity, IdentityError>| {
        let lines: Vec<_> = values
            .iter()
            .map(|value| ("x-rllm-session-id", *value))
            .collect();
        assert_eq!(headers(&lines), expected, "{values:?}");
    };
    check(&[b"a", b"b", b"", b"  "], Ok(session("b")));
    check(&[b"", b"a", b" "], Ok(session("a")));
    check(&[b"a, b"], Ok(session("a, b")));
    check(&[b"fine", b"\x01x"], bad_session(Problem::Control));
    check(&[b"\x01x", b"fine"], Ok(session("fine")));
    // The last value that is not blank counts, also where it is no use.
    let steps = headers(&[("x-rllm-step-id", b"3"), ("x-rllm-step-id", b"x")]).unwrap();
    assert_eq!(steps.step_id, None);
    let steps = headers(&[("x-rllm-step-id", b"x"), ("x-rllm-step-id", b"3")]).unwrap();
    assert_eq!(steps.step_id, Some(3));
}

#[test]
fn names_that_are_not_ours() {
    let read = headers(&[
        ("X_RLLM_Session_Id", b"shadow"),
        ("x-rllm_session-id", b"shadow"),
        ("x-rllm-session", b"unknown"),
        ("x-session-id", b"the client's"),
        ("rllm-session-id", b"no"),
        ("x-rllm-session-id-2", b"no"),
    ]);
    assert_eq!(read, Ok(Identity::default()));
}

#[test]
fn steps() {
    check_step("3", Some(3), Some(3));
    check_step(" -2 ", Some(-2), Some(-2));
    check_step("+5", Some(5), None);
    check_step("-0", Some(0), Some(0));
    check_step("007", Some(7), None);
    check_step("9223372036854775807", Some(i64::MAX), Some(i64::MAX));
    check_step("-9223372036854775808", Some(i64::MIN), Some(i64::MIN));
    check_step("9223372036854775808", None, None);
    check_step("99999999999999999999", None, None);
    // Integral numbers, but no integers as text.
    check_step("4.0", None, Some(4));
    check_step("-4.000", None, Some(-4));
    check_step("4e0", None, Some(4));
    check_step("1e3", None, Some(1000));
    check_step("1.5E+1", None, Some(15));
    check_step("120e-1", None, Some(12));
    check_step("0.0", None, Some(0));
    check_step("-0.0", None, Some(0));
    check_step("9223372036854775807.0", None, Some(i64::MAX));
    check_step("9223372036854775808.0", None, None);
    check_step("9223372036854775807.5", None, None);
    check_step("1e18", None, Some(1_000_000_000_000_000_000));
    check_step("1e19", None, None);
    check_step("1e400", None, None);
    check_step("1e-400", None, None);
    check_step("1e99999999999999999999", None, None);
    check_step("4.5", None, None);
    for nothing in [
        "", " ", "-", "+", "+-1", "1 2", "- 2", "0x10", "1_000", "٣", "NaN", "one",
    ] {
        check_step(nothing, None, None);
    }
    for other in ["true", "null", "[3]", r#"{"step_id":3}"#] {
        check_step(other, None, None);
    }
}

#[test]
fn body_values() {
    let check = |value: &str, expected: Result<Identity, IdentityError>| {
        let top_level = body(&format!(r#"{{"rllm":{{"session_id":{value}}}}}"#));
        assert_eq!(top_level, expected, "{value}");
        let nested = body(&format!(
            r#"{{"metadata":{{"rllm":{{"session_id":{value}}}}}}}"#
        ));
        assert_eq!(nested, expected, "{value} in metadata");
    };
    check(r#""s""#, Ok(session("s")));
    check(r#"" \ts\n ""#, Ok(session("s")));
    check(r#""""#, Ok(Identity::default()));
    check(r#"" \n ""#, Ok(Identity::default()));
    check(r#""a\u002fb""#, Ok(session("a/b")));
    check(r#""\ud83e\udd80""#, Ok(session("🦀")));
    check(r#""x\ud83e""#, bad_session(Problem::NotUnicode));
    check(r#""\udd80x""#, bad_session(Problem::NotUnicode));
    check(r#""a\u0000b""#, bad_session(Problem::Control));
    check(r#""a\u009fb""#, bad_session(Problem::Control));
    check(r#""a\nb""#, bad_session(Problem::Control));
    // Numbers keep their spelling.
    for number in ["42", "4.0", "-1e3", "1E+2", "12345678901234567890123", "-0"] {
        check(number, Ok(session(number)));
    }
    check(&"9".repeat(513), bad_session(Problem::TooLong));
    for absent in [
        "true",
        "false",
        "null",
        "[]",
        r#"["s"]"#,
        "{}",
        r#"{"a":1}"#,
    ] {
        check(absent, Ok(Identity::default()));
    }
}

#[test]
fn where_the_body_says_it() {
    let check = |text: &str, expected: Identity| assert_eq!(body(text), Ok(expected), "{text}");
    // An object `metadata.rllm` hides the top-level one, even an empty one.
    check(
        r#"{"metadata":{"rllm":{}},"rllm":{"session_id":"t"}}"#,
        Identity::default(),
    );
    check(
        r#"{"rllm":{"session_id":"t"},"metadata":{"rllm":{"session_id":"m"}}}"#,
        session("m"),
    );
    for no_object in [
        "null",
        "true",
        "1",
        r#""text""#,
        "[]",
        r#"[{"session_id":"m"}]"#,
    ] {
        let top_level = r#""rllm":{"session_id":"t"}"#;
        check(
            &format!(r#"{{"metadata":{{"rllm":{no_object}}},{top_level}}}"#),
            session("t"),
        );
        check(
            &format!(r#"{{"metadata":{no_object},{top_level}}}"#),
            session("t"),
        );
        check(&format!(r#"{{"rllm":{no_object}}}"#), Identity::default());
    }
    // Of a repeated key, whichever level it is on, the last one is read.
    check(
        r#"{"metadata":{"rllm":{"session_id":"a"},"rllm":{"session_id":"b"}}}"#,
        session("b"),
    );
    check(
        r#"{"metadata":{"rllm":{"session_id":"a"},"rllm":1}}"#,
        Identity::default(),
    );
    check(
        r#"{"rllm":{"session_id":"a","session_id":"b"}}"#,
        session("b"),
    );
    check(
        r#"{"rllm":{"session_id":"a","session_id":null}}"#,
        Identity::default(),
    );
    check(
        r#"{"rllm":{"step_id":1,"step_id":"x"}}"#,
        Identity::default(),
    );
    // Names are compared unescaped, and only there.
    check(
        r#"{"m\u0065tadata":{"r\u006clm":{"session\u005fid":"s"}}}"#,
        session("s"),
    );
    check(
        r#"{"session_id":"x","metadata":{"session_id":"y","a":{"rllm":{}}}}"#,
        Identity::default(),
    );
    for root in [
        "[]",
        "null",
        "1",
        r#""rllm""#,
        r#"[{"rllm":{"session_id":"s"}}]"#,
        "{}",
    ] {
        check(root, Identity::default());
    }
}

#[test]
fn all_fields_of_a_body() {
    let text = r#"{"rllm":{"session_id":"s","run_id":7,"harness":"h","step_id":"4",
        "parent_span_id":"p","project":"pr","experiment":"e","other":"x"}}"#;
    let expected = Identity {
        session_id: Some("s".to_owned()),
        run_id: Some("7".to_owned()),
        harness: Some("h".to_owned()),
        step_id: Some(4),
        parent_span_id: Some("p".to_owned()),
        project: Some("pr".to_owned()),
        experiment: Some("e".to_owned()),
    };
    assert_eq!(body(text), Ok(expected));
}

#[test]
fn a_bad_value_does_harm_only_where_it_wins() {
    let bad = Claims::from_headers([("x-rllm-session-id", &b"a\x01"[..])]);
    let good = Claims::session("good");
    assert_eq!(good.clone().or(bad.clone()).identity(), Ok(session("good")));
    assert_eq!(bad.or(good).identity(), bad_session(Problem::Control));

    let lone = parse(br#"{"rllm":{"session_id":"\ud800"}}"#, Dialect::Strict).unwrap();
    let lone = Claims::from_body(lone);
    assert_eq!(
        Claims::session("good").or(lone.clone()).identity(),
        Ok(session("good"))
    );
    assert_eq!(
        lone.or(Claims::session("good")).identity(),
        bad_session(Problem::NotUnicode)
    );
}

#[test]
fn a_step_of_lone_surrogates_is_merely_absent() {
    assert_eq!(
        body(r#"{"rllm":{"step_id":"\ud800"}}"#),
        Ok(Identity::default())
    );
}
