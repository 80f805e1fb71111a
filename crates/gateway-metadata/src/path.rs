//! The path of a request: data plane or not, the session id in it, and what the rest means.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use crate::claims::Claims;
use crate::identity::{Field, IdentityError, Problem};

const VERSION: &str = "/v1";
const SESSIONS: &str = "/sessions/";

/// A path of the data plane, split but not decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataPath<'a> {
    /// The session id as it stands in the path; `None` where the path names none, or an empty one.
    pub session: Option<&'a str>,
    /// What follows the gateway's `/v1`, byte for byte: empty, or beginning with `/`.
    pub api: &'a str,
}

/// Splits the raw path of a request (a query after it does not count): `Some` for the data plane,
/// which is `/v1`, `/v1/…`, `/sessions/{sid}/v1` and `/sessions/{sid}/v1/…`, `None` for all else.
///
/// `{sid}` ends at the first raw `/v1` segment after it, so that it may hold `/`, and `%2Fv1`
/// belongs to it. Splitting comes before decoding.
#[must_use]
pub fn split_path(raw_path: &str) -> Option<DataPath<'_>> {
    let path = without_query(raw_path);
    if let Some(api) = after_version(path) {
        return Some(DataPath { session: None, api });
    }
    let rest = path.strip_prefix(SESSIONS)?;
    let (session, api) = split_at_version(rest)?;
    Some(DataPath {
        session: Some(session).filter(|session| !session.is_empty()),
        api,
    })
}

impl DataPath<'_> {
    /// What the path says of the call's identity.
    #[must_use]
    pub fn claims(&self) -> Claims {
        match self.session.map(decode) {
            Some(Some(session_id)) => Claims::session(&session_id),
            Some(None) => Claims::unreadable_session(),
            None => Claims::default(),
        }
    }

    /// Checks that the rest of the path means one thing to every server.
    ///
    /// # Errors
    ///
    /// [`PathError`], see there.
    pub fn check(&self) -> Result<(), PathError> {
        let decoded = percent_decode_str(self.api).decode_utf8_lossy();
        if has_dot_segment(&decoded) {
            return Err(PathError::DotSegment);
        }
        if after_version(self.api).is_some() {
            return Err(PathError::RepeatedVersion);
        }
        Ok(())
    }
}

/// A path of the data plane that is not forwarded: the caller's error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PathError {
    /// A `.` or `..` segment, encoded or not: HTTP 400, because it could leave the upstream's
    /// base.
    #[error("the path holds a `.` or `..` segment")]
    DotSegment,
    /// A second `/v1` directly after the first: HTTP 404.
    #[error("the path says /v1 twice: was it added to a base URL that ends in /v1 already?")]
    RepeatedVersion,
}

/// The endpoint that a path after `/v1` ([`DataPath::api`]) names, for the decision whether it is
/// recordable and for nothing else: percent-decoded, repeated `/` taken for one, without the `/`
/// at its beginning and the one that may be at its end.
#[must_use]
pub fn endpoint_of(api: &str) -> String {
    let decoded = percent_decode_str(without_query(api)).decode_utf8_lossy();
    let mut endpoint = String::with_capacity(decoded.len());
    for character in decoded.chars() {
        let repeated = character == '/' && (endpoint.is_empty() || endpoint.ends_with('/'));
        if !repeated {
            endpoint.push(character);
        }
    }
    if endpoint.ends_with('/') {
        endpoint.pop();
    }
    endpoint
}

/// The session id that a raw part of a path stands for: percent-decoded once (an invalid `%` stays
/// as it is), trimmed, and checked. `None` where nothing is left.
///
/// # Errors
///
/// Not UTF-8, too long, or with a control character: HTTP 400 `bad_identity`.
pub fn decode_session_id(raw: &str) -> Result<Option<String>, IdentityError> {
    let decoded = decode(raw).ok_or(IdentityError {
        field: Field::SessionId,
        problem: Problem::NotUnicode,
    })?;
    Claims::session(&decoded)
        .identity()
        .map(|identity| identity.session_id)
}

/// Whether a session id holds a `/v1` segment, and so cannot be used raw in a path: what follows
/// the segment would not reach the session.
#[must_use]
pub fn has_v1_segment(session_id: &str) -> bool {
    split_at_version(session_id).is_some()
}

/// Whether a path or an id holds a `.` or `..` segment: raw in a URL, clients take it for a way
/// and shorten the URL before they send it.
#[must_use]
pub fn has_dot_segment(path: &str) -> bool {
    path.split('/').any(is_dot_segment)
}

/// Whether a segment is `.` or `..`, which no client sends as it stands, percent-encoded or not.
#[must_use]
pub fn is_dot_segment(segment: &str) -> bool {
    matches!(segment, "." | "..")
}

/// `None` for bytes that are not UTF-8 once they are decoded.
fn decode(raw: &str) -> Option<Cow<'_, str>> {
    percent_decode_str(raw).decode_utf8().ok()
}

fn without_query(path: &str) -> &str {
    path.split_once('?').map_or(path, |(path, _)| path)
}

/// What follows a `/v1` segment at the very beginning.
fn after_version(path: &str) -> Option<&str> {
    path.strip_prefix(VERSION)
        .filter(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// What stands before and after the first `/v1` segment.
fn split_at_version(path: &str) -> Option<(&str, &str)> {
    path.match_indices(VERSION)
        .find_map(|(at, _)| after_version(&path[at..]).map(|api| (&path[..at], api)))
}

#[cfg(test)]
mod tests;
