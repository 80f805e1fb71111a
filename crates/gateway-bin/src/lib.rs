//! The `rllm-model-gateway` executable as a library: flags, wiring and signals.
//!
//! Everything that decides lives in the crates below; here they are put together. [`cli`] reads
//! the command line, `gateway-config` makes a [`Config`](gateway_config::Config) of it, and
//! [`App`] is the gateway that comes of that: it holds the listener, the data plane, the
//! management plane, the store with its journal, and the health checks. [`Stop`] ends it, asked
//! once in order, asked twice at once; [`Reload`] has it read its configuration anew.
//!
//! The server is hyper's HTTP/1.1 on one current-thread runtime, with a socket of ours below it
//! that keeps the clocks which hyper has not.
//!
//! ```
//! use gateway_bin::{App, Reload, Stop};
//! use gateway_config::{Config, StoreKind};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! let config = Config { port: 0, store: StoreKind::Memory, ..Config::default() };
//! let stop = Stop::default();
//! let app = App::start(&config, Reload::default(), stop.clone()).await?;
//! assert_ne!(app.address().port(), 0);
//!
//! stop.request();
//! app.run().await?;
//! # Ok(()) })
//! # }
//! ```

mod activity;
mod app;
mod banner;
pub mod cli;
mod health;
mod import;
mod live;
pub mod log;
mod planes;
mod reload;
mod request_body;
mod server;
mod socket;
pub mod stop;

pub use app::{App, StartError};
pub use banner::banner;
pub use import::{ImportError, Summary, import};
pub use reload::Reload;
pub use stop::Stop;

/// An error and its sources in one line, which is what people and logs get to see.
#[must_use]
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // Some errors repeat their source.
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
