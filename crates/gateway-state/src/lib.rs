//! What the data plane and the management plane share while the gateway runs.
//!
//! [`State`] is one object behind an `Arc`. It holds
//!
//! - the [`Live`] settings: plain data, replaced as a whole, so that a call sees one version;
//! - the pool of [`Workers`]: registration, health, load, and which worker serves a session;
//! - [`State::choose`]: the upstream of a call, by the rules of `gateway-route`;
//! - sampling parameters by session ([`SamplingParams`]), the weight version, the [`PauseGate`],
//!   the end of serving ([`Drain`]) and the [`Counters`] of what both planes have seen.
//!
//! Beside it stand two things that both planes must do alike: [`ApiError`], the one shape of an
//! error, and [`Door`], who may ask at all where no token is configured.
//!
//! ```
//! use std::time::Instant;
//! use gateway_state::{Ask, Destination, Live, State, WorkerSpec};
//!
//! let state = State::new(Live::default(), "0.1.0");
//! let live = state.live();
//! let ask = Ask {
//!     method: "POST",
//!     api: "/chat/completions",
//!     model: Some("qwen"),
//!     session: Some("session-1"),
//! };
//! let error = state.choose(&live, &ask, Instant::now()).unwrap_err();
//! assert_eq!((error.status(), error.code()), (404, "no_route"));
//!
//! state.workers().add(&WorkerSpec::new("http://127.0.0.1:8000/v1"), &live.worker_allow)?;
//! let Destination::Upstream(chosen) = state.choose(&live, &ask, Instant::now())? else {
//!     unreachable!("a worker is there");
//! };
//! assert_eq!(chosen.upstream.base.to_string(), "http://127.0.0.1:8000/v1");
//! assert_eq!(chosen.reason.as_str(), "new");
//! // Until `chosen` is dropped the call counts as one that the worker is serving.
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod choose;
mod counters;
mod door;
mod drain;
mod error;
mod live;
mod pause;
mod sampling;
mod state;
mod upstream;
mod workers;

pub use choose::{Ask, Chosen, Destination};
pub use counters::{BUCKETS, CallEnd, Counters, Histogram, OUTCOMES, Series};
pub use door::{Door, HostHeader, Visit, host_is_ours, is_forwarding_header, peer_is_private};
pub use drain::Drain;
pub use error::{ApiError, Code};
pub use live::{Capture, HealthSettings, Limits, Live, Retry, Route, SamplingPriority, Timeouts};
pub use pause::{Passed, PauseGate};
pub use sampling::{RefusedParam, SamplingCache, SamplingParams};
pub use state::{NAME, State};
pub use upstream::{AuthHeader, InvalidAuthHeader, Upstream, UpstreamKind};
pub use workers::{AddError, Added, Lease, Probe, WorkerInfo, WorkerSpec, Workers};
