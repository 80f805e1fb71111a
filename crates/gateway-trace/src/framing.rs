//! The journalled form of both halves: a length, meta data as JSON, and bytes as they are.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Why bytes are not an encoded call or reply.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The bytes end before the meta data do.
    #[error("an encoded call or reply of {0} bytes ends before its meta data do")]
    Short(usize),
    /// The meta data are not what this version reads.
    #[error("the meta data of an encoded call or reply cannot be read")]
    Meta(#[source] serde_json::Error),
}

/// Bytes of the length before the meta data.
const LENGTH: usize = 4;

pub(crate) fn encode(meta: &impl Serialize, body: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.reserve(LENGTH + 512 + body.len());
    out.extend_from_slice(&[0; LENGTH]);
    serde_json::to_writer(&mut *out, meta)
        .expect("meta data have string keys, and writing to memory cannot fail");
    let length = out.len() - start - LENGTH;
    let length = u32::try_from(length)
        .expect("meta data are far below 4 GiB: they are bounded by the gateway's limits");
    out[start..start + LENGTH].copy_from_slice(&length.to_le_bytes());
    out.extend_from_slice(body);
}

pub(crate) fn decode<T: DeserializeOwned>(mut bytes: Bytes) -> Result<(T, Bytes), DecodeError> {
    let total = bytes.len();
    let length = bytes
        .first_chunk::<LENGTH>()
        .ok_or(DecodeError::Short(total))?;
    let length = u32::from_le_bytes(*length) as usize;
    let end = LENGTH
        .checked_add(length)
        .filter(|end| *end <= total)
        .ok_or(DecodeError::Short(total))?;
    let meta = serde_json::from_slice(&bytes[LENGTH..end]).map_err(DecodeError::Meta)?;
    let body = bytes.split_off(end);
    Ok((meta, body))
}
