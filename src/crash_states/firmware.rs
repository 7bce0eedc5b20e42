//! The programs of a story, by their versions.

use super::tree::Content;
use crate::model::version::Version;
use uplift_fixtures::elf::{self, Architecture};

/// Version of the program that an upgrade brings.
pub(crate) const NEW_VERSION: &str = "V02.00.00.00";
/// Mode of the program that is installed by hand.
const MODE: u32 = 0o750;
/// Bytes of a program: three blocks of the model.
const SIZE: u64 = 10_000;

/// A program and its version.
#[derive(Debug, Clone)]
pub(crate) struct Firmware {
    pub(crate) version: String,
    pub(crate) bytes: Vec<u8>,
}

impl Firmware {
    pub(crate) fn new(version: &str) -> Self {
        let program = elf::Program::new(
            Architecture::host().unwrap(),
            version.parse::<Version>().unwrap().numbers(),
        );
        Self { version: version.to_owned(), bytes: program.filled_to(SIZE).bytes() }
    }

    /// As somebody has installed it by hand.
    pub(crate) fn installed(&self) -> Content {
        Content { bytes: self.bytes.clone(), mode: MODE, owner: ourselves(), ..Content::default() }
    }
}

/// User and group of the daemon.
pub(crate) fn ourselves() -> (u32, u32) {
    (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw())
}
