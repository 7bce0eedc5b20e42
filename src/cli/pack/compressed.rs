//! The container that `uplift pack --compress` writes, with `--from` what changes old programs, too. What
//! it writes it unpacks once more, as each payload will, before the file has its name.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, ensure};

use super::stream::{Packed, bytes_of};
use super::{PackArguments, Packing, ensure_signed, say_what_takes_it};
use crate::cli::old::OldFile;
use crate::cli::output::Mistake;
use crate::cli::unpack::unpack_under_bar;
use crate::cli::view;
use crate::digest::{Beside, Hasher};
use crate::model::{Failure, ProgramDigest};
use crate::package::choice::{Choice, OldProgram};
use crate::package::foreign::Foreign;
use crate::package::pack::Unsealed;
use crate::package::unpack::front_of;
use crate::seal::container::Front;
use crate::seal::{Manifest, Place, PublicKey, Signature};
use crate::tree::Owners;

/// A program as streams: what changes old ones, and the whole.
pub(super) struct Compressed(Vec<Packed>);

impl Compressed {
    /// Compresses a program; streams lie at names like this path meanwhile.
    pub(super) fn of(
        arguments: &PackArguments,
        program: &File,
        unsealed: &Unsealed,
        path: &Path,
    ) -> anyhow::Result<Self> {
        let whole = Packed::whole(program, unsealed.size(), path)?;
        let mut streams = Vec::new();
        if !arguments.from.is_empty() {
            let new = bytes_of(program)?;
            for old in &arguments.from {
                streams.extend(delta(old, &new, unsealed, &whole, path, arguments.owners())?);
            }
        }
        if arguments.delta_only && streams.is_empty() {
            let sentence =
                "no change of an old program is smaller than the whole compressed program";
            return Err(Mistake::new(sentence, "pack it with --compress alone").into());
        }
        streams.extend(Some(whole).filter(|_| !arguments.delta_only));
        Ok(Self(streams))
    }

    /// What the container says: of the program, and of its streams.
    pub(super) fn described_in(&self, manifest: Manifest) -> Manifest {
        let streams = self.0.iter().map(|packed| packed.stream.clone()).collect();
        Manifest { place: Place::Before, streams, ..manifest }
    }

    /// Whether a manifest speaks of these very streams.
    pub(super) fn is_described_by(&self, manifest: &Manifest) -> bool {
        self.0.iter().map(|packed| &packed.stream).eq(&manifest.streams)
    }
}

/// What changes an old program into the new one, where that is worth it; says which.
fn delta(
    file: &OldFile,
    new: &[u8],
    unsealed: &Unsealed,
    whole: &Packed,
    path: &Path,
    owners: Owners,
) -> anyhow::Result<Option<Packed>> {
    let old = file.read(owners)?;
    let base = file.base(&old)?;
    if unsealed.has_digest(base.sha256) {
        let sentence = format!("the program in {} is the new one itself", file.display());
        return Err(Mistake::new(sentence, "name one that a payload has still").into());
    }
    let version = base.version;
    let packed = Packed::delta(old, base, new, path)?;
    let (size, most) = (packed.stream.size, whole.stream.size);
    let share = size.saturating_mul(100).div_ceil(most.max(1));
    let is_kept = size < most;
    let kept = if is_kept { "Put in" } else { "Left out" };
    view::say(format_args!(
        "{kept} what changes {version}: {size} bytes, {share} % of the whole compressed program's {most}."
    ))?;
    Ok(Some(packed).filter(|_| is_kept))
}

impl Packing<'_> {
    /// The program as streams.
    pub(super) fn compress(&self, unsealed: &Unsealed) -> anyhow::Result<Compressed> {
        Compressed::of(self.arguments, &self.program, unsealed, &self.path)
    }

    /// Writes the container of manifest, signature and streams. A signature that does not hold is
    /// never written, and neither is a container that does not give the program back.
    pub(super) fn finish_container(
        self,
        unsealed: &Unsealed,
        compressed: Compressed,
        manifest: &[u8],
        signed: Option<(&str, &PublicKey)>,
    ) -> anyhow::Result<()> {
        if let Some((signature, public)) = signed {
            ensure_signed(&Signature::parse(signature.as_bytes())?, manifest, public)?;
        }
        let signature = signed.map_or("", |(signature, _)| signature);
        let front = Front::to_bytes(manifest, signature)
            .context("manifest, signature and streams make no container")?;
        let Self { target, path, arguments, .. } = self;
        let can_not_be_written = || format!("{} can't be written", path.display());
        let written = (target.file().write_all(&front))
            .and_then(|()| {
                compressed.0.iter().try_for_each(|one| target.file().write_all(&one.list))
            })
            .and_then(|()| compressed.0.iter().try_for_each(|one| one.copy_to(target.file())));
        written.with_context(can_not_be_written)?;
        for packed in compressed.0 {
            let found = unpacked(target.file(), packed.old)?;
            ensure!(
                unsealed.has_digest(found),
                "another program comes of the container; the file was changed while it was packed"
            );
        }
        let size = target.file().metadata().with_context(can_not_be_written)?.len();
        target.complete_with(b"")?.name()?;
        say(&path, size, unsealed.size(), signed.map(|(_, public)| public))?;
        // What takes a tree knows containers.
        if unsealed.foreign() != Some(&Foreign::Tree) {
            say_who_refuses_it(arguments.compress && size >= unsealed.size())?;
        }
        say_what_takes_it(unsealed)
    }
}

/// The digest of what comes of a container, in the way in which a payload takes it out that has this
/// program, or none that is known.
fn unpacked(file: &File, old: Option<OldProgram>) -> Result<ProgramDigest, Failure> {
    let Some(front) = front_of(file)? else { return Ok(ProgramDigest([0; 32])) };
    let (choice, mut hasher) = (Choice::of(&front, old, None)?, Hasher::new(Beside::default()));
    unpack_under_bar(file, &front, choice, false, |bytes| {
        hasher.update(bytes);
        Ok(())
    })?;
    Ok(hasher.finish().program)
}

fn say(path: &Path, size: u64, program: u64, public: Option<&PublicKey>) -> anyhow::Result<()> {
    let by = match public {
        Some(public) => format!("sealed by key {}", public.id()),
        None => "without a seal: nothing in it says who made it".to_owned(),
    };
    let share = size.saturating_mul(100).div_ceil(program.max(1));
    view::say(format_args!(
        "Wrote {}, {by}. It is a container of {size} bytes, {share} % of the program's {program}.",
        path.display()
    ))?;
    Ok(())
}

fn say_who_refuses_it(is_larger: bool) -> anyhow::Result<()> {
    if is_larger {
        view::complain("note: it is smaller without --compress, which a payload of any age takes");
    }
    view::say(
        "A payload whose uplift does not know containers refuses it as `seal-invalid`: such a one gets a newer uplift first, packed without --compress.",
    )?;
    Ok(())
}
