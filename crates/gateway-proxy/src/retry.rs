//! What is sent to an upstream again, and when: the rules, without clock or chance of their own.
//!
//! What surely was not processed is safe to send again (RFC 9110 §9.2.2); what may have been is
//! sent again only where the operator says so (`retry.unsafe`). All of it ends with the first byte
//! that goes to the client.

use std::time::{Duration, SystemTime};

use gateway_state::Retry;
use http::{HeaderMap, header};

use crate::upstream::FailureKind;

/// The longest wait after the first attempt; it doubles with each further one.
const FIRST_BACKOFF: Duration = Duration::from_millis(500);

/// What an attempt came to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Attempted<'a> {
    Failed(FailureKind),
    /// The status and the headers of a reply.
    Answered(u16, &'a HeaderMap),
}

/// What follows an attempt that did not go well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Nothing: what it came to is the call's answer.
    Stop,
    /// The same at once, on a fresh connection.
    Fresh,
    /// Another attempt.
    Again {
        /// How long to wait before it.
        wait: Duration,
        /// Nothing was sent, so that it need not wait where it goes elsewhere.
        unsent: bool,
    },
}

/// Whether a call may be sent again after what an attempt came to.
pub(crate) fn is_safe(rules: &Retry, attempted: Attempted<'_>) -> bool {
    match attempted {
        Attempted::Failed(kind) => match kind {
            FailureKind::Unreachable
            | FailureKind::ConnectTimeout
            | FailureKind::StaleConnection => true,
            FailureKind::Reset | FailureKind::Protocol | FailureKind::Timeout => rules.even_unsafe,
        },
        Attempted::Answered(status, _) => {
            rules.statuses.contains(&status) || (rules.even_unsafe && matches!(status, 502 | 504))
        }
    }
}

/// The attempts of one call so far.
#[derive(Debug, Default)]
pub(crate) struct Attempts {
    /// Those that count against the limit.
    made: u32,
    /// A connection that was kept for the next call turned out to be closed. That costs the call
    /// none of its attempts, and happens to it once: from then on connections are fresh.
    pub(crate) stale: bool,
}

impl Attempts {
    /// Whether there has been one.
    pub(crate) fn any(&self) -> bool {
        self.made > 0 || self.stale
    }

    /// What follows an attempt after which it [is safe](is_safe) to go on. `limit` is how many may
    /// be made, `random` lies in 0..1.
    pub(crate) fn next(
        &mut self,
        attempted: Attempted<'_>,
        limit: u32,
        max_backoff: Duration,
        now: SystemTime,
        random: f64,
    ) -> Next {
        if matches!(attempted, Attempted::Failed(FailureKind::StaleConnection))
            && !std::mem::replace(&mut self.stale, true)
        {
            return Next::Fresh;
        }
        self.made += 1;
        if self.made >= limit {
            return Next::Stop;
        }
        let (asked, unsent) = match attempted {
            Attempted::Answered(_, headers) => (retry_after(headers, now), false),
            Attempted::Failed(kind) => (
                None,
                matches!(kind, FailureKind::Unreachable | FailureKind::ConnectTimeout),
            ),
        };
        match asked {
            Some(asked) if asked > max_backoff => Next::Stop,
            asked => Next::Again {
                wait: asked.unwrap_or_else(|| backoff(self.made, max_backoff, random)),
                unsent,
            },
        }
    }
}

/// Exponential backoff with full jitter, so that calls that failed together do not come back
/// together.
fn backoff(made: u32, most: Duration, random: f64) -> Duration {
    let doubled = 2_u32.checked_pow(made - 1);
    let window = doubled
        .and_then(|factor| FIRST_BACKOFF.checked_mul(factor))
        .map_or(most, |window| window.min(most));
    window.mul_f64(random)
}

/// How long an upstream asks to be left alone: the longer of `Retry-After`, in seconds or as a date
/// (RFC 9110 §10.2.3), and of some providers' `retry-after-ms`. What cannot be read is not there.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let millis = text("retry-after-ms").and_then(|text| number(text, 1e-3));
    let standard = text(header::RETRY_AFTER.as_str()).and_then(|text| {
        number(text, 1.0).or_else(|| {
            let date = httpdate::parse_http_date(text.trim()).ok()?;
            Some(date.duration_since(now).unwrap_or_default())
        })
    });
    millis.max(standard)
}

/// A plain number of units of so many seconds; what is too long for a clock is as long as can be.
fn number(text: &str, unit: f64) -> Option<Duration> {
    let text = text.trim();
    let plain = text
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.');
    let number: f64 = text.parse().ok().filter(|_| plain)?;
    Some(Duration::try_from_secs_f64(number * unit).unwrap_or(Duration::MAX))
}

#[cfg(test)]
mod tests;
