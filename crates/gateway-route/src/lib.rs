//! Which upstream serves a call, decided without a clock, a network or a lock of its own.
//!
//! A gateway stands in front of two kinds of upstream: *routes*, chosen by the model that a call
//! names, and a pool of *workers*, chosen by the session that the call belongs to. This crate
//! holds the rules, and nothing that changes while they run:
//!
//! - [`RouteTable`]: a model name to its route, exactly or by the longest glob;
//!   [`path_allowed`]: what of an API a route opens.
//! - [`Pool`] and [`choose_worker`]: the sticky choice by weighted rendezvous hashing with a bound
//!   on the load, and the policies without stickiness; [`Reason`] says how a choice came about.
//! - [`Health`]: when a worker counts as unhealthy, and when it is back.
//! - [`BaseUrl`] and [`WorkerUrl`]: the address of an upstream; [`check_address`] and [`Cidr`]:
//!   which addresses must not be one.
//!
//! ```
//! use gateway_route::{Candidate, Last, Policy, Reason, choose_worker};
//!
//! let workers = [
//!     Candidate { id: "w-1", weight: 1, healthy: true, load: 2, turn: 0 },
//!     Candidate { id: "w-2", weight: 1, healthy: true, load: 2, turn: 0 },
//! ];
//! let pool = || workers.iter().copied();
//!
//! // A session without a past goes to the first worker of its own rendezvous order …
//! let first = choose_worker(Policy::Sticky, Some("session-1"), Last::None, pool()).unwrap();
//! assert_eq!(first.reason, Reason::New);
//!
//! // … and stays there, whatever the list looks like later.
//! let served = Last::Worker(workers[first.index].id);
//! let next = choose_worker(Policy::Sticky, Some("session-1"), served, pool()).unwrap();
//! assert_eq!((next.index, next.reason), (first.index, Reason::Sticky));
//! ```

mod address;
mod choose;
mod health;
mod paths;
mod routes;
mod url;

pub use address::{AddressRefused, Cidr, CidrError, check_address};
pub use choose::{Candidate, Choice, Last, Policy, Pool, Reason, UnknownPolicy, choose_worker};
pub use health::{Change, Event, Health, HealthRules, check_passed};
pub use paths::path_allowed;
pub use routes::RouteTable;
pub use url::{BaseUrl, Host, UrlError, WorkerUrl};
