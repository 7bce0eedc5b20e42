//! `uplift rollback`: ends the trial that runs, or puts the program back that was there before the
//! last upgrade.

use std::io::{self, IsTerminal as _};

use anyhow::bail;

use super::output::agrees;
use crate::cli::follow::{self, View, follow};
use crate::config::Config;
use crate::control::{Client, ControlAnswer, ControlRequest};
use crate::engine::choice;
use crate::model::{ChannelName, ComponentName, Installed, Outcome, Status};

/// Asks on a terminal unless `yes`, rolls back, and follows that to its end.
pub(super) fn run(
    config: &Config,
    component: Option<ComponentName>,
    yes: bool,
    json: bool,
) -> anyhow::Result<()> {
    let mut client = Client::connect(&config.paths.control)?;
    if !yes && io::stdin().is_terminal() {
        let name = choice::named(config, ChannelName::SHELL, component)?.name();
        let status = status(&mut client)?;
        let known = status.component(name);
        if let Some(installed) = known
            && !agreed(installed)?
        {
            bail!("nothing was changed");
        }
    }
    client.ask(&ControlRequest::Rollback { component })?;
    let mut view = View::waiting(json);
    let report = follow(config, client, &mut view);
    drop(view);
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

fn agreed(installed: &Installed) -> io::Result<bool> {
    let version = installed
        .version
        .map_or_else(|| "of unknown version".into(), |version| version.to_string());
    let product = &installed.product;
    agrees(format_args!("Replace {product} {version} with the previous program, and restart?"))
}
