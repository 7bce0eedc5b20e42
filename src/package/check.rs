//! All checks of a firmware file, in one list and one order, cheapest first.
//!
//! [`examine`] explains a file that lies anywhere; [`check`] turns a staged file into a [`Checked`] one, and is the only
//! way to come by one. Both run the same list. Nothing here knows who sent the file or what becomes of it.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::config;
use crate::model::{Failure, FailureKind, PackageSummary};
use crate::package::digest::{Digests, FileDigest, ProgramDigest};
use crate::package::elf::{self, Elf, ElfError, End, Machine};
use crate::package::name::FileName;
use crate::package::preflight::{self, Executable};
use crate::package::version::Version;
use crate::stage::Staged;

/// What a firmware file must satisfy on this payload, now.
#[derive(Debug, Clone)]
pub struct Policy {
    product: String,
    aliases: BTreeSet<String>,
    program: PathBuf,
    version_command: Option<Vec<String>>,
    max_size: u64,
    allow_same_version: bool,
    allow_unproven_end: bool,
    running: Option<Version>,
    known_bad: BTreeSet<ProgramDigest>,
    forced: bool,
}

impl Policy {
    /// The policy of a configuration: nothing known to be running, nothing known to be bad, nothing forced.
    pub fn new(program: &config::Program, package: &config::Package) -> Self {
        Self {
            product: program.product.clone(),
            aliases: program.aliases.clone(),
            program: program.path.clone(),
            version_command: program.version_command.clone(),
            max_size: package.max_size.0,
            allow_same_version: package.allow_same_version,
            allow_unproven_end: package.allow_unproven_end,
            running: None,
            known_bad: BTreeSet::new(),
            forced: false,
        }
    }

    /// The version that runs; unknown, any version is let in.
    #[must_use]
    pub fn running(self, running: Option<Version>) -> Self {
        Self { running, ..self }
    }

    /// Programs that were rolled back here.
    #[must_use]
    pub fn known_bad(self, known_bad: BTreeSet<ProgramDigest>) -> Self {
        Self { known_bad, ..self }
    }

    /// Lets in a lower version, the same version and a known-bad program, and nothing else. For a person's request only.
    #[must_use]
    pub fn forced(self, forced: bool) -> Self {
        Self { forced, ..self }
    }

    fn accepts_product(&self, product: &str) -> bool {
        self.product == product || self.aliases.contains(product)
    }
}

/// The checks, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Check {
    /// The name is that of a firmware file.
    Name,
    /// The product is ours.
    Product,
    /// The version is higher than the one that runs.
    Version,
    /// The size is within limits.
    Size,
    /// A program for the machine of the installed one.
    Machine,
    /// The interpreter that the program names is present.
    Interpreter,
    /// The file is whole.
    Complete,
    /// The digest that the channel gave agrees.
    Digest,
    /// The program did not fail here before.
    KnownBad,
    /// The program, when asked, tells the version of its name.
    Preflight,
}

impl Check {
    /// Every check, in order.
    pub const ALL: [Self; 10] = [
        Self::Name,
        Self::Product,
        Self::Version,
        Self::Size,
        Self::Machine,
        Self::Interpreter,
        Self::Complete,
        Self::Digest,
        Self::KnownBad,
        Self::Preflight,
    ];

    /// Its name as a person reads it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Product => "product",
            Self::Version => "version",
            Self::Size => "size",
            Self::Machine => "machine",
            Self::Interpreter => "interpreter",
            Self::Complete => "complete",
            Self::Digest => "digest",
            Self::KnownBad => "known bad",
            Self::Preflight => "preflight",
        }
    }
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "result", content = "detail")]
pub enum Verdict {
    /// Right; what was seen.
    Passed(String),
    /// Wrong.
    Failed(Failure),
    /// Not looked at; why.
    Skipped(String),
}

/// One check and what it found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The check.
    pub check: Check,
    /// What it found.
    #[serde(flatten)]
    pub verdict: Verdict,
}

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

/// All findings on one file, in the order of the checks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Examination {
    /// One a check.
    pub findings: Vec<Finding>,
}

impl Examination {
    /// The first failure, which is what the file is refused for.
    pub fn failure(&self) -> Option<&Failure> {
        self.findings.iter().find_map(|finding| match &finding.verdict {
            Verdict::Failed(failure) => Some(failure),
            Verdict::Passed(_) | Verdict::Skipped(_) => None,
        })
    }
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
pub fn check(staged: Staged, policy: &Policy) -> Result<Checked, Failure> {
    let subject =
        Subject { file_name: &staged.file_name, path: staged.path(), size: staged.size, digests: Some(staged.digests), owned: true };
    let name = name_of(subject)?;
    if let Some(failure) = examine(subject, policy).failure() {
        return Err(failure.clone());
    }
    let FileDigest(digest) = staged.digests.file;
    let summary = PackageSummary {
        file_name: staged.file_name.clone(),
        product: name.product().to_owned(),
        version: name.version(),
        size: staged.size,
        file_digest: staged.digests.file,
        program_digest: ProgramDigest(digest), // without a seal the program is the whole file
    };
    Ok(Checked { staged, summary })
}

/// What can be said of a file before its first byte: name, product, version, size. A transfer that would be refused at
/// its end, perhaps hours later, is refused at its beginning.
pub fn check_announced(file_name: &str, size: u64, policy: &Policy) -> Result<(), Failure> {
    let subject = Subject { file_name, path: Path::new(""), size, digests: None, owned: false };
    let examiner = Examiner { subject, policy, name: name_of(subject), elf: None };
    let checks = [Check::Name, Check::Product, Check::Version, Check::Size];
    checks.into_iter().try_for_each(|check| examiner.run(check).map(drop))
}

fn name_of(subject: Subject<'_>) -> Result<FileName, Failure> {
    subject.file_name.parse().map_err(|error: crate::package::name::NameError| error.into_failure(subject.file_name))
}

/// Runs every check that can be run. One that builds on a failed one is skipped, and the program is started only when all
/// else is right.
pub fn examine(subject: Subject<'_>, policy: &Policy) -> Examination {
    let name = name_of(subject);
    let elf = if subject.size == 0 || subject.size > policy.max_size { None } else { Some(read_elf(subject.path)) };
    let examiner = Examiner { subject, policy, name, elf };
    let mut examination = Examination { findings: Vec::with_capacity(Check::ALL.len()) };
    for check in Check::ALL {
        let verdict = match check {
            Check::Preflight if examination.failure().is_some() => Verdict::Skipped("other checks failed".into()),
            check => examiner.run(check).unwrap_or_else(Verdict::Failed),
        };
        examination.findings.push(Finding { check, verdict });
    }
    examination
}

fn read_elf(path: &Path) -> Result<Elf, Failure> {
    let error = match File::open(path).map_err(ElfError::from).and_then(elf::read) {
        Ok(elf) => return Ok(elf),
        Err(error) => error,
    };
    let kind = match error {
        ElfError::NotElf | ElfError::NotExecutable(_) => FailureKind::WrongMachine,
        ElfError::CutOff => FailureKind::Truncated,
        ElfError::Unreadable(_) => FailureKind::Internal,
    };
    let sentence = error.to_string();
    Err(match error {
        ElfError::Unreadable(cause) => Failure::new(kind, sentence).because(cause),
        _ => Failure::new(kind, sentence),
    })
}

type Examined = Result<Verdict, Failure>;

fn passed(text: impl Into<String>) -> Examined {
    Ok(Verdict::Passed(text.into()))
}

fn skipped(text: impl Into<String>) -> Examined {
    Ok(Verdict::Skipped(text.into()))
}

/// One file under one policy, with what several checks look at.
struct Examiner<'a> {
    subject: Subject<'a>,
    policy: &'a Policy,
    name: Result<FileName, Failure>,
    /// `None` when the size alone is wrong.
    elf: Option<Result<Elf, Failure>>,
}

impl Examiner<'_> {
    fn run(&self, check: Check) -> Examined {
        match check {
            Check::Name => self.name(),
            Check::Product => self.product(),
            Check::Version => self.version(),
            Check::Size => self.size(),
            Check::Machine => self.machine(),
            Check::Interpreter => self.interpreter(),
            Check::Complete => self.complete(),
            Check::Digest => self.digest(),
            Check::KnownBad => self.known_bad(),
            Check::Preflight => self.preflight(),
        }
    }

    fn name(&self) -> Examined {
        let name = self.name.as_ref().map_err(Failure::clone)?;
        passed(format!("product {:?}, version {}", name.product(), name.version()))
    }

    fn product(&self) -> Examined {
        let Ok(name) = &self.name else { return skipped("the name does not tell it") };
        if self.policy.accepts_product(name.product()) {
            return passed(format!("{:?} is this payload", name.product()));
        }
        let sentence = format!("the file is for product {:?}, this payload is {:?}", name.product(), self.policy.product);
        Err(Failure::new(FailureKind::WrongProduct, sentence))
    }

    fn version(&self) -> Examined {
        let Ok(name) = &self.name else { return skipped("the name does not tell it") };
        let version = name.version();
        let Some(running) = self.policy.running else { return passed(format!("{version}; the version that runs is not known")) };
        let forced = self.policy.forced;
        if version > running || version < running && forced || version == running && (forced || self.policy.allow_same_version) {
            let note = if version > running {
                ""
            } else if forced {
                ", forced"
            } else {
                ", allowed by the configuration"
            };
            return passed(format!("{version}, {running} runs{note}"));
        }
        Err(if version == running {
            Failure::new(FailureKind::SameVersion, format!("version {version} runs already"))
        } else {
            Failure::new(FailureKind::Downgrade, format!("version {version} is lower than {running}, which runs"))
        })
    }

    fn size(&self) -> Examined {
        let (size, limit) = (self.subject.size, self.policy.max_size);
        match size {
            0 => Err(Failure::new(FailureKind::Truncated, "the file is empty")),
            size if size > limit => Err(Failure::new(FailureKind::TooLarge, format!("the file has {size} bytes, the limit is {limit}"))),
            size => passed(format!("{size} bytes")),
        }
    }

    fn machine(&self) -> Examined {
        let Some(elf) = &self.elf else { return skipped("the size is wrong") };
        let machine = elf.as_ref().map_err(Failure::clone)?.machine;
        let (wanted, whose) = self.wanted_machine()?;
        if machine == wanted {
            return passed(format!("{machine}, as {whose}"));
        }
        Err(Failure::new(FailureKind::WrongMachine, format!("the file is for {machine}, {whose} is for {wanted}")))
    }

    /// The machine of the installed program; of this one where nothing is installed, or a script is.
    fn wanted_machine(&self) -> Result<(Machine, &'static str), Failure> {
        if let Ok(installed) = read_elf(&self.policy.program) {
            return Ok((installed.machine, "the installed program"));
        }
        Ok((read_elf(Path::new("/proc/self/exe"))?.machine, "this machine"))
    }

    fn elf(&self) -> Option<&Elf> {
        self.elf.as_ref().and_then(|elf| elf.as_ref().ok())
    }

    fn interpreter(&self) -> Examined {
        let Some(elf) = self.elf() else { return skipped("not a program") };
        match &elf.interpreter {
            None => passed("none needed"),
            Some(path) if path.is_file() => passed(path.display().to_string()),
            Some(path) => {
                let sentence = format!("the program needs the interpreter {:?}, which this machine does not have", path.as_os_str());
                Err(Failure::new(FailureKind::WrongMachine, sentence))
            }
        }
    }

    fn complete(&self) -> Examined {
        let Some(elf) = self.elf() else { return skipped("not a program") };
        let truncated = |sentence: String| Err(Failure::new(FailureKind::Truncated, sentence));
        let unproven = |what: String| {
            let allowed = self.policy.allow_unproven_end;
            if allowed { passed(what + "; allowed by the configuration") } else { truncated(what) }
        };
        match elf.end {
            End::Proven => passed("the file ends where its headers say"),
            End::Missing(bytes) => truncated(format!("the file is cut off: at least {bytes} bytes are missing")),
            End::Contradictory(what) => truncated(format!("the headers of the file contradict themselves ({what})")),
            End::NoSectionTable => unproven("the file has no section table, so nothing proves that it is whole".into()),
            End::DataBehind(bytes) => unproven(format!("{bytes} bytes behind the program's end, so nothing proves that they are whole")),
        }
    }

    fn digest(&self) -> Examined {
        match self.subject.digests {
            None => skipped("the size is wrong"),
            // The reception compared it: a staged file with an MD5 has the one that was announced.
            Some(Digests { md5: Some(md5), .. }) => passed(format!("MD5 {md5}, as announced")),
            Some(Digests { file, md5: None }) => passed(format!("SHA-256 {file}; none was announced")),
        }
    }

    fn known_bad(&self) -> Examined {
        let Some(digests) = self.subject.digests else { return skipped("the size is wrong") };
        if !self.policy.known_bad.contains(&ProgramDigest(digests.file.0)) {
            return passed("it did not fail here before");
        }
        if self.policy.forced {
            return passed("it failed here before; forced");
        }
        Err(Failure::new(FailureKind::KnownBad, "this program was rolled back here before"))
    }

    fn preflight(&self) -> Examined {
        let (Some(arguments), Ok(name)) = (&self.policy.version_command, &self.name) else {
            return skipped("no `version_command` is configured");
        };
        let executable = self.make_executable()?;
        if executable.is_none() && !is_executable(self.subject.path) {
            return skipped("the file is not executable; the daemon asks it for its version once it is staged");
        }
        let told = preflight::printed_version(self.subject.path, arguments)?;
        if told == name.version() {
            return passed(format!("the program tells version {told}"));
        }
        let sentence = format!("the program tells version {told}, its name says {}", name.version());
        Err(Failure::new(FailureKind::WrongVersion, sentence))
    }

    fn make_executable(&self) -> Result<Option<Executable>, Failure> {
        let failed = |error| Failure::from_io(FailureKind::PreflightFailed, "the staged file can't be made executable", error);
        self.subject.owned.then(|| Executable::lend(self.subject.path)).transpose().map_err(failed)
    }
}

fn is_executable(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
#[cfg(feature = "sim")] // the tiny programs come from there
mod tests;
