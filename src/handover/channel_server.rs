//! The daemon's side of `channels.sock`.

use std::os::unix::net::UnixStream as StdStream;
use std::sync::Arc;

use anyhow::Context as _;
use tokio::net::{UnixListener, UnixStream};

use super::channels::{ChannelAnswer, ChannelRequest, Incoming, OwnComponent, OwnUpgrade};
use super::{Ended, LONGEST_CHANNEL_LINE, pieces};
use crate::config::Config;
use crate::engine::Engine;
use crate::journal::parts::LONGEST_NOTE;
use crate::model::{
    ChannelName, Failure, FailureKind, Installed, Receipt, Reference, Request, Status,
    TransferKind, UpgradeId,
};
use crate::stage::{Announced, Receiving, Staged};
use crate::trial::restart::boot_id;
use crate::wire::guests::{self, Conversation, Seats};
use crate::wire::lines::{CLIENT_DEADLINE, Lines};
use crate::wire::places::{Place, Standing};

/// Each channel watches and asks.
const SEATS: Seats = Seats { socket: "socket of channels", most: 16, kept_for_root: 0 };

/// Answers network channels until the task is dropped.
pub(crate) async fn serve_channels(listener: UnixListener, engine: Engine, config: Arc<Config>) {
    let serve_one = |stream, place| -> Conversation {
        let channels = Channels { engine: engine.clone(), config: Arc::clone(&config) };
        Box::pin(async move { channels.converse(stream, &place).await })
    };
    guests::serve(listener, SEATS, serve_one).await;
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
                Ok(request) => self.answer(request, &mut lines, place, &mut sent).await,
                Err(failure) => Err(failure.into()),
            };
            match answer {
                Ok(answer) => lines.send(&answer).await?,
                Err(Ended::Failed(failure)) => {
                    return lines.send(&ChannelAnswer::Failure { failure }).await;
                }
                Err(Ended::BrokeOff(error)) => return Err(error),
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
    ) -> Result<ChannelAnswer, Ended> {
        match request {
            ChannelRequest::Begin { channel, requester, waits, reference } => {
                let request = self.request(channel, requester)?;
                let request = Request { waits, reference, ..request };
                let upgrade = self.engine.begin(request).await?;
                return Ok(ChannelAnswer::Begun { upgrade });
            }
            ChannelRequest::Receive { upgrade, file } => {
                guests::stay(place)?;
                *sent = None;
                let staged = self.receive(lines, &upgrade, file).await?;
                place.stand(Standing::Idle);
                let size = staged.size;
                *sent = Some((upgrade, staged));
                return Ok(ChannelAnswer::Stored { size });
            }
            ChannelRequest::Part { upgrade } => {
                self.owned(&upgrade)?;
                let part = self.engine.part(&upgrade).await?;
                return Ok(ChannelAnswer::Part { part });
            }
            ChannelRequest::Note { upgrade, note } => {
                not_too_long(note.as_deref())?;
                self.owned(&upgrade)?;
                self.engine.note(&upgrade, note).await?;
            }
            ChannelRequest::Check { upgrade } => {
                let staged = sent.take().filter(|(of, _)| *of == upgrade);
                let (_, staged) = staged.ok_or_else(nothing_sent)?;
                let package = self.engine.check(&upgrade, staged).await?;
                return Ok(ChannelAnswer::Checked { package });
            }
            ChannelRequest::Start { upgrade } => {
                self.owned(&upgrade)?;
                self.engine.start(&upgrade).await?;
            }
            ChannelRequest::Abandon { upgrade, failure } => {
                self.owned(&upgrade)?;
                self.engine.abandon(&upgrade, failure).await?;
            }
            ChannelRequest::Acknowledge { channel } => {
                self.known(channel)?;
                self.engine.acknowledge(channel).await?;
            }
            ChannelRequest::Tell { status } => {
                self.known(status.name)?;
                self.engine.update_channel(status).await;
            }
            // Taken by whoever has the connection.
            ChannelRequest::Watch { .. } => {}
        }
        Ok(ChannelAnswer::Done)
    }

    /// A request in the name of a channel: it is followed to its acknowledged report.
    fn request(&self, channel: ChannelName, requester: String) -> Result<Request, Failure> {
        let Some(network) = self.config.network(channel) else { return Err(not_here(channel)) };
        Ok(Request {
            channel,
            requester,
            caller: None,
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
        file: Incoming,
    ) -> Result<Staged, Ended> {
        self.owned(upgrade)?;
        let Incoming { name: file_name, size, digests, note, anew } = file;
        not_too_long(note.as_deref())?;
        let announced = Announced { file_name, size, digests, anew, with_md5: false };
        let receiving = self.engine.receive(upgrade, announced).await?;
        if note.is_some() {
            self.engine.note(upgrade, note).await?;
        }
        lines.send(&ChannelAnswer::Send { offset: receiving.received() }).await?;
        let taken = lines.on_thread(CLIENT_DEADLINE, move |stream| take(stream, receiving)).await?;
        if let Err(Ended::Failed(failure)) = &taken {
            // It fails only where the engine has ended the upgrade itself.
            let _ = self.engine.reception_failed(upgrade, failure.clone()).await;
        }
        taken
    }

    /// Tells the channel of its own until it closes.
    async fn watch(&self, mut lines: Lines, channel: ChannelName) -> anyhow::Result<()> {
        if let Err(failure) = self.known(channel) {
            return lines.send(&ChannelAnswer::Failure { failure }).await;
        }
        let (mut watcher, mut told) = (self.engine.status(), None);
        tokio::select! {
            // A platform would be told that no version is known.
            () = self.engine.looked() => {}
            closed = lines.closed() => return closed,
        }
        loop {
            // Before the status is borrowed: to borrow it twice waits for ever where somebody waits to
            // write it.
            let not_now = self.engine.status_now().policy.not_now();
            let own = self.own(&watcher.borrow_and_update(), channel, not_now);
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

    /// What a channel may know of the status.
    fn own(&self, status: &Status, channel: ChannelName, not_now: Option<String>) -> ChannelAnswer {
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
            components: self.components(status, channel),
            not_now,
            boot: boot_id(&self.config.paths.boot_id).unwrap_or_default(),
        }
    }

    /// What it may replace.
    fn components(&self, status: &Status, channel: ChannelName) -> Vec<OwnComponent> {
        let replaceable = self.config.replaceable_by(channel);
        let installed = replaceable.filter_map(|component| status.component(component.name()));
        let told = installed.map(|installed| OwnComponent {
            component: installed.component,
            product: installed.product.clone(),
            version: installed.version,
            brought_by: brought_by(installed, channel),
        });
        told.collect()
    }
}

/// What others have asked for is not told.
fn brought_by(installed: &Installed, channel: ChannelName) -> Option<Reference> {
    let (by, reference) = installed.brought_by.as_ref()?;
    (*by == channel).then(|| reference.clone())
}

fn take(mut stream: &StdStream, mut receiving: Receiving) -> Result<Staged, Ended> {
    let mut buffer = Vec::new();
    loop {
        match pieces::read(&mut stream, &mut buffer) {
            Ok(true) => receiving.write(&buffer)?,
            Ok(false) => return Ok(receiving.finish(None)?),
            Err(error) => {
                receiving.put_down()?;
                return Err(error.into());
            }
        }
    }
}

fn not_here(channel: ChannelName) -> Failure {
    let sentence = format!("the configuration has no network channel {channel}");
    Failure::new(FailureKind::Internal, sentence)
}

fn not_too_long(note: Option<&str>) -> Result<(), Failure> {
    if note.is_none_or(|note| note.len() <= LONGEST_NOTE) {
        return Ok(());
    }
    let sentence = format!("a note has at most {LONGEST_NOTE} bytes");
    Err(Failure::new(FailureKind::Internal, sentence))
}

fn nothing_sent() -> Failure {
    let sentence = "no file was sent over this connection for this upgrade";
    Failure::new(FailureKind::Internal, sentence)
}
