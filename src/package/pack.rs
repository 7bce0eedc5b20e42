//! What is to be sealed: a program, or any payload, that is measured once, and for which a manifest
//! is then written.
//!
//! For `uplift pack` and the simulation; a payload never seals anything.

use std::fs::File;
use std::io::{self, Read as _, Seek as _};

use super::elf::{self, Elf, ElfError, End, Machine};
use super::foreign::{self, Foreign};
use super::unpack;
use crate::digest::Digests;
use crate::digest::hashing::hash_file;
use crate::model::file_name::FileName;
use crate::model::version::Version;
use crate::model::{KeyId, ProgramDigest};
use crate::seal::container::Front;
use crate::seal::{ANY_MACHINE, Manifest, Place, Seal, SealError};
use crate::tree;

/// A whole program, or any other payload, without a seal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsealed {
    kind: Kind,
    size: u64,
    digest: ProgramDigest,
}

/// What is to be sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Program { machine: Machine, behind: u64, proves_its_end: bool },
    Other(Foreign),
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
    /// The key that will sign, if one will.
    pub key_id: Option<KeyId>,
    /// Where the seal will stand.
    pub place: Place,
}

/// Why a file can't be sealed.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the text of each is its documentation")]
pub enum PackError {
    #[error("it can't be read")]
    Unreadable(#[from] io::Error),
    #[error("it is sealed already: as {product:?} {version}, by key {key_id}")]
    Sealed { product: String, version: Version, key_id: KeyId },
    #[error("it is a container already, of {product:?} {version}")]
    Container { product: String, version: Version },
    #[error("it begins or ends like a sealed file, but its seal is damaged")]
    DamagedSeal(#[source] SealError),
    #[error("the file ends inside its first header")]
    NoHeader,
    #[error("it is empty")]
    Empty,
    #[error("the program is cut off: at least {0} bytes are missing")]
    CutOff(u64),
    #[error("the headers of the program contradict themselves ({0})")]
    Contradictory(&'static str),
}

impl Unsealed {
    /// Measures a payload. `progress` hears how many bytes were read so far.
    pub fn measure(mut file: &File, progress: impl FnMut(u64)) -> Result<Self, PackError> {
        if let Ok(Some(Front { manifest: Manifest { product, version, .. }, .. })) =
            unpack::front_of(file)
        {
            return Err(PackError::Container { product, version });
        }
        match Seal::read(file) {
            // The last file in it may be a sealed one.
            _ if tree::is_archive(file)? => {}
            Ok(None) => {}
            Ok(Some(Seal { manifest: Manifest { product, version, .. }, signature, .. })) => {
                return Err(PackError::Sealed { product, version, key_id: signature.key_id() });
            }
            Err(SealError::Unreadable(error)) => return Err(error.into()),
            Err(error) => return Err(PackError::DamagedSeal(error)),
        }
        let kind = Kind::of(file)?;
        let size = file.metadata()?.len();
        if size == 0 {
            return Err(PackError::Empty);
        }
        file.rewind()?;
        let Digests { program: digest, .. } = hash_file(file, size, progress)?;
        Ok(Self { kind, size, digest })
    }

    /// What it is, if it is no ELF program.
    pub const fn foreign(&self) -> Option<&Foreign> {
        match &self.kind {
            Kind::Program { .. } => None,
            Kind::Other(foreign) => Some(foreign),
        }
    }

    /// Why a seal must not stand behind it, as a sentence: what it is would read the seal there, or find it
    /// in place of its own end. `None` for any other program, and for what is none.
    pub fn needs_its_end(&self) -> Option<String> {
        match &self.kind {
            Kind::Program { behind: 0, .. } => None,
            Kind::Program { behind, .. } => Some(format!(
                "{behind} bytes stand behind the end of the ELF file, and a program that looks there for them finds a seal that is put there"
            )),
            Kind::Other(script @ (Foreign::Script(_) | Foreign::ScriptWithZip(_))) => {
                script.name().map(|name| {
                    format!("it is {name}, and what runs it would read a seal behind it, too")
                })
            }
            Kind::Other(_) => None,
        }
    }

    /// Whether it is whole without a seal that says so.
    pub const fn proves_its_end(&self) -> bool {
        matches!(self.kind, Kind::Program { proves_its_end: true, .. })
    }

    fn machine(&self) -> String {
        match self.kind {
            Kind::Program { machine, .. } => machine.to_string(),
            Kind::Other(_) => ANY_MACHINE.to_owned(),
        }
    }

    /// What a seal says of it.
    pub fn manifest(&self, label: Label) -> Manifest {
        Manifest {
            product: label.name.product().to_owned(),
            version: label.name.version(),
            machine: self.machine(),
            size: self.size,
            sha256: self.digest,
            created: label.created,
            replaces_from: label.replaces_from,
            key_id: label.key_id,
            place: label.place,
            streams: Vec::new(),
        }
    }

    /// Its bytes in number.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Whether this is its SHA-256.
    pub fn has_digest(&self, digest: ProgramDigest) -> bool {
        self.digest == digest
    }

    /// Whether a manifest is of this program.
    pub fn is_described_by(&self, manifest: &Manifest) -> bool {
        manifest.machine == self.machine()
            && manifest.size == self.size
            && manifest.sha256 == self.digest
    }
}

impl Kind {
    fn of(mut file: &File) -> Result<Self, PackError> {
        let Elf { machine, end, .. } = match elf::read(file) {
            Ok(elf) => elf,
            Err(ElfError::Unreadable(error)) => return Err(error.into()),
            Err(ElfError::CutOff) => return Err(PackError::NoHeader),
            Err(ElfError::NotElf(foreign)) => return Ok(Self::Other(foreign)),
            Err(ElfError::NotExecutable(_)) => {
                let mut head = Vec::new();
                file.rewind()?;
                file.take(foreign::LOOKED_AT).read_to_end(&mut head)?;
                return Ok(Self::Other(foreign::recognise(&head)));
            }
        };
        let (behind, proves_its_end) = match end {
            End::Proven | End::Filled(_) => (0, true),
            // A seal is what proves a file whole that can't do it by itself.
            End::NoSectionTable(bytes) | End::DataBehind(bytes) => (bytes, false),
            End::Missing(bytes) => return Err(PackError::CutOff(bytes)),
            End::Contradictory(what) => return Err(PackError::Contradictory(what)),
        };
        Ok(Self::Program { machine, behind, proves_its_end })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::config::Format;
    use crate::package::content::Content;
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
        assert_eq!((whole.needs_its_end(), whole.proves_its_end()), (None, true));
        let more = measured(b"more").unwrap();
        assert!(more.needs_its_end().is_some_and(|why| why.starts_with("4 bytes stand behind")));
        assert!(!more.proves_its_end());
    }

    #[test]
    fn a_manifest_is_of_this_program_in_all_that_it_says_of_it() {
        let unsealed = measured(b"").unwrap();
        let place = Place::Behind;
        let name = "P_V01.02.03.04.bin".parse().unwrap();
        let (created, key_id) = (String::new(), Some("0123456789ABCDEF".parse().unwrap()));
        let manifest =
            unsealed.manifest(Label { name, created, replaces_from: None, key_id, place });
        assert!(unsealed.is_described_by(&manifest) && unsealed.has_digest(manifest.sha256));
        assert!(!unsealed.has_digest(ProgramDigest([0; 32])));
        for other in [
            Manifest { machine: "another".into(), ..manifest.clone() },
            Manifest { size: manifest.size + 1, ..manifest.clone() },
            Manifest { sha256: ProgramDigest([0; 32]), ..manifest },
        ] {
            assert!(!unsealed.is_described_by(&other), "{other:?}");
        }
    }

    /// What `pack` writes into a manifest and what a check finds in a file are the same words.
    #[test]
    fn the_machine_in_a_manifest_is_the_one_that_a_check_finds() {
        let program = Program::new(Architecture::Arm, [1, 2, 3, 4]).bytes();
        let mut object = program.clone();
        object[16] = 1; // ET_REL
        for bytes in [program, object, b"#!/bin/sh\n".to_vec(), b"\0\x01".to_vec()] {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&bytes).unwrap();
            let unsealed = Unsealed::measure(&file, |_| ()).unwrap();
            let content = Content::read(file, 0..bytes.len() as u64, Format::Any).unwrap();
            assert_eq!(unsealed.machine(), content.machine_text());
            assert_eq!(unsealed.foreign().is_some(), content.machine().is_none());
        }
    }

    #[test]
    fn what_is_empty_or_a_part_of_a_program_is_not_measured() {
        let reason = |bytes: &[u8]| {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(bytes).unwrap();
            Unsealed::measure(&file, |_| ()).unwrap_err().to_string()
        };
        assert_eq!(reason(b""), "it is empty");
        assert_eq!(reason(b"\x7fELF"), "the file ends inside its first header");
        let program = Program::new(Architecture::Arm, [1, 2, 3, 4]).bytes();
        assert!(reason(&program[..program.len() - 1]).contains("cut off"));
    }
}
