//! `uplift status`: what the daemon does, once or as a live view.

use std::io::{IsTerminal as _, Write as _};

use crate::cli::view;
use crate::config::Config;
use crate::control::{Client, ControlAnswer, ControlRequest};
use crate::model::Status;

/// Prints the status once, or with `watch` again after each change, until interrupted.
pub(super) fn run(config: &Config, json: bool, watch: bool) -> anyhow::Result<()> {
    let mut client = Client::connect(&config.paths.control)?;
    client.ask(if watch { &ControlRequest::Watch {} } else { &ControlRequest::Status {} })?;
    let mut line_before = String::new();
    let live = std::io::stdout().is_terminal() && !json;
    loop {
        let status = match client.answer()? {
            ControlAnswer::Status { status } => status,
            ControlAnswer::Failure { failure } => return Err(failure.into()),
            _ => anyhow::bail!("the daemon answered something else than a status"),
        };
        match (json, watch) {
            (true, false) => println!("{}", serde_json::to_string_pretty(&status)?),
            (true, true) => println!("{}", serde_json::to_string(&status)?),
            (false, false) => print!("{}", view::status(&status)),
            (false, true) if live => show_live(&status)?,
            (false, true) => {
                let line = crate::service::status_line(&status);
                if line != line_before {
                    println!("{line}");
                    line_before = line;
                }
            }
        }
        std::io::stdout().flush()?;
        if !watch {
            return Ok(());
        }
    }
}

/// Draws over the last view: cursor home, then each line with its rest cleared, so that nothing flickers.
fn show_live(status: &Status) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    write!(out, "\x1b[H")?;
    for line in view::status(status).lines() {
        writeln!(out, "{line}\x1b[K")?;
    }
    write!(out, "\x1b[J")?;
    Ok(())
}
