//! The harness of the gateway's integration tests: everything over real
//! sockets on loopback, nothing mocked inside the process under test.
//!
//! - [`Upstream`] plays an inference server: it records every request byte
//!   for byte and answers with a [`Script`] of raw bytes, waits and resets.
//! - [`vllm`] writes the replies that such a server gives, whole and streamed.
//! - [`Gateway`] is the real executable in a folder of its own, on a free
//!   port; it can be killed, terminated and started again on the same files.
//! - [`Client`] speaks raw HTTP/1.1 and tells a reply that ended well from one
//!   that was cut off.
//! - [`Gate`] is what tests wait on instead of sleeping.

mod client;
mod gate;
mod gateway;
mod script;
mod upstream;
pub mod vllm;
mod wire;

pub use client::{Client, End, Reply, call, chat, get_json, post_json};
pub use gate::{Gate, eventually, within};
pub use gateway::{Failure, Gateway, Setup, binary};
pub use script::Script;
pub use upstream::{Received, Upstream};
