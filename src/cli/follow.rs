//! An upgrade as it is followed at the shell, by whatever it was begun.

use std::time::{Duration, Instant};

use crate::cli::bar::Bar;
use crate::cli::view;
use crate::config::Config;
use crate::control::{Client, ClientError, ControlAnswer, ControlRequest};
use crate::model::{CurrentUpgrade, Entry, Phase, Report, Status, TrialWait, UpgradeId};

/// How long the daemon may be away while it restarts with the payload.
const RESTART_DEADLINE: Duration = Duration::from_secs(300);
/// Between two attempts to reach a daemon that restarts: it has no way to call us.
const RECONNECT_INTERVAL: Duration = Duration::from_millis(250);

/// What is waited for where the daemon has said nothing yet, or is away.
const DAEMON: &str = "waiting for the daemon";

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

/// A bar while the file is sent, then the phases and their times; plain lines where there is no
/// terminal, nothing with `--json`.
pub(super) struct View {
    bar: Bar,
    /// What is said once all bytes have passed.
    done: &'static str,
    sent: u64,
    quiet: bool,
    phase: Phase,
    doing: Option<String>,
    waits_for: Option<TrialWait>,
}

impl View {
    /// A view that begins with the sending of so many bytes.
    pub(super) fn sending(json: bool, size: u64) -> Self {
        Self::passing("sending", "sent", json, size)
    }

    /// A view that begins with the download of so many bytes, which are sent at once.
    pub(super) fn downloading(json: bool, size: u64) -> Self {
        Self::passing("downloading", "downloaded", json, size)
    }

    fn passing(what: &'static str, done: &'static str, json: bool, size: u64) -> Self {
        let bar = Bar::of_bytes(what, size, json);
        if bar.is_hidden() && !json {
            view::complain(&format!("{what} {}", view::bytes(size)));
        }
        Self { done, phase: Phase::Receiving, ..Self::under(bar, json) }
    }

    /// A view that begins with waiting for the daemon.
    pub(super) fn waiting(json: bool) -> Self {
        Self::waiting_for(DAEMON, json)
    }

    /// A view that begins with waiting for this.
    pub(super) fn waiting_for(what: &str, json: bool) -> Self {
        Self::under(Bar::of_wait(what, json), json)
    }

    fn under(bar: Bar, quiet: bool) -> Self {
        Self { bar, done: "", sent: 0, quiet, phase: Phase::Idle, doing: None, waits_for: None }
    }

    pub(super) fn sent(&mut self, bytes: u64) {
        self.sent += bytes;
        self.bar.set_done(self.sent);
    }

    /// All is sent: from now on the phases count.
    pub(super) fn all_sent(&self) {
        if self.bar.is_hidden() {
            return;
        }
        self.say(&format!("{} {}", self.done, view::bytes(self.sent)));
        self.bar.wait_for(DAEMON.to_owned());
    }

    fn show(&mut self, status: &Status) {
        if status.phase != self.phase && !matches!(status.phase, Phase::Idle | Phase::Receiving) {
            self.phase = status.phase;
            self.say(self.phase.as_str());
            self.bar.wait_for(
                match status.upgrade.as_ref().and_then(|upgrade| upgrade.seconds_left) {
                    Some(seconds) => format!("{}, at most {seconds} s", self.phase),
                    None => self.phase.to_string(),
                },
            );
        }
        if let Some(upgrade) = &status.upgrade {
            self.show_doing(upgrade);
        }
        self.show_wait(status.upgrade.as_ref().and_then(|upgrade| upgrade.waits_for.as_ref()));
    }

    /// What another updater does, and how far it is with it.
    fn show_doing(&mut self, upgrade: &CurrentUpgrade) {
        let Some(doing) = &upgrade.doing else { return };
        if self.doing.as_ref() != Some(doing) {
            self.say(&format!("{}: {doing}", self.phase));
            self.doing = Some(doing.clone());
        }
        let percent = upgrade.percent.map(|percent| format!(", {percent} %")).unwrap_or_default();
        self.bar.reword(format!("{}: {doing}{percent}", self.phase));
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
        self.bar.reword(format!("{}: {wait}", self.phase));
    }

    fn away(&mut self) {
        self.say("the payload restarts; waiting for the daemon");
        self.bar.reword(DAEMON.to_owned());
    }

    pub(super) fn say(&self, text: &str) {
        if !self.quiet {
            self.bar.print_above(|| view::complain(text));
        }
    }
}
