//! All checks of a firmware file, in one list and one order, cheapest first.
//!
//! [`examine`] explains a file that lies anywhere; [`check`] turns a staged file into a [`Checked`]
//! one, and is the only way to come by one. Both run the same list. Nothing here knows who sent the
//! file or what becomes of it.

mod examiner;
mod findings;
mod payload_file;
mod rules;
mod sealed;
mod text_mode;

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use nix::fcntl::OFlag;

use crate::config::Format;
use crate::digest::Digests;
use crate::model::file_name::{FileName, NameError};
use crate::model::{Failure, FailureKind, PackageSummary};
use crate::seal::Seal;
use crate::stage::Staged;

use examiner::{Examiner, format_of, read_content};
pub use findings::{Check, Examination, Finding, Verdict};
pub use payload_file::PayloadFile;
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
/// A seal before the payload is gone: what is staged is what is to be installed.
#[derive(Debug)]
pub struct Checked {
    staged: Staged,
    /// As it was received, where the seal stood before the payload and the rules want it kept.
    received: Option<Staged>,
    summary: PackageSummary,
    payload_size: u64,
}

impl Checked {
    /// What the file is.
    pub fn summary(&self) -> &PackageSummary {
        &self.summary
    }

    /// The payload without a seal in either place, for who hands it on.
    pub fn into_payload(self) -> PayloadFile {
        let (payload_size, (staged, summary)) = (self.payload_size, self.into_parts());
        PayloadFile::new(staged, payload_size, summary)
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

/// Proves a staged file, and takes a seal before its payload away. One that fails is removed from
/// the staging area.
pub fn check(staged: Staged, rules: &Rules) -> Result<Checked, Failure> {
    let examiner = Examiner::new(subject_of(&staged), rules);
    let examination = examiner.examine();
    if let Some(failure) = examination.failure() {
        return Err(failure.clone());
    }
    let name = examiner.name?;
    let trusted_key = examination.seal.as_ref().and_then(|seal| match rules.signer(seal) {
        Signer::Trusted(key) => Some(key.public.id()),
        Signer::Forged(_) | Signer::Unknown | Signer::NotChecked => None,
    });
    let summary = PackageSummary {
        file_name: staged.file_name.clone().unwrap_or_else(|| name.to_string()),
        product: name.product().to_owned(),
        version: name.version(),
        size: staged.size,
        file_digest: staged.digests.file,
        program_digest: staged.digests.program,
        trusted_key,
    };
    let payload = examination.seal.map_or(0..staged.size, |seal| seal.payload);
    let (staged, received) = without_seal_before(staged, payload.start, &summary)?;
    let received = received.filter(|_| rules.kept);
    // Only now does it lie as it will run.
    Examiner::new(subject_of(&staged), rules).run(Check::Preflight)?;
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
    let examiner =
        Examiner { subject, rules, format: Format::Any, name, content: None, seal: None };
    let checks = [Check::Name, Check::Product, Check::Version, Check::Size];
    let can_be_run = |check: &Check| match check {
        Check::Size => size.is_some(),
        _ => file_name.is_some(),
    };
    checks.into_iter().filter(can_be_run).try_for_each(|check| examiner.run(check).map(drop))
}

/// A name that nobody gave is what the seal says, which must hold of the file like any other.
fn name_of(subject: Subject<'_>, seal: Option<&Seal>) -> Result<FileName, Failure> {
    match (subject.file_name, seal) {
        (Some(given), _) => given.parse().map_err(|error: NameError| error.into_failure(given)),
        (None, Some(seal)) => {
            let name = format!("{}_{}.bin", seal.manifest.product, seal.manifest.version);
            name.parse().map_err(|error: NameError| error.into_failure(&name))
        }
        (None, None) => {
            let sentence = "the file came without a name, and has no seal that says it";
            Err(Failure::new(FailureKind::SealMissing, sentence))
        }
    }
}

/// Runs every check that can be run. One that builds on a failed one is skipped, and the program is
/// started only when all else is right.
pub fn examine(subject: Subject<'_>, rules: &Rules) -> Examination {
    let examiner = Examiner::new(subject, rules);
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
    fn new(subject: Subject<'a>, rules: &'a Rules) -> Self {
        let readable = subject.size > 0 && subject.size <= rules.max_size;
        let seal = readable.then(|| read_seal(subject.path));
        let found = seal.as_ref().and_then(|seal| seal.as_ref().ok()?.as_ref());
        let payload = found.map_or(0..subject.size, |seal| seal.payload.clone());
        let format = match rules.format {
            Some(format) => format,
            // Sealed on purpose, whatever it is.
            None if found.is_some() => format_of(subject.path, payload.start),
            None => Format::Elf,
        };
        let content = readable.then(|| read_content(subject.path, payload, format));
        let name = name_of(subject, found);
        Self { subject, rules, format, name, content, seal }
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

/// Whatever else lies there than a file, such as a FIFO, is not waited for.
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path)
}

#[cfg(test)]
pub(crate) mod tests;
