//! A raw HTTP/1.1 client that shows exactly what came back, and how it ended.

use std::io;
use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::wire::{Framing, Head, Wire, find};
use crate::within;

/// How a reply ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With its length met or its last chunk.
    Whole,
    /// With the connection's close, which was all that could delimit it.
    Closed,
    /// Broken off: a reset, or a close before its end.
    Cut,
}

/// A reply as it came.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    head: Head,
    /// The body, out of its chunks; if it was cut, what came of it.
    pub body: Vec<u8>,
    /// How it ended.
    pub end: End,
}

impl Reply {
    /// The first header of this name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.header(name)
    }

    /// Header names and values in the order in which they came.
    #[must_use]
    pub fn headers(&self) -> &[(String, String)] {
        &self.head.headers
    }

    /// The trace id that the gateway added.
    ///
    /// # Panics
    ///
    /// If there is none.
    #[must_use]
    pub fn trace_id(&self) -> &str {
        let id = self.header("x-rllm-trace-id");
        id.expect("the reply names its trace")
    }

    /// The body as text, anything that is not UTF-8 replaced.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON; a lone surrogate, which Rust's strings cannot hold,
    /// reads as U+FFFD.
    ///
    /// # Panics
    ///
    /// If it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        match serde_json::from_str(&without_lone_surrogates(&self.text())) {
            Ok(value) => value,
            Err(error) => panic!("{} {error}: {}", self.status, self.text()),
        }
    }

    /// The whole reply, checked to be of this status.
    ///
    /// # Panics
    ///
    /// If the status is another one, or the reply was cut.
    pub fn expect(self, status: u16) -> Reply {
        assert_eq!(self.status, status, "{}", self.text());
        assert_ne!(self.end, End::Cut, "{}", self.text());
        self
    }
}

/// One connection.
#[derive(Debug)]
pub struct Client {
    wire: Wire,
    head: Option<Head>,
    framing: Framing,
    body: Vec<u8>,
}

impl Client {
    /// Connects.
    ///
    /// # Panics
    ///
    /// If nobody listens there.
    pub async fn connect(address: SocketAddr) -> Client {
        let client = Client::try_connect(address).await;
        client.expect("someone listens")
    }

    /// Connects, if somebody listens there.
    pub async fn try_connect(address: SocketAddr) -> Option<Client> {
        let stream = within("a connection", TcpStream::connect(address)).await;
        let stream = stream.ok()?;
        stream.set_nodelay(true).ok()?;
        Some(Client {
            wire: Wire::new(stream),
            head: None,
            framing: Framing::Ended,
            body: Vec::new(),
        })
    }

    /// Writes bytes as they are. That the peer has closed shows when reading.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.wire.stream.write_all(bytes.as_ref()).await;
    }

    /// Sends a request with its length; `headers` are lines without their ends.
    pub async fn request(&mut self, line: &str, headers: &[&str], body: impl AsRef<[u8]>) {
        let body = body.as_ref();
        let mut text = format!("{line} HTTP/1.1\r\nhost: localhost\r\n");
        for header in headers {
            text.push_str(header);
            text.push_str("\r\n");
        }
        if !body.is_empty() {
            text.push_str(&format!("content-length: {}\r\n", body.len()));
        }
        text.push_str("\r\n");
        let mut bytes = text.into_bytes();
        bytes.extend_from_slice(body);
        self.send(bytes).await;
    }

    /// Waits for the head of the next reply; nothing if the connection ends
    /// before it.
    pub async fn head(&mut self) -> Option<u16> {
        let head = within("a reply's head", self.wire.head()).await;
        let head = head.ok().flatten()?;
        let status = status_of(&head);
        self.body.clear();
        self.framing = match (
            head.header("transfer-encoding"),
            head.header("content-length"),
        ) {
            (Some(_), _) => Framing::Chunked(0),
            (None, Some(length)) => Framing::Length(length.parse().expect("a length")),
            (None, None) if matches!(status, 100..=199 | 204 | 304) => Framing::Ended,
            (None, None) => Framing::Close,
        };
        self.head = Some(head);
        Some(status)
    }

    /// A header of the reply under way.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.as_ref()?.header(name)
    }

    /// Reads the body until it holds `needle`; gives all of the body so far.
    /// Nothing if the reply ends before.
    pub async fn body_until(&mut self, needle: &str) -> Option<&[u8]> {
        while find(&self.body, needle.as_bytes()).is_none() {
            let piece = self.wire.piece(&mut self.framing);
            let piece = within(needle, piece).await.ok()?;
            if piece.is_empty() {
                return None;
            }
            self.body.extend_from_slice(&piece);
        }
        Some(&self.body)
    }

    /// Reads the body until it holds so many bytes; gives all of it so far.
    /// Nothing if the reply ends before.
    pub async fn body_of(&mut self, bytes: usize) -> Option<Vec<u8>> {
        while self.body.len() < bytes {
            let piece = self.wire.piece(&mut self.framing);
            let piece = within("more of the body", piece).await.ok()?;
            if piece.is_empty() {
                return None;
            }
            self.body.extend_from_slice(&piece);
        }
        Some(self.body.clone())
    }

    /// Whether something of the body can be read within the time; what it was
    /// is kept for later.
    pub async fn has_more_within(&mut self, time: std::time::Duration) -> bool {
        let piece = self.wire.piece(&mut self.framing);
        match tokio::time::timeout(time, piece).await {
            Ok(Ok(piece)) => {
                self.body.extend_from_slice(&piece);
                true
            }
            Ok(Err(_)) => true,
            Err(_) => false,
        }
    }

    /// Reads the rest of the reply under way.
    ///
    /// # Panics
    ///
    /// If no head was read before.
    pub async fn rest(&mut self) -> Reply {
        let by_close = self.framing == Framing::Close;
        let end = loop {
            let piece = self.wire.piece(&mut self.framing);
            match within("the end of a reply", piece).await {
                Ok(piece) if piece.is_empty() && by_close => break End::Closed,
                Ok(piece) if piece.is_empty() => break End::Whole,
                Ok(piece) => self.body.extend_from_slice(&piece),
                Err(_) => break End::Cut,
            }
        };
        let head = self.head.take().expect("the head was read");
        Reply {
            status: status_of(&head),
            head,
            body: std::mem::take(&mut self.body),
            end,
        }
    }

    /// The next reply, head and body.
    ///
    /// # Panics
    ///
    /// If the connection ends before a head.
    pub async fn reply(&mut self) -> Reply {
        self.head().await.expect("a reply");
        self.rest().await
    }

    /// The next reply, or nothing if the connection ends before its head.
    pub async fn try_reply(&mut self) -> Option<Reply> {
        self.head().await?;
        Some(self.rest().await)
    }

    /// Whether the peer has closed the connection and sent nothing more.
    pub async fn closed(&mut self) -> bool {
        let head: io::Result<_> = within("the close", self.wire.head()).await;
        !matches!(head, Ok(Some(_)))
    }
}

fn without_lone_surrogates(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    let mut rest = json;
    while let Some(at) = rest.find('\\') {
        text.push_str(&rest[..at]);
        rest = &rest[at..];
        let unit = |escape: &str| {
            let digits = escape.strip_prefix("\\u")?.get(..4)?;
            u16::from_str_radix(digits, 16).ok()
        };
        let (high, low) = (unit(rest), rest.get(6..).and_then(unit));
        let taken = match (high, low) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => 12,
            (Some(0xd800..=0xdfff), _) => {
                text.push('\u{fffd}');
                rest = &rest[6..];
                continue;
            }
            _ => 2,
        };
        text.push_str(&rest[..taken]);
        rest = &rest[taken..];
    }
    text.push_str(rest);
    text
}

fn status_of(head: &Head) -> u16 {
    let code = head
        .first
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok());
    code.unwrap_or_else(|| panic!("no status line: {:?}", head.first))
}

/// One request on a connection of its own.
pub async fn call(
    address: SocketAddr,
    line: &str,
    headers: &[&str],
    body: impl AsRef<[u8]>,
) -> Reply {
    let mut client = Client::connect(address).await;
    client.request(line, headers, body).await;
    client.reply().await
}

/// One chat completion of this session; `body` is sent as it is.
pub async fn chat(address: SocketAddr, session: &str, body: impl AsRef<[u8]>) -> Reply {
    let session = format!("x-rllm-session-id: {session}");
    let headers = ["content-type: application/json", &session];
    call(address, "POST /v1/chat/completions", &headers, body).await
}

/// A GET whose answer is 200 and JSON.
pub async fn get_json(address: SocketAddr, path: &str) -> Value {
    let reply = call(address, &format!("GET {path}"), &[], "").await;
    reply.expect(200).json()
}

/// A POST whose answer is 200 and JSON.
pub async fn post_json(address: SocketAddr, path: &str, body: &Value) -> Value {
    let headers = ["content-type: application/json"];
    let reply = call(address, &format!("POST {path}"), &headers, body.to_string()).await;
    reply.expect(200).json()
}

#[cfg(test)]
mod tests {
    use super::without_lone_surrogates;

    #[test]
    fn only_lone_surrogates_are_replaced() {
        let cases = [
            (r#""\ud83d!""#, "\"\u{fffd}!\""),
            (r#""\ud83d\ude00 \udfff""#, "\"\\ud83d\\ude00 \u{fffd}\""),
            (r#""\\ud83d é""#, r#""\\ud83d é""#),
            (r#""\ud83d\n""#, "\"\u{fffd}\\n\""),
        ];
        for (json, expected) in cases {
            assert_eq!(without_lone_surrogates(json), expected);
        }
    }
}
