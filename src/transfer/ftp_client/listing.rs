//! What lies in the upload area: the answer to NLST, sorted into what is ours and what is not.
//! Pure.

use std::borrow::Cow;
use std::io::{self, BufRead, Read as _};
use std::time::Duration;

use crate::model::file_name::FileName;
use crate::model::{Failure, FailureKind};

/// Largest answer to NLST that is read, in bytes: some hundred thousand names.
pub(super) const LARGEST_LISTING: u64 = 16 << 20;
/// Longest line of it that can be a name: twice the longest name of a file.
const LONGEST_LINE: u64 = 512;
/// Most names that a failure lists.
const MOST_LISTED: usize = 10;

/// A time with a fraction of a second stands still for much less than this.
const FINE_TIME: Duration = Duration::from_millis(500);
/// FAT counts two seconds at a time, all others at most one; the rest is for a clock that runs
/// slower than ours.
const COARSE_TIME: Duration = Duration::from_millis(2500);

/// A file in the upload area, as the server describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteFile {
    /// Its name: data, never a path.
    pub name: String,
    /// Size in bytes.
    pub size: u64,
    /// When it was changed, as the server writes it: only compared for being the same. `None` where
    /// the server does not tell.
    pub modified: Option<String>,
}

impl RemoteFile {
    /// For how long the server has to have described the file so, until every later change must
    /// show in the description: as long as its times can stand still. `None` where no time would
    /// tell. Clocks are not compared; it takes for granted only that the server's runs forwards.
    pub(super) fn proves_itself_after(&self) -> Option<Duration> {
        let fraction = self.modified.as_ref()?.split_once('.').map_or("", |(_, fraction)| fraction);
        // A file system that counts whole seconds is told with a fraction of zeros by some servers.
        Some(if fraction.bytes().any(|digit| digit != b'0') { FINE_TIME } else { COARSE_TIME })
    }
}

/// The time in an answer to `MDTM`: 14 digits, and a fraction where the server knows it (RFC 3659,
/// section 2.3).
pub(super) fn time_of_change(answer: &str) -> Option<String> {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_time = |word: &&str| {
        let (seconds, fraction) = word.split_once('.').unwrap_or((word, "0"));
        seconds.len() == 14 && digits(seconds) && digits(fraction)
    };
    answer.split_ascii_whitespace().find(is_time).map(str::to_owned)
}

/// The names in the upload area.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// Names of firmware files for this payload.
    pub ours: Vec<String>,
    /// All others, as they can be shown.
    pub others: Vec<String>,
    /// How many more names there are.
    pub more: usize,
}

impl Listing {
    /// So many names of each kind are kept; the others are counted.
    pub const MOST_KEPT: usize = 1000;

    /// Sorts the lines of an answer to NLST as they come, to its end; `accepts_product` says whether
    /// a product is this payload's. However long it is, what is kept of it is bounded.
    pub fn read(answer: impl BufRead, accepts_product: impl Fn(&str) -> bool) -> io::Result<Self> {
        Self::read_but(answer, accepts_product, |_| false)
    }

    /// The same without the names of which `is_left_out` says so; it hears of each.
    pub(super) fn read_but(
        mut answer: impl BufRead,
        accepts_product: impl Fn(&str) -> bool,
        mut is_left_out: impl FnMut(&str) -> bool,
    ) -> io::Result<Self> {
        let (mut listing, mut line, mut goes_on) = (Self::default(), Vec::new(), false);
        while (&mut answer).take(LONGEST_LINE).read_until(b'\n', &mut line)? > 0 {
            // The rest of a line that is too long is the rest of a name that nobody can have.
            let is_rest = std::mem::replace(&mut goes_on, !line.ends_with(b"\n"));
            if !is_rest {
                listing.add(&line, &accepts_product, &mut is_left_out);
            }
            line.clear();
        }
        Ok(listing)
    }

    fn add(
        &mut self,
        line: &[u8],
        accepts_product: impl Fn(&str) -> bool,
        is_left_out: &mut impl FnMut(&str) -> bool,
    ) {
        let name = line.strip_suffix(b"\n").unwrap_or(line);
        let name = name.strip_suffix(b"\r").unwrap_or(name);
        if name.is_empty() || name == b"." || name == b".." {
            return;
        }
        let shown = String::from_utf8_lossy(name);
        if is_left_out(&shown) {
            return;
        }
        // One that is not valid is not borrowed.
        let is_ours = matches!(shown, Cow::Borrowed(_))
            && shown.parse::<FileName>().is_ok_and(|name| accepts_product(name.product()));
        let kept = if is_ours { &mut self.ours } else { &mut self.others };
        if kept.len() < Self::MOST_KEPT { kept.push(shown.into_owned()) } else { self.more += 1 }
    }

    /// Each name, and whether it is one of ours; these come first.
    pub(super) fn names(&self) -> impl Iterator<Item = (&str, bool)> {
        let ours = self.ours.iter().map(|name| (&**name, true));
        ours.chain(self.others.iter().map(|name| (&**name, false)))
    }

    /// The name of the one file, where it is not ours.
    pub fn only_other(&self) -> Option<&str> {
        match (self.ours.as_slice(), self.others.as_slice()) {
            ([], [other]) => Some(other),
            _ => None,
        }
    }

    /// The one name that is ours; none or several are a failure that lists what is there.
    pub fn only_one(&self) -> Result<&str, Failure> {
        match (self.ours.as_slice(), self.others.as_slice()) {
            ([name], _) => Ok(name),
            ([], []) => Err(Failure::new(FailureKind::TransferFailed, "no file was uploaded")),
            ([], [other]) => Err(match other.parse::<FileName>() {
                Ok(name) => {
                    let sentence = format!(
                        "the uploaded file {other:?} is for product {:?}, not for this payload",
                        name.product()
                    );
                    Failure::new(FailureKind::WrongProduct, sentence)
                }
                Err(error) => error.into_failure(other),
            }),
            ([], others) => {
                let others = shown(others, self.more);
                let sentence = format!("no uploaded file is for this payload: {others}");
                Err(Failure::new(FailureKind::TransferFailed, sentence))
            }
            (several, _) => {
                let sentence = format!(
                    "several uploaded files are for this payload, and only one may be: {}",
                    shown(several, 0)
                );
                let hint = "somebody else on the network may have stored one of them: ask for the upgrade again, which empties the upload \
                            area; where exactly one has a seal by a key of the [package] section, that one is taken";
                Err(Failure::new(FailureKind::TransferFailed, sentence).with_hint(hint))
            }
        }
    }
}

fn shown(names: &[String], more: usize) -> String {
    let mut text = names
        .iter()
        .take(MOST_LISTED)
        .map(|name| format!("{name:?}"))
        .collect::<Vec<_>>()
        .join(", ");
    if names.len() > MOST_LISTED {
        text += &format!(" and {} more", names.len() - MOST_LISTED + more);
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(answer: &[u8]) -> Listing {
        Listing::read(answer, |product| product == "DEMO").unwrap()
    }

    const OURS: &str = "DEMO_V01.00.00.00.bin";

    #[test]
    fn lines_end_as_they_like() {
        for answer in [
            &b"DEMO_V01.00.00.00.bin"[..],
            b"DEMO_V01.00.00.00.bin\n",
            b".\r\n..\r\nDEMO_V01.00.00.00.bin\r\n\r\n",
        ] {
            assert_eq!(parse(answer), Listing { ours: vec![OURS.into()], ..Listing::default() });
        }
        assert_eq!(parse(b""), Listing::default());
    }

    #[test]
    fn hostile_names_are_others() {
        for name in [
            "../DEMO_V01.00.00.00.bin",
            "/upgrade/DEMO_V01.00.00.00.bin",
            "DEMO_V01.00.00.00.bin\0",
            "\u{1b}[2JDEMO_V01.00.00.00.bin/",
        ] {
            let listing = parse(name.as_bytes());
            assert!(listing.ours.is_empty(), "{name:?}");
            assert!(!listing.only_one().unwrap_err().to_string().contains('\u{1b}'));
        }
        assert!(parse(b"DEMO\xff_V01.00.00.00.bin").ours.is_empty());
    }

    #[test]
    fn exactly_one_is_taken_whatever_else_lies_there() {
        assert_eq!(
            parse(b"readme.txt\nDEMO_V01.00.00.00.bin\nOTHER_V01.00.00.00.bin").only_one(),
            Ok(OURS)
        );
    }

    #[test]
    fn none_and_several_list_what_is_there() {
        let failure = |answer: &[u8]| parse(answer).only_one().unwrap_err();
        for (answer, kind, reason) in [
            ("", FailureKind::TransferFailed, "no file was uploaded"),
            ("readme.txt", FailureKind::NameInvalid, "\"readme.txt\""),
            ("OTHER_V01.00.00.00.bin", FailureKind::WrongProduct, "for product \"OTHER\""),
            ("a\nb", FailureKind::TransferFailed, "\"a\", \"b\""),
            (
                "DEMO_V01.00.00.00.bin\nDEMO_V02.00.00.00.bin\nx",
                FailureKind::TransferFailed,
                "\"DEMO_V01.00.00.00.bin\", \"DEMO_V02.00.00.00.bin\"",
            ),
        ] {
            let failure = failure(answer.as_bytes());
            assert!(
                failure.kind == kind && failure.to_string().contains(reason),
                "{answer:?}: {failure}"
            );
        }
        for (answer, other) in
            [("", None), ("readme.txt", Some("readme.txt")), ("a\nb", None), (OURS, None)]
        {
            assert_eq!(parse(answer.as_bytes()).only_other(), other);
        }
        assert!(failure("x\n".repeat(500).as_bytes()).sentence.ends_with("and 490 more"));
    }

    #[test]
    fn of_a_long_listing_a_part_is_kept_and_the_rest_counted() {
        let names = |number: usize| (0..number).map(|n| format!("file-{n}\n")).collect::<String>();
        let answer = format!("{}{OURS}\n", names(10_000));
        let listing = parse(answer.as_bytes());
        assert_eq!((listing.others.len(), listing.more), (Listing::MOST_KEPT, 9000));
        assert_eq!(listing.only_one(), Ok(OURS), "behind all the others it is found");
        let failure = parse(names(1500).as_bytes()).only_one().unwrap_err();
        assert!(failure.sentence.ends_with("and 1490 more"), "{failure}");
    }

    #[test]
    fn a_line_without_end_is_one_name_and_takes_no_memory() {
        let long = "x".repeat(100_000);
        let listing = parse(format!("{long}\n{OURS}\n{long}").as_bytes());
        assert_eq!((listing.ours.as_slice(), listing.others.len()), (&[OURS.to_owned()][..], 2));
        assert!(listing.others.iter().all(|name| name.len() < 1000));
    }

    #[test]
    fn a_time_of_change_is_kept_as_it_was_written() {
        for (answer, time) in [
            ("213 20261121073138\r\n", Some("20261121073138")),
            ("213 20261121073138.25", Some("20261121073138.25")),
            ("213 MDTM of it: 20261121073138", Some("20261121073138")),
            ("213 2026112107313", None),
            ("213 191001121073138", None),
            ("213 20261121073138.", None),
            ("213 20261121073138.-1", None),
            ("213", None),
        ] {
            assert_eq!(time_of_change(answer).as_deref(), time, "{answer}");
        }
    }

    #[test]
    fn a_coarse_time_proves_late_that_nothing_changed_and_none_never() {
        let file = |modified: Option<&str>| RemoteFile {
            name: OURS.into(),
            size: 1,
            modified: modified.map(str::to_owned),
        };
        for (modified, after) in [
            (None, None),
            (Some("20261121073138"), Some(COARSE_TIME)),
            (Some("20261121073138.000"), Some(COARSE_TIME)),
            (Some("20261121073138.001"), Some(FINE_TIME)),
        ] {
            assert_eq!(file(modified).proves_itself_after(), after, "{modified:?}");
        }
    }

    proptest! {
        #[test]
        fn any_answer_is_sorted(answer in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse(&answer).only_one();
        }
    }
}
