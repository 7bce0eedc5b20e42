//! The daemon's side of `channels.sock`.

use std::io;
use std::os::unix::net::UnixStream as StdStream;
use std::sync::Arc;

use anyhow::Context as _;
use tokio::net::{UnixListener, UnixStream};

use super::channels::{ChannelAnswer, ChannelRequest, OwnUpgrade};
use super::{LONGEST_CHANNEL_LINE, pieces};
use crate::config::Config;
use crate::engine::Engine;
use crate::journal::parts::LONGEST_NOTE;
use crate::model::{
    ChannelName, Failure, FailureKind, Receipt, Request, Status, TransferKind, UpgradeId,
};
use crate::stage::{Announced, Receiving, Staged};
use crate::wire::lines::{CLIENT_DEADLINE, Lines};
use crate::wire::local_socket;
use crate::wire::places::{Place, Places, Standing};

/// Connections at a time: each channel watches and asks.
const MOST_CONNECTIONS: usize = 16;

/// Answers network channels until the task is dropped.
pub(crate) async fn serve_channels(listener: UnixListener, engine: Engine, config: Arc<Config>) {
    let places: Places<u32> = Places::new(MOST_CONNECTIONS);
    loop {
        let stream = local_socket::accept(&listener, "socket of channels").await;
        let Some(place) = places.take(local_socket::uid_of(&stream), 0).await else {
            tracing::warn!("all places at the socket of channels are taken");
            continue;
        };
        let channels = Channels { engine: engine.clone(), config: Arc::clone(&config) };
        tokio::spawn(async move {
            let ended = tokio::select! {
                ended = channels.converse(stream, &place) => ended,
                () = place.told_to_leave() => Err(anyhow::anyhow!("it made room for another one")),
            };
            if let Err(error) = ended {
                tracing::debug!("a client of the socket of channels left: {error:#}");
            }
        });
    }
}

/// What the clients of the socket reach.
struct Channels {
    engine: Engine,
    config: Arc<Config>,
}

/// A file that was sent over a connection, and for which upgrade.
type Sent = Option<(UpgradeId, Staged)>;

impl Channels {
    async fn converse(&self, stream: UnixStream, place: &Place<u32>) -> anyhow::Result<()> {
        let mut lines = Lines::new(stream, LONGEST_CHANNEL_LINE);
        let mut sent = None;
        while let Some(line) = lines.read().await? {
            let answer = match super::parse(&line) {
                Ok(ChannelRequest::Watch { channel }) => {
                    return self.watch(lines, channel).await;
                }
                Ok(request) => self.answer(request, &mut lines, place, &mut sent).await?,
                Err(failure) => Err(failure),
            };
            match answer {
                Ok(answer) => lines.send(&answer).await?,
                Err(failure) => return lines.send(&ChannelAnswer::Failure { failure }).await,
            }
        }
        Ok(())
    }

    async fn answer(
        &self,
        request: ChannelRequest,
        lines: &mut Lines,
        place: &Place<u32>,
        sent: &mut Sent,
    ) -> anyhow::Result<Result<ChannelAnswer, Failure>> {
        let done = |result: Result<(), Failure>| result.map(|()| ChannelAnswer::Done);
        Ok(match request {
            ChannelRequest::Begin { channel, requester, waits, reference } => {
                match self.request(channel, requester) {
                    Ok(request) => {
                        let begun = self.engine.begin(Request { waits, reference, ..request });
                        begun.await.map(|upgrade| ChannelAnswer::Begun { upgrade })
                    }
                    Err(failure) => Err(failure),
                }
            }
            ChannelRequest::Receive { upgrade, file_name, size } => {
                anyhow::ensure!(place.stand(Standing::Fixed), "it makes room for another one");
                *sent = None;
                let received = self.receive(lines, &upgrade, file_name, size).await?;
                place.stand(Standing::Idle);
                received.map(|staged| {
                    *sent = Some((upgrade, staged));
                    ChannelAnswer::Stored { size }
                })
            }
            ChannelRequest::Part { upgrade } => match self.owned(&upgrade) {
                Ok(()) => self.engine.part(&upgrade).await.map(|part| ChannelAnswer::Part { part }),
                Err(failure) => Err(failure),
            },
            ChannelRequest::Note { note, .. }
                if note.as_ref().is_some_and(|note| note.len() > LONGEST_NOTE) =>
            {
                let sentence = format!("a note has at most {LONGEST_NOTE} bytes");
                Err(Failure::new(FailureKind::Internal, sentence))
            }
            ChannelRequest::Note { upgrade, note } => match self.owned(&upgrade) {
                Ok(()) => done(self.engine.note(&upgrade, note).await),
                Err(failure) => Err(failure),
            },
            ChannelRequest::Check { upgrade } => match sent.take() {
                Some((of, staged)) if of == upgrade => {
                    let checked = self.engine.check(&upgrade, staged).await;
                    checked.map(|package| ChannelAnswer::Checked { package })
                }
                _ => Err(nothing_sent()),
            },
            ChannelRequest::Start { upgrade } => match self.owned(&upgrade) {
                Ok(()) => done(self.engine.start(&upgrade).await),
                Err(failure) => Err(failure),
            },
            ChannelRequest::Abandon { upgrade, failure } => match self.owned(&upgrade) {
                Ok(()) => done(self.engine.abandon(&upgrade, failure).await),
                Err(failure) => Err(failure),
            },
            ChannelRequest::Acknowledge { channel } => match self.known(channel) {
                Ok(()) => done(self.engine.acknowledge(channel).await),
                Err(failure) => Err(failure),
            },
            ChannelRequest::Tell { status } => match self.known(status.name) {
                Ok(()) => {
                    self.engine.update_channel(status).await;
                    Ok(ChannelAnswer::Done)
                }
                Err(failure) => Err(failure),
            },
            // Taken by whoever has the connection.
            ChannelRequest::Watch { .. } => Ok(ChannelAnswer::Done),
        })
    }

    /// A request in the name of a channel: it is followed to its acknowledged report.
    fn request(&self, channel: ChannelName, requester: String) -> Result<Request, Failure> {
        let Some(network) = self.config.network(channel) else { return Err(not_here(channel)) };
        Ok(Request {
            channel,
            requester,
            transfer: TransferKind::HandOver,
            receipt: Receipt::Acknowledged,
            rejoins: true,
            waits: false,
            forced: false,
            resumes: true,
            sealed: !network.unsealed,
            reference: None,
        })
    }

    fn known(&self, channel: ChannelName) -> Result<(), Failure> {
        self.config.network(channel).map(|_| ()).ok_or_else(|| not_here(channel))
    }

    /// Whether the upgrade that runs is this one, and a network channel's.
    fn owned(&self, id: &UpgradeId) -> Result<(), Failure> {
        let status = self.engine.status();
        let status = status.borrow();
        let owned = status.upgrade.as_ref().is_some_and(|upgrade| {
            upgrade.id == *id && self.config.network(upgrade.request.channel).is_some()
        });
        let over = || Failure::new(FailureKind::Cancelled, "this upgrade is over");
        owned.then_some(()).ok_or_else(over)
    }

    async fn receive(
        &self,
        lines: &mut Lines,
        upgrade: &UpgradeId,
        file_name: String,
        size: u64,
    ) -> anyhow::Result<Result<Staged, Failure>> {
        let announced = Announced { file_name, size: Some(size), with_md5: false };
        let begun = match self.owned(upgrade) {
            Ok(()) => self.engine.receive(upgrade, announced).await,
            Err(failure) => Err(failure),
        };
        let receiving = match begun {
            Ok(receiving) => receiving,
            Err(failure) => return Ok(Err(failure)),
        };
        lines.send(&ChannelAnswer::Send { offset: receiving.received() }).await?;
        match lines.on_thread(CLIENT_DEADLINE, move |stream| take(stream, receiving)).await? {
            Ok(staged) => Ok(Ok(staged)),
            Err(Ended::BrokeOff(error)) => Err(error.into()),
            Err(Ended::Failed(failure)) => {
                // It fails only where the engine has ended the upgrade itself.
                let _ = self.engine.reception_failed(upgrade, failure.clone()).await;
                Ok(Err(failure))
            }
        }
    }

    /// Tells the channel of its own until it closes.
    async fn watch(&self, mut lines: Lines, channel: ChannelName) -> anyhow::Result<()> {
        if let Err(failure) = self.known(channel) {
            return lines.send(&ChannelAnswer::Failure { failure }).await;
        }
        let (mut watcher, mut told) = (self.engine.status(), None);
        loop {
            let own = own(&watcher.borrow_and_update(), channel);
            if told.as_ref() != Some(&own) {
                lines.send(&own).await?;
                told = Some(own);
            }
            tokio::select! {
                changed = watcher.changed() => changed.context("the engine is gone")?,
                closed = lines.closed() => return closed,
            }
        }
    }
}

/// Why a file did not become whole.
enum Ended {
    BrokeOff(io::Error),
    Failed(Failure),
}

fn take(mut stream: &StdStream, mut receiving: Receiving) -> Result<Staged, Ended> {
    let mut buffer = Vec::new();
    loop {
        match pieces::read(&mut stream, &mut buffer) {
            Ok(true) => receiving.write(&buffer).map_err(Ended::Failed)?,
            Ok(false) => return receiving.finish(None).map_err(Ended::Failed),
            Err(error) => {
                receiving.put_down().map_err(Ended::Failed)?;
                return Err(Ended::BrokeOff(error));
            }
        }
    }
}

/// What a channel may know of the status.
fn own(status: &Status, channel: ChannelName) -> ChannelAnswer {
    let current = status.upgrade.as_ref();
    let upgrade = current.filter(|upgrade| upgrade.request.channel == channel);
    let reports = status.unacknowledged.iter().filter(|one| one.request.channel == channel);
    ChannelAnswer::Own {
        upgrade: upgrade.map(|upgrade| OwnUpgrade {
            id: upgrade.id.clone(),
            phase: status.phase,
            reference: upgrade.request.reference.clone(),
            progress: upgrade.progress,
            failure: upgrade.failure.clone(),
        }),
        busy: current.is_some() && upgrade.is_none(),
        reports: reports.cloned().collect(),
    }
}

fn not_here(channel: ChannelName) -> Failure {
    let sentence = format!("the configuration has no network channel {channel}");
    Failure::new(FailureKind::Internal, sentence)
}

fn nothing_sent() -> Failure {
    let sentence = "no file was sent over this connection for this upgrade";
    Failure::new(FailureKind::Internal, sentence)
}
