//! Hashes bytes while more of them are read: on a thread of its own, for files that are worth one.
//!
//! Hashing is the slowest step of a reception, on processors without instructions for it by far.
//! The threads pass a few buffers round, so that neither allocates and memory is constant.

use std::fs::File;
use std::io::{self, Read as _, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

use crate::digest::{BUFFER_SIZE, Beside, Digests, Hasher};

/// Buffers that go round: one is filled, one waits, one is hashed.
const BUFFERS: usize = 3;

/// Files up to this size in bytes are hashed where they are read; a thread would cost more than it
/// gains.
const SMALL: u64 = 4 * BUFFER_SIZE as u64;

/// Hashes the first `size` bytes of a file, or all of it where it ends before; `progress` hears how
/// many were read so far.
pub fn hash_file(file: &File, size: u64, mut progress: impl FnMut(u64)) -> io::Result<Digests> {
    // The kernel then reads ahead further; nothing is lost where it can't be told.
    let _ = posix_fadvise(file, 0, 0, PosixFadviseAdvice::POSIX_FADV_SEQUENTIAL);
    let mut hashing = Hashing::start(size, Beside::default());
    let mut buffer = Vec::with_capacity(BUFFER_SIZE);
    let mut left = size;
    while left > 0 {
        let n = file.take(left.min(BUFFER_SIZE as u64)).read_to_end(&mut buffer)? as u64;
        if n == 0 {
            break;
        }
        hashing.update(&mut buffer)?;
        left -= n;
        progress(size - left);
    }
    hashing.finish()
}

/// Hashes what is written.
pub(crate) struct HashingWriter<W> {
    to: W,
    hashing: Hashing,
    written: Vec<u8>,
}

impl<W: Write> HashingWriter<W> {
    /// For so many bytes, or about as many.
    pub(crate) fn new(to: W, size: u64) -> Self {
        let hashing = Hashing::start(size, Beside::default());
        Self { to, hashing, written: Vec::with_capacity(BUFFER_SIZE) }
    }

    /// The digests of all that was written.
    pub(crate) fn finish(mut self) -> io::Result<Digests> {
        self.hashing.update(&mut self.written)?;
        self.hashing.finish()
    }
}

impl<W: Write> Write for HashingWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = BUFFER_SIZE - self.written.len();
        let n = self.to.write(&bytes[..bytes.len().min(room)])?;
        self.written.extend_from_slice(&bytes[..n]);
        if self.written.len() == BUFFER_SIZE {
            self.hashing.update(&mut self.written)?;
        }
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// Where the hashing is done.
pub(crate) enum Hashing {
    /// On the thread that brings the bytes.
    Here(Box<Hasher>),
    /// On one of its own.
    Beside(HashThread),
}

/// The thread that hashes. Dropped, it ends by itself after the buffers that it has.
pub(crate) struct HashThread {
    filled: SyncSender<Vec<u8>>,
    emptied: Receiver<Vec<u8>>,
    thread: JoinHandle<Digests>,
}

impl Hashing {
    /// Hashing of a file of this size.
    pub(crate) fn start(size: u64, beside: Beside) -> Self {
        let hasher = Hasher::new(beside);
        if size <= SMALL {
            return Self::Here(Box::new(hasher));
        }
        // Without a thread, slower.
        HashThread::start(hasher.clone())
            .map_or_else(|_| Self::Here(Box::new(hasher)), Self::Beside)
    }

    /// Takes the bytes of `full`, and leaves an empty buffer of the same capacity in its place.
    pub(crate) fn update(&mut self, full: &mut Vec<u8>) -> io::Result<()> {
        match self {
            Self::Here(hasher) => {
                hasher.update(full);
                full.clear();
                Ok(())
            }
            Self::Beside(thread) => thread.update(full),
        }
    }

    /// The digests of all bytes.
    pub(crate) fn finish(self) -> io::Result<Digests> {
        match self {
            Self::Here(hasher) => Ok(hasher.finish()),
            Self::Beside(thread) => thread.finish(),
        }
    }
}

impl HashThread {
    fn start(hasher: Hasher) -> io::Result<Self> {
        let (filled, to_hash) = sync_channel(BUFFERS);
        let (hashed, emptied) = sync_channel(BUFFERS);
        for _ in 1..BUFFERS {
            // The channel has room for all; the one that is missing is the caller's.
            let _ = hashed.try_send(Vec::with_capacity(BUFFER_SIZE));
        }
        let thread = thread::Builder::new()
            .name("hash".into())
            .spawn(move || hash(hasher, &to_hash, &hashed))?;
        Ok(Self { filled, emptied, thread })
    }

    fn update(&mut self, full: &mut Vec<u8>) -> io::Result<()> {
        let empty = self.emptied.recv().map_err(|_| thread_is_gone())?;
        self.filled.send(std::mem::replace(full, empty)).map_err(|_| thread_is_gone())
    }

    fn finish(self) -> io::Result<Digests> {
        drop(self.filled);
        self.thread.join().map_err(|_| thread_is_gone())
    }
}

fn hash(mut hasher: Hasher, filled: &Receiver<Vec<u8>>, emptied: &SyncSender<Vec<u8>>) -> Digests {
    for mut buffer in filled {
        hasher.update(&buffer);
        buffer.clear();
        // Nobody takes it after the last bytes.
        let _ = emptied.try_send(buffer);
    }
    hasher.finish()
}

/// It ends early only by a panic.
fn thread_is_gone() -> io::Error {
    io::Error::other("the hashing thread panicked")
}

#[cfg(test)]
mod tests {
    use std::io::Seek as _;

    use super::*;

    #[test]
    fn a_file_is_hashed_to_its_size_or_its_end_here_and_beside() {
        let content: Vec<u8> = (0..SMALL + 70_000).map(|byte| byte.to_le_bytes()[0]).collect();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&content).unwrap();
        let whole = content.len() as u64;
        for (size, hashed) in [
            (0, 0),
            (1, 1),
            (SMALL, SMALL),
            (whole - 1, whole - 1),
            (whole, whole),
            (whole + 9, whole),
        ] {
            file.rewind().unwrap();
            let mut hasher = Hasher::new(Beside::default());
            hasher.update(&content[..usize::try_from(hashed).unwrap()]);
            let mut told = 0;
            let digests = hash_file(&file, size, |bytes| told = bytes).unwrap();
            assert_eq!((digests, told), (hasher.finish(), hashed), "{size}");
        }
    }

    #[test]
    fn what_is_written_is_hashed_however_it_is_cut() {
        let content: Vec<u8> = (0..SMALL + 70_000).map(|byte| byte.to_le_bytes()[1]).collect();
        let mut hasher = Hasher::new(Beside::default());
        hasher.update(&content);
        let digests = hasher.finish();
        for cut in [1000, BUFFER_SIZE, content.len()] {
            for size in [0, content.len() as u64] {
                let mut written = Vec::new();
                let mut writer = HashingWriter::new(&mut written, size);
                content.chunks(cut).for_each(|bytes| writer.write_all(bytes).unwrap());
                assert_eq!(writer.finish().unwrap(), digests, "{cut}");
                assert!(written == content, "{cut}");
            }
        }
    }
}
