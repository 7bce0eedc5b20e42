//! Time spans as systemd prints them: `1min 30s`, `1.500s`, `infinity` (systemd.time(7)). Pure.

use std::time::Duration;

const SECOND: u64 = 1_000_000;
const DAY: u64 = 24 * 60 * 60 * SECOND;
/// Units, in microseconds.
const UNITS: [(&str, u64); 10] = [
    ("us", 1),
    ("ms", 1_000),
    ("s", SECOND),
    ("min", 60 * SECOND),
    ("h", 60 * 60 * SECOND),
    ("d", DAY),
    ("w", 7 * DAY),
    ("month", 2_629_800 * SECOND),
    ("y", 31_557_600 * SECOND),
    ("", 1),
];

/// The span; `Duration::MAX` where it has no end. None where it is no span.
pub(super) fn parse(text: &str) -> Option<Duration> {
    if text == "infinity" {
        return Some(Duration::MAX);
    }
    let mut words = text.split_whitespace().peekable();
    words.peek()?;
    words.map(word).try_fold(Duration::ZERO, |sum, span| sum.checked_add(span?))
}

fn word(word: &str) -> Option<Duration> {
    let end = word.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(word.len());
    let (number, unit) = word.split_at(end);
    let (_, microseconds) = UNITS.iter().find(|(name, _)| *name == unit)?;
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let of_part: u64 =
        if part.is_empty() { 0 } else { part.parse::<u64>().ok()?.checked_mul(*microseconds)? };
    let of_part = of_part / 10_u64.checked_pow(u32::try_from(part.len()).ok()?)?;
    Some(Duration::from_micros(
        whole.parse::<u64>().ok()?.checked_mul(*microseconds)?.checked_add(of_part)?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_as_systemd_prints_them() {
        for (text, milliseconds) in [
            ("0", 0),
            ("1min 30s", 90_000),
            ("500ms", 500),
            ("1.500s", 1_500),
            ("2h 1min 3.250s", 7_263_250),
            ("1d", 86_400_000),
            ("7us", 0),
        ] {
            assert_eq!(parse(text).map(|span| span.as_millis()), Some(milliseconds), "{text}");
        }
        assert_eq!(parse("infinity"), Some(Duration::MAX));
        for text in [
            "",
            "s",
            "1 parsec",
            "1.s.s",
            "99999999999999999999s",
            "18446744073709551615y",
            "-1s",
            "1.99999999999999999999s",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
