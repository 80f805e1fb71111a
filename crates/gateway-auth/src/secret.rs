//! Text that must not be shown by accident.

use std::fmt;

use crate::tokens::Digest;

/// Text that must not be shown: a token, a key, the value of an `Authorization` header.
///
/// `Debug` is masked, and there is neither `Display` nor `Serialize`: a secret leaves this type
/// only through [`Secret::expose`], which is easy to search for.
///
/// ```compile_fail
/// let shown = format!("{}", gateway_auth::Secret::from("t"));
/// ```
///
/// Equality is there so that two configurations can be compared; it compares digests in constant
/// time.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// The text itself. Call it only where the text is used, never to show it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        Digest::of(self.0.as_bytes()).matches(&Digest::of(other.0.as_bytes()))
    }
}

impl Eq for Secret {}

#[cfg(test)]
mod tests {
    use super::Secret;

    #[test]
    fn debug_is_masked_also_inside_other_types() {
        let shown = format!(
            "{:?} {:#?}",
            Some(Secret::from("hunter2")),
            [Secret::from("hunter2")]
        );
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(shown.contains("Secret(***)"), "{shown}");
    }

    #[test]
    fn equality_is_that_of_the_text() {
        assert_eq!(Secret::from("a"), Secret::from("a".to_owned()));
        assert_ne!(Secret::from("a"), Secret::from("b"));
        assert_ne!(Secret::from("a"), Secret::from("aa"));
    }
}
