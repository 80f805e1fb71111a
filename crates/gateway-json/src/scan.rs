//! Finding the next byte that matters, eight bytes at a time.
//!
//! Most of a text is the inside of strings and numbers. The masks below have the high bit of a
//! byte set where it matches; a borrow can set bits after the first match, never before it, so
//! that the first one is exact.

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;

/// The place, from `at` on, of the first byte that ends the plain part of a string: a quote, a
/// backslash or a control character.
pub(crate) fn string_special(bytes: &[u8], at: usize) -> usize {
    find(
        bytes,
        at,
        |word| equal(word, b'"') | equal(word, b'\\') | (word.wrapping_sub(ONES * 0x20) & !word),
        |byte| matches!(byte, b'"' | b'\\' | 0..=0x1f),
    )
}

/// The place, from `at` on, of the first quote or backslash.
pub(crate) fn quote_or_backslash(bytes: &[u8], at: usize) -> usize {
    find(
        bytes,
        at,
        |word| equal(word, b'"') | equal(word, b'\\'),
        |byte| matches!(byte, b'"' | b'\\'),
    )
}

/// The place, from `at` on, of the first quote, brace or bracket of a valid text.
pub(crate) fn structure(bytes: &[u8], at: usize) -> usize {
    find(
        bytes,
        at,
        |word| {
            // Braces and brackets differ in this bit alone. What it makes a quote of is a control
            // character, of which there are none outside of strings.
            let word = word | (ONES * 0x20);
            equal(word, b'"') | equal(word, b'{') | equal(word, b'}')
        },
        |byte| matches!(byte, b'"' | b'{' | b'}' | b'[' | b']'),
    )
}

/// The high bit of each byte of `word` that is `byte` (exact up to the first).
fn equal(word: u64, byte: u8) -> u64 {
    let difference = word ^ (ONES * u64::from(byte));
    difference.wrapping_sub(ONES) & !difference
}

#[inline(always)]
fn find(
    bytes: &[u8],
    mut at: usize,
    matches: impl Fn(u64) -> u64,
    is_match: impl Fn(u8) -> bool,
) -> usize {
    while let Some((word, _)) = bytes.get(at..).and_then(<[u8]>::split_first_chunk::<8>) {
        let found = matches(u64::from_le_bytes(*word)) & HIGHS;
        if found != 0 {
            return at + (found.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    while at < bytes.len() && !is_match(bytes[at]) {
        at += 1;
    }
    at.min(bytes.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn slow(bytes: &[u8], at: usize, is_match: impl Fn(u8) -> bool) -> usize {
        (at..bytes.len())
            .find(|at| is_match(bytes[*at]))
            .unwrap_or(bytes.len())
    }

    proptest! {
        #[test]
        fn words_find_what_bytes_find(
            bytes in prop::collection::vec(prop_oneof![any::<u8>(), prop::sample::select(b"\"\\{}[]!a~\x7f\x80\xff\x1f\x20#".to_vec())], 0..40),
            at in 0..40_usize,
        ) {
            let at = at.min(bytes.len());
            prop_assert_eq!(string_special(&bytes, at), slow(&bytes, at, |b| b < 0x20 || b == b'"' || b == b'\\'));
            prop_assert_eq!(quote_or_backslash(&bytes, at), slow(&bytes, at, |b| b == b'"' || b == b'\\'));
            let valid: Vec<u8> = bytes.into_iter().filter(|b| *b >= 0x20).collect();
            let at = at.min(valid.len());
            prop_assert_eq!(structure(&valid, at), slow(&valid, at, |b| b"\"{}[]".contains(&b)));
        }
    }
}
