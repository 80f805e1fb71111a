//! JSON text as it stands: validated once, walked and spliced without a tree.
//!
//! A gateway must give back exactly what it was given: `1.0` stays `1.0`, a 30-digit integer keeps
//! its digits, a lone surrogate stays escaped, members keep their order. A parsed tree loses all of
//! that, so this crate never builds one. [`parse`] checks the whole text once; the [`Value`] it
//! returns is a slice of that text which is walked lazily. A [`Parsed`] text notes, while it is
//! checked, where its long values end, so that it can be looked at many times. [`Edits`] cuts and
//! inserts members and leaves every other byte where it was.
//!
//! ```
//! use gateway_json::{Dialect, Edits, parse};
//!
//! let text = br#"{"model": "m", "rllm": {"session_id": "s"}, "seed": 1.0}"#;
//! let root = parse(text, Dialect::Strict)?;
//! assert_eq!(root.get("model").and_then(|v| v.as_str()).as_deref(), Some("m"));
//!
//! let mut edits = Edits::new(root);
//! edits.remove(root, |member| member.key.is("rllm"));
//! edits.set(root, "logprobs", "true");
//! assert_eq!(edits.apply().as_deref(), Some(r#"{"model": "m", "seed": 1.0,"logprobs":true}"#));
//! # Ok::<(), gateway_json::Error>(())
//! ```
//!
//! The crate is pure: no I/O, no clock, no global state. It allocates only where a string has to
//! be unescaped or an edited text is built.

mod check;
mod edit;
mod parsed;
mod scan;
mod text;
mod value;

pub use check::{Dialect, Error, ErrorKind, MAX_DEPTH};
pub use edit::{Cuts, Edits};
pub use parsed::Parsed;
pub use text::{push_quoted, quote};
pub use value::{Elements, Key, Kind, Member, Members, Value, parse, strict_text};
