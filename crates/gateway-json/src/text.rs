//! String literals: escaped text to characters and back.

use std::borrow::Cow;

/// `text` as a JSON string literal, quotes included.
#[must_use]
pub fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    push_quoted(&mut out, text);
    out
}

/// Appends `text` to `out` as a JSON string literal, quotes included.
pub fn push_quoted(out: &mut String, text: &str) {
    out.push('"');
    let mut copied = 0;
    for (at, byte) in text.bytes().enumerate() {
        let escape = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            0x08 => "\\b",
            0x0c => "\\f",
            0..=0x1f => {
                out.push_str(&text[copied..at]);
                copied = at + 1;
                out.push_str("\\u00");
                out.push(char::from(b'0' + (byte >> 4)));
                out.push(char::from_digit(u32::from(byte & 15), 16).unwrap_or('0'));
                continue;
            }
            _ => continue,
        };
        out.push_str(&text[copied..at]);
        out.push_str(escape);
        copied = at + 1;
    }
    out.push_str(&text[copied..]);
    out.push('"');
}

/// What becomes of a surrogate escape that has no partner.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum LoneSurrogate {
    Refuse,
    Replace,
}

/// The characters of an escaped text (without its quotes), which must have been validated.
/// `None` only for a lone surrogate that is to be refused.
pub(crate) fn unescape(text: &str, lone: LoneSurrogate) -> Option<Cow<'_, str>> {
    let Some(first) = text.find('\\') else {
        return Some(Cow::Borrowed(text));
    };
    let mut out = String::with_capacity(text.len());
    out.push_str(&text[..first]);
    let mut rest = &text[first..];
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let escape = rest.as_bytes().get(at + 1).copied().unwrap_or(b'\\');
        rest = rest.get(at + 2..).unwrap_or("");
        match escape {
            b'n' => out.push('\n'),
            b'r' => out.push('\r'),
            b't' => out.push('\t'),
            b'b' => out.push('\u{8}'),
            b'f' => out.push('\u{c}'),
            b'u' => {
                let unit = code_unit(rest);
                rest = rest.get(4..).unwrap_or("");
                if let Some(character) = char::from_u32(unit) {
                    out.push(character);
                } else if let Some((character, after)) = surrogate_pair(unit, rest) {
                    out.push(character);
                    rest = after;
                } else if lone == LoneSurrogate::Replace {
                    out.push(char::REPLACEMENT_CHARACTER);
                } else {
                    return None;
                }
            }
            other => out.push(char::from(other)),
        }
    }
    out.push_str(rest);
    Some(Cow::Owned(out))
}

fn code_unit(text: &str) -> u32 {
    let digits = text.get(..4).unwrap_or("");
    u32::from_str_radix(digits, 16).unwrap_or(0xfffd)
}

fn surrogate_pair(high: u32, rest: &str) -> Option<(char, &str)> {
    if !(0xd800..0xdc00).contains(&high) || !rest.starts_with("\\u") {
        return None;
    }
    let low = code_unit(&rest[2..]);
    if !(0xdc00..0xe000).contains(&low) {
        return None;
    }
    let character = char::from_u32(0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00))?;
    Some((character, &rest[6..]))
}
