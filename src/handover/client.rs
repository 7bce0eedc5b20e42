//! The side of a process that hands a file over; blocking, one connection a question.

use std::io::{self, BufReader};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{LONGEST_LINE, UploadAnswer, UploadRequest, Uploaded, blocking, pieces};
use crate::model::Failure;

/// Longest wait for an answer that the daemon owes at once.
const DEADLINE: Duration = Duration::from_secs(5);
/// Longest wait for a place in the stage, or for a file to be durable there: of a card that is slow
/// and full of what else was written.
const DISK_DEADLINE: Duration = Duration::from_secs(120);

/// The daemon, as an upload server reaches it.
#[derive(Debug, Clone)]
pub(crate) struct Uploads {
    socket: PathBuf,
}

/// What the daemon says of an upload that begins.
#[derive(Debug)]
pub(crate) enum Begun {
    /// It wants the bytes.
    Through(Sending),
    /// It does not.
    Elsewhere(String),
    /// It is away, or can't be reached.
    Away(io::Error),
    /// It wants them from an earlier byte on.
    NothingToGoOn,
    /// It would have to want them, and can't take them.
    Failed(Failure),
}

/// An upload on its way to the daemon. Dropped unfinished, it broke off.
#[derive(Debug)]
pub(crate) struct Sending(BufReader<UnixStream>);

/// Why the daemon did not do something.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    /// It says why.
    #[error("{0}")]
    Refused(Failure),
    /// It is away, or does not answer.
    #[error("the daemon is away: {0}")]
    Away(#[from] io::Error),
}

impl Uploads {
    /// The daemon that listens there.
    pub(crate) fn new(socket: &Path) -> Self {
        Self { socket: socket.to_owned() }
    }

    /// Asks whether it wants the bytes of a file behind the first `offset`.
    pub(crate) fn begin(&self, file_name: &str, owner: &str, offset: u64) -> Begun {
        let request =
            UploadRequest::Upload { file_name: file_name.into(), owner: owner.into(), offset };
        match self.ask(&request, DISK_DEADLINE) {
            Ok((stream, UploadAnswer::Send)) => Begun::Through(Sending(stream)),
            Ok((_, UploadAnswer::Elsewhere { why })) => Begun::Elsewhere(why),
            Ok((_, UploadAnswer::NothingToGoOn)) => Begun::NothingToGoOn,
            Ok((_, UploadAnswer::Failure { failure })) => Begun::Failed(failure),
            Ok((_, other)) => Begun::Away(senseless(&other)),
            Err(error) => Begun::Away(error),
        }
    }

    /// What it has of an upload; nothing where it is away.
    pub(crate) fn look(&self) -> Option<Uploaded> {
        match self.ask(&UploadRequest::Look {}, DEADLINE) {
            Ok((_, UploadAnswer::Upload { upload })) => upload,
            _ => None,
        }
    }

    /// Gives its upload another name.
    pub(crate) fn rename(&self, from: &str, to: &str) -> Result<(), Trouble> {
        self.have_done(&UploadRequest::Rename { from: from.into(), to: to.into() })
    }

    /// Has it throw the upload away.
    pub(crate) fn remove(&self, file_name: &str) -> Result<(), Trouble> {
        self.have_done(&UploadRequest::Remove { file_name: file_name.into() })
    }

    fn have_done(&self, request: &UploadRequest) -> Result<(), Trouble> {
        match self.ask(request, DISK_DEADLINE)?.1 {
            UploadAnswer::Done => Ok(()),
            UploadAnswer::Failure { failure } => Err(Trouble::Refused(failure)),
            other => Err(senseless(&other).into()),
        }
    }

    fn ask(
        &self,
        request: &UploadRequest,
        deadline: Duration,
    ) -> io::Result<(BufReader<UnixStream>, UploadAnswer)> {
        let mut stream = BufReader::new(UnixStream::connect(&self.socket)?);
        stream.get_ref().set_write_timeout(Some(DISK_DEADLINE))?;
        stream.get_ref().set_read_timeout(Some(deadline))?;
        let answer = blocking::ask(&mut stream, request, LONGEST_LINE)?;
        Ok((stream, answer))
    }
}

impl Sending {
    /// Sends the next bytes.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), Trouble> {
        let sent = pieces::write(self.0.get_mut(), bytes);
        sent.map_err(|error| self.why(error))
    }

    /// Says that all was sent, and waits until it is durable. The answer is the file's size.
    pub(crate) fn finish(mut self) -> Result<u64, Trouble> {
        let ended = pieces::end(self.0.get_mut());
        ended.map_err(|error| self.why(error))?;
        match blocking::answer(&mut self.0, LONGEST_LINE)? {
            UploadAnswer::Stored { size } => Ok(size),
            UploadAnswer::Failure { failure } => Err(Trouble::Refused(failure)),
            other => Err(senseless(&other).into()),
        }
    }

    /// A daemon that can't go on says why before it closes.
    fn why(&mut self, error: io::Error) -> Trouble {
        match blocking::answer(&mut self.0, LONGEST_LINE) {
            Ok(UploadAnswer::Failure { failure }) => Trouble::Refused(failure),
            _ => Trouble::Away(error),
        }
    }
}

fn senseless(answer: &UploadAnswer) -> io::Error {
    io::Error::other(format!("its answer is senseless: {answer:?}"))
}
