//! A call under way: its recorder, and the guard that lets none end unrecorded.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use gateway_json::Value;
use gateway_state::{CallEnd, OUTCOMES, State, Upstream};
use gateway_store::{Ledger, Receipt};
use gateway_trace::{
    Attempt, CallMeta, ContentCoding, End, EventKind, Json, Outcome, Recorder, Reply, ReplyHead,
    ReplyMeta,
};

/// All calls under way, so that what they have received can be journalled when the process is
/// told to stop.
#[derive(Default)]
pub(crate) struct OpenCalls {
    next: AtomicU64,
    open: Mutex<HashMap<u64, Arc<Shared>>>,
}

impl OpenCalls {
    /// Journals what every open call has received so far.
    pub(crate) fn journal_partials(&self) {
        let open: Vec<Arc<Shared>> = lock(&self.open).values().cloned().collect();
        for call in open {
            call.journal_partial();
        }
    }

    /// Ends every open call as cut off by the gateway's own end.
    pub(crate) fn interrupt(&self) {
        let open: Vec<Arc<Shared>> = lock(&self.open).drain().map(|(_, call)| call).collect();
        for call in open {
            drop(call.end(|recorder, now| recorder.finish(End::Interrupted, now)));
        }
    }
}

/// An admitted call. It ends exactly once: by [`finish`](Self::finish), or, when hyper drops the
/// handler or the reply's body because the client has gone, by this guard's drop. Either way its
/// record is on its way to the journal before anything else happens.
pub(crate) struct OpenCall {
    id: u64,
    calls: Arc<OpenCalls>,
    shared: Arc<Shared>,
}

struct Shared {
    /// What is known of the request.
    meta: CallMeta,
    /// The size of its body, decoded.
    request_bytes: u64,
    /// When its last byte had come.
    started: Instant,
    /// How much of the reply's body has come.
    reply_bytes: AtomicU64,
    /// `None` for a call that is not recorded, and only watched for its end.
    ledger: Option<Ledger>,
    state: Arc<State>,
    /// `None` once the call has ended.
    live: Mutex<Option<Live>>,
}

struct Live {
    recorder: Recorder,
    answer: Answer,
}

/// What the proxy knows of how a call was answered, beside the reply itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answer {
    pub(crate) upstream: Option<Arc<Upstream>>,
    pub(crate) upstream_reason: Option<&'static str>,
    pub(crate) attempts: Vec<Attempt>,
    /// Whether token ids were asked of the upstream.
    pub(crate) ids_asked: bool,
    pub(crate) edits: Option<Json>,
    /// The version of the weights when the call passed the pause gate.
    pub(crate) weight_version: Option<i64>,
    /// The status that the client gets where it is not the upstream's.
    pub(crate) status: Option<u16>,
}

impl Answer {
    /// The reply with what the recorder cannot know.
    fn complete(self, mut reply: Reply, weight_version: Option<i64>) -> Reply {
        let meta = &mut reply.meta;
        meta.upstream = self.upstream.map(|upstream| upstream.name.clone());
        meta.upstream_reason = self.upstream_reason.map(str::to_owned);
        meta.attempts = u32::try_from(self.attempts.len()).unwrap_or(u32::MAX);
        meta.attempt_log = (self.attempts.len() > 1).then_some(self.attempts);
        meta.ids_asked = self.ids_asked;
        meta.edits = self.edits;
        meta.weight_version = self.weight_version;
        meta.weight_version_end = weight_version;
        if self.status.is_some() {
            meta.status = self.status;
        }
        reply
    }
}

impl OpenCall {
    pub(crate) fn new(
        calls: Arc<OpenCalls>,
        state: Arc<State>,
        ledger: Option<Ledger>,
        meta: CallMeta,
        request_bytes: usize,
        started: Instant,
        recorder: Recorder,
    ) -> Self {
        let shared = Arc::new(Shared {
            meta,
            request_bytes: request_bytes as u64,
            started,
            reply_bytes: AtomicU64::new(0),
            ledger,
            state,
            live: Mutex::new(Some(Live {
                recorder,
                answer: Answer::default(),
            })),
        });
        let id = calls.next.fetch_add(1, Ordering::Relaxed);
        lock(&calls.open).insert(id, Arc::clone(&shared));
        Self { id, calls, shared }
    }

    /// The trace's id; none of a call that is not recorded.
    pub(crate) fn trace_id(&self) -> Option<&str> {
        self.shared.ledger.as_ref().map(|_| self.shared.trace_id())
    }

    /// So many bytes of the reply's body have come.
    pub(crate) fn received(&self, bytes: usize) {
        let bytes = bytes as u64;
        self.shared.reply_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Notes how the call is being answered.
    pub(crate) fn note(&self, note: impl FnOnce(&mut Answer)) {
        if let Some(live) = lock(&self.shared.live).as_mut() {
            note(&mut live.answer);
        }
    }

    /// Journals what is known of the call so far.
    pub(crate) fn journal_partial(&self) {
        self.shared.journal_partial();
    }

    /// Notes the head of a reply that should have so many choices.
    pub(crate) fn start(&self, head: ReplyHead, choices: usize) {
        let now = self.shared.now_ms();
        if let Some(live) = lock(&self.shared.live).as_mut() {
            live.recorder.expect_choices(choices);
            live.recorder.start(head, now);
        }
    }

    pub(crate) fn push(&self, chunk: &Bytes) {
        let now = self.shared.now_ms();
        if let Some(live) = lock(&self.shared.live).as_mut() {
            live.recorder.push(chunk.clone(), now);
        }
    }

    pub(crate) fn content_coding(&self, coding: ContentCoding) {
        if let Some(live) = lock(&self.shared.live).as_mut() {
            live.recorder.content_coding(coding);
        }
    }

    /// Bytes of a stream have come, be they a whole event or not.
    pub(crate) fn arrived(&self) {
        let now = self.shared.now_ms();
        if let Some(live) = lock(&self.shared.live).as_mut() {
            live.recorder.arrived(now);
        }
    }

    /// One event of a stream; tells whether it completes the reply for its reader.
    pub(crate) fn event(&self, name: Option<&[u8]>, data: &[u8]) -> EventKind {
        self.record(|recorder, now| recorder.event(name, data, now))
    }

    /// One event of a stream whose data have been parsed; `root` is none where they are no JSON.
    pub(crate) fn event_parsed(
        &self,
        name: Option<&[u8]>,
        data: &[u8],
        root: Option<Value<'_>>,
    ) -> EventKind {
        self.record(|recorder, now| recorder.event_parsed(name, data, root, now))
    }

    fn record(&self, take: impl FnOnce(&mut Recorder, f64) -> EventKind) -> EventKind {
        let now = self.shared.now_ms();
        lock(&self.shared.live)
            .as_mut()
            .map_or(EventKind::Data, |live| take(&mut live.recorder, now))
    }

    /// Ends the call as [`finish`](Self::finish) does, with the reply's body parsed already:
    /// `root` is the root of all that was pushed.
    pub(crate) fn finish_parsed(&self, root: Value<'_>) -> Option<(Outcome, Option<Receipt>)> {
        self.end(|recorder, now| recorder.finish_parsed(root, End::Eof, now))
    }

    /// Ends the call: hands its record to the journal, if it has one, and returns the receipt to
    /// wait for. `None` if it had ended before.
    pub(crate) fn finish(&self, end: End) -> Option<(Outcome, Option<Receipt>)> {
        self.end(|recorder, now| recorder.finish(end, now))
    }

    fn end(&self, end: impl FnOnce(Recorder, f64) -> Reply) -> Option<(Outcome, Option<Receipt>)> {
        let ended = self.shared.end(end)?;
        lock(&self.calls.open).remove(&self.id);
        Some(ended)
    }
}

impl Drop for OpenCall {
    fn drop(&mut self) {
        // Nobody is left to wait for the receipt.
        drop(self.finish(End::ClientGone));
    }
}

impl Shared {
    fn journal_partial(&self) {
        let partial = lock(&self.live).as_ref().map(|live| {
            let reply = live.recorder.snapshot(self.now_ms());
            live.answer
                .clone()
                .complete(reply, self.state.weight_version())
        });
        if let (Some(reply), Some(ledger)) = (partial, &self.ledger) {
            ledger.partial(self.trace_id(), &reply);
        }
    }

    fn end(&self, end: impl FnOnce(Recorder, f64) -> Reply) -> Option<(Outcome, Option<Receipt>)> {
        let live = lock(&self.live).take()?;
        let reply = end(live.recorder, self.now_ms());
        let upstream = live.answer.upstream.clone();
        let reply = live.answer.complete(reply, self.state.weight_version());
        let outcome = reply.meta.outcome;
        let Some(ledger) = &self.ledger else {
            return Some((outcome, None));
        };
        let receipt = ledger.finish(self.trace_id(), &reply);
        self.count(upstream.as_deref(), &reply.meta);
        self.log(&reply.meta);
        Some((outcome, Some(receipt)))
    }

    fn trace_id(&self) -> &str {
        &self.meta.trace_id
    }

    fn count(&self, upstream: Option<&Upstream>, reply: &ReplyMeta) {
        let digest = reply.digest.as_ref();
        let tokens =
            |counted: Option<i64>| counted.and_then(|n| u64::try_from(n).ok()).unwrap_or(0);
        let end = CallEnd {
            outcome: reply.outcome as usize,
            status: reply.status,
            latency: millis(reply.latency_ms),
            first_byte: reply.ttft_ms.map(millis),
            prompt_tokens: tokens(digest.and_then(|digest| digest.prompt_tokens)),
            completion_tokens: tokens(digest.and_then(|digest| digest.completion_tokens)),
            request_bytes: self.request_bytes,
            reply_bytes: self.reply_bytes.load(Ordering::Relaxed),
        };
        let counters = self.state.counters();
        counters.end_call(upstream, self.meta.model.as_deref(), &end);
    }

    /// The one line that each call leaves in the log. What a client wrote stands there as a string
    /// of its own, which the formatter quotes and escapes.
    fn log(&self, reply: &ReplyMeta) {
        let identity = &self.meta.identity;
        tracing::info!(
            trace_id = self.trace_id(),
            session_id = identity.session_id.as_deref(),
            run_id = identity.run_id.as_deref(),
            endpoint = self.meta.endpoint.as_str(),
            model = self.meta.model.as_deref(),
            stream = self.meta.stream,
            upstream = reply.upstream.as_deref(),
            outcome = reply.outcome.as_str(),
            status = reply.status,
            error = reply.error.as_ref().map(|error| &*error.code),
            latency_ms = tenths(reply.latency_ms),
            ttft_ms = reply.ttft_ms.map(tenths),
            attempts = reply.attempts,
            request_bytes = self.request_bytes,
            reply_bytes = self.reply_bytes.load(Ordering::Relaxed),
            "call"
        );
    }

    fn now_ms(&self) -> f64 {
        self.started.elapsed().as_secs_f64() * 1e3
    }
}

// What the counters number is what the recorder lists.
const _: () = assert!(Outcome::ALL.len() == OUTCOMES);

fn millis(ms: f64) -> Duration {
    Duration::try_from_secs_f64(ms / 1e3).unwrap_or_default()
}

/// More than a tenth of a millisecond says nothing of a call.
fn tenths(ms: f64) -> f64 {
    (ms * 10.0).round() / 10.0
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic under one of these locks loses at most the call that panicked.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
