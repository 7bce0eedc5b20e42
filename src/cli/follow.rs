//! An upgrade as it is followed at the shell, by whatever it was begun.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::view;
use crate::config::Config;
use crate::control::{Client, ClientError, ControlAnswer, ControlRequest};
use crate::model::{Entry, Phase, Report, Status, TrialWait, UpgradeId};

/// How long the daemon may be away while it restarts with the payload.
const RESTART_DEADLINE: Duration = Duration::from_secs(300);
/// Between two attempts to reach a daemon that restarts: it has no way to call us.
const RECONNECT_INTERVAL: Duration = Duration::from_millis(250);

/// Between two turns of the spinner.
const REDRAW: Duration = Duration::from_millis(100);

/// Prints how it ended.
pub(super) fn print(report: &Report, json: bool) -> anyhow::Result<()> {
    if json {
        view::print(serde_json::to_string_pretty(report)?)?;
    } else {
        view::say(view::report(report).trim_end())?;
    }
    Ok(())
}

/// Follows an upgrade to its report, past a restart of the daemon.
pub(super) fn follow(
    config: &Config,
    mut client: Client,
    view: &mut View,
) -> anyhow::Result<Report> {
    let mut id: Option<UpgradeId> = None;
    loop {
        match client.answer() {
            Ok(ControlAnswer::Status { status }) => {
                id = status.upgrade.as_ref().map(|upgrade| upgrade.id.clone()).or(id);
                view.show(&status);
            }
            Ok(ControlAnswer::Report { report }) => return Ok(report),
            Ok(ControlAnswer::Failure { failure }) => return Err(failure.into()),
            Ok(_) => anyhow::bail!("the daemon's answer is not about the upgrade"),
            Err(error) => {
                let id = id.ok_or(error)?;
                return wait_for_report(config, &id, view);
            }
        }
    }
}

/// The payload restarts, and the daemon with it: the report is in its history when it is back.
fn wait_for_report(config: &Config, id: &UpgradeId, view: &mut View) -> anyhow::Result<Report> {
    let end = Instant::now() + RESTART_DEADLINE;
    view.away();
    while Instant::now() < end {
        match look_for(config, id) {
            Ok(Found::Report(report)) => return Ok(*report),
            Ok(Found::Nothing) => {
                anyhow::bail!(
                    "the daemon runs again and knows nothing of the upgrade {id}; `uplift status` shows what is installed, and why"
                )
            }
            Ok(Found::UnderWay) | Err(_) => {}
        }
        std::thread::sleep(RECONNECT_INTERVAL);
    }
    anyhow::bail!(
        "the daemon did not report the upgrade {id} within {} s; look at `uplift history` later",
        RESTART_DEADLINE.as_secs()
    )
}

/// What a daemon that is back knows of an upgrade.
enum Found {
    UnderWay,
    Report(Box<Report>),
    /// Its state was lost.
    Nothing,
}

fn look_for(config: &Config, id: &UpgradeId) -> Result<Found, ClientError> {
    let mut client = Client::connect(&config.paths.control)?;
    // The status first: what it shows no more, the history has.
    client.ask(&ControlRequest::Status {})?;
    let ControlAnswer::Status { status } = client.answer()? else { return Ok(Found::UnderWay) };
    client.ask(&ControlRequest::History {})?;
    let ControlAnswer::History { reports } = client.answer()? else { return Ok(Found::UnderWay) };
    let reports = reports.into_iter().filter_map(Entry::into_report);
    let report = reports.into_iter().find(|report| report.id == *id).map(Box::new);
    let under_way = status.upgrade.is_some_and(|upgrade| upgrade.id == *id);
    Ok(report.map_or(if under_way { Found::UnderWay } else { Found::Nothing }, Found::Report))
}

/// A bar while the file is sent, then the phases with a spinner; plain lines where there is no
/// terminal, nothing with `--json`.
pub(super) struct View {
    bar: ProgressBar,
    quiet: bool,
    phase: Phase,
    waits_for: Option<TrialWait>,
}

impl View {
    /// A view that begins with the sending of so many bytes.
    pub(super) fn sending(json: bool, size: u64) -> Self {
        let bar = if json { ProgressBar::hidden() } else { ProgressBar::new(size) };
        let style = ProgressStyle::with_template(
            "{msg} [{bar:24}] {percent:>3} %  {bytes}/{total_bytes}  {bytes_per_sec}  {eta}",
        );
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("##-"));
        bar.set_message("sending");
        if bar.is_hidden() && !json {
            view::complain(&format!("sending {}", view::bytes(size)));
        }
        Self { bar, quiet: json, phase: Phase::Receiving, waits_for: None }
    }

    /// A view that begins with waiting.
    pub(super) fn waiting(json: bool) -> Self {
        let bar = if json { ProgressBar::hidden() } else { ProgressBar::no_length() };
        let view = Self { bar, quiet: json, phase: Phase::Idle, waits_for: None };
        view.wait();
        view
    }

    pub(super) fn sent(&self, bytes: u64) {
        self.bar.inc(bytes);
    }

    /// All is sent: from now on the phases count.
    pub(super) fn all_sent(&self) {
        if self.bar.is_hidden() {
            return;
        }
        self.say(&format!("sent {}", view::bytes(self.bar.position())));
        self.wait();
    }

    fn wait(&self) {
        let style = ProgressStyle::with_template("{spinner} {msg} ({elapsed})");
        self.bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        self.bar.set_message("waiting for the daemon");
        self.bar.reset_elapsed();
        self.bar.enable_steady_tick(REDRAW);
    }

    fn show(&mut self, status: &Status) {
        if status.phase != self.phase && !matches!(status.phase, Phase::Idle | Phase::Receiving) {
            self.phase = status.phase;
            self.say(self.phase.as_str());
            self.bar.set_message(
                match status.upgrade.as_ref().and_then(|upgrade| upgrade.seconds_left) {
                    Some(seconds) => format!("{}, at most {seconds} s", self.phase),
                    None => self.phase.to_string(),
                },
            );
            self.bar.reset_elapsed();
        }
        self.show_wait(status.upgrade.as_ref().and_then(|upgrade| upgrade.waits_for.as_ref()));
    }

    /// What a trial waits for; a line of its own only where it waits for the person who reads.
    fn show_wait(&mut self, wait: Option<&TrialWait>) {
        if self.waits_for.as_ref() == wait {
            return;
        }
        self.waits_for = wait.cloned();
        let Some(wait) = wait else { return };
        if matches!(wait, TrialWait::Confirmation {}) {
            self.say(&format!("{}: {wait}", self.phase));
        }
        self.bar.set_message(format!("{}: {wait}", self.phase));
    }

    fn away(&mut self) {
        self.say("the payload restarts; waiting for the daemon");
        self.bar.set_message("waiting for the daemon");
    }

    fn say(&self, text: &str) {
        if !self.quiet {
            self.bar.suspend(|| view::complain(text));
        }
    }

    pub(super) fn end(&self) {
        self.bar.finish_and_clear();
    }
}
