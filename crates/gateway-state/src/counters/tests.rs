//! What is counted, under which names, and within which bounds.

use std::time::Duration;

use gateway_route::BaseUrl;

use super::{BUCKETS, CallEnd, Counters};
use crate::{Code, Upstream, UpstreamKind};

fn upstream(kind: UpstreamKind, name: &str) -> Upstream {
    let base = BaseUrl::parse("http://127.0.0.1:1").unwrap();
    Upstream::new(kind, name, base, None)
}

#[test]
fn refusals_are_told_apart() {
    let counters = Counters::default();
    counters.refuse(Code::NoRoute);
    counters.refuse(Code::UpstreamTimeout);
    counters.refuse(Code::NoRoute);
    let seen: Vec<_> = counters
        .refusals()
        .filter(|(_, count)| *count > 0)
        .collect();
    assert_eq!(seen, [(Code::NoRoute, 2), (Code::UpstreamTimeout, 1)]);
    assert_eq!(counters.refusals().count(), Code::ALL.len());
}

#[test]
fn calls_are_counted_by_upstream_model_outcome_and_status() {
    let counters = Counters::default();
    let worker = upstream(UpstreamKind::Worker, "a");
    let route = upstream(UpstreamKind::Route, "a");
    let end = CallEnd {
        outcome: 1,
        status: Some(599),
        latency: Duration::from_millis(1500),
        first_byte: Some(Duration::from_millis(10)),
        prompt_tokens: 3,
        completion_tokens: 4,
        request_bytes: 5,
        reply_bytes: 6,
    };
    counters.attempt(&worker, Some("m"), false);
    counters.attempt(&worker, Some("m"), true);
    counters.end_call(Some(&worker), Some("m"), &end);
    counters.end_call(Some(&worker), Some("m"), &end);
    for status in [None, Some(100), Some(99), Some(600)] {
        let end = CallEnd {
            status,
            ..CallEnd::default()
        };
        counters.end_call(Some(&route), Some("m"), &end);
    }
    counters.end_call(None, Some(""), &CallEnd::default());

    let calls = counters.calls();
    let names: Vec<_> = calls
        .iter()
        .map(|series| (series.kind, &*series.upstream, &*series.model))
        .collect();
    assert_eq!(
        names,
        [
            (None, "none", "none"),
            (Some(UpstreamKind::Route), "a", "m"),
            (Some(UpstreamKind::Worker), "a", "m"),
        ]
    );
    let ended: Vec<Vec<_>> = calls.iter().map(|each| each.ended().collect()).collect();
    assert_eq!(ended[0], [(0, None, 1)]);
    assert_eq!(ended[1], [(0, None, 3), (0, Some(100), 1)]);
    assert_eq!(ended[2], [(1, Some(599), 2)]);
    let worker = &calls[2];
    assert_eq!(worker.attempts(), (2, 1));
    assert_eq!(worker.tokens(), (6, 8));
    assert_eq!(worker.bytes(), (10, 12));
    assert_eq!(worker.latency().sum(), 3.0);
    assert_eq!(worker.first_byte().counts()[0], 2);
    let over_a_second = BUCKETS.iter().position(|bound| *bound == 2.5).unwrap();
    assert_eq!(worker.latency().counts()[over_a_second], 2);
    assert_eq!(worker.latency().counts().iter().sum::<u64>(), 2);
}

#[test]
fn what_is_over_the_last_bound_is_counted_too() {
    let counters = Counters::default();
    let end = CallEnd {
        latency: Duration::from_secs(601),
        ..CallEnd::default()
    };
    counters.end_call(None, None, &end);
    let calls = counters.calls();
    assert_eq!(calls[0].latency().counts()[BUCKETS.len()], 1);
    assert_eq!(calls[0].first_byte().counts(), [0; BUCKETS.len() + 1]);
}

/// Clients choose the names of models, and may register workers: neither may fill the memory.
#[test]
fn names_are_bounded_and_none_is_lost() {
    let counters = Counters::default();
    for model in 0..100 {
        let model = format!("model-{model}");
        counters.end_call(None, Some(&model), &CallEnd::default());
        counters.end_call(None, Some(&model), &CallEnd::default());
    }
    counters.end_call(None, Some(&"long".repeat(100)), &CallEnd::default());
    for worker in 0..200 {
        let worker = upstream(UpstreamKind::Worker, &worker.to_string());
        counters.end_call(Some(&worker), Some("m"), &CallEnd::default());
    }
    let calls = counters.calls();
    assert_eq!(calls.len(), 32 + 1 + 128 + 1);
    let count = |upstream: &str, model: &str| {
        let found = calls
            .iter()
            .find(|each| &*each.upstream == upstream && &*each.model == model);
        found.unwrap().ended().map(|(.., count)| count).sum::<u64>()
    };
    assert_eq!(count("none", "model-31"), 2);
    assert_eq!(count("none", "other"), 68 * 2 + 1);
    assert_eq!(count("127", "m"), 1);
    assert_eq!(count("other", "m"), 72);
}
