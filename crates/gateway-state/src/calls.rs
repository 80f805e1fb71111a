//! The calls that are open just now.

use std::sync::Arc;

use tokio::sync::watch;

/// A count of open calls, which tasks can wait upon to become zero.
#[derive(Clone, Debug)]
pub struct OpenCalls(Arc<watch::Sender<usize>>);

impl Default for OpenCalls {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(0)))
    }
}

impl OpenCalls {
    /// Counts a call until the guard is dropped.
    #[must_use]
    pub fn open(&self) -> OpenCall {
        // Nobody waits for more calls, so that nobody is woken.
        self.0.send_if_modified(|open| {
            *open += 1;
            false
        });
        OpenCall(self.clone())
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        *self.0.borrow()
    }

    /// Waits until there is none. Cancel-safe: dropping it loses nothing.
    pub async fn wait_for_none(&self) {
        let mut watcher = self.0.subscribe();
        // The sender cannot be gone while `self` is borrowed.
        let _ = watcher.wait_for(|open| *open == 0).await;
    }
}

/// One open call; dropping it is its end.
#[derive(Debug)]
pub struct OpenCall(OpenCalls);

impl Drop for OpenCall {
    fn drop(&mut self) {
        // Only the last one wakes those who wait for none.
        self.0.0.send_if_modified(|open| {
            *open -= 1;
            *open == 0
        });
    }
}

#[cfg(test)]
mod tests;
