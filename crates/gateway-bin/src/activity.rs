//! How many requests are being answered: what an orderly end waits for.

use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// A count of requests whose reply has not gone out in full.
#[derive(Debug, Default)]
pub(crate) struct Activity {
    requests: AtomicUsize,
    none: Notify,
}

impl Activity {
    pub(crate) fn begin(&self) {
        self.requests.fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn end(&self) {
        if self.requests.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.none.notify_waiters();
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.requests.load(Ordering::Acquire)
    }

    /// Waits for a moment in which there is none. Cancel-safe.
    pub(crate) async fn wait_for_none(&self) {
        let mut none = pin!(self.none.notified());
        // Enabled before the look at the count: an end right after it wakes us.
        none.as_mut().enable();
        if self.count() > 0 {
            none.await;
        }
    }
}
