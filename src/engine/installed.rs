//! What is at the program's path, and of which version.

use super::blocking::off_thread;
use crate::component::command::told_version;
use crate::component::program::Program;
use crate::config::{self, Component};
use crate::journal::Journal;
use crate::log::message;
use crate::model::version::Version;
use crate::model::{Failure, FailureKind, Installed, ProgramDigest};
use crate::package::preflight;
use crate::record::InstalledRecord;

/// What is installed of a component. The version is the one of the digest at the path, or not
/// known: the journal knows that of what `uplift` installed, replaced or has on trial, the program
/// itself that of any other, and the configuration that of the program that was installed by hand,
/// unless it may be another one.
pub(super) async fn installed(
    component: &Component,
    program: Option<&Program>,
    journal: &Journal,
) -> Installed {
    let name = component.name();
    let (version, digest) = match (component, program) {
        (Component::Program(config), Some(program)) => at_path(config, program, journal).await,
        (Component::Command(config), _) => by_updater(config, journal).await,
        (Component::Program(_), None) => (None, None),
    };
    Installed {
        component: name,
        product: component.product().to_owned(),
        path: component.program().map(|config| config.path.clone()),
        version,
        digest,
        known_bad: journal.known_bad(name).to_vec(),
        minimum_version: journal.minimum_version(name),
    }
}

/// What another updater has installed: what its version command tells, or else what was the last
/// to succeed here, or else what the configuration says.
async fn by_updater(
    config: &config::Command,
    journal: &Journal,
) -> (Option<Version>, Option<ProgramDigest>) {
    let last = journal.installed(config.name);
    let Some(command) = config.version_command.clone() else {
        let version = last.map(|last| last.version).or(config.version);
        return (version, last.map(|last| last.digest));
    };
    let (isolation, deadline) = (config.isolate_commands, config.preflight_deadline);
    let told = off_thread(move || told_version(&command, isolation, deadline)).await;
    let version = match told {
        Ok(Ok(version)) => Some(version),
        Ok(Err(failure)) => {
            tracing::warn!(MESSAGE_ID = message::TROUBLE, UPLIFT_KIND = %failure.kind, "{failure}");
            None
        }
        Err(_) => None,
    };
    let digest = last.filter(|last| Some(last.version) == version).map(|last| last.digest);
    (version, digest)
}

async fn at_path(
    config: &config::Program,
    program: &Program,
    journal: &Journal,
) -> (Option<Version>, Option<ProgramDigest>) {
    let name = config.name;
    let (reader, known) = (program.clone(), journal.known_programs(name));
    let configured = config.clone();
    let found = off_thread(move || {
        let digest = reader.known_digest().unwrap_or_else(|error| {
            let failure = Failure::from_io(
                FailureKind::Internal,
                format!("the program {} can't be read", configured.path.display()),
                error,
            );
            tracing::warn!(MESSAGE_ID = message::TROUBLE, UPLIFT_KIND = %failure.kind, "{failure}");
            None
        });
        let version =
            version_of(digest, &known, || preflight::installed_version(&configured)?.ok());
        (digest, version)
    })
    .await;
    let (digest, version) = found.unwrap_or((None, None));
    let by_hand =
        || digest.filter(|digest| journal.may_be_by_hand(name, *digest)).and(config.version);
    (version.or_else(by_hand), digest)
}

fn version_of(
    digest: Option<ProgramDigest>,
    known: &[InstalledRecord],
    ask: impl FnOnce() -> Option<Version>,
) -> Option<Version> {
    let digest = digest?;
    known.iter().find(|record| record.digest == digest).map(|record| record.version).or_else(ask)
}
