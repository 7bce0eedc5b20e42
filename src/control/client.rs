//! The command line's side of the control socket; blocking, one connection a conversation.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::{ControlAnswer, ControlRequest, LONGEST_LINE};

/// Longest wait for the daemon to take or give a line that it owes at once.
const DEADLINE: Duration = Duration::from_secs(30);

/// A connection to the daemon.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<UnixStream>,
}

/// Why a conversation with the daemon failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error("the daemon does not run: {seen} {path}")]
    NoDaemon {
        /// The control socket.
        path: std::path::PathBuf,
        /// What was seen there.
        seen: &'static str,
    },
    /// The caller may not ask.
    #[error("you may not use the daemon's socket {path}")]
    NotAllowed {
        /// The control socket.
        path: std::path::PathBuf,
    },
    /// The conversation broke.
    #[error("the daemon closed the connection")]
    Closed,
    /// The connection failed.
    #[error("the connection to the daemon broke")]
    Io(#[from] io::Error),
    /// The answer is not of this protocol.
    #[error("the daemon's answer is not understood; its version may be another one")]
    Answer(#[from] serde_json::Error),
}

impl Client {
    /// Connects to the control socket.
    pub fn connect(path: &Path) -> Result<Self, ClientError> {
        let stream = UnixStream::connect(path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => {
                ClientError::NoDaemon { path: path.to_owned(), seen: "there is no socket" }
            }
            io::ErrorKind::ConnectionRefused => {
                ClientError::NoDaemon { path: path.to_owned(), seen: "nobody answers on" }
            }
            io::ErrorKind::PermissionDenied => ClientError::NotAllowed { path: path.to_owned() },
            _ => ClientError::Io(source),
        })?;
        stream.set_write_timeout(Some(DEADLINE))?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// Sends a request.
    pub fn ask(&mut self, request: &ControlRequest) -> Result<(), ClientError> {
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        Ok(self.stream.get_mut().write_all(&line)?)
    }

    /// Waits for the next answer; without a deadline, because a watcher may wait for hours.
    pub fn answer(&mut self) -> Result<ControlAnswer, ClientError> {
        let mut line = Vec::new();
        (&mut self.stream).take(LONGEST_LINE as u64).read_until(b'\n', &mut line)?;
        if line.is_empty() { Err(ClientError::Closed) } else { Ok(serde_json::from_slice(&line)?) }
    }

    /// [`Client::answer`], but a daemon that says nothing for so long is an error.
    pub fn answer_within(&mut self, deadline: Duration) -> Result<ControlAnswer, ClientError> {
        self.stream.get_ref().set_read_timeout(Some(deadline))?;
        let answer = self.answer();
        self.stream.get_ref().set_read_timeout(None)?;
        answer
    }

    /// Sends no more, and waits until the daemon has given up what it was sent for: it may be asked for
    /// the next thing then.
    pub fn leave(mut self) {
        // A daemon that is gone has given it up too.
        let _ = self.stream.get_ref().shutdown(std::net::Shutdown::Write);
        while let Ok(ControlAnswer::Status { .. } | ControlAnswer::Send) =
            self.answer_within(DEADLINE)
        {}
    }

    /// Sends bytes of a file that is to be installed.
    pub fn send_bytes(&mut self, bytes: &[u8]) -> Result<(), ClientError> {
        Ok(self.stream.get_mut().write_all(bytes)?)
    }
}
