//! Accepted tokens, kept as digests of fixed size and compared in constant time.

use std::fmt;

use constant_time_eq::constant_time_eq_32;
use sha2::{Digest as _, Sha256};

use crate::Secret;

/// A list of accepted tokens: one, or several while they are rotated. Empty by default.
///
/// Only SHA-256 digests are kept. Digests have one size, so that comparing them shows neither the
/// content nor the length of a token.
#[derive(Clone, Default)]
pub struct Tokens(Vec<Digest>);

impl Tokens {
    /// The tokens of a configuration. Blanks around a token do not count, because no HTTP header
    /// can carry them: a token read from a file with a line end at its end works.
    ///
    /// # Errors
    ///
    /// [`TokenError`] if a token could never be presented, or would be presented by everyone.
    pub fn new<'a>(tokens: impl IntoIterator<Item = &'a Secret>) -> Result<Self, TokenError> {
        tokens
            .into_iter()
            .map(|secret| {
                let token = secret.expose().trim_ascii();
                if token.is_empty() {
                    return Err(TokenError::Empty);
                }
                if token
                    .bytes()
                    .any(|byte| byte.is_ascii_control() && byte != b'\t')
                {
                    return Err(TokenError::Control);
                }
                Ok(Digest::of(token.as_bytes()))
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Whether no token is accepted at all: none is configured.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `presented` is one of the tokens. Compares with every one of them, also after a
    /// match, so that the time does not tell which one it was.
    pub(crate) fn accept(&self, presented: &Digest) -> bool {
        self.0
            .iter()
            .fold(false, |found, token| found | token.matches(presented))
    }
}

/// Shows how many tokens there are; a digest would let a weak token be guessed.
impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tokens({} masked)", self.0.len())
    }
}

/// The SHA-256 digest of a token.
#[derive(Clone)]
pub(crate) struct Digest([u8; 32]);

impl Digest {
    pub(crate) fn of(token: &[u8]) -> Self {
        Self(Sha256::digest(token).into())
    }

    /// Equality in constant time.
    pub(crate) fn matches(&self, other: &Self) -> bool {
        constant_time_eq_32(&self.0, &other.0)
    }
}

/// A configured token that cannot be meant. The operator's error: the token never shows in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenError {
    /// The token is empty or blank. Accepting it would open the gateway to all, ignoring it too.
    Empty,
    /// The token holds a control character, which no HTTP header can carry.
    Control,
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "a token is empty",
            Self::Control => "a token holds a control character, which no HTTP header can carry",
        })
    }
}

impl std::error::Error for TokenError {}

#[cfg(test)]
mod tests {
    use super::{Digest, TokenError, Tokens};
    use crate::Secret;

    fn tokens(list: &[&str]) -> Result<Tokens, TokenError> {
        let secrets: Vec<Secret> = list.iter().map(|text| Secret::from(*text)).collect();
        Tokens::new(&secrets)
    }

    #[test]
    fn every_token_of_the_list_is_accepted() {
        let list = tokens(&["one", "two", "three"]).unwrap();
        for token in ["one", "two", "three"] {
            assert!(list.accept(&Digest::of(token.as_bytes())), "{token}");
        }
        for other in ["", "on", "onee", "ONE", "one,two", "four"] {
            assert!(!list.accept(&Digest::of(other.as_bytes())), "{other}");
        }
    }

    #[test]
    fn an_empty_list_accepts_nothing() {
        assert!(!Tokens::default().accept(&Digest::of(b"")));
        assert!(tokens(&[]).unwrap().is_empty());
    }

    #[test]
    fn tokens_that_cannot_be_meant_are_refused() {
        assert_eq!(tokens(&[""]).unwrap_err(), TokenError::Empty);
        assert_eq!(tokens(&["good", " \t\n"]).unwrap_err(), TokenError::Empty);
        assert_eq!(tokens(&["a\nb"]).unwrap_err(), TokenError::Control);
        assert_eq!(tokens(&["a\0"]).unwrap_err(), TokenError::Control);
        assert_eq!(tokens(&["a\x7f"]).unwrap_err(), TokenError::Control);
    }

    #[test]
    fn blanks_around_a_token_do_not_count() {
        assert!(
            tokens(&[" tok en\n"])
                .unwrap()
                .accept(&Digest::of(b"tok en"))
        );
    }

    #[test]
    fn debug_shows_no_digest() {
        assert_eq!(
            format!("{:?}", tokens(&["a", "b"]).unwrap()),
            "Tokens(2 masked)"
        );
    }
}
