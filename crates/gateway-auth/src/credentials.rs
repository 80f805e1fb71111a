//! What a request's header lines present: candidates for a token.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_PAD_INDIFFERENT;

use crate::Refusal;

const AUTHORIZATION: &str = "authorization";
const API_KEY: &str = "x-api-key";

/// Whether the header `name` (any case) may carry the gateway's credential: `Authorization` or
/// `x-api-key`. Where a credential was meant for the gateway, all of these headers stay behind
/// (see [`Auth::keeps_credentials`](crate::Auth::keeps_credentials)).
#[must_use]
pub fn is_credential_header(name: &str) -> bool {
    name.eq_ignore_ascii_case(AUTHORIZATION) || name.eq_ignore_ascii_case(API_KEY)
}

/// Every token that the header lines present, in their order. What cannot be one (another scheme,
/// broken base64, an empty value) is left out.
///
/// # Errors
///
/// [`Refusal::RepeatedAuthorization`] for more than one `Authorization` line: which of them counts
/// is read differently by every server.
pub(crate) fn presented<'a>(
    headers: impl IntoIterator<Item = (&'a str, &'a [u8])>,
) -> Result<Vec<Cow<'a, [u8]>>, Refusal> {
    let mut candidates = Vec::new();
    let mut authorization_seen = false;
    for (name, value) in headers {
        let candidate = if name.eq_ignore_ascii_case(AUTHORIZATION) {
            if authorization_seen {
                return Err(Refusal::RepeatedAuthorization);
            }
            authorization_seen = true;
            authorization(value)
        } else if name.eq_ignore_ascii_case(API_KEY) {
            Some(Cow::Borrowed(value.trim_ascii()))
        } else {
            None
        };
        candidates.extend(candidate.filter(|token| !token.is_empty()));
    }
    Ok(candidates)
}

/// The token of an `Authorization` value: `Bearer TOKEN`, or `Basic` with the token as password.
/// Schemes are case-insensitive (RFC 9110 §11.1).
fn authorization(value: &[u8]) -> Option<Cow<'_, [u8]>> {
    let value = value.trim_ascii();
    let scheme_end = value.iter().position(u8::is_ascii_whitespace)?;
    let (scheme, rest) = value.split_at(scheme_end);
    let rest = rest.trim_ascii();
    if scheme.eq_ignore_ascii_case(b"bearer") {
        Some(Cow::Borrowed(rest))
    } else if scheme.eq_ignore_ascii_case(b"basic") {
        basic_password(rest).map(Cow::Owned)
    } else {
        None
    }
}

/// What follows the first `:` of the decoded pair; the user name can hold none (RFC 7617 §2), the
/// password may.
fn basic_password(encoded: &[u8]) -> Option<Vec<u8>> {
    let pair = STANDARD_PAD_INDIFFERENT.decode(encoded).ok()?;
    let colon = pair.iter().position(|byte| *byte == b':')?;
    Some(pair[colon + 1..].trim_ascii().to_vec())
}

#[cfg(test)]
mod tests {
    use super::{is_credential_header, presented};
    use crate::Refusal;

    fn check(headers: &[(&str, &[u8])], expected: &[&[u8]]) {
        let found = presented(headers.iter().copied()).unwrap();
        assert_eq!(found, expected, "{headers:?}");
    }

    #[test]
    fn bearer() {
        check(&[("authorization", b"Bearer tok")], &[b"tok"]);
        check(&[("AUTHORIZATION", b"bEaReR tok")], &[b"tok"]);
        check(
            &[("authorization", b"Bearer   two words ")],
            &[b"two words"],
        );
        check(
            &[("authorization", b"Bearer \xff\xfe\x80")],
            &[b"\xff\xfe\x80"],
        );
    }

    #[test]
    fn api_key() {
        check(&[("x-api-key", b"tok")], &[b"tok"]);
        check(
            &[("X-Api-Key", b" tok "), ("x-api-key", b"other")],
            &[b"tok", b"other"],
        );
    }

    #[test]
    fn basic() {
        check(&[("authorization", b"Basic dXNlcjp0b2s=")], &[b"tok"]);
        check(&[("authorization", b"basic dXNlcjp0b2s")], &[b"tok"]);
        // No user; a password with colons; a password that is not UTF-8.
        check(&[("authorization", b"Basic OnRvaw==")], &[b"tok"]);
        check(&[("authorization", b"Basic dTphOmI6Yw==")], &[b"a:b:c"]);
        check(&[("authorization", b"Basic dTr/")], &[b"\xff"]);
    }

    #[test]
    fn all_of_them_count() {
        check(
            &[
                ("x-api-key", b"one"),
                ("authorization", b"Bearer two"),
                ("accept", b"three"),
            ],
            &[b"one", b"two"],
        );
    }

    #[test]
    fn what_is_no_credential_presents_nothing() {
        for value in [
            &b""[..],
            b"Bearer",
            b"Bearer ",
            b"Bearertok",
            b"tok",
            b"Digest tok",
            b"Basic",
            b"Basic !!!",
            b"Basic dXNlcg==",
            b"Basic dXNlcjo=",
            b"Basic dXNlcjp0b2s=====",
            b"\xff\x80",
        ] {
            check(&[("authorization", value)], &[]);
        }
        check(&[("x-api-key", b"")], &[]);
        check(
            &[
                ("x_api_key", b"tok"),
                ("proxy-authorization", b"Bearer tok"),
            ],
            &[],
        );
    }

    #[test]
    fn two_authorization_lines_are_refused_whatever_they_hold() {
        for second in [&b"Bearer tok"[..], b"Bearer other", b"", b"Basic !!!"] {
            let headers = [
                ("authorization", &b"Bearer tok"[..]),
                ("Authorization", second),
            ];
            assert_eq!(presented(headers), Err(Refusal::RepeatedAuthorization));
        }
    }

    #[test]
    fn credential_headers() {
        assert!(is_credential_header("Authorization"));
        assert!(is_credential_header("X-API-Key"));
        assert!(!is_credential_header("x_api_key"));
        assert!(!is_credential_header("proxy-authorization"));
    }
}
