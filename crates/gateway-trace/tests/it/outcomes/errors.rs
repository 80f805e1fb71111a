//! What an upstream said was wrong.

use super::*;

#[track_caller]
fn check_error(status: u16, body: &str, expected: [&str; 3]) {
    let error = whole(CHAT, "{}", status, body.as_bytes(), End::Eof)
        .error
        .expect("an error");
    assert_eq!(
        [error.r#type.as_str(), &error.code, &error.message],
        expected,
        "{body}"
    );
}

#[test]
fn errors_are_the_upstreams_own() {
    check_error(
        400,
        r#"{"error":{"message":"m","type":"t","code":"c"}}"#,
        ["t", "c", "m"],
    );
    check_error(
        400,
        r#"{"error":{"message":"m","type":"t","code":400}}"#,
        ["t", "400", "m"],
    );
    check_error(
        429,
        r#"{"error":{"message":"m","type":null,"code":null}}"#,
        ["upstream_error", "429", "m"],
    );
    check_error(
        529,
        r#"{"type":"error","error":{"type":"overloaded_error","message":"m"}}"#,
        ["overloaded_error", "529", "m"],
    );
    check_error(
        404,
        r#"{"detail":"Not Found"}"#,
        ["upstream_error", "404", "Not Found"],
    );
    check_error(
        422,
        r#"{"detail":[{"loc":1}]}"#,
        ["upstream_error", "422", r#"[{"loc":1}]"#],
    );
    check_error(
        400,
        r#"{"object":"error","message":"m","type":"BadRequestError","code":400}"#,
        ["BadRequestError", "400", "m"],
    );
    check_error(
        500,
        r#"{"error":"text"}"#,
        ["upstream_error", "500", "text"],
    );
    check_error(
        502,
        "<html>bad</html>\n",
        ["upstream_error", "502", "<html>bad</html>"],
    );
    check_error(
        503,
        "",
        [
            "upstream_error",
            "503",
            "the upstream answered with status 503",
        ],
    );
    check_error(
        200,
        r#"{"error":{"message":"m"},"choices":[{"message":{}}]}"#,
        ["upstream_error", "200", "m"],
    );
    check_error(
        200,
        r#"{"error":{"type":"t"}}"#,
        ["t", "200", "the upstream answered with an error"],
    );
    check_error(
        200,
        r#"{"object":"error","message":"m"}"#,
        ["upstream_error", "200", "m"],
    );
}
