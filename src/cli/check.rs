//! `uplift check FILE`: explains a firmware file and what would happen to it here.

use std::fs::{File, Metadata};
use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde::Serialize;

use crate::config::Config;
use crate::control::{Client, ControlAnswer, ControlRequest};
use crate::model::{Failure, SCHEMA, Status};
use crate::package::check::{self, Examination, Finding, Policy, Subject, Verdict};
use crate::package::digest::{BUFFER_SIZE, Digests, Hasher};
use crate::package::preflight;
use crate::package::version::Version;

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
    findings: &'a [Finding],
}

/// Checks `file` as the daemon would; `json` prints the findings as JSON. A file that would be refused is an error.
pub(super) fn run(config: &Config, file: &Path, json: bool) -> anyhow::Result<()> {
    let policy = Policy::new(&config.program, &config.package);
    let status = ask_daemon(config);
    let (policy, running) = match &status {
        Ok(status) => {
            let running = status.installed.version;
            (policy.running(running).known_bad(status.known_bad.iter().copied().collect()), running)
        }
        Err(_) => {
            let running = running_version(config);
            (policy.running(running), running)
        }
    };
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let examination = examine(config, &policy, file, &name)?;
    let accepted = examination.failure().is_none();
    let mut out = io::stdout().lock();
    if json {
        let findings = &examination.findings;
        let document = Document { schema: SCHEMA, file: &name, accepted, running, daemon: status.is_ok(), findings };
        serde_json::to_writer_pretty(&mut out, &document)?;
        writeln!(out)?;
    } else {
        print(&mut out, &name, &examination)?;
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

fn examine(config: &Config, policy: &Policy, path: &Path, name: &str) -> anyhow::Result<Examination> {
    // Asked before it is opened: opening a FIFO would wait for ever.
    let metadata = path.metadata().with_context(|| format!("{} can't be read", path.display()))?;
    ensure!(metadata.is_file(), "{} is not a regular file", path.display());
    let digests = digests(config, path, &metadata).with_context(|| format!("{} can't be read", path.display()))?;
    let subject = Subject { file_name: name, path, size: metadata.len(), digests, owned: false };
    Ok(check::examine(subject, policy))
}

/// A file above the limit is not hashed: it would be refused anyway, and it may have no end worth waiting for.
fn digests(config: &Config, path: &Path, metadata: &Metadata) -> io::Result<Option<Digests>> {
    let limit = config.package.max_size.0;
    if metadata.len() > limit {
        return Ok(None);
    }
    let mut file = File::open(path)?.take(limit);
    let mut hasher = Hasher::new(false);
    let mut buffer = vec![0; BUFFER_SIZE];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(Some(hasher.finish())),
            Ok(n) => hasher.update(&buffer[..n]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
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
    let told = || preflight::printed_version(&program.path, program.version_command.as_ref()?).ok();
    program.version.or_else(told)
}

fn print(out: &mut impl io::Write, name: &str, examination: &Examination) -> io::Result<()> {
    writeln!(out, "{name:?}")?;
    for Finding { check, verdict } in &examination.findings {
        let (word, text) = match verdict {
            Verdict::Passed(text) => ("ok", text.clone()),
            Verdict::Failed(failure) => ("FAILED", format!("{failure} [{}]", failure.kind)),
            Verdict::Skipped(text) => ("skipped", text.clone()),
        };
        writeln!(out, "  {word:<8}{:<12}{text}", check.as_str())?;
    }
    match examination.failure() {
        None => writeln!(out, "The file would be accepted."),
        Some(_) => Ok(()), // the error says it, with its hint
    }
}
