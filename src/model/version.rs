//! The version of a program: `Vaa.bb.cc.dd`, four numbers 00..99 (docs/wire/payload-link.md section
//! 5).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// A version. Ordered by its numbers from left to right.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Version([u8; 4]);

/// Largest value of one number of a version.
const LARGEST_NUMBER: u8 = 99;

/// Why a text is not a version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a version: expected V and four two-digit numbers, such as V01.00.02.10")]
pub struct VersionError(String);

impl Version {
    /// A version of four numbers; `None` if one is above 99.
    pub fn new(numbers: [u8; 4]) -> Option<Self> {
        numbers.iter().all(|&number| number <= LARGEST_NUMBER).then_some(Self(numbers))
    }

    /// A version as people and servers write it: one to four numbers of one or two digits with dots
    /// between them, behind a `V` or `v` or not; those that are missing are 0.
    pub fn of_numbers(text: &str) -> Option<Self> {
        let text = text.strip_prefix(['V', 'v']).unwrap_or(text);
        let mut numbers = [0; 4];
        let mut places = numbers.iter_mut();
        for part in text.split('.') {
            let is_short = (1..=2).contains(&part.len());
            if !is_short || !part.bytes().all(|byte| byte.is_ascii_digit()) {
                return None;
            }
            *places.next()? = part.parse().ok()?;
        }
        Self::new(numbers)
    }

    /// The four numbers, the most significant first.
    pub const fn numbers(self) -> [u8; 4] {
        self.0
    }
}

impl FromStr for Version {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, VersionError> {
        let error = || VersionError(text.to_owned());
        let mut parts = text.strip_prefix('V').ok_or_else(error)?.split('.');
        let mut numbers = [0; 4];
        for number in &mut numbers {
            *number = two_digits(parts.next().ok_or_else(error)?).ok_or_else(error)?;
        }
        if parts.next().is_some() { Err(error()) } else { Ok(Self(numbers)) }
    }
}

/// Exactly two ASCII digits.
fn two_digits(text: &str) -> Option<u8> {
    match text.as_bytes() {
        [tens @ b'0'..=b'9', units @ b'0'..=b'9'] => Some((tens - b'0') * 10 + (units - b'0')),
        _ => None,
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d] = self.0;
        f.pad(&format!("V{a:02}.{b:02}.{c:02}.{d:02}"))
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Version {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_back() {
        for text in ["V00.00.00.00", "V01.02.03.04", "V99.99.99.99"] {
            let version: Version = text.parse().unwrap();
            assert_eq!(
                (version.to_string().as_str(), format!("{version:?}").as_str()),
                (text, text)
            );
        }
        assert_eq!("V01.02.03.99".parse::<Version>().unwrap().numbers(), [1, 2, 3, 99]);
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "V",
            "1.2.3.4",
            "V1.2.3.4",
            "V01.02.03",
            "V01.02.03.04.05",
            "V01.02.03.100",
            "V01.02.03.0x",
            "v01.02.03.04",
            "V+1.02.03.04",
            " V01.02.03.04",
            "V01.02.03.٠٤",
        ] {
            assert!(text.parse::<Version>().is_err(), "{text}");
        }
        assert!(Version::new([0, 0, 0, 100]).is_none());
    }

    #[test]
    fn order_is_by_number_from_the_left() {
        let version = |text: &str| text.parse::<Version>().unwrap();
        assert!(version("V01.10.00.00") > version("V01.09.99.99"));
        assert!(version("V02.00.00.00") > version("V01.99.99.99"));
    }
}
