//! File, environment and flags to one validated configuration, secrets masked.
//!
//! Four layers, later ones win: defaults, the YAML file, the environment, the command line. The
//! result is a [`Config`] that was understood in full, or a [`ConfigError`]: one line that names
//! the file and line (or the variable, or the flag), the key, and what is wrong. Nothing that was
//! written is ever ignored: an unknown key is an error, and so is one that this version cannot
//! honour yet.
//!
//! `${NAME}` and `${NAME:-default}` in any string of the file stand for environment variables,
//! and `$$` for a dollar. Credentials become [`Secret`](gateway_auth::Secret)s or sensitive
//! header values, which no error, no `Debug` and no [`Config::to_yaml`] shows.
//!
//! The environment and the command line come in as arguments, so that a test needs neither:
//!
//! ```
//! use gateway_config::{Overrides, load_text};
//! use std::env::VarError;
//!
//! let file = "
//! port: 9000
//! routes:
//!   gpt-*: {upstream_url: https://api.openai.com/v1, auth_header: 'Bearer ${OPENAI_API_KEY}'}
//! ";
//! let flags = Overrides { port: Some(0), ..Overrides::default() };
//!
//! let environment = |name: &str| match name {
//!     "OPENAI_API_KEY" => Ok("sk-1".to_owned()),
//!     "HOME" => Ok("/root".to_owned()),
//!     _ => Err(VarError::NotPresent),
//! };
//! let config = load_text("gateway.yaml", file, &environment, &flags)?;
//! assert_eq!(config.port, 0);
//! assert!(!config.to_yaml().contains("sk-1"));
//!
//! let error = load_text("gateway.yaml", file, &|_| Err(VarError::NotPresent), &flags)
//!     .unwrap_err();
//! assert_eq!(
//!     error.to_string(),
//!     "gateway.yaml:4: routes.gpt-*.auth_header: the environment variable OPENAI_API_KEY is not \
//!      set (set it, or write ${OPENAI_API_KEY:-default})"
//! );
//! # Ok::<(), gateway_config::ConfigError>(())
//! ```

mod config;
mod decode;
mod error;
mod expand;
mod keys;
mod layers;
mod read;
mod show;
mod tree;

pub use config::{
    Config, Durability, LogLevel, Retry, RouteConfig, SamplingPriority, StoreKind, WorkerConfig,
    journal_dir,
};
pub use error::{ConfigError, Origin};
pub use keys::page;
pub use layers::{Overrides, is_python_only, load, load_text, reload};

#[cfg(test)]
mod tests;
