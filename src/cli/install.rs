//! `uplift install FILE`: an upgrade asked for at the shell, through the same engine as every other.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::view;
use crate::config::Config;
use crate::control::{Client, ClientError, ControlAnswer, ControlRequest};
use crate::model::{Outcome, Phase, Report, Status, UpgradeId};
use crate::package::digest::BUFFER_SIZE;

/// How long the daemon may be away while it restarts with the payload.
const RESTART_DEADLINE: Duration = Duration::from_secs(300);
/// Between two attempts to reach a daemon that restarts: it has no way to call us.
const RECONNECT_INTERVAL: Duration = Duration::from_millis(250);

/// Between two turns of the spinner.
const REDRAW: Duration = Duration::from_millis(100);

/// Sends the file to the daemon and follows the upgrade to its end.
pub(super) fn run(config: &Config, file: &Path, json: bool) -> anyhow::Result<()> {
    // Asked before it is opened: opening a FIFO would wait for ever.
    let metadata = file.metadata().with_context(|| format!("{} can't be read", file.display()))?;
    ensure!(metadata.is_file(), "{} is not a regular file", file.display());
    let mut source = File::open(file).with_context(|| format!("{} can't be opened", file.display()))?;
    let size = metadata.len();
    let mut client = Client::connect(&config.paths.control)?;
    let file_name = file.file_name().and_then(|name| name.to_str()).context("the file's name is not UTF-8 text")?.to_owned();
    client.ask(&ControlRequest::Install { file_name, size })?;
    match client.answer()? {
        ControlAnswer::Send => {}
        ControlAnswer::Failure { failure } => return Err(failure.into()),
        _ => anyhow::bail!("the daemon answered something else than that it takes the file"),
    }
    let mut view = View::new(json, size);
    let report = send(&mut client, &mut source, &view).and_then(|()| follow(config, client, &mut view));
    view.end();
    let report = report?;
    if json {
        view::print(serde_json::to_string_pretty(&report)?)?;
    } else {
        view::print(view::report(&report).trim_end())?;
    }
    match report.failure {
        Some(failure) if report.outcome != Outcome::Succeeded => Err(failure.into()),
        _ => Ok(()),
    }
}

fn send(client: &mut Client, source: &mut File, view: &View) -> anyhow::Result<()> {
    let mut buffer = vec![0; BUFFER_SIZE];
    loop {
        let n = source.read(&mut buffer).context("the file can't be read")?;
        if n == 0 {
            view.all_sent();
            return Ok(());
        }
        match client.send_bytes(&buffer[..n]) {
            // The daemon refuses the rest; its answer says why.
            Err(ClientError::Io(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(()),
            sent => sent?,
        }
        view.sent(n as u64);
    }
}

fn follow(config: &Config, mut client: Client, view: &mut View) -> anyhow::Result<Report> {
    let mut id: Option<UpgradeId> = None;
    loop {
        match client.answer() {
            Ok(ControlAnswer::Status { status }) => {
                id = status.upgrade.as_ref().map(|upgrade| upgrade.id.clone()).or(id);
                view.show(&status);
            }
            Ok(ControlAnswer::Report { report }) => return Ok(report),
            Ok(ControlAnswer::Failure { failure }) => return Err(failure.into()),
            Ok(_) => anyhow::bail!("the daemon answered something else than how the upgrade goes"),
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
        if let Ok(Some(report)) = find_report(config, id) {
            return Ok(report);
        }
        std::thread::sleep(RECONNECT_INTERVAL);
    }
    anyhow::bail!("the daemon did not report the upgrade {id} within {} s; `uplift history` will", RESTART_DEADLINE.as_secs())
}

fn find_report(config: &Config, id: &UpgradeId) -> Result<Option<Report>, ClientError> {
    let mut client = Client::connect(&config.paths.control)?;
    client.ask(&ControlRequest::History {})?;
    match client.answer()? {
        ControlAnswer::History { reports } => Ok(reports.into_iter().find(|report| report.id == *id)),
        _ => Ok(None),
    }
}

/// A bar while the file is sent, then the phases with a spinner; plain lines where there is no terminal, nothing with `--json`.
struct View {
    bar: ProgressBar,
    quiet: bool,
    phase: Phase,
}

impl View {
    fn new(json: bool, size: u64) -> Self {
        let bar = if json { ProgressBar::hidden() } else { ProgressBar::new(size) };
        let style = ProgressStyle::with_template("{msg} [{bar:24}] {percent:>3} %  {bytes}/{total_bytes}  {bytes_per_sec}  {eta}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("##-"));
        bar.set_message("sending");
        if bar.is_hidden() && !json {
            eprintln!("sending {}", view::bytes(size));
        }
        Self { bar, quiet: json, phase: Phase::Receiving }
    }

    fn sent(&self, bytes: u64) {
        self.bar.inc(bytes);
    }

    /// All is sent: from now on the phases count.
    fn all_sent(&self) {
        if self.bar.is_hidden() {
            return;
        }
        self.say(&format!("sent {}", view::bytes(self.bar.position())));
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
            self.bar.set_message(match status.upgrade.as_ref().and_then(|upgrade| upgrade.seconds_left) {
                Some(seconds) => format!("{}, at most {seconds} s", self.phase),
                None => self.phase.to_string(),
            });
            self.bar.reset_elapsed();
        }
    }

    fn away(&mut self) {
        self.say("the payload restarts; waiting for the daemon");
        self.bar.set_message("waiting for the daemon");
    }

    fn say(&self, text: &str) {
        if !self.quiet {
            self.bar.suspend(|| eprintln!("{text}"));
        }
    }

    fn end(&self) {
        self.bar.finish_and_clear();
    }
}
