//! What an upstream answers: bytes, waits and breaks, in order.

use crate::Gate;

/// One step of an answer.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Writes these bytes, as they are.
    Send(Vec<u8>),
    /// Waits until the gate is open.
    Wait(Gate),
    /// Opens the gate.
    Open(Gate),
    /// Waits until the peer has closed the connection, and opens the gate.
    Gone(Gate),
    /// Closes the connection with a reset.
    Reset,
    /// Closes the connection in order.
    Close,
}

/// An answer to one request. Unless it ends with a close or a reset, the
/// connection stays open for the next request.
#[derive(Clone, Debug, Default)]
pub struct Script {
    pub(crate) steps: Vec<Step>,
}

impl Script {
    /// An empty script: not even a status line.
    #[must_use]
    pub fn new() -> Script {
        Script::default()
    }

    /// A whole reply with its length; `headers` are lines without their ends.
    #[must_use]
    pub fn whole(status: &str, headers: &[&str], body: impl AsRef<[u8]>) -> Script {
        let body = body.as_ref();
        let mut reply = head(status, headers);
        reply.extend_from_slice(format!("content-length: {}\r\n\r\n", body.len()).as_bytes());
        reply.extend_from_slice(body);
        Script::new().send(reply)
    }

    /// A whole JSON reply.
    #[must_use]
    pub fn json(status: &str, body: impl AsRef<[u8]>) -> Script {
        Script::whole(status, &["content-type: application/json"], body)
    }

    /// The head of an event stream in chunks; [`Script::chunk`] goes on.
    #[must_use]
    pub fn stream() -> Script {
        let headers = [
            "content-type: text/event-stream; charset=utf-8",
            "transfer-encoding: chunked",
        ];
        let mut reply = head("200 OK", &headers);
        reply.extend_from_slice(b"\r\n");
        Script::new().send(reply)
    }

    /// A whole event stream, one chunk for each event, well ended.
    #[must_use]
    pub fn events<T: AsRef<[u8]>>(events: impl IntoIterator<Item = T>) -> Script {
        let events = events.into_iter();
        events.fold(Script::stream(), Script::chunk).end()
    }

    /// Writes bytes as they are.
    #[must_use]
    pub fn send(mut self, bytes: impl Into<Vec<u8>>) -> Script {
        self.steps.push(Step::Send(bytes.into()));
        self
    }

    /// Writes one chunk.
    #[must_use]
    pub fn chunk(self, data: impl AsRef<[u8]>) -> Script {
        let data = data.as_ref();
        let mut chunk = format!("{:x}\r\n", data.len()).into_bytes();
        chunk.extend_from_slice(data);
        chunk.extend_from_slice(b"\r\n");
        self.send(chunk)
    }

    /// Writes the last chunk.
    #[must_use]
    pub fn end(self) -> Script {
        self.send("0\r\n\r\n")
    }

    /// This script, after another one.
    #[must_use]
    pub fn after(self, mut first: Script) -> Script {
        first.steps.extend(self.steps);
        first
    }

    /// Waits until the gate is open.
    #[must_use]
    pub fn wait(mut self, gate: &Gate) -> Script {
        self.steps.push(Step::Wait(gate.clone()));
        self
    }

    /// Opens the gate: the reader of it knows that the script came this far.
    #[must_use]
    pub fn open(mut self, gate: &Gate) -> Script {
        self.steps.push(Step::Open(gate.clone()));
        self
    }

    /// Waits until the peer closes the connection, and then opens the gate.
    #[must_use]
    pub fn until_gone(mut self, gate: &Gate) -> Script {
        self.steps.push(Step::Gone(gate.clone()));
        self
    }

    /// Resets the connection.
    #[must_use]
    pub fn reset(mut self) -> Script {
        self.steps.push(Step::Reset);
        self
    }

    /// Closes the connection in order.
    #[must_use]
    pub fn close(mut self) -> Script {
        self.steps.push(Step::Close);
        self
    }
}

fn head(status: &str, headers: &[&str]) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {status}\r\nserver: mock\r\n");
    for header in headers {
        head.push_str(header);
        head.push_str("\r\n");
    }
    head.into_bytes()
}
