//! Values of a validated text, walked lazily.

use std::borrow::Cow;

use crate::check::{Dialect, Error, check};
use crate::parsed::Ends;
use crate::scan::{quote_or_backslash, structure};
use crate::text::{LoneSurrogate, unescape};

/// Validates the whole of `text` and returns its root value.
///
/// # Errors
/// [`Error`] with the offset of the first byte that does not fit: grammar, UTF-8 or depth.
/// Lone surrogate escapes (`"\ud800"`) are legal here, as in RFC 8259.
pub fn parse(text: &[u8], dialect: Dialect) -> Result<Value<'_>, Error> {
    let (root, _) = check(text, dialect, usize::MAX)?;
    Ok(Value {
        text: root,
        ends: None,
    })
}

/// What a [`Value`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `null`
    Null,
    /// `true` or `false`
    Bool,
    /// A number of RFC 8259.
    Number,
    /// `NaN`, `Infinity` or `-Infinity` ([`Dialect::Python`](crate::Dialect::Python) alone).
    NonFinite,
    /// A string.
    String,
    /// An array.
    Array,
    /// An object.
    Object,
}

/// One value of a validated text: a slice of it, without surrounding white space.
///
/// Walking costs a scan of what is walked over, unless it is the value of a
/// [`Parsed`](crate::Parsed), and allocates nothing.
#[derive(Clone, Copy, Debug)]
pub struct Value<'a> {
    text: &'a str,
    ends: Option<&'a Ends<'a>>,
}

impl<'a> Value<'a> {
    /// `text` must be one valid value without white space around it; `ends` notes where the long
    /// values in it end.
    pub(crate) fn indexed(text: &'a str, ends: &'a Ends<'a>) -> Self {
        Self {
            text,
            ends: Some(ends),
        }
    }

    /// The value of a text that is known to be one valid value, without white space around it: it is
    /// not checked again. In any other text a walk finds pieces that mean nothing, or panics.
    #[must_use]
    pub fn of_valid(text: &'a str) -> Self {
        Self { text, ends: None }
    }

    /// The value exactly as it stands in the text.
    #[must_use]
    pub fn text(self) -> &'a str {
        self.text
    }

    /// What kind of value this is.
    #[must_use]
    pub fn kind(self) -> Kind {
        match self.text.as_bytes() {
            [b'"', ..] => Kind::String,
            [b'{', ..] => Kind::Object,
            [b'[', ..] => Kind::Array,
            [b't' | b'f', ..] => Kind::Bool,
            [b'n', ..] => Kind::Null,
            [b'N' | b'I', ..] | [b'-', b'I', ..] => Kind::NonFinite,
            _ => Kind::Number,
        }
    }

    /// Whether this is `null`.
    #[must_use]
    pub fn is_null(self) -> bool {
        self.kind() == Kind::Null
    }

    /// Whether this is an object.
    #[must_use]
    pub fn is_object(self) -> bool {
        self.kind() == Kind::Object
    }

    /// Whether this is an array.
    #[must_use]
    pub fn is_array(self) -> bool {
        self.kind() == Kind::Array
    }

    /// Whether this is a string.
    #[must_use]
    pub fn is_string(self) -> bool {
        self.kind() == Kind::String
    }

    /// The members in the order of the text, repeated keys too; none if this is no object.
    #[must_use]
    pub fn members(self) -> Members<'a> {
        let inside = if self.is_object() { self.text } else { "{}" };
        Members {
            text: inside,
            at: after_white_space(inside.as_bytes(), 1),
            ends: self.ends,
        }
    }

    /// The elements in order; none if this is no array.
    #[must_use]
    pub fn elements(self) -> Elements<'a> {
        let inside = if self.is_array() { self.text } else { "[]" };
        Elements {
            text: inside,
            at: after_white_space(inside.as_bytes(), 1),
            ends: self.ends,
        }
    }

    /// The member named `key` (names are compared unescaped). Where a key repeats, the last one
    /// counts, as most parsers have it. `None` also where this is no object.
    #[must_use]
    pub fn get(self, key: &str) -> Option<Value<'a>> {
        self.members()
            .filter(|member| member.key.is(key))
            .last()
            .map(|member| member.value)
    }

    /// The characters of a string; `None` for other kinds, and where a surrogate escape has no
    /// partner, because no `str` can hold it.
    #[must_use]
    pub fn as_str(self) -> Option<Cow<'a, str>> {
        unescape(self.string_text()?, LoneSurrogate::Refuse)
    }

    /// The characters of a string, lone surrogates replaced by U+FFFD; `None` for other kinds.
    #[must_use]
    pub fn as_str_lossy(self) -> Option<Cow<'a, str>> {
        unescape(self.string_text()?, LoneSurrogate::Replace)
    }

    /// The escaped text between the quotes of a string. Joining these joins the strings.
    #[must_use]
    pub fn string_text(self) -> Option<&'a str> {
        self.is_string().then(|| &self.text[1..self.text.len() - 1])
    }

    /// A number that is written as an integer and fits.
    #[must_use]
    pub fn as_i64(self) -> Option<i64> {
        match self.kind() {
            Kind::Number => self.text.parse().ok(),
            _ => None,
        }
    }

    /// A number whose value is an integer that fits, however it is written: `4`, `4.0`, `4e0`.
    #[must_use]
    pub fn as_integral(self) -> Option<i64> {
        match self.kind() {
            Kind::Number => self.text.parse().ok().or_else(|| integral(self.text)),
            _ => None,
        }
    }

    /// A number as the nearest float; `None` where that is not finite.
    #[must_use]
    pub fn as_f64(self) -> Option<f64> {
        match self.kind() {
            Kind::Number => self.text.parse().ok().filter(|n: &f64| n.is_finite()),
            _ => None,
        }
    }

    /// `true` or `false`.
    #[must_use]
    pub fn as_bool(self) -> Option<bool> {
        match self.text {
            "true" => Some(true),
            "false" => Some(false),
            _ => None,
        }
    }
}

/// The value's text with `NaN`, `Infinity` and `-Infinity` replaced by `null`, so that it is JSON
/// for any reader.
#[must_use]
pub fn strict_text(value: Value<'_>) -> Cow<'_, str> {
    let text = value.text;
    let bytes = text.as_bytes();
    let mut out = String::new();
    let (mut at, mut copied) = (0, 0);
    while at < bytes.len() {
        let word = match bytes[at] {
            b'"' => {
                at = string_end(bytes, at);
                continue;
            }
            b'N' => "NaN".len(),
            b'I' => "Infinity".len(),
            b'-' if bytes.get(at + 1) == Some(&b'I') => "-Infinity".len(),
            _ => {
                at += 1;
                continue;
            }
        };
        out.push_str(&text[copied..at]);
        out.push_str("null");
        at += word;
        copied = at;
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    out.push_str(&text[copied..]);
    Cow::Owned(out)
}

/// A member of an object.
#[derive(Clone, Copy, Debug)]
pub struct Member<'a> {
    /// Its name.
    pub key: Key<'a>,
    /// Its value.
    pub value: Value<'a>,
}

/// The name of a member.
#[derive(Clone, Copy, Debug)]
pub struct Key<'a> {
    /// With its quotes.
    literal: &'a str,
}

impl<'a> Key<'a> {
    /// The escaped name, without quotes.
    #[must_use]
    pub fn text(self) -> &'a str {
        &self.literal[1..self.literal.len() - 1]
    }

    /// The name with its quotes, as it stands in the text.
    #[must_use]
    pub fn literal(self) -> &'a str {
        self.literal
    }

    /// Whether this is `name`, compared unescaped (`"mod\u0065l"` is `model`).
    #[must_use]
    pub fn is(self, name: &str) -> bool {
        let text = self.text();
        if text.len() <= name.len() {
            // An escaped spelling is longer than what it stands for.
            return text == name && !text.contains('\\');
        }
        text.contains('\\') && unescape(text, LoneSurrogate::Refuse).is_some_and(|key| key == name)
    }

    /// The name unescaped, lone surrogates replaced by U+FFFD.
    #[must_use]
    pub fn to_cow(self) -> Cow<'a, str> {
        unescape(self.text(), LoneSurrogate::Replace).unwrap_or(Cow::Borrowed(""))
    }
}

/// Iterator over the members of an object.
#[derive(Clone, Debug)]
pub struct Members<'a> {
    text: &'a str,
    at: usize,
    ends: Option<&'a Ends<'a>>,
}

impl<'a> Iterator for Members<'a> {
    type Item = Member<'a>;

    fn next(&mut self) -> Option<Member<'a>> {
        let bytes = self.text.as_bytes();
        if bytes.get(self.at) != Some(&b'"') {
            return None;
        }
        let key_end = string_end(bytes, self.at);
        let colon = after_white_space(bytes, key_end);
        let start = after_white_space(bytes, colon + 1);
        let end = value_end(self.text, start, self.ends);
        let literal = &self.text[self.at..key_end];
        self.at = after_comma(bytes, end);
        Some(Member {
            key: Key { literal },
            value: Value {
                text: &self.text[start..end],
                ends: self.ends,
            },
        })
    }
}

/// Iterator over the elements of an array.
#[derive(Clone, Debug)]
pub struct Elements<'a> {
    text: &'a str,
    at: usize,
    ends: Option<&'a Ends<'a>>,
}

impl<'a> Iterator for Elements<'a> {
    type Item = Value<'a>;

    fn next(&mut self) -> Option<Value<'a>> {
        let bytes = self.text.as_bytes();
        if matches!(bytes.get(self.at), None | Some(b']')) {
            return None;
        }
        let start = self.at;
        let end = value_end(self.text, start, self.ends);
        self.at = after_comma(bytes, end);
        Some(Value {
            text: &self.text[start..end],
            ends: self.ends,
        })
    }
}

/// The place of the first byte from `at` on that is no white space.
#[inline]
fn after_white_space(bytes: &[u8], mut at: usize) -> usize {
    while matches!(bytes.get(at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
        at += 1;
    }
    at
}

/// The place of what comes after a value that ends at `at`, and the comma behind it.
#[inline]
fn after_comma(bytes: &[u8], at: usize) -> usize {
    let at = after_white_space(bytes, at);
    if bytes.get(at) == Some(&b',') {
        return after_white_space(bytes, at + 1);
    }
    at
}

/// The place just past the string that begins at `start`.
#[inline]
fn string_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    loop {
        at = quote_or_backslash(bytes, at);
        match bytes.get(at) {
            Some(b'"') => return at + 1,
            Some(_) => at += 2,
            None => return bytes.len(),
        }
    }
}

/// The place just past the value that begins at `start`.
fn value_end(text: &str, start: usize, ends: Option<&Ends<'_>>) -> usize {
    let bytes = text.as_bytes();
    match bytes.get(start) {
        Some(b'"' | b'{' | b'[') => {
            if let Some(length) = ends.and_then(|ends| ends.length(&bytes[start..])) {
                return start + length;
            }
            if bytes[start] == b'"' {
                string_end(bytes, start)
            } else {
                container_end(bytes, start)
            }
        }
        _ => {
            let mut at = start;
            while !matches!(
                bytes.get(at),
                None | Some(b',' | b']' | b'}' | b' ' | b'\t' | b'\n' | b'\r')
            ) {
                at += 1;
            }
            at
        }
    }
}

fn container_end(bytes: &[u8], start: usize) -> usize {
    let (mut at, mut depth) = (start + 1, 1_usize);
    loop {
        at = structure(bytes, at);
        match bytes.get(at) {
            Some(b'"') => {
                at = string_end(bytes, at);
                continue;
            }
            Some(b'{' | b'[') => depth += 1,
            Some(_) => {
                depth -= 1;
                if depth == 0 {
                    return at + 1;
                }
            }
            None => return bytes.len(),
        }
        at += 1;
    }
}

/// The integer that a number with a fraction or an exponent stands for, if it is one.
fn integral(text: &str) -> Option<i64> {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().ok()),
        None => (text, Some(0)),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let fraction = fraction.trim_end_matches('0');
    let (sign, whole) = match whole.strip_prefix('-') {
        Some(whole) => ("-", whole),
        None => ("", whole),
    };
    let digits = format!("{whole}{fraction}");
    let digits = digits.trim_start_matches('0');
    if digits.is_empty() {
        return Some(0);
    }
    let shift = exponent?.checked_sub(i64::try_from(fraction.len()).ok()?)?;
    if shift >= 0 {
        // More than 19 digits cannot fit; this also bounds the zeros that are written out.
        if shift > 19 {
            return None;
        }
        let zeros = "0".repeat(usize::try_from(shift).ok()?);
        return format!("{sign}{digits}{zeros}").parse().ok();
    }
    let cut = usize::try_from(shift.checked_neg()?).ok()?;
    let kept = digits.len().checked_sub(cut)?;
    if kept == 0 || digits[kept..].bytes().any(|digit| digit != b'0') {
        return None;
    }
    format!("{sign}{}", &digits[..kept]).parse().ok()
}

#[cfg(test)]
mod tests;
