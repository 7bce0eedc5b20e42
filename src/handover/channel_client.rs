//! The engine as a network channel has it: what it asks, and what it is told.

use std::io;
use std::os::unix::net::UnixStream as StdStream;
use std::path::Path;
use std::time::Duration;

use tokio::net::UnixStream;

use super::channels::{ChannelAnswer, ChannelRequest, OwnUpgrade};
use super::client::Trouble;
use super::pieces;
use crate::model::{
    ChannelName, ChannelStatus, Failure, PackageSummary, Reference, Report, UpgradeId,
};
use crate::wire::lines::Lines;

/// Longest answer: all reports that a peer has not acknowledged, with a program's last words each.
const LONGEST_ANSWER: usize = 4 << 20;
/// Longest wait for the daemon to say how a piece was taken: it may have to wait for its disk.
const PIECE_DEADLINE: Duration = Duration::from_secs(120);

/// A conversation with the engine.
pub(crate) struct Conversation(Lines);

/// What is told of a channel's upgrades.
pub(crate) struct Watch(Lines);

/// How a channel's upgrades are.
#[derive(Debug)]
pub(crate) struct Own {
    /// The one that runs.
    pub(crate) upgrade: Option<OwnUpgrade>,
    /// Whether one of somebody else runs.
    pub(crate) busy: bool,
    /// Reports that nobody has acknowledged.
    pub(crate) reports: Vec<Report>,
}

/// Where the bytes of a file go.
pub(crate) struct Pieces<'a>(&'a StdStream);

impl Pieces<'_> {
    /// Sends the next bytes.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        pieces::write(&mut self.0, bytes)
    }
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

    /// Hands a file over. `send` is given the number of bytes that are there already, and sends the
    /// rest, on a thread of its own.
    pub(crate) async fn receive(
        &mut self,
        upgrade: UpgradeId,
        file_name: String,
        size: u64,
        send: impl FnOnce(u64, &mut Pieces<'_>) -> io::Result<()> + Send + 'static,
    ) -> Result<(), Trouble> {
        let request = ChannelRequest::Receive { upgrade, file_name, size };
        let offset = match self.ask(&request).await? {
            ChannelAnswer::Send { offset } => offset,
            other => return Err(senseless(&other)),
        };
        let send = move |stream: &StdStream| {
            let mut stream = stream;
            send(offset, &mut Pieces(stream)).and_then(|()| pieces::end(&mut stream))
        };
        let sent = self.0.on_thread(PIECE_DEADLINE, send).await?;
        // A daemon that can't go on says why before it closes.
        match (self.answer().await, sent) {
            (Ok(ChannelAnswer::Stored { .. }), Ok(())) => Ok(()),
            (Err(refused @ Trouble::Refused(_)), _) => Err(refused),
            (_, Err(error)) | (Err(Trouble::Away(error)), Ok(())) => Err(Trouble::Away(error)),
            (Ok(other), Ok(())) => Err(senseless(&other)),
        }
    }

    /// Has the file proved that was handed over in this conversation.
    pub(crate) async fn check(&mut self, upgrade: UpgradeId) -> Result<PackageSummary, Trouble> {
        match self.ask(&ChannelRequest::Check { upgrade }).await? {
            ChannelAnswer::Checked { package } => Ok(package),
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
            ChannelAnswer::Own { upgrade, busy, reports } => Ok(Own { upgrade, busy, reports }),
            other => Err(senseless(&other)),
        }
    }
}

async fn answer(lines: &mut Lines) -> Result<ChannelAnswer, Trouble> {
    let line = lines.wait().await.map_err(io::Error::other)?;
    let line = line.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
    match serde_json::from_slice(&line).map_err(io::Error::from)? {
        ChannelAnswer::Failure { failure } => Err(Trouble::Refused(failure)),
        answer => Ok(answer),
    }
}

fn senseless(answer: &ChannelAnswer) -> Trouble {
    Trouble::Away(io::Error::other(format!("its answer is senseless: {answer:?}")))
}
