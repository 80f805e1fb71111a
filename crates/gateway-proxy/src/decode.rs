//! Compressed request bodies: decoded within the body's limit, stopped at it.

use std::io::{self, Read};

use bytes::Bytes;
use http::{HeaderMap, header};

/// Why a body was not decoded.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum DecodeError {
    /// A coding that is not known, or more than one.
    Unsupported(String),
    /// The decoded body would be over the limit.
    TooLarge,
    /// The bytes are not what the coding says.
    Corrupt,
}

/// The coding that `Content-Encoding` names; `None` for none and for `identity`.
///
/// # Errors
/// [`DecodeError::Unsupported`] for more than one coding or an unknown one.
pub(crate) fn coding(headers: &HeaderMap) -> Result<Option<Coding>, DecodeError> {
    let mut found = None;
    for value in headers.get_all(header::CONTENT_ENCODING) {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        for name in value
            .split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty())
        {
            let coding = match name.to_ascii_lowercase().as_str() {
                "identity" => continue,
                "gzip" | "x-gzip" => Coding::Gzip,
                "deflate" => Coding::Deflate,
                "br" => Coding::Brotli,
                "zstd" => Coding::Zstd,
                _ => return Err(DecodeError::Unsupported(name.to_owned())),
            };
            if found.replace(coding).is_some() {
                return Err(DecodeError::Unsupported(value.clone()));
            }
        }
    }
    Ok(found)
}

/// A content coding of RFC 9110 §8.4.1 (and RFC 8878 for zstd).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    Gzip,
    Deflate,
    Brotli,
    Zstd,
}

/// The largest window that a zstd frame may ask memory for: 8 MiB (RFC 9659 §3).
pub(crate) const ZSTD_WINDOW_LOG: u32 = 23;

/// Decodes `body`, at most `limit` bytes of it.
///
/// # Errors
/// [`DecodeError::TooLarge`] as soon as the limit is passed, so that a bomb costs no more than
/// the limit; [`DecodeError::Corrupt`] for bytes that the coding does not allow.
pub(crate) fn decode(coding: Coding, body: &[u8], limit: usize) -> Result<Bytes, DecodeError> {
    match coding {
        Coding::Gzip => read(flate2::read::MultiGzDecoder::new(body), limit),
        // RFC 9110 means zlib; some clients send the bare stream, which begins otherwise.
        Coding::Deflate if is_zlib(body) => read(flate2::read::ZlibDecoder::new(body), limit),
        Coding::Deflate => read(flate2::read::DeflateDecoder::new(body), limit),
        Coding::Brotli => read(brotli::Decompressor::new(body, 4096), limit),
        Coding::Zstd => {
            let mut decoder =
                zstd::stream::read::Decoder::new(body).map_err(|_| DecodeError::Corrupt)?;
            decoder
                .window_log_max(ZSTD_WINDOW_LOG)
                .map_err(|_| DecodeError::Corrupt)?;
            read(decoder, limit)
        }
    }
}

/// RFC 1950 §2.2: method 8, and a header that is a multiple of 31.
pub(crate) fn is_zlib(body: &[u8]) -> bool {
    matches!(body, [cmf, flags, ..]
        if cmf & 0x0f == 8 && (u16::from(*cmf) << 8 | u16::from(*flags)) % 31 == 0)
}

fn read(decoder: impl Read, limit: usize) -> Result<Bytes, DecodeError> {
    let mut out = Vec::new();
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    decoder
        .take(most)
        .read_to_end(&mut out)
        .map_err(|_: io::Error| DecodeError::Corrupt)?;
    if out.len() > limit {
        return Err(DecodeError::TooLarge);
    }
    Ok(out.into())
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::Write;

    use super::*;

    pub(crate) fn encoded(coding: Coding, text: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        match coding {
            Coding::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(&mut out, Default::default());
                encoder.write_all(text).unwrap();
                encoder.finish().unwrap();
            }
            Coding::Deflate => {
                let mut encoder = flate2::write::ZlibEncoder::new(&mut out, Default::default());
                encoder.write_all(text).unwrap();
                encoder.finish().unwrap();
            }
            Coding::Brotli => {
                let mut encoder = brotli::CompressorWriter::new(&mut out, 4096, 5, 22);
                encoder.write_all(text).unwrap();
            }
            Coding::Zstd => {
                zstd::stream::copy_encode(text, &mut out, 1).unwrap();
            }
        }
        out
    }

    pub(crate) const ALL: [Coding; 4] =
        [Coding::Gzip, Coding::Deflate, Coding::Brotli, Coding::Zstd];

    #[test]
    fn each_coding_is_undone() {
        for coding in ALL {
            let text = br#"{"model":"m"}"#;
            let decoded = decode(coding, &encoded(coding, text), 1024);
            assert_eq!(decoded.as_deref(), Ok(text.as_slice()), "{coding:?}");
        }
        let mut bare = flate2::write::DeflateEncoder::new(Vec::new(), Default::default());
        bare.write_all(b"{}").unwrap();
        let decoded = decode(Coding::Deflate, &bare.finish().unwrap(), 9);
        assert_eq!(decoded.as_deref(), Ok(b"{}".as_slice()));
    }

    #[test]
    fn a_bomb_stops_at_the_limit_and_garbage_is_corrupt() {
        for coding in ALL {
            let bomb = encoded(coding, &vec![b' '; 1 << 20]);
            assert_eq!(
                decode(coding, &bomb, 1000),
                Err(DecodeError::TooLarge),
                "{coding:?}"
            );
            assert!(decode(coding, &bomb, 1 << 20).is_ok(), "{coding:?}");
            assert_eq!(
                decode(coding, b"\xffgarbage", 1000),
                Err(DecodeError::Corrupt),
                "{coding:?}"
            );
            let cut = &bomb[..bomb.len() - 3];
            assert_eq!(
                decode(coding, cut, 1 << 20),
                Err(DecodeError::Corrupt),
                "{coding:?} cut"
            );
        }
    }

    #[test]
    fn a_frame_that_asks_for_a_large_window_is_refused() {
        for (log, expected) in [
            (23, Ok(Bytes::from_static(b"{}"))),
            (27, Err(DecodeError::Corrupt)),
        ] {
            let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
            encoder.window_log(log).unwrap();
            encoder.write_all(b"{}").unwrap();
            let body = encoder.finish().unwrap();
            assert_eq!(decode(Coding::Zstd, &body, 1000), expected, "{log}");
        }
    }

    #[test]
    fn one_known_coding_is_accepted() {
        let check = |values: &[&str], expected: Result<Option<Coding>, DecodeError>| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::CONTENT_ENCODING, value.parse().unwrap());
            }
            assert_eq!(coding(&headers), expected, "{values:?}");
        };
        check(&[], Ok(None));
        check(&["identity"], Ok(None));
        check(&["X-GZIP"], Ok(Some(Coding::Gzip)));
        check(&["identity, zstd"], Ok(Some(Coding::Zstd)));
        check(
            &["gzip, br"],
            Err(DecodeError::Unsupported("gzip, br".into())),
        );
        check(
            &["gzip", "gzip"],
            Err(DecodeError::Unsupported("gzip".into())),
        );
        check(
            &["compress"],
            Err(DecodeError::Unsupported("compress".into())),
        );
    }
}
