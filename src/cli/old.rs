//! An old program that a developer has: as it was built, sealed, or in a container.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context as _, ensure};
use rustix::fs::{MemfdFlags, memfd_create};

use super::output::Mistake;
use crate::digest::hashing::hash_file;
use crate::host::command::Isolation;
use crate::model::file_name::FileName;
use crate::model::version::Version;
use crate::model::{Failure, FailureKind};
use crate::package::choice::{Choice, OldProgram};
use crate::package::unpack::{front_of, unpack};
use crate::seal::{Base, Manifest, Seal};
use crate::tree::{Owners, Scan};

/// Where an old program or tree lies, as it is typed: a path, or a version and a path (`V01.00.00.00=old`).
#[derive(Debug, Clone)]
pub(super) struct OldFile {
    version: Option<Version>,
    path: PathBuf,
}

impl FromStr for OldFile {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let named = text.split_once('=').and_then(|(version, path)| {
            Some(Self { version: Some(version.parse().ok()?), path: path.into() })
        });
        Ok(named.unwrap_or_else(|| Self { version: None, path: text.into() }))
    }
}

/// An old program without what it came in, and the version that it says.
#[derive(Debug)]
pub(super) struct Old {
    pub(super) program: OldProgram,
    said: Option<Version>,
}

impl OldFile {
    pub(super) fn display(&self) -> std::path::Display<'_> {
        self.path.display()
    }

    /// Reads it, and takes it out of what it is in.
    /// A directory is one whose things belong to these.
    pub(super) fn read(&self, owners: Owners) -> anyhow::Result<Old> {
        let path = self.display();
        let unreadable = || format!("{path} can't be read");
        let metadata = self.path.metadata().with_context(unreadable)?;
        ensure!(
            metadata.is_file() || metadata.is_dir(),
            "{path} is neither a file nor a directory"
        );
        let (mut file, size, manifest) = if metadata.is_dir() {
            let scan = Scan::of(&self.path, owners).with_context(unreadable)?;
            let mut archive = in_memory()?;
            scan.write_archive(&mut archive).with_context(unreadable)?;
            let size = archive.stream_position()?;
            (archive, size, None)
        } else {
            let file = File::open(&self.path).with_context(unreadable)?;
            take_out(file).with_context(|| format!("{path} can't be used"))?
        };
        file.rewind().with_context(unreadable)?;
        let digest = hash_file(&file, size, |_| ()).with_context(unreadable)?.program;
        if let Some(manifest) = &manifest {
            ensure!(digest == manifest.sha256, "{path} has another program than it says");
        }
        let said = self.version.or(manifest.map(|manifest| manifest.version)).or_else(|| {
            let name: FileName = self.path.file_name()?.to_str()?.parse().ok()?;
            Some(name.version())
        });
        Ok(Old { program: OldProgram { file, size, digest }, said })
    }

    /// What a container says of it.
    pub(super) fn base(&self, old: &Old) -> anyhow::Result<Base> {
        let OldProgram { size, digest: sha256, .. } = old.program;
        let Some(version) = old.said else {
            let sentence = format!("{} does not say which version it is", self.display());
            let hint = format!("say it: --from V01.00.00.00={}", self.display());
            return Err(Mistake::new(sentence, hint).into());
        };
        Ok(Base { version, size, sha256 })
    }
}

fn no_memory(error: io::Error) -> Failure {
    Failure::from_io(FailureKind::Internal, "the old program can't be kept in memory", error)
}

/// A file without a name, in memory.
fn in_memory() -> anyhow::Result<File> {
    let file = memfd_create("old", MemfdFlags::CLOEXEC).context("there is no memory")?;
    Ok(File::from(file))
}

/// The program that is in a file, of so many bytes: the file itself where nothing stands before it. What is
/// said of it there, if anything is.
fn take_out(mut file: File) -> anyhow::Result<(File, u64, Option<Manifest>)> {
    if let Some(front) = front_of(&file)? {
        let (whole, mut program) = (Choice::of(&front, None, None)?, in_memory()?);
        unpack(&file, &front, whole, Isolation::Never, |bytes| {
            program.write_all(bytes).map_err(no_memory)
        })?;
        return Ok((program, front.manifest.size, Some(front.manifest)));
    }
    let seal = Seal::read(&file).context("its seal is damaged")?;
    let Some(Seal { payload, manifest, .. }) = seal else {
        let size = file.metadata()?.len();
        return Ok((file, size, None));
    };
    if payload.start == 0 {
        return Ok((file, payload.end, Some(manifest)));
    }
    let (size, mut program) = (payload.end - payload.start, in_memory()?);
    file.seek(SeekFrom::Start(payload.start))?;
    io::copy(&mut file.take(size), &mut program)?;
    Ok((program, size, Some(manifest)))
}
