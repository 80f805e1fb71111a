//! OpenAI responses: requests, whole replies and streams.

mod fixtures;
mod generated;
mod hostile;
mod requests;
mod streams;
