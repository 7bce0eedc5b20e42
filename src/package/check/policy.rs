//! What a firmware file must satisfy: the configuration, and what is known at the moment of the check.

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::config;
use crate::package::digest::ProgramDigest;
use crate::package::version::Version;

/// What a firmware file must satisfy on this payload, now.
#[derive(Debug, Clone)]
pub struct Policy {
    pub(super) product: String,
    pub(super) aliases: BTreeSet<String>,
    pub(super) program: PathBuf,
    pub(super) version_command: Option<Vec<String>>,
    pub(super) max_size: u64,
    pub(super) allow_same_version: bool,
    pub(super) allow_unproven_end: bool,
    pub(super) running: Option<Version>,
    /// `None`: not known to whoever asks.
    pub(super) known_bad: Option<BTreeSet<ProgramDigest>>,
    pub(super) forced: bool,
}

impl Policy {
    /// The policy of a configuration: nothing known to be running, no word of which programs are bad, nothing forced.
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
            known_bad: None,
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
        Self { known_bad: Some(known_bad), ..self }
    }

    /// Lets in a lower version, the same version and a known-bad program, and nothing else. For a person's request only.
    #[must_use]
    pub fn forced(self, forced: bool) -> Self {
        Self { forced, ..self }
    }

    pub(super) fn accepts_product(&self, product: &str) -> bool {
        self.product == product || self.aliases.contains(product)
    }
}
