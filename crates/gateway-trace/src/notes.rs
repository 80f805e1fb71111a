//! What a record says of itself where nothing else can: see `integrity.notes`.

pub(crate) const UNREADABLE_EVENT: &str = "an event of the stream is no JSON object";
pub(crate) const UNREADABLE_CHOICES: &str = "a choice of the reply could not be read";
pub(crate) const UNREADABLE_IDS: &str = "token ids that are no array of integers were left out";
pub(crate) const UNREAD_EVENT: &str = "an event of the stream was too long to be read";
pub(crate) const CAPPED: &str =
    "the reply is longer than max_record_bytes: the rest was not recorded";
pub(crate) const NO_END_MARK: &str =
    "the stream ended without its end mark, with every choice finished";
pub(crate) const NOT_JSON: &str = "the reply is no JSON";
pub(crate) const NON_FINITE: &str =
    "the reply holds NaN or Infinity, which are null in parsed fields";
pub(crate) const NO_IDS: &str = "token ids were asked for and none came";
pub(crate) const BAD_REQUEST: &str = "the request is no JSON object";

/// Notes in the order in which they were first made, each once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Notes(Vec<String>);

impl Notes {
    pub(crate) fn add(&mut self, note: &str) {
        if !self.0.iter().any(|known| known == note) {
            self.0.push(note.to_owned());
        }
    }

    pub(crate) fn extend(&mut self, notes: &[String]) {
        for note in notes {
            self.add(note);
        }
    }

    pub(crate) fn as_slice(&self) -> &[String] {
        &self.0
    }

    pub(crate) fn into_vec(self) -> Vec<String> {
        self.0
    }
}
