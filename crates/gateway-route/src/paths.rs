//! What of an API a route opens.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// Whether a route opens this request: the recordable endpoints (by POST), `responses/{id}…`,
/// `messages/count_tokens`, `models` and `models/{id}` (to read). A key that is meant for model
/// calls must open nothing else: no files, no fine-tuning, no stored completions, no deletion of a
/// model.
///
/// `api` is the raw path after `/v1`, without the query. It goes upstream as it is, so the
/// decision has to hold for every way in which a server may read it: it is made on the path that
/// is percent-decoded once, with `//` as `/` and without one trailing `/`, and a path that some
/// servers would read as another one (dot segments, `\`, `;`, `%`, `?`, `#` or controls after
/// decoding) is not opened at all.
///
/// ```
/// use gateway_route::path_allowed;
///
/// assert!(path_allowed("POST", "/chat/completions"));
/// assert!(path_allowed("GET", "/models/org%2Fname"));
/// assert!(!path_allowed("GET", "/files"));
/// assert!(!path_allowed("POST", "/responses/..%2Ffiles"));
/// ```
#[must_use]
pub fn path_allowed(method: &str, api: &str) -> bool {
    let decoded: Cow<'_, [u8]> = percent_decode_str(api).into();
    if decoded.iter().any(|&byte| is_ambiguous(byte)) {
        return false;
    }
    let segments = segments(&decoded);
    if segments
        .iter()
        .any(|segment| matches!(segment, [b'.'] | [b'.', b'.']))
    {
        return false;
    }
    match segments.as_slice() {
        [b"chat", b"completions"]
        | [b"completions" | b"responses" | b"messages" | b"embeddings"]
        | [b"messages", b"count_tokens"] => method == "POST",
        [b"responses", _, ..] => true,
        [b"models"] => is_read(method),
        // The id of a model may hold an encoded slash, which is part of one segment, but not a
        // raw one: that would be another resource.
        [b"models", _, ..] => is_read(method) && self::segments(api.as_bytes()).len() <= 2,
        _ => false,
    }
}

/// Bytes that no path of the allowed ones needs, and that servers read differently.
fn is_ambiguous(byte: u8) -> bool {
    matches!(byte, b'\\' | b';' | b'%' | b'?' | b'#') || byte.is_ascii_control()
}

/// The segments of a path. Empty ones do not count: that is `//` as `/`, and no trailing `/`.
fn segments(path: &[u8]) -> Vec<&[u8]> {
    path.split(|&byte| byte == b'/')
        .filter(|segment| !segment.is_empty())
        .collect()
}

fn is_read(method: &str) -> bool {
    matches!(method, "GET" | "HEAD")
}

#[cfg(test)]
mod tests;
