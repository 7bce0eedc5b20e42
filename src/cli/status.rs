//! `uplift status`: what the daemon does, once or as a live view.

mod live;
mod screen;
mod watch;

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use anyhow::bail;

use crate::cli::view;
use crate::config::Config;
use crate::control::{Client, ControlAnswer, ControlRequest};
use crate::model::{Progress, Status};

use live::Live;
use screen::{Screen, size};
use watch::{Seen, Watcher};

/// Longest wait for a status that is owed at once.
const DEADLINE: Duration = Duration::from_secs(30);
/// Between two drawings of the live view while an upgrade runs, for the times in it.
const REDRAW: Duration = Duration::from_millis(500);
/// Plain lines tell the percents of a transfer in steps of so many.
const PLAIN_STRIDE: u8 = 10;

/// Prints the status once, or with `watch` again after each change, until interrupted.
pub(super) fn run(config: &Config, json: bool, watch: bool) -> anyhow::Result<()> {
    if !watch {
        let status = ask(config)?;
        if json {
            view::print(serde_json::to_string_pretty(&status)?)?;
        } else {
            view::say(view::status(&status, &view::phase(&status)).trim_end())?;
        }
        return Ok(());
    }
    let watcher = Watcher::start(config)?;
    if json {
        watch_json(&watcher)
    } else if std::io::stdout().is_terminal() {
        watch_live(&watcher)
    } else {
        watch_plain(&watcher)
    }
}

fn ask(config: &Config) -> anyhow::Result<Status> {
    let mut client = Client::connect(&config.paths.control)?;
    client.ask(&ControlRequest::Status {})?;
    match client.answer_within(DEADLINE)? {
        ControlAnswer::Status { status } => Ok(status),
        ControlAnswer::Failure { failure } => Err(failure.into()),
        _ => bail!("the daemon's answer is not a status"),
    }
}

/// One object a line. While the daemon is away there is nothing to say.
fn watch_json(watcher: &Watcher) -> anyhow::Result<()> {
    loop {
        if let Seen::Status(status) = watcher.next()? {
            view::print(serde_json::to_string(&status)?)?;
        }
    }
}

/// A line for each change that is one for a reader.
fn watch_plain(watcher: &Watcher) -> anyhow::Result<()> {
    let mut line_before = String::new();
    loop {
        let line = match watcher.next()? {
            Seen::Status(mut status) => {
                if let Some(upgrade) = &mut status.upgrade {
                    upgrade.progress.done = stepped(upgrade.progress);
                }
                crate::service::status_line(&status)
            }
            Seen::Away => watch::AWAY.to_owned(),
        };
        if line != line_before {
            view::print(&line)?;
            line_before = line;
        }
    }
}

/// The bytes of the last whole step.
fn stepped(progress: Progress) -> u64 {
    let percent = progress.percent() / PLAIN_STRIDE * PLAIN_STRIDE;
    u64::try_from((u128::from(progress.total) * u128::from(percent)).div_ceil(100))
        .unwrap_or(progress.done)
}

fn watch_live(watcher: &Watcher) -> anyhow::Result<()> {
    let mut screen = Screen::default();
    let mut live = Live::new(Instant::now());
    loop {
        let patience = live.is_moving().then_some(REDRAW);
        if let Some(seen) = watcher.next_within(patience)? {
            live.see(seen, Instant::now());
        }
        let size = size();
        screen.draw(&live.lines(Instant::now(), size), size)?;
    }
}
