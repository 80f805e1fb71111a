//! The validator: one pass over the text, after which every walk may trust it.

use crate::scan::string_special;

/// How deep arrays and objects may nest; the root is 1.
pub const MAX_DEPTH: usize = 128;

/// Which texts [`parse`](crate::parse) accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// RFC 8259 to the letter.
    Strict,
    /// Also `NaN`, `Infinity` and `-Infinity`, which Python's `json` module writes.
    Python,
}

/// Why a text is not acceptable, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} at byte {offset}")]
pub struct Error {
    /// Offset in bytes from the start of the text.
    pub offset: usize,
    /// What is wrong there.
    pub kind: ErrorKind,
}

/// What is wrong with a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The text ended inside a value, or was empty.
    #[error("unexpected end of JSON")]
    UnexpectedEnd,
    /// A byte that the grammar does not allow there.
    #[error("unexpected character")]
    UnexpectedCharacter,
    /// More than white space after the root value.
    #[error("unexpected data after the JSON value")]
    TrailingData,
    /// A control character that must be escaped in a string.
    #[error("unescaped control character in a string")]
    ControlCharacter,
    /// A backslash followed by something that is no escape.
    #[error("invalid escape in a string")]
    InvalidEscape,
    /// A number that the grammar does not allow.
    #[error("invalid number")]
    InvalidNumber,
    /// The bytes are not UTF-8.
    #[error("invalid UTF-8")]
    InvalidUtf8,
    /// Nesting deeper than [`MAX_DEPTH`].
    #[error("nesting deeper than 128 levels")]
    TooDeep,
}

/// Where a value starts and ends.
pub(crate) type Span = (usize, usize);

/// Checks `text`, and notes where its strings and containers of at least `long` bytes end. Gives
/// the text of the root, and the spans in the whole text, in the order of their starts.
pub(crate) fn check(
    text: &[u8],
    dialect: Dialect,
    long: usize,
) -> Result<(&str, Vec<Span>), Error> {
    let text = std::str::from_utf8(text).map_err(|error| Error {
        offset: error.valid_up_to(),
        kind: ErrorKind::InvalidUtf8,
    })?;
    let mut checker = Checker {
        bytes: text.as_bytes(),
        dialect,
        long,
        ends: Vec::new(),
        error: None,
    };
    match checker.text() {
        Some((start, end)) => Ok((&text[start..end], checker.ends)),
        None => Err(checker.error.expect("whoever finds none says why")),
    }
}

/// Each step takes the place where it begins, and gives the place behind what it has checked: so
/// the place stays in a register. `None` means that `error` is set.
struct Checker<'a> {
    bytes: &'a [u8],
    dialect: Dialect,
    long: usize,
    ends: Vec<Span>,
    error: Option<Error>,
}

impl Checker<'_> {
    #[cold]
    fn fail<T>(&mut self, offset: usize, kind: ErrorKind) -> Option<T> {
        self.error = Some(Error { offset, kind });
        None
    }

    #[cold]
    fn unexpected<T>(&mut self, at: usize) -> Option<T> {
        if at < self.bytes.len() {
            self.fail(at, ErrorKind::UnexpectedCharacter)
        } else {
            self.fail(self.bytes.len(), ErrorKind::UnexpectedEnd)
        }
    }

    #[inline]
    fn byte(&self, at: usize) -> Option<u8> {
        self.bytes.get(at).copied()
    }

    #[inline]
    fn after_white_space(&self, mut at: usize) -> usize {
        while matches!(self.byte(at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            at += 1;
        }
        at
    }

    fn text(&mut self) -> Option<Span> {
        let start = self.after_white_space(0);
        let end = self.value(start, 1)?;
        let rest = self.after_white_space(end);
        if rest < self.bytes.len() {
            return self.fail(rest, ErrorKind::TrailingData);
        }
        Some((start, end))
    }

    fn value(&mut self, at: usize, depth: usize) -> Option<usize> {
        match self.byte(at) {
            Some(b'-' | b'0'..=b'9') => self.number(at),
            Some(b'"') => {
                let end = self.string(at)?;
                if end - at >= self.long {
                    self.ends.push((at, end));
                }
                Some(end)
            }
            Some(b'{' | b'[') if depth > MAX_DEPTH => self.fail(at, ErrorKind::TooDeep),
            Some(open @ (b'{' | b'[')) => {
                let place = self.ends.len();
                if self.long < usize::MAX {
                    self.ends.push((at, at));
                }
                let end = match open {
                    b'{' => self.object(at + 1, depth),
                    _ => self.array(at + 1, depth),
                }?;
                if end - at < self.long {
                    // Whatever lies in it is shorter still, so that nothing stands behind it.
                    self.ends.truncate(place);
                } else {
                    self.ends[place].1 = end;
                }
                Some(end)
            }
            Some(b't') => self.word(at, b"true"),
            Some(b'f') => self.word(at, b"false"),
            Some(b'n') => self.word(at, b"null"),
            Some(b'N') if self.dialect == Dialect::Python => self.word(at, b"NaN"),
            Some(b'I') if self.dialect == Dialect::Python => self.word(at, b"Infinity"),
            _ => self.unexpected(at),
        }
    }

    fn word(&mut self, at: usize, word: &[u8]) -> Option<usize> {
        let rest = &self.bytes[at..];
        if rest.starts_with(word) {
            return Some(at + word.len());
        }
        let same = rest.iter().zip(word).take_while(|(a, b)| a == b).count();
        self.unexpected(at + same)
    }

    /// The members of an object, from behind its brace.
    fn object(&mut self, at: usize, depth: usize) -> Option<usize> {
        let mut at = self.after_white_space(at);
        if self.byte(at) == Some(b'}') {
            return Some(at + 1);
        }
        loop {
            if self.byte(at) != Some(b'"') {
                return self.unexpected(at);
            }
            at = self.string(at)?;
            at = self.after_white_space(at);
            if self.byte(at) != Some(b':') {
                return self.unexpected(at);
            }
            at = self.after_white_space(at + 1);
            at = self.value(at, depth + 1)?;
            at = self.after_white_space(at);
            match self.byte(at) {
                Some(b',') => at = self.after_white_space(at + 1),
                Some(b'}') => return Some(at + 1),
                _ => return self.unexpected(at),
            }
        }
    }

    /// The elements of an array, from behind its bracket.
    fn array(&mut self, at: usize, depth: usize) -> Option<usize> {
        let mut at = self.after_white_space(at);
        if self.byte(at) == Some(b']') {
            return Some(at + 1);
        }
        loop {
            at = self.value(at, depth + 1)?;
            at = self.after_white_space(at);
            match self.byte(at) {
                Some(b',') => at = self.after_white_space(at + 1),
                Some(b']') => return Some(at + 1),
                _ => return self.unexpected(at),
            }
        }
    }

    fn string(&mut self, at: usize) -> Option<usize> {
        let mut at = at + 1;
        loop {
            at = string_special(self.bytes, at);
            match self.byte(at) {
                Some(b'"') => return Some(at + 1),
                Some(b'\\') => at = self.escape(at)?,
                Some(_) => return self.fail(at, ErrorKind::ControlCharacter),
                None => return self.fail(at, ErrorKind::UnexpectedEnd),
            }
        }
    }

    fn escape(&mut self, at: usize) -> Option<usize> {
        match self.byte(at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Some(at + 2),
            Some(b'u') => {
                let digits = self.bytes[at + 2..].iter().take(4);
                match digits.take_while(|digit| digit.is_ascii_hexdigit()).count() {
                    4 => Some(at + 6),
                    fewer if at + 2 + fewer < self.bytes.len() => {
                        self.fail(at, ErrorKind::InvalidEscape)
                    }
                    _ => self.fail(self.bytes.len(), ErrorKind::UnexpectedEnd),
                }
            }
            Some(_) => self.fail(at, ErrorKind::InvalidEscape),
            None => self.fail(at + 1, ErrorKind::UnexpectedEnd),
        }
    }

    fn number(&mut self, at: usize) -> Option<usize> {
        let mut at = at;
        if self.byte(at) == Some(b'-') {
            at += 1;
            if self.dialect == Dialect::Python && self.byte(at) == Some(b'I') {
                return self.word(at, b"Infinity");
            }
        }
        at = match self.byte(at) {
            Some(b'0') if matches!(self.byte(at + 1), Some(b'0'..=b'9')) => {
                return self.fail(at + 1, ErrorKind::InvalidNumber);
            }
            _ => self.digits(at)?,
        };
        if self.byte(at) == Some(b'.') {
            at = self.digits(at + 1)?;
        }
        if matches!(self.byte(at), Some(b'e' | b'E')) {
            at += 1;
            if matches!(self.byte(at), Some(b'+' | b'-')) {
                at += 1;
            }
            at = self.digits(at)?;
        }
        Some(at)
    }

    #[inline]
    fn digits(&mut self, start: usize) -> Option<usize> {
        let mut at = start;
        while matches!(self.byte(at), Some(b'0'..=b'9')) {
            at += 1;
        }
        if at == start {
            return self.fail(at, ErrorKind::InvalidNumber);
        }
        Some(at)
    }
}
