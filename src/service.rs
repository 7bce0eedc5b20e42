//! The daemon's life: wires the rooms together, and is what systemd sees: readiness, status line, watchdog, signals,
//! journal. Decides nothing about upgrades.

mod ftp_uploads;

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use nix::errno::Errno;
use nix::fcntl::Flock;
use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;

use crate::alarm::Alarm;
use crate::channel::psdk::driver::Driver;
use crate::config::Config;
use crate::control;
use crate::disk::lock_within;
use crate::engine::{Actor, Engine};
use crate::log;
use crate::model::{CurrentUpgrade, Phase, Status};

/// How long the state of a daemon that died may stay locked: until its last child has become another program.
const PREDECESSOR: Duration = Duration::from_secs(2);

/// Runs the daemon until a signal stops it.
pub fn run(config: Config) -> anyhow::Result<()> {
    log::install("uplift");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("the runtime can't be started")?;
    let served = runtime.block_on(serve(Arc::new(config)));
    // A thread that still waits for a dead peer must not hold the daemon; what it received is thrown away at the next start.
    runtime.shutdown_background();
    served
}

async fn serve(config: Arc<Config>) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    // Held to the end: two daemons would resume the same upgrade.
    let _alone = alone(&config.paths.state)?;
    let (actor, engine) = tokio::select! {
        opened = Actor::open(Arc::clone(&config)) => opened.context("the daemon can't start")?,
        _ = terminate.recv() => return Ok(()),
        _ = interrupt.recv() => return Ok(()),
    };
    let listener = control::bind(&config.paths.control)?;
    let engine_task = tokio::spawn(actor.run());
    tokio::spawn(control::serve(listener, engine.clone()));
    if let Some(link) = &config.link {
        let uploads = ftp_uploads::FtpUploads::new(Arc::clone(&config), engine.clone());
        tokio::spawn(Driver::new(link, engine.clone(), Arc::new(uploads)).run());
    }
    tokio::spawn(tell_systemd(engine));
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        ended = engine_task => anyhow::bail!("the engine stopped: {ended:?}"),
    }
    notify(&[NotifyState::Stopping]);
    tracing::info!("stopping");
    Ok(())
}

/// Locks the directory of the state, which is made if it is missing; the lock ends with the process.
fn alone(state: &Path) -> anyhow::Result<Flock<File>> {
    std::fs::create_dir_all(state).with_context(|| format!("the directory {} can't be made", state.display()))?;
    let directory = File::open(state).with_context(|| format!("the directory {} can't be opened", state.display()))?;
    lock_within(PREDECESSOR, directory).map_err(|errno| match errno {
        Errno::EWOULDBLOCK => anyhow::anyhow!("another daemon has its state in {}; only one may run", state.display()),
        errno => anyhow::Error::new(errno).context(format!("the directory {} can't be locked", state.display())),
    })
}

/// Readiness at once, then a status line at each change, and the watchdog's word as long as the engine answers.
async fn tell_systemd(engine: Engine) {
    let mut watcher = engine.status();
    let mut watchdog = Watchdog::new();
    notify(&[NotifyState::Ready]);
    loop {
        let line = status_line(&watcher.borrow_and_update());
        notify(&[NotifyState::Status(&line)]);
        // The watchdog first: a status that changes all the time must not starve it.
        tokio::select! {
            biased;
            () = watchdog.fed_by(&engine) => {}
            changed = watcher.changed() => if changed.is_err() { return },
        }
    }
}

/// systemd's watchdog, fed twice as often as it asks for.
struct Watchdog {
    period: Option<Duration>,
    alarm: Alarm,
    /// Kept while the status changes, however often it does.
    due: Instant,
}

impl Watchdog {
    fn new() -> Self {
        let period = sd_notify::watchdog_enabled().map(|limit| limit / 2);
        Self { period, alarm: Alarm::default(), due: Instant::now() + period.unwrap_or_default() }
    }

    /// Feeds it when that is due, once the engine has answered; without a watchdog it waits for ever.
    async fn fed_by(&mut self, engine: &Engine) {
        let Some(period) = self.period else { return std::future::pending().await };
        self.alarm.until(self.due).await;
        if engine.ping().await.is_ok() {
            notify(&[NotifyState::Watchdog]);
        }
        self.due = Instant::now() + period;
    }
}

/// One line that tells a person what is going on.
pub(crate) fn status_line(status: &Status) -> String {
    let version = status.installed.version.map_or_else(|| "version unknown".to_owned(), |version| version.to_string());
    let mut line = match &status.upgrade {
        Some(upgrade) if status.phase == Phase::Receiving && upgrade.progress.total > 0 => {
            format!("{} {} %", status.phase, upgrade.progress.percent())
        }
        Some(CurrentUpgrade { waits_for: Some(wait), .. }) => format!("{}: {wait}", status.phase),
        _ => status.phase.to_string(),
    };
    line.push_str(&format!(", {} {version}", status.installed.product));
    if !status.link.device.is_empty() {
        let baud = status.link.baud.map(|baud| format!(" {baud}")).unwrap_or_default();
        line.push_str(&format!(", link {}{baud} {}", status.link.device, status.link.state));
    }
    line
}

fn notify(states: &[NotifyState<'_>]) {
    // Without systemd there is nobody to tell.
    let _ = sd_notify::notify(states);
}
