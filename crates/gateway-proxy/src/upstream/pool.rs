//! Idle connections, kept for the next call to the same place.

use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use gateway_route::BaseUrl;

use super::conn::Conn;

/// Idle connections kept for one upstream; more are closed.
const MAX_IDLE: usize = 256;

/// Where a connection leads: scheme and authority.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PoolKey(String);

impl PoolKey {
    pub(crate) fn of(base: &BaseUrl) -> Self {
        let scheme = if base.tls() { "https://" } else { "http://" };
        Self(format!("{scheme}{}", base.authority()))
    }
}

/// The idle connections of all upstreams, the most recently used first.
pub(crate) struct Pool {
    idle_timeout: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    idle: HashMap<PoolKey, Vec<(Instant, Conn)>>,
    /// Whether the task that closes what has expired is running.
    swept: bool,
}

impl Pool {
    pub(crate) fn new(idle_timeout: Duration) -> Arc<Self> {
        Arc::new(Self {
            idle_timeout,
            state: Mutex::default(),
        })
    }

    /// An idle connection that is still open, if there is one.
    pub(crate) async fn take(&self, key: &PoolKey) -> Option<Conn> {
        loop {
            let (since, mut conn) = self.lock().idle.get_mut(key)?.pop()?;
            if since.elapsed() >= self.idle_timeout {
                // The others have idled longer.
                self.lock().idle.remove(key);
                return None;
            }
            let open = poll_fn(|cx| Poll::Ready(conn.is_open(cx))).await;
            if open {
                return Some(conn);
            }
        }
    }

    /// Keeps a connection whose last reply has ended.
    pub(crate) fn put(self: &Arc<Self>, key: &PoolKey, conn: Conn) {
        let mut state = self.lock();
        let entry = (Instant::now(), conn);
        match state.idle.get_mut(key) {
            Some(idle) if idle.len() >= MAX_IDLE => return,
            Some(idle) => idle.push(entry),
            None => {
                state.idle.insert(key.clone(), vec![entry]);
            }
        }
        if !state.swept {
            state.swept = true;
            tokio::spawn(sweep(Arc::clone(self)));
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code panics while it holds this lock; a list of connections cannot be left half-made.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Closes what has idled too long, until nothing idles.
async fn sweep(pool: Arc<Pool>) {
    loop {
        tokio::time::sleep(pool.idle_timeout).await;
        let mut state = pool.lock();
        let timeout = pool.idle_timeout;
        state.idle.retain(|_, idle| {
            idle.retain(|(since, _)| since.elapsed() < timeout);
            !idle.is_empty()
        });
        if state.idle.is_empty() {
            state.swept = false;
            return;
        }
    }
}
