//! How long a server wants a device to wait before it asks again.

use std::time::Duration;

use crate::config::{LONGEST_POLL, SHORTEST_POLL};

/// `HH:mm:ss`, or a duration as of ISO 8601; none where it is neither.
pub(super) fn parse(text: &str) -> Option<Duration> {
    let seconds = match text.strip_prefix('P') {
        Some(rest) => of_iso_8601(rest)?,
        None => of_clock(text)?,
    };
    Some(Duration::from_secs(seconds))
}

/// The pause that is kept: what the server says, or else the `fallback`, within limits.
pub(super) fn pause(said: Option<Duration>, fallback: Duration) -> Duration {
    said.unwrap_or(fallback).clamp(SHORTEST_POLL, LONGEST_POLL)
}

fn of_clock(text: &str) -> Option<u64> {
    let mut parts = text.split(':').map(number);
    let (hours, minutes, seconds) = (parts.next()??, parts.next()??, parts.next()??);
    if parts.next().is_some() || minutes > 59 || seconds > 59 {
        return None;
    }
    hours.checked_mul(3600)?.checked_add(minutes * 60 + seconds)
}

/// What follows the `P`: days, then behind a `T` hours, minutes and seconds, each at most once. The
/// units that have no fixed length are not known, as in Java's own durations.
fn of_iso_8601(text: &str) -> Option<u64> {
    let (days, time) = text.split_once('T').map_or((text, None), |(days, time)| (days, Some(time)));
    if time.is_some_and(str::is_empty) || text.is_empty() {
        return None;
    }
    let (day, rest) = unit(days, 'D', 86_400)?;
    let (hour, time) = unit(time.unwrap_or_default(), 'H', 3600)?;
    let (minute, time) = unit(time, 'M', 60)?;
    let (second, end) = seconds(time)?;
    if !rest.is_empty() || !end.is_empty() {
        return None;
    }
    day.checked_add(hour)?.checked_add(minute)?.checked_add(second)
}

/// The number before a unit, in seconds, and what follows; 0 where the unit is absent.
fn unit(text: &str, unit: char, seconds: u64) -> Option<(u64, &str)> {
    match text.split_once(unit) {
        None => Some((0, text)),
        Some((count, rest)) => Some((number(count)?.checked_mul(seconds)?, rest)),
    }
}

/// The same for seconds, whose fraction is passed over.
fn seconds(text: &str) -> Option<(u64, &str)> {
    let Some((count, rest)) = text.split_once('S') else { return Some((0, text)) };
    let (whole, fraction) = count.split_once('.').unwrap_or((count, "0"));
    number(fraction)?;
    Some((number(whole)?, rest))
}

fn number(text: &str) -> Option<u64> {
    // `parse` alone would take a sign.
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    /// HB-1.
    #[test]
    fn both_notations_are_read() {
        for (text, seconds) in [
            ("00:05:00", 300),
            ("00:00:10", 10),
            ("23:59:59", 86_399),
            ("0:0:0", 0),
            ("48:00:00", 172_800),
            ("PT36H", 129_600),
            ("PT30S", 30),
            ("PT1H1M1S", 3661),
            ("PT1M0.5S", 60),
            ("P1D", 86_400),
            ("P1DT1H", 90_000),
            ("P365D", 31_536_000),
            ("PT0S", 0),
        ] {
            assert_eq!(parse(text), Some(Duration::from_secs(seconds)), "{text}");
        }
    }

    /// HB-1.
    #[test]
    fn anything_else_is_no_pause() {
        for text in [
            "",
            "5",
            "05:00",
            "00:60:00",
            "00:00:60",
            "1:2:3:4",
            "-1:00:00",
            "+1:00:00",
            "00:00: 5",
            "P",
            "PT",
            "P1",
            "PT5",
            "P1M",
            "P1Y",
            "PT-5S",
            "PT1S1M",
            "PT1H1H",
            "P1DT",
            "pt5s",
            "PT1.S",
            "PT1.xS",
            "PTS",
            "٠٠:٠٥:٠٠",
            "99999999999999999999:00:00",
            "9999999999999999999:00:00",
            "P18446744073709551615D",
            "PT18446744073709551615H",
            "P200000000000000DT18446744073709551615S",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    /// HB-1: a pause of 0 or of a year.
    #[test]
    fn a_pause_has_limits_and_a_fallback() {
        let seconds = Duration::from_secs;
        for (said, fallback, kept) in [
            (Some(0), 300, 5),
            (Some(4), 300, 5),
            (Some(5), 300, 5),
            (Some(90), 300, 90),
            (Some(31_536_000), 300, 86_400),
            (Some(u64::MAX), 300, 86_400),
            (None, 300, 300),
            (None, 1, 5),
        ] {
            assert_eq!(pause(said.map(seconds), seconds(fallback)), seconds(kept), "{said:?}");
        }
    }
}
