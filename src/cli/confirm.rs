//! `uplift confirm`: a person says that the program on trial works.

use crate::cli::view;
use crate::config::Config;
use crate::control::{Client, ControlAnswer, ControlRequest};

/// Confirms. A failure when nothing waits for it.
pub(super) fn run(config: &Config) -> anyhow::Result<()> {
    let mut client = Client::connect(&config.paths.control)?;
    client.ask(&ControlRequest::Confirm {})?;
    match client.answer()? {
        ControlAnswer::Confirmed => {
            Ok(view::say("confirmed; the trial goes on until its other conditions hold")?)
        }
        ControlAnswer::Failure { failure } => Err(failure.into()),
        _ => anyhow::bail!("the daemon's answer is not a confirmation"),
    }
}
