//! Secrets of channels, which lie in files and never in the configuration itself.

use std::path::Path;

use crate::config::Password;
use crate::model::{Failure, FailureKind};

/// The first line of a file; `what` it is, such as "the token of hawkBit".
pub(super) fn read(file: &Path, what: &str) -> Result<Password, Failure> {
    Password::read(file).map_err(|error| {
        let sentence = format!("{what} in {} can't be read", file.display());
        Failure::from_io(FailureKind::Internal, sentence, error)
    })
}
