//! Whose call is it: identity from headers, body and path, merged by precedence, and what to strip.
//!
//! A model call says where it belongs (session, run, step, …) in up to three places: `x-rllm-*`
//! headers, an `rllm` object in the JSON body, and the path `/sessions/{id}/v1/…`. This crate reads
//! each of them into [`Claims`], [`merge`]s them field by field, header before body before path,
//! into one [`Identity`], and knows which headers and body members are the gateway's own and must
//! not travel on. It does no I/O and knows no HTTP library: headers are pairs of a name and raw
//! bytes, a body is a [`gateway_json::Value`], a path is text.
//!
//! - [`Claims`]: what one source says; never fails, because bad metadata must not fail a call.
//! - [`Sources`] and [`merge`]: the precedence, then the one check that can fail: a *winning* value
//!   that is too long, holds control characters or is no Unicode is an [`IdentityError`].
//! - [`fallback_session`]: a client's own session header, where no source names a session.
//! - [`split_path`]: data plane or not, and where the session id in it ends; [`endpoint_of`] and
//!   [`DataPath::check`] say what the rest of the path means.
//! - [`is_rllm_header`], [`shadows_known_header`], [`HopByHop`], [`strip_body`]: what stays behind.
//!
//! # Example
//!
//! Identity without HTTP:
//!
//! ```
//! use gateway_json::{Dialect, Edits, parse};
//! use gateway_metadata::{Claims, Sources, merge, split_path, strip_body};
//!
//! let headers: [(&str, &[u8]); 2] = [("X-RLLM-Run-Id", b"run-7"), ("accept", b"*/*")];
//! let body = br#"{"model": "m", "metadata": {"rllm": {"step_id": 4.0, "harness": "react"}}}"#;
//! let root = parse(body, Dialect::Strict)?;
//! let path = split_path("/sessions/org%2Ftask:3/v1/chat/completions").expect("a data path");
//!
//! let identity = merge(Sources {
//!     headers: Claims::from_headers(headers),
//!     body: Claims::from_body(root),
//!     path: path.claims(),
//!     ..Sources::default()
//! })?;
//! assert_eq!(identity.session_id.as_deref(), Some("org/task:3"));
//! assert_eq!(identity.run_id.as_deref(), Some("run-7"));
//! assert_eq!(identity.harness.as_deref(), Some("react"));
//! assert_eq!(identity.step_id, Some(4));
//!
//! let mut edits = Edits::new(root);
//! strip_body(&mut edits, root);
//! assert_eq!(edits.apply().as_deref(), Some(r#"{"model": "m"}"#));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod body;
mod claims;
mod fallback;
mod headers;
mod identity;
mod merge;
mod path;

pub use body::{STRIPPED_MEMBERS, client_metadata, strip_body, strip_member, strip_members};
pub use claims::Claims;
pub use fallback::{DEFAULT_FALLBACK_HEADERS, SessionHeader, fallback_session};
pub use headers::{HOP_BY_HOP, HopByHop, is_rllm_header, shadows_known_header};
pub use identity::{Field, Identity, IdentityError, MAX_VALUE_BYTES, Problem};
pub use merge::{Sources, merge};
pub use path::{
    DataPath, PathError, decode_session_id, endpoint_of, has_dot_segment, has_v1_segment,
    is_dot_segment, split_path,
};
