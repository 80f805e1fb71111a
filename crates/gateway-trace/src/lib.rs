//! The TraceRecord: request and reply bytes to one exact record, whole or streamed, without I/O or
//! clock.
//!
//! A call to a model leaves two halves: the [`Call`] as it was admitted and the [`Reply`] that
//! became of it. A [`Recorder`] makes the second one from the reply's bytes as they come, and
//! [`record`] makes the [`TraceRecord`] from both. Everything here is pure: times and ids are
//! passed in, and the same input gives the same record, byte for byte.
//!
//! - **Streaming equals not streaming.** The recorder puts a stream together to the whole reply that
//!   the upstream would have sent instead, in the upstream's own dialect; the record is derived from
//!   that as it is from a whole reply. How the bytes were cut into chunks never matters.
//! - **Nothing is re-written.** Strings are joined in their escaped form, numbers kept as text
//!   ([`Json`]): no float is re-formatted, no big integer lost, no unknown member dropped.
//! - **Nothing fails.** Whatever an upstream sends, a record says what could be read, how the call
//!   ended ([`Outcome`], [`CallError`]) and what could not be read ([`Integrity`]).
//!
//! Both halves have a compact journalled form ([`Call::encode`], [`Reply::encode`]), and
//! [`summary`] gives the few fields that a store keeps as columns. What each field of a record is,
//! stands in [`schema`], as data.
//!
//! # From a stream to a record, without a network
//!
//! ```
//! use gateway_sse::Decoder;
//! use gateway_trace::{Call, CallMeta, End, Endpoint, Outcome, Recorder, ReplyHead, record};
//!
//! let call = Call {
//!     meta: CallMeta::new("01990000-0000-7000-8000-000000000001", Endpoint::ChatCompletions, 1.5e9),
//!     request: r#"{"model":"m","messages":[{"role":"user","content":"Hi"}],"stream":true}"#.into(),
//! };
//! let chunks = [
//!     "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"Hel\"}}]}\n\ndata: {\"cho",
//!     "ices\":[{\"index\":0,\"delta\":{\"content\":\"lo\"},\"finish_reason\":\"stop\"}]}\n\n",
//!     "data: [DONE]\n\n",
//! ];
//!
//! let mut recorder = Recorder::new(call.meta.endpoint, 1 << 20);
//! recorder.start(ReplyHead { status: 200, streamed: true, request_id: None }, 80.0);
//! let mut decoder = Decoder::new();
//! for (n, chunk) in (1_u32..).zip(chunks) {
//!     let now_ms = 80.0 + 5.0 * f64::from(n);
//!     decoder.push(chunk.into(), &mut |event| {
//!         if let Some(data) = &event.data {
//!             recorder.event(event.name.as_deref(), data, now_ms);
//!         }
//!     });
//! }
//! let trace = record(&call, &recorder.finish(End::Eof, 95.0));
//!
//! assert_eq!(trace.outcome, Outcome::Completed);
//! assert_eq!(trace.response_message.as_str(), r#"{"role":"assistant","content":"Hello"}"#);
//! assert_eq!(trace.finish_reason.as_deref(), Some("stop"));
//! assert_eq!((trace.ttft_ms, trace.latency_ms), (Some(85.0), 95.0));
//! assert!(trace.to_json().starts_with(r#"{"trace_id":"01990000-0000-7000-8000-000000000001","#));
//! ```
//!
//! # Snapshot tests
//!
//! Records are made to be snapshot-tested. [`TraceRecord::snapshot`] is indented JSON in which the
//! ids and times that differ from run to run are replaced, so that a test of your own agent needs
//! one line of [`insta`](https://insta.rs):
//!
//! ```
//! # use gateway_trace::{Call, CallMeta, End, Endpoint, Recorder, ReplyHead, record};
//! # let call = Call {
//! #     meta: CallMeta::new("01990000-0000-7000-8000-000000000001", Endpoint::Completions, 1.5e9),
//! #     request: r#"{"model":"m","prompt":"2+2="}"#.into(),
//! # };
//! # let mut recorder = Recorder::new(call.meta.endpoint, 1 << 20);
//! # recorder.start(ReplyHead { status: 200, streamed: false, request_id: None }, 80.0);
//! # recorder.push(r#"{"id":"cmpl-71b","choices":[{"index":0,"text":"4"}]}"#.into(), 90.0);
//! # let trace = record(&call, &recorder.finish(End::Eof, 91.0));
//! // The whole record, in a file beside your test:
//! // insta::assert_snapshot!(trace.snapshot());
//! // A part of it, in place:
//! let snapshot = trace.snapshot();
//! let from = snapshot.lines().skip_while(|line| !line.contains("\"raw_response\""));
//! let raw_response = from.take(9).collect::<Vec<_>>().join("\n");
//! insta::assert_snapshot!(raw_response, @r#"
//! "raw_response": {
//!   "id": "[id 1]",
//!   "choices": [
//!     {
//!       "index": 0,
//!       "text": "4"
//!     }
//!   ]
//! },
//! "#);
//! ```
//!
//! # Sessions
//!
//! [`keys`] names what a call says, so that a store can find the call that it extends or repeats;
//! [`Kin`] is what it found. [`Compact`] writes a listing as what each call adds to its parent, and
//! [`expand`] undoes it; [`ReportBuilder`] says whether a trainer may take the session as it is.
//!
//! # Dialects
//!
//! Each API is a module of its own behind one small trait. Chat completions, completions, responses
//! and Anthropic messages are read and assembled in full; the last two are mapped to OpenAI's chat
//! shapes. Of embeddings a record has the ids that went in and what was counted.

mod assemble;
mod bodies;
mod call;
mod derive;
mod dialect;
mod endpoint;
mod error_body;
mod framing;
mod import;
mod json;
mod notes;
mod outcome;
mod record;
mod recorder;
mod reply;
mod session;
mod summary;

pub use call::{Call, CallMeta, ClientInfo};
pub use derive::record;
pub use dialect::choices_asked;
pub use endpoint::{Endpoint, SpanType};
pub use framing::DecodeError;
pub use gateway_metadata::{Identity, SessionHeader};
pub use import::{Imported, OldTrace, import, import_metadata};
pub use json::Json;
pub use outcome::{CallError, Outcome};
pub use record::{ChoiceRecord, Include, Integrity, TokenCounts, TraceRecord, schema};
pub use recorder::{ContentCoding, End, EventKind, Recorder, ReplyHead, is_cut};
pub use reply::{Attempt, Reply, ReplyDigest, ReplyMeta};
pub use session::{
    CallKeys, Compact, ExpandError, Kin, LineKeys, PrefixBreak, ReportBuilder, SessionReport,
    Verdict, expand, keys,
};
pub use summary::{Summary, summary};
