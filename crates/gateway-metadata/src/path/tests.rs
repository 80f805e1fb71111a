//! Which paths are the data plane, and where a session id in one ends.

use super::{
    DataPath, PathError, decode_session_id, endpoint_of, has_dot_segment, has_v1_segment,
    is_dot_segment, split_path,
};
use crate::identity::{Field, IdentityError, Problem};

fn check_split(path: &str, expected: Option<(Option<&str>, &str)>) {
    let split = split_path(path).map(|path| (path.session, path.api));
    assert_eq!(split, expected, "{path}");
}

#[test]
fn data_plane_without_a_session() {
    check_split("/v1", Some((None, "")));
    check_split("/v1/", Some((None, "/")));
    check_split("/v1/chat/completions", Some((None, "/chat/completions")));
    check_split("/v1/messages?beta=true", Some((None, "/messages")));
    check_split("/v1?x=/sessions/a/v1", Some((None, "")));
    check_split(
        "/v1/sessions/a/v1/models",
        Some((None, "/sessions/a/v1/models")),
    );
    // An empty id is none.
    check_split(
        "/sessions//v1/chat/completions",
        Some((None, "/chat/completions")),
    );
    check_split("/sessions//v1", Some((None, "")));
}

#[test]
fn data_plane_with_a_session() {
    check_split("/sessions/s/v1", Some((Some("s"), "")));
    check_split("/sessions/s/v1/", Some((Some("s"), "/")));
    check_split("/sessions/s/v1?a=b", Some((Some("s"), "")));
    check_split(
        "/sessions/a/b:0/v1/models",
        Some((Some("a/b:0"), "/models")),
    );
    check_split("/sessions/a%2Fv1/v1/x", Some((Some("a%2Fv1"), "/x")));
    check_split("/sessions/a/v1/b/v1/c", Some((Some("a"), "/b/v1/c")));
    check_split("/sessions/a/v10/v1x/v1/c", Some((Some("a/v10/v1x"), "/c")));
    check_split("/sessions/v1/v1/c", Some((Some("v1"), "/c")));
    check_split("/sessions/a//v1/c", Some((Some("a/"), "/c")));
    check_split("/sessions/a/../v1/c", Some((Some("a/.."), "/c")));
    check_split("/sessions/x/traces/v1/c", Some((Some("x/traces"), "/c")));
}

#[test]
fn defect_06_what_goes_on_keeps_its_encoding() {
    check_split("/v1/models/org%2Fname", Some((None, "/models/org%2Fname")));
    check_split(
        "/sessions/a%20b/v1/%zz//x%2f/",
        Some((Some("a%20b"), "/%zz//x%2f/")),
    );
}

#[test]
fn not_the_data_plane() {
    for path in [
        "",
        "/",
        "/health",
        "/v10/chat",
        "/v1x",
        "/V1/chat",
        "/%761/chat",
        "//v1/chat",
        "v1/chat",
        "/api/v1/chat",
        "/sessions",
        "/sessions/",
        "/sessions/x",
        "/sessions/x/traces",
        "/sessions/v1",
        "/sessions/v1/traces",
        "/sessions/x/v10/traces",
        "/sessions/x%2Fv1/traces",
        "/sessions/x/%2Fv1",
        "/sessions/x?next=/v1/chat",
        "/sessionsx/a/v1/chat",
        "/traces?session_id=/v1/",
    ] {
        check_split(path, None);
    }
}

#[test]
fn session_ids_are_decoded_once_and_after_the_split() {
    let check = |raw: &str, expected: Result<Option<&str>, Problem>| {
        let expected = expected
            .map(|id| id.map(str::to_owned))
            .map_err(|problem| IdentityError {
                field: Field::SessionId,
                problem,
            });
        assert_eq!(decode_session_id(raw), expected, "{raw}");
        let path = format!("/sessions/{raw}/v1/models");
        let claims = split_path(&path).unwrap().claims();
        assert_eq!(
            claims.identity().map(|identity| identity.session_id),
            expected,
            "{path}"
        );
    };
    check("session-1", Ok(Some("session-1")));
    check("django__django-1234:3", Ok(Some("django__django-1234:3")));
    check("org/name:0", Ok(Some("org/name:0")));
    check("org%2Fname%20x", Ok(Some("org/name x")));
    check("a%2Fv1", Ok(Some("a/v1")));
    check("a%252Fb", Ok(Some("a%2Fb")));
    check("a+b", Ok(Some("a+b")));
    check("%F0%9F%A6%80", Ok(Some("🦀")));
    check("..%2F..", Ok(Some("../..")));
    check("%20s%20", Ok(Some("s")));
    check("%20", Ok(None));
    // An invalid `%` stays as it is.
    check("100%", Ok(Some("100%")));
    check("a%2", Ok(Some("a%2")));
    check("%zz%41", Ok(Some("%zzA")));
    check("%ff", Err(Problem::NotUnicode));
    check("a%C3", Err(Problem::NotUnicode));
    check("%ED%A0%80", Err(Problem::NotUnicode));
    check("a%00b", Err(Problem::Control));
    check("a%0d%0aX-Evil:%201", Err(Problem::Control));
    check("a%7F", Err(Problem::Control));
    check("a%C2%85b", Err(Problem::Control));
    check(&"x".repeat(512), Ok(Some(&"x".repeat(512))));
    check(&"x".repeat(513), Err(Problem::TooLong));
    check(&"%41".repeat(512), Ok(Some(&"A".repeat(512))));
}

#[test]
fn an_empty_session_makes_no_claim() {
    assert_eq!(decode_session_id(""), Ok(None));
    let path = split_path("/sessions//v1/models").unwrap();
    assert_eq!(path.claims().identity().unwrap().session_id, None);
}

#[test]
fn dot_segments_and_repeated_versions() {
    let check = |api: &str, expected: Result<(), PathError>| {
        assert_eq!(DataPath { session: None, api }.check(), expected, "{api}");
    };
    for fine in [
        "",
        "/",
        "/models",
        "//models//",
        "/models/org%2Fname",
        "/models/..name",
        "/models/...",
        "/models/a.b",
        "/models/%252e%252e",
        "/v10/models",
        "/models/v1",
        "/models/v1/x",
    ] {
        check(fine, Ok(()));
    }
    for dots in [
        "/.",
        "/..",
        "/../admin",
        "/models/..",
        "/models/./x",
        "/%2e%2e/admin",
        "/%2E./admin",
        "/.%2e",
        "/%2e",
        "/models%2F..%2Fadmin",
        "/models/%2e%2e%2fadmin",
        "/v1/../x",
    ] {
        check(dots, Err(PathError::DotSegment));
    }
    for repeated in ["/v1", "/v1/", "/v1/messages"] {
        check(repeated, Err(PathError::RepeatedVersion));
    }
    // The id may hold what the rest of the path may not.
    assert_eq!(
        split_path("/sessions/../v1/models").unwrap().check(),
        Ok(())
    );
    let doubled = split_path("/sessions/s/v1/v1/messages").unwrap();
    assert_eq!(doubled.check(), Err(PathError::RepeatedVersion));
}

#[test]
fn endpoints() {
    let check = |api: &str, expected: &str| assert_eq!(endpoint_of(api), expected, "{api}");
    check("/chat/completions", "chat/completions");
    check("/chat/completions/", "chat/completions");
    check("//chat//completions//", "chat/completions");
    check("/chat%2Fcompletions", "chat/completions");
    check("/chat%2F/completions", "chat/completions");
    check("/%63hat/completions", "chat/completions");
    check("/messages?beta=true", "messages");
    check("/messages/count_tokens", "messages/count_tokens");
    check("/messages%3Fbeta", "messages?beta");
    check("/%2563hat/completions", "%63hat/completions");
    check("/Chat/completions", "Chat/completions");
    check("/%ff", "\u{fffd}");
    check("", "");
    check("/", "");
    check("///", "");
}

#[test]
fn ids_that_would_end_early_in_a_path() {
    for id in ["a/v1", "a/v1/b", "/v1", "/v1/a"] {
        assert!(has_v1_segment(id), "{id}");
    }
    for id in ["a", "v1", "v1/a", "a/v10", "a-v1", "a/v1x", "a%2Fv1", ""] {
        assert!(!has_v1_segment(id), "{id}");
    }
}

#[test]
fn ids_that_would_lead_elsewhere_in_a_path() {
    for id in [".", "..", "a/..", "../a", "a/./b", "/..", "./"] {
        assert!(has_dot_segment(id), "{id}");
    }
    for id in [
        "", "/", "a..b", "...", "a/..b", "a/.b/c.", "%2e%2e", "a%2F..", "a\\..\\b",
    ] {
        assert!(!has_dot_segment(id), "{id}");
    }
    assert!(is_dot_segment("..") && !is_dot_segment("a/.."));
}
