//! What systemd is told of the daemon: readiness, the status line, the watchdog's word.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep_until};

use crate::engine::Engine;
use crate::host::alarm::Alarm;
use crate::model::{CurrentUpgrade, LinkState, Phase, Status};

/// Shortest time between two status lines: systemd tells each to everybody on the bus who listens.
const STATUS_INTERVAL: Duration = Duration::from_secs(1);

/// Readiness once the engine answers and the payload link runs; then a status line when it changes,
/// and the watchdog's word as long as the engine answers. The end is that of the engine or of the
/// link.
pub(super) async fn tell(engine: Engine, link: oneshot::Receiver<()>) {
    if link.await.is_err() || engine.ping().await.is_err() {
        return;
    }
    notify(&[NotifyState::Ready]);
    let mut news = News { watcher: engine.status(), told: String::new(), earliest: Instant::now() };
    let mut watchdog = Watchdog::new();
    news.tell();
    loop {
        // The watchdog first: a status that changes all the time must not starve it.
        tokio::select! {
            biased;
            () = watchdog.fed_by(&engine) => {}
            changed = news.changed() => match changed {
                Ok(()) => news.tell(),
                Err(_) => return,
            },
        }
    }
}

/// The status line, told when it is another one.
struct News {
    watcher: watch::Receiver<Status>,
    told: String,
    earliest: Instant,
}

impl News {
    /// Dropped and called again, it loses nothing.
    async fn changed(&mut self) -> Result<(), watch::error::RecvError> {
        sleep_until(self.earliest).await;
        self.watcher.changed().await
    }

    fn tell(&mut self) {
        let status = self.watcher.borrow_and_update();
        if status.components.iter().any(|installed| installed.looking) {
            return; // a moment later there is more to tell
        }
        let line = status_line(&status);
        drop(status);
        if line != self.told {
            notify(&[NotifyState::Status(&line)]);
            self.told = line;
            self.earliest = Instant::now() + STATUS_INTERVAL;
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

    /// Feeds it when that is due, once the engine has answered; without a watchdog it waits for
    /// ever.
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
    let mut line = match &status.upgrade {
        Some(upgrade) if status.phase == Phase::Receiving && upgrade.progress.total > 0 => {
            format!("{} {} %", status.phase, upgrade.progress.percent())
        }
        Some(CurrentUpgrade { failure: Some(failure), .. }) => {
            format!("{}: the last file was refused, {}", status.phase, failure.kind)
        }
        Some(CurrentUpgrade { doing: Some(doing), .. }) => format!("{}: {doing}", status.phase),
        Some(CurrentUpgrade { waits_for: Some(wait), .. }) => format!("{}: {wait}", status.phase),
        Some(CurrentUpgrade { deferred_because: Some(why), .. }) => {
            format!("{}: {why}", status.phase)
        }
        _ => status.phase.to_string(),
    };
    for installed in &status.components {
        let version = installed
            .version
            .map_or_else(|| "version unknown".to_owned(), |version| version.to_string());
        line.push_str(&format!(", {} {version}", installed.product));
    }
    if !status.link.device.is_empty() {
        let device = &status.link.device;
        line.push_str(&match (status.link.state, status.link.baud) {
            (LinkState::Linked, Some(baud)) => format!(", link {device} {baud}"),
            // The rates that it tries are no news.
            (state, _) => format!(", link {device}: {state}"),
        });
    }
    line
}

/// Tells systemd.
pub(crate) fn notify(states: &[NotifyState<'_>]) {
    // Without systemd there is nobody to tell.
    let _ = sd_notify::notify(states);
}
