//! A validated text that knows where its long values end.

use crate::check::{Dialect, Error, Span, check};
use crate::value::Value;

/// Values shorter than this are walked over faster than they are looked up.
const LONG: usize = 64;

/// A validated text with a note of where its long strings, arrays and objects end.
///
/// Walking a plain [`parse`](crate::parse)d text costs a scan of all that is walked over, at each
/// walk. Values of a `Parsed` are walked over in one step, which pays where a text of some size is
/// looked at more than once.
///
/// ```
/// use gateway_json::{Dialect, Parsed, Value};
///
/// let text = format!(r#"{{"messages": [{}], "n": 2}}"#, vec!["{}"; 1000].join(","));
/// let parsed = Parsed::new(text.as_bytes(), Dialect::Strict)?;
/// assert_eq!(parsed.root().get("n").and_then(Value::as_i64), Some(2));
/// # Ok::<(), gateway_json::Error>(())
/// ```
#[derive(Debug)]
pub struct Parsed<'a> {
    root: &'a str,
    ends: Ends<'a>,
}

/// Where the long values of a text end.
#[derive(Debug)]
pub(crate) struct Ends<'a> {
    text: &'a [u8],
    /// In the order of their starts.
    spans: Vec<Span>,
}

impl<'a> Parsed<'a> {
    /// Validates the whole of `text`, as [`parse`](crate::parse) does.
    ///
    /// # Errors
    /// [`Error`], as there.
    pub fn new(text: &'a [u8], dialect: Dialect) -> Result<Self, Error> {
        let (root, spans) = check(text, dialect, LONG)?;
        Ok(Self {
            root,
            ends: Ends { text, spans },
        })
    }

    /// The root value.
    #[must_use]
    pub fn root(&self) -> Value<'_> {
        Value::indexed(self.root, &self.ends)
    }
}

impl Ends<'_> {
    /// The length of the value that `rest`, a part of the text, begins with, if it is a long one.
    pub(crate) fn length(&self, rest: &[u8]) -> Option<usize> {
        let start = (rest.as_ptr() as usize).wrapping_sub(self.text.as_ptr() as usize);
        let place = self
            .spans
            .binary_search_by_key(&start, |(start, _)| *start)
            .ok()?;
        Some(self.spans[place].1 - start)
    }
}
