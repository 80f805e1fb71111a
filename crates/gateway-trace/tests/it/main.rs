//! Replies as upstreams send them, replayed through the SSE decoder and the recorder.

mod replay;
mod session;

mod captures;
mod embeddings;
mod fidelity;
mod fixtures;
mod forms;
mod fuzz;
mod generated;
mod hostile;
mod import;
mod messages;
mod mutated;
mod outcomes;
mod responses;
mod schema;
mod streams;
