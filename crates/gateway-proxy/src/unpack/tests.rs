//! Each content coding is undone, at any split; what breaks or never began is told.

use super::*;
use crate::decode::tests::{ALL, encoded};

/// What comes of `body` in pieces of `size`, and every news of its coding.
fn unpack(coding: Coding, body: &[u8], size: usize, most: usize) -> (Vec<u8>, Vec<ContentCoding>) {
    let mut unpacker = Unpacker::new(coding, most);
    let (mut all, mut news) = (Vec::new(), Vec::new());
    for piece in body.chunks(size) {
        let (out, told) = unpacker.take(&Bytes::copy_from_slice(piece));
        all.extend_from_slice(&out);
        news.extend(told);
    }
    (all, news)
}

/// Text that does not compress to nothing.
fn text() -> Vec<u8> {
    let words = (0..4000_u32).map(|n| format!("{} ", n.wrapping_mul(2_654_435_761)));
    words.collect::<String>().into_bytes()
}

#[test]
fn each_coding_is_undone_at_any_split() {
    let text = text();
    for coding in ALL {
        let body = encoded(coding, &text);
        for size in [1, 2, 3, 7, 1000, body.len()] {
            let (out, news) = unpack(coding, &body, size, 1 << 20);
            assert!(out == text, "{coding:?} in pieces of {size}");
            assert_eq!(news, [ContentCoding::Decoded], "{coding:?} {size}");
        }
    }
    let mut bare = flate2::write::DeflateEncoder::new(Vec::new(), Default::default());
    bare.write_all(&text).unwrap();
    let body = bare.finish().unwrap();
    for size in [1, 5, body.len()] {
        assert!(unpack(Coding::Deflate, &body, size, 1 << 20).0 == text);
    }
    let gzip = encoded(Coding::Gzip, b"ab");
    let twice = [&gzip[..], &gzip[..]].concat();
    assert_eq!(unpack(Coding::Gzip, &twice, 9, 100).0, b"abab");
}

/// A server that flushes after each event wants it to be read then.
#[test]
fn nothing_waits_for_what_comes_later() {
    let events: [&[u8]; 3] = [b"data: 1\n\n", b"data: 2\n\n", b"data: [DONE]\n\n"];
    for coding in ALL {
        let sent = Arc::new(Mutex::new(Kept {
            room: usize::MAX,
            ..Kept::default()
        }));
        let sink = Sink(Arc::clone(&sent));
        let mut encoder: Box<dyn Write> = match coding {
            Coding::Gzip => Box::new(flate2::write::GzEncoder::new(sink, Default::default())),
            Coding::Deflate => Box::new(flate2::write::ZlibEncoder::new(sink, Default::default())),
            Coding::Brotli => Box::new(brotli::CompressorWriter::new(sink, 4096, 5, 22)),
            Coding::Zstd => Box::new(zstd::stream::write::Encoder::new(sink, 1).unwrap()),
        };
        let mut unpacker = Unpacker::new(coding, 1000);
        for event in events {
            write(&mut encoder, event).unwrap();
            let chunk = std::mem::take(&mut lock(&sent).out);
            assert_eq!(unpacker.take(&chunk.into()).0, event, "{coding:?}");
        }
    }
}

fn write(encoder: &mut Box<dyn Write>, bytes: &[u8]) -> io::Result<()> {
    encoder.write_all(bytes)?;
    encoder.flush()
}

#[test]
fn a_bomb_stops_at_the_limit() {
    for coding in ALL {
        let bomb = encoded(coding, &vec![b' '; 1 << 20]);
        for size in [1, 1000, bomb.len()] {
            let (out, news) = unpack(coding, &bomb, size, 1000);
            assert_eq!(out.len(), 1000, "{coding:?} {size}");
            assert_eq!(
                news.last(),
                Some(&ContentCoding::Capped),
                "{coding:?} {size}"
            );
        }
        assert_eq!(
            unpack(coding, &bomb, 1000, 1 << 20).1,
            [ContentCoding::Decoded]
        );
    }
}

#[test]
fn what_is_not_in_its_coding_is_given_as_it_came() {
    let plain = b"\xffplain, whatever the header says";
    for coding in ALL {
        for size in [1, 2, 100] {
            let (out, news) = unpack(coding, plain, size, 1000);
            assert_eq!(out, plain, "{coding:?} {size}");
            assert_eq!(news, [ContentCoding::AsItCame], "{coding:?} {size}");
        }
    }
}

#[test]
fn what_breaks_keeps_what_came_before() {
    let text = text();
    for coding in ALL {
        let mut body = encoded(coding, &text);
        body.extend([0xff; 100]);
        for size in [1, 100, body.len()] {
            let (out, news) = unpack(coding, &body, size, 1 << 20);
            assert!(out == text, "{coding:?} {size}");
            assert_eq!(
                news.last(),
                Some(&ContentCoding::Broke),
                "{coding:?} {size}"
            );
        }
    }
}
