//! The data plane: the forwarder from agents to models, and the tee that records each call.
//!
//! [`Proxy`] answers requests below `/v1` and `/sessions/{sid}/v1`. What happens to one, in order,
//! stands in `spine.rs`; each step is a sibling module:
//!
//! | step | module |
//! | --- | --- |
//! | what the head of a request must be, on either plane | `door` |
//! | identity, model and stream, from head and body | `request`, `inbound`, `decode` |
//! | admission, and the guard that lets no call end unrecorded | `proxy`, `call` |
//! | the pause gate, where calls wait for other weights | `pause` |
//! | byte-faithful edits of the body, headers that travel on | `prepare`, `edit`, `headers` |
//! | the upstream connection, polled inside the reply's own future | `send`, `upstream` |
//! | what is sent again, and when | `retry` |
//! | the reply: stripping, the copy to the recorder, the held end | `answer`, `tee`, `strip`, `unpack` |
//!
//! The crate knows neither the configuration nor the management plane: settings come as
//! [`gateway_state::Live`], records go to a [`gateway_store::Ledger`]. It runs on hyper 1.x; the
//! answer's body is [`Body`].

mod answer;
mod body;
mod call;
mod decode;
mod door;
mod edit;
mod headers;
mod inbound;
mod joined;
mod pause;
mod places;
mod prepare;
mod proxy;
mod request;
mod retry;
mod send;
mod spine;
mod strip;
mod tee;
mod unpack;
mod upstream;

pub use body::Body;
pub use proxy::Proxy;
pub use tee::BodyError;
pub use upstream::Connector;
