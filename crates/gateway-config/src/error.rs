//! The one error of this crate: what is wrong, where, and under which key.

use std::fmt;
use std::sync::Arc;

/// Where a setting was written.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// In the file, on this line (counted from 1; 0 where the line is not known).
    File {
        /// The file as it was named on the command line.
        file: Arc<str>,
        /// The line, counted from 1.
        line: u64,
    },
    /// In this environment variable.
    Variable(&'static str),
    /// Behind this flag of the command line.
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::File { file, line: 0 } => f.write_str(file),
            Origin::File { file, line } => write!(f, "{file}:{line}"),
            Origin::Variable(name) => write!(f, "environment variable {name}"),
            Origin::Flag(name) => f.write_str(name),
        }
    }
}

/// A configuration that the gateway will not start on: the operator's to mend, no retry helps.
///
/// Its text is one line that names the file and line (or the variable, or the flag), the key,
/// and what is wrong. It never holds the value of a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{origin}: {}{message}", KeyPrefix(key))]
pub struct ConfigError {
    origin: Origin,
    key: String,
    message: String,
}

impl ConfigError {
    pub(crate) fn new(origin: Origin, key: impl Into<String>, message: impl Into<String>) -> Self {
        ConfigError {
            origin,
            key: key.into(),
            message: message.into(),
        }
    }

    /// Where the faulty setting was written.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The key that is at fault, as a path (`routes.gpt-4.auth_header`, `workers[1].url`);
    /// empty where the file as a whole is.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }
}

struct KeyPrefix<'a>(&'a str);

impl fmt::Display for KeyPrefix<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            Ok(())
        } else {
            write!(f, "{}: ", self.0)
        }
    }
}
