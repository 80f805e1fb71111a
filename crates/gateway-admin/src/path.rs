//! The path rule of the management plane: ids may hold raw slashes and any percent-encoded byte.
//!
//! A router matches segment by segment, and an id such as `org/name:0` is more than one segment.
//! So the raw path is read here first: what belongs to the id is cut out, decoded once, and put
//! back as a single segment in which everything but letters and digits is encoded. After that the
//! router's own path parameter is the id, and no route needs to know about slashes.

use std::borrow::Cow;

use gateway_metadata::decode_session_id;
use http::Method;
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::refusal::Refusal;

const SESSIONS: &str = "/sessions/";
const TRACES: &str = "/traces/";

/// What may follow a session's id; each ends the id only where it stands raw.
const SESSION_TAILS: [&str; 2] = ["/traces", "/report"];

/// What a session takes.
const SESSION_METHODS: [Method; 3] = [Method::GET, Method::HEAD, Method::DELETE];

/// Paths below `/traces/` that are requests of their own, and no trace's id.
const TRACE_REQUESTS: [&str; 3] = ["count", "facets", "query"];

/// Rewrites a raw request path so that an id in it is one encoded segment.
///
/// # Errors
/// A session id that is no identity value, and any id that is not UTF-8 once it is decoded, is
/// `bad_identity`; where an id is missing, or is blank, the path is nobody's.
pub(crate) fn canonical<'a>(method: &Method, path: &'a str) -> Result<Cow<'a, str>, Refusal> {
    let Some((prefix, raw, tail)) = split(method, path) else {
        return Ok(Cow::Borrowed(path));
    };
    let id = if prefix == SESSIONS {
        // As the data plane reads it, so that both planes mean the same session.
        decode_session_id(raw)?.unwrap_or_default()
    } else {
        let decoded = percent_decode_str(raw).decode_utf8();
        decoded
            .map_err(|_| Refusal::identity("the id in the path is not UTF-8"))?
            .into_owned()
    };
    if id.is_empty() {
        return Err(Refusal::no_path(method));
    }
    let id = utf8_percent_encode(&id, NON_ALPHANUMERIC);
    Ok(Cow::Owned(format!("{prefix}{id}{tail}")))
}

/// Cuts a path that has an id into what stands before it, the raw id, and what stands after it.
fn split<'a>(method: &Method, path: &'a str) -> Option<(&'static str, &'a str, &'a str)> {
    let prefixes = [SESSIONS, TRACES, "/runs/", "/admin/workers/"];
    let prefix = prefixes
        .into_iter()
        .find(|prefix| path.starts_with(prefix))?;
    let rest = &path[prefix.len()..];
    let id = match prefix {
        // A session may well be called `batch_delete`, but nobody posts to one.
        SESSIONS if rest == "batch_delete" && !SESSION_METHODS.contains(method) => return None,
        SESSIONS => session_id(rest),
        TRACES if TRACE_REQUESTS.contains(&rest) => return None,
        _ => rest,
    };
    Some((prefix, id, &rest[id.len()..]))
}

/// The raw id at the beginning of what follows `/sessions/`.
fn session_id(rest: &str) -> &str {
    // A path with an id and a `/v1` segment is the data plane's and does not come here; one whose
    // id is empty does, and must not be taken for a session named `/v1`.
    if rest == "/v1" || rest.starts_with("/v1/") {
        return "";
    }
    SESSION_TAILS
        .iter()
        .find_map(|tail| rest.strip_suffix(tail))
        .unwrap_or(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, expected: &str) {
        check_for(&Method::GET, path, expected);
    }

    fn check_for(method: &Method, path: &str, expected: &str) {
        let canonical = canonical(method, path).expect("a path that can be read");
        assert_eq!(canonical, expected, "{method} {path}");
    }

    fn refused(path: &str) -> &'static str {
        canonical(&Method::GET, path)
            .expect_err("a path that is refused")
            .code()
    }

    #[test]
    fn paths_without_an_id_stay_as_they_are() {
        for path in [
            "/",
            "/health",
            "/sessions",
            "/traces",
            "/traces/count",
            "/traces/facets",
            "/traces/query",
            "/runs",
            "/admin/workers",
            "/admin/flush",
            "/nothing/here",
            "",
        ] {
            check(path, path);
        }
    }

    #[test]
    fn an_id_becomes_one_segment() {
        check("/sessions/s1", "/sessions/s1");
        check("/sessions/s1/traces", "/sessions/s1/traces");
        check("/sessions/s1/report", "/sessions/s1/report");
        check("/sessions/org/name:0", "/sessions/org%2Fname%3A0");
        check(
            "/sessions/org%2Fname:0/traces",
            "/sessions/org%2Fname%3A0/traces",
        );
        check("/sessions/../x", "/sessions/%2E%2E%2Fx");
        check("/runs/a/b", "/runs/a%2Fb");
        check(
            "/admin/workers/http://h:1/v1",
            "/admin/workers/http%3A%2F%2Fh%3A1%2Fv1",
        );
        check("/traces/0191-abc", "/traces/0191%2Dabc");
    }

    #[test]
    fn only_a_raw_tail_at_the_end_ends_an_id() {
        check("/sessions/a%2Ftraces", "/sessions/a%2Ftraces");
        check("/sessions/a%2Ftraces/traces", "/sessions/a%2Ftraces/traces");
        check("/sessions/a/traces/traces", "/sessions/a%2Ftraces/traces");
        check("/sessions/a/traces/b", "/sessions/a%2Ftraces%2Fb");
        check("/sessions/traces", "/sessions/traces");
        check("/sessions/a/mytraces", "/sessions/a%2Fmytraces");
        check("/sessions/a/v10", "/sessions/a%2Fv10");
    }

    #[test]
    fn an_id_is_decoded_once_and_a_stray_percent_stays() {
        check("/sessions/a%252Fb", "/sessions/a%252Fb");
        check("/sessions/100%", "/sessions/100%25");
        check("/sessions/a%zz", "/sessions/a%25zz");
        check("/sessions/%F0%9F%98%80", "/sessions/%F0%9F%98%80");
    }

    #[test]
    fn an_empty_id_is_none() {
        for path in [
            "/sessions/",
            "/sessions//traces",
            "/sessions//v1",
            "/sessions//v1/models",
            "/sessions/%20",
            "/traces/",
            "/runs/",
        ] {
            assert_eq!(refused(path), "not_found", "{path}");
        }
    }

    #[test]
    fn a_batch_is_a_batch_only_where_it_is_posted() {
        check_for(
            &Method::POST,
            "/sessions/batch_delete",
            "/sessions/batch_delete",
        );
        check_for(
            &Method::GET,
            "/sessions/batch_delete",
            "/sessions/batch%5Fdelete",
        );
        check_for(
            &Method::DELETE,
            "/sessions/batch_delete",
            "/sessions/batch%5Fdelete",
        );
    }

    #[test]
    fn an_id_that_is_no_identity_value_is_refused() {
        let long = format!("/sessions/{}", "x".repeat(513));
        for path in [
            "/sessions/%FF",
            "/sessions/a%C3/traces",
            "/runs/%ff%fe",
            "/sessions/a%00b",
            "/sessions/a%0d%0ab",
            &long,
        ] {
            assert_eq!(refused(path), "bad_identity", "{path}");
        }
    }

    #[test]
    fn a_session_id_is_trimmed_as_on_the_data_plane() {
        check("/sessions/%20a%20b%20/traces", "/sessions/a%20b/traces");
    }
}
