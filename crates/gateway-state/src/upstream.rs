//! One upstream, ready to be sent to.

use std::fmt;

use gateway_auth::Secret;
use gateway_route::BaseUrl;
use http::header::{AUTHORIZATION, HeaderName, HeaderValue};

/// What kind of upstream it is, which decides over injection, stripping and credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UpstreamKind {
    /// A provider, chosen by the model.
    Route,
    /// A worker of the pool.
    Worker,
}

/// An upstream with all that does not change from call to call. Shared, never changed: an update
/// makes a new one, and calls under way keep theirs.
#[derive(Clone, Debug, PartialEq)]
pub struct Upstream {
    /// Route or worker.
    pub kind: UpstreamKind,
    /// The route's key, or the worker's id: the trace's `upstream`.
    pub name: String,
    /// Where it is; what stands after the `/v1` of a call's path is appended to its path.
    pub base: BaseUrl,
    /// The `Host` header.
    pub host: HeaderValue,
    /// The credential to send, in place of the client's.
    pub auth: Option<AuthHeader>,
}

impl Upstream {
    /// An upstream at `base`.
    #[must_use]
    pub fn new(
        kind: UpstreamKind,
        name: impl Into<String>,
        base: BaseUrl,
        auth: Option<AuthHeader>,
    ) -> Self {
        let host = HeaderValue::try_from(base.authority())
            .expect("a parsed host is a name or an address, which a header may hold");
        Self {
            kind,
            name: name.into(),
            base,
            host,
            auth,
        }
    }
}

/// A credential for an upstream, as a header. Its `Debug` is masked.
#[derive(Clone, PartialEq)]
pub struct AuthHeader {
    name: HeaderName,
    value: HeaderValue,
}

/// The text cannot be sent as a header: the error of whoever configured it. It does not repeat the
/// text, which is a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`auth_header` is empty, or holds what no header may hold")]
pub struct InvalidAuthHeader;

impl AuthHeader {
    /// Reads an `auth_header`: the value of `Authorization`, or of `x-api-key` where it has the
    /// form `x-api-key VALUE`.
    ///
    /// # Errors
    ///
    /// [`InvalidAuthHeader`] where nothing is left of it, or it holds controls.
    pub fn parse(text: &Secret) -> Result<Self, InvalidAuthHeader> {
        const API_KEY: &str = "x-api-key";
        let text = text.expose().trim_matches([' ', '\t']);
        let (first, rest) = text.split_once([' ', '\t']).unwrap_or((text, ""));
        let (name, value) = if first.eq_ignore_ascii_case(API_KEY) {
            (
                HeaderName::from_static(API_KEY),
                rest.trim_start_matches([' ', '\t']),
            )
        } else {
            (AUTHORIZATION, text)
        };
        let mut value = HeaderValue::from_str(value).map_err(|_| InvalidAuthHeader)?;
        if value.is_empty() {
            return Err(InvalidAuthHeader);
        }
        value.set_sensitive(true);
        Ok(Self { name, value })
    }

    /// `authorization` or `x-api-key`.
    #[must_use]
    pub fn name(&self) -> &HeaderName {
        &self.name
    }

    /// The secret value, marked as sensitive.
    #[must_use]
    pub fn value(&self) -> &HeaderValue {
        &self.value
    }
}

impl fmt::Debug for AuthHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AuthHeader({}: ***)", self.name)
    }
}

#[cfg(test)]
mod tests;
