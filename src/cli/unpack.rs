//! `uplift unpack FILE`: gives the program back, as it was before it was packed.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use nix::unistd::geteuid;

use super::old::OldFile;
use super::output::NewFile;
use crate::cli::bar::Bar;
use crate::cli::view;
use crate::digest::Digests;
use crate::digest::hashing::HashingWriter;
use crate::disk::LocalDisk;
use crate::host::command::Isolation;
use crate::model::{Failure, FailureKind, ProgramDigest};
use crate::package::choice::Choice;
use crate::package::unpack::{front_of, unpack};
use crate::seal::Seal;
use crate::seal::container::Front;
use crate::tree::{self, Archive, Owners};

// Documentation here would take the place of what the subcommand says of itself.
#[derive(Debug, Args)]
pub struct UnpackArguments {
    /// The firmware file.
    file: PathBuf,
    /// The new file, or the directory that is made of a tree, which must not be there [default: the
    /// file's name without its end, here].
    #[arg(value_name = "DIR", conflicts_with = "out")]
    directory: Option<PathBuf>,
    /// The program that it changes, where it is only what changes one: as it was built, sealed, or in a
    /// container with the whole.
    #[arg(long, value_name = "OLD")]
    from: Option<OldFile>,
    /// The same, as an option.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Replace a file that exists already.
    #[arg(long)]
    force: bool,
}

/// Writes the program, once it is proved.
pub(super) fn run(arguments: &UnpackArguments) -> anyhow::Result<()> {
    let path = arguments.file.display();
    let unreadable = || format!("{path} can't be read");
    // Asked before it is opened: opening a FIFO would wait for ever.
    let metadata = arguments.file.metadata().with_context(unreadable)?;
    ensure!(metadata.is_file(), "{path} is not a regular file");
    let file = File::open(&arguments.file).with_context(unreadable)?;
    let out = arguments.out.as_ref().or(arguments.directory.as_ref());
    let out = match (out, arguments.file.file_stem()) {
        (Some(out), _) => out.clone(),
        (None, Some(stem)) => PathBuf::from(stem),
        (None, None) => bail!("{path} is not the name of a file"),
    };
    let mode = metadata.permissions().mode() & 0o777;
    let target = NewFile::create(&out, mode, arguments.force)?;
    let (said, found) = match front_of(&file)? {
        Some(front) => {
            let old = arguments.from.as_ref().map(|old| old.read(Owners::Root)).transpose()?;
            let choice = Choice::of(&front, old.map(|old| old.program), None)?;
            let mut writer = HashingWriter::new(target.file(), front.manifest.size);
            unpack_under_bar(&file, &front, choice, false, |bytes| {
                writer.write_all(bytes).map_err(unwritable)
            })?;
            (front.manifest.sha256, writer.finish().map_err(unwritable)?)
        }
        None => off_its_seal(&file, &target).with_context(unreadable)??,
    };
    let size = prove(target.file(), found, said)?;
    if tree::is_archive(target.file()).with_context(unreadable)? {
        return take_out(target.file(), size, &out);
    }
    target.complete_with(b"")?.name()?;
    let out = out.display();
    view::say(format_args!("Wrote {out}: {size} bytes, SHA-256 {said}."))?;
    Ok(())
}

/// Makes the directory of a tree. Owners are root's to give.
fn take_out(archive: &File, size: u64, out: &Path) -> anyhow::Result<()> {
    let shown = out.display();
    let archive = Archive::open(archive, 0..size).map_err(Failure::from)?;
    archive.prove().map_err(Failure::from)?;
    let is_root = geteuid().is_root();
    let owners = if is_root { Owners::Theirs } else { Owners::Root };
    tree::take_out(&archive, &LocalDisk, out, owners)
        .with_context(|| format!("the directory {shown} can't be made"))?;
    let manifest = archive.manifest();
    let (files, size) = (manifest.files(), manifest.content_size()?);
    let digest = manifest.digest()?;
    view::say(format_args!(
        "Made {shown}: a tree of {files} files and {size} bytes, known by SHA-256 {digest}."
    ))?;
    if !is_root {
        view::complain(
            "note: all of it is yours, and no file has capabilities: that is root's to give",
        );
    }
    Ok(())
}

/// [`unpack`] under a bar, by a helper that needs no systemd.
pub(super) fn unpack_under_bar(
    file: &File,
    front: &Front,
    choice: Choice,
    quiet: bool,
    mut take: impl FnMut(&[u8]) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let bar = Bar::of_bytes("unpacking", front.manifest.size, quiet);
    let mut done = 0;
    unpack(file, front, choice, Isolation::Never, |bytes| {
        done += bytes.len() as u64;
        bar.set_done(done);
        take(bytes)
    })
}

/// The payload of a sealed file: its digest as it is said there, and what was written. The outer error is
/// one of reading.
fn off_its_seal(
    mut file: &File,
    target: &NewFile,
) -> io::Result<Result<(ProgramDigest, Digests), Failure>> {
    let seal = match Seal::read(file) {
        Ok(Some(seal)) => seal,
        Ok(None) => {
            let sentence = "the file has no seal and is no container: it is the program itself";
            return Ok(Err(Failure::new(FailureKind::SealMissing, sentence)
                .with_hint("there is nothing to unpack")));
        }
        Err(error) => {
            let sentence = "the seal of the file is damaged";
            return Ok(Err(Failure::new(FailureKind::SealInvalid, sentence).because(error)));
        }
    };
    file.seek(SeekFrom::Start(seal.payload.start))?;
    let mut writer = HashingWriter::new(target.file(), seal.payload_size());
    let copied = io::copy(&mut file.take(seal.payload_size()), &mut writer);
    let digests = copied.and_then(|_| writer.finish()).map_err(unwritable);
    Ok(digests.map(|digests| (seal.manifest.sha256, digests)))
}

/// The size of what was written, where its digest is the one that was said.
fn prove(written: &File, found: Digests, said: ProgramDigest) -> Result<u64, Failure> {
    let found = found.in_container(tree::is_archive(written).map_err(unwritable)?);
    match found == said {
        true => Ok(written.metadata().map_err(unwritable)?.len()),
        false => {
            let sentence =
                format!("the program has SHA-256 {found}, and had {said} when it was packed");
            Err(Failure::new(FailureKind::DigestMismatch, sentence))
        }
    }
}

fn unwritable(error: io::Error) -> Failure {
    Failure::from_io(FailureKind::InstallFailed, "the new file can't be written", error)
}
