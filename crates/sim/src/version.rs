//! The version of a firmware, as file names and the link carry it. Knows nothing of either.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// Largest number of a part: it has two digits.
const LARGEST: u8 = 99;

/// A firmware version, `V01.02.03.04`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub [u8; 4]);

/// The text is no version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no version; hint: one looks like V01.02.03.04")]
pub struct NoVersion(String);

impl FromStr for Version {
    type Err = NoVersion;

    fn from_str(text: &str) -> Result<Self, NoVersion> {
        let read = || {
            let numbers: Option<Vec<u8>> = text.strip_prefix('V')?.split('.').map(number).collect();
            numbers?.try_into().ok().map(Self)
        };
        read().ok_or_else(|| NoVersion(text.to_owned()))
    }
}

fn number(digits: &str) -> Option<u8> {
    let is_number = digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|number| is_number && *number <= LARGEST)
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, modify, debug] = self.0;
        formatter.pad(&format!("V{major:02}.{minor:02}.{modify:02}.{debug:02}"))
    }
}

impl Serialize for Version {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_read_as_it_is_written() {
        for text in ["V00.00.00.00", "V01.22.03.99"] {
            assert_eq!(text.parse::<Version>().unwrap().to_string(), text);
        }
        for text in
            ["", "V", "01.02.03.04", "V1.02.03.04", "V01.02.03", "V01.02.03.04.05", "V+1.02.03.04"]
        {
            assert_eq!(text.parse::<Version>(), Err(NoVersion(text.to_owned())));
        }
    }

    #[test]
    fn a_version_fills_the_column_that_it_stands_in() {
        let version: Version = "V01.22.03.99".parse().unwrap();
        assert_eq!(format!("{version:>15}"), "   V01.22.03.99");
    }
}
