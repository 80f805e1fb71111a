//! When a worker is lost and found.

use std::time::Duration;

use super::{Change, Event, Health, HealthRules, check_passed};
use proptest::prelude::*;

fn rules(failures: u32) -> HealthRules {
    HealthRules {
        failures,
        timeout: Duration::from_secs(5),
    }
}

fn failed(took: u64) -> Event<'static> {
    Event::Failed {
        error: "status 503",
        took: Duration::from_secs(took),
    }
}

/// Feeds events written as letters (`p`assed, `f`ailed, `r`efused, a `l`ate failure), and gives the
/// health after each: `+` or `-`.
fn run(failures: u32, events: &str) -> String {
    let mut health = Health::default();
    let mut seen = String::new();
    for event in events.chars() {
        let event = match event {
            'p' => Event::Passed,
            'f' => failed(1),
            'r' => Event::Refused,
            'l' => failed(60),
            _ => unreachable!(),
        };
        let before = health.is_healthy();
        let change = health.handle(event, &rules(failures));
        let expected = match (before, health.is_healthy()) {
            (true, false) => Some(Change::BecameUnhealthy),
            (false, true) => Some(Change::Recovered),
            _ => None,
        };
        assert_eq!(change, expected);
        seen.push(if health.is_healthy() { '+' } else { '-' });
    }
    seen
}

#[test]
fn fault_11_a_worker_is_lost_and_found_with_hysteresis() {
    #[track_caller]
    fn check(failures: u32, events: &str, expected: &str) {
        assert_eq!(run(failures, events), expected, "{events} with {failures}");
    }
    check(3, "fff", "++-");
    check(3, "ffpff", "+++++");
    check(3, "fpfpfpfp", "++++++++");
    check(3, "rrr", "++-");
    check(3, "frf", "++-");
    check(3, "fffp", "++--");
    check(3, "fffpp", "++--+");
    check(3, "fffpfpfpp", "++------+");
    check(3, "fffppff", "++--+++");
    check(2, "ffpp", "+--+");
    check(1, "fp", "-+");
    check(1, "fpfp", "-+-+");
    // No failure at all cannot be asked for.
    check(0, "fp", "-+");
}

#[test]
fn fault_15_a_gateway_that_was_frozen_blames_no_worker() {
    // The check that was under way when the gateway was stopped ends a minute late.
    assert_eq!(run(1, "lll"), "+++");
    assert_eq!(run(3, "fflp"), "++++");
    // It does not help a worker either.
    assert_eq!(run(3, "fflf"), "+++-");
    assert_eq!(run(3, "fffplp"), "++---+");
}

#[test]
fn the_latest_error_is_told_until_a_check_passes() {
    let mut health = Health::default();
    health.handle(failed(1), &rules(3));
    assert_eq!(health.last_error(), Some("status 503"));
    health.handle(Event::Refused, &rules(3));
    assert_eq!(health.last_error(), Some("connection refused"));
    health.handle(Event::Passed, &rules(3));
    assert_eq!(health.last_error(), None);
}

#[test]
fn any_status_below_500_is_a_good_answer() {
    for (status, expected) in [
        (200, true),
        (204, true),
        (401, true),
        (404, true),
        (499, true),
    ] {
        assert_eq!(check_passed(status), expected, "{status}");
    }
    assert!(!check_passed(500));
    assert!(!check_passed(503));
}

proptest! {
    #[test]
    fn health_changes_only_after_as_many_results_in_a_row(
        failures in 1_u32..5,
        events in "[pfrl]{0,60}",
    ) {
        let seen = format!("+{}", run(failures, &events));
        // A late failure is as good as none.
        let counted = |upto: usize| -> Vec<char> {
            events.chars().take(upto).filter(|event| *event != 'l').collect()
        };
        for (at, pair) in seen.as_bytes().windows(2).enumerate() {
            let row = |is: fn(char) -> bool| {
                counted(at + 1).iter().rev().take_while(|event| is(**event)).count()
            };
            match pair {
                b"+-" => prop_assert!(row(|event| event != 'p') >= failures as usize),
                b"-+" => prop_assert!(row(|event| event == 'p') >= rules(failures).recoveries() as usize),
                _ => {}
            }
        }
    }
}
