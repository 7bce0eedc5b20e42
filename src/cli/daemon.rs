//! `uplift daemon`: runs the daemon.

use crate::config::Config;
use crate::service;

/// Runs until a signal stops it.
pub(super) fn run(config: Config) -> anyhow::Result<()> {
    service::run(config)
}
