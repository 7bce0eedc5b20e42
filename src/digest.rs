//! The hashing of bytes while they pass. Knows where a seal ends or begins a file, and nothing of
//! what the digests are for.

pub mod hashing;

use std::io::{self, Read};
use std::mem;

use sha2::Digest as _;

use crate::disk;
use crate::model::{AnnouncedDigests, FileDigest, Md5Digest, ProgramDigest, Sha1Digest};
use crate::seal::{self, Beginning, HEAD_SIZE, LARGEST_SEAL, Seal};
use crate::tree;

/// Hashes bytes as they pass: SHA-256 always, a weaker digest in the same pass where a channel
/// announces nothing better.
///
/// One pass gives both the digest of the file and that of the program. Only the end of a file tells
/// whether a seal stands there, so SHA-256 lags behind by the largest seal that there is; what
/// stands behind a seal at the beginning is hashed once more, by itself, and so is the manifest of a
/// tree.
#[derive(Debug, Clone)]
pub struct Hasher {
    /// Of all bytes but those in `tail`.
    sha256: sha2::Sha256,
    /// The last bytes, at most [`LARGEST_SEAL`].
    tail: Vec<u8>,
    head: Head,
    size: u64,
    md5: Option<md5::Md5>,
    sha1: Option<sha1::Sha1>,
}

/// Which digests are computed beside SHA-256.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Beside {
    /// MD5, at about four times the cost.
    pub md5: bool,
    /// SHA-1.
    pub sha1: bool,
}

impl Beside {
    /// What is needed to compare a file with these: the strongest of them.
    pub fn of(announced: &AnnouncedDigests) -> Self {
        let sha1 = announced.sha256.is_none() && announced.sha1.is_some();
        let md5 = announced.sha256.is_none() && announced.sha1.is_none() && announced.md5.is_some();
        Self { md5, sha1 }
    }
}

/// The beginning of a file, as far as it may be a seal.
#[derive(Debug, Clone)]
enum Head {
    /// It is none.
    Plain,
    /// These bytes may be the beginning of one.
    Open(Vec<u8>),
    /// It has the lengths of one; what stands behind those is hashed here.
    Sealed { head: Vec<u8>, payload: sha2::Sha256 },
    /// It is the header of a tree's archive; the manifest behind it, of which so many bytes are still
    /// to come, is hashed here.
    Tree { manifest: sha2::Sha256, left: usize },
}

/// What a [`Hasher`] has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digests {
    /// SHA-256 of all bytes.
    pub file: FileDigest,
    /// SHA-256 of the bytes before or behind the seal; of all bytes where there is no well-formed
    /// seal. Of the archive of a tree, the digest of its manifest.
    pub program: ProgramDigest,
    /// MD5, where it was asked for.
    pub md5: Option<Md5Digest>,
    /// SHA-1, where it was asked for.
    pub sha1: Option<Sha1Digest>,
}

impl Digests {
    /// What the manifest of a container calls a program by that comes out of it, whatever that looks
    /// like: all its bytes. Of a tree the manifest alone, which says the rest.
    pub(crate) fn in_container(&self, is_tree: bool) -> ProgramDigest {
        if is_tree { self.program } else { ProgramDigest(self.file.0) }
    }
}

impl Hasher {
    /// A hasher that has seen nothing.
    pub fn new(beside: Beside) -> Self {
        Self {
            sha256: sha2::Sha256::new(),
            tail: Vec::with_capacity(LARGEST_SEAL),
            head: Head::Open(Vec::new()),
            size: 0,
            md5: beside.md5.then(md5::Md5::new),
            sha1: beside.sha1.then(sha1::Sha1::new),
        }
    }

    /// Takes the next bytes. Large pieces cost least: up to the largest seal of them is copied.
    pub fn update(&mut self, bytes: &[u8]) {
        if let Some(md5) = &mut self.md5 {
            md5.update(bytes);
        }
        if let Some(sha1) = &mut self.sha1 {
            sha1.update(bytes);
        }
        self.size += bytes.len() as u64;
        self.head.update(bytes);
        let (before, last) = bytes.split_at(bytes.len().saturating_sub(LARGEST_SEAL));
        let surplus = (self.tail.len() + last.len()).saturating_sub(LARGEST_SEAL);
        self.sha256.update(&self.tail[..surplus]);
        self.sha256.update(before);
        self.tail.drain(..surplus);
        self.tail.extend_from_slice(last);
    }

    /// The digests of all bytes taken.
    pub fn finish(mut self) -> Digests {
        // What is no seal belongs to the program; the check will not let it in.
        let payload = Seal::find(self.head.bytes(), &self.tail, self.size)
            .ok()
            .flatten()
            .map_or(0..self.size, |seal| seal.payload);
        let sealed = usize::try_from(self.size - payload.end).unwrap_or_default();
        let (of_program, of_seal) = self.tail.split_at(self.tail.len().saturating_sub(sealed));
        self.sha256.update(of_program);
        let program = match (self.head, usize::try_from(payload.start)) {
            (Head::Sealed { payload: behind, .. }, Ok(1..)) => behind,
            (Head::Open(head), Ok(start @ 1..)) => {
                sha2::Sha256::new_with_prefix(head.get(start..).unwrap_or_default())
            }
            (Head::Tree { manifest, left: 0 }, Ok(0)) => manifest,
            _ => self.sha256.clone(),
        };
        self.sha256.update(of_seal);
        Digests {
            file: FileDigest(self.sha256.finalize().into()),
            program: ProgramDigest(program.finalize().into()),
            md5: self.md5.map(|md5| Md5Digest(md5.finalize().into())),
            sha1: self.sha1.map(|sha1| Sha1Digest(sha1.finalize().into())),
        }
    }
}

impl Head {
    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Plain => {}
            Self::Open(head) => {
                let (first, rest) = bytes.split_at(bytes.len().min(HEAD_SIZE - head.len()));
                head.extend_from_slice(first);
                match seal::beginning(head) {
                    Beginning::None => {
                        if let Some(next) = Self::without_seal(head) {
                            let head = mem::take(head);
                            *self = next;
                            self.update(head.get(tree::HEADER_SIZE..).unwrap_or_default());
                            self.update(rest);
                        }
                    }
                    Beginning::Seal(size) => {
                        let payload = sha2::Sha256::new_with_prefix(&head[size..]);
                        *self = Self::Sealed { head: mem::take(head), payload };
                        self.update(rest);
                    }
                    Beginning::Unknown => {}
                }
            }
            Self::Sealed { payload, .. } => payload.update(bytes),
            Self::Tree { manifest, left } => {
                let now = bytes.len().min(*left);
                manifest.update(&bytes[..now]);
                *left -= now;
            }
        }
    }

    /// What a file is that begins so and has no seal there; nothing as long as that can't be said.
    fn without_seal(head: &[u8]) -> Option<Self> {
        let begins = head.starts_with(&tree::MAGIC[..tree::MAGIC.len().min(head.len())]);
        match head.first_chunk() {
            None if begins => None,
            Some(header) => Some(
                tree::manifest_size(header)
                    .map_or(Self::Plain, |left| Self::Tree { manifest: sha2::Sha256::new(), left }),
            ),
            None => Some(Self::Plain),
        }
    }

    /// As much of the beginning as [`Seal::find`] wants of a file that may be sealed there.
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Plain | Self::Tree { .. } => &[],
            Self::Open(head) | Self::Sealed { head, .. } => head,
        }
    }
}

/// Size of the one buffer of a transfer or of a hashing pass: large enough that system calls do not
/// count.
pub const BUFFER_SIZE: usize = 256 * 1024;

/// Reads to the end and returns the digest of the program, without its seal if it has one.
pub fn program_digest(mut program: impl Read) -> io::Result<ProgramDigest> {
    let mut hasher = Hasher::new(Beside::default());
    let mut buffer = vec![0; BUFFER_SIZE];
    loop {
        match disk::read(&mut program, &mut buffer)? {
            0 => return Ok(hasher.finish().program),
            n => hasher.update(&buffer[..n]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes 00..FF sixteen times; digests by md5sum, sha1sum and sha256sum.
    #[test]
    fn digests_of_a_known_file() {
        let bytes: Vec<u8> = (0..4096).map(|i| (i % 256) as u8).collect();
        let mut hasher = Hasher::new(Beside { md5: true, sha1: true });
        bytes.chunks(100).for_each(|chunk| hasher.update(chunk));
        let digests = hasher.finish();
        assert_eq!(digests.md5.unwrap().to_string(), "2bcd3c4de20c918e19fab5c36249c70d");
        let sha1 = digests.sha1.unwrap().to_string();
        assert_eq!(sha1, "e9dded8c84614e894501965af60c2525794a8c7d");
        assert_eq!(
            digests.file.to_string(),
            "c8f5d0341d54d951a71b136e6e2afcb14d11ed8489a7ae126a8fee0df6ecf193"
        );
        assert_eq!(program_digest(&bytes[..]).unwrap().0, digests.file.0);
    }

    /// Says something else than bytes first.
    struct Disturbed<'a>(Option<io::ErrorKind>, &'a [u8]);

    impl Read for Disturbed<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            match self.0.take() {
                Some(kind) => Err(kind.into()),
                None => self.1.read(buffer),
            }
        }
    }

    #[test]
    fn a_signal_interrupts_no_hashing_and_an_error_does() {
        let digest = program_digest(Disturbed(Some(io::ErrorKind::Interrupted), b"bytes"));
        assert_eq!(digest.unwrap(), program_digest(&b"bytes"[..]).unwrap());
        let error = program_digest(Disturbed(Some(io::ErrorKind::Other), b"bytes")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::Other);
    }
}
