//! HTTP/1.1 messages on a socket, read without help from the library that is
//! under test.

use std::io;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// The head of a message.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    /// Every byte of it, the blank line included.
    pub(crate) raw: Vec<u8>,
    /// The request or status line.
    pub(crate) first: String,
    /// Header names as they came, and values (bytes read as Latin-1).
    pub(crate) headers: Vec<(String, String)>,
}

impl Head {
    fn parse(raw: Vec<u8>) -> Head {
        let text: String = raw.iter().map(|byte| char::from(*byte)).collect();
        let mut lines = text.split("\r\n");
        let first = lines.next().unwrap_or_default().to_owned();
        let headers = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
            .collect();
        Head {
            raw,
            first,
            headers,
        }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }
}

/// How the body of a message is delimited, and what is left of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// So many bytes are still to come.
    Length(u64),
    /// Chunks; so many bytes of the present one are still to come.
    Chunked(u64),
    /// Until the connection is closed.
    Close,
    /// It has ended.
    Ended,
}

/// One connection and the bytes read from it in advance.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) stream: TcpStream,
    buffer: Vec<u8>,
}

impl Wire {
    pub(crate) fn new(stream: TcpStream) -> Wire {
        Wire {
            stream,
            buffer: Vec::new(),
        }
    }

    /// Reads more bytes; false when the peer has closed.
    async fn fill(&mut self) -> io::Result<bool> {
        Ok(self.stream.read_buf(&mut self.buffer).await? > 0)
    }

    /// The next head, or nothing when the peer closed before its first byte.
    pub(crate) async fn head(&mut self) -> io::Result<Option<Head>> {
        loop {
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                let raw = self.buffer.drain(..end + 4).collect();
                return Ok(Some(Head::parse(raw)));
            }
            if !self.fill().await? {
                return match self.buffer.is_empty() {
                    true => Ok(None),
                    false => Err(io::ErrorKind::UnexpectedEof.into()),
                };
            }
        }
    }

    /// The next bytes of a body; an empty piece is its end. Fails when the
    /// connection ends before the body does.
    pub(crate) async fn piece(&mut self, framing: &mut Framing) -> io::Result<Vec<u8>> {
        loop {
            match framing {
                Framing::Ended | Framing::Length(0) => {
                    *framing = Framing::Ended;
                    return Ok(Vec::new());
                }
                Framing::Length(left) | Framing::Chunked(left) if *left > 0 => {
                    if !self.buffer.is_empty() {
                        let wanted = usize::try_from(*left).unwrap_or(usize::MAX);
                        let taken = wanted.min(self.buffer.len());
                        *left -= taken as u64;
                        let piece = self.buffer.drain(..taken).collect();
                        if *framing == Framing::Chunked(0) {
                            self.line().await?;
                        }
                        return Ok(piece);
                    }
                    if !self.fill().await? {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
                Framing::Chunked(left) => {
                    let line = self.line().await?;
                    let size = line.split(';').next().unwrap_or_default().trim();
                    *left = u64::from_str_radix(size, 16)
                        .map_err(|_| io::Error::other(format!("no chunk size: {line:?}")))?;
                    if *left == 0 {
                        while !self.line().await?.is_empty() {}
                        *framing = Framing::Ended;
                    }
                }
                Framing::Length(_) => unreachable!("lengths are handled above"),
                Framing::Close => {
                    if self.buffer.is_empty() && !self.fill().await? {
                        *framing = Framing::Ended;
                        return Ok(Vec::new());
                    }
                    return Ok(std::mem::take(&mut self.buffer));
                }
            }
        }
    }

    async fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = find(&self.buffer, b"\r\n") {
                let line: Vec<u8> = self.buffer.drain(..end + 2).collect();
                return Ok(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            if !self.fill().await? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

pub(crate) fn find(text: &[u8], needle: &[u8]) -> Option<usize> {
    text.windows(needle.len())
        .position(|window| window == needle)
}
