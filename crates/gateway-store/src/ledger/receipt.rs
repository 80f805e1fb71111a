//! Receipts, and the one task that hands them out.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

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

/// Tells the receipts that are due. The journal's thread wakes this once a batch, and this wakes
/// the calls from within the runtime: a batch costs one wake-up across threads, not one a call.
pub(super) async fn dispatch(shared: Arc<Shared>, durability: Durability) {
    let mut alarm = pin!(sleep_until(Instant::now()));
    let mut armed = None;
    loop {
        let (due, wanted, closed) = {
            let mut calls = shared.calls();
            if let Durability::Receipt { timeout } = durability {
                let now = Instant::now();
                if calls.alarm.is_some_and(|at| at <= now) {
                    calls.expire(now, timeout);
                }
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
