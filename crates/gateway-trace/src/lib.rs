//! The TraceRecord: request and reply bytes to one exact record, whole or streamed, without I/O or clock.

mod assemble;
mod bodies;
mod call;
mod derive;
mod dialect;
mod endpoint;
mod error_body;
mod framing;
mod json;
mod notes;
mod outcome;
mod record;
mod recorder;
mod reply;
mod summary;

pub use call::{Call, CallMeta, ClientInfo};
pub use derive::record;
pub use endpoint::{Endpoint, SpanType};
pub use framing::DecodeError;
pub use gateway_metadata::{Identity, SessionHeader};
pub use json::Json;
pub use outcome::{CallError, Outcome};
pub use record::{ChoiceRecord, Include, Integrity, TokenCounts, TraceRecord};
pub use recorder::{End, EventKind, Recorder, ReplyHead};
pub use reply::{Attempt, Reply, ReplyDigest, ReplyMeta};
pub use summary::{Summary, summary};
