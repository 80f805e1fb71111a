//! The upstream side: connections of ours, polled inside the reply's own future.
//!
//! A connection that runs in a task of its own hands over one frame for each wake-up, so that a
//! reply read in three reads goes out in dozens of writes. Here nobody but the reply polls its
//! connection: whatever has arrived is taken in one go ([`UpstreamBody::poll_chunk`] merges it),
//! and an idle connection costs nothing but its place in a small [`Pool`].

mod body;
mod conn;
mod connect;
mod pool;

pub(crate) use body::{Framing, UpstreamBody, unfit};
pub(crate) use conn::{Failure, FailureKind};
pub use connect::Connector;
pub(crate) use pool::{Pool, PoolKey};
