//! What a channel must know again after its process or the machine was started anew: a small file
//! in the channels' own directory, for nobody else to read, since it may hold secret URLs.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::disk::{self, LocalDisk};

/// Largest record in bytes: one message of a broker.
const LARGEST: u64 = 1 << 20;

/// A record and its file.
#[derive(Debug)]
pub(crate) struct Kept<T> {
    directory: PathBuf,
    file: &'static str,
    value: T,
    /// Whether the file is behind the value.
    is_noted: bool,
    /// Number of the last state that somebody writes.
    number: u64,
    /// Number of the one in the file.
    written: Arc<Mutex<u64>>,
}

/// What a record was, on its way to the file. Whoever has it need not hold the record.
pub(crate) struct Writing {
    directory: PathBuf,
    file: &'static str,
    bytes: Vec<u8>,
    number: u64,
    written: Arc<Mutex<u64>>,
}

impl<T: Serialize + DeserializeOwned + Default + Clone + PartialEq> Kept<T> {
    /// The one in this directory, which is made where it is not there. Where there is none, or
    /// one that can't be read, it begins anew: it must not keep a payload from its upgrades.
    pub(crate) fn open(directory: PathBuf, file: &'static str) -> Self {
        make(&directory);
        let path = directory.join(file);
        let read = disk::read_limited(&path, LARGEST).map_err(|error| error.to_string());
        let value = read.and_then(|bytes| match bytes {
            Some(bytes) => serde_json::from_slice(&bytes).map_err(|error| error.to_string()),
            None => Ok(T::default()),
        });
        let value = value.unwrap_or_else(|error| {
            tracing::warn!("{} can't be read, and begins anew: {error}", path.display());
            T::default()
        });
        Self { directory, file, value, is_noted: false, number: 0, written: Arc::default() }
    }

    /// What is known.
    pub(crate) fn get(&self) -> &T {
        &self.value
    }

    /// Changes it, here and, durably, in its file.
    pub(crate) fn change<R>(&mut self, change: impl FnOnce(&mut T) -> R) -> R {
        let before = self.value.clone();
        let result = change(&mut self.value);
        if self.value != before || self.is_noted {
            self.writing().run();
        }
        result
    }

    /// Changes it here; in its file with the next change, or [otherwise](Self::noted).
    pub(crate) fn note(&mut self, change: impl FnOnce(&mut T)) {
        let before = self.value.clone();
        change(&mut self.value);
        self.is_noted |= self.value != before;
    }

    /// What is noted and not on its way to the file.
    pub(crate) fn noted(&mut self) -> Option<Writing> {
        self.is_noted.then(|| self.writing())
    }

    fn writing(&mut self) -> Writing {
        self.is_noted = false;
        self.number += 1;
        Writing {
            directory: self.directory.clone(),
            file: self.file,
            bytes: serde_json::to_vec(&self.value).unwrap_or_default(),
            number: self.number,
            written: Arc::clone(&self.written),
        }
    }
}

impl Writing {
    /// Makes it durable, unless a later state is already. Blocks.
    pub(crate) fn run(self) {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        if self.number < *written {
            return;
        }
        *written = self.number;
        let done = disk::write_atomic_private(&LocalDisk, &self.directory, self.file, &self.bytes);
        if let Err(error) = done {
            let path = self.directory.join(self.file);
            tracing::warn!("{} can't be written: {error}", path.display());
        }
    }
}

/// Makes the channels' own directory where systemd has not made it.
pub(super) fn make(directory: &Path) {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
    if let Err(error) = made {
        tracing::warn!("{} can't be made: {error}", directory.display());
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "files of a test need not survive anything")]
mod tests {
    use super::*;

    #[test]
    fn a_record_outlives_its_process_and_a_damaged_one_begins_anew() {
        let place = tempfile::tempdir().unwrap();
        let directory = place.path().join("channels");
        let mut kept: Kept<Vec<u8>> = Kept::open(directory.clone(), "x.json");
        kept.change(|value| value.push(7));
        let mut again: Kept<Vec<u8>> = Kept::open(directory.clone(), "x.json");
        assert_eq!(again.get(), &[7]);
        let in_file = || Kept::<Vec<u8>>::open(directory.clone(), "x.json").get().clone();
        again.note(|value| value.push(8));
        assert_eq!(in_file(), [7]);
        again.noted().unwrap().run();
        assert_eq!(in_file(), [7, 8]);
        again.note(|value| value.push(9));
        again.change(|_| {});
        assert_eq!(in_file(), [7, 8, 9]);
        assert!(again.noted().is_none());
        again.note(|value| value.push(10));
        let late = again.noted().unwrap();
        again.change(|value| value.push(11));
        late.run();
        assert_eq!(in_file(), [7, 8, 9, 10, 11], "what was on its way is older");
        std::fs::write(directory.join("x.json"), "{").unwrap();
        let anew: Kept<Vec<u8>> = Kept::open(directory, "x.json");
        assert!(anew.get().is_empty());
    }
}
