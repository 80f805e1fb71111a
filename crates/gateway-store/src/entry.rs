//! The journal entries of a ledger: one byte of kind, one of version, then the content.
//!
//! The layouts can grow without losing what an older gateway has journalled: a new layout takes a
//! new version, and what cannot be decoded is passed over, never taken for something else.

use bytes::{Buf, Bytes};
use gateway_trace::{Call, Reply};

use crate::change::Change;

const INTENT: u8 = 1;
const REPLY: u8 = 2;
const PARTIAL: u8 = 3;
const INTERRUPTED: u8 = 4;
const CHANGE: u8 = 5;
const WHOLE: u8 = 6;

/// The version of every layout so far.
const VERSION: u8 = 1;

/// A decoded journal entry.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Entry {
    /// A call was admitted. `arrival` is the sequence of its first intent where this one only
    /// carries it forward.
    Intent {
        arrival: Option<u64>,
        call: Box<Call>,
    },
    /// A call has ended.
    Reply { trace_id: String, reply: Box<Reply> },
    /// What a call that goes on has received so far.
    Partial { trace_id: String, reply: Box<Reply> },
    /// The gateway died during the call: it ended with what its last partial says.
    Interrupted { trace_id: String },
    /// A write that is not a trace.
    Change(Change),
    /// A call that had ended before it was journalled.
    Whole { call: Box<Call>, reply: Box<Reply> },
}

/// Why bytes are no entry.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EntryError {
    #[error("the entry ends before its content")]
    Short,
    #[error("kind {kind} version {version} is not known to this gateway")]
    Unknown { kind: u8, version: u8 },
    #[error("the trace id is not UTF-8")]
    TraceId,
    #[error("the call or reply does not decode")]
    Content(#[source] gateway_trace::DecodeError),
    #[error("the change does not decode")]
    Change(#[source] serde_json::Error),
}

impl Entry {
    pub(crate) fn decode(mut bytes: Bytes) -> Result<Self, EntryError> {
        if bytes.len() < 2 {
            return Err(EntryError::Short);
        }
        let (kind, version) = (bytes.get_u8(), bytes.get_u8());
        if version != VERSION {
            return Err(EntryError::Unknown { kind, version });
        }
        match kind {
            INTENT => {
                if bytes.len() < 8 {
                    return Err(EntryError::Short);
                }
                let arrival = Some(bytes.get_u64_le()).filter(|&seq| seq != 0);
                let call = Box::new(Call::decode(bytes).map_err(EntryError::Content)?);
                Ok(Entry::Intent { arrival, call })
            }
            REPLY | PARTIAL => {
                let trace_id = take_trace_id(&mut bytes)?;
                let reply = Box::new(Reply::decode(bytes).map_err(EntryError::Content)?);
                Ok(match kind {
                    REPLY => Entry::Reply { trace_id, reply },
                    _ => Entry::Partial { trace_id, reply },
                })
            }
            INTERRUPTED => Ok(Entry::Interrupted {
                trace_id: take_trace_id(&mut bytes)?,
            }),
            CHANGE => serde_json::from_slice(&bytes)
                .map(Entry::Change)
                .map_err(EntryError::Change),
            WHOLE => {
                if bytes.len() < 8 {
                    return Err(EntryError::Short);
                }
                let len = bytes.get_u64_le();
                let Some(len) = usize::try_from(len).ok().filter(|len| *len <= bytes.len()) else {
                    return Err(EntryError::Short);
                };
                let call = bytes.split_to(len);
                Ok(Entry::Whole {
                    call: Box::new(Call::decode(call).map_err(EntryError::Content)?),
                    reply: Box::new(Reply::decode(bytes).map_err(EntryError::Content)?),
                })
            }
            kind => Err(EntryError::Unknown { kind, version }),
        }
    }
}

/// The intent of a call; `arrival` names its first one where this carries it forward.
pub(crate) fn intent(call: &Call, arrival: Option<u64>) -> Vec<u8> {
    let mut out = Vec::with_capacity(call.request.len() + 1024);
    out.extend([INTENT, VERSION]);
    out.extend(arrival.unwrap_or(0).to_le_bytes());
    call.encode(&mut out);
    out
}

/// The end of a call.
pub(crate) fn reply(trace_id: &str, reply: &Reply) -> Vec<u8> {
    with_reply(REPLY, trace_id, reply)
}

/// What a call has received so far.
pub(crate) fn partial(trace_id: &str, reply: &Reply) -> Vec<u8> {
    with_reply(PARTIAL, trace_id, reply)
}

/// The end of a call that the gateway did not live to see.
pub(crate) fn interrupted(trace_id: &str) -> Vec<u8> {
    let mut out = vec![INTERRUPTED, VERSION];
    put_trace_id(&mut out, trace_id);
    out
}

/// A write that is not a trace.
pub(crate) fn change(change: &Change) -> Vec<u8> {
    let mut out = vec![CHANGE, VERSION];
    serde_json::to_writer(&mut out, change).expect("a change is plain data and a Vec takes it");
    out
}

/// A call that has ended already.
pub(crate) fn whole(call: &Call, reply: &Reply) -> Vec<u8> {
    let mut out = Vec::with_capacity(call.request.len() + reply.body.len() + 2048);
    out.extend([WHOLE, VERSION]);
    out.extend([0; 8]);
    let start = out.len();
    call.encode(&mut out);
    let len = (out.len() - start) as u64;
    out[start - 8..start].copy_from_slice(&len.to_le_bytes());
    reply.encode(&mut out);
    out
}

fn with_reply(kind: u8, trace_id: &str, reply: &Reply) -> Vec<u8> {
    let mut out = Vec::with_capacity(reply.body.len() + 1024);
    out.extend([kind, VERSION]);
    put_trace_id(&mut out, trace_id);
    reply.encode(&mut out);
    out
}

fn put_trace_id(out: &mut Vec<u8>, trace_id: &str) {
    let len = u16::try_from(trace_id.len()).expect("a trace id is a UUID");
    out.extend(len.to_le_bytes());
    out.extend(trace_id.as_bytes());
}

fn take_trace_id(bytes: &mut Bytes) -> Result<String, EntryError> {
    if bytes.len() < 2 {
        return Err(EntryError::Short);
    }
    let len = usize::from(bytes.get_u16_le());
    if bytes.len() < len {
        return Err(EntryError::Short);
    }
    String::from_utf8(bytes.split_to(len).into()).map_err(|_| EntryError::TraceId)
}

#[cfg(test)]
mod tests;
