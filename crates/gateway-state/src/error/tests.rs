//! The table of errors, row by row.

use std::collections::BTreeSet;

use gateway_auth::Refusal;

use super::{ApiError, Code};

/// One error of each row of the wire contract: status, `type`, `code`.
fn rows() -> Vec<(ApiError, u16, &'static str, &'static str)> {
    let invalid = "invalid_request_error";
    let upstream = "upstream_error";
    vec![
        (ApiError::bad_request("m"), 400, invalid, "bad_request"),
        (ApiError::bad_identity("m"), 400, invalid, "bad_identity"),
        (ApiError::unauthorized(), 401, "auth_error", "unauthorized"),
        (ApiError::forbidden("m"), 403, "auth_error", "forbidden"),
        (
            ApiError::path_not_allowed("m"),
            403,
            "auth_error",
            "path_not_allowed",
        ),
        (ApiError::no_route("m"), 404, "not_found_error", "no_route"),
        (
            ApiError::not_found("m"),
            404,
            "not_found_error",
            "not_found",
        ),
        (
            ApiError::method_not_allowed("GET, HEAD"),
            405,
            invalid,
            "method_not_allowed",
        ),
        (
            ApiError::request_timeout("m"),
            408,
            invalid,
            "request_timeout",
        ),
        (ApiError::conflict("m"), 409, invalid, "conflict"),
        (
            ApiError::body_too_large("m"),
            413,
            invalid,
            "body_too_large",
        ),
        (ApiError::uri_too_long("m"), 414, invalid, "uri_too_long"),
        (
            ApiError::unsupported_encoding("m"),
            415,
            invalid,
            "unsupported_encoding",
        ),
        (
            ApiError::expectation_failed("m"),
            417,
            invalid,
            "expectation_failed",
        ),
        (
            ApiError::misdirected_request("m"),
            421,
            invalid,
            "misdirected_request",
        ),
        (
            ApiError::headers_too_large("m"),
            431,
            invalid,
            "headers_too_large",
        ),
        (
            ApiError::upgrade_required(),
            426,
            invalid,
            "upgrade_required",
        ),
        (
            ApiError::overloaded("m"),
            429,
            "rate_limit_error",
            "overloaded",
        ),
        (
            ApiError::internal_error("m"),
            500,
            "api_error",
            "internal_error",
        ),
        (
            ApiError::not_implemented("m"),
            501,
            "api_error",
            "not_implemented",
        ),
        (
            ApiError::upstream_unreachable("m"),
            502,
            upstream,
            "upstream_unreachable",
        ),
        (
            ApiError::upstream_protocol("m"),
            502,
            upstream,
            "upstream_protocol",
        ),
        (
            ApiError::no_healthy_worker("m", 7),
            503,
            upstream,
            "no_healthy_worker",
        ),
        (ApiError::draining(), 503, upstream, "draining"),
        (
            ApiError::store_unavailable("m"),
            503,
            upstream,
            "store_unavailable",
        ),
        (ApiError::paused(), 503, upstream, "paused"),
        (
            ApiError::upstream_timeout("m"),
            504,
            upstream,
            "upstream_timeout",
        ),
    ]
}

#[test]
fn every_row_of_the_table_has_its_status_type_and_code() {
    for (error, status, kind, code) in rows() {
        assert_eq!(
            (error.status(), error.kind(), error.code()),
            (status, kind, code)
        );
        let response = error.clone().into_response();
        assert_eq!(response.status().as_u16(), status, "{code}");
        assert_eq!(
            response.headers()["content-type"],
            "application/json",
            "{code}"
        );
        let message = serde_json::Value::from(error.message());
        let body = format!(
            r#"{{"type":"error","error":{{"message":{message},"type":"{kind}","code":"{code}","param":null}}}}"#
        );
        assert_eq!(*response.body(), body);
        serde_json::from_str::<serde_json::Value>(response.body()).unwrap();
    }
}

#[test]
fn every_code_has_a_row_and_a_place_of_its_own() {
    let built: Vec<Code> = rows().iter().map(|(error, ..)| error.reason()).collect();
    for (place, code) in Code::ALL.into_iter().enumerate() {
        assert_eq!(code as usize, place, "{code:?}");
        assert!(built.contains(&code), "{code:?}");
    }
    let words: BTreeSet<&str> = Code::ALL.into_iter().map(Code::as_str).collect();
    assert_eq!(words.len(), Code::ALL.len());
}

#[test]
fn some_rows_say_more_in_headers() {
    for (error, _, _, code) in rows() {
        let response = error.into_response();
        let header = |name: &str| {
            response
                .headers()
                .get(name)
                .map(|value| value.to_str().unwrap())
        };
        let retry_after = match code {
            "overloaded" => Some("1"),
            "draining" => Some("2"),
            "store_unavailable" | "paused" => Some("5"),
            "no_healthy_worker" => Some("7"),
            _ => None,
        };
        assert_eq!(header("retry-after"), retry_after, "{code}");
        let challenge = (code == "unauthorized").then_some(r#"Bearer realm="rllm-gateway""#);
        assert_eq!(header("www-authenticate"), challenge, "{code}");
        assert_eq!(
            header("allow"),
            (code == "method_not_allowed").then_some("GET, HEAD"),
            "{code}"
        );
        let connection = match code {
            "draining" => Some("close"),
            "upgrade_required" => Some("upgrade"),
            _ => None,
        };
        assert_eq!(header("connection"), connection, "{code}");
        assert_eq!(
            header("upgrade"),
            (code == "upgrade_required").then_some("HTTP/1.1"),
            "{code}"
        );
    }
}

#[test]
fn the_text_of_the_401_is_the_contract_s() {
    assert_eq!(
        ApiError::unauthorized().message(),
        "missing or invalid bearer token"
    );
}

#[test]
fn any_error_may_close_the_connection() {
    let error = ApiError::bad_request("two Content-Length lines").closing();
    assert!(error.closes());
    assert_eq!(error.into_response().headers()["connection"], "close");
    assert!(!ApiError::bad_request("m").closes());
}

#[test]
fn a_message_may_hold_anything() {
    let message = "quote \" backslash \\ newline \n nul \0 emoji 🦀 </script>";
    let body = ApiError::bad_request(message).body();
    let read: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(read["error"]["message"], message);
    assert!(read["error"]["param"].is_null());
}

#[test]
fn refusals_of_a_token_are_errors_of_the_table() {
    let of = |refusal: Refusal| ApiError::from(refusal);
    assert_eq!(of(Refusal::Unauthorized), ApiError::unauthorized());
    assert_eq!(of(Refusal::Forbidden).reason(), Code::Forbidden);
    let repeated = of(Refusal::RepeatedAuthorization);
    assert_eq!(
        (repeated.reason(), repeated.closes()),
        (Code::BadRequest, true)
    );
}
