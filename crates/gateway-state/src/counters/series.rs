//! What is counted of the calls to one upstream for one model.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::{Counts, Histogram};
use crate::UpstreamKind;

/// How many ways there are for a call to end; what each number means is the recorder's to say.
pub const OUTCOMES: usize = 6;

/// The statuses of HTTP, and 0 for none.
const STATUSES: usize = 501;
const FIRST_STATUS: u16 = 100;

/// How a call has ended.
#[derive(Clone, Copy, Debug, Default)]
pub struct CallEnd {
    /// The number of its outcome, below [`OUTCOMES`].
    pub outcome: usize,
    /// The status that the client got.
    pub status: Option<u16>,
    /// From the request's last byte to the upstream's last byte.
    pub latency: Duration,
    /// From the request's last byte to the first byte of the reply's body.
    pub first_byte: Option<Duration>,
    /// What the upstream counted.
    pub prompt_tokens: u64,
    /// What the upstream counted.
    pub completion_tokens: u64,
    /// The size of the request's body, decoded.
    pub request_bytes: u64,
    /// The size of the reply's body, as the upstream sent it.
    pub reply_bytes: u64,
}

/// What is counted of the calls to one upstream for one model.
#[derive(Debug)]
pub struct Series {
    /// Route or worker; `None` for calls that came to no upstream.
    pub kind: Option<UpstreamKind>,
    /// The route's key, or the worker's id.
    pub upstream: Box<str>,
    /// What the client asked for.
    pub model: Box<str>,
    /// Made with the first call of each outcome: most never occur.
    ended: [OnceLock<Box<Counts<STATUSES>>>; OUTCOMES],
    latency: Histogram,
    first_byte: Histogram,
    prompt_tokens: AtomicU64,
    completion_tokens: AtomicU64,
    request_bytes: AtomicU64,
    reply_bytes: AtomicU64,
    attempts: AtomicU64,
    retries: AtomicU64,
}

impl Series {
    pub(super) fn new(kind: Option<UpstreamKind>, upstream: &str, model: &str) -> Self {
        Self {
            kind,
            upstream: upstream.into(),
            model: model.into(),
            ended: std::array::from_fn(|_| OnceLock::new()),
            latency: Histogram::default(),
            first_byte: Histogram::default(),
            prompt_tokens: AtomicU64::new(0),
            completion_tokens: AtomicU64::new(0),
            request_bytes: AtomicU64::new(0),
            reply_bytes: AtomicU64::new(0),
            attempts: AtomicU64::new(0),
            retries: AtomicU64::new(0),
        }
    }

    pub(super) fn attempt(&self, retry: bool) {
        self.attempts.fetch_add(1, Relaxed);
        if retry {
            self.retries.fetch_add(1, Relaxed);
        }
    }

    pub(super) fn end(&self, end: &CallEnd) {
        let by_status = self.ended[end.outcome].get_or_init(Box::default);
        by_status.0[place_of(end.status)].fetch_add(1, Relaxed);
        self.latency.add(end.latency);
        if let Some(first_byte) = end.first_byte {
            self.first_byte.add(first_byte);
        }
        for (counter, more) in [
            (&self.prompt_tokens, end.prompt_tokens),
            (&self.completion_tokens, end.completion_tokens),
            (&self.request_bytes, end.request_bytes),
            (&self.reply_bytes, end.reply_bytes),
        ] {
            counter.fetch_add(more, Relaxed);
        }
    }

    /// Calls by the number of their outcome and the client's status, as far as there were any.
    pub fn ended(&self) -> impl Iterator<Item = (usize, Option<u16>, u64)> {
        self.ended
            .iter()
            .enumerate()
            .filter_map(|(outcome, counts)| Some((outcome, counts.get()?)))
            .flat_map(|(outcome, counts)| {
                let counts = counts.0.iter().enumerate();
                counts.map(move |(place, count)| (outcome, status_at(place), count.load(Relaxed)))
            })
            .filter(|(.., count)| *count > 0)
    }

    /// How long calls have taken.
    #[must_use]
    pub fn latency(&self) -> &Histogram {
        &self.latency
    }

    /// How long the first byte of replies has taken.
    #[must_use]
    pub fn first_byte(&self) -> &Histogram {
        &self.first_byte
    }

    /// Tokens of prompts and completions, as upstreams counted them.
    #[must_use]
    pub fn tokens(&self) -> (u64, u64) {
        (
            self.prompt_tokens.load(Relaxed),
            self.completion_tokens.load(Relaxed),
        )
    }

    /// Bytes of requests and replies.
    #[must_use]
    pub fn bytes(&self) -> (u64, u64) {
        (
            self.request_bytes.load(Relaxed),
            self.reply_bytes.load(Relaxed),
        )
    }

    /// How often calls were sent, and how often of those not for the first time.
    #[must_use]
    pub fn attempts(&self) -> (u64, u64) {
        (self.attempts.load(Relaxed), self.retries.load(Relaxed))
    }
}

fn place_of(status: Option<u16>) -> usize {
    let place = status.and_then(|status| status.checked_sub(FIRST_STATUS - 1));
    let place = place.map_or(0, usize::from);
    if place < STATUSES { place } else { 0 }
}

fn status_at(place: usize) -> Option<u16> {
    let above = u16::try_from(place).ok().filter(|place| *place > 0)?;
    Some(FIRST_STATUS - 1 + above)
}
