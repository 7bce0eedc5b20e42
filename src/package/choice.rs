//! Which of a container's streams makes its program here: one that changes the program that is
//! installed, or one that is the whole.
//!
//! The installed program is hashed before it is taken for the one that a stream changes, and what is
//! hashed is what is read later, whatever comes to its path meanwhile. A file that was hashed and has not
//! changed since is not hashed again.

use std::fs::File;
use std::io::{self, Seek as _};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use super::codec::Codec;
use super::open;
use crate::digest::hashing::hash_file;
use crate::disk::stamp::{Stamp, stamp};
use crate::model::version::Version;
use crate::model::{Failure, FailureKind, Form, ProgramDigest};
use crate::seal::container::Front;
use crate::seal::{Base, Stream};
use crate::stage::directory_beside;
use crate::tree::{Owners, Scan};

/// A stream of a container, and what it needs.
#[derive(Debug)]
pub struct Choice {
    pub(super) number: usize,
    pub(super) codec: Codec,
    pub(super) old: Option<File>,
}

/// The program that was hashed last, by what tells its file and its changes: that is asked for when a
/// container begins to come, and once more when all of it is there. Its clones are one.
///
/// It only saves time for one that fits; that none fits is said of what was read. A change that does not show,
/// in the same tick of the kernel's clock, has the right stream applied to the wrong program. Whatever comes of
/// that is not what the manifest says, and is refused.
#[derive(Debug, Clone, Default)]
pub struct LastHashed(Arc<Mutex<Option<(Stamp, ProgramDigest)>>>);

/// A program that a stream may change: the first bytes of a file.
#[derive(Debug)]
pub struct OldProgram {
    /// Read once more where a stream is applied.
    pub file: File,
    /// How many bytes of it are the program.
    pub size: u64,
    /// Of these.
    pub digest: ProgramDigest,
}

impl Choice {
    /// The smallest stream that makes the program of the one at this path, or else the whole; what
    /// changes a tree changes its archive. `wrong-base` where the container has only what changes other
    /// programs; `version` is told then of the one at the path.
    pub fn at(
        front: &Front,
        program: Option<(&Path, Form)>,
        version: Option<Version>,
        hashed: &LastHashed,
    ) -> Result<Self, Failure> {
        let changes = front.manifest.streams.iter().any(|stream| stream.base.is_some());
        let read = |(path, form)| match form {
            Form::File => program_at(path),
            Form::Tree => tree_at(path),
        };
        let program = program.filter(|_| changes).map(read).transpose().map_err(unreadable)?;
        let fits = |digest| streams(front, Codec::Delta).any(|(_, stream)| is_of(stream, digest));
        let hash = |program| OldProgram::hash(program, hashed, fits);
        let program = program.flatten().map(hash).transpose().map_err(unreadable)?;
        Self::of(front, program, version)
    }

    /// The same of an old program whose digest is known.
    pub fn of(
        front: &Front,
        program: Option<OldProgram>,
        version: Option<Version>,
    ) -> Result<Self, Failure> {
        let digest = program.as_ref().map(|program| program.digest);
        let fits = |base: &Base| {
            let is_it = |one: &OldProgram| one.digest == base.sha256 && one.size >= base.size;
            program.as_ref().is_some_and(is_it)
        };
        let smallest = streams(front, Codec::Delta)
            .filter(|(_, stream)| stream.base.as_ref().is_some_and(fits))
            .min_by_key(|(_, stream)| stream.size);
        if let Some((number, _)) = smallest {
            let old = program.map(|program| program.file);
            return Ok(Self { number, codec: Codec::Delta, old });
        }
        match streams(front, Codec::Zstd).find(|(_, stream)| stream.base.is_none()) {
            Some((number, _)) => Ok(Self { number, codec: Codec::Zstd, old: None }),
            None => Err(without_stream(front, digest, version)),
        }
    }

    /// Whether no program of this container can be had without an old one.
    pub fn needs_old(front: &Front) -> bool {
        streams(front, Codec::Delta).next().is_some()
            && front.manifest.streams.iter().all(|stream| stream.base.is_some())
    }

    /// Whether it changes an old program.
    pub const fn is_delta(&self) -> bool {
        self.old.is_some()
    }
}

/// Whether a stream changes the program with this digest.
fn is_of(stream: &Stream, digest: ProgramDigest) -> bool {
    stream.base.as_ref().is_some_and(|base| base.sha256 == digest)
}

/// The streams of a codec, with their numbers.
fn streams(front: &Front, codec: Codec) -> impl Iterator<Item = (usize, &Stream)> {
    let is_it = move |stream: &Stream| stream.codec.parse().is_ok_and(|one: Codec| one == codec);
    front.manifest.streams.iter().enumerate().filter(move |(_, stream)| is_it(stream))
}

impl OldProgram {
    fn hash(
        file: File,
        hashed: &LastHashed,
        fits: impl Fn(ProgramDigest) -> bool,
    ) -> io::Result<Self> {
        // Taken before the content is read: what changes meanwhile has another one.
        let metadata = file.metadata()?;
        let (size, stamp) = (metadata.len(), stamp(&metadata));
        (&file).rewind()?;
        if let Some(digest) = hashed.of(stamp).filter(|digest| fits(*digest)) {
            return Ok(Self { file, size, digest });
        }
        let digest = hash_file(&file, size, |_| ())?.program;
        hashed.remember(stamp, digest);
        Ok(Self { file, size, digest })
    }
}

impl LastHashed {
    fn of(&self, stamp: Stamp) -> Option<ProgramDigest> {
        let last = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.filter(|(of, _)| *of == stamp).map(|(_, digest)| digest)
    }

    fn remember(&self, stamp: Stamp, digest: ProgramDigest) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((stamp, digest));
    }
}

/// A regular file, which is all that can be a program.
fn program_at(path: &Path) -> io::Result<Option<File>> {
    let file = match open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        result => result?,
    };
    Ok(file.metadata()?.is_file().then_some(file))
}

/// The archive of a directory, made anew.
fn tree_at(path: &Path) -> io::Result<Option<File>> {
    match path.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Ok(found) if !found.is_dir() => return Ok(None),
        found => found?,
    };
    let archive = Scan::of(path, Owners::Theirs)
        .and_then(|scan| scan.archive(&directory_beside(path)))
        .map_err(io::Error::other)?;
    Ok(Some(archive))
}

fn without_stream(
    front: &Front,
    found: Option<ProgramDigest>,
    version: Option<Version>,
) -> Failure {
    let bases: Vec<&Base> =
        streams(front, Codec::Delta).filter_map(|(_, stream)| stream.base.as_ref()).collect();
    if bases.is_empty() {
        let failure = Failure::new(FailureKind::SealInvalid, "the container can't be unpacked");
        let codecs = front.manifest.streams.iter().map(|stream| stream.codec.parse::<Codec>());
        return match codecs.filter_map(Result::err).next() {
            Some(unknown) => failure.because(unknown),
            None => failure,
        };
    }
    let needed: Vec<String> = bases.iter().map(|base| base.version.to_string()).collect();
    let here = match (version, found) {
        (_, None) => "no program is there to be changed".to_owned(),
        (Some(version), Some(found)) if bases.iter().any(|base| base.version == version) => {
            format!("another program of version {version} is here, with SHA-256 {found}")
        }
        (Some(version), Some(_)) => format!("{version} is here"),
        (None, Some(found)) => format!("a program with SHA-256 {found} is here"),
    };
    let sentence = format!(
        "the file is only what changes {} into {}, and {here}",
        needed.join(" or "),
        front.manifest.version
    );
    Failure::new(FailureKind::WrongBase, sentence)
}

fn unreadable(error: io::Error) -> Failure {
    Failure::new(FailureKind::Internal, "the old program can't be read").because(error)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use sha2::Digest as _;

    use super::*;
    use crate::model::FileDigest;
    use crate::seal::container::Found;
    use crate::seal::{Manifest, Place};

    const OLD: &[u8] = b"the old program";

    fn old() -> Option<OldProgram> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(OLD).unwrap();
        let digest = ProgramDigest(sha2::Sha256::digest(OLD).into());
        Some(OldProgram { file, size: OLD.len() as u64, digest })
    }

    fn stream(codec: &str, size: u64, base: Option<&[u8]>) -> Stream {
        let base = base.map(|bytes| Base {
            version: "V01.00.00.00".parse().unwrap(),
            size: bytes.len() as u64,
            sha256: ProgramDigest(sha2::Sha256::digest(bytes).into()),
        });
        Stream { codec: codec.into(), window: 1024, size, pieces: FileDigest([0; 32]), base }
    }

    fn front(streams: Vec<Stream>) -> Front {
        let manifest = Manifest {
            product: "DEMO".into(),
            version: "V02.00.00.00".parse().unwrap(),
            machine: "any".into(),
            size: 1,
            sha256: ProgramDigest([7; 32]),
            created: String::new(),
            replaces_from: None,
            key_id: None,
            place: Place::Before,
            streams,
        };
        let head = Front::to_bytes(&manifest.to_text().unwrap(), "").unwrap();
        let Found::Front(front) = Front::find(&head).unwrap() else { panic!("no front") };
        *front
    }

    /// Which stream is chosen with the old program and without, or the kind and the words of the
    /// failure.
    fn chosen(streams: &[Stream], has_old: bool) -> Result<usize, (FailureKind, String)> {
        let version = "V01.00.00.00".parse().ok();
        let choice = Choice::of(&front(streams.to_vec()), old().filter(|_| has_old), version);
        let choice = choice.map_err(|failure| (failure.kind, failure.to_string()))?;
        assert_eq!(choice.is_delta(), streams[choice.number].base.is_some());
        Ok(choice.number)
    }

    #[test]
    fn the_smallest_change_of_what_is_here_is_taken_and_else_the_whole() {
        let other = Some(&b"another program"[..]);
        let streams = [
            stream("brotli", 1, Some(OLD)),
            stream("delta", 9, Some(OLD)),
            stream("delta", 8, Some(OLD)),
            stream("delta", 1, other),
            stream("brotli", 1, None),
            stream("zstd", 99, None),
        ];
        assert_eq!(chosen(&streams, true), Ok(2));
        assert_eq!(chosen(&streams, false), Ok(5));
        assert_eq!(chosen(&streams[3..], true), Ok(2));
        assert!(!Choice::needs_old(&front(streams.to_vec())));
        assert!(Choice::needs_old(&front(streams[..4].to_vec())));
    }

    /// What is remembered is a lie here, so that it shows when it is believed.
    #[test]
    fn a_program_is_hashed_again_only_when_its_file_has_changed_or_does_not_fit() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("program");
        let (other, hashed) = (b"another program", LastHashed::default());
        let write =
            |path: &Path, bytes: &[u8]| File::create(path).unwrap().write_all(bytes).unwrap();
        write(&path, other);
        let front = front(vec![stream("delta", 1, Some(OLD))]);
        let fits = || Choice::at(&front, Some((&path, Form::File)), None, &hashed.clone()).is_ok();
        assert!(!fits());
        let (known, digest) = hashed.0.lock().unwrap().unwrap();
        assert_eq!(digest.0, <[u8; 32]>::from(sha2::Sha256::digest(other)));
        let digest = ProgramDigest(sha2::Sha256::digest(OLD).into());
        hashed.remember(known, digest);
        assert!(fits(), "it was hashed again, and nothing has changed");
        // Another file with the same bytes, as an upgrade leaves it.
        write(&directory.path().join("next"), other);
        std::fs::rename(directory.path().join("next"), &path).unwrap();
        assert!(!fits(), "it was taken for the file before");
        write(&path, OLD);
        let now = stamp(&std::fs::metadata(&path).unwrap());
        hashed.remember(now, ProgramDigest([7; 32]));
        assert!(fits(), "what is remembered refused it");
    }

    #[test]
    fn what_is_needed_and_what_is_here_is_told() {
        let mut other = stream("delta", 1, Some(b"another"));
        let words = |stream: &Stream, has_old: bool| {
            let (kind, words) = chosen(std::slice::from_ref(stream), has_old).unwrap_err();
            assert_eq!(kind, FailureKind::WrongBase);
            words
        };
        assert_eq!(
            words(&other, false),
            "the file is only what changes V01.00.00.00 into V02.00.00.00, and no program is there to be changed"
        );
        assert!(
            words(&other, true).contains("and another program of version V01.00.00.00 is here")
        );
        // It says that more of the right program is needed than there is.
        let mut longer = stream("delta", 1, Some(OLD));
        longer.base.as_mut().unwrap().size += 1;
        assert!(words(&longer, true).contains("another program of version"));
        other.base.as_mut().unwrap().version = "V01.09.00.00".parse().unwrap();
        assert!(words(&other, true).ends_with(", and V01.00.00.00 is here"));
    }

    #[test]
    fn a_container_of_unknown_streams_is_told_which() {
        for base in [None, Some(OLD)] {
            let (kind, words) = chosen(&[stream("brotli", 1, base)], true).unwrap_err();
            assert_eq!(kind, FailureKind::SealInvalid);
            assert!(words.contains("\"brotli\""), "{words}");
        }
        // What is no whole program is none in this codec, either.
        let (kind, _) = chosen(&[stream("zstd", 1, Some(OLD))], true).unwrap_err();
        assert_eq!(kind, FailureKind::SealInvalid);
    }
}
