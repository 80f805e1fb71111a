//! Bodies as a record keeps them: value for value and number for number.

use gateway_json::{Dialect, Edits, Value, parse, quote};
use gateway_metadata::strip_body;

use crate::Json;

/// So much of a body that is no JSON object is kept, in bytes.
const MAX_KEPT: usize = 64 << 10;

/// The reply's body as it came.
pub(crate) fn raw_response(body: &[u8]) -> Json {
    match parse(body, Dialect::Strict) {
        Ok(root) if root.is_object() => Json::trusted(root.text()),
        other => wrapped(body, other.ok()),
    }
}

/// The request's body as it came, without the gateway's own keys.
pub(crate) fn raw_request(body: &[u8], root: Option<Value<'_>>) -> Json {
    match root {
        Some(root) if root.is_object() => {
            let mut edits = Edits::new(root);
            strip_body(&mut edits, root);
            Json::trusted(edits.apply().unwrap_or_else(|| root.text().to_owned()))
        }
        other => wrapped(body, other),
    }
}

/// `{"_body": the JSON value, or the text, of its first 64 KiB}`
fn wrapped(body: &[u8], value: Option<Value<'_>>) -> Json {
    let value = match value {
        Some(value) if value.text().len() <= MAX_KEPT => value.text().to_owned(),
        _ => quote(&beginning(body)),
    };
    Json::trusted(format!("{{\"_body\":{value}}}"))
}

/// The text of the first bytes; a character that is cut there is left out.
fn beginning(body: &[u8]) -> String {
    if body.len() <= MAX_KEPT {
        return String::from_utf8_lossy(body).into_owned();
    }
    let mut end = MAX_KEPT;
    // At most three bytes of one character can follow its first.
    while end > MAX_KEPT - 4 && body[end] & 0xc0 == 0x80 {
        end -= 1;
    }
    String::from_utf8_lossy(&body[..end]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::{MAX_KEPT, raw_request, raw_response};
    use gateway_json::{Dialect, parse};

    #[track_caller]
    fn check(body: &str, expected: &str) {
        assert_eq!(raw_response(body.as_bytes()).as_str(), expected, "{body:?}");
    }

    #[test]
    fn an_object_is_kept_as_it_is() {
        for body in [
            "{}",
            r#"{"a": 1.0, "b": 1e3, "c": 123456789012345678901234567890, "d": "\ud800", "a": -0.0}"#,
        ] {
            check(body, body);
        }
        check(" {\"a\":\n1}\r\n", "{\"a\":\n1}");
    }

    #[test]
    fn what_is_no_object_is_wrapped() {
        check("[1.0,2]", r#"{"_body":[1.0,2]}"#);
        check("\"x\"", r#"{"_body":"x"}"#);
        check("null", r#"{"_body":null}"#);
        check("", r#"{"_body":""}"#);
        check("<html>\n</html>", r#"{"_body":"<html>\n</html>"}"#);
        check(r#"{"a":NaN}"#, r#"{"_body":"{\"a\":NaN}"}"#);
        check("{\"a\":", r#"{"_body":"{\"a\":"}"#);
        let deep = format!("{}1{}", "{\"a\":".repeat(128), "}".repeat(128));
        assert_eq!(raw_response(deep.as_bytes()).as_str(), deep);
        let deeper = format!("{{\"a\":{deep}}}");
        assert!(
            raw_response(deeper.as_bytes())
                .as_str()
                .starts_with(r#"{"_body":"{\"a\""#)
        );
    }

    #[test]
    fn the_text_is_cut_between_characters() {
        for shift in 0..4 {
            let body = format!("{}{}", "x".repeat(shift), "\u{1f600}".repeat(MAX_KEPT));
            let kept = raw_response(body.as_bytes());
            let kept = kept
                .value()
                .unwrap()
                .get("_body")
                .unwrap()
                .as_str()
                .unwrap()
                .into_owned();
            assert!(body.starts_with(&kept) && kept.len() > MAX_KEPT - 4 && kept.len() <= MAX_KEPT);
        }
        let array = format!("[{}1]", "1,".repeat(MAX_KEPT));
        assert!(
            raw_response(array.as_bytes())
                .as_str()
                .starts_with(r#"{"_body":"[1,1"#)
        );
        assert!(
            raw_response(&[0xff; 2 * MAX_KEPT])
                .as_str()
                .starts_with("{\"_body\":\"\u{fffd}")
        );
    }

    #[test]
    fn a_request_loses_only_the_keys_of_rllm() {
        let body = br#"{"rllm":{"run_id":"r"},"temperature":1.0,"metadata":{"rllm":{},"a":1e3}}"#;
        let root = parse(body, Dialect::Strict).unwrap();
        assert_eq!(
            raw_request(body, Some(root)).as_str(),
            r#"{"temperature":1.0,"metadata":{"a":1e3}}"#
        );
        assert_eq!(
            raw_request(b"[]", parse(b"[]", Dialect::Strict).ok()).as_str(),
            r#"{"_body":[]}"#
        );
        assert_eq!(raw_request(b"{", None).as_str(), r#"{"_body":"{"}"#);
    }
}
