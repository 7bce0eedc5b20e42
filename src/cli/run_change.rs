//! `uplift run-change`: what the daemon starts to run another updater; no person types it.

use std::path::Path;

use crate::component::command;

/// Runs to the end of that updater.
pub(super) fn run(directory: &Path, job: &str) -> anyhow::Result<()> {
    Ok(command::run(directory, job)?)
}
