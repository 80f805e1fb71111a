//! The validator: one pass over the text, after which every walk may trust it.

use crate::scan::string_special;
use crate::value::Value;

/// How deep arrays and objects may nest; the root is 1.
pub const MAX_DEPTH: usize = 128;

/// Which texts [`parse`] accepts.
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

/// Validates the whole of `text` and returns its root value.
///
/// # Errors
/// [`Error`] with the offset of the first byte that does not fit: grammar, UTF-8 or depth.
/// Lone surrogate escapes (`"\ud800"`) are legal here, as in RFC 8259.
pub fn parse(text: &[u8], dialect: Dialect) -> Result<Value<'_>, Error> {
    let (root, _) = check(text, dialect, usize::MAX)?;
    Ok(Value::trusted(root))
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
        at: 0,
        dialect,
        long,
        ends: Vec::new(),
    };
    checker.white_space();
    let start = checker.at;
    checker.value(1)?;
    let end = checker.at;
    checker.white_space();
    if checker.at < text.len() {
        return Err(checker.error(ErrorKind::TrailingData));
    }
    Ok((&text[start..end], checker.ends))
}

struct Checker<'a> {
    bytes: &'a [u8],
    at: usize,
    dialect: Dialect,
    long: usize,
    ends: Vec<Span>,
}

impl Checker<'_> {
    fn error(&self, kind: ErrorKind) -> Error {
        Error {
            offset: self.at,
            kind,
        }
    }

    fn unexpected(&self) -> Error {
        self.error(if self.at < self.bytes.len() {
            ErrorKind::UnexpectedCharacter
        } else {
            ErrorKind::UnexpectedEnd
        })
    }

    #[inline]
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    #[inline]
    fn white_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn value(&mut self, depth: usize) -> Result<(), Error> {
        match self.peek() {
            Some(b'"' | b'{' | b'[') if self.long < usize::MAX => self.noted(depth),
            Some(b'"' | b'{' | b'[') => self.compound(depth),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word(b"true"),
            Some(b'f') => self.word(b"false"),
            Some(b'n') => self.word(b"null"),
            Some(b'N') if self.dialect == Dialect::Python => self.word(b"NaN"),
            Some(b'I') if self.dialect == Dialect::Python => self.word(b"Infinity"),
            _ => Err(self.unexpected()),
        }
    }

    fn compound(&mut self, depth: usize) -> Result<(), Error> {
        match self.bytes[self.at] {
            b'"' => self.string(),
            b'{' => self.object(depth),
            _ => self.array(depth),
        }
    }

    /// Checks a string or container, and notes its end if it is long.
    fn noted(&mut self, depth: usize) -> Result<(), Error> {
        let start = self.at;
        let place = self.ends.len();
        self.ends.push((start, start));
        self.compound(depth)?;
        if self.at - start < self.long {
            // Whatever lies in it is shorter still, so that nothing stands behind this place.
            self.ends.truncate(place);
        } else {
            self.ends[place].1 = self.at;
        }
        Ok(())
    }

    fn word(&mut self, word: &[u8]) -> Result<(), Error> {
        for &expected in word {
            if self.peek() != Some(expected) {
                return Err(self.unexpected());
            }
            self.at += 1;
        }
        Ok(())
    }

    fn object(&mut self, depth: usize) -> Result<(), Error> {
        if depth > MAX_DEPTH {
            return Err(self.error(ErrorKind::TooDeep));
        }
        self.at += 1;
        self.white_space();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(());
        }
        loop {
            if self.peek() != Some(b'"') {
                return Err(self.unexpected());
            }
            self.string()?;
            self.white_space();
            if self.peek() != Some(b':') {
                return Err(self.unexpected());
            }
            self.at += 1;
            self.white_space();
            self.value(depth + 1)?;
            self.white_space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    return Ok(());
                }
                _ => return Err(self.unexpected()),
            }
            self.white_space();
        }
    }

    fn array(&mut self, depth: usize) -> Result<(), Error> {
        if depth > MAX_DEPTH {
            return Err(self.error(ErrorKind::TooDeep));
        }
        self.at += 1;
        self.white_space();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.value(depth + 1)?;
            self.white_space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.at += 1;
                    return Ok(());
                }
                _ => return Err(self.unexpected()),
            }
            self.white_space();
        }
    }

    fn string(&mut self) -> Result<(), Error> {
        self.at += 1;
        loop {
            self.at = string_special(self.bytes, self.at);
            match self.peek() {
                None => return Err(self.error(ErrorKind::UnexpectedEnd)),
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => self.escape()?,
                Some(_) => return Err(self.error(ErrorKind::ControlCharacter)),
            }
        }
    }

    fn escape(&mut self) -> Result<(), Error> {
        match self.bytes.get(self.at + 1) {
            None => {
                self.at += 1;
                Err(self.error(ErrorKind::UnexpectedEnd))
            }
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.at += 2;
                Ok(())
            }
            Some(b'u') => {
                for digit in 2..6 {
                    match self.bytes.get(self.at + digit) {
                        Some(byte) if byte.is_ascii_hexdigit() => {}
                        Some(_) => return Err(self.error(ErrorKind::InvalidEscape)),
                        None => {
                            self.at = self.bytes.len();
                            return Err(self.error(ErrorKind::UnexpectedEnd));
                        }
                    }
                }
                self.at += 6;
                Ok(())
            }
            Some(_) => Err(self.error(ErrorKind::InvalidEscape)),
        }
    }

    fn number(&mut self) -> Result<(), Error> {
        if self.peek() == Some(b'-') {
            self.at += 1;
            if self.dialect == Dialect::Python && self.peek() == Some(b'I') {
                return self.word(b"Infinity");
            }
        }
        match self.peek() {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.digits()?,
            _ => return Err(self.error(ErrorKind::InvalidNumber)),
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'0'..=b'9')) {
            // Only after a leading zero.
            return Err(self.error(ErrorKind::InvalidNumber));
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), Error> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == start {
            return Err(self.error(ErrorKind::InvalidNumber));
        }
        Ok(())
    }
}
