//! What is to be sealed: a program that is measured once, and for which a manifest is then written.
//!
//! For `uplift pack` and the simulation; a payload never seals anything.

use std::fs::File;
use std::io;

use super::elf::{self, Elf, ElfError, End, Machine};
use crate::digest::Digests;
use crate::digest::hashing::hash_file;
use crate::model::file_name::FileName;
use crate::model::version::Version;
use crate::model::{KeyId, ProgramDigest};
use crate::seal::{Manifest, Seal, SealError};

/// A whole program without a seal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unsealed {
    machine: Machine,
    size: u64,
    digest: ProgramDigest,
    behind: u64,
    proves_its_end: bool,
}

/// What a person says of a program that is to be sealed.
#[derive(Debug, Clone)]
pub struct Label {
    /// Product and version.
    pub name: FileName,
    /// When it is packed, RFC 3339. For people only.
    pub created: String,
    /// Lowest version that it may replace.
    pub replaces_from: Option<Version>,
    /// The key that will sign.
    pub key_id: KeyId,
}

/// Why a file can't be sealed.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the text of each is its documentation")]
pub enum PackError {
    #[error("it can't be read")]
    Unreadable(#[from] io::Error),
    #[error("it is sealed already: as {product:?} {version}, by key {key_id}")]
    Sealed { product: String, version: Version, key_id: KeyId },
    #[error("it ends like a sealed file, but its seal is damaged")]
    DamagedSeal(#[source] SealError),
    #[error(transparent)]
    NoProgram(#[from] ElfError),
    #[error("the program is cut off: at least {0} bytes are missing")]
    CutOff(u64),
    #[error("the headers of the program contradict themselves ({0})")]
    Contradictory(&'static str),
}

impl PackError {
    /// What a person can do about it, where that is not plain.
    pub const fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoProgram(error) => error.hint(),
            _ => None,
        }
    }
}

impl Unsealed {
    /// Measures a program. `progress` hears how many bytes were read so far.
    pub fn measure(file: &File, progress: impl FnMut(u64)) -> Result<Self, PackError> {
        match Seal::read(file) {
            Ok(None) => {}
            Ok(Some(Seal { manifest: Manifest { product, version, key_id, .. }, .. })) => {
                return Err(PackError::Sealed { product, version, key_id });
            }
            Err(SealError::Unreadable(error)) => return Err(error.into()),
            Err(error) => return Err(PackError::DamagedSeal(error)),
        }
        let Elf { machine, end, .. } = elf::read(file)?;
        let (behind, proves_its_end) = match end {
            End::Proven | End::Filled(_) => (0, true),
            // A seal is what proves a file whole that can't do it by itself.
            End::NoSectionTable(bytes) | End::DataBehind(bytes) => (bytes, false),
            End::Missing(bytes) => return Err(PackError::CutOff(bytes)),
            End::Contradictory(what) => return Err(PackError::Contradictory(what)),
        };
        let size = file.metadata()?.len();
        io::Seek::rewind(&mut &*file)?;
        let Digests { program: digest, .. } = hash_file(file, size, progress)?;
        Ok(Self { machine, size, digest, behind, proves_its_end })
    }

    /// Bytes behind the end of the ELF file, for which the program may look at the end of its own
    /// file.
    pub const fn bytes_behind(&self) -> u64 {
        self.behind
    }

    /// Whether it is whole without a seal that says so.
    pub const fn proves_its_end(&self) -> bool {
        self.proves_its_end
    }

    /// What a seal says of it.
    pub fn manifest(&self, label: Label) -> Manifest {
        Manifest {
            product: label.name.product().to_owned(),
            version: label.name.version(),
            machine: self.machine.to_string(),
            size: self.size,
            sha256: self.digest,
            created: label.created,
            replaces_from: label.replaces_from,
            key_id: label.key_id,
        }
    }

    /// Whether a manifest is of this program.
    pub fn is_described_by(&self, manifest: &Manifest) -> bool {
        manifest.machine == self.machine.to_string()
            && manifest.size == self.size
            && manifest.sha256 == self.digest
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use uplift_fixtures::elf::{Architecture, Program};

    fn measured(behind: &[u8]) -> Result<Unsealed, PackError> {
        let program = Program::new(Architecture::X86_64, [1, 2, 3, 4]);
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[&program.bytes(), behind].concat()).unwrap();
        Unsealed::measure(&file, |_| ())
    }

    #[test]
    fn what_stands_behind_a_program_is_counted_and_proves_no_end() {
        let whole = measured(b"").unwrap();
        assert_eq!((whole.bytes_behind(), whole.proves_its_end()), (0, true));
        let more = measured(b"more").unwrap();
        assert_eq!((more.bytes_behind(), more.proves_its_end()), (4, false));
    }

    #[test]
    fn a_manifest_is_of_this_program_in_all_that_it_says_of_it() {
        let unsealed = measured(b"").unwrap();
        let name = "P_V01.02.03.04.bin".parse().unwrap();
        let (created, key_id) = (String::new(), "0123456789ABCDEF".parse().unwrap());
        let manifest = unsealed.manifest(Label { name, created, replaces_from: None, key_id });
        assert!(unsealed.is_described_by(&manifest));
        for other in [
            Manifest { machine: "another".into(), ..manifest.clone() },
            Manifest { size: manifest.size + 1, ..manifest.clone() },
            Manifest { sha256: ProgramDigest([0; 32]), ..manifest },
        ] {
            assert!(!unsealed.is_described_by(&other), "{other:?}");
        }
    }

    #[test]
    fn who_packs_a_script_hears_what_to_do() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"#!/bin/sh\n").unwrap();
        let error = Unsealed::measure(&file, |_| ()).unwrap_err();
        assert!(error.hint().unwrap().contains("only an ELF program"));
        assert_eq!(PackError::CutOff(1).hint(), None);
    }
}
