//! `uplift check FILE`: explains a firmware file and what would happen to it here.

mod container;
mod explain;

use std::fs::{File, Metadata};
use std::io;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde::Serialize;

use super::bar::Bar;
use super::{paint, view};
use crate::component::command::told_version;
use crate::config::{Component, Config, Package};
use crate::control::{Client, ControlAnswer, ControlRequest};
use crate::digest::Digests;
use crate::digest::hashing::hash_file;
use crate::engine::choice;
use crate::model::version::Version;
use crate::model::{
    ChannelName, ComponentName, Failure, FileDigest, Installed, ProgramDigest, SCHEMA,
};
use crate::package::check::{self, Examination, Finding, Rules, Subject, Verdict};
use crate::package::preflight;

use container::ContainerDocument;
use explain::{SealDocument, explain};

/// Longest wait for the daemon; without its answer the configuration has to do.
const DAEMON_DEADLINE: Duration = Duration::from_secs(5);

/// What `--json` prints.
#[derive(Serialize)]
struct Document<'a> {
    schema: u32,
    file: &'a str,
    accepted: bool,
    /// Which component it is for; absent without a configuration.
    component: Option<ComponentName>,
    running: Option<Version>,
    /// Whether the daemon told what runs and which programs are bad.
    daemon: bool,
    /// Whether there is a configuration; without one the file is judged by what is in it.
    configuration: bool,
    /// Absent for a file that is too large to be worth hashing.
    file_digest: Option<FileDigest>,
    program_digest: Option<ProgramDigest>,
    /// Absent for a file that is no container.
    container: Option<&'a ContainerDocument>,
    /// Absent for a file without a well-formed seal.
    seal: Option<SealDocument<'a>>,
    findings: &'a [Finding],
}

/// Checks `file` as the daemon would; `json` prints the findings as JSON. A file that would be
/// refused is an error.
pub(super) fn run(known: Known<'_>, file: &Path, json: bool) -> anyhow::Result<()> {
    // The program is asked for its version from another directory, and a bare name would be looked
    // for in PATH.
    let file =
        &std::path::absolute(file).with_context(|| format!("{} can't be found", file.display()))?;
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let (rules, source) = rules(known, &name)?;
    let Examined { examination, digests, container } = examine(&rules, file, &name, json)?;
    let seal = examination.seal.as_ref().map(|seal| SealDocument::new(seal, &rules));
    if json {
        let document = Document {
            schema: SCHEMA,
            file: &name,
            accepted: examination.failure().is_none(),
            component: source.component(),
            running: source.running(),
            daemon: matches!(source, Source::Daemon { .. }),
            configuration: !matches!(source, Source::File { .. }),
            file_digest: digests.map(|digests| digests.file),
            program_digest: digests.map(|digests| digests.program),
            container: container.as_ref(),
            seal,
            findings: &examination.findings,
        };
        view::print(serde_json::to_string_pretty(&document)?)?;
    } else {
        let container = container.as_ref().map(ToString::to_string).unwrap_or_default();
        let text = verdict(&name, &source, &examination)
            + &container
            + &explain(seal.as_ref(), &examination);
        view::say(text.trim_end())?;
    }
    examination.failure().map_or(Ok(()), |failure| Err(refused(failure)))
}

/// What is known of the payload that a file is for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Known<'a> {
    /// Its configuration.
    Configuration(&'a Config),
    /// Nothing: there is no file at this path, as on a machine that makes releases.
    Nothing(&'a Path),
}

/// What a file was judged by.
enum Source<'a> {
    /// The configuration, and what the daemon knows.
    Daemon { component: &'a Component, running: Option<Version> },
    /// The configuration alone; why.
    Configuration { component: &'a Component, running: Option<Version>, why: String },
    /// What is in the file; there is no configuration at this path.
    File { missing: &'a Path },
}

impl Source<'_> {
    fn component(&self) -> Option<ComponentName> {
        match self {
            Self::Daemon { component, .. } | Self::Configuration { component, .. } => {
                Some(component.name())
            }
            Self::File { .. } => None,
        }
    }

    const fn running(&self) -> Option<Version> {
        match self {
            Self::Daemon { running, .. } | Self::Configuration { running, .. } => *running,
            Self::File { .. } => None,
        }
    }
}

fn rules<'a>(known: Known<'a>, name: &str) -> Result<(Rules, Source<'a>), Failure> {
    let config = match known {
        Known::Configuration(config) => config,
        Known::Nothing(missing) => {
            return Ok((Rules::without_payload(&Package::default()), Source::File { missing }));
        }
    };
    let component = choice::of_file(config, ChannelName::SHELL, Some(name))?;
    let rules = Rules::new(component, &config.package);
    Ok(match ask_daemon(config, component) {
        Ok(installed) => {
            let running = installed.version;
            let rules = rules.running(running).minimum(installed.minimum_version);
            (
                rules.known_bad(installed.known_bad.into_iter().collect()),
                Source::Daemon { component, running },
            )
        }
        Err(why) => {
            let running = running_version(component);
            (rules.running(running), Source::Configuration { component, running, why })
        }
    })
}

/// What a person wants to know first.
fn verdict(name: &str, source: &Source<'_>, examination: &Examination) -> String {
    let (failure, running) = (examination.failure(), source.running());
    let mut text = match (failure, source) {
        (Some(failure), _) => format!("{name:?} would be {}: {failure}.\n", paint::bad("refused")),
        (None, Source::File { .. }) => {
            format!("{name:?} is right as far as it can be judged here.\n")
        }
        (None, Source::Daemon { component, .. } | Source::Configuration { component, .. }) => {
            let replaced = running.map_or_else(String::new, |version| format!(" ({version})"));
            let then = match component {
                Component::Program(program) => format!(
                    "It would replace {}{replaced}, then: {}.",
                    program.path.display(),
                    program.restart
                ),
                Component::Command(command) => {
                    format!("It would be handed to {}{replaced}.", command.updater())
                }
            };
            format!("{name:?} would be {}.\n{then}\n", paint::good("accepted"))
        }
    };
    match source {
        Source::Daemon { .. } => {}
        Source::Configuration { why, .. } => {
            text += &format!("Judged by the configuration alone, because {why}.\n");
        }
        Source::File { missing } => {
            let skipped = examination
                .findings
                .iter()
                .filter(|finding| matches!(finding.verdict, Verdict::Skipped(_)));
            let skipped: Vec<&str> = skipped.map(|finding| finding.check.as_str()).collect();
            let trust = if examination.seal.is_some() {
                "; nor whether a payload trusts the seal"
            } else {
                ""
            };
            text += &format!(
                "Judged by what is in the file, because there is no configuration {}.\n",
                missing.display()
            );
            text += &format!("Not judged: {}{trust}.\n", skipped.join(", "));
        }
    }
    text
}

fn refused(failure: &Failure) -> anyhow::Error {
    anyhow::Error::new(failure.clone()).context("the file would be refused")
}

/// What was found of a file.
struct Examined {
    examination: Examination,
    /// Of the file, and of the program that is in it.
    digests: Option<Digests>,
    container: Option<ContainerDocument>,
}

fn examine(rules: &Rules, path: &Path, name: &str, quiet: bool) -> anyhow::Result<Examined> {
    // Asked before it is opened: opening a FIFO would wait for ever.
    let metadata = path.metadata().with_context(|| format!("{} can't be read", path.display()))?;
    ensure!(metadata.is_file(), "{} is not a regular file", path.display());
    let digests = digests(rules, path, &metadata, quiet)
        .with_context(|| format!("{} can't be read", path.display()))?;
    if let Some(digests) = digests
        && let Some(found) = container::examine(rules, path, name, digests, quiet)?
    {
        return Ok(found);
    }
    let subject =
        Subject { file_name: Some(name), path, size: metadata.len(), digests, owned: false };
    Ok(Examined { examination: check::examine(subject, rules), digests, container: None })
}

/// A file above the limit is not hashed: it would be refused anyway, and it may have no end worth
/// waiting for.
fn digests(
    rules: &Rules,
    path: &Path,
    metadata: &Metadata,
    quiet: bool,
) -> io::Result<Option<Digests>> {
    let size = metadata.len();
    if size > rules.largest() {
        return Ok(None);
    }
    let bar = Bar::of_bytes("hashing", size, quiet);
    hash_file(&File::open(path)?, size, |bytes| bar.set_done(bytes)).map(Some)
}

/// The daemon's knowledge of this very program, or a clause that says why there is none.
fn ask_daemon(config: &Config, component: &Component) -> Result<Installed, String> {
    let mut client = Client::connect(&config.paths.control).map_err(|error| error.to_string())?;
    let answer =
        client.ask(&ControlRequest::Status {}).and_then(|()| client.answer_within(DAEMON_DEADLINE));
    match answer.map_err(|error| error.to_string())? {
        ControlAnswer::Status { status } => {
            let path = component.program().map(|program| program.path.as_path());
            let is_it = |installed: &&Installed| {
                installed.component == component.name() && installed.path.as_deref() == path
            };
            let found = status.components.iter().find(is_it);
            if found.is_some_and(|found| found.looking) {
                return Err("the daemon has started, and looks at the program still".into());
            }
            found.cloned().ok_or_else(|| {
                let others = status.components.iter().map(|one| match &one.path {
                    Some(path) => path.display().to_string(),
                    None => one.component.to_string(),
                });
                let others = others.collect::<Vec<_>>().join(", ");
                format!("the daemon that runs is for another program, {others}")
            })
        }
        _ => Err("the daemon did not give its status".into()),
    }
}

/// What is known without the daemon: what the installed program tells, or else what the
/// configuration says.
fn running_version(component: &Component) -> Option<Version> {
    let told = match component {
        Component::Program(program) => preflight::installed_version(program).and_then(Result::ok),
        Component::Command(command) => {
            let (isolation, deadline) =
                (command.common.isolate_commands, command.common.preflight_deadline);
            let asked = command.common.version_command.as_ref();
            asked.and_then(|asked| told_version(asked, isolation, deadline).ok())
        }
    };
    told.or(component.common().version)
}
