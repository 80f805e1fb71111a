//! Health checks: each worker's health path is asked at intervals, and what comes of it is
//! reported to the pool, which decides.

use std::sync::Arc;
use std::time::Duration;

use gateway_proxy::Connector;
use gateway_route::{Change, Event, check_passed};
use gateway_state::{HealthSettings, Probe, State};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};

/// Checks the workers of `state` for ever. A round is over when every check of it is, so that
/// checks of one worker never overlap.
pub(crate) async fn check_workers(state: Arc<State>) {
    let connector = Arc::new(Connector::new(Arc::clone(&state)));
    let mut interval = state.live().health.interval;
    let mut rounds = ticks(interval);
    loop {
        rounds.tick().await;
        let live = state.live();
        let mut round = JoinSet::new();
        for probe in state.workers().probes() {
            let connector = Arc::clone(&connector);
            let state = Arc::clone(&state);
            let settings = live.health.clone();
            round.spawn(async move { check(&connector, &state, &probe, &settings).await });
        }
        round.join_all().await;
        if interval != live.health.interval {
            interval = live.health.interval;
            rounds = ticks(interval);
        }
    }
}

fn ticks(interval: Duration) -> tokio::time::Interval {
    let mut rounds = tokio::time::interval(interval);
    // After a pause of the whole machine one round is enough.
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    rounds
}

/// Checks one worker and reports what was seen.
async fn check(connector: &Connector, state: &State, probe: &Probe, settings: &HealthSettings) {
    let start = Instant::now();
    let ask = connector.status(&probe.url, &settings.path);
    let problem = match tokio::time::timeout(settings.rules.timeout, ask).await {
        Ok(Ok(status)) if check_passed(status) => None,
        Ok(Ok(status)) => Some(format!("its health path answered {status}")),
        Ok(Err(problem)) => Some(problem),
        Err(_elapsed) => Some("its health path did not answer in time".to_owned()),
    };
    let event = match &problem {
        None => Event::Passed,
        Some(error) => Event::Failed {
            error,
            took: start.elapsed(),
        },
    };
    let worker = &probe.worker_id;
    match state.workers().report(worker, event, &settings.rules) {
        Some(Change::BecameUnhealthy) => {
            let problem = problem.unwrap_or_default();
            tracing::warn!(worker, url = %probe.url, "worker is unhealthy: {problem}");
        }
        Some(Change::Recovered) => {
            tracing::info!(worker, url = %probe.url, "worker is healthy again");
        }
        None => {}
    }
}

#[cfg(test)]
mod tests;
