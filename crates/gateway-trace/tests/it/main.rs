//! Replies as upstreams send them, replayed through the SSE decoder and the recorder.

mod replay;
mod session;

mod captures;
mod embeddings;
mod forms;
mod generated;
mod generated_responses;
mod hostile;
mod hostile_responses;
mod messages;
mod outcomes;
mod response_items;
mod response_pieces;
mod responses;
mod streams;
