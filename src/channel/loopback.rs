//! A network channel for tests, whose network is a socket of this machine: whoever reaches it
//! offers files that lie here, by their paths, one a line.
//!
//! It does what each network channel does: it looks at what the engine has of it and does the next
//! thing, so that a restart of either side at any moment loses nothing. It keeps nothing itself.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::UnixListener;
use tokio::sync::mpsc;
use tokio::time::sleep;

use crate::digest::BUFFER_SIZE;
use crate::handover::channel_client::{Conversation, Own, Watch};
use crate::handover::channels::{Incoming, OwnUpgrade};
use crate::handover::client::Trouble;
use crate::handover::delivery::Delivery;
use crate::model::{ChannelName, ChannelStatus, Failure, FailureKind, Phase, Reference, UpgradeId};
use crate::wire::local_socket;

/// How long it waits before it looks for a daemon that is away, with as much again by chance.
const PAUSE: Duration = Duration::from_millis(500);
/// Offers that wait while an upgrade runs.
const MOST_OFFERS: usize = 16;

/// The channel at work. [`Loopback::run`] is its life.
pub(crate) struct Loopback {
    daemon: PathBuf,
    offers: mpsc::Receiver<PathBuf>,
    /// The next offer, until an upgrade was begun for it.
    offer: Option<PathBuf>,
}

impl Loopback {
    /// A channel that takes offers over this socket, and hands files over to the daemon.
    pub(crate) fn new(offers: UnixListener, daemon: PathBuf) -> Self {
        let (sender, receiver) = mpsc::channel(MOST_OFFERS);
        tokio::spawn(take_offers(offers, sender));
        Self { daemon, offers: receiver, offer: None }
    }

    /// Serves until the task is dropped.
    pub(crate) async fn run(mut self) {
        loop {
            if let Err(trouble) = self.follow().await {
                tracing::info!("the daemon is waited for: {trouble}");
            }
            sleep(PAUSE.mul_f64(1.0 + fastrand::f64())).await;
        }
    }

    /// Follows the engine until it is away.
    async fn follow(&mut self) -> Result<(), Trouble> {
        let status = ChannelStatus::works(ChannelName::LOOPBACK, "waits for offers");
        Conversation::open(&self.daemon).await?.tell(status).await?;
        let mut watch = Watch::open(&self.daemon, ChannelName::LOOPBACK).await?;
        let mut own = watch.next().await?;
        loop {
            if self.act(&own).await? {
                own = watch.next().await?;
                continue;
            }
            tokio::select! {
                next = watch.next() => own = next?,
                offer = self.offers.recv(), if self.offer.is_none() => self.offer = offer,
            }
        }
    }

    /// The next thing to do, if there is one; true where the engine will tell of it.
    async fn act(&mut self, own: &Own) -> Result<bool, Trouble> {
        if !own.reports.is_empty() {
            for report in &own.reports {
                tracing::info!("told: the upgrade {} has {}", report.id, report.outcome);
            }
            Conversation::open(&self.daemon).await?.acknowledge(ChannelName::LOOPBACK).await?;
            return Ok(true);
        }
        match (&own.upgrade, &self.offer) {
            (Some(upgrade), _) if matches!(upgrade.phase, Phase::Preparing | Phase::Receiving) => {
                self.hand_over(upgrade).await.map(|()| true)
            }
            (None, Some(offer)) if !own.busy => {
                let reference = Reference::try_from(offer.display().to_string()).ok();
                let mut engine = Conversation::open(&self.daemon).await?;
                let begun =
                    engine.begin(ChannelName::LOOPBACK, "loopback".into(), true, reference).await;
                self.offer = None;
                match begun {
                    Ok(_) => Ok(true),
                    Err(Trouble::Refused(failure)) => {
                        tracing::warn!("told: the request was refused: {failure}");
                        Ok(false)
                    }
                    Err(away) => Err(away),
                }
            }
            _ => Ok(false),
        }
    }

    /// Hands the file of an upgrade over, has it proved and installs it.
    async fn hand_over(&self, upgrade: &OwnUpgrade) -> Result<(), Trouble> {
        let mut engine = Conversation::open(&self.daemon).await?;
        let id = upgrade.id.clone();
        let path = upgrade.reference.as_ref().map(|reference| PathBuf::from(reference.as_str()));
        let opened =
            path.ok_or_else(|| io::ErrorKind::NotFound.into()).and_then(|path| opened(&path));
        let (file, name, size) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                let sentence = "the file that was offered can't be read";
                let failure = Failure::from_io(FailureKind::TransferFailed, sentence, error);
                return engine.abandon(id, failure).await;
            }
        };
        let incoming = Incoming { name: Some(name), size: Some(size), ..Incoming::default() };
        let (socket, of) = (self.daemon.clone(), id.clone());
        let sent = tokio::task::spawn_blocking(move || send(&socket, of, incoming, file));
        match sent.await.unwrap_or_else(|died| Err(io::Error::other(died).into())) {
            Err(away @ Trouble::Away(_)) => return Err(away),
            // What is refused here has ended the upgrade, and its report says so.
            Err(Trouble::Refused(_)) => return Ok(()),
            Ok(()) => {}
        }
        match engine.start(id).await {
            Err(away @ Trouble::Away(_)) => Err(away),
            _ => Ok(()),
        }
    }
}

async fn take_offers(listener: UnixListener, offers: mpsc::Sender<PathBuf>) {
    loop {
        let stream = local_socket::accept(&listener, "socket of offers").await;
        let mut lines = BufReader::new(stream).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            if offers.send(line.into()).await.is_err() {
                return;
            }
        }
    }
}

fn opened(path: &Path) -> io::Result<(File, String, u64)> {
    let file = File::open(path)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let size = file.metadata()?.len();
    Ok((file, name, size))
}

fn send(
    socket: &Path,
    upgrade: UpgradeId,
    incoming: Incoming,
    mut file: File,
) -> Result<(), Trouble> {
    let mut delivery = Delivery::open(socket, upgrade)?;
    let offset = delivery.begin(incoming)?;
    file.seek(SeekFrom::Start(offset))?;
    let mut buffer = vec![0; BUFFER_SIZE];
    loop {
        match file.read(&mut buffer)? {
            0 => return delivery.prove().map(drop),
            count => delivery.send(&buffer[..count])?,
        }
    }
}
