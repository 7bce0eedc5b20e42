//! The hand-over of one file by a network channel; blocking, for the thread that brings its bytes.

use std::io::{self, BufReader, Read as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::channel_client::{LONGEST_ANSWER, senseless, taken};
use super::channels::{ChannelAnswer, ChannelRequest, Incoming};
use super::client::Trouble;
use super::{blocking, pieces};
use crate::model::{PackageSummary, PartStatus, UpgradeId};

/// Longest wait for the daemon to take a piece, or to say where the file goes on: it may have to
/// wait for its disk, and to hash what is there.
const DISK_DEADLINE: Duration = Duration::from_secs(120);
/// Longest wait for the check of a large file: hashed twice, and run once.
const CHECK_DEADLINE: Duration = Duration::from_secs(900);

/// A file on its way to the daemon. Dropped, it broke off: what came stays.
pub(crate) struct Delivery {
    socket: PathBuf,
    upgrade: UpgradeId,
    stream: BufReader<UnixStream>,
    is_sending: bool,
}

impl Delivery {
    /// For the file of this upgrade.
    pub(crate) fn open(socket: &Path, upgrade: UpgradeId) -> io::Result<Self> {
        let stream = connect(socket)?;
        Ok(Self { socket: socket.to_owned(), upgrade, stream, is_sending: false })
    }

    /// What is there of the file.
    pub(crate) fn part(&mut self) -> Result<Option<PartStatus>, Trouble> {
        match self.ask(&ChannelRequest::Part { upgrade: self.upgrade.clone() })? {
            ChannelAnswer::Part { part } => Ok(part),
            other => Err(senseless(&other)),
        }
    }

    /// The file comes: how many of its bytes are there. Called again, it comes another way.
    pub(crate) fn begin(&mut self, file: Incoming) -> Result<u64, Trouble> {
        if self.is_sending {
            self.stream = connect(&self.socket)?;
            self.is_sending = false;
        }
        match self.ask(&ChannelRequest::Receive { upgrade: self.upgrade.clone(), file })? {
            ChannelAnswer::Send { offset } => {
                self.is_sending = true;
                Ok(offset)
            }
            other => Err(senseless(&other)),
        }
    }

    /// Nothing comes for a while: the daemon makes durable what came, and waits for no more. The file
    /// goes on by [`Delivery::begin`].
    pub(crate) fn pause(&mut self) {
        // One that is away has put it down already.
        let _ = self.stream.get_ref().shutdown(Shutdown::Write);
    }

    /// What came is durable when this returns. The file goes on by [`Delivery::begin`].
    pub(crate) fn put_down(&mut self) -> io::Result<()> {
        self.pause();
        // The daemon closes when it has done that, and says before why it has not.
        io::copy(&mut (&mut self.stream).take(LONGEST_ANSWER as u64), &mut io::sink()).map(drop)
    }

    /// The next bytes. What the daemon can't take it says why.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> Result<(), Trouble> {
        let sent = pieces::write(self.stream.get_mut(), bytes);
        sent.map_err(|error| self.reason().unwrap_or(Trouble::Away(error)))
    }

    /// All is sent: the daemon proves it. What is refused has ended the upgrade.
    pub(crate) fn prove(mut self) -> Result<PackageSummary, Trouble> {
        let ended = pieces::end(self.stream.get_mut());
        ended.map_err(|error| self.reason().unwrap_or(Trouble::Away(error)))?;
        match self.answer()? {
            ChannelAnswer::Stored { .. } => {}
            other => return Err(senseless(&other)),
        }
        self.stream.get_ref().set_read_timeout(Some(CHECK_DEADLINE))?;
        match self.ask(&ChannelRequest::Check { upgrade: self.upgrade.clone() })? {
            ChannelAnswer::Checked { package } => Ok(package),
            other => Err(senseless(&other)),
        }
    }

    /// A daemon that takes no more says why before it closes.
    fn reason(&mut self) -> Option<Trouble> {
        self.answer().err().filter(|trouble| matches!(trouble, Trouble::Refused(_)))
    }

    fn ask(&mut self, request: &ChannelRequest) -> Result<ChannelAnswer, Trouble> {
        taken(blocking::ask(&mut self.stream, request, LONGEST_ANSWER)?)
    }

    fn answer(&mut self) -> Result<ChannelAnswer, Trouble> {
        taken(blocking::answer(&mut self.stream, LONGEST_ANSWER)?)
    }
}

fn connect(socket: &Path) -> io::Result<BufReader<UnixStream>> {
    let stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(DISK_DEADLINE))?;
    stream.set_write_timeout(Some(DISK_DEADLINE))?;
    Ok(BufReader::new(stream))
}
