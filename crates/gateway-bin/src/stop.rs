//! The end of serving: asked for once, it is an orderly one; asked for again, it is at once.

use std::io;
use std::sync::Arc;

use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::Reload;

/// How far the end of serving has been asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Asked {
    #[default]
    No,
    Drain,
    Now,
}

/// Ends a running gateway. Clones end the same one.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<watch::Sender<Asked>>);

impl Stop {
    /// What a signal does: asks for an orderly end; where that was asked for before, for one at
    /// once.
    pub fn request(&self) {
        self.0.send_modify(|asked| {
            *asked = match *asked {
                Asked::No => Asked::Drain,
                Asked::Drain | Asked::Now => Asked::Now,
            };
        });
    }

    /// Ends at once: calls in flight are cut, what they have received is kept.
    pub fn now(&self) {
        self.0.send_replace(Asked::Now);
    }

    /// Waits until an end is asked for. Cancel-safe.
    pub(crate) async fn requested(&self) {
        self.wait(Asked::Drain).await;
    }

    /// Waits until the end at once is asked for. Cancel-safe.
    pub(crate) async fn hurried(&self) {
        self.wait(Asked::Now).await;
    }

    async fn wait(&self, least: Asked) {
        let mut watcher = self.0.subscribe();
        // The sender cannot be gone while `self` is borrowed.
        let _ = watcher.wait_for(|asked| *asked >= least).await;
    }
}

/// Lets SIGTERM and SIGINT end the gateway, and SIGHUP reload its configuration, from a thread of
/// their own: signals that arrive while nobody looks count as one, and a busy gateway must not take
/// the second one for the first.
///
/// # Errors
///
/// If the signals cannot be listened to, or no thread can be started.
pub fn on_signals(stop: &Stop, reload: &Reload) -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_io().build()?;
    let (mut terminate, mut interrupt, mut hang_up) = {
        let _within = runtime.enter();
        (
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
            signal(SignalKind::hangup())?,
        )
    };
    let (stop, reload) = (stop.clone(), reload.clone());
    let listen = async move {
        loop {
            let name = tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
                _ = hang_up.recv() => {
                    tracing::info!("SIGHUP: reading the configuration anew");
                    reload.request();
                    continue;
                }
            };
            tracing::info!("{name}: ending");
            stop.request();
        }
    };
    std::thread::Builder::new()
        .name("rllm-signals".to_owned())
        .spawn(move || runtime.block_on(listen))?;
    Ok(())
}
