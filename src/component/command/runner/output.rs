//! What the command of a job writes: the end of it is kept for a report, and what it tells of its
//! work is passed on.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::super::OUTPUT;
use super::super::told::{self, News, Told};
use crate::disk::{self, Disk, PRIVATE_MODE};

/// How large one of the two files with the end of the output becomes.
const LARGEST_PART: usize = 32 * 1024;
/// Longest line in which news are looked for.
const LONGEST_LINE: usize = 192;

/// Which stream of the command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stream {
    /// Standard output, where news are told.
    Output,
    /// Standard error.
    Errors,
}

/// Keeps the end of the output, and passes on the last news. That fails in silence where the disk
/// is full: nothing depends on it.
#[derive(Debug)]
pub(crate) struct Output {
    directory: PathBuf,
    part: File,
    length: usize,
    line: Line,
    told: Told,
}

impl Output {
    pub(super) fn create(disk: &dyn Disk, directory: &Path) -> io::Result<Self> {
        let path = directory.join(OUTPUT[0]);
        disk::remove_if_present(disk, &path)?;
        let part = disk.create(&path, PRIVATE_MODE)?;
        let directory = directory.to_owned();
        Ok(Self { directory, part, length: 0, line: Line::default(), told: Told::default() })
    }

    /// Takes what was written.
    pub(super) fn take(&mut self, stream: Stream, bytes: &[u8]) {
        // To the journal, where the runner is a unit.
        let _ = io::stderr().write_all(bytes);
        bytes.chunks(LARGEST_PART).for_each(|chunk| self.keep(chunk));
        if stream == Stream::Output {
            let before = self.told.clone();
            for &byte in bytes {
                self.line.take(byte).into_iter().for_each(|news| self.told.add(news));
            }
            if self.told != before {
                let _ = told::write(&self.directory, &self.told);
            }
        }
    }

    /// What was kept outlives a power cut that comes after the result.
    pub(super) fn sync(&self) {
        let _ = self.part.sync_all();
    }

    fn keep(&mut self, chunk: &[u8]) {
        if self.length + chunk.len() > LARGEST_PART {
            self.begin_part();
        }
        self.length += chunk.len();
        let _ = self.part.write_all(chunk);
    }

    fn begin_part(&mut self) {
        let [last, before] = OUTPUT.map(|name| self.directory.join(name));
        let begun = fs::rename(&last, before).and_then(|()| File::create(last));
        if let Ok(part) = begun {
            self.part = part;
            self.length = 0;
        }
    }
}

/// The line that is being written.
#[derive(Debug, Default)]
struct Line {
    bytes: Vec<u8>,
    is_too_long: bool,
}

impl Line {
    /// The news in the line that ends with this byte, if it has any.
    fn take(&mut self, byte: u8) -> Option<News> {
        if byte == b'\n' || byte == b'\r' {
            let news = if self.is_too_long { None } else { News::parse(&self.bytes) };
            self.bytes.clear();
            self.is_too_long = false;
            return news;
        }
        match self.bytes.len() {
            LONGEST_LINE => self.is_too_long = true,
            _ => self.bytes.push(byte),
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(directory: &Path, name: &str) -> String {
        fs::read_to_string(directory.join(name)).unwrap_or_default()
    }

    #[test]
    fn the_last_news_of_standard_output_are_told() {
        let directory = tempfile::tempdir().unwrap();
        let mut output = Output::create(&disk::LocalDisk, directory.path()).unwrap();
        let long = format!("percent 99{}\n", " ".repeat(LONGEST_LINE));
        for (stream, written, percent, doing) in [
            (Stream::Errors, "percent 1\nphase none\n", None, None),
            (Stream::Output, "percent 2", None, None),
            (Stream::Output, "0\npercent", Some(20), None),
            (Stream::Output, " 21\rpercent 101\npercent -1\npercent x\n", Some(21), None),
            (Stream::Output, "x percent 30\npercent 30 %\n30 % \nx 30%\n", Some(21), None),
            (Stream::Output, "  9% Determining slot states done.\n", Some(9), None),
            (Stream::Output, "phase one\n21%\nphase two", Some(21), Some("one")),
            (Stream::Output, "\n", Some(21), Some("two")),
            (Stream::Output, &long, Some(21), Some("two")),
            (Stream::Output, "percent 0\n", Some(0), Some("two")),
            (Stream::Output, "percent 100\n", Some(100), Some("two")),
        ] {
            output.take(stream, written.as_bytes());
            let told = told::read(directory.path()).unwrap_or_default();
            assert_eq!((told.percent, told.doing.as_deref()), (percent, doing), "{written:?}");
        }
    }

    #[test]
    fn the_end_of_both_streams_is_kept_in_a_bounded_room() {
        let directory = tempfile::tempdir().unwrap();
        let mut output = Output::create(&disk::LocalDisk, directory.path()).unwrap();
        for number in 0..20_000 {
            let stream = if number % 2 == 0 { Stream::Output } else { Stream::Errors };
            output.take(stream, format!("line {number}\n").as_bytes());
        }
        output.take(Stream::Output, &[b'x'; 3 * LARGEST_PART]);
        output.take(Stream::Errors, b"\nthe end\n");
        let [last, before] = OUTPUT.map(|name| read(directory.path(), name));
        assert!(last.ends_with("x\nthe end\n") || last == "\nthe end\n", "{last}");
        assert!(before.len() <= LARGEST_PART && last.len() <= LARGEST_PART);
        assert!(before.len() + last.len() >= LARGEST_PART, "too little is kept");
    }
}
