//! Times: UNIX seconds on the wire, words and ISO 8601 for people, always UTC.

const DAY: i64 = 86_400;

/// The time that a person means by `text`: so long ago (`90s`, `10m`, `2h`, `3d`), a date and time
/// (`2026-11-20`, `2026-11-20T10:00`, `2026-11-20T10:00:00.5+02:00`; UTC where no zone is given),
/// or UNIX seconds. `None` for all else.
pub(crate) fn read(text: &str, now: f64) -> Option<f64> {
    if let Ok(seconds) = text.parse::<f64>() {
        return seconds.is_finite().then_some(seconds);
    }
    ago(text)
        .map(|seconds| now - seconds)
        .or_else(|| date(text))
}

fn ago(text: &str) -> Option<f64> {
    let (unit, seconds) = [("s", 1), ("m", 60), ("h", 3600), ("d", DAY)]
        .into_iter()
        .find(|(unit, _)| text.ends_with(unit))?;
    let count = text.strip_suffix(unit)?;
    let count: u32 = count.parse().ok()?;
    Some((i64::from(count) * seconds) as f64)
}

fn date(text: &str) -> Option<f64> {
    let (day, time) = match text.split_once(['T', ' ']) {
        Some((day, time)) => (day, time),
        None => (text, "00:00"),
    };
    let mut parts = day.splitn(3, '-');
    let (year, month, day) = (
        digits(parts.next()?, 4)?,
        digits(parts.next()?, 2)?,
        digits(parts.next()?, 2)?,
    );
    let start = days(year, month, day).filter(|days| civil(*days) == (year, month, day))?;
    let (time, zone) = match time.find(['Z', '+', '-']) {
        Some(at) => time.split_at(at),
        None => (time, "Z"),
    };
    let mut parts = time.splitn(3, ':');
    let hours = digits(parts.next()?, 2).filter(|hours| *hours < 24)?;
    let minutes = digits(parts.next()?, 2).filter(|minutes| *minutes < 60)?;
    let seconds = match parts.next() {
        None => 0.0,
        Some(text) => {
            digits(text.get(..2)?, 2)?;
            text.parse::<f64>().ok().filter(|seconds| *seconds < 61.0)?
        }
    };
    let offset = match zone {
        "Z" => 0,
        zone => {
            let (hours, minutes) = zone.get(1..)?.split_once(':')?;
            let minutes = 60 * digits(hours, 2)? + digits(minutes, 2)?;
            if zone.starts_with('-') {
                -minutes
            } else {
                minutes
            }
        }
    };
    Some((start * DAY + hours * 3600 + (minutes - offset) * 60) as f64 + seconds)
}

/// A number of just so many digits.
fn digits(text: &str, count: usize) -> Option<i64> {
    let right = text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| right)
}

/// The days from the first of 1970 to this day of the Gregorian calendar. Years are counted from
/// March, so that a leap day is the last one of its year.
fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let year = if month < 3 { year - 1 } else { year };
    let month = (month + 9) % 12;
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    Some(365 * year + year / 4 - year / 100 + year / 400 + day_of_year - 719_468)
}

/// Year, month and day of a day since the first of 1970.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, days) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (days - days / 1460 + days / 36_524 - days / 146_096) / 365;
    let day_of_year = days - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let year = era * 400 + year + i64::from(month >= 10);
    (year, (month + 2) % 12 + 1, day)
}

/// `2026-11-20T10:32:07Z`
pub(crate) fn iso(time: f64) -> String {
    let seconds = time.floor() as i64;
    let (year, month, day) = civil(seconds.div_euclid(DAY));
    format!("{year:04}-{month:02}-{day:02}T{}Z", clock(time))
}

/// `10:32:07`
pub(crate) fn clock(time: f64) -> String {
    let seconds = (time.floor() as i64).rem_euclid(DAY);
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    format!("{hours:02}:{minutes:02}:{:02}", seconds % 60)
}

/// How long ago a time is, in its largest unit; its date if that is over 30 days.
pub(crate) fn since(time: f64, now: f64) -> String {
    let seconds = (now - time).floor() as i64;
    match seconds {
        ..1 => "now".to_owned(),
        1..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..DAY => format!("{}h", seconds / 3600),
        _ if seconds <= 30 * DAY => format!("{}d", seconds / DAY),
        _ => iso(time)[..10].to_owned(),
    }
}

/// A duration: `834ms`, `12.3s`, `4m02s`.
pub(crate) fn lasted(ms: f64) -> String {
    let seconds = ms / 1000.0;
    if ms < 999.5 {
        format!("{ms:.0}ms")
    } else if seconds < 99.95 {
        format!("{seconds:.1}s")
    } else {
        let seconds = seconds.round() as i64;
        format!("{}m{:02}s", seconds / 60, seconds % 60)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_people_write_is_read() {
        let now = 1_800_000_000.0;
        for (text, expected) in [
            ("90s", Some(now - 90.0)),
            ("10m", Some(now - 600.0)),
            ("2h", Some(now - 7200.0)),
            ("3d", Some(now - 259_200.0)),
            ("0", Some(0.0)),
            ("1763977712.25", Some(1_763_977_712.25)),
            ("1970-01-01", Some(0.0)),
            ("2000-02-29", Some(951_782_400.0)),
            ("2026-11-20T10:32:07Z", Some(1_795_170_727.0)),
            ("2026-11-20 10:32", Some(1_795_170_720.0)),
            ("2026-11-20T12:32:07.5+02:00", Some(1_795_170_727.5)),
            ("2026-11-20T08:02:07-02:30", Some(1_795_170_727.0)),
            ("1900-02-29", None),
            ("2026-13-01", None),
            ("2026-00-01", None),
            ("2026-02-30", None),
            ("2026-1-1", None),
            ("2026-11-20T24:00", None),
            ("2026-11-20T10", None),
            ("2026-11-20T10:00:61", None),
            ("2026-11-20T10:00:-1", None),
            ("2026-11-20T10:00+2", None),
            ("m", None),
            ("-5m", None),
            ("5w", None),
            ("inf", None),
            ("", None),
            ("yesterday", None),
            ("é-11-20", None),
        ] {
            assert_eq!(read(text, now), expected, "{text}");
        }
    }

    #[test]
    fn times_and_durations_for_people() {
        assert_eq!(iso(1_795_170_727.9), "2026-11-20T10:32:07Z");
        assert_eq!(iso(-1.0), "1969-12-31T23:59:59Z");
        assert_eq!(clock(1_795_170_727.9), "10:32:07");
        let now = 1_795_170_727.0;
        for (ago, expected) in [
            (-5.0, "now"),
            (0.5, "now"),
            (59.9, "59s"),
            (60.0, "1m"),
            (7199.0, "1h"),
            (86_400.0, "1d"),
            (30.0 * 86_400.0, "30d"),
            (31.0 * 86_400.0, "2026-10-20"),
        ] {
            assert_eq!(since(now - ago, now), expected, "{ago}");
        }
        for (ms, expected) in [
            (0.0, "0ms"),
            (999.4, "999ms"),
            (999.6, "1.0s"),
            (12_345.0, "12.3s"),
            (99_949.0, "99.9s"),
            (99_951.0, "1m40s"),
            (3_600_000.0, "60m00s"),
        ] {
            assert_eq!(lasted(ms), expected, "{ms}");
        }
    }

    proptest! {
        #[test]
        fn dates_go_there_and_back(seconds in -62_000_000_000_i64..250_000_000_000) {
            let shown = iso(seconds as f64);
            prop_assert_eq!(read(&shown, 0.0), Some(seconds as f64), "{}", shown);
        }

        #[test]
        fn no_text_is_a_panic(text in any::<String>()) {
            read(&text, 0.0);
        }
    }
}
