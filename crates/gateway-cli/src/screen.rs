//! Where the output goes, and what fits there.

use std::io::{IsTerminal as _, Write as _, stdout};
use std::time::{Duration, SystemTime};

use crate::error::Error;

/// What the output may look like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Screen {
    /// How many columns a line has; a pipe has no end.
    pub(crate) width: Option<usize>,
    /// Whether colours are wanted.
    pub(crate) color: bool,
    /// The time, UNIX seconds.
    pub(crate) now: f64,
}

/// What a text means, where there are colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Tone {
    #[default]
    Plain,
    Title,
    Good,
    Bad,
    Open,
}

impl Screen {
    /// A terminal with its width and colours, or a pipe without. `NO_COLOR` and a terminal that
    /// can only print take the colours away.
    pub(crate) fn of_this_process() -> Self {
        let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let is_terminal = stdout().is_terminal();
        let dumb = set("TERM").is_some_and(|term| term == "dumb");
        let size = terminal_size::terminal_size().filter(|_| is_terminal);
        Self {
            width: size
                .map(|(width, _)| usize::from(width.0))
                .filter(|width| *width > 0),
            color: is_terminal && !dumb && set("NO_COLOR").is_none(),
            now: SystemTime::now()
                .duration_since(SystemTime::UNIX_EPOCH)
                .unwrap_or(Duration::ZERO)
                .as_secs_f64(),
        }
    }

    /// A text in its colour.
    pub(crate) fn paint(&self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Title => 1,
            Tone::Good => 32,
            Tone::Bad => 31,
            Tone::Open => 33,
            Tone::Plain => return text.to_owned(),
        };
        if self.color && !text.is_empty() {
            format!("\u{1b}[{code}m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }
}

/// Writes to stdout, at once.
///
/// # Errors
/// [`Error::Output`]
pub(crate) fn print(text: &str) -> Result<(), Error> {
    let mut out = stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

/// Tells the person something beside the output.
pub(crate) fn note(text: &str) {
    // Without a stderr there is nobody to tell.
    let _ = writeln!(std::io::stderr(), "rllm-model-gateway: {text}");
}
