//! `uplift rollback`: ends the trial that runs, or puts the program back that was there before the
//! last upgrade.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use anyhow::bail;

use crate::cli::follow::{self, View, follow};
use crate::config::Config;
use crate::control::{Client, ControlAnswer, ControlRequest};
use crate::model::{Outcome, Status};

/// Asks on a terminal unless `yes`, rolls back, and follows that to its end.
pub(super) fn run(config: &Config, yes: bool, json: bool) -> anyhow::Result<()> {
    let mut client = Client::connect(&config.paths.control)?;
    if !yes && io::stdin().is_terminal() && !agreed(&status(&mut client)?)? {
        bail!("nothing was changed");
    }
    client.ask(&ControlRequest::Rollback {})?;
    let mut view = View::waiting(json);
    let report = follow(config, client, &mut view);
    view.end();
    let report = report?;
    follow::print(&report, json)?;
    match report.failure {
        Some(failure) if report.outcome != Outcome::RolledBack => Err(failure.into()),
        _ => Ok(()),
    }
}

fn status(client: &mut Client) -> anyhow::Result<Status> {
    client.ask(&ControlRequest::Status {})?;
    match client.answer()? {
        ControlAnswer::Status { status } => Ok(status),
        _ => bail!("the daemon's answer is not a status"),
    }
}

fn agreed(status: &Status) -> io::Result<bool> {
    let installed = &status.installed;
    let version = installed
        .version
        .map_or_else(|| "of unknown version".into(), |version| version.to_string());
    eprint!(
        "Replace {} {version} with the previous program, and restart? [y/N] ",
        installed.product
    );
    io::stderr().flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
