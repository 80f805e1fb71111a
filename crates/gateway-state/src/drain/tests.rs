//! Everyone hears of the drain.

use std::sync::Arc;

use super::Drain;

#[tokio::test]
async fn everyone_hears_of_the_drain_before_and_after() {
    let drain = Arc::new(Drain::default());
    assert!(!drain.begun());
    let waiting: Vec<_> = (0..3)
        .map(|_| {
            let drain = Arc::clone(&drain);
            tokio::spawn(async move { drain.wait().await })
        })
        .collect();
    tokio::task::yield_now().await;
    assert!(waiting.iter().all(|task| !task.is_finished()));
    drain.begin();
    drain.begin();
    for task in waiting {
        task.await.unwrap();
    }
    assert!(drain.begun());
    drain.wait().await;
}
