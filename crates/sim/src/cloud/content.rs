//! The bytes of a firmware file that a platform hands out, and their digests. A file stays on the
//! disk; nothing here holds more than a buffer of it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use md5::{Digest, Md5};
use sha1::Sha1;
use sha2::Sha256;

/// Read at once.
const BUFFER: usize = 64 << 10;

/// Bytes in memory or on a disk.
#[derive(Debug, Clone)]
pub struct Content {
    source: Source,
    size: u64,
    digests: Digests,
}

#[derive(Debug, Clone)]
enum Source {
    Memory(Arc<[u8]>),
    Disk(Arc<File>),
}

/// Digests in lower-case hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digests {
    /// MD5.
    pub md5: String,
    /// SHA-1.
    pub sha1: String,
    /// SHA-256.
    pub sha256: String,
}

impl Content {
    /// These bytes.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        let mut hashing = Hashing::default();
        hashing.add(bytes);
        let size = bytes.len() as u64;
        Self { source: Source::Memory(bytes.into()), size, digests: hashing.finish() }
    }

    /// The bytes of the file at `path`, which must not change any more.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let open = || -> io::Result<(File, u64, bool)> {
            let file = File::open(path)?;
            let metadata = file.metadata()?;
            Ok((file, metadata.len(), metadata.is_file()))
        };
        let (file, size, is_file) = open().with_context(|| format!("{}", path.display()))?;
        ensure!(is_file, "{} is no file", path.display());
        let (mut hashing, mut at, mut buffer) = (Hashing::default(), 0, vec![0; BUFFER]);
        loop {
            let read = file.read_at(&mut buffer, at)?;
            if read == 0 {
                break;
            }
            hashing.add(&buffer[..read]);
            at += read as u64;
        }
        Ok(Self { source: Source::Disk(Arc::new(file)), size, digests: hashing.finish() })
    }

    /// Number of bytes.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The digests.
    #[must_use]
    pub const fn digests(&self) -> &Digests {
        &self.digests
    }

    /// Reads bytes from this offset on; the number read, 0 at the end.
    pub(super) fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        match &self.source {
            Source::Disk(file) => file.read_at(buffer, at),
            Source::Memory(bytes) => {
                let rest = usize::try_from(at).ok().and_then(|at| bytes.get(at..)).unwrap_or(&[]);
                let count = rest.len().min(buffer.len());
                buffer[..count].copy_from_slice(&rest[..count]);
                Ok(count)
            }
        }
    }
}

#[derive(Default)]
struct Hashing {
    md5: Md5,
    sha1: Sha1,
    sha256: Sha256,
}

impl Hashing {
    fn add(&mut self, bytes: &[u8]) {
        self.md5.update(bytes);
        self.sha1.update(bytes);
        self.sha256.update(bytes);
    }

    fn finish(self) -> Digests {
        Digests {
            md5: hexadecimal(&self.md5.finalize()),
            sha1: hexadecimal(&self.sha1.finalize()),
            sha256: hexadecimal(&self.sha256.finalize()),
        }
    }
}

/// SHA-1 of text, as servers make tags of their answers.
pub(super) fn sha1_of(text: &[u8]) -> String {
    hexadecimal(&Sha1::digest(text))
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The bytes 00 to FF, sixteen times.
    pub(in crate::cloud) fn example() -> Content {
        Content::new(&(0..4096).map(|number| (number % 256) as u8).collect::<Vec<_>>())
    }

    #[test]
    fn the_digests_are_those_that_other_programs_make() {
        let digests = example().digests().clone();
        assert_eq!(digests.md5, "2bcd3c4de20c918e19fab5c36249c70d");
        assert_eq!(digests.sha1, "e9dded8c84614e894501965af60c2525794a8c7d");
        assert_eq!(
            digests.sha256,
            "c8f5d0341d54d951a71b136e6e2afcb14d11ed8489a7ae126a8fee0df6ecf193"
        );
    }

    #[test]
    fn a_file_on_the_disk_is_as_good_as_one_in_memory() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        #[allow(clippy::disallowed_methods, reason = "files of a test need not survive anything")]
        std::fs::write(&path, vec![7; BUFFER + 1]).unwrap();
        let (disk, memory) = (Content::open(&path).unwrap(), Content::new(&vec![7; BUFFER + 1]));
        assert_eq!((disk.size(), disk.digests()), (memory.size(), memory.digests()));
        for content in [disk, memory] {
            let mut buffer = [0; 2];
            assert_eq!(content.read_at(&mut buffer, BUFFER as u64).unwrap(), 1);
            assert_eq!(buffer, [7, 0]);
            assert_eq!(content.read_at(&mut buffer, 1 << 40).unwrap(), 0);
        }
        assert!(Content::open(directory.path()).is_err());
        assert!(Content::open(&directory.path().join("none")).is_err());
    }
}
