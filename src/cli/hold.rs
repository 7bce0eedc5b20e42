//! `uplift hold` and `uplift release`: a person keeps upgrades from beginning.

use std::time::Duration;

use serde::Serialize;

use crate::cli::view;
use crate::config::Config;
use crate::control::{Client, ControlAnswer, ControlRequest};
use crate::model::{HoldStatus, SCHEMA};

/// What `--json` prints.
#[derive(Serialize)]
struct Document {
    schema: u32,
    /// The hold; absent: there was none.
    hold: Option<HoldStatus>,
}

/// Whole seconds, one at least.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(time) if time.as_secs() > 0 => Ok(time),
        Ok(_) => Err("expected a second at least".into()),
        Err(_) => Err("expected a time such as 30m or 2h".into()),
    }
}

/// Holds upgrades.
pub(super) fn run(
    config: &Config,
    time: Option<Duration>,
    reason: &str,
    json: bool,
) -> anyhow::Result<()> {
    let reason = Some(reason.trim()).filter(|reason| !reason.is_empty()).map(String::from);
    let seconds = time.map(|time| time.as_secs());
    match ask(config, &ControlRequest::Hold { reason, seconds })? {
        ControlAnswer::Held { hold } if json => print(Some(hold)),
        ControlAnswer::Held { hold } => Ok(view::say(view::hold(&hold))?),
        _ => anyhow::bail!("the daemon's answer is not a hold"),
    }
}

/// Ends the hold.
pub(super) fn release(config: &Config, json: bool) -> anyhow::Result<()> {
    match ask(config, &ControlRequest::Release {})? {
        ControlAnswer::Released { hold } if json => print(hold),
        ControlAnswer::Released { hold: Some(hold) } => {
            Ok(view::say(format!("released: upgrades were {hold}"))?)
        }
        ControlAnswer::Released { hold: None } => {
            Ok(view::say("nobody held upgrades: nothing was released")?)
        }
        _ => anyhow::bail!("the daemon's answer does not end a hold"),
    }
}

fn ask(config: &Config, request: &ControlRequest) -> anyhow::Result<ControlAnswer> {
    let mut client = Client::connect(&config.paths.control)?;
    client.ask(request)?;
    match client.answer()? {
        ControlAnswer::Failure { failure } => Err(failure.into()),
        answer => Ok(answer),
    }
}

fn print(hold: Option<HoldStatus>) -> anyhow::Result<()> {
    Ok(view::print(serde_json::to_string_pretty(&Document { schema: SCHEMA, hold })?)?)
}
