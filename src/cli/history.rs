//! `uplift history`: the last upgrades, newest last.

use crate::cli::view;
use crate::config::Config;
use crate::control::{Client, ControlAnswer, ControlRequest};

/// Prints the history, as JSON where wanted.
pub(super) fn run(config: &Config, json: bool) -> anyhow::Result<()> {
    let mut client = Client::connect(&config.paths.control)?;
    client.ask(&ControlRequest::History {})?;
    let reports = match client.answer()? {
        ControlAnswer::History { reports } => reports,
        ControlAnswer::Failure { failure } => return Err(failure.into()),
        _ => anyhow::bail!("the daemon's answer is not its history"),
    };
    if json {
        view::print(serde_json::to_string_pretty(&reports)?)?;
    } else if reports.is_empty() {
        view::say("no upgrade yet")?;
    } else {
        reports.iter().try_for_each(|entry| view::say(view::entry(entry).trim_end()))?;
    }
    Ok(())
}
