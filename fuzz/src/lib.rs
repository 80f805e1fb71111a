//! What the fuzz targets check. Each takes any bytes and panics where a promise is broken.
//!
//! The targets in `fuzz_targets/` are one line each. `cargo nextest` replays the corpus through the
//! same functions (`crates/gateway-trace/tests/it/fuzz.rs` includes this file), so that what a
//! fuzzer once found is found again without one.

pub mod dialect;
pub mod json;
pub mod sse;

/// The pieces of `bytes`, cut at places that follow from `seed`.
fn cut(bytes: &[u8], seed: u16) -> Vec<&[u8]> {
    let mut state = u32::from(seed) | 1 << 16;
    let mut pieces = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        // Short pieces mostly, and long ones now and then.
        let longest = if state & 7 == 0 { 1024 } else { 8 };
        let length = (state >> 8) as usize % longest + 1;
        let (piece, after) = rest.split_at(length.min(rest.len()));
        pieces.push(piece);
        rest = after;
    }
    pieces
}

/// The first two bytes as a seed, and the others.
fn seeded(data: &[u8]) -> Option<(u16, &[u8])> {
    let (seed, rest) = data.split_first_chunk()?;
    Some((u16::from_le_bytes(*seed), rest))
}
