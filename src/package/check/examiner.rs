//! How each check is done.

use std::ops::Range;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::Path;

use crate::config::{Format, MachineRule, TreeFormat};
use crate::digest::Digests;
use crate::host::command::{CommandError, Reach};
use crate::model::file_name::FileName;
use crate::model::version::Version;
use crate::model::{Failure, FailureKind};
use crate::package::check::{Check, Rules, Subject, Verdict, open, text_mode};
use crate::package::content::{Content, ContentError};
use crate::package::elf::{self, ElfError, End, Machine};
use crate::package::preflight::{self, Executable, PreflightError};
use crate::seal::container::Front;
use crate::seal::{Place, Seal};
use crate::tree;

/// What this part of the file at `path` is, where that is of the format.
pub(super) fn read_content(
    path: &Path,
    part: Range<u64>,
    format: Format,
) -> Result<Content, Failure> {
    let read = |file| Content::read(file, part, format);
    let error = match open(path).map_err(ContentError::from).and_then(read) {
        Ok(content) => return Ok(content),
        Err(error) => error,
    };
    let kind = match error {
        ContentError::Tree(error) => return Err(error.into()),
        ContentError::SetId(_) => FailureKind::SealInvalid,
        ContentError::Empty | ContentError::Elf(ElfError::CutOff) => FailureKind::Truncated,
        ContentError::Unreadable(_) | ContentError::Elf(ElfError::Unreadable(_)) => {
            FailureKind::Internal
        }
        _ => FailureKind::WrongMachine,
    };
    let failure = Failure::new(kind, error.to_string());
    Err(match (error.hint(), error) {
        (Some(hint), _) => failure.with_hint(hint),
        (
            None,
            ContentError::Unreadable(cause) | ContentError::Elf(ElfError::Unreadable(cause)),
        ) => failure.because(cause),
        (None, _) => failure,
    })
}

/// The format of a payload that begins behind `start` bytes, where none is asked for.
pub(super) fn format_of(path: &Path, start: u64) -> Format {
    let mut magic = [0; 4];
    // What can't be read begins like no program; who reads all of it says so.
    let _ = open(path).and_then(|file| file.read_at(&mut magic, start));
    match magic {
        [b'#', b'!', ..] => Format::Script,
        // Whether that may have set-id bits its payload decides.
        _ if tree::MAGIC.starts_with(&magic) => Format::Tree(TreeFormat { set_id: true }),
        object::elf::ELFMAG => Format::Elf,
        _ => Format::Any,
    }
}

/// What a check found, or the failure that it found.
pub(super) type Examined = Result<Verdict, Failure>;

pub(super) fn passed(text: impl Into<String>) -> Examined {
    Ok(Verdict::Passed(text.into()))
}

pub(super) fn skipped(text: impl Into<String>) -> Examined {
    Ok(Verdict::Skipped(text.into()))
}

/// One file under one set of rules, with what several checks look at.
pub(super) struct Examiner<'a> {
    pub(super) subject: Subject<'a>,
    pub(super) rules: &'a Rules,
    pub(super) format: Format,
    pub(super) name: Result<FileName, Failure>,
    /// `None` when the size alone is wrong.
    pub(super) content: Option<Result<Content, Failure>>,
    /// `None` when the size alone is wrong.
    pub(super) seal: Option<Result<Option<Seal>, Failure>>,
    /// What it came in.
    pub(super) container: Option<&'a Front>,
}

impl Examiner<'_> {
    pub(super) fn run(&self, check: Check) -> Examined {
        let found = match check {
            Check::Name => self.name(),
            Check::Product => self.product(),
            Check::Version => self.version(),
            Check::Size => self.size(),
            Check::Machine => self.machine(),
            Check::Interpreter => self.interpreter(),
            Check::Complete => self.complete(),
            Check::Seal => self.seal(),
            Check::Digest => self.digest(),
            Check::KnownBad => self.known_bad(),
            Check::Preflight => self.preflight(),
        };
        match check {
            Check::Machine | Check::Complete | Check::Seal => {
                found.map_err(|failure| text_mode::explained(failure, self.subject.path))
            }
            _ => found,
        }
    }

    fn name(&self) -> Examined {
        let name = self.name.as_ref().map_err(Failure::clone)?;
        passed(format!("product {:?}, version {}", name.product(), name.version()))
    }

    fn product(&self) -> Examined {
        let Ok(name) = &self.name else { return skipped("the name does not give it") };
        let Some(payload) = &self.rules.payload else {
            return skipped("no configuration names the product of a payload");
        };
        if payload.accepts_product(name.product()) {
            return passed(format!("{:?} is this payload", name.product()));
        }
        let sentence = format!(
            "the file is for product {:?}, this payload is {:?}",
            name.product(),
            payload.product
        );
        Err(Failure::new(FailureKind::WrongProduct, sentence))
    }

    fn version(&self) -> Examined {
        let Ok(name) = &self.name else { return skipped("the name does not give it") };
        if self.rules.payload.is_none() {
            return skipped("no payload says which version runs");
        }
        let (version, forced) = (name.version(), self.rules.forced);
        let text = match self.rules.running {
            None => format!("{version}; the version that runs is not known"),
            Some(running) if version > running => format!("{version}, {running} runs"),
            Some(running) if forced => format!("{version}, {running} runs, forced"),
            Some(running) if version < running => {
                return Err(Failure::new(
                    FailureKind::Downgrade,
                    format!("version {version} is lower than {running}, which runs"),
                ));
            }
            Some(running) if self.rules.allow_same_version => {
                format!("{version}, {running} runs, allowed by the configuration")
            }
            Some(_) => {
                return Err(Failure::new(
                    FailureKind::SameVersion,
                    format!("version {version} runs already"),
                ));
            }
        };
        match self.rules.minimum {
            Some(minimum) if version < minimum && !forced => {
                let sentence = format!(
                    "version {version} is lower than {minimum}, which succeeded here before; older ones don't come back"
                );
                let hint = "send a higher version; for a repair `uplift install --force` lets this one in, and `uplift forget --minimum-version` \
                            all that are above the one that runs";
                Err(Failure::new(FailureKind::Downgrade, sentence).with_hint(hint))
            }
            _ => passed(text),
        }
    }

    fn size(&self) -> Examined {
        let (size, limit) = (self.subject.size, self.rules.max_size);
        match size {
            0 => Err(Failure::new(FailureKind::Truncated, "the file is empty")),
            size if size > limit => Err(Failure::new(
                FailureKind::TooLarge,
                format!("the file has {size} bytes, the limit is {limit}"),
            )),
            size => passed(format!("{size} bytes")),
        }
    }

    fn machine(&self) -> Examined {
        let Some(content) = &self.content else { return skipped("the size is wrong") };
        let machine = match content.as_ref().map_err(Failure::clone)? {
            Content::Elf(elf) => elf.machine,
            Content::Script(_) => return passed("a script, which names no machine"),
            Content::Tree { files, others, size } => {
                return passed(format!(
                    "a tree of {files} files, {others} directories and links, and {size} bytes; a tree names no machine"
                ));
            }
            Content::Any(_) => return skipped("a file of any format may be for any machine"),
            Content::Stm32(vectors, _) => {
                let (stack, entry) = (vectors.stack, vectors.entry);
                return passed(format!(
                    "a program for an STM32F4: stack {stack:#010x}, reset vector {entry:#010x}"
                ));
            }
        };
        let Some(payload) = &self.rules.payload else {
            return skipped(format!("{machine}; no payload says what it needs"));
        };
        let program = payload.program.as_ref();
        let (wanted, whose) = wanted_machine(program.map(|program| program.path.as_path()))?;
        if machine == wanted {
            return passed(format!("{machine}, as {whose}"));
        }
        let sentence = format!("the file is for {machine}, {whose} is for {wanted}");
        let kernel = nix::sys::utsname::uname()
            .map(|names| names.machine().to_string_lossy().into_owned())
            .unwrap_or_default();
        let accepted = self.rules.forced || self.rules.machine == MachineRule::AnyRunnable;
        match machine.may_run_on(&kernel) {
            true if accepted && program.is_some_and(|one| one.version_command.is_some()) => {
                passed(format!(
                    "{machine}; {whose} is for {wanted}, and the preflight shows whether this machine runs it"
                ))
            }
            true if accepted => passed(format!("{machine}; {whose} is for {wanted}; forced")),
            true => {
                let hint = format!(
                    "build the program for {wanted}; where this machine runs both, `machine = \"any-runnable\"` in the [package] section \
                     accepts it, and so does `uplift install --force`"
                );
                Err(Failure::new(FailureKind::WrongMachine, sentence).with_hint(hint))
            }
            false => Err(Failure::new(FailureKind::WrongMachine, sentence)
                .with_hint(format!("build the program for {wanted}"))),
        }
    }

    pub(super) fn content(&self) -> Option<&Content> {
        self.content.as_ref().and_then(|content| content.as_ref().ok())
    }

    fn interpreter(&self) -> Examined {
        let interpreter = match self.content() {
            Some(Content::Elf(elf)) => elf.interpreter.as_ref(),
            Some(Content::Script(interpreter)) => Some(interpreter),
            Some(Content::Any(_) | Content::Stm32(..) | Content::Tree { .. }) | None => {
                return skipped("not a program");
            }
        };
        match interpreter {
            None => passed("none needed"),
            Some(path) if self.rules.payload.is_none() => {
                skipped(format!("{:?}; no payload says whether it has it", path.as_os_str()))
            }
            Some(path) if path.is_file() => passed(path.display().to_string()),
            Some(path) => {
                let sentence = format!(
                    "the {} needs the interpreter {:?}, which this machine does not have",
                    if self.format == Format::Script { "script" } else { "program" },
                    path.as_os_str()
                );
                let hint = match self.format {
                    Format::Script => "install it, or name another one in the script's first line",
                    _ => {
                        "install what it comes with, or link the program statically or against the C library of this machine"
                    }
                };
                Err(Failure::new(FailureKind::WrongMachine, sentence).with_hint(hint))
            }
        }
    }

    fn complete(&self) -> Examined {
        let Some(content) = self.content() else { return skipped("not a program") };
        let truncated = |sentence: String| Err(Failure::new(FailureKind::Truncated, sentence));
        let unproven = |what: String| match &self.seal {
            Some(Ok(Some(_))) => passed("the seal gives size and digest"),
            _ if self.container.is_some() => passed("the container gives size and digest"),
            Some(Err(_)) => skipped("the seal is damaged, so it proves nothing"),
            _ if self.rules.allow_unproven_end => passed(what + "; allowed by the configuration"),
            _ => truncated(what),
        };
        let Content::Elf(elf) = content else {
            let what = "the file has no seal, and nothing else proves that it is whole";
            let hint = "seal it with `uplift pack`; `allow_unproven_end = true` in the [package] section lets it in as it is";
            return unproven(what.into()).map_err(|failure| failure.with_hint(hint));
        };
        match elf.end {
            End::Proven => passed("the program ends where its headers say"),
            End::Filled(zeros) => passed(format!(
                "the program ends where its headers say, and {zeros} zeros fill its last page"
            )),
            End::Missing(bytes) => {
                truncated(format!("the file is cut off: at least {bytes} bytes are missing"))
            }
            End::Contradictory(what) => {
                truncated(format!("the headers of the file contradict themselves ({what})"))
            }
            End::NoSectionTable(_) => {
                unproven("the file has no section table, so nothing proves that it is whole".into())
            }
            End::DataBehind(bytes) => unproven(format!(
                "{bytes} bytes stand behind the program's end, so nothing proves that they are whole"
            )),
        }
    }

    fn digest(&self) -> Examined {
        match self.subject.digests {
            None => skipped("the size is wrong"),
            // The reception compared it: a staged file with an MD5 has the one that was announced.
            Some(Digests { md5: Some(md5), .. }) => passed(format!("MD5 {md5}, as announced")),
            Some(Digests { file, md5: None, .. }) => {
                passed(format!("SHA-256 {file}; none was announced"))
            }
        }
    }

    fn known_bad(&self) -> Examined {
        let Some(digests) = self.subject.digests else { return skipped("the size is wrong") };
        let Some(known_bad) = &self.rules.known_bad else {
            return skipped("only the daemon knows which programs failed here");
        };
        if !known_bad.contains(&digests.program) {
            return passed("it did not fail here before");
        }
        if self.rules.forced {
            return passed("it failed here before; forced");
        }
        Err(Failure::new(FailureKind::KnownBad, "this program was rolled back here before"))
    }

    fn preflight(&self) -> Examined {
        if let (Some(&Content::Stm32(_, Some(version))), Ok(name)) = (self.content(), &self.name) {
            return version_in(version, name.version());
        }
        let program = self.rules.payload.as_ref().and_then(|payload| payload.program.as_ref());
        let command = program.and_then(|program| {
            Some((program.version_command.as_ref()?, program.isolation, program.preflight_deadline))
        });
        let (Some((arguments, isolation, deadline)), Ok(name)) = (command, &self.name) else {
            return skipped("no `version_command` is configured");
        };
        if matches!(self.format, Format::Any | Format::Stm32(_) | Format::Tree(_)) {
            return skipped("a file of any format is not run");
        }
        let is_behind_seal = self.container.is_none()
            && matches!(&self.seal, Some(Ok(Some(seal))) if seal.manifest.place == Place::Before);
        if is_behind_seal {
            return skipped(
                "the seal stands before the program; the daemon asks it for its version once it lies there without",
            );
        }
        let executable = self.make_executable()?;
        if executable.is_none() && !is_executable(self.subject.path) {
            return skipped(
                "the file is not executable; the daemon asks it for its version once it is staged",
            );
        }
        let reach = if executable.is_some() { Reach::ItsFile } else { Reach::Files };
        let told =
            preflight::printed_version(self.subject.path, arguments, reach, isolation, deadline);
        version_told(told, name.version(), executable.is_some())
    }

    fn make_executable(&self) -> Result<Option<Executable>, Failure> {
        let failed = |error| {
            Failure::from_io(
                FailureKind::PreflightFailed,
                "the staged file can't be made executable",
                error,
            )
        };
        self.subject.owned.then(|| Executable::lend(self.subject.path)).transpose().map_err(failed)
    }
}

/// What it means that a version stands in a program that can't be run here.
fn version_in(version: Version, named: Version) -> Examined {
    if version == named {
        return passed(format!("the program has version {version} in it"));
    }
    let sentence = format!("the program has version {version} in it, its name says {named}");
    Err(Failure::new(FailureKind::WrongVersion, sentence))
}

/// What it means that a program, staged or not, has told its version or has not.
pub(super) fn version_told(
    told: Result<Version, PreflightError>,
    named: Version,
    is_staged: bool,
) -> Examined {
    let told = match told {
        // Below /tmp or /root, say.
        Err(PreflightError::Command(CommandError::NotStarted)) if !is_staged => {
            return skipped(
                "an unprivileged user can't run the file where it is; the daemon asks it for its version once it is staged",
            );
        }
        told => told?,
    };
    if told == named {
        return passed(format!("the program prints version {told}"));
    }
    let sentence = format!("the program prints version {told}, its name says {named}");
    Err(Failure::new(FailureKind::WrongVersion, sentence))
}

/// The machine of the installed program; of this one where nothing is installed, or a script is.
pub(super) fn wanted_machine(program: Option<&Path>) -> Result<(Machine, &'static str), Failure> {
    let machine = |path| Ok::<_, ElfError>(elf::read(open(path)?)?.machine);
    if let Some(Ok(installed)) = program.map(machine) {
        return Ok((installed, "the installed program"));
    }
    machine(Path::new("/proc/self/exe")).map(|own| (own, "this machine")).map_err(|error| {
        Failure::new(FailureKind::Internal, "the machine of this daemon can't be told")
            .because(error)
    })
}

fn is_executable(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.permissions().mode() & 0o111 != 0)
}
