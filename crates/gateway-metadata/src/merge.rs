//! The precedence of the sources.

use crate::claims::Claims;
use crate::identity::{Identity, IdentityError};

/// Everything that may say whose call it is, in the order of precedence.
#[derive(Clone, Debug, Default)]
pub struct Sources<'a> {
    /// What the headers say: [`Claims::from_headers`].
    pub headers: Claims,
    /// What the body says: [`Claims::from_body`].
    pub body: Claims,
    /// What the path says: [`DataPath::claims`](crate::DataPath::claims).
    pub path: Claims,
    /// The gateway's own run, for calls that name none.
    pub gateway_run_id: Option<&'a str>,
    /// The value of the client's own session header, for calls whose headers, body and path name
    /// no session: [`fallback_session`](crate::fallback_session).
    pub fallback_session: Option<&'a str>,
}

/// Merges the sources field by field: the first that says anything wins.
///
/// # Errors
///
/// A *winning* value that cannot be recorded (see [`Claims::identity`]); one that does not win
/// does no harm.
pub fn merge(sources: Sources<'_>) -> Result<Identity, IdentityError> {
    let run = sources.gateway_run_id.map(Claims::run).unwrap_or_default();
    let session = sources
        .fallback_session
        .map(Claims::session)
        .unwrap_or_default();
    sources
        .headers
        .or(sources.body)
        .or(sources.path)
        .or(run)
        .or(session)
        .identity()
}
