//! The check of the seal: who says what of the program, and whether that is so.
//!
//! Read here from the file itself; the digest that it is compared with was taken when the bytes
//! passed.

use std::path::Path;

use super::examiner::{Examined, Examiner, passed, skipped};
use super::{Signer, open};
use crate::config::SealRule;
use crate::model::{Failure, FailureKind};
use crate::package::content::Content;
use crate::seal::{Manifest, Place, Seal, SealError};

/// The seal of the file at `path`; `None` for a file without one. A claim to be sealed that is not
/// true is `seal-invalid`.
pub(super) fn read_seal(path: &Path) -> Result<Option<Seal>, Failure> {
    let error = match open(path).map_err(SealError::from).and_then(Seal::read) {
        Ok(seal) => return Ok(seal),
        Err(error) => error,
    };
    Err(match error {
        SealError::Unreadable(cause) => {
            Failure::new(FailureKind::Internal, "the file can't be read").because(cause)
        }
        error => Failure::new(
            FailureKind::SealInvalid,
            "the file begins or ends like a sealed one, but its seal is damaged",
        )
        .because(error),
    })
}

impl Examiner<'_> {
    pub(super) fn seal(&self) -> Examined {
        let Some(seal) = &self.seal else { return skipped("the size is wrong") };
        match (seal.as_ref().map_err(Failure::clone)?, self.rules.seal) {
            (None, SealRule::Required) => Err(Failure::new(
                FailureKind::SealMissing,
                "the file has no seal, and this payload accepts sealed files only",
            )),
            (None, _) if self.container.is_some() => {
                self.agrees_with_container()?;
                skipped("the container is not signed; what it says of its program is so")
            }
            (None, _) if self.rules.payload.is_none() => {
                skipped("the file has no seal; a payload may want one")
            }
            (None, SealRule::Optional) => skipped("the file has no seal, and needs none"),
            (Some(seal), _) => {
                let signer = self.signer(seal)?;
                self.agrees(&seal.manifest, seal.payload_size())?;
                if let Some(content) = self.content() {
                    self.stands_where_it_may(seal, content)?;
                }
                passed(signer)
            }
        }
    }

    /// What nobody signed must be right, too.
    fn agrees_with_container(&self) -> Result<(), Failure> {
        self.container.map_or(Ok(()), |front| self.agrees(&front.manifest, self.subject.size))
    }

    /// Says who signed, where the signature holds.
    fn signer(&self, seal: &Seal) -> Result<String, Failure> {
        let id = seal.signature.key_id();
        let invalid = |sentence: String| Err(Failure::new(FailureKind::SealInvalid, sentence));
        match self.rules.signer(seal) {
            Signer::Trusted(key) => Ok(format!("signed by key {key}")),
            Signer::NotChecked if self.rules.trusted_only => {
                invalid(format!("the seal is signed by key {id}, and no key is trusted here"))
            }
            Signer::NotChecked if self.rules.payload.is_none() => {
                Ok(format!("signed by key {id}; no payload says whether it trusts that"))
            }
            Signer::NotChecked => {
                Ok(format!("signed by key {id}, which is not checked: no keys are configured"))
            }
            Signer::Forged(key) => invalid(format!(
                "the signature of the seal does not hold: key {key} did not sign this manifest"
            )),
            Signer::Unknown => {
                let trusted: Vec<String> =
                    self.rules.keys.iter().map(ToString::to_string).collect();
                invalid(format!(
                    "the seal is signed by key {id}, and this payload trusts only {}",
                    trusted.join(", ")
                ))
            }
        }
    }

    /// Whether what the manifest says is what the name says and the program is.
    fn agrees(&self, manifest: &Manifest, payload_size: u64) -> Result<(), Failure> {
        let Manifest { product, version, machine, size, sha256, replaces_from, .. } = manifest;
        if let Ok(name) = &self.name {
            if name.product() != product {
                let sentence = format!(
                    "the file is named for product {:?} and sealed for {product:?}",
                    name.product()
                );
                return Err(Failure::new(FailureKind::WrongProduct, sentence));
            }
            if name.version() != *version {
                let sentence = format!(
                    "the seal gives version {version}, the file's name says {}",
                    name.version()
                );
                return Err(Failure::new(FailureKind::WrongVersion, sentence));
            }
        }
        if let Some(content) = self.content() {
            let found = content.machine_text();
            if found != *machine {
                let sentence = format!("the program is for {found}, and sealed for {machine:?}");
                return Err(Failure::new(FailureKind::WrongMachine, sentence));
            }
        }
        if payload_size != *size {
            let sentence =
                format!("the program has {payload_size} bytes, and had {size} when it was sealed");
            return Err(Failure::new(FailureKind::Truncated, sentence));
        }
        if let Some(digests) = self.subject.digests.filter(|digests| digests.program != *sha256) {
            let sentence = format!(
                "the program has SHA-256 {}, and had {sha256} when it was sealed",
                digests.program
            );
            return Err(Failure::new(FailureKind::DigestMismatch, sentence));
        }
        match (self.rules.running, replaces_from) {
            (Some(running), Some(lowest)) if running < *lowest => {
                let sentence = format!(
                    "the file replaces {lowest} or higher, and {running} runs; install one in between first"
                );
                Err(Failure::new(FailureKind::WrongVersion, sentence))
            }
            // Nobody knows whether it may: the signer said that some versions must not be replaced
            // by this one.
            (None, Some(lowest)) if self.something_is_installed() => {
                let sentence = format!(
                    "the file replaces {lowest} or higher, and the version that runs is not known"
                );
                let hint = "give `version_command` or `version` in its [component.NAME] section, or install a file that replaces any version first";
                Err(Failure::new(FailureKind::WrongVersion, sentence).with_hint(hint))
            }
            _ => Ok(()),
        }
    }

    /// Behind an ELF program nobody reads on; a shell runs what stands behind a script, and of the
    /// signature's first line nobody says who wrote it. Another updater is handed the payload alone.
    fn stands_where_it_may(&self, seal: &Seal, content: &Content) -> Result<(), Failure> {
        let handed_on =
            self.rules.payload.as_ref().is_some_and(|payload| payload.program.is_none());
        let is_before = seal.manifest.place == Place::Before;
        if is_before || content.machine().is_some() || handed_on {
            return Ok(());
        }
        let sentence = "the seal stands behind a file that is no ELF program, and would be read as a part of it";
        Err(Failure::new(FailureKind::SealInvalid, sentence)
            .with_hint("seal the file again with `uplift pack`, which puts the seal before it"))
    }

    /// What another updater has installed is taken for something.
    fn something_is_installed(&self) -> bool {
        self.rules
            .payload
            .as_ref()
            .and_then(|payload| payload.program.as_ref())
            .is_none_or(|program| program.path.symlink_metadata().is_ok())
    }
}
