//! `uplift run-stm32`: what works on a microcontroller; no person types it.

use std::path::Path;

use anyhow::Context as _;

use crate::component::mcu::{self, Work};
use crate::model::Board;

/// Installs a file, or goes back to what was there; ends with an exit code that says whether the
/// microcontroller may have changed.
pub(super) fn run(board: &str, file: Option<&Path>, away: Option<&str>) -> anyhow::Result<()> {
    let board: Board = serde_json::from_str(board).context("this is no board")?;
    let what = match (file, away) {
        (Some(file), _) => Work::Install(file),
        (None, Some(away)) => {
            Work::Revert(serde_json::from_value(away.into()).context("this is no SHA-256")?)
        }
        (None, None) => anyhow::bail!("there is nothing to do"),
    };
    match mcu::run(&board, what) {
        0 => Ok(()),
        code => std::process::exit(code.into()),
    }
}
