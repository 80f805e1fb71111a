//! From the chunks of a stream to the whole reply that an upstream would have sent instead.
//!
//! Nothing is parsed into values and written again: strings are joined in their escaped form, array
//! items and numbers as they stand in the text. So the whole reply has every digit and every
//! unknown member that the stream had, and the cost is linear in the stream's bytes.

use gateway_json::{Dialect, MAX_DEPTH, parse};

mod calls;
mod choices;
mod fields;
mod message;
mod parts;
mod response;

pub(crate) use choices::ChoicesAssembler;
pub(crate) use message::MessageAssembler;
pub(crate) use response::ResponseAssembler;

/// How much memory an assembled reply takes, about.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    bytes: usize,
}

impl Meter {
    /// The place that a member, a tool call, a block or a choice takes besides its text.
    const NODE: usize = 128;

    fn bytes(&self) -> usize {
        self.bytes
    }

    fn add(&mut self, bytes: usize) {
        self.bytes += bytes;
    }

    fn add_node(&mut self, key: &str) {
        self.bytes += Self::NODE + key.len();
    }
}

fn is_json(text: &str) -> bool {
    parse(text.as_bytes(), Dialect::Python).is_ok()
}

/// Whether a value may lie `levels` deeper than it does without being too deep to be read.
fn has_room(json: &str, levels: usize) -> bool {
    // Next to nothing is long enough, or has openings enough, to be looked into.
    let most = MAX_DEPTH - levels;
    let openings = || {
        let opens = |byte: &u8| matches!(byte, b'{' | b'[');
        json.bytes().filter(opens).count()
    };
    json.len() <= 2 * most
        || openings() <= most
        || is_json(&format!(
            "{}{json}{}",
            "[".repeat(levels),
            "]".repeat(levels)
        ))
}
