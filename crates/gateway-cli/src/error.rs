//! What can go wrong, in one line each.

use std::io;

/// Why a command was not carried out. `Display` is for the person who gave it; no token and no
/// control character is in it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The command line asks for what cannot be: the user's to mend.
    #[error("{0}")]
    Usage(String),
    /// No connection to the gateway: it is not there, or the URL is wrong.
    #[error("cannot reach {url}: {reason}")]
    Unreachable {
        /// The gateway's URL.
        url: String,
        /// The operating system's word, or that of TLS.
        reason: String,
    },
    /// The connection broke, or nothing came for too long. Asking again may help.
    #[error("{url} broke off its answer: {reason}")]
    Broken {
        /// The gateway's URL.
        url: String,
        /// What happened.
        reason: String,
    },
    /// The gateway answered with an error.
    #[error("{url} answers {status}: {message}")]
    Refused {
        /// The gateway's URL.
        url: String,
        /// The HTTP status.
        status: u16,
        /// The gateway's word, and what may help.
        message: String,
    },
    /// What answered speaks HTTP, but not as a gateway does.
    #[error("{url} is no gateway, or not below this URL: {what}")]
    Foreign {
        /// The URL that was asked.
        url: String,
        /// What it answered.
        what: String,
    },
    /// The output cannot be written.
    #[error("cannot write the output")]
    Output(#[from] io::Error),
    /// The process cannot wait for the network.
    #[error("cannot start")]
    Runtime(#[source] io::Error),
}

impl Error {
    /// The exit code that it deserves: 2 for a command line that asks for what cannot be, else 1.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Usage(_) => 2,
            _ => 1,
        }
    }

    /// Whether the same question may be answered a little later.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Error::Unreachable { .. } | Error::Broken { .. } => true,
            Error::Refused { status, .. } => *status == 429 || *status >= 500,
            _ => false,
        }
    }
}
