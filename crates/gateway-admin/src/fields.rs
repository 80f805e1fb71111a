//! Named values of a request, read strictly, whether they came in the query or in a JSON body.
//!
//! `POST /traces/query` takes the filters of `GET /traces` as a body, so both forms answer to one
//! trait and a rule about a value (what a `limit` is, what counts as absent) stands once.

use crate::refusal::Refusal;

/// A source of named values. What is absent or null is `None`; what is there but of the wrong form
/// is refused under its name.
pub(crate) trait Fields {
    /// A string as it is given.
    fn string(&self, name: &'static str) -> Result<Option<String>, Refusal>;
    /// A finite number.
    fn number(&self, name: &'static str) -> Result<Option<f64>, Refusal>;
    /// A whole number within i64.
    fn integer(&self, name: &'static str) -> Result<Option<i64>, Refusal>;
    /// True or false.
    fn flag(&self, name: &'static str) -> Result<Option<bool>, Refusal>;

    /// A text that says something; an empty one is as good as absent.
    fn text(&self, name: &'static str) -> Result<Option<String>, Refusal> {
        Ok(self.string(name)?.filter(|text| !text.is_empty()))
    }

    /// How many of something: a whole number that is not negative.
    fn count(&self, name: &'static str) -> Result<Option<u64>, Refusal> {
        self.integer(name)?
            .map(|n| u64::try_from(n).map_err(|_| Refusal::field(name, "must not be negative")))
            .transpose()
    }

    /// One of a few words.
    fn word<T: Copy>(
        &self,
        name: &'static str,
        words: &[(&'static str, T)],
    ) -> Result<Option<T>, Refusal> {
        let Some(text) = self.string(name)? else {
            return Ok(None);
        };
        words
            .iter()
            .find(|(word, _)| *word == text)
            .map(|(_, meaning)| Some(*meaning))
            .ok_or_else(|| {
                let words: Vec<_> = words.iter().map(|(word, _)| *word).collect();
                Refusal::field(name, format!("must be one of: {}", words.join(", ")))
            })
    }
}
