//! `uplift check FILE`: explains a firmware file and what would happen to it here.

use std::path::Path;

use anyhow::bail;

use crate::config::Config;

/// Checks `file` as the daemon would; `json` prints the findings as JSON.
pub fn run(_config: &Config, _file: &Path, _json: bool) -> anyhow::Result<()> {
    bail!("not built yet")
}
