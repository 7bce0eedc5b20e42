//! `uplift init`: a configuration for a program that runs already, from what its unit says; then the
//! steps that are left, each of which it takes where it is allowed to.

mod answers;
mod proposal;
mod steps;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;

use super::config_check::{self, findings::units::Systemd};
use super::output::{Mistake, NewFile, read_small};
use crate::cli::view;
use crate::config::{Config, LARGEST_FILE, product_name, service_name};
use crate::host::unit::Unit;
use answers::Answers;
use proposal::{Choices, Link, Proposal};

/// What the package lays at the configuration's place: nobody's own words.
const SHIPPED: &str = include_str!("../../config/uplift.toml");
/// Mode of a configuration: it names files with passwords, and holds none itself.
const MODE: u32 = 0o644;
/// Longest file with a public key.
const LONGEST_KEY: u64 = 4096;

// Documentation here would take the place of what the subcommand says of itself.
#[derive(Debug, Args)]
pub struct InitArguments {
    /// The systemd unit of the payload's program.
    #[arg(long, value_name = "UNIT", value_parser = service_name)]
    unit: Option<String>,
    /// Its product name: firmware files are called PRODUCT_Vaa.bb.cc.dd.bin.
    #[arg(long, value_name = "PRODUCT", value_parser = product_name)]
    product: Option<String>,
    /// The program's file [default: what `ExecStart=` of the unit names].
    #[arg(long, value_name = "FILE")]
    path: Option<PathBuf>,
    /// Where the aircraft is reached: a serial port, "bridge" for the payload's own application, or
    /// "none" [default: the adapter that is found, else none].
    #[arg(long, value_name = "DEVICE|bridge|none")]
    link: Option<Link>,
    /// The .pub file of the key whose seals are trusted; without one, unsealed files are accepted.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Restart the machine after an upgrade, and not the unit alone.
    #[arg(long)]
    reboot: bool,
    /// Take the steps that are left without asking.
    #[arg(long)]
    yes: bool,
}

/// Writes the configuration, says what it finds on this machine, and takes the steps that are left.
pub(super) fn run(file: &Path, arguments: &InitArguments) -> anyhow::Result<()> {
    let replaces_shipped = is_free_or_shipped(file)?;
    let answers = Answers::of(arguments)?;
    let facts = unit_facts(&answers.unit)?;
    let key = arguments.key.as_deref().map(public_key).transpose()?;
    let choices = Choices {
        unit: answers.unit,
        product: answers.product,
        path: arguments.path.clone(),
        link: answers.link,
        key,
        reboots: arguments.reboot,
    };
    let proposal = Proposal::of(choices, &facts)?;
    let text = proposal.to_string();
    let config = Config::parse(&text, file)?;
    if let Some(directory) = file.parent() {
        std::fs::create_dir_all(directory)
            .with_context(|| format!("{} can't be made", directory.display()))?;
    }
    NewFile::create(file, MODE, replaces_shipped)?.finish_with(text.as_bytes())?;
    view::print(format_args!("Wrote {}:\n\n{text}", file.display()))?;
    let checked = config_check::run(file, &config);
    steps::offer(&proposal, &config, arguments.yes)?;
    checked
}

/// Nothing that somebody wrote is replaced.
fn is_free_or_shipped(file: &Path) -> anyhow::Result<bool> {
    if std::fs::symlink_metadata(file).is_err() {
        return Ok(false);
    }
    if read_small(file, "configuration", LARGEST_FILE).is_ok_and(|text| text == SHIPPED) {
        return Ok(true);
    }
    let sentence = format!("{} exists already, and is never replaced", file.display());
    Err(Mistake::new(sentence, "move it away, or name another file with --config").into())
}

fn unit_facts(name: &str) -> anyhow::Result<Unit> {
    let known = Systemd::new()?.unit(name);
    let known = known.with_context(|| format!("systemd can't be asked about {name}"))?;
    match known.load_state.as_str() {
        "loaded" => Ok(known),
        "not-found" => {
            let sentence = format!("systemd knows no unit {name}");
            let hint = "correct --unit; `systemctl list-unit-files --type=service` lists all";
            Err(Mistake::new(sentence, hint).into())
        }
        state => {
            let hint = format!("`systemctl status {name}` says more");
            Err(Mistake::new(format!("the unit {name} is {state}"), hint).into())
        }
    }
}

/// The second line of a .pub file, which the configuration's parser judges.
fn public_key(file: &Path) -> anyhow::Result<String> {
    let text = read_small(file, "public key", LONGEST_KEY)
        .with_context(|| format!("{} can't be read", file.display()))?;
    let line = text.lines().nth(1).unwrap_or_default().trim();
    if line.is_empty() {
        let sentence = format!("{} is no public key", file.display());
        let hint = "give the .pub file that `uplift keygen` or `minisign -G` made";
        return Err(Mistake::new(sentence, hint).into());
    }
    Ok(line.to_owned())
}
