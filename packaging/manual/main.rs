//! Writes the manual pages and the shell completions: `cargo run --example manual -- DIRECTORY`, as
//! `packaging/build` does.

#![allow(clippy::disallowed_methods, reason = "what it writes can be written again")]

#[path = "pages.rs"]
mod pages;

use std::fs;
use std::path::PathBuf;

use anyhow::Context as _;

fn main() -> anyhow::Result<()> {
    let directory: PathBuf =
        std::env::args_os().nth(1).context("name the directory to write to")?.into();
    fs::create_dir_all(&directory)?;
    let seconds =
        std::env::var("SOURCE_DATE_EPOCH").unwrap_or_default().parse().unwrap_or_default();
    for (name, text) in pages::manual(seconds)?.into_iter().chain(pages::completions()?) {
        fs::write(directory.join(&name), text)
            .with_context(|| format!("{name} can't be written"))?;
    }
    Ok(())
}
