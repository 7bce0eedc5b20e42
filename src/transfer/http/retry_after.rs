//! How long a server wants to be left alone.

use std::time::Duration;

use ureq::http::HeaderMap;
use ureq::http::header::{DATE, HeaderName, RETRY_AFTER};

/// Longest time that a date stands for: two clocks are compared, and one of them may be wrong.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// What `Retry-After` says (RFC 9110, 10.2.3): seconds, or a date. A date is compared with that of
/// the answer itself, because a payload's clock may stand in 1970. Only where the answer has none it
/// is `now`, by this machine's clock since 1970; then what is further away than a day says
/// more of that clock than of the server.
pub(super) fn retry_after(headers: &HeaderMap, now: Option<Duration>) -> Option<Duration> {
    let text = text(headers, RETRY_AFTER)?;
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok().map(Duration::from_secs);
    }
    let date = since_1970(text)?;
    match self::text(headers, DATE).and_then(since_1970) {
        Some(sent) => Some(date.saturating_sub(sent).min(LONGEST)),
        None => Some(date.saturating_sub(now?)).filter(|wait| *wait <= LONGEST),
    }
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok().map(str::trim).filter(|text| !text.is_empty())
}

/// A date in the one form that is sent today, `Sun, 06 Nov 1994 08:49:37 GMT`.
fn since_1970(text: &str) -> Option<Duration> {
    let (_, text) = text.split_once(", ")?;
    let mut parts = text.split(' ');
    let (day, month, year) = (number(parts.next()?)?, parts.next()?, number(parts.next()?)?);
    let (time, zone) = (parts.next()?, parts.next()?);
    let month = MONTHS.iter().position(|name| *name == month)? as u64 + 1;
    let mut parts = time.split(':').map(number);
    let (hour, minute, second) = (parts.next()??, parts.next()??, parts.next()??);
    let is_date = (1970..=9999).contains(&year) && (1..=31).contains(&day) && zone == "GMT";
    // A leap second is one.
    if !is_date || hour > 23 || minute > 59 || second > 60 || parts.next().is_some() {
        return None;
    }
    let seconds = days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
    Some(Duration::from_secs(seconds))
}

/// Days from 1970 to a day of the Gregorian calendar. Years begin in March here, so that what a leap
/// year has more is at its end.
fn days(year: u64, month: u64, day: u64) -> u64 {
    const TO_1970: u64 = 719_468;
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let of_years = year * 365 + year / 4 - year / 100 + year / 400;
    of_years + (153 * month + 2) / 5 + day - 1 - TO_1970
}

fn number(text: &str) -> Option<u64> {
    let is_number = (1..=4).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SENT: &str = "Mon, 30 Nov 2026 12:00:00 GMT";
    /// The same moment.
    const NOW: u64 = 1_796_040_000;

    fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
    }

    fn wait(said: &str, sent: Option<&str>, now: Option<u64>) -> Option<u64> {
        let pairs: Vec<_> =
            sent.into_iter().map(|sent| (DATE, sent)).chain([(RETRY_AFTER, said)]).collect();
        retry_after(&headers(&pairs), now.map(Duration::from_secs)).map(|wait| wait.as_secs())
    }

    #[test]
    fn seconds_need_no_clock() {
        for (said, seconds) in [
            ("0", Some(0)),
            ("120", Some(120)),
            (" 7 ", Some(7)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("-1", None),
            ("1.5", None),
            ("", None),
            ("soon", None),
        ] {
            assert_eq!(wait(said, None, None), seconds, "{said:?}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), None), None);
    }

    /// Whatever this machine's clock says.
    #[test]
    fn a_date_is_compared_with_that_of_the_answer() {
        for now in [None, Some(0), Some(10), Some(NOW), Some(u64::MAX)] {
            for (said, seconds) in [
                ("Mon, 30 Nov 2026 12:02:00 GMT", 120),
                ("Tue, 01 Dec 2026 11:59:59 GMT", 86_399),
                (SENT, 0),
                ("Mon, 30 Nov 2026 11:00:00 GMT", 0),
                ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
                // A day at most.
                ("Wed, 30 Nov 2099 12:00:00 GMT", 86_400),
                ("Fri, 31 Dec 9999 23:59:59 GMT", 86_400),
            ] {
                assert_eq!(wait(said, Some(SENT), now), Some(seconds), "{said} {now:?}");
            }
        }
    }

    #[test]
    fn without_one_this_machine_s_clock_counts_where_it_can_be_right() {
        let soon = "Mon, 30 Nov 2026 12:02:00 GMT";
        for (now, seconds) in [
            (Some(NOW), Some(120)),
            (Some(NOW - 86_280), Some(86_400)),
            (Some(NOW - 86_281), None),
            (Some(0), None),
            (Some(u64::MAX), Some(0)),
            (None, None),
        ] {
            for sent in [None, Some("no date")] {
                assert_eq!(wait(soon, sent, now), seconds, "{now:?}");
            }
        }
    }

    #[test]
    fn days_are_counted_by_the_calendar() {
        for (text, seconds) in [
            ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
            ("Sun, 06 Nov 1994 08:49:37 GMT", 784_111_777),
            ("Tue, 29 Feb 2000 23:59:59 GMT", 951_868_799),
            ("Wed, 01 Mar 2000 00:00:00 GMT", 951_868_800),
            (SENT, NOW),
            ("Mon, 01 Mar 2100 00:00:00 GMT", 4_107_542_400),
        ] {
            assert_eq!(since_1970(text), Some(Duration::from_secs(seconds)), "{text}");
        }
        for text in [
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            "Sun, 06 Nov 1994 08:49:37",
            "Sun, 06 Nov 1994 08:49:37 CET",
            "Sun, 06 Nov 1994 24:00:00 GMT",
            "Sun, 00 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1969 08:49:37 GMT",
            "Sun, 06 Nom 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49 GMT",
            "Sun, 06 Nov 1994 08:49:37:00 GMT",
        ] {
            assert_eq!(since_1970(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_time_or_none(
            said in "([ -~]{0,40}|[A-Z][a-z]{2}, [0-9]{2} (Jan|Feb|Dec) [0-9]{4} [0-9:]{8} GMT)",
            now in any::<u64>()
        ) {
            let _ = wait(&said, Some(SENT), Some(now));
            let _ = wait(SENT, Some(&said), Some(now));
        }
    }
}
