//! Listings in the three forms that clients ask for. Pure text from entries.

use std::time::{Duration, SystemTime};

use rustix::fs::Stat;

use super::name::FileName;

/// A file as clients see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) name: FileName,
    /// Bytes.
    pub(crate) size: u64,
    pub(crate) modified: Modified,
}

/// When a file was changed, since the Unix epoch, within the years that four digits can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Modified(Duration);

impl Modified {
    /// The last second of the year 9999.
    const LATEST: u64 = 253_402_300_799;

    /// Times before 1970 and after 9999 become the nearest that can be told.
    pub(crate) fn from_stat(stat: &Stat) -> Self {
        Self::new(stat.st_mtime, u32::try_from(stat.st_mtime_nsec).unwrap_or(0))
    }

    /// So many nanoseconds after the epoch.
    pub(crate) fn since_1970(nanoseconds: u64) -> Self {
        Self(Duration::from_nanos(nanoseconds))
    }

    fn new(seconds: i64, nanoseconds: u32) -> Self {
        let told = u64::try_from(seconds).ok().filter(|seconds| *seconds <= Self::LATEST);
        let nearest = Duration::from_secs(if seconds < 0 { 0 } else { Self::LATEST });
        Self(told.map_or(nearest, |seconds| Duration::new(seconds, nanoseconds.min(999_999_999))))
    }

    /// `2026-11-21T07:31:38Z`.
    fn rfc3339(self) -> String {
        humantime::format_rfc3339_seconds(SystemTime::UNIX_EPOCH + self.0).to_string()
    }

    /// `20261121073138.000000001`, as `MDTM` may have it (RFC 3659, section 2.3): who compares it
    /// sees each change.
    pub(crate) fn exact(self) -> String {
        format!("{}.{:09}", self.compact(), self.0.subsec_nanos())
    }

    /// `20261121073138`, as `MLSD` has it.
    fn compact(self) -> String {
        self.rfc3339().chars().filter(char::is_ascii_digit).collect()
    }

    /// `Nov 21  2026`, as `ls -l` shows old files. The form for recent files would need to know
    /// what time it is.
    fn calendar_day(self) -> String {
        const MONTHS: [&str; 12] =
            ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        let text = self.rfc3339();
        let mut parts = text.split(['-', 'T']);
        let (year, month, day) =
            (parts.next().unwrap_or(""), parts.next().unwrap_or(""), parts.next().unwrap_or(""));
        let name = month
            .parse::<usize>()
            .ok()
            .and_then(|month| MONTHS.get(month.wrapping_sub(1)))
            .unwrap_or(&"Jan");
        format!("{name} {day}  {year}")
    }
}

/// How a listing is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// `LIST`: as `ls -l` does, which is what clients parse.
    Long,
    /// `NLST`: names.
    Names,
    /// `MLSD`: facts (RFC 3659, section 7).
    Facts,
}

/// The facts of `MLSD` and `MLST`, as `FEAT` tells them.
pub(crate) const FACTS: &str = "MLST type*;size*;modify*;";

impl Entry {
    /// One line without its end.
    pub(crate) fn line(&self, style: Style) -> Vec<u8> {
        let Self { name, size, modified } = self;
        let before = match style {
            Style::Long => format!("-rw-r----- 1 ftp ftp {size:>12} {} ", modified.calendar_day()),
            Style::Names => String::new(),
            Style::Facts => format!("type=file;size={size};modify={}; ", modified.compact()),
        };
        [before.as_bytes(), name.as_bytes()].concat()
    }
}

/// A whole listing; each line ends in CR LF.
pub(crate) fn listing(entries: &[Entry], style: Style) -> Vec<u8> {
    entries.iter().flat_map(|entry| [entry.line(style), b"\r\n".to_vec()]).flatten().collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(modified: i64) -> Entry {
        Entry {
            name: FileName::parse(b"a b.bin").unwrap(),
            size: 1234,
            modified: Modified::new(modified, 1_000),
        }
    }

    #[test]
    fn the_three_forms() {
        let entries = [entry(1_795_246_298)];
        assert_eq!(
            listing(&entries, Style::Long),
            b"-rw-r----- 1 ftp ftp         1234 Nov 21  2026 a b.bin\r\n"
        );
        assert_eq!(listing(&entries, Style::Names), b"a b.bin\r\n");
        assert_eq!(
            listing(&entries, Style::Facts),
            b"type=file;size=1234;modify=20261121073138; a b.bin\r\n"
        );
        assert_eq!(listing(&[], Style::Long), b"");
        assert_eq!(entries[0].modified.exact(), "20261121073138.000001000");
    }

    proptest! {
        #[test]
        fn any_time_of_a_file_system_can_be_told(seconds in any::<i64>()) {
            prop_assert_eq!(entry(seconds).modified.compact().len(), 14);
            prop_assert_eq!(entry(seconds).modified.exact().len(), 24);
            prop_assert_eq!(entry(seconds).modified.calendar_day().len(), 12);
        }
    }
}
