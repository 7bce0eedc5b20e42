//! The daemon's life: wires the rooms together, and is what systemd sees: readiness, status line, watchdog, signals,
//! journal. Decides nothing about upgrades.

mod ftp_uploads;

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::alarm::Alarm;
use crate::channel::psdk::driver::Driver;
use crate::config::Config;
use crate::control;
use crate::engine::{Actor, Engine};
use crate::model::Status;

/// Runs the daemon until a signal stops it.
pub fn run(config: Config) -> anyhow::Result<()> {
    log_to_journal();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("the runtime can't be started")?;
    let served = runtime.block_on(serve(Arc::new(config)));
    // A thread that still waits for a dead peer must not hold the daemon; what it received is thrown away at the next start.
    runtime.shutdown_background();
    served
}

async fn serve(config: Arc<Config>) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (actor, engine) = Actor::open(Arc::clone(&config)).await.context("the daemon can't start")?;
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

/// Readiness at once, then a status line at each change, and the watchdog's word as long as the engine answers.
async fn tell_systemd(engine: Engine) {
    let mut watcher = engine.status();
    let mut watchdog = Watchdog::new();
    notify(&[NotifyState::Ready]);
    loop {
        let line = status_line(&watcher.borrow_and_update());
        notify(&[NotifyState::Status(&line)]);
        tokio::select! {
            changed = watcher.changed() => if changed.is_err() { return },
            () = watchdog.fed_by(&engine) => {}
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
        let _ = engine.history().await;
        notify(&[NotifyState::Watchdog]);
        self.due = Instant::now() + period;
    }
}

/// One line that tells a person what is going on.
pub(crate) fn status_line(status: &Status) -> String {
    let version = status.installed.version.map_or_else(|| "version unknown".to_owned(), |version| version.to_string());
    let mut line = match &status.upgrade {
        Some(upgrade) if upgrade.progress.total > 0 => format!("{} {} %", status.phase, upgrade.progress.percent()),
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

/// Logs to the journal with fields where systemd started this process, otherwise as lines for a person.
pub(crate) fn log_to_journal() {
    let filter = Targets::new().with_target("uplift", tracing::Level::INFO).with_default(tracing::Level::WARN);
    let filter = match std::env::var("UPLIFT_LOG").ok().and_then(|text| text.parse::<Targets>().ok()) {
        Some(chosen) => chosen,
        None => filter,
    };
    let journal = std::env::var_os("JOURNAL_STREAM").and_then(|_| tracing_journald::layer().ok());
    match journal {
        Some(layer) => {
            let layer = layer.with_field_prefix(None).with_syslog_identifier("uplift".to_owned());
            let _ = tracing_subscriber::registry().with(layer.with_filter(filter)).try_init();
        }
        None => {
            let lines = tracing_subscriber::fmt::layer()
                .with_target(false)
                .with_ansi(std::io::stderr().is_terminal())
                .without_time()
                .with_writer(std::io::stderr);
            let _ = tracing_subscriber::registry().with(lines.with_filter(filter)).try_init();
        }
    }
}
