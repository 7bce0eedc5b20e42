//! What is installed of each component, and of which version.

use std::thread;

use super::blocking::off_thread;
use crate::component::command::told_version;
use crate::component::program::Program;
use crate::config::{self, Component, Config};
use crate::journal::Journal;
use crate::log::message;
use crate::model::version::Version;
use crate::model::{ComponentName, Failure, FailureKind, Installed, ProgramDigest};
use crate::package::preflight;
use crate::record::InstalledRecord;

/// What the machine says about a component: the version and, of a program, what is at its path.
pub(super) type Found = (Option<Version>, Option<ProgramDigest>);

/// Looks at the machine, and blocks meanwhile.
type Look = Box<dyn FnOnce() -> Found + Send>;

/// What is installed of a component. The version is the one of the digest at the path, or not
/// known: the journal knows that of what `uplift` installed, replaced or has on trial, the program
/// itself that of any other, and the configuration that of the program that was installed by hand,
/// unless it may be another one.
pub(super) async fn installed(
    component: &Component,
    program: Option<&Program>,
    journal: &Journal,
) -> Installed {
    let found = off_thread(look_at(component, program, journal)).await;
    describe(component, found.unwrap_or_default(), journal)
}

/// All components before anybody has looked at them.
pub(super) fn not_looked_at(config: &Config, journal: &Journal) -> Vec<Installed> {
    let not_yet =
        |component| Installed { looking: true, ..describe(component, (None, None), journal) };
    config.components.iter().map(not_yet).collect()
}

/// The look at all components. They are asked side by side, so that it takes as long as the slowest
/// of them.
pub(super) fn look_at_all<'a>(
    config: &Config,
    program: impl Fn(ComponentName) -> Option<&'a Program>,
    journal: &Journal,
) -> impl FnOnce() -> Vec<Found> + Send + 'static {
    let look = |component: &Component| look_at(component, program(component.name()), journal);
    let looks: Vec<Look> = config.components.iter().map(look).collect();
    || side_by_side(looks)
}

/// What such a look has found. Nothing of a component that it did not come to.
pub(super) fn all_installed(
    config: &Config,
    found: Vec<Found>,
    journal: &Journal,
) -> impl Iterator<Item = Installed> {
    let found = found.into_iter().chain(std::iter::repeat((None, None)));
    config
        .components
        .iter()
        .zip(found)
        .map(|(component, found)| describe(component, found, journal))
}

fn side_by_side(mut looks: Vec<Look>) -> Vec<Found> {
    // One of them needs no thread of its own, and mostly there is but one.
    let last = looks.pop();
    thread::scope(|scope| {
        let others: Vec<_> = looks.into_iter().map(|look| scope.spawn(look)).collect();
        let last = last.map(|look| look());
        others.into_iter().map(|look| look.join().unwrap_or_default()).chain(last).collect()
    })
}

fn describe(component: &Component, (version, digest): Found, journal: &Journal) -> Installed {
    let name = component.name();
    let by_hand = match component {
        Component::Program(config) => {
            digest.filter(|digest| journal.may_be_by_hand(name, *digest)).and(config.common.version)
        }
        Component::Command(_) => None,
    };
    Installed {
        component: name,
        product: component.product().to_owned(),
        path: component.program().map(|config| config.path.clone()),
        version: version.or(by_hand),
        digest,
        looking: false,
        known_bad: journal.known_bad(name).to_vec(),
        minimum_version: journal.minimum_version(name),
        brought_by: journal.brought_by(name, digest),
    }
}

fn look_at(component: &Component, program: Option<&Program>, journal: &Journal) -> Look {
    match (component, program) {
        (Component::Program(config), Some(program)) => at_path(config, program, journal),
        (Component::Command(config), _) => by_updater(config, journal),
        (Component::Program(_), None) => Box::new(|| (None, None)),
    }
}

/// What another updater has installed: what its version command tells, or else what was the last
/// to succeed here, or else what the configuration says.
fn by_updater(config: &config::Command, journal: &Journal) -> Look {
    let last = journal.installed(config.common.name);
    let Some(command) = config.common.version_command.clone() else {
        let version = last.map(|last| last.version).or(config.common.version);
        return Box::new(move || (version, last.map(|last| last.digest)));
    };
    let (isolation, deadline) = (config.common.isolate_commands, config.common.preflight_deadline);
    Box::new(move || {
        let told = told_version(&command, isolation, deadline);
        let version = told.inspect_err(trouble).ok();
        let digest = last.filter(|last| Some(last.version) == version).map(|last| last.digest);
        (version, digest)
    })
}

fn at_path(config: &config::Program, program: &Program, journal: &Journal) -> Look {
    let (program, known) = (program.clone(), journal.known_programs(config.common.name));
    let config = config.clone();
    Box::new(move || {
        let digest = program.known_digest().unwrap_or_else(|error| {
            let sentence = format!("the program {} can't be read", config.path.display());
            trouble(&Failure::from_io(FailureKind::Internal, sentence, error));
            None
        });
        let version = version_of(digest, &known, || preflight::installed_version(&config)?.ok());
        (version, digest)
    })
}

fn trouble(failure: &Failure) {
    tracing::warn!(MESSAGE_ID = message::TROUBLE, UPLIFT_KIND = %failure.kind, "{failure}");
}

fn version_of(
    digest: Option<ProgramDigest>,
    known: &[InstalledRecord],
    ask: impl FnOnce() -> Option<Version>,
) -> Option<Version> {
    let digest = digest?;
    known.iter().find(|record| record.digest == digest).map(|record| record.version).or_else(ask)
}
