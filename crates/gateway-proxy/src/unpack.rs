//! A reply that comes compressed although it was to be `identity`: it passes as it comes, and is
//! decoded on the side, for its record and for the end mark that may be in it.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use flate2::write::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use gateway_sse as sse;
use gateway_store::Receipt;
use gateway_trace::{ContentCoding, End, EventKind};

use crate::call::OpenCall;
use crate::decode::{Coding, ZSTD_WINDOW_LOG, is_zlib};
use crate::tee::read_event;

/// Bytes are kept for so long as nothing comes of them, in case that nothing ever does.
const MAX_BEGINNING: usize = 256 << 10;

/// Records a compressed reply.
pub(crate) struct PackedReply {
    unpacker: Unpacker,
    /// `None` for a whole reply.
    events: Option<sse::Decoder>,
}

impl PackedReply {
    /// A reply in this coding, a stream of events or a whole one, of which at most `most` decoded
    /// bytes are recorded.
    pub(crate) fn new(coding: Coding, streamed: bool, most: usize) -> Self {
        Self {
            unpacker: Unpacker::new(coding, most),
            events: streamed.then(sse::Decoder::new),
        }
    }

    /// Records the next bytes. If they complete the reply for its reader, the call is finished, and
    /// they are to be held for the receipt.
    pub(crate) fn record(&mut self, chunk: &Bytes, call: &OpenCall) -> Option<Receipt> {
        call.arrived();
        let (decoded, coding) = self.unpacker.take(chunk);
        if let Some(coding) = coding {
            if coding != ContentCoding::AsItCame {
                // However that ended, something was decoded.
                call.content_coding(ContentCoding::Decoded);
            }
            call.content_coding(coding);
        }
        let Some(events) = &mut self.events else {
            call.push(&decoded);
            return None;
        };
        let mut receipt = None;
        events.push(decoded, &mut |event| {
            if read_event(&event, call) != EventKind::Data
                && let Some((_, ended)) = call.finish(End::Eof)
            {
                receipt = ended;
            }
        });
        receipt
    }

    /// Records what is left at the end: an event without its blank line.
    pub(crate) fn end(&mut self, call: &OpenCall) {
        if let Some(event) = self.events.take().and_then(sse::Decoder::finish) {
            read_event(&event, call);
        }
    }
}

/// Decodes bytes as they come, of any coding and any split.
struct Unpacker {
    coding: Coding,
    state: State,
    kept: Arc<Mutex<Kept>>,
}

enum State {
    /// Nothing has come of these bytes yet. If nothing ever does, they are not what their header
    /// says.
    Beginning {
        decoder: Option<Decoder>,
        raw: Vec<u8>,
    },
    Decoding(Decoder),
    AsItCame,
    /// Nothing more is read.
    Stopped,
}

type Decoder = Box<dyn Write + Send>;

impl Unpacker {
    fn new(coding: Coding, most: usize) -> Self {
        let kept = Kept {
            room: most,
            ..Kept::default()
        };
        Self {
            coding,
            state: State::Beginning {
                decoder: None,
                raw: Vec::new(),
            },
            kept: Arc::new(Mutex::new(kept)),
        }
    }

    /// Takes the next bytes. Gives what they decode to, and what has become of the coding, where
    /// that is news.
    fn take(&mut self, chunk: &Bytes) -> (Bytes, Option<ContentCoding>) {
        match &mut self.state {
            State::AsItCame => (chunk.clone(), None),
            State::Stopped => (Bytes::new(), None),
            State::Decoding(decoder) => {
                let written = write(decoder, chunk);
                let (out, over) = self.taken();
                (out, written.err().map(|_| self.stop(over)))
            }
            State::Beginning { decoder, raw } => {
                raw.extend_from_slice(chunk);
                let written = match decoder {
                    Some(decoder) => write(decoder, chunk),
                    // The first two bytes tell the two forms of `deflate` apart.
                    None if raw.len() < 2 => Ok(()),
                    None => decoder_of(self.coding, raw, &self.kept)
                        .and_then(|made| write(decoder.insert(made), raw)),
                };
                self.begun(written.is_ok())
            }
        }
    }

    /// After bytes before which nothing had been decoded.
    fn begun(&mut self, well: bool) -> (Bytes, Option<ContentCoding>) {
        let (out, over) = self.taken();
        let State::Beginning { decoder, raw } = &mut self.state else {
            return (out, None);
        };
        if !well && (over || !out.is_empty()) {
            return (out, Some(self.stop(over)));
        }
        if !well {
            let raw = std::mem::take(raw);
            self.state = State::AsItCame;
            return (raw.into(), Some(ContentCoding::AsItCame));
        }
        if out.is_empty() && raw.len() <= MAX_BEGINNING {
            return (out, None);
        }
        if let Some(decoder) = decoder.take() {
            self.state = State::Decoding(decoder);
        }
        (out, Some(ContentCoding::Decoded))
    }

    fn stop(&mut self, over: bool) -> ContentCoding {
        self.state = State::Stopped;
        if over {
            ContentCoding::Capped
        } else {
            ContentCoding::Broke
        }
    }

    /// What has been decoded since the last time, and whether there was more than may be.
    fn taken(&self) -> (Bytes, bool) {
        let mut kept = lock(&self.kept);
        (std::mem::take(&mut kept.out).into(), kept.over)
    }
}

fn decoder_of(coding: Coding, begin: &[u8], kept: &Arc<Mutex<Kept>>) -> io::Result<Decoder> {
    let sink = Sink(Arc::clone(kept));
    Ok(match coding {
        Coding::Gzip => Box::new(MultiGzDecoder::new(sink)),
        Coding::Deflate if is_zlib(begin) => Box::new(ZlibDecoder::new(sink)),
        Coding::Deflate => Box::new(DeflateDecoder::new(sink)),
        Coding::Brotli => Box::new(brotli::DecompressorWriter::new(sink, 4096)),
        Coding::Zstd => {
            let mut decoder = zstd::stream::write::Decoder::new(sink)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG)?;
            Box::new(decoder)
        }
    })
}

/// Decodes all of `bytes`: nothing of them waits for more.
fn write(decoder: &mut Decoder, bytes: &[u8]) -> io::Result<()> {
    decoder.write_all(bytes)?;
    decoder.flush()
}

/// What a decoder has written.
#[derive(Default)]
struct Kept {
    out: Vec<u8>,
    /// How much more may come.
    room: usize,
    over: bool,
}

struct Sink(Arc<Mutex<Kept>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut kept = lock(&self.0);
        let taken = bytes.len().min(kept.room);
        kept.out.extend_from_slice(&bytes[..taken]);
        kept.room -= taken;
        if taken < bytes.len() {
            // A decoder that cannot write stops, so that a bomb costs no more than the limit.
            kept.over = true;
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn lock(kept: &Mutex<Kept>) -> MutexGuard<'_, Kept> {
    // Nothing panics while it holds this lock.
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
