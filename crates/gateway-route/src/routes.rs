//! From the name of a model to the key of a route.

use std::cmp::Reverse;
use std::collections::BTreeMap;

/// The wildcard of a glob.
const STAR: char = '*';

/// Routes by model: a key is a model's name, or a glob with `*` for any run of characters, also
/// an empty one (`claude-*`, `*`). A call takes the route whose key is its model exactly, else the
/// one of the longest matching glob.
///
/// ```
/// use gateway_route::RouteTable;
///
/// let routes = RouteTable::new([
///     ("claude-*".to_owned(), "anthropic"),
///     ("claude-opus-*".to_owned(), "opus"),
///     ("gpt-5".to_owned(), "openai"),
/// ]);
/// assert_eq!(routes.find("gpt-5"), Some(("gpt-5", &"openai")));
/// assert_eq!(routes.find("claude-opus-4"), Some(("claude-opus-*", &"opus")));
/// assert_eq!(routes.find("gpt-5-mini"), None);
/// ```
#[derive(Clone, Debug)]
pub struct RouteTable<T> {
    exact: BTreeMap<String, T>,
    /// The longest first.
    globs: Vec<(String, T)>,
}

impl<T> Default for RouteTable<T> {
    fn default() -> Self {
        Self {
            exact: BTreeMap::new(),
            globs: Vec::new(),
        }
    }
}

impl<T> RouteTable<T> {
    /// A table of routes by key. Of a key that is given twice the last one counts.
    ///
    /// The longest glob is the one with the most characters beside its wildcards; of equally long
    /// ones the one with fewer wildcards, then the first in the order of their text, so that the
    /// order of the file decides nothing.
    #[must_use]
    pub fn new(routes: impl IntoIterator<Item = (String, T)>) -> Self {
        let mut exact: BTreeMap<String, T> = routes.into_iter().collect();
        let mut globs: Vec<_> = exact.extract_if(.., |key, _| key.contains(STAR)).collect();
        globs.sort_by_cached_key(|(key, _)| {
            let stars = key.matches(STAR).count();
            (Reverse(key.chars().count() - stars), stars, key.clone())
        });
        Self { exact, globs }
    }

    /// The key and the route of a model. A key that holds a `*` matches its own text, too.
    #[must_use]
    pub fn find(&self, model: &str) -> Option<(&str, &T)> {
        if let Some((key, route)) = self.exact.get_key_value(model) {
            return Some((key, route));
        }
        let verbatim = self.globs.iter().find(|(key, _)| key == model);
        verbatim
            .or_else(|| self.globs.iter().find(|(key, _)| glob_matches(key, model)))
            .map(|(key, route)| (key.as_str(), route))
    }

    /// The route with the key `*`, which also takes calls that name no model.
    #[must_use]
    pub fn catch_all(&self) -> Option<(&str, &T)> {
        let found = self.globs.iter().find(|(key, _)| key == "*");
        found.map(|(key, route)| (key.as_str(), route))
    }

    /// The keys that are no globs, in the order of their text: the models that can be told by
    /// name.
    pub fn exact_keys(&self) -> impl Iterator<Item = &str> {
        self.exact.keys().map(String::as_str)
    }

    /// Whether there is no route at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.globs.is_empty()
    }
}

/// Whether `glob` matches the whole of `text`. `*` stands for any run of characters, also an empty
/// one; everything else, `?` and `[` too, stands for itself.
fn glob_matches(glob: &str, text: &str) -> bool {
    let mut pieces = glob.split(STAR);
    let head = pieces.next().expect("split yields at least one piece");
    let Some(mut rest) = text.strip_prefix(head) else {
        return false;
    };
    let Some(tail) = pieces.next_back() else {
        // No wildcard at all.
        return rest.is_empty();
    };
    // The earliest place for each inner piece leaves the most to those behind it.
    for piece in pieces {
        let Some(at) = rest.find(piece) else {
            return false;
        };
        rest = &rest[at + piece.len()..];
    }
    rest.ends_with(tail)
}

#[cfg(test)]
mod tests;
