//! Programs that were released, behind a small one that says which version it is: what changes them is what
//! changed in the world, and not what somebody made for this. `benches/small-files` fetches them.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};

const DIRECTORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/small-files");
/// An old program, and the next release of it.
pub(crate) const PAIR: [&str; 2] = ["ruff-0.11.1", "ruff-0.11.2"];

pub(crate) fn path(name: &str) -> PathBuf {
    PathBuf::from(DIRECTORY).join(name)
}

pub(crate) fn bytes(name: &str) -> Result<Vec<u8>> {
    fs::read(path(name)).with_context(|| format!("benches/small-files fetches {name}"))
}
