//! The engine as a network channel has it: what it asks, and what it is told.

use std::io;
use std::path::Path;

use tokio::net::UnixStream;

use super::channels::{ChannelAnswer, ChannelRequest, OwnComponent, OwnUpgrade};
use super::client::Trouble;
use crate::model::{ChannelName, ChannelStatus, Failure, Reference, Report, UpgradeId};
use crate::wire::lines::Lines;

/// Longest answer: all reports that a peer has not acknowledged, with a program's last words each.
pub(super) const LONGEST_ANSWER: usize = 4 << 20;

/// A conversation with the engine.
pub(crate) struct Conversation(Lines);

/// What is told of a channel's upgrades.
pub(crate) struct Watch(Lines);

/// How a channel's upgrades are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Own {
    /// The one that runs.
    pub(crate) upgrade: Option<OwnUpgrade>,
    /// Whether one of somebody else runs.
    pub(crate) busy: bool,
    /// Reports that nobody has acknowledged.
    pub(crate) reports: Vec<Report>,
    /// What the channel may replace.
    pub(crate) components: Vec<OwnComponent>,
    /// Why no upgrade may begin now, a sentence.
    pub(crate) not_now: Option<String>,
    /// The kernel's name of this boot.
    pub(crate) boot: String,
}

impl Conversation {
    /// Begins a conversation.
    pub(crate) async fn open(socket: &Path) -> io::Result<Self> {
        Ok(Self(Lines::new(UnixStream::connect(socket).await?, LONGEST_ANSWER)))
    }

    /// Asks for an upgrade.
    pub(crate) async fn begin(
        &mut self,
        channel: ChannelName,
        requester: String,
        waits: bool,
        reference: Option<Reference>,
    ) -> Result<UpgradeId, Trouble> {
        let request = ChannelRequest::Begin { channel, requester, waits, reference };
        match self.ask(&request).await? {
            ChannelAnswer::Begun { upgrade } => Ok(upgrade),
            other => Err(senseless(&other)),
        }
    }

    /// Installs the file that was proved.
    pub(crate) async fn start(&mut self, upgrade: UpgradeId) -> Result<(), Trouble> {
        self.have_done(&ChannelRequest::Start { upgrade }).await
    }

    /// Gives an upgrade up.
    pub(crate) async fn abandon(
        &mut self,
        upgrade: UpgradeId,
        failure: Failure,
    ) -> Result<(), Trouble> {
        self.have_done(&ChannelRequest::Abandon { upgrade, failure }).await
    }

    /// The channel's peer has seen its report.
    pub(crate) async fn acknowledge(&mut self, channel: ChannelName) -> Result<(), Trouble> {
        self.have_done(&ChannelRequest::Acknowledge { channel }).await
    }

    /// Tells how the channel fares.
    pub(crate) async fn tell(&mut self, status: ChannelStatus) -> Result<(), Trouble> {
        self.have_done(&ChannelRequest::Tell { status }).await
    }

    async fn have_done(&mut self, request: &ChannelRequest) -> Result<(), Trouble> {
        match self.ask(request).await? {
            ChannelAnswer::Done => Ok(()),
            other => Err(senseless(&other)),
        }
    }

    async fn ask(&mut self, request: &ChannelRequest) -> Result<ChannelAnswer, Trouble> {
        self.0.send(request).await.map_err(io::Error::other)?;
        self.answer().await
    }

    /// The next answer, however long the check of a large file takes.
    async fn answer(&mut self) -> Result<ChannelAnswer, Trouble> {
        answer(&mut self.0).await
    }
}

impl Watch {
    /// Begins to watch.
    pub(crate) async fn open(socket: &Path, channel: ChannelName) -> Result<Self, Trouble> {
        let mut lines = Lines::new(UnixStream::connect(socket).await?, LONGEST_ANSWER);
        lines.send(&ChannelRequest::Watch { channel }).await.map_err(io::Error::other)?;
        Ok(Self(lines))
    }

    /// How they are now, or when that has changed.
    pub(crate) async fn next(&mut self) -> Result<Own, Trouble> {
        match answer(&mut self.0).await? {
            ChannelAnswer::Own { upgrade, busy, reports, components, not_now, boot } => {
                Ok(Own { upgrade, busy, reports, components, not_now, boot })
            }
            other => Err(senseless(&other)),
        }
    }
}

async fn answer(lines: &mut Lines) -> Result<ChannelAnswer, Trouble> {
    let line = lines.wait().await.map_err(io::Error::other)?;
    let line = line.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
    taken(serde_json::from_slice(&line).map_err(io::Error::from)?)
}

/// What the daemon did, unless it refused.
pub(super) fn taken(answer: ChannelAnswer) -> Result<ChannelAnswer, Trouble> {
    match answer {
        ChannelAnswer::Failure { failure } => Err(Trouble::Refused(failure)),
        answer => Ok(answer),
    }
}

pub(super) fn senseless(answer: &ChannelAnswer) -> Trouble {
    Trouble::Away(io::Error::other(format!("its answer is senseless: {answer:?}")))
}
