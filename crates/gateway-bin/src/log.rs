//! Log lines on stderr, written by a thread of their own: a reader that stops reading them must
//! not stop the gateway.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use gateway_config::LogLevel;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::cli::LogFormat;

/// How many lines may wait for the reader; more are dropped, and counted.
const WAITING_LINES: usize = 4096;

/// How long lines gather before they are written: to wake a thread for each costs a call more than
/// the line does.
const GATHER: Duration = Duration::from_millis(20);

/// How many bytes are gathered before they are written.
const AT_ONCE: usize = 64 << 10;

/// How long the end of the program waits for lines that are still to be written.
const LAST_LINES: Duration = Duration::from_millis(200);

/// Flushes the log when dropped.
#[derive(Debug)]
pub struct LogGuard(SyncSender<Message>);

#[derive(Debug)]
enum Message {
    Line(Vec<u8>),
    Flush(SyncSender<()>),
}

/// Sends this process's log lines to stderr, and panics along with them. Does nothing if something
/// else in this process has taken the log already.
///
/// # Errors
///
/// If no thread can be started.
pub fn start(level: LogLevel, format: LogFormat) -> io::Result<LogGuard> {
    let (lines, guard) = Lines::start(io::stderr(), format)?;
    let level = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warning => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    // What libraries have to say below a warning helps nobody, and may show what it should not.
    let ours = Targets::new()
        .with_target("gateway", level)
        .with_target("rllm_model_gateway", level)
        .with_default(LevelFilter::WARN.min(level));
    let registry = tracing_subscriber::registry().with(ours);
    let layer = tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .with_writer(lines);
    let taken = match format {
        LogFormat::Text => registry.with(layer).try_init(),
        LogFormat::Json => registry.with(layer.json().flatten_event(true)).try_init(),
    };
    if taken.is_ok() {
        std::panic::set_hook(Box::new(|panic| {
            let place = panic.location().map(ToString::to_string);
            let payload = panic.payload_as_str().unwrap_or("no message");
            tracing::error!(place, "panicked: {payload}");
        }));
    }
    Ok(guard)
}

/// Where lines are put; cloned for each of them.
#[derive(Clone)]
struct Lines {
    sender: SyncSender<Message>,
    dropped: Arc<AtomicU64>,
}

impl Lines {
    fn start(out: impl Write + Send + 'static, format: LogFormat) -> io::Result<(Lines, LogGuard)> {
        let (sender, receiver) = sync_channel(WAITING_LINES);
        let dropped = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&dropped);
        std::thread::Builder::new()
            .name("rllm-log".to_owned())
            .spawn(move || write_lines(&receiver, out, format, &counted))?;
        let guard = LogGuard(sender.clone());
        Ok((Lines { sender, dropped }, guard))
    }
}

/// Writes what waits in one go: a call must not cost a write of its own.
fn write_lines(
    receiver: &Receiver<Message>,
    mut out: impl Write,
    format: LogFormat,
    dropped: &AtomicU64,
) {
    let mut text = Vec::new();
    while let Ok(first) = receiver.recv() {
        let mut flushed = None;
        for message in std::iter::once(first).chain(receiver.try_iter()) {
            match message {
                Message::Line(line) => push_escaped(&mut text, &line, format),
                Message::Flush(done) => flushed = Some(done),
            }
            if flushed.is_some() || text.len() >= AT_ONCE {
                break;
            }
        }
        let missing = dropped.swap(0, Ordering::Relaxed);
        if missing > 0 {
            text.extend(told_missing(missing, format).into_bytes());
        }
        // An error of stderr has no place to be told.
        let _ = out.write_all(&text).and_then(|()| out.flush());
        text.clear();
        match flushed {
            Some(done) => drop(done.try_send(())),
            None => std::thread::sleep(GATHER),
        }
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Lines;

    fn make_writer(&'a self) -> Lines {
        self.clone()
    }
}

/// Takes whole lines, which is how the formatter writes them. Never waits.
impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let message = Message::Line(line.to_vec());
        if let Err(TrySendError::Full(_)) = self.sender.try_send(message) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for LogGuard {
    fn drop(&mut self) {
        let deadline = Instant::now() + LAST_LINES;
        let (done, written) = sync_channel(1);
        let mut flush = Message::Flush(done);
        while let Err(TrySendError::Full(unsent)) = self.0.try_send(flush) {
            if Instant::now() >= deadline {
                return;
            }
            flush = unsent;
            std::thread::sleep(LAST_LINES / 50);
        }
        // Lines that cannot be written in time have no reader.
        let _ = written.recv_timeout(deadline.saturating_duration_since(Instant::now()));
    }
}

fn told_missing(lines: u64, format: LogFormat) -> String {
    match format {
        LogFormat::Text => format!("{lines} log lines were dropped\n"),
        LogFormat::Json => {
            format!("{{\"level\":\"WARN\",\"message\":\"{lines} log lines were dropped\"}}\n")
        }
    }
}

/// Keeps one event one line, whatever a client sent: control characters are shown escaped, as they
/// are in the source of a program, or in JSON; there, all but DEL and what follows it have been
/// escaped before.
fn push_escaped(out: &mut Vec<u8>, line: &[u8], format: LogFormat) {
    let (body, end) = match line.split_last() {
        Some((b'\n', body)) => (body, &b"\n"[..]),
        _ => (line, &b""[..]),
    };
    if body.iter().all(|byte| matches!(byte, b' '..=b'~' | b'\t')) {
        out.extend_from_slice(line);
        return;
    }
    for character in String::from_utf8_lossy(body).chars() {
        if character.is_control() && character != '\t' {
            let escaped = match format {
                LogFormat::Text => character.escape_unicode().to_string(),
                LogFormat::Json => format!("\\u{:04x}", u32::from(character)),
            };
            out.extend(escaped.into_bytes());
        } else {
            out.extend(character.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
    out.extend_from_slice(end);
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::mpsc::{Sender, channel};

    use super::*;

    fn escaped(line: &[u8], format: LogFormat) -> Vec<u8> {
        let mut out = Vec::new();
        push_escaped(&mut out, line, format);
        out
    }

    #[test]
    fn what_a_client_sent_cannot_forge_a_line() {
        for (line, expected) in [
            ("plain \t1\n", "plain \t1\n"),
            ("plain é\t1\n", "plain é\t1\n"),
            ("a\nb\n", "a\\u{a}b\n"),
            ("a\r\u{1b}[31m\u{85}\n", "a\\u{d}\\u{1b}[31m\\u{85}\n"),
            ("a\u{7f}\n", "a\\u{7f}\n"),
            ("no end", "no end"),
        ] {
            let escaped = escaped(line.as_bytes(), LogFormat::Text);
            assert_eq!(escaped, expected.as_bytes(), "{line:?}");
        }
        assert_eq!(escaped(b"\xff\n", LogFormat::Text), "\u{fffd}\n".as_bytes());
    }

    #[test]
    fn a_json_line_stays_json_and_says_the_same() {
        let model = "a\u{7f}b\u{80}\u{85}\u{9f}\u{a0}é\n\t\u{1b}\"\\";
        let line = format!("{}\n", serde_json::json!({"model": model}));
        let line = String::from_utf8(escaped(line.as_bytes(), LogFormat::Json)).unwrap();
        assert!(line.contains(r"a\u007fb\u0080\u0085\u009f"), "{line}");
        let text = line.strip_suffix('\n').unwrap();
        assert!(!text.contains(char::is_control), "{line}");
        let value: serde_json::Value = serde_json::from_str(text).unwrap();
        assert_eq!(value["model"], model);

        let told = told_missing(7, LogFormat::Json);
        let told: serde_json::Value = serde_json::from_str(&told).unwrap();
        assert_eq!(told["message"], "7 log lines were dropped");
    }

    /// Tells when it is written to, and writes only once it is let.
    struct Blocked {
        begun: Sender<()>,
        go: Receiver<()>,
        written: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Blocked {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.begun.send(()).ok();
            self.go.recv().ok();
            self.written.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_stops_reading_stops_nobody() {
        let (go, wait) = channel();
        let (begun, is_writing) = channel();
        let written = Arc::new(Mutex::new(Vec::new()));
        let out = Blocked {
            begun,
            go: wait,
            written: Arc::clone(&written),
        };
        let (mut lines, guard) = Lines::start(out, LogFormat::Text).unwrap();
        lines.write_all(b"first\n").unwrap();
        is_writing.recv().unwrap();
        // The writer takes no more, so that the rest fill the channel.
        for _ in 0..WAITING_LINES + 100 {
            lines.write_all(b"x\n").unwrap();
        }
        assert_eq!(lines.dropped.load(Ordering::Relaxed), 100);
        drop(go);
        drop(guard);
        drop(lines);
        // Until the writer has ended.
        while is_writing.recv().is_ok() {}
        let written = written.lock().unwrap();
        let text = String::from_utf8_lossy(&written);
        assert_eq!(text.matches("x\n").count(), WAITING_LINES, "{text}");
        assert!(text.contains("100 log lines were dropped\n"), "{text}");
    }
}
