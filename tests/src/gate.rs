//! Conditions to wait on, each with an end to the waiting.

use std::future::Future;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

/// How long a test waits for anything before it fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// A gate that is opened once and stays open; clones share it.
#[derive(Clone, Debug)]
pub struct Gate {
    open: watch::Sender<bool>,
}

impl Gate {
    /// A closed gate.
    #[must_use]
    pub fn new() -> Gate {
        Gate {
            open: watch::Sender::new(false),
        }
    }

    /// Opens it for everyone, now and later.
    pub fn open(&self) {
        self.open.send_replace(true);
    }

    /// Whether it is open.
    #[must_use]
    pub fn is_open(&self) -> bool {
        *self.open.borrow()
    }

    /// Waits until it is open. May be dropped at any time.
    pub async fn opened(&self) {
        let mut watch = self.open.subscribe();
        // The sender lives as long as `self` does.
        let _ = watch.wait_for(|open| *open).await;
    }
}

impl Default for Gate {
    fn default() -> Gate {
        Gate::new()
    }
}

/// The future's output.
///
/// # Panics
///
/// After a minute: `what` did not come.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(output) => output,
        Err(_) => panic!("waited a minute for {what}"),
    }
}

/// Asks `probe` again and again until it gives a value.
///
/// # Panics
///
/// After a minute: `what` did not come.
pub async fn eventually<T>(what: &str, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let start = Instant::now();
    // The pause between two questions, not a guess at how long it takes.
    let mut questions = tokio::time::interval(Duration::from_millis(5));
    questions.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        questions.tick().await;
        if let Some(value) = probe().await {
            return value;
        }
        assert!(start.elapsed() < PATIENCE, "waited a minute for {what}");
    }
}
