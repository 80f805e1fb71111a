//! The places for requests under way: how many there are, and when the last one is free.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use gateway_state::Passed;
use tokio::sync::Notify;

/// Counts the requests of the data plane that are under way.
#[derive(Clone, Default)]
pub(crate) struct Places(Arc<Shared>);

#[derive(Default)]
struct Shared {
    taken: AtomicUsize,
    all_free: Notify,
}

impl Places {
    /// Takes a place, if fewer than `most` are taken.
    pub(crate) fn take(&self, most: usize) -> Option<Place> {
        // Dropped at once, it gives back the one too many.
        let place = Place {
            places: self.clone(),
            passed: None,
        };
        (self.0.taken.fetch_add(1, Ordering::AcqRel) < most).then_some(place)
    }

    pub(crate) fn taken(&self) -> usize {
        self.0.taken.load(Ordering::Acquire)
    }

    /// Waits until no place is taken. Cancel-safe.
    pub(crate) async fn all_free(&self) {
        loop {
            let freed = self.0.all_free.notified();
            if self.taken() == 0 {
                return;
            }
            freed.await;
        }
    }
}

/// One taken place, kept until the reply has ended; dropping it frees it.
pub(crate) struct Place {
    places: Places,
    /// Of a call that is past the pause gate.
    pub(crate) passed: Option<Passed>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let shared = &self.places.0;
        if shared.taken.fetch_sub(1, Ordering::AcqRel) == 1 {
            shared.all_free.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn places_are_counted_and_freed() {
        let places = Places::default();
        let first = places.take(2);
        let second = places.take(2);
        assert!(first.is_some() && second.is_some() && places.take(2).is_none());
        assert_eq!(places.taken(), 2);
        let waiting = tokio::spawn({
            let places = places.clone();
            async move { places.all_free().await }
        });
        tokio::task::yield_now().await;
        drop((first, second));
        waiting.await.unwrap();
        assert_eq!(places.taken(), 0);
    }
}
