//! `uplift ftp-server`: the upload server.

use anyhow::bail;

use crate::config::Config;

/// Serves until a signal stops it.
pub fn run(_config: &Config) -> anyhow::Result<()> {
    bail!("not built yet")
}
