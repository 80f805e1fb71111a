//! What is sent again, how often, and after which wait.

use std::time::UNIX_EPOCH;

use http::HeaderValue;
use proptest::prelude::*;

use super::*;

const MINUTE: Duration = Duration::from_secs(60);

fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
    let line = |(name, value): &(&'static str, &str)| {
        let name = http::HeaderName::from_static(name);
        (name, HeaderValue::from_str(value).unwrap())
    };
    lines.iter().map(line).collect()
}

#[test]
fn what_surely_was_not_processed_is_safe_and_the_rest_only_if_told_so() {
    use FailureKind::*;
    let rules = |even_unsafe| Retry {
        even_unsafe,
        ..Retry::default()
    };
    let none = HeaderMap::new();
    let check = |attempted, by_default, if_unsafe| {
        assert_eq!(
            is_safe(&rules(false), attempted),
            by_default,
            "{attempted:?}"
        );
        assert_eq!(is_safe(&rules(true), attempted), if_unsafe, "{attempted:?}");
    };
    for kind in [Unreachable, ConnectTimeout, StaleConnection] {
        check(Attempted::Failed(kind), true, true);
    }
    for kind in [Reset, Protocol, Timeout] {
        check(Attempted::Failed(kind), false, true);
    }
    for (status, by_default, if_unsafe) in [
        (200, false, false),
        (400, false, false),
        (401, false, false),
        (408, true, true),
        (409, false, false),
        (429, true, true),
        (500, false, false),
        (502, false, true),
        (503, true, true),
        (504, false, true),
        (529, true, true),
    ] {
        check(Attempted::Answered(status, &none), by_default, if_unsafe);
    }
    let own = Retry {
        statuses: vec![500],
        ..Retry::default()
    };
    assert!(is_safe(&own, Attempted::Answered(500, &none)));
    assert!(!is_safe(&own, Attempted::Answered(429, &none)));
}

/// What follows each of these attempts, with the longest backoff (`random` close to 1 would be).
fn follow(limit: u32, attempts: &[Attempted<'_>]) -> Vec<Next> {
    let mut made = Attempts::default();
    attempts
        .iter()
        .map(|attempted| made.next(*attempted, limit, MINUTE, UNIX_EPOCH, 1.0))
        .collect()
}

#[test]
fn attempts_end_at_their_limit_and_a_stale_connection_costs_none() {
    use FailureKind::*;
    let none = HeaderMap::new();
    let again = |ms, unsent| Next::Again {
        wait: Duration::from_millis(ms),
        unsent,
    };
    let (after, elsewhere) = (|ms| again(ms, false), |ms| again(ms, true));
    let (stale, refused) = (
        Attempted::Failed(StaleConnection),
        Attempted::Failed(Unreachable),
    );
    let busy = Attempted::Answered(429, &none);

    assert_eq!(follow(1, &[busy]), [Next::Stop]);
    assert_eq!(follow(2, &[busy, busy]), [after(500), Next::Stop]);
    assert_eq!(
        follow(4, &[refused, busy, refused, busy]),
        [elsewhere(500), after(1000), elsewhere(2000), Next::Stop]
    );
    assert_eq!(follow(1, &[stale, busy]), [Next::Fresh, Next::Stop]);
    assert_eq!(
        follow(2, &[stale, refused, busy]),
        [Next::Fresh, elsewhere(500), Next::Stop]
    );
    // No fresh connection is stale; if one were, that would end, too.
    assert_eq!(follow(2, &[stale, stale, stale])[2], Next::Stop);
    // Where something was sent, a wait it is, whoever gets it next.
    let timeout = Attempted::Failed(Timeout);
    assert_eq!(follow(2, &[timeout]), [after(500)]);
    let timeout = Attempted::Failed(ConnectTimeout);
    assert_eq!(follow(2, &[timeout]), [elsewhere(500)]);
}

#[test]
fn retry_after_is_waited_for_up_to_the_limit() {
    let now = UNIX_EPOCH + Duration::from_secs(784_111_777);
    let check = |lines: &[(&'static str, &str)], expected: Next| {
        let headers = headers(lines);
        let busy = Attempted::Answered(429, &headers);
        let next = Attempts::default().next(busy, 2, MINUTE, now, 0.5);
        assert_eq!(next, expected, "{lines:?}");
    };
    let seconds = |seconds| Next::Again {
        wait: Duration::from_secs_f64(seconds),
        unsent: false,
    };
    let backoff = seconds(0.25);
    let at = |value| [("retry-after", value)];
    check(&[], backoff);
    check(&at("0"), seconds(0.0));
    check(&at(" 7 "), seconds(7.0));
    check(&at("1.5"), seconds(1.5));
    check(&at("60"), seconds(60.0));
    check(&at("61"), Next::Stop);
    check(&at("99999999999999999999999"), Next::Stop);
    // The three forms of a date; one that is over asks for nothing.
    check(&at("Sun, 06 Nov 1994 08:49:47 GMT"), seconds(10.0));
    check(&at("Sunday, 06-Nov-94 08:49:47 GMT"), seconds(10.0));
    check(&at("Sun Nov  6 08:49:47 1994"), seconds(10.0));
    check(&at("Sun, 06 Nov 1994 08:49:30 GMT"), seconds(0.0));
    check(&at("Sun, 06 Nov 2044 08:49:47 GMT"), Next::Stop);
    // What cannot be read is not there.
    for odd in ["", "-1", "+1", "soon", "1e1", "inf", "NaN", ".", "1.2.3"] {
        check(&at(odd), backoff);
    }
    check(&[("retry-after-ms", "250")], seconds(0.25));
    check(&[("retry-after-ms", "60001")], Next::Stop);
    // The longer one counts.
    let both = |millis, whole| [("retry-after-ms", millis), ("retry-after", whole)];
    check(&both("250", "1"), seconds(1.0));
    check(&both("1250", "1"), seconds(1.25));
    check(&both("5", "61"), Next::Stop);
    check(&both("x", "9"), seconds(9.0));
    check(&both("9", "x"), seconds(0.009));
}

proptest! {
    #[test]
    fn backoff_stays_in_a_window_that_doubles(
        made in 1_u32..200,
        most in 0_u64..100_000,
        random in 0.0..1.0_f64,
    ) {
        let most = Duration::from_millis(most);
        let wait = backoff(made, most, random);
        let window = 0.5 * 2_f64.powi(i32::try_from(made).unwrap() - 1);
        prop_assert!(wait <= most);
        prop_assert!(wait.as_secs_f64() <= window);
        prop_assert_eq!(backoff(made, most, 0.0), Duration::ZERO);
        prop_assert!(backoff(made + 1, most, random) >= wait);
    }

    #[test]
    fn no_header_is_a_panic(value in "[ -~]{0,40}") {
        let _ = retry_after(&headers(&[("retry-after", &value)]), UNIX_EPOCH);
        let _ = retry_after(&headers(&[("retry-after-ms", &value)]), UNIX_EPOCH);
    }
}
