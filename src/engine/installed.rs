//! What is at the program's path, and of which version.

use super::blocking::off_thread;
use crate::component::program::Program;
use crate::config;
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
    config: &config::Program,
    program: &Program,
    journal: &Journal,
) -> Installed {
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
    Installed {
        component: name,
        product: config.product.clone(),
        path: config.path.clone(),
        version: version.or_else(by_hand),
        digest,
        known_bad: journal.known_bad(name).to_vec(),
        minimum_version: journal.minimum_version(name),
    }
}

fn version_of(
    digest: Option<ProgramDigest>,
    known: &[InstalledRecord],
    ask: impl FnOnce() -> Option<Version>,
) -> Option<Version> {
    let digest = digest?;
    known.iter().find(|record| record.digest == digest).map(|record| record.version).or_else(ask)
}
