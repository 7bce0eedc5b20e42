//! `uplift check FILE`: explains a firmware file and what would happen to it here.

mod explain;

use std::fs::{File, Metadata};
use std::io::{self, Write as _};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde::Serialize;

use super::output::hashing_bar;
use crate::command::Reach;
use crate::config::Config;
use crate::control::{Client, ControlAnswer, ControlRequest};
use crate::model::{Failure, SCHEMA, Status};
use crate::package::check::{self, Examination, Finding, Policy, Subject};
use crate::package::digest::{Digests, FileDigest, ProgramDigest};
use crate::package::hashing::hash_file;
use crate::package::preflight;
use crate::package::version::Version;

use explain::{SealDocument, explain};

/// Longest wait for the daemon; without its answer the configuration has to do.
const DAEMON_DEADLINE: Duration = Duration::from_secs(5);

/// What `--json` prints.
#[derive(Serialize)]
struct Document<'a> {
    schema: u32,
    file: &'a str,
    accepted: bool,
    running: Option<Version>,
    /// Whether the daemon told what runs and which programs are bad.
    daemon: bool,
    /// Absent for a file that is too large to be worth hashing.
    file_digest: Option<FileDigest>,
    program_digest: Option<ProgramDigest>,
    /// Absent for a file without a well-formed seal.
    seal: Option<SealDocument<'a>>,
    findings: &'a [Finding],
}

/// Checks `file` as the daemon would; `json` prints the findings as JSON. A file that would be refused is an error.
pub(super) fn run(config: &Config, file: &Path, json: bool) -> anyhow::Result<()> {
    let policy = Policy::new(&config.program, &config.package);
    let status = ask_daemon(config);
    let (policy, running) = match &status {
        Ok(status) => {
            let running = status.installed.version;
            let policy = policy.running(running).minimum(status.minimum_version);
            (policy.known_bad(status.known_bad.iter().copied().collect()), running)
        }
        Err(_) => {
            let running = running_version(config);
            (policy.running(running), running)
        }
    };
    // The program is asked for its version from another directory, and a bare name would be looked for in PATH.
    let file = &std::path::absolute(file).with_context(|| format!("{} can't be found", file.display()))?;
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let (examination, digests) = examine(config, &policy, file, &name, json)?;
    let accepted = examination.failure().is_none();
    let seal = examination.seal.as_ref().map(|seal| SealDocument::new(seal, &policy));
    let mut out = io::stdout().lock();
    if json {
        let document = Document {
            schema: SCHEMA,
            file: &name,
            accepted,
            running,
            daemon: status.is_ok(),
            file_digest: digests.map(|digests| digests.file),
            program_digest: digests.map(|digests| digests.program),
            seal,
            findings: &examination.findings,
        };
        serde_json::to_writer_pretty(&mut out, &document)?;
        writeln!(out)?;
    } else {
        explain(&mut out, &name, seal.as_ref(), &examination)?;
        if accepted {
            let program = &config.program;
            let replaced = running.map_or_else(String::new, |version| format!(" ({version})"));
            writeln!(out, "The file would be accepted. It would replace {}{replaced}, then: {}.", program.path.display(), program.restart)?;
        }
        if let Err(why) = &status {
            writeln!(out, "Judged by the configuration alone, because {why}.")?;
        }
    }
    out.flush()?;
    examination.failure().map_or(Ok(()), |failure| Err(refused(failure)))
}

fn refused(failure: &Failure) -> anyhow::Error {
    anyhow::Error::new(failure.clone()).context("the file would be refused")
}

fn examine(config: &Config, policy: &Policy, path: &Path, name: &str, quiet: bool) -> anyhow::Result<(Examination, Option<Digests>)> {
    // Asked before it is opened: opening a FIFO would wait for ever.
    let metadata = path.metadata().with_context(|| format!("{} can't be read", path.display()))?;
    ensure!(metadata.is_file(), "{} is not a regular file", path.display());
    let digests = digests(config, path, &metadata, quiet).with_context(|| format!("{} can't be read", path.display()))?;
    let subject = Subject { file_name: name, path, size: metadata.len(), digests, owned: false };
    Ok((check::examine(subject, policy), digests))
}

/// A file above the limit is not hashed: it would be refused anyway, and it may have no end worth waiting for.
fn digests(config: &Config, path: &Path, metadata: &Metadata, quiet: bool) -> io::Result<Option<Digests>> {
    let size = metadata.len();
    if size > config.package.max_size.0 {
        return Ok(None);
    }
    let bar = hashing_bar(size, quiet);
    let digests = hash_file(&File::open(path)?, size, |bytes| bar.set_position(bytes));
    bar.finish_and_clear();
    digests.map(Some)
}

/// The daemon's knowledge of this very program, or a clause that says why there is none.
fn ask_daemon(config: &Config) -> Result<Status, String> {
    let mut client = Client::connect(&config.paths.control).map_err(|error| error.to_string())?;
    let answer = client.ask(&ControlRequest::Status {}).and_then(|()| client.answer_within(DAEMON_DEADLINE));
    match answer.map_err(|error| error.to_string())? {
        ControlAnswer::Status { status } if status.installed.path == config.program.path => Ok(status),
        ControlAnswer::Status { status } => {
            Err(format!("the daemon that runs is for another program, {}", status.installed.path.display()))
        }
        _ => Err("the daemon did not tell its status".into()),
    }
}

/// What is known without the daemon: what the configuration says, or else what the installed program tells.
fn running_version(config: &Config) -> Option<Version> {
    let program = &config.program;
    let told =
        || preflight::printed_version(&program.path, program.version_command.as_ref()?, Reach::Files, program.preflight_deadline).ok();
    program.version.or_else(told)
}
