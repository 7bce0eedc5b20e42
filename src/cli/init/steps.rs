//! What is left to do once there is a configuration: shown, and done where somebody wants it.

use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};

use super::proposal::{Link, Proposal};
use crate::cli::config_sandbox::{self, drop_in};
use crate::cli::output::{NewFile, agrees};
use crate::cli::view;
use crate::config::Config;

/// What the trial needs of the unit: it begins before the program, and a program that crashes again
/// and again is given up.
const DROP_IN: &str = include_str!("../../../systemd/program.service.d/uplift.conf.example");
const MODE: u32 = 0o644;

/// Something that is left to do.
enum Step {
    /// The drop-in for the program's unit.
    Unit(PathBuf),
    /// The drop-ins for our own units.
    Sandbox,
    /// No port without a payload link.
    Port,
    /// systemd reads what was written.
    Reload,
}

/// Each step: done with `yes` or where a person agrees, else printed.
pub(super) fn offer(proposal: &Proposal, config: &Config, yes: bool) -> anyhow::Result<()> {
    let asks = !yes && io::stdin().is_terminal();
    let mut left = Vec::new();
    for step in steps(proposal, config) {
        if yes || (asks && agrees(format_args!("{}?", step.question()))?) {
            step.perform(config)?;
        } else {
            left.push(step);
        }
    }
    let mut text = String::new();
    for step in &left {
        text += &format!("  {}\n", step.command());
    }
    text += "  systemctl enable --now uplift\n";
    Ok(view::print(format_args!("\nWhat is left:\n{}", text.trim_end()))?)
}

fn steps(proposal: &Proposal, config: &Config) -> Vec<Step> {
    let mut steps = Vec::new();
    let file =
        Path::new(config_sandbox::UNITS).join(format!("{}.d", proposal.unit)).join("uplift.conf");
    if !file.exists() {
        steps.push(Step::Unit(file));
    }
    if drop_in::all(config).iter().any(|one| !one.is_empty()) {
        steps.push(Step::Sandbox);
    }
    let reloads = !steps.is_empty();
    if proposal.link == Link::None {
        steps.push(Step::Port);
    }
    if reloads {
        steps.push(Step::Reload);
    }
    steps
}

impl Step {
    fn question(&self) -> String {
        match self {
            Self::Unit(file) => {
                format!("Write {}, so that a trial begins before the program does", file.display())
            }
            Self::Sandbox => "Write the drop-ins for uplift's own units".to_owned(),
            Self::Port => "Mask the FTP port, which only a payload link needs".to_owned(),
            Self::Reload => "Have systemd read what was written".to_owned(),
        }
    }

    /// The same as a person would do it.
    fn command(&self) -> String {
        match self {
            Self::Unit(file) => format!(
                "install -D -m 644 /usr/share/doc/uplift/examples/program.service.d/uplift.conf.example {}",
                file.display()
            ),
            Self::Sandbox => "uplift config sandbox --write".to_owned(),
            Self::Port => "systemctl mask --now uplift-ftp.socket".to_owned(),
            Self::Reload => "systemctl daemon-reload".to_owned(),
        }
    }

    fn perform(&self, config: &Config) -> anyhow::Result<()> {
        match self {
            Self::Unit(file) => {
                let directory = file.parent().unwrap_or(Path::new("/"));
                std::fs::create_dir_all(directory)
                    .with_context(|| format!("{} can't be made", directory.display()))?;
                NewFile::create(file, MODE, false)?.finish_with(DROP_IN.as_bytes())?;
                Ok(view::print(format_args!("wrote {}", file.display()))?)
            }
            Self::Sandbox => config_sandbox::run(config, Some(Path::new(config_sandbox::UNITS))),
            Self::Port => systemctl(&["mask", "--now", "uplift-ftp.socket"]),
            Self::Reload => systemctl(&["daemon-reload"]),
        }
    }
}

fn systemctl(arguments: &[&str]) -> anyhow::Result<()> {
    let done = Command::new("systemctl").args(arguments).status();
    let status = done.context("systemctl can't be started")?;
    ensure!(status.success(), "`systemctl {}` failed", arguments.join(" "));
    Ok(())
}
