//! The pause gate: where new calls wait while the weights of the workers are changed.

use std::sync::Arc;

use tokio::sync::watch;

/// A gate that every call passes, and the calls that are past it and not over.
///
/// While it is closed, calls wait in front of it. It is closed, opened and passed under one lock: a
/// call is either counted by whoever closes the gate, or it waits. For how long, and what else ends
/// the wait, is for the call to say; the gate keeps no clock.
#[derive(Clone, Debug)]
pub struct PauseGate(Arc<watch::Sender<Gate>>);

#[derive(Clone, Copy, Debug, Default)]
struct Gate {
    closed: bool,
    under_way: usize,
}

/// A call that is past the gate; dropping it is the call's end.
#[derive(Debug)]
pub struct Passed(PauseGate);

impl Default for PauseGate {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(Gate::default())))
    }
}

impl PauseGate {
    /// Lets no call pass from now on; those under way go on.
    pub fn close(&self) {
        self.0.send_modify(|gate| gate.closed = true);
    }

    /// Lets calls pass again, those that wait first.
    pub fn open(&self) {
        self.0.send_modify(|gate| gate.closed = false);
    }

    /// Whether calls have to wait.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.borrow().closed
    }

    /// How many calls are past the gate and not over.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.0.borrow().under_way
    }

    /// Passes the gate if it is open.
    #[must_use]
    pub fn try_pass(&self) -> Option<Passed> {
        let mut passed = false;
        // Nobody waits for calls to pass, so that nobody is woken.
        self.0.send_if_modified(|gate| {
            passed = !gate.closed;
            gate.under_way += usize::from(passed);
            false
        });
        passed.then(|| Passed(self.clone()))
    }

    /// Passes the gate once it is open. Cancel-safe: a call that is given up was never past it.
    pub async fn pass(&self) -> Passed {
        let mut watcher = self.0.subscribe();
        loop {
            if let Some(passed) = self.try_pass() {
                return passed;
            }
            // The sender cannot be gone while `self` is borrowed.
            let _ = watcher.wait_for(|gate| !gate.closed).await;
        }
    }

    /// Waits until no call is under way, or until the gate is opened. Cancel-safe.
    pub async fn clear(&self) {
        let mut watcher = self.0.subscribe();
        let _ = watcher
            .wait_for(|gate| gate.under_way == 0 || !gate.closed)
            .await;
    }
}

impl Drop for Passed {
    fn drop(&mut self) {
        self.0.0.send_if_modified(|gate| {
            gate.under_way -= 1;
            gate.closed && gate.under_way == 0
        });
    }
}

#[cfg(test)]
mod tests;
