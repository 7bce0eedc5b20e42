//! Files that a subcommand makes, and the passwords that it needs for them.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufRead as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use nix::errno::Errno;

use crate::disk::{Disk as _, LocalDisk, Operation, remove_if_present};

/// Longest password file that is read.
const LARGEST_PASSWORD_FILE: u64 = 4096;

/// Something that a person can set right, with what to do about it.
#[derive(Debug, thiserror::Error)]
#[error("{sentence}")]
pub(super) struct Mistake {
    sentence: String,
    hint: String,
}

impl Mistake {
    pub(super) fn new(sentence: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { sentence: sentence.into(), hint: hint.into() }
    }

    /// What to do about it.
    pub(super) fn hint(&self) -> &str {
        &self.hint
    }
}

/// A file that gets its name when it is complete and durable. Dropped before, it leaves nothing
/// behind.
pub(super) struct NewFile {
    place: Place,
    file: File,
}

/// A file that is complete and durable, and has no name yet. Nobody writes to it any more, so it
/// can be run.
pub(super) struct Written(Place);

/// Where a file is until it has its name.
struct Place {
    temporary: PathBuf,
    path: PathBuf,
    force: bool,
}

impl NewFile {
    /// Begins a file. One that exists already is an error, unless `force`.
    pub(super) fn create(path: &Path, mode: u32, force: bool) -> anyhow::Result<Self> {
        if !force && fs::symlink_metadata(path).is_ok() {
            return Err(Mistake::new(
                format!("{} exists already", path.display()),
                "--force replaces it",
            )
            .into());
        }
        let name = path
            .file_name()
            .with_context(|| format!("{} is not the name of a file", path.display()))?;
        // A name of this process's own: another one may be at the same file.
        let temporary =
            path.with_file_name(format!(".{}.{}.new", name.to_string_lossy(), std::process::id()));
        remove_if_present(&LocalDisk, &temporary)
            .and_then(|()| LocalDisk.create(&temporary, mode))
            .map(|file| Self { place: Place { temporary, path: path.to_owned(), force }, file })
            .with_context(|| format!("{} can't be written", path.display()))
    }

    /// The file, open for reading and writing.
    pub(super) const fn file(&self) -> &File {
        &self.file
    }

    /// Writes these bytes and finishes.
    pub(super) fn finish_with(self, bytes: &[u8]) -> anyhow::Result<()> {
        self.complete_with(bytes)?.name()
    }

    /// Writes these bytes, which are the last.
    pub(super) fn complete_with(self, bytes: &[u8]) -> anyhow::Result<Written> {
        let Self { place, file } = self;
        let written = LocalDisk.apply(Operation::Write { file: &file, bytes });
        written
            .and_then(|()| LocalDisk.apply(Operation::Sync { file: &file }))
            .with_context(|| place.can_not_be_written())?;
        Ok(Written(place))
    }
}

impl Written {
    /// Where it lies meanwhile.
    pub(super) fn place(&self) -> &Path {
        &self.0.temporary
    }

    /// Gives it its name.
    pub(super) fn name(self) -> anyhow::Result<()> {
        self.0.name().with_context(|| self.0.can_not_be_written())
    }
}

impl Place {
    fn can_not_be_written(&self) -> String {
        format!("{} can't be written", self.path.display())
    }

    fn name(&self) -> io::Result<()> {
        let (from, to) = (&self.temporary, &self.path);
        if self.force {
            return LocalDisk.apply(Operation::Rename { from, to });
        }
        match LocalDisk.apply(Operation::RenameToFree { from, to }) {
            // Not every file system can; that the name was free was seen at the beginning.
            Err(error) if error.raw_os_error() == Some(Errno::EINVAL as i32) => {
                LocalDisk.apply(Operation::Rename { from, to })
            }
            result => result,
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // After a rename it is gone; otherwise the error is told already.
        let _ = remove_if_present(&LocalDisk, &self.temporary);
    }
}

/// Whether a person at the terminal says yes to this question.
pub(super) fn agrees(question: fmt::Arguments<'_>) -> io::Result<bool> {
    eprint!("{question} [y/N] ");
    io::stderr().flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// The password in the first line of a file.
pub(super) fn read_password(file: &Path) -> anyhow::Result<String> {
    let text = read_small(file, "password file", LARGEST_PASSWORD_FILE)?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

/// A small text file; `what` it is, such as "password file".
pub(super) fn read_small(path: &Path, what: &str, limit: u64) -> anyhow::Result<String> {
    use io::Read as _;
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(limit + 1).read_to_string(&mut text));
    match read {
        Ok(length) if length as u64 <= limit => Ok(text),
        Ok(_) => bail!("{} is no {what}: it has more than {limit} bytes", path.display()),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            bail!("{} is no {what}: it is not text", path.display())
        }
        Err(error) => {
            Err(error).with_context(|| format!("the {what} {} can't be read", path.display()))
        }
    }
}

/// Asks for a password on the terminal, without showing it; `hint` says how to do without one.
pub(super) fn ask_password(prompt: &str, hint: &str) -> anyhow::Result<String> {
    use io::ErrorKind::{NotFound, PermissionDenied};
    rpassword::prompt_password(prompt).map_err(|error| {
        let no_terminal = matches!(error.kind(), NotFound | PermissionDenied)
            || matches!(
                error.raw_os_error().map(Errno::from_raw),
                Some(Errno::ENXIO | Errno::ENOTTY)
            );
        match no_terminal {
            true => {
                Mistake::new("the password can't be asked for: there is no terminal", hint).into()
            }
            false => anyhow::Error::new(error).context("the password can't be asked for"),
        }
    })
}
