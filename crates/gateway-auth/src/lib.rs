//! Presented credential to allowed role or refusal, in constant time; the masked secret type.
//!
//! The gateway knows two kinds of tokens: *inbound* ones, which agents present with their calls,
//! and *admin* ones, which open the management plane. This crate decides, from nothing but the
//! request's header lines, who is calling and whether that one may have what it asks for. It does
//! no I/O and knows no HTTP library: header lines are pairs of a name and raw bytes.
//!
//! - [`Secret`]: text that must not be shown. Its `Debug` is masked; `Display` and `Serialize`
//!   do not exist.
//! - [`Tokens`]: a list of accepted tokens, of which only digests are kept.
//! - [`Auth`]: inbound and admin tokens together; [`Auth::check`] is the whole decision.
//! - [`Principal`] and [`Refusal`]: the two ways a check can end.
//!
//! A token is presented in one of three ways: `Authorization: Bearer TOKEN`, `x-api-key: TOKEN`
//! (Anthropic clients), or as the password of `Authorization: Basic` (what clients make of
//! `http://any:TOKEN@host`). Any valid one suffices.
//!
//! What is absent, and why: nothing here stores, logs or returns a presented value, so that a
//! refusal cannot leak one. Every refusal of a credential is the same [`Refusal::Unauthorized`],
//! whatever was wrong with it.
//!
//! # Example
//!
//! A token check without a server:
//!
//! ```
//! use gateway_auth::{Access, Auth, Principal, Refusal, Secret, Tokens};
//!
//! let inbound = Tokens::new(&[Secret::from("agents-token")])?;
//! let admin = Tokens::new(&[Secret::from("old-admin"), Secret::from("new-admin")])?;
//! let auth = Auth::new(inbound, admin);
//!
//! let agent: [(&str, &[u8]); 1] = [("authorization", b"Bearer agents-token")];
//! assert_eq!(auth.check(Access::Calls, agent), Ok(Principal::Agent));
//! assert_eq!(auth.check(Access::Management, agent), Err(Refusal::Forbidden));
//!
//! // The password of `http://any:new-admin@host`.
//! let admin: [(&str, &[u8]); 1] = [("Authorization", b"Basic YW55Om5ldy1hZG1pbg==")];
//! assert_eq!(auth.check(Access::Management, admin), Ok(Principal::Admin));
//!
//! let nobody: [(&str, &[u8]); 0] = [];
//! assert_eq!(auth.check(Access::Calls, nobody), Err(Refusal::Unauthorized));
//!
//! assert_eq!(format!("{:?}", Secret::from("agents-token")), "Secret(***)");
//! # Ok::<(), gateway_auth::TokenError>(())
//! ```

mod auth;
mod credentials;
mod secret;
mod tokens;

pub use auth::{Access, Auth, Principal, Refusal};
pub use credentials::is_credential_header;
pub use secret::Secret;
pub use tokens::{TokenError, Tokens};
