//! What a record says of itself where nothing else can: see `integrity.notes`.

pub(crate) const UNREADABLE_EVENT: &str = "an event of the stream is no JSON object";
pub(crate) const UNREADABLE_CHOICES: &str = "a choice of the reply could not be read";
pub(crate) const UNREADABLE_MESSAGE: &str = "a part of the message could not be read";
pub(crate) const UNREADABLE_BLOCK: &str = "a content block of the reply could not be read";
pub(crate) const UNBEGUN_BLOCK: &str = "a content block went on that had never begun";
pub(crate) const UNREADABLE_INPUT: &str =
    "the input of a tool use is no JSON object: its arguments are what came";
pub(crate) const UNKNOWN_EVENT: &str = "an event of the stream is of no known kind";
pub(crate) const TOO_DEEP: &str = "a part of the stream nests too deep and was left out";
pub(crate) const UNREADABLE_IDS: &str = "token ids that are no array of integers were left out";
pub(crate) const UNREAD_EVENT: &str = "an event of the stream was too long to be read";
pub(crate) const CAPPED: &str =
    "the reply is longer than max_record_bytes: the rest was not recorded";
pub(crate) const DECODED: &str =
    "the reply came in a content coding that was not asked for: it is recorded decoded";
pub(crate) const NOT_DECODED: &str =
    "the reply came in a content coding that could not be decoded: it is recorded as it came";
pub(crate) const CODING_BROKE: &str =
    "the reply's content coding broke: what came after that was not recorded";
pub(crate) const NO_END_MARK: &str =
    "the stream ended without its end mark, with every choice finished";
pub(crate) const FEWER_CHOICES: &str = "fewer choices came than were asked for";
pub(crate) const FILLED_OUTPUT: &str =
    "the final event has no output: the items of the stream stand in it";
pub(crate) const FILLED_LOGPROBS: &str =
    "the final event lacks log probabilities: those of the stream stand in it";
pub(crate) const BACKGROUND: &str =
    "the response goes on in the background: what becomes of it is not recorded";
pub(crate) const SEVERAL_GENERATIONS: &str =
    "token ids of several generations in one reply were left out";
pub(crate) const NOT_JSON: &str = "the reply is no JSON";
pub(crate) const NON_FINITE: &str =
    "the reply holds NaN or Infinity, which are null in parsed fields";
pub(crate) const NO_IDS: &str = "token ids were asked for and none came";
/// How the note of a store begins that has no room for a reply.
const LEFT_OUT: &str = "the reply is left out";
/// How the note of an imported record begins that said what a record cannot.
pub(crate) const NOT_CARRIED: &str = "not carried over from the old record";
pub(crate) const BAD_REQUEST: &str = "the request is no JSON object";

/// Whether a note says that something of the reply is not in the record.
pub(crate) fn tells_of_loss(note: &str) -> bool {
    let losses = [
        UNREADABLE_EVENT,
        UNREADABLE_CHOICES,
        UNREADABLE_MESSAGE,
        UNREADABLE_BLOCK,
        UNBEGUN_BLOCK,
        TOO_DEEP,
        UNREADABLE_IDS,
        FEWER_CHOICES,
        SEVERAL_GENERATIONS,
        BACKGROUND,
        UNREAD_EVENT,
        CAPPED,
        NOT_JSON,
        NO_IDS,
        LEFT_OUT,
        NOT_CARRIED,
    ];
    losses.iter().any(|loss| note.starts_with(loss))
}

/// So many notes are kept; more are hostile, and say nothing new.
const MAX_NOTES: usize = 64;

/// Notes in the order in which they were first made, each once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Notes(Vec<String>);

impl Notes {
    pub(crate) fn add(&mut self, note: &str) {
        if self.0.len() < MAX_NOTES && !self.has(note) {
            self.0.push(note.to_owned());
        }
    }

    pub(crate) fn extend(&mut self, notes: &[String]) {
        for note in notes {
            self.add(note);
        }
    }

    pub(crate) fn has(&self, note: &str) -> bool {
        self.0.iter().any(|known| known == note)
    }

    pub(crate) fn as_slice(&self) -> &[String] {
        &self.0
    }

    pub(crate) fn into_vec(self) -> Vec<String> {
        self.0
    }
}
