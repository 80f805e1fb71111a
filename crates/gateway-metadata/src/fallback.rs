//! Session headers of the clients' own, for calls that name no session in our way.

use serde::{Deserialize, Serialize};

use crate::headers::header_text;
use crate::identity::Field;

/// Headers in which well-known clients (Claude Code, Codex, opencode, prime-rl) send a session id
/// of their own, in the order in which they are asked. They are the client's, and go upstream.
pub const DEFAULT_FALLBACK_HEADERS: [&str; 4] = [
    "x-session-id",
    "x-claude-code-session-id",
    "session-id",
    "x-session-affinity",
];

/// A client's own session header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionHeader {
    /// Its name, in lower case.
    pub name: String,
    /// Its value, trimmed; always a usable session id.
    pub value: String,
}

/// The first header of `names` that carries a usable session id. Unusable values (blank, over
/// [`MAX_VALUE_BYTES`](crate::MAX_VALUE_BYTES), with control characters) are passed over: a
/// client's own header must not fail its calls. Of a header that repeats, the last usable value
/// counts.
#[must_use]
pub fn fallback_session<'a>(
    headers: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    names: &[impl AsRef<str>],
) -> Option<SessionHeader> {
    let mut best: Option<(usize, SessionHeader)> = None;
    for (name, value) in headers {
        let rank = names
            .iter()
            .position(|known| name.eq_ignore_ascii_case(known.as_ref()));
        let Some(rank) = rank else {
            continue;
        };
        if best.as_ref().is_some_and(|(best, _)| *best < rank) {
            continue;
        }
        let text = header_text(value);
        if !text.is_empty() && Field::SessionId.check(&text).is_ok() {
            let header = SessionHeader {
                name: name.to_ascii_lowercase(),
                value: text.into_owned(),
            };
            best = Some((rank, header));
        }
    }
    best.map(|(_, header)| header)
}

#[cfg(test)]
mod tests {
    use super::{DEFAULT_FALLBACK_HEADERS, fallback_session};

    fn check(headers: &[(&str, &[u8])], expected: Option<(&str, &str)>) {
        let found = fallback_session(headers.iter().copied(), &DEFAULT_FALLBACK_HEADERS);
        let found = found
            .as_ref()
            .map(|header| (header.name.as_str(), header.value.as_str()));
        assert_eq!(found, expected, "{headers:?}");
    }

    #[test]
    fn the_order_of_the_names_counts_not_that_of_the_headers() {
        check(
            &[
                ("session-id", b"codex"),
                ("x-session-affinity", b"a"),
                ("X-Session-Id", b"own"),
            ],
            Some(("x-session-id", "own")),
        );
        check(&[("Session-Id", b" codex ")], Some(("session-id", "codex")));
        check(
            &[("x_session_id", b"shadow"), ("cookie", b"x-session-id=1")],
            None,
        );
        check(&[], None);
    }

    #[test]
    fn unusable_values_are_passed_over() {
        let long = [b'x'; 513];
        for unusable in [
            &b""[..],
            b"   ",
            b"a\tb",
            b"\x80",
            b"a\xc2\x85b",
            b"\x7f",
            &long,
        ] {
            check(&[("x-session-id", unusable)], None);
            check(
                &[("x-session-id", unusable), ("x-session-affinity", b"s")],
                Some(("x-session-affinity", "s")),
            );
        }
        check(
            &[("x-session-id", &long[..512])],
            Some(("x-session-id", &"x".repeat(512))),
        );
    }

    #[test]
    fn the_last_usable_value_of_a_repeated_header_counts() {
        check(
            &[
                ("x-session-id", b"a"),
                ("x-session-id", b"b"),
                ("x-session-id", b"\x01"),
            ],
            Some(("x-session-id", "b")),
        );
    }

    #[test]
    fn latin_1() {
        check(&[("session-id", b"caf\xe9")], Some(("session-id", "café")));
    }

    #[test]
    fn own_lists_and_none() {
        let headers: [(&str, &[u8]); 2] = [("x-session-id", b"a"), ("session_id", b"b")];
        assert_eq!(fallback_session(headers, &[] as &[&str]), None);
        let own = fallback_session(headers, &["Session_Id".to_owned()]).unwrap();
        assert_eq!((own.name.as_str(), own.value.as_str()), ("session_id", "b"));
    }
}
