//! What the command of a job writes: the end of it is kept for a report, and the percentages are
//! told.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::super::{OUTPUT, PROGRESS};
use crate::disk::{self, Disk, PRIVATE_MODE};

/// How large one of the two files with the end of the output becomes.
const LARGEST_PART: usize = 32 * 1024;
/// Longest line in which a percentage is looked for.
const LONGEST_LINE: usize = 64;

/// Which stream of the command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stream {
    /// Standard output, where percentages are told.
    Output,
    /// Standard error.
    Errors,
}

/// Keeps the end of the output, and tells the last percentage. That fails in silence where the disk
/// is full: nothing depends on it.
#[derive(Debug)]
pub(crate) struct Output {
    directory: PathBuf,
    part: File,
    length: usize,
    line: Line,
    percent: Option<u8>,
}

impl Output {
    pub(super) fn create(disk: &dyn Disk, directory: &Path) -> io::Result<Self> {
        let path = directory.join(OUTPUT[0]);
        disk::remove_if_present(disk, &path)?;
        let part = disk.create(&path, PRIVATE_MODE)?;
        let directory = directory.to_owned();
        Ok(Self { directory, part, length: 0, line: Line::default(), percent: None })
    }

    /// Takes what was written.
    pub(super) fn take(&mut self, stream: Stream, bytes: &[u8]) {
        // To the journal, where the runner is a unit.
        let _ = io::stderr().write_all(bytes);
        bytes.chunks(LARGEST_PART).for_each(|chunk| self.keep(chunk));
        if stream == Stream::Output {
            let told = bytes.iter().filter_map(|&byte| self.line.take(byte)).last();
            told.into_iter().for_each(|percent| self.tell(percent));
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

    fn tell(&mut self, percent: u8) {
        if self.percent == Some(percent) {
            return;
        }
        self.percent = Some(percent);
        let path = self.directory.join(PROGRESS);
        let opened = File::options().write(true).create(true).truncate(false).open(path);
        // In one write, of the same length always: whoever reads it finds the old or the new one.
        let _ = opened.and_then(|file| file.write_all_at(format!("{percent:3}\n").as_bytes(), 0));
    }
}

/// The line that is being written.
#[derive(Debug, Default)]
struct Line {
    bytes: Vec<u8>,
    is_too_long: bool,
}

impl Line {
    /// The percentage of the line that ends with this byte, if it has one.
    fn take(&mut self, byte: u8) -> Option<u8> {
        if byte == b'\n' || byte == b'\r' {
            let percent = if self.is_too_long { None } else { percent(&self.bytes) };
            self.bytes.clear();
            self.is_too_long = false;
            return percent;
        }
        match self.bytes.len() {
            LONGEST_LINE => self.is_too_long = true,
            _ => self.bytes.push(byte),
        }
        None
    }
}

/// `percent 42`, or what RAUC writes: ` 42% Copying image`.
fn percent(line: &[u8]) -> Option<u8> {
    let line = std::str::from_utf8(line).ok()?.trim();
    let number = match line.strip_prefix("percent ") {
        Some(number) => number.trim(),
        None => line.split_once('%')?.0,
    };
    number.parse().ok().filter(|percent| *percent <= 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(directory: &Path, name: &str) -> String {
        fs::read_to_string(directory.join(name)).unwrap_or_default()
    }

    #[test]
    fn the_last_percentage_of_standard_output_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let mut output = Output::create(&disk::LocalDisk, directory.path()).unwrap();
        let long = format!("percent 99{}\n", " ".repeat(LONGEST_LINE));
        for (stream, written, told) in [
            (Stream::Errors, "percent 1\n", ""),
            (Stream::Output, "percent 2", ""),
            (Stream::Output, "0\npercent", " 20\n"),
            (Stream::Output, " 21\rpercent 101\npercent -1\npercent x\n", " 21\n"),
            (Stream::Output, "x percent 30\npercent 30 %\n30 % \nx 30%\n(30%)\n", " 21\n"),
            (Stream::Output, "  9% Determining slot states done.\n", "  9\n"),
            (Stream::Output, "21%\n", " 21\n"),
            (Stream::Output, &long, " 21\n"),
            (Stream::Output, "percent 0\n", "  0\n"),
            (Stream::Output, "percent 100\n", "100\n"),
        ] {
            output.take(stream, written.as_bytes());
            assert_eq!(read(directory.path(), PROGRESS), told, "after {written:?}");
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
