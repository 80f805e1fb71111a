//! Which header lines stay behind, and how the text of one is read.

use std::borrow::Cow;

const RLLM_PREFIX: &str = "x-rllm-";

/// Headers that concern one connection only (RFC 9110 §7.6.1), and those that belong to framing
/// and to proxies: they are never passed on, in either direction. Lower case.
pub const HOP_BY_HOP: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    // Trailers are not passed on, so neither is their announcement.
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Further headers that a gateway reads, sets or must keep from its upstream. Lower case.
const KNOWN: [&str; 16] = [
    "accept-encoding",
    "authorization",
    "cf-connecting-ip",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "forwarded",
    "host",
    "origin",
    "traceparent",
    "user-agent",
    "x-api-key",
    "x-forwarded-for",
    "x-request-id",
    "x-stainless-retry-count",
];

/// Whether the name (any case) begins with `x-rllm-`: the gateway's own, known or not, and never
/// passed on.
#[must_use]
pub fn is_rllm_header(name: &str) -> bool {
    name.get(..RLLM_PREFIX.len())
        .is_some_and(|prefix| prefix.eq_ignore_ascii_case(RLLM_PREFIX))
}

/// Whether the name, with its `_` read as `-`, is one that means something to the gateway, as in
/// `X_RLLM_Session_Id` or `Transfer_Encoding`. Servers of the CGI family take the two for one, so
/// such a header is dropped, and never read as the one that it shadows.
#[must_use]
pub fn shadows_known_header(name: &str) -> bool {
    if !name.contains('_') {
        return false;
    }
    let name = name.to_ascii_lowercase().replace('_', "-");
    is_rllm_header(&name) || HOP_BY_HOP.contains(&name.as_str()) || KNOWN.contains(&name.as_str())
}

/// The hop-by-hop headers of one message: [`HOP_BY_HOP`], and those that its `Connection` headers
/// name.
#[derive(Clone, Debug, Default)]
pub struct HopByHop {
    named: Vec<String>,
}

impl HopByHop {
    /// Reads the `Connection` headers among the header lines of a message.
    #[must_use]
    pub fn of<'a>(headers: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Self {
        let named = headers
            .into_iter()
            .filter(|(name, _)| name.eq_ignore_ascii_case("connection"))
            .flat_map(|(_, value)| value.split(|byte| *byte == b','))
            .filter_map(|option| std::str::from_utf8(option.trim_ascii()).ok())
            .filter(|option| !option.is_empty())
            .map(str::to_ascii_lowercase)
            .collect();
        Self { named }
    }

    /// Whether the header `name` (any case) must not be passed on.
    #[must_use]
    pub fn drops(&self, name: &str) -> bool {
        HOP_BY_HOP
            .iter()
            .any(|known| name.eq_ignore_ascii_case(known))
            || self
                .named
                .iter()
                .any(|named| name.eq_ignore_ascii_case(named))
    }
}

/// The text of a header's value, trimmed: UTF-8, or else Latin-1.
pub(crate) fn header_text(value: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(value) {
        Ok(text) => Cow::Borrowed(text.trim()),
        Err(_) => {
            let text: String = value.iter().copied().map(char::from).collect();
            Cow::Owned(text.trim().to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{HopByHop, header_text, is_rllm_header, shadows_known_header};

    #[test]
    fn defect_08_rllm_headers_are_never_passed_on() {
        for name in [
            "x-rllm-session-id",
            "X-RLLM-Session-Id",
            "x-rllm-unheard-of",
            "X-Rllm-",
        ] {
            assert!(is_rllm_header(name), "{name}");
        }
        for name in [
            "x-rllm",
            "rllm-x",
            "x-rllmx-id",
            "my-x-rllm-id",
            "x_rllm_id",
            "",
            "x-rllé-",
        ] {
            assert!(!is_rllm_header(name), "{name}");
        }
    }

    #[test]
    fn shadows() {
        for name in [
            "X_RLLM_Session_Id",
            "x-rllm_session-id",
            "Transfer_Encoding",
            "content_length",
            "x_api_key",
            "X-Forwarded_For",
        ] {
            assert!(shadows_known_header(name), "{name}");
        }
        // `session_id` is a real header of an older Codex.
        for name in [
            "content-length",
            "x_custom",
            "session_id",
            "authorization",
            "_",
            "",
        ] {
            assert!(!shadows_known_header(name), "{name}");
        }
    }

    #[test]
    fn hop_by_hop() {
        let headers: [(&str, &[u8]); 4] = [
            ("Connection", b"close, X-Foo ,authorization,,\xff"),
            ("connection", b"x-bar"),
            ("x-foo", b"connection: x-baz"),
            ("x-baz", b""),
        ];
        let hop_by_hop = HopByHop::of(headers);
        for name in [
            "X-FOO",
            "Authorization",
            "x-bar",
            "TE",
            "Upgrade",
            "Keep-Alive",
            "close",
        ] {
            assert!(hop_by_hop.drops(name), "{name}");
        }
        for name in ["x-baz", "x-fo", "", "content-type", "retry-after"] {
            assert!(!hop_by_hop.drops(name), "{name}");
        }
        assert!(!HopByHop::default().drops("x-foo"));
    }

    #[test]
    fn text_of_values() {
        for (value, expected) in [
            (&b" a b \t"[..], "a b"),
            (b"", ""),
            ("é🦀".as_bytes(), "é🦀"),
            (b"caf\xe9", "café"),
            // One byte that is not UTF-8 makes all of the value Latin-1.
            (b"\xc3\xa9\xff", "Ã©ÿ"),
            (b"\xa0x\xff\xa0", "xÿ"),
        ] {
            assert_eq!(header_text(value), expected, "{}", value.escape_ascii());
        }
    }

    proptest! {
        /// Every header that begins `x-rllm-` in any case is stripped, and no other.
        #[test]
        fn exactly_the_prefix_is_stripped(
            prefix in "[xX]-[rR][lL][lL][mM]-",
            rest in "[!-~]{0,20}",
            other in "[!-~]{0,30}",
        ) {
            let ours = format!("{prefix}{rest}");
            prop_assert!(is_rllm_header(&ours));
            prop_assert_eq!(is_rllm_header(&other), other.to_lowercase().starts_with("x-rllm-"));
        }
    }
}
