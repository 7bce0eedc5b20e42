//! The statuses of a daemon as they come, over its restarts.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use crate::config::Config;
use crate::control::{Client, ClientError, ControlAnswer, ControlRequest};
use crate::model::Status;

/// How long a daemon may be away before the watch ends: a reboot that somebody watches takes less.
const AWAY_DEADLINE: Duration = Duration::from_secs(300);
/// Between two attempts to reach a daemon that went away: it has no way to call us.
const RECONNECT_INTERVAL: Duration = Duration::from_millis(250);
/// Statuses that wait to be shown; the daemon sends at most ten a second.
const QUEUE: usize = 16;

/// What is said of a daemon that went away.
pub(super) const AWAY: &str = "the daemon went away; waiting for it";

/// What a watcher sees.
#[derive(Debug)]
pub(super) enum Seen {
    /// A status.
    Status(Box<Status>),
    /// The daemon went away.
    Away,
}

/// Listens to the daemon on a thread of its own, so that whoever draws need not wait for news.
#[derive(Debug)]
pub(super) struct Watcher(Receiver<anyhow::Result<Seen>>);

impl Watcher {
    /// Connects; fails at once if there is no daemon.
    pub(super) fn start(config: &Config) -> anyhow::Result<Self> {
        let path = config.paths.control.clone();
        let client = connect(&path)?;
        let (seen, watcher) = sync_channel(QUEUE);
        let listen = move || Listener { path, seen }.listen(client);
        thread::Builder::new()
            .name("watch".into())
            .spawn(listen)
            .context("no thread can be started")?;
        Ok(Self(watcher))
    }

    /// Waits for the next change.
    pub(super) fn next(&self) -> anyhow::Result<Seen> {
        self.0.recv().context("the watch ended")?
    }

    /// [`Watcher::next`], or `None` after `patience`; without one it waits for as long as nothing
    /// changes.
    pub(super) fn next_within(&self, patience: Option<Duration>) -> anyhow::Result<Option<Seen>> {
        let Some(patience) = patience else { return self.next().map(Some) };
        match self.0.recv_timeout(patience) {
            Ok(seen) => seen.map(Some),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(error @ RecvTimeoutError::Disconnected) => Err(error).context("the watch ended"),
        }
    }
}

struct Listener {
    path: PathBuf,
    seen: SyncSender<anyhow::Result<Seen>>,
}

impl Listener {
    /// Until the watcher is dropped, or the daemon stays away.
    fn listen(self, mut client: Client) {
        loop {
            let seen = match next(&mut client) {
                Ok(Some(status)) => Ok(Seen::Status(Box::new(status))),
                Ok(None) => Ok(Seen::Away),
                Err(error) => Err(error),
            };
            let (away, over) = (matches!(seen, Ok(Seen::Away)), seen.is_err());
            if self.seen.send(seen).is_err() || over {
                return;
            }
            if away {
                match reconnect(&self.path) {
                    Ok(connected) => client = connected,
                    // Nobody left to tell only if the watcher was dropped.
                    Err(error) => return drop(self.seen.send(Err(error.into()))),
                }
            }
        }
    }
}

fn connect(path: &Path) -> Result<Client, ClientError> {
    let mut client = Client::connect(path)?;
    client.ask(&ControlRequest::Watch {})?;
    Ok(client)
}

fn reconnect(path: &Path) -> Result<Client, ClientError> {
    let end = Instant::now() + AWAY_DEADLINE;
    loop {
        match connect(path) {
            Err(_) if Instant::now() < end => thread::sleep(RECONNECT_INTERVAL),
            connected => return connected,
        }
    }
}

/// The next status, or `None` when the daemon closed the connection.
fn next(client: &mut Client) -> anyhow::Result<Option<Status>> {
    match client.answer() {
        Ok(ControlAnswer::Status { status }) => Ok(Some(status)),
        Ok(ControlAnswer::Failure { failure }) => Err(failure.into()),
        Ok(_) => bail!("the daemon's answer is not a status"),
        Err(ClientError::Closed | ClientError::Io(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
