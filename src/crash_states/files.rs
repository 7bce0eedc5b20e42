//! The files of a payload: their names in its tree, and what stands in them.

use std::fs;
use std::path::Path;

/// Where things lie in every tree.
pub(crate) const PROGRAMS: &str = "bin";
pub(crate) const PROGRAM: &str = "bin/payload";
pub(crate) const STAGE: &str = "bin/.uplift";
pub(crate) const PREVIOUS: &str = "bin/.uplift/payload.previous";
pub(crate) const STATE: &str = "state";
/// The directory of another updater.
pub(crate) const UPDATER: &str = "modem";
/// Whether these words stand in it.
pub(crate) fn is_of(program: &[u8], words: &str) -> bool {
    program.windows(words.len()).any(|bytes| bytes == words.as_bytes())
}

pub(crate) fn write_file(path: &Path, content: impl AsRef<[u8]>) {
    use std::io::Write as _;
    fs::File::create(path).unwrap().write_all(content.as_ref()).unwrap();
}
