//! The decision: who calls, and whether that one may have what it asks for.

use std::fmt;

use crate::Tokens;
use crate::credentials::presented;
use crate::tokens::Digest;

/// The tokens that a gateway accepts, and the rights that they give. Without any (the default)
/// everyone may do everything.
///
/// | configured | calls | management |
/// | --- | --- | --- |
/// | nothing | everyone | everyone |
/// | inbound | inbound token | inbound token: agents are admins then |
/// | inbound and admin | either token | admin token; with an inbound one [`Refusal::Forbidden`] |
/// | admin | everyone | admin token |
///
/// The last row is for a gateway whose agents know no token while its management is closed to
/// them: an admin token must never leave management open, and says nothing about calls.
#[derive(Clone, Debug, Default)]
pub struct Auth {
    inbound: Tokens,
    admin: Tokens,
}

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// The data plane, and what every caller may ask of a gateway: `/`, `/health`, `/ready`.
    Calls,
    /// The management plane.
    Management,
    /// A path that the operator opened to everyone, whatever its plane.
    Open,
}

/// Who is calling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Principal {
    /// Someone without a valid token, where none is needed.
    Anonymous,
    /// The holder of an inbound token.
    Agent,
    /// The holder of an admin token.
    Admin,
}

impl Principal {
    /// The name that a trace records: `agent`, `admin`, or none for anonymous callers.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        match self {
            Self::Anonymous => None,
            Self::Agent => Some("agent"),
            Self::Admin => Some("admin"),
        }
    }
}

/// Why a request is turned away: always the caller's error, and no retry helps. `Display` is the
/// message for the caller, and never holds what was presented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// No valid token, whatever was presented instead: HTTP 401.
    Unauthorized,
    /// A valid token without the right to this: HTTP 403.
    Forbidden,
    /// More than one `Authorization` line, also where no token is needed: HTTP 400.
    RepeatedAuthorization,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unauthorized => "missing or invalid bearer token",
            Self::Forbidden => "this token does not open the management plane",
            Self::RepeatedAuthorization => "more than one Authorization header",
        })
    }
}

impl std::error::Error for Refusal {}

impl Auth {
    /// Accepts the tokens of agents and those of administrators. A token that is in both lists is
    /// an administrator's.
    #[must_use]
    pub fn new(inbound: Tokens, admin: Tokens) -> Self {
        Self { inbound, admin }
    }

    /// Whether calls need a token: an inbound one is configured. Without, the data plane is open.
    #[must_use]
    pub fn protects_calls(&self) -> bool {
        !self.inbound.is_empty()
    }

    /// Whether agents are kept out of the management plane: an admin token is configured.
    #[must_use]
    pub fn separates_admins(&self) -> bool {
        !self.admin.is_empty()
    }

    /// Decides from the header lines (name in any case, raw value) who calls, and whether that one
    /// may have `access`. Any bytes are legal in a value. Needs neither body nor path.
    ///
    /// The time it takes depends on what was presented, not on the content or length of the
    /// tokens, nor on which one matches.
    ///
    /// # Errors
    ///
    /// [`Refusal`], see there.
    pub fn check<'a>(
        &self,
        access: Access,
        headers: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    ) -> Result<Principal, Refusal> {
        let candidates = presented(headers)?;
        let principal = self.principal(&candidates);
        match (access, principal) {
            (Access::Open, _) | (_, Principal::Admin) => Ok(principal),
            (Access::Calls, Principal::Agent) => Ok(principal),
            (Access::Calls, Principal::Anonymous) => {
                if self.protects_calls() {
                    Err(Refusal::Unauthorized)
                } else {
                    Ok(principal)
                }
            }
            (Access::Management, Principal::Agent) => {
                if self.separates_admins() {
                    Err(Refusal::Forbidden)
                } else {
                    Ok(principal)
                }
            }
            (Access::Management, Principal::Anonymous) => {
                if self.protects_calls() || self.separates_admins() {
                    Err(Refusal::Unauthorized)
                } else {
                    Ok(principal)
                }
            }
        }
    }

    /// Whether the credential headers of a request by `principal` were meant for the gateway, and
    /// so must not go upstream (all of them, see
    /// [`is_credential_header`](crate::is_credential_header)). Where calls need no token, an
    /// anonymous caller's credential is meant for the upstream.
    #[must_use]
    pub fn keeps_credentials(&self, principal: Principal) -> bool {
        self.protects_calls() || principal != Principal::Anonymous
    }

    /// Compares every candidate with every token, without an early exit.
    fn principal(&self, candidates: &[impl AsRef<[u8]>]) -> Principal {
        if self.inbound.is_empty() && self.admin.is_empty() {
            return Principal::Anonymous;
        }
        let (mut agent, mut admin) = (false, false);
        for candidate in candidates {
            let digest = Digest::of(candidate.as_ref());
            agent |= self.inbound.accept(&digest);
            admin |= self.admin.accept(&digest);
        }
        if admin {
            Principal::Admin
        } else if agent {
            Principal::Agent
        } else {
            Principal::Anonymous
        }
    }
}

#[cfg(test)]
mod tests;
