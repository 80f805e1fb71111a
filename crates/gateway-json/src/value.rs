//! Values of a validated text, walked lazily.

use std::borrow::Cow;

use crate::parsed::Ends;
use crate::scan::{quote_or_backslash, structure};
use crate::text::{LoneSurrogate, unescape};

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
    /// `text` must be one valid value without white space around it.
    pub(crate) fn trusted(text: &'a str) -> Self {
        Self { text, ends: None }
    }

    /// As [`trusted`](Self::trusted), with a note of where the long values in it end.
    pub(crate) fn indexed(text: &'a str, ends: &'a Ends<'a>) -> Self {
        Self {
            text,
            ends: Some(ends),
        }
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
            rest: after_white_space(&inside[1..]),
            ends: self.ends,
        }
    }

    /// The elements in order; none if this is no array.
    #[must_use]
    pub fn elements(self) -> Elements<'a> {
        let inside = if self.is_array() { self.text } else { "[]" };
        Elements {
            rest: after_white_space(&inside[1..]),
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
        // An escaped spelling is longer than what it stands for.
        text == name
            || (text.len() > name.len()
                && text.contains('\\')
                && unescape(text, LoneSurrogate::Refuse).is_some_and(|key| key == name))
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
    rest: &'a str,
    ends: Option<&'a Ends<'a>>,
}

impl<'a> Iterator for Members<'a> {
    type Item = Member<'a>;

    fn next(&mut self) -> Option<Member<'a>> {
        if !self.rest.starts_with('"') {
            return None;
        }
        let (literal, rest) = self.rest.split_at(string_end(self.rest.as_bytes(), 0));
        let rest = after_white_space(&after_white_space(rest)[1..]);
        let (text, rest) = rest.split_at(value_end(rest, self.ends));
        self.rest = after_comma(rest);
        Some(Member {
            key: Key { literal },
            value: Value {
                text,
                ends: self.ends,
            },
        })
    }
}

/// Iterator over the elements of an array.
#[derive(Clone, Debug)]
pub struct Elements<'a> {
    rest: &'a str,
    ends: Option<&'a Ends<'a>>,
}

impl<'a> Iterator for Elements<'a> {
    type Item = Value<'a>;

    fn next(&mut self) -> Option<Value<'a>> {
        if self.rest.is_empty() || self.rest.starts_with(']') {
            return None;
        }
        let (text, rest) = self.rest.split_at(value_end(self.rest, self.ends));
        self.rest = after_comma(rest);
        Some(Value {
            text,
            ends: self.ends,
        })
    }
}

fn after_white_space(text: &str) -> &str {
    match text.as_bytes().first() {
        Some(b' ' | b'\t' | b'\n' | b'\r') => text.trim_start_matches([' ', '\t', '\n', '\r']),
        _ => text,
    }
}

fn after_comma(text: &str) -> &str {
    let text = after_white_space(text);
    after_white_space(text.strip_prefix(',').unwrap_or(text))
}

/// The offset just past the string that begins at `start`.
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

/// The offset just past the value that `text` begins with.
fn value_end(text: &str, ends: Option<&Ends<'_>>) -> usize {
    let bytes = text.as_bytes();
    if let Some(ends) = ends
        && matches!(bytes.first(), Some(b'"' | b'{' | b'['))
        && let Some(length) = ends.length(text)
    {
        return length;
    }
    match bytes.first() {
        Some(b'"') => string_end(bytes, 0),
        Some(b'{' | b'[') => {
            let (mut at, mut depth) = (1, 1_usize);
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
        _ => bytes
            .iter()
            .position(|byte| matches!(byte, b',' | b']' | b'}' | b' ' | b'\t' | b'\n' | b'\r'))
            .unwrap_or(bytes.len()),
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
