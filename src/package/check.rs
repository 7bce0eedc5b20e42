//! All checks of a firmware file, in one list and one order, cheapest first.
//!
//! [`examine`] explains a file that lies anywhere; [`check`] turns a staged file into a [`Checked`]
//! one, and is the only way to come by one. Both run the same list. Nothing here knows who sent the
//! file or what becomes of it.

mod examiner;
mod findings;
mod rules;
mod sealed;
mod text_mode;

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use nix::fcntl::OFlag;

use crate::digest::Digests;
use crate::model::file_name::{FileName, NameError};
use crate::model::{Failure, PackageSummary};
use crate::stage::Staged;

use examiner::{Examiner, read_elf};
pub use findings::{Check, Examination, Finding, Verdict};
pub use rules::{Rules, Signer};
use sealed::read_seal;

/// A file to be examined: what is known of it before.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// Its name as its sender gave it; data, not where it lies.
    pub file_name: &'a str,
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
#[derive(Debug)]
pub struct Checked {
    staged: Staged,
    summary: PackageSummary,
}

impl Checked {
    /// What the file is.
    pub fn summary(&self) -> &PackageSummary {
        &self.summary
    }

    /// One that nothing was proved of, for tests of the swap.
    #[cfg(test)]
    pub(crate) fn for_test(staged: Staged, summary: PackageSummary) -> Self {
        Self { staged, summary }
    }

    /// Takes it apart, for the swap.
    pub(crate) fn into_parts(self) -> (Staged, PackageSummary) {
        (self.staged, self.summary)
    }
}

/// Proves a staged file. One that fails is removed from the staging area.
pub fn check(staged: Staged, rules: &Rules) -> Result<Checked, Failure> {
    let subject = Subject {
        file_name: &staged.file_name,
        path: staged.path(),
        size: staged.size,
        digests: Some(staged.digests),
        owned: true,
    };
    let name = name_of(subject)?;
    let examination = examine(subject, rules);
    if let Some(failure) = examination.failure() {
        return Err(failure.clone());
    }
    let trusted_key = examination.seal.as_ref().and_then(|seal| match rules.signer(seal) {
        Signer::Trusted(key) => Some(key.public.id()),
        Signer::Forged(_) | Signer::Unknown | Signer::NotChecked => None,
    });
    let summary = PackageSummary {
        file_name: staged.file_name.clone(),
        product: name.product().to_owned(),
        version: name.version(),
        size: staged.size,
        file_digest: staged.digests.file,
        program_digest: staged.digests.program,
        trusted_key,
    };
    Ok(Checked { staged, summary })
}

/// What can be said of a file before its first byte: name, product, version, size. A transfer that
/// would be refused at its end, perhaps hours later, is refused at its beginning.
pub fn check_announced(file_name: &str, size: u64, rules: &Rules) -> Result<(), Failure> {
    let subject = Subject { file_name, path: Path::new(""), size, digests: None, owned: false };
    let examiner = Examiner { subject, rules, name: name_of(subject), elf: None, seal: None };
    let checks = [Check::Name, Check::Product, Check::Version, Check::Size];
    checks.into_iter().try_for_each(|check| examiner.run(check).map(drop))
}

fn name_of(subject: Subject<'_>) -> Result<FileName, Failure> {
    subject.file_name.parse().map_err(|error: NameError| error.into_failure(subject.file_name))
}

/// Runs every check that can be run. One that builds on a failed one is skipped, and the program is
/// started only when all else is right.
pub fn examine(subject: Subject<'_>, rules: &Rules) -> Examination {
    let name = name_of(subject);
    let readable = subject.size > 0 && subject.size <= rules.max_size;
    let seal = readable.then(|| read_seal(subject.path));
    let found = seal.as_ref().and_then(|seal| seal.as_ref().ok()?.clone());
    let elf =
        readable.then(|| read_elf(subject.path, found.as_ref().map(|seal| seal.program_size)));
    let examiner = Examiner { subject, rules, name, elf, seal };
    let mut examination =
        Examination { findings: Vec::with_capacity(Check::ALL.len()), seal: found };
    for check in Check::ALL {
        let verdict = match check {
            Check::Preflight if examination.failure().is_some() => {
                Verdict::Skipped("other checks failed".into())
            }
            check => examiner.run(check).unwrap_or_else(Verdict::Failed),
        };
        examination.findings.push(Finding { check, verdict });
    }
    examination
}

/// Whatever else lies there than a file, such as a FIFO, is not waited for.
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path)
}

#[cfg(test)]
mod tests;
