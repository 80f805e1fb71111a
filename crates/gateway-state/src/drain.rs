//! The end of serving, announced once.

use tokio::sync::watch;

/// A flag that goes up once, and that tasks can wait for.
#[derive(Debug)]
pub struct Drain(watch::Sender<bool>);

impl Default for Drain {
    fn default() -> Self {
        Self(watch::Sender::new(false))
    }
}

impl Drain {
    /// Raises the flag; again does nothing.
    pub fn begin(&self) {
        self.0.send_replace(true);
    }

    /// Whether the flag is up.
    #[must_use]
    pub fn begun(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until the flag is up. Cancel-safe: dropping it loses nothing.
    pub async fn wait(&self) {
        let mut watcher = self.0.subscribe();
        // The sender cannot be gone while `self` is borrowed.
        let _ = watcher.wait_for(|begun| *begun).await;
    }
}

#[cfg(test)]
mod tests;
