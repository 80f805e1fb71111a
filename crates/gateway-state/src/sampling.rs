//! Sampling parameters of sessions, at hand for every call.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

/// The sampling parameters of one session: names with their values as JSON text, as they were
/// given, so that no number is ever spelt anew.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SamplingParams(Vec<(String, String)>);

/// A parameter that cannot be set for a session, because it would change what the call is: the
/// error of whoever set it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` cannot be a sampling parameter of a session")]
pub struct RefusedParam(pub String);

impl SamplingParams {
    /// The parameters, in the order given; of one that is given twice the last value counts.
    ///
    /// # Errors
    ///
    /// [`RefusedParam`] for `model`, `stream` and `messages`.
    pub fn new(params: impl IntoIterator<Item = (String, String)>) -> Result<Self, RefusedParam> {
        let mut kept: Vec<(String, String)> = Vec::new();
        for (name, value) in params {
            if matches!(name.as_str(), "model" | "stream" | "messages") {
                return Err(RefusedParam(name));
            }
            match kept.iter_mut().find(|(known, _)| *known == name) {
                Some(known) => known.1 = value,
                None => kept.push((name, value)),
            }
        }
        Ok(Self(kept))
    }

    /// Name and JSON text of each.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The sampling parameters by session id, whatever the run. Holds only sessions that have some; the
/// store keeps them beyond a restart.
#[derive(Debug, Default)]
pub struct SamplingCache(RwLock<BTreeMap<String, Arc<SamplingParams>>>);

impl SamplingCache {
    /// Those of a session, if it has any.
    #[must_use]
    pub fn find(&self, session: &str) -> Option<Arc<SamplingParams>> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(session)
            .cloned()
    }

    /// Sets those of a session, in place of earlier ones. None at all are as good as
    /// [`Self::remove`].
    pub fn set(&self, session: &str, params: SamplingParams) {
        if params.is_empty() {
            return self.remove(session);
        }
        let mut sessions = self.0.write().unwrap_or_else(PoisonError::into_inner);
        sessions.insert(session.to_owned(), Arc::new(params));
    }

    /// Removes those of a session.
    pub fn remove(&self, session: &str) {
        self.0
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(session);
    }
}

#[cfg(test)]
mod tests;
