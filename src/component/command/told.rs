//! What a command tells of its work while that goes on: lines of its standard output, kept by its
//! runner in a file that the daemon looks at.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::PROGRESS;
use crate::disk;
use crate::host::unit;

/// Bytes of the file, whatever is told.
const SIZE: usize = 256;
/// Most bytes of the words.
const LONGEST: usize = SIZE - "100 \n".len();

/// What was told last.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told {
    /// How much is done, in percent.
    pub percent: Option<u8>,
    /// What is being done, in its words, without control characters.
    pub doing: Option<String>,
}

/// What one line tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum News {
    Percent(u8),
    Doing(String),
}

impl News {
    /// `phase erasing`, `percent 42`, or what RAUC writes: ` 42% Copying image`.
    pub(super) fn parse(line: &[u8]) -> Option<Self> {
        let line = std::str::from_utf8(line).ok()?.trim();
        if let Some(words) = line.strip_prefix("phase ") {
            let words = unit::visible(words.trim());
            return (!words.is_empty()).then_some(Self::Doing(words));
        }
        let number = match line.strip_prefix("percent ") {
            Some(number) => number.trim(),
            None => line.split_once('%')?.0,
        };
        number.parse().ok().filter(|percent| *percent <= 100).map(Self::Percent)
    }
}

impl Told {
    pub(super) fn add(&mut self, news: News) {
        match news {
            News::Percent(percent) => self.percent = Some(percent),
            News::Doing(words) => self.doing = Some(words),
        }
    }

    /// In as many bytes always, so that whoever reads them finds the old or the new ones.
    fn bytes(&self) -> Vec<u8> {
        let percent = self.percent.map(|percent| percent.to_string()).unwrap_or_default();
        let words = self.doing.as_deref().unwrap_or_default();
        let end = (0..=words.len().min(LONGEST)).rfind(|end| words.is_char_boundary(*end));
        let words = &words[..end.unwrap_or_default()];
        let mut bytes = format!("{percent:>3} {words}").into_bytes();
        bytes.resize(SIZE - 1, b' ');
        bytes.push(b'\n');
        bytes
    }

    fn parse(bytes: Vec<u8>) -> Option<Self> {
        let text = String::from_utf8(bytes).ok()?;
        let (percent, words) = text.split_at_checked(3)?;
        let words = words.trim();
        Some(Self {
            percent: percent.trim().parse().ok(),
            doing: (!words.is_empty()).then(|| words.to_owned()),
        })
    }
}

/// Writes it, in one go.
pub(super) fn write(directory: &Path, told: &Told) -> io::Result<()> {
    let path = directory.join(PROGRESS);
    let file = File::options().write(true).create(true).truncate(false).open(path)?;
    file.write_all_at(&told.bytes(), 0)
}

/// What was written, if anything.
pub(super) fn read(directory: &Path) -> Option<Told> {
    let bytes = disk::read_limited(&directory.join(PROGRESS), SIZE as u64).ok()??;
    Told::parse(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(percent: Option<u8>, doing: Option<&str>) -> Told {
        Told { percent, doing: doing.map(str::to_owned) }
    }

    #[test]
    fn what_is_written_is_read_in_a_file_of_one_size() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(read(directory.path()), None);
        for one in [
            told(Some(7), None),
            told(None, Some("erasing the store")),
            told(Some(100), Some("the bootloader copies the program")),
        ] {
            write(directory.path(), &one).unwrap();
            assert_eq!(read(directory.path()), Some(one));
        }
        let long = told(None, Some(&"ü".repeat(SIZE)));
        write(directory.path(), &long).unwrap();
        let short = read(directory.path()).unwrap().doing.unwrap();
        assert!(short.len() <= LONGEST && short.chars().all(|letter| letter == 'ü'), "{short}");
        // What a runner of an older version writes.
        assert_eq!(Told::parse(b" 42\n".to_vec()), Some(told(Some(42), None)));
        assert_eq!(Told::parse(b"4".to_vec()), None);
    }

    #[test]
    fn a_line_tells_one_thing_or_nothing() {
        for (line, news) in [
            ("phase erasing\r", Some(News::Doing("erasing".into()))),
            ("phase  \t", None),
            ("phases", None),
            ("percent 42", Some(News::Percent(42))),
            (" 42% Copying image", Some(News::Percent(42))),
            ("percent 101", None),
            ("erasing", None),
        ] {
            assert_eq!(News::parse(line.as_bytes()), news, "{line:?}");
        }
        let News::Doing(words) = News::parse(b"phase a\x1b[31mb").unwrap() else { panic!() };
        assert!(!words.contains('\x1b'), "{words:?}");
    }
}
