//! Dates as HTTP writes them, to be compared.

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// A date that orders as time does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Date([u32; 6]);

impl Date {
    /// Reads the form that is sent today, `Thu, 01 Jan 2026 00:00:00 GMT`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (_, text) = text.split_once(", ")?;
        let [day, month, year, time, "GMT"] = text.split(' ').collect::<Vec<_>>()[..] else {
            return None;
        };
        let month = MONTHS.iter().position(|name| *name == month)?;
        let [hour, minute, second] = time.split(':').collect::<Vec<_>>()[..] else { return None };
        let number = |text: &str| text.parse::<u32>().ok();
        Some(Self([
            number(year)?,
            u32::try_from(month).ok()?,
            number(day)?,
            number(hour)?,
            number(minute)?,
            number(second)?,
        ]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_order_as_time_does() {
        let dates = [
            "Wed, 31 Dec 2025 23:59:59 GMT",
            "Thu, 01 Jan 2026 00:00:00 GMT",
            "Thu, 01 Jan 2026 00:00:01 GMT",
            "Sun, 01 Feb 2026 00:00:00 GMT",
        ];
        let read: Vec<_> = dates.iter().map(|date| Date::parse(date).unwrap()).collect();
        assert!(read.is_sorted());
        assert!(read[0] < read[3]);
        for text in
            ["", "\"e9dded\"", "Thu, 01 Jam 2026 00:00:00 GMT", "Thu, 01 Jan 2026 00:00 GMT"]
        {
            assert_eq!(Date::parse(text), None, "{text}");
        }
    }
}
