//! All checks of a firmware file, in one list and one order, cheapest first.
//!
//! [`examine`] explains a file that lies anywhere; [`check`] turns a staged file into a [`Checked`]
//! one, and is the only way to come by one. Both run the same list. Nothing here knows who sent the
//! file or what becomes of it.

mod arriving;
mod examiner;
mod findings;
mod rules;
mod sealed;
mod text_mode;

use std::fs::File;
use std::path::Path;

use crate::config::Format;
use crate::digest::Digests;
use crate::model::file_name::{FileName, NameError};
use crate::model::{Failure, FailureKind, PackageSummary};
use crate::package::{open, unpack};
use crate::seal::container::Front;
use crate::seal::{Manifest, Seal, SealError};
use crate::stage::Staged;
use crate::tree;

pub use arriving::{Doorkeeper, judge};
use examiner::{Examiner, format_of, read_content};
pub use findings::{Check, Examination, Finding, Verdict};
pub use rules::{Rules, Signer};
use sealed::read_seal;

/// A file to be examined: what is known of it before.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// Its name as its sender gave it; data, not where it lies. Absent where its seal is to say it.
    pub file_name: Option<&'a str>,
    /// Where it lies.
    pub path: &'a Path,
    /// Its size in bytes.
    pub size: u64,
    /// Its digests; unknown for a file that is too large to be worth hashing.
    pub digests: Option<Digests>,
    /// Whether it is ours alone, so that its mode may be changed to run it.
    pub owned: bool,
}

/// A staged file that passed every check. Only [`check`] makes one.
///
/// A seal before the payload is gone, and so is a container: what is staged is what is to be
/// installed.
#[derive(Debug)]
pub struct Checked {
    staged: Staged,
    /// As it was received, where that is not what is to be installed, and the rules want it kept.
    received: Option<Staged>,
    summary: PackageSummary,
    payload_size: u64,
}

impl Checked {
    /// What the file is.
    pub fn summary(&self) -> &PackageSummary {
        &self.summary
    }

    /// The file, and how many of its first bytes are the payload, for who hands that on: behind them
    /// is a seal.
    pub fn into_payload(self) -> (Staged, u64) {
        let payload_size = self.payload_size;
        (self.into_parts().0, payload_size)
    }

    /// Keeps the file as it was received in the staging area, for a check on another day: its name
    /// there.
    pub(crate) fn put_off(self) -> Result<String, Failure> {
        self.received.unwrap_or(self.staged).keep()
    }

    /// One that nothing was proved of, for tests of the swap.
    #[cfg(test)]
    pub(crate) fn for_test(staged: Staged, summary: PackageSummary) -> Self {
        let payload_size = staged.size;
        Self { staged, received: None, summary, payload_size }
    }

    /// Takes it apart, for the swap.
    pub(crate) fn into_parts(self) -> (Staged, PackageSummary) {
        let Self { mut staged, received, summary, .. } = self;
        staged.let_go();
        received.into_iter().for_each(|mut received| received.let_go());
        (staged, summary)
    }
}

/// Proves a staged file, takes a seal before its payload away, and what is in a container out of it.
/// One that fails is removed from the staging area.
pub fn check(staged: Staged, rules: &Rules) -> Result<Checked, Failure> {
    let Some(front) = unpack::front_of(staged.file())? else {
        return check_unpacked(staged, None, rules);
    };
    arriving::judge_words(&front, staged.file_name.as_deref(), rules)?;
    let program = unpacked(&staged, &front, rules)?;
    check_unpacked(program, Some((&front, staged)), rules)
}

/// The program of a container as a staged file of its own, proved to be the one that its manifest
/// speaks of.
fn unpacked(container: &Staged, front: &Front, rules: &Rules) -> Result<Staged, Failure> {
    let choice = rules.choice(front)?;
    let is_delta = choice.is_delta();
    let mut receiving = container.begin_beside(front.manifest.size)?;
    unpack::unpack(container.file(), front, choice, rules.isolation, |bytes| {
        receiving.write(bytes)
    })?;
    let program = receiving.finish(None)?;
    match proved(program.file(), program.digests, front) {
        // The right change of the right program gives the right program: that one has changed.
        Err(failure) if failure.kind == FailureKind::DigestMismatch && is_delta => {
            Err(failure.with_hint(
                "send it again; it is sent in vain for as long as something changes the installed program meanwhile",
            ))
        }
        result => result.map(|_| program),
    }
}

/// The digests of what came out of a container, where that is the program that its manifest speaks
/// of, and nothing that is sealed or packed itself.
pub(crate) fn proved(program: &File, found: Digests, front: &Front) -> Result<Digests, Failure> {
    let unreadable = |error| {
        Failure::new(FailureKind::Internal, "the unpacked program can't be read").because(error)
    };
    let said = front.manifest.sha256;
    let is_tree = tree::is_archive(program).map_err(unreadable)?;
    let digest = found.in_container(is_tree);
    if digest != said {
        let sentence = format!(
            "the program in the container has SHA-256 {digest}, and had {said} when it was packed"
        );
        return Err(Failure::new(FailureKind::DigestMismatch, sentence));
    }
    if !is_tree && (found.program.0 != found.file.0 || claims_a_seal(program)?) {
        let sentence = "what is in the container is sealed itself, or a container, and one cover is all that a file may have";
        return Err(Failure::new(FailureKind::SealInvalid, sentence));
    }
    Ok(found)
}

/// Whether what is to be installed would be taken for a sealed file, or for a container.
fn claims_a_seal(file: &File) -> Result<bool, Failure> {
    let unreadable = |error| {
        Failure::new(FailureKind::Internal, "the unpacked program can't be read").because(error)
    };
    match Seal::read(file) {
        Ok(None) => Ok(false),
        Err(SealError::Unreadable(error)) => Err(unreadable(error)),
        Ok(Some(_)) | Err(_) => Ok(true),
    }
}

/// Proves what is to be installed, with the container that it came in.
fn check_unpacked(
    staged: Staged,
    container: Option<(&Front, Staged)>,
    rules: &Rules,
) -> Result<Checked, Failure> {
    let (front, container) = container.unzip();
    let examiner = Examiner::new(subject_of(&staged), front, rules);
    let examination = examiner.examine();
    if let Some(failure) = examination.failure() {
        return Err(failure.clone());
    }
    let name = examiner.name?;
    let trusted_key = examination.seal.as_ref().and_then(|seal| match rules.signer(seal) {
        Signer::Trusted(key) => Some(key.public.id()),
        Signer::Forged(_) | Signer::Unknown | Signer::NotChecked => None,
    });
    let file = container.as_ref().unwrap_or(&staged);
    let summary = PackageSummary {
        file_name: staged.file_name.clone().unwrap_or_else(|| name.to_string()),
        product: name.product().to_owned(),
        version: name.version(),
        size: file.size,
        file_digest: file.digests.file,
        program_size: container.as_ref().map(|_| staged.size),
        program_digest: staged.digests.program,
        trusted_key,
    };
    let payload = examination.seal.map_or(0..staged.size, |seal| seal.payload);
    let (staged, received) = without_seal_before(staged, payload.start, &summary)?;
    let received = container.or(received).filter(|_| rules.kept);
    // Only now does it lie as it will run.
    Examiner::new(subject_of(&staged), front, rules).run(Check::Preflight)?;
    Ok(Checked { staged, received, summary, payload_size: payload.end - payload.start })
}

fn subject_of(staged: &Staged) -> Subject<'_> {
    Subject {
        file_name: staged.file_name.as_deref(),
        path: staged.path(),
        size: staged.size,
        digests: Some(staged.digests),
        owned: true,
    }
}

/// The staged file without the seal that is its first `start` bytes, and the one with it.
fn without_seal_before(
    staged: Staged,
    start: u64,
    summary: &PackageSummary,
) -> Result<(Staged, Option<Staged>), Failure> {
    if start == 0 {
        return Ok((staged, None));
    }
    let payload = staged.behind(start)?;
    // What comes from the disk is believed no more than what comes from a peer.
    if payload.digests.program != summary.program_digest {
        let sentence = "the payload has another SHA-256 since it was written without its seal";
        return Err(Failure::new(FailureKind::DigestMismatch, sentence));
    }
    Ok((payload, Some(staged)))
}

/// What can be said of a file before its first byte: name, product, version, size. A transfer that
/// would be refused at its end, perhaps hours later, is refused at its beginning.
pub fn check_announced(
    file_name: Option<&str>,
    size: Option<u64>,
    rules: &Rules,
) -> Result<(), Failure> {
    let known = size.unwrap_or_default();
    let subject =
        Subject { file_name, path: Path::new(""), size: known, digests: None, owned: false };
    let name = name_of(subject, None);
    let examiner = Examiner::of_words(subject, name, None, rules);
    let checks = [Check::Name, Check::Product, Check::Version, Check::Size];
    let can_be_run = |check: &Check| match check {
        Check::Size => size.is_some(),
        _ => file_name.is_some(),
    };
    checks.into_iter().filter(can_be_run).try_for_each(|check| examiner.run(check).map(drop))
}

/// A name that nobody gave is what the seal says, which must hold of the file like any other.
fn name_of(subject: Subject<'_>, manifest: Option<&Manifest>) -> Result<FileName, Failure> {
    match (subject.file_name, manifest) {
        (Some(given), _) => given.parse().map_err(|error: NameError| error.into_failure(given)),
        (None, Some(manifest)) => {
            let name = format!("{}_{}.bin", manifest.product, manifest.version);
            name.parse().map_err(|error: NameError| error.into_failure(&name))
        }
        (None, None) => {
            let sentence = "the file came without a name, and has no seal that says it";
            Err(Failure::new(FailureKind::SealMissing, sentence))
        }
    }
}

/// Nothing but its container says of a tree which one it is.
fn tree_alone() -> Failure {
    let sentence = "the file is no container, and a tree comes in one";
    Failure::new(FailureKind::SealInvalid, sentence)
        .with_hint("pack the directory with `uplift pack`")
}

/// Runs every check that can be run. One that builds on a failed one is skipped, and the program is
/// started only when all else is right.
pub fn examine(subject: Subject<'_>, rules: &Rules) -> Examination {
    examine_unpacked(subject, None, rules)
}

/// The same of a program that was in a container with this front; its seal is the container's.
pub fn examine_unpacked(subject: Subject<'_>, front: Option<&Front>, rules: &Rules) -> Examination {
    let examiner = Examiner::new(subject, front, rules);
    let mut examination = examiner.examine();
    let verdict = if examination.failure().is_some() {
        Verdict::Skipped("other checks failed".into())
    } else {
        examiner.run(Check::Preflight).unwrap_or_else(Verdict::Failed)
    };
    examination.findings.push(Finding { check: Check::Preflight, verdict });
    examination
}

impl<'a> Examiner<'a> {
    /// Reads what several checks look at.
    fn new(subject: Subject<'a>, container: Option<&'a Front>, rules: &'a Rules) -> Self {
        let readable = subject.size > 0 && subject.size <= rules.max_size;
        let seal = readable.then(|| match container {
            Some(front) => Ok(front.seal(subject.size)),
            None => read_seal(subject.path),
        });
        let found = seal.as_ref().and_then(|seal| seal.as_ref().ok()?.as_ref());
        let payload = found.map_or(0..subject.size, |seal| seal.payload.clone());
        let format = match rules.format {
            Some(format) => format,
            // Sealed or packed on purpose, whatever it is.
            None if found.is_some() || container.is_some() => {
                format_of(subject.path, payload.start)
            }
            None => Format::Elf,
        };
        let content = readable.then(|| match (format, container) {
            (Format::Tree(_), None) => Err(tree_alone()),
            _ => read_content(subject.path, payload, format),
        });
        let manifest = container.map(|front| &front.manifest);
        let name = name_of(subject, manifest.or(found.map(|seal| &seal.manifest)));
        Self { subject, rules, format, name, content, seal, container }
    }

    /// Of a file of which nothing is there but what is said of it.
    fn of_words(
        subject: Subject<'a>,
        name: Result<FileName, Failure>,
        container: Option<&'a Front>,
        rules: &'a Rules,
    ) -> Self {
        let seal = container.map(|front| Ok(front.seal(subject.size)));
        Self { subject, rules, format: Format::Any, name, content: None, seal, container }
    }

    /// Every check but the one that runs the program.
    fn examine(&self) -> Examination {
        let found =
            |check| Finding { check, verdict: self.run(check).unwrap_or_else(Verdict::Failed) };
        let checks = Check::ALL.into_iter().filter(|check| *check != Check::Preflight);
        let seal = self.seal.as_ref().and_then(|seal| seal.as_ref().ok()?.clone());
        Examination { findings: checks.map(found).collect(), seal }
    }
}

#[cfg(test)]
pub(crate) mod tests;
