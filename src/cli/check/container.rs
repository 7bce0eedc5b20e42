//! A container, as `uplift check` sees it: its program is taken out, and examined.

use std::fmt;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::Serialize;

use super::Examined;
use crate::cli::unpack::unpack_under_bar;
use crate::digest::Digests;
use crate::digest::hashing::HashingWriter;
use crate::disk::{Disk as _, LocalDisk, PRIVATE_MODE, remove_if_present};
use crate::model::{Failure, FailureKind};
use crate::package::check::{self, Check, Examination, Finding, Rules, Subject, Verdict};
use crate::package::choice::Choice;
use crate::package::unpack::front_of;
use crate::seal::Stream;
use crate::seal::container::Front;

/// A container, as `--json` prints it.
#[derive(Debug, Serialize)]
pub(super) struct ContainerDocument {
    /// Bytes of the file: what is sent.
    size: u64,
    /// Bytes of the program: what is installed.
    program_size: u64,
    streams: Vec<Stream>,
}

impl ContainerDocument {
    fn of(front: &Front, size: u64) -> Self {
        let manifest = &front.manifest;
        Self { size, program_size: manifest.size, streams: manifest.streams.clone() }
    }
}

impl fmt::Display for ContainerDocument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let share = self.size.saturating_mul(100).div_ceil(self.program_size.max(1));
        writeln!(
            f,
            "  container     {} bytes are sent, {share} % of the program's {}",
            self.size, self.program_size
        )?;
        self.streams.iter().try_for_each(|stream| {
            let what = match &stream.base {
                None => "the whole program".to_owned(),
                Some(base) => format!("what changed since {}", base.version),
            };
            let Stream { codec, window, size, .. } = stream;
            writeln!(f, "  stream        {what}: {size} bytes, {codec:?}, window {window}")
        })
    }
}

/// What is found of a file of these digests, if it is a container.
pub(super) fn examine(
    rules: &Rules,
    path: &Path,
    name: &str,
    digests: Digests,
    quiet: bool,
) -> anyhow::Result<Option<Examined>> {
    let unreadable = || format!("{} can't be read", path.display());
    let file = File::open(path).with_context(unreadable)?;
    let size = file.metadata().with_context(unreadable)?.len();
    let front = match front_of(&file) {
        Ok(Some(front)) => front,
        Ok(None) => return Ok(None),
        Err(failure) => return Ok(Some(Examined::failed(failure, digests, None))),
    };
    let container = ContainerDocument::of(&front, size);
    let refused = |failure| Ok(Some(Examined::failed(failure, digests, Some((&front, size)))));
    // All that is wrong is told of what can be unpacked; what is too large is not.
    if front.manifest.size > rules.largest()
        && let Err(failure) = check::judge(&front, Some(name), rules)
    {
        return refused(failure);
    }
    if Choice::needs_old(&front) && !rules.has_payload() {
        return Ok(Some(match check::judge(&front, Some(name), rules) {
            Ok(()) => Examined::not_taken_out(digests, &front, size),
            Err(failure) => Examined::failed(failure, digests, Some((&front, size))),
        }));
    }
    let choice = match rules.choice(&front) {
        Ok(choice) => choice,
        Err(failure) => return refused(failure),
    };
    let program = Unpacked::create()?;
    let program_digests = match program.fill(&file, &front, choice, quiet) {
        Ok(digests) => digests,
        Err(failure) => return refused(failure),
    };
    let digests = Digests { program: program_digests.program, ..digests };
    let subject = Subject {
        file_name: Some(name),
        path: &program.path,
        size: front.manifest.size,
        digests: Some(digests),
        owned: false,
    };
    let examination = check::examine_unpacked(subject, Some(&front), rules);
    Ok(Some(Examined { examination, digests: Some(digests), container: Some(container) }))
}

impl Examined {
    /// A container of which no program can be had.
    fn failed(failure: Failure, digests: Digests, front: Option<(&Front, u64)>) -> Self {
        Self::without_program(Verdict::Failed(failure), digests, front)
    }

    /// A container that changes a program which only a payload has.
    fn not_taken_out(digests: Digests, front: &Front, size: u64) -> Self {
        let why = "the file is only what changes an old program, and no payload is known that has it; `uplift unpack --from` takes it out";
        Self::without_program(Verdict::Skipped(why.into()), digests, Some((front, size)))
    }

    fn without_program(verdict: Verdict, digests: Digests, front: Option<(&Front, u64)>) -> Self {
        let finding = Finding { check: Check::Complete, verdict };
        let seal = front.and_then(|(front, _)| front.seal(front.manifest.size));
        let container = front.map(|(front, size)| ContainerDocument::of(front, size));
        let examination = Examination { findings: vec![finding], seal };
        Self { examination, digests: Some(digests), container }
    }
}

/// The program of a container, in a file that is gone with this.
struct Unpacked {
    path: PathBuf,
    file: File,
}

impl Unpacked {
    fn create() -> anyhow::Result<Self> {
        let path = std::env::temp_dir().join(format!("uplift-check-{}", std::process::id()));
        let file = LocalDisk.create(&path, PRIVATE_MODE).with_context(|| {
            format!("{} can't be written, where the program is taken out", path.display())
        })?;
        Ok(Self { path, file })
    }

    fn fill(
        &self,
        container: &File,
        front: &Front,
        choice: Choice,
        quiet: bool,
    ) -> Result<Digests, Failure> {
        let mut writer = HashingWriter::new(&self.file, front.manifest.size);
        unpack_under_bar(container, front, choice, quiet, |bytes| {
            writer.write_all(bytes).map_err(unwritable)
        })?;
        check::proved(&self.file, writer.finish().map_err(unwritable)?, front)
    }
}

impl Drop for Unpacked {
    fn drop(&mut self) {
        // Nobody is left to tell.
        let _ = remove_if_present(&LocalDisk, &self.path);
    }
}

fn unwritable(error: io::Error) -> Failure {
    let sentence = "the program can't be taken out of its container";
    Failure::from_io(FailureKind::InstallFailed, sentence, error)
}
