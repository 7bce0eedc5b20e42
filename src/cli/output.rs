//! Files that a subcommand makes, the passwords that it needs for them, and the bar while a file is hashed.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use indicatif::{ProgressBar, ProgressStyle};
use nix::errno::Errno;

use crate::disk::{Disk as _, LocalDisk, Operation, remove_if_present};

/// Longest password file that is read.
const LARGEST_PASSWORD_FILE: u64 = 4096;

/// A file that gets its name when it is complete and durable. Dropped before, it leaves nothing behind.
pub(super) struct NewFile {
    temporary: PathBuf,
    path: PathBuf,
    force: bool,
    file: File,
}

impl NewFile {
    /// Begins a file. One that exists already is an error, unless `force`.
    pub(super) fn create(path: &Path, mode: u32, force: bool) -> anyhow::Result<Self> {
        if !force && fs::symlink_metadata(path).is_ok() {
            bail!("{} exists already; --force replaces it", path.display());
        }
        let name = path.file_name().with_context(|| format!("{} is not the name of a file", path.display()))?;
        // A name of this process's own: another one may be at the same file.
        let temporary = path.with_file_name(format!(".{}.{}.new", name.to_string_lossy(), std::process::id()));
        remove_if_present(&LocalDisk, &temporary)
            .and_then(|()| LocalDisk.create(&temporary, mode))
            .map(|file| Self { temporary, path: path.to_owned(), force, file })
            .with_context(|| format!("{} can't be written", path.display()))
    }

    /// The file, open for reading and writing.
    pub(super) const fn file(&self) -> &File {
        &self.file
    }

    /// Writes these bytes and finishes.
    pub(super) fn finish_with(self, bytes: &[u8]) -> anyhow::Result<()> {
        let written = LocalDisk
            .apply(Operation::Write { file: &self.file, bytes })
            .and_then(|()| LocalDisk.apply(Operation::Sync { file: &self.file }))
            .and_then(|()| self.name());
        written.with_context(|| format!("{} can't be written", self.path.display()))
    }

    fn name(&self) -> io::Result<()> {
        let (from, to) = (&self.temporary, &self.path);
        if self.force {
            return LocalDisk.apply(Operation::Rename { from, to });
        }
        match LocalDisk.apply(Operation::RenameToFree { from, to }) {
            // Not every file system can; that the name was free was seen at the beginning.
            Err(error) if error.raw_os_error() == Some(Errno::EINVAL as i32) => LocalDisk.apply(Operation::Rename { from, to }),
            result => result,
        }
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        // After a rename it is gone; otherwise the error is told already.
        let _ = remove_if_present(&LocalDisk, &self.temporary);
    }
}

/// The password in the first line of a file.
pub(super) fn read_password(file: &Path) -> anyhow::Result<String> {
    let text = read_small(file, LARGEST_PASSWORD_FILE)?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

/// A small text file, such as a key or a password.
pub(super) fn read_small(path: &Path, limit: u64) -> anyhow::Result<String> {
    use io::Read as _;
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(limit + 1).read_to_string(&mut text));
    let length = read.with_context(|| format!("{} can't be read", path.display()))?;
    if length as u64 > limit {
        bail!("{} has more than {limit} bytes, so it is not what is expected here", path.display());
    }
    Ok(text)
}

/// Asks for a password on the terminal, without showing it.
pub(super) fn ask_password(prompt: &str) -> anyhow::Result<String> {
    rpassword::prompt_password(prompt).context("there is no terminal to ask for the password; give it with --password-file")
}

/// A bar while `size` bytes are hashed; nothing where there is no terminal.
pub(super) fn hashing_bar(size: u64, hidden: bool) -> ProgressBar {
    let bar = if hidden { ProgressBar::hidden() } else { ProgressBar::new(size) };
    let style = ProgressStyle::with_template("hashing [{bar:24}] {percent:>3} %  {bytes}/{total_bytes}  {bytes_per_sec}  {eta}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("##-"));
    bar
}
