//! A part of each day.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;

/// A part of each day in UTC, such as "22:30-02:00"; it may pass midnight. UTC has no summer time:
/// each day has it once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Window {
    /// Minutes since midnight.
    from: u16,
    /// The first minute that is outside.
    to: u16,
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

impl Window {
    /// How long it is, at this time of the day, until it is open; nothing while it is.
    pub fn opens_in(self, time: Duration) -> Duration {
        let minute = |minute: u16| Duration::from_secs(60 * u64::from(minute));
        let (from, to) = (minute(self.from), minute(self.to));
        let is_open = match from < to {
            true => (from..to).contains(&time),
            false => time >= from || time < to,
        };
        match is_open {
            true => Duration::ZERO,
            false if time < from => from.saturating_sub(time),
            false => DAY.saturating_sub(time).saturating_add(from),
        }
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to } = self;
        write!(f, "{:02}:{:02}-{:02}:{:02}", from / 60, from % 60, to / 60, to % 60)
    }
}

impl TryFrom<String> for Window {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let parts = text.split_once('-').map(|(from, to)| (minute(from), minute(to)));
        match parts {
            Some((Some(from), Some(to))) if from != to => Ok(Self { from, to }),
            Some((Some(_), Some(_))) => Err(format!(
                "\"{text}\" begins when it ends: without a window upgrades may always begin"
            )),
            _ => Err(format!(
                "\"{text}\" is no part of a day: expected two times in UTC, such as \"02:00-05:00\""
            )),
        }
    }
}

/// `02:30`, in minutes since midnight.
fn minute(text: &str) -> Option<u16> {
    let (hours, minutes) = text.trim().split_once(':')?;
    let number = |text: &str, end: u16| -> Option<u16> {
        let is_plain = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|number| is_plain && *number < end)
    };
    Some(number(hours, 24)? * 60 + number(minutes, 60)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(text: &str) -> Window {
        text.to_owned().try_into().unwrap()
    }

    #[test]
    fn a_window_is_open_from_its_first_minute_to_before_its_last() {
        let opens_in = |text: &str, time: &str| {
            let minutes =
                window(text).opens_in(Duration::from_secs(60 * u64::from(minute(time).unwrap())));
            minutes.as_secs() / 60
        };
        for (text, time, expected) in [
            ("02:00-05:00", "02:00", 0),
            ("02:00-05:00", "04:59", 0),
            ("02:00-05:00", "05:00", 21 * 60),
            ("02:00-05:00", "01:58", 2),
            ("22:30-02:00", "23:59", 0),
            ("22:30-02:00", "00:00", 0),
            ("22:30-02:00", "01:59", 0),
            ("22:30-02:00", "02:00", 20 * 60 + 30),
            ("22:30-00:00", "00:00", 22 * 60 + 30),
            ("00:00-00:01", "00:00", 0),
        ] {
            assert_eq!(opens_in(text, time), expected, "{text} at {time}");
        }
    }

    /// In UTC each minute of each day is in the window or not, whatever the date.
    #[test]
    fn a_day_has_all_of_its_window() {
        for (text, minutes) in [("02:00-05:00", 180), ("22:30-02:00", 210), ("00:00-23:59", 1439)] {
            let is_open =
                |minute: &u64| window(text).opens_in(Duration::from_secs(60 * minute)).is_zero();
            assert_eq!((0..24 * 60).filter(is_open).count(), minutes, "{text}");
        }
    }

    #[test]
    fn what_is_no_part_of_a_day_is_an_error() {
        for text in
            ["", "2:00-5:00", "02:00", "02:00-24:00", "02:60-03:00", "02:00-05:00 Z", "+1:00-02:00"]
        {
            let error = Window::try_from(text.to_owned()).unwrap_err();
            assert!(error.contains("such as \"02:00-05:00\""), "{error}");
        }
        assert!(
            Window::try_from("02:00-02:00".to_owned()).unwrap_err().contains("begins when it ends")
        );
        assert_eq!(window("22:30-02:05").to_string(), "22:30-02:05");
    }
}
