//! What a firmware file must satisfy: the configuration, and what is known at the moment of the
//! check.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use crate::config::{self, Component, Format, MachineRule, SealRule, TrustedKey};
use crate::host::command::Isolation;
use crate::model::version::Version;
use crate::model::{Failure, Form, ProgramDigest};
use crate::package::choice::{Choice, LastHashed};
use crate::seal::Seal;
use crate::seal::container::{Found, Front};

/// The payload that a file is for: what its configuration says of it.
#[derive(Debug, Clone)]
pub(super) struct Payload {
    pub(super) product: String,
    pub(super) aliases: BTreeSet<String>,
    /// `None`: another updater installs it, and knows what it is.
    pub(super) program: Option<Program>,
}

/// The program that is there, and how a new one is asked for its version.
#[derive(Debug, Clone)]
pub(super) struct Program {
    pub(super) path: PathBuf,
    pub(super) form: Form,
    pub(super) version_command: Option<Vec<String>>,
    pub(super) isolation: Isolation,
    pub(super) preflight_deadline: Duration,
}

impl Program {
    fn of(program: &config::Program) -> Self {
        Self {
            path: program.path.clone(),
            form: program.form,
            version_command: program.common.version_command.clone(),
            isolation: program.common.isolate_commands,
            preflight_deadline: program.common.preflight_deadline,
        }
    }
}

/// What a firmware file must satisfy on this payload, now.
#[derive(Debug, Clone)]
pub struct Rules {
    /// `None` where no payload is known: a file is judged by what is in it alone.
    pub(super) payload: Option<Payload>,
    pub(super) max_size: u64,
    pub(super) allow_same_version: bool,
    pub(super) allow_unproven_end: bool,
    pub(super) machine: MachineRule,
    /// How the helper that unpacks a container is isolated.
    pub(super) isolation: Isolation,
    /// `None` where no payload is known: what a file is decides.
    pub(super) format: Option<Format>,
    pub(super) seal: SealRule,
    /// Whether nothing but a seal by a trusted key will do.
    pub(super) trusted_only: bool,
    pub(super) keys: Vec<TrustedKey>,
    pub(super) running: Option<Version>,
    pub(super) minimum: Option<Version>,
    /// `None`: not known to whoever asks.
    pub(super) known_bad: Option<BTreeSet<ProgramDigest>>,
    pub(super) forced: bool,
    /// Whether the file may be checked again on another day, and is kept as it was received.
    pub(super) kept: bool,
    /// The installed program, as it was hashed last.
    pub(super) hashed: LastHashed,
}

/// What is to be thought of who signed a seal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signer<'a> {
    /// A trusted key did.
    Trusted(&'a TrustedKey),
    /// The seal names a trusted key, and that key did not sign this manifest.
    Forged(&'a TrustedKey),
    /// A key that is not trusted here, if at all.
    Unknown,
    /// No keys are configured, so nothing was checked.
    NotChecked,
}

impl Rules {
    /// The rules of a configuration: nothing known to be running, no word of which programs are
    /// bad, nothing forced.
    pub fn new(component: &Component, package: &config::Package) -> Self {
        Self {
            payload: Some(Payload {
                product: component.product().to_owned(),
                aliases: component.common().aliases.clone(),
                program: component.program().map(Program::of),
            }),
            format: Some(component.common().format),
            isolation: component.common().isolate_commands,
            ..Self::without_payload(package)
        }
    }

    /// The rules where no payload is known, as on the machine that makes releases: what is in the
    /// file must be right.
    pub fn without_payload(package: &config::Package) -> Self {
        Self {
            payload: None,
            max_size: package.max_size.0,
            allow_same_version: package.allow_same_version,
            allow_unproven_end: package.allow_unproven_end,
            machine: package.machine,
            isolation: Isolation::Never,
            format: None,
            seal: package.seal_rule(),
            trusted_only: false,
            keys: package.keys.clone(),
            running: None,
            minimum: None,
            known_bad: None,
            forced: false,
            kept: false,
            hashed: LastHashed::default(),
        }
    }

    /// Bytes of the largest file that can be accepted.
    pub const fn largest(&self) -> u64 {
        self.max_size
    }

    /// What the payload in a file must be, instead of what the configuration says.
    #[must_use]
    pub fn format(self, format: Format) -> Self {
        Self { format: Some(format), ..self }
    }

    /// The version that runs; unknown, any version is accepted.
    #[must_use]
    pub fn running(self, running: Option<Version>) -> Self {
        Self { running, ..self }
    }

    /// The highest version that ever succeeded here: nothing lower comes back, whatever runs.
    #[must_use]
    pub fn minimum(self, minimum: Option<Version>) -> Self {
        Self { minimum, ..self }
    }

    /// Programs that were rolled back here.
    #[must_use]
    pub fn known_bad(self, known_bad: BTreeSet<ProgramDigest>) -> Self {
        Self { known_bad: Some(known_bad), ..self }
    }

    /// Accepts nothing but what a trusted key has sealed, whatever the configuration says. For who
    /// comes from the network.
    #[must_use]
    pub fn sealed(self, sealed: bool) -> Self {
        let seal = if sealed { SealRule::Required } else { self.seal };
        Self { seal, trusted_only: sealed, ..self }
    }

    /// Accepts a lower version, the same version, a known-bad program, and the other machine that
    /// this kernel may run, and nothing else. For a person's request only.
    #[must_use]
    pub fn forced(self, forced: bool) -> Self {
        Self { forced, ..self }
    }

    /// Keeps the file as it was received, for a check on another day.
    #[must_use]
    pub fn kept(self, kept: bool) -> Self {
        Self { kept, ..self }
    }

    /// Where it is remembered, for the next file too, what the installed program was when it was hashed.
    #[must_use]
    pub fn remembering(self, hashed: LastHashed) -> Self {
        Self { hashed, ..self }
    }

    /// Which of a container's streams makes its program here.
    pub fn choice(&self, front: &Front) -> Result<Choice, Failure> {
        let program = self.payload.as_ref().and_then(|payload| payload.program.as_ref());
        let program = program.map(|program| (program.path.as_path(), program.form));
        Choice::at(front, program, self.running, &self.hashed)
    }

    /// Whether a payload is known for which a file is judged.
    pub fn has_payload(&self) -> bool {
        self.payload.is_some()
    }

    /// What is to be thought of who signed a seal.
    pub fn signer(&self, seal: &Seal) -> Signer<'_> {
        let by = |key: &&TrustedKey| key.public.id() == seal.signature.key_id();
        match self.keys.iter().find(by) {
            _ if self.keys.is_empty() => Signer::NotChecked,
            None => Signer::Unknown,
            Some(key) if key.public.verifies(&seal.signature, &seal.manifest_text) => {
                Signer::Trusted(key)
            }
            Some(key) => Signer::Forged(key),
        }
    }

    /// Whether a file of `size` bytes that begins with `head` and ends in `tail` carries a seal for
    /// this payload by a trusted key. It says nothing of the program.
    pub fn trusts_ends(&self, head: &[u8], tail: &[u8], size: u64) -> bool {
        let seal = match Front::find(head) {
            Ok(Found::Front(front)) => front.seal(front.manifest.size),
            Ok(Found::None) => Seal::find(head, tail, size).ok().flatten(),
            Ok(Found::Unknown) | Err(_) => None,
        };
        seal.is_some_and(|seal| {
            self.payload
                .as_ref()
                .is_some_and(|payload| payload.accepts_product(&seal.manifest.product))
                && matches!(self.signer(&seal), Signer::Trusted(_))
        })
    }
}

impl Payload {
    pub(super) fn accepts_product(&self, product: &str) -> bool {
        self.product == product || self.aliases.contains(product)
    }
}
