//! Our versions in the form of this wire, `x.y.z` (LU-4).
//!
//! The server compares what is left when `y` is dropped, so all that orders is in `x` and `z`: six
//! decimal digits for the eight of `Vaa.bb.cc.dd`. The digits of the four numbers are written one
//! behind the other, each number with as many as it is given, and cut in the middle: with two, one,
//! one and two, `V02.01.00.03` is `021003`, so `021.000.003`. A number that has more digits than
//! that has no form. Leading zeros stay, so that the order is the same for a server that compares
//! numbers and for one that compares texts.

use std::fmt;

use crate::model::version::Version;

/// What the numbers `x` and `z` are below.
const LIMIT: u32 = 1000;

/// A version `x.000.z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Triple {
    x: u32,
    z: u32,
}

impl Triple {
    /// None where a number has more digits than it is given.
    pub(super) fn of(version: Version, digits: [u8; 4]) -> Option<Self> {
        let numbers = version.numbers().into_iter().zip(digits);
        let joined = numbers.into_iter().try_fold(0_u32, |joined, (number, digits)| {
            let limit = 10_u32.checked_pow(digits.into())?;
            let number = Some(u32::from(number)).filter(|number| *number < limit)?;
            joined.checked_mul(limit)?.checked_add(number)
        })?;
        let (x, z) = (joined / LIMIT, joined % LIMIT);
        (x < LIMIT).then_some(Self { x, z })
    }

    /// The way back, of exactly the form that is sent: `1.0.4` is somebody else's.
    pub(super) fn version_of(text: &str, digits: [u8; 4]) -> Option<Version> {
        let mut parts = text.split('.');
        let mut next = || parts.next().filter(|part| part.len() == 3)?.parse::<u32>().ok();
        let triple = match (next()?, next()?, next()?) {
            (x, 0, z) => Self { x, z },
            _ => return None,
        };
        if triple.to_string() != text {
            return None;
        }
        triple.version(digits)
    }

    fn version(self, digits: [u8; 4]) -> Option<Version> {
        let mut joined = self.x * LIMIT + self.z;
        let mut numbers = [0; 4];
        for (number, digits) in numbers.iter_mut().zip(digits).rev() {
            let limit = 10_u32.checked_pow(digits.into())?;
            *number = u8::try_from(joined % limit).ok()?;
            joined /= limit;
        }
        if joined == 0 { Version::new(numbers) } else { None }
    }

    /// `core.x.z`: the middle number is dropped on the wire.
    pub(super) fn without_middle(self, core: u32) -> String {
        format!("{core}.{:03}.{:03}", self.x, self.z)
    }
}

impl fmt::Display for Triple {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:03}.000.{:03}", self.x, self.z)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DEFAULT: [u8; 4] = [2, 1, 1, 2];

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    #[test]
    fn lu_4_a_version_has_three_numbers_of_three_digits() {
        for (ours, digits, wire, sent) in [
            ("V00.00.00.00", DEFAULT, "000.000.000", "2012.000.000"),
            ("V02.01.00.03", DEFAULT, "021.000.003", "2012.021.003"),
            ("V99.09.09.99", DEFAULT, "999.000.999", "2012.999.999"),
            ("V01.12.34.05", [1, 2, 2, 1], "112.000.345", "2012.112.345"),
            ("V00.12.34.56", [0, 2, 2, 2], "123.000.456", "2012.123.456"),
            ("V07.00.00.00", [1, 0, 0, 0], "000.000.007", "2012.000.007"),
        ] {
            let triple = Triple::of(version(ours), digits).unwrap();
            assert_eq!(
                (triple.to_string().as_str(), triple.without_middle(2012).as_str()),
                (wire, sent)
            );
            assert_eq!(Triple::version_of(wire, digits), Some(version(ours)));
        }
    }

    #[test]
    fn lu_4_a_version_with_too_many_digits_has_no_form() {
        for (ours, digits) in [
            ("V01.10.00.00", DEFAULT),
            ("V01.00.10.00", DEFAULT),
            ("V10.00.00.00", [1, 1, 2, 2]),
            ("V01.00.00.00", [0, 2, 2, 2]),
            ("V99.99.99.99", [2, 2, 2, 2]),
            ("V00.00.00.00", [255, 255, 255, 255]),
        ] {
            assert_eq!(Triple::of(version(ours), digits), None, "{ours}");
        }
    }

    #[test]
    fn a_version_of_another_form_is_not_ours() {
        for text in [
            "",
            "1.0.4",
            "021.000",
            "021.001.003",
            "021.000.003.000",
            "0210.00.003",
            "+21.000.003",
            " 21.000.003",
            "021.000.0x3",
            "٠٢١.000.003",
        ] {
            assert_eq!(Triple::version_of(text, DEFAULT), None, "{text:?}");
        }
        assert_eq!(Triple::version_of("900.000.000", [1, 1, 1, 1]), None);
    }

    fn digits() -> impl Strategy<Value = [u8; 4]> {
        prop::array::uniform4(0u8..=2)
            .prop_filter("six have room", |digits| digits.iter().sum::<u8>() <= 6)
    }

    proptest! {
        /// Although the middle number is dropped, and for a server that compares texts, too.
        #[test]
        fn lu_4_the_order_of_versions_survives(
            digits in digits(),
            a in prop::array::uniform4(0u8..100),
            b in prop::array::uniform4(0u8..100),
        ) {
            let fit = |numbers: [u8; 4]| {
                let mut fitted = numbers.into_iter().zip(digits).map(|(n, d)| n % 10u8.pow(d.into()));
                Version::new([(); 4].map(|()| fitted.next().unwrap())).unwrap()
            };
            let (a, b) = (fit(a), fit(b));
            let (x, y) = (Triple::of(a, digits).unwrap(), Triple::of(b, digits).unwrap());
            prop_assert_eq!(a.cmp(&b), x.cmp(&y));
            prop_assert_eq!(a.cmp(&b), x.without_middle(1).cmp(&y.without_middle(1)));
            prop_assert_eq!(Triple::version_of(&x.to_string(), digits), Some(a));
        }

        #[test]
        fn any_text_is_a_version_or_none(text in "\\PC{0,12}", digits in digits()) {
            if let Some(version) = Triple::version_of(&text, digits) {
                prop_assert_eq!(Triple::of(version, digits).unwrap().to_string(), text);
            }
        }
    }
}
