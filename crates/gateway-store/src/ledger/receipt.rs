//! Receipts, and the one task that hands them out.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};

use super::Durability;
use super::shared::Shared;

/// The record was not on disk in time, or the journal was closed without it. It may still get
/// there: then the call is recorded all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the record is not known to be on disk")]
pub struct ReceiptMissed;

/// Resolves when the record of a call is on disk, or is not waited for any longer; see
/// [`Durability`].
///
/// It is cancel-safe: dropping it changes nothing about the record.
#[derive(Debug)]
#[must_use = "the end of a reply waits for its receipt"]
pub struct Receipt(Option<oneshot::Receiver<Result<(), ReceiptMissed>>>);

impl Receipt {
    pub(super) fn ready() -> Self {
        Self(None)
    }

    pub(super) fn waiting(receiver: oneshot::Receiver<Result<(), ReceiptMissed>>) -> Self {
        Self(Some(receiver))
    }
}

impl Future for Receipt {
    type Output = Result<(), ReceiptMissed>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            None => Poll::Ready(Ok(())),
            Some(receiver) => Pin::new(receiver)
                .poll(cx)
                .map(|told| told.unwrap_or(Err(ReceiptMissed))),
        }
    }
}

/// How late an alarm may be before the process is taken to have been stopped meanwhile.
const THAW: Duration = Duration::from_secs(1);

/// Tells the receipts that are due. The journal's thread wakes this once a batch, and this wakes
/// the calls from within the runtime: a batch costs one wake-up across threads, not one a call.
pub(super) async fn dispatch(shared: Arc<Shared>, durability: Durability) {
    let mut alarm = pin!(sleep_until(Instant::now()));
    let mut armed = None;
    let gives_up = matches!(durability, Durability::Receipt { .. });
    loop {
        let (due, wanted, closed) = {
            let mut calls = shared.calls();
            let now = Instant::now();
            match calls.alarm {
                // So late an alarm means that the whole process was stopped, the journal's thread
                // too. That is no fault of the disk, which gets a moment to catch up.
                Some(at) if now > at + THAW => calls.alarm = Some(now + THAW),
                Some(at) if now >= at => calls.expire(now, durability.limit(), gives_up),
                _ => {}
            }
            (calls.take_due(), calls.alarm, calls.closed)
        };
        for (receipt, outcome) in due {
            // Whoever waited may have gone; the record is on disk all the same.
            let _ = receipt.send(outcome);
        }
        if closed {
            return;
        }
        if let (true, Some(at)) = (wanted != armed, wanted) {
            alarm.as_mut().reset(at);
        }
        armed = wanted;
        tokio::select! {
            biased;
            () = shared.dispatcher.notified() => {}
            () = &mut alarm, if armed.is_some() => {}
        }
    }
}
