//! The command line's side of the control socket; blocking, one connection a conversation.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use rustix::io::Errno;

use super::{ControlAnswer, ControlRequest, LONGEST_LINE};
use crate::digest::BUFFER_SIZE;

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
    /// It neither takes nor gives a line.
    #[error("the daemon runs, but says nothing")]
    Silent,
    /// The connection failed.
    #[error("the connection to the daemon broke")]
    Io(#[source] io::Error),
    /// What is to be sent can't be read.
    #[error("the file can't be read")]
    File(#[source] io::Error),
    /// The answer is not of this protocol.
    #[error("the daemon's answer is not understood; its version may be another one")]
    Answer(#[from] serde_json::Error),
}

impl From<io::Error> for ClientError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Self::Silent, // its deadline passed
            _ => Self::Io(error),
        }
    }
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

    /// Sends what stands next in such a file, at most `most` bytes and some 256 KiB: how many, 0 at
    /// its end. The kernel passes them on, so that nobody copies them here; what somebody changes in
    /// them meanwhile harms nothing, for the daemon hashes what it receives.
    pub fn send_from(&mut self, file: &File, most: u64) -> Result<usize, ClientError> {
        let most = usize::try_from(most).unwrap_or(BUFFER_SIZE).min(BUFFER_SIZE);
        loop {
            match rustix::fs::sendfile(self.stream.get_ref(), file, None, most) {
                Ok(sent) => return Ok(sent),
                Err(Errno::INTR) => {}
                // Of a file system that can't.
                Err(Errno::INVAL | Errno::NOSYS) => return self.copy_from(file, most),
                // Sockets have no such error.
                Err(error @ Errno::IO) => return Err(ClientError::File(error.into())),
                Err(error) => return Err(io::Error::from(error).into()),
            }
        }
    }

    fn copy_from(&mut self, file: &File, most: usize) -> Result<usize, ClientError> {
        let mut buffer = Vec::with_capacity(most);
        file.take(most as u64).read_to_end(&mut buffer).map_err(ClientError::File)?;
        self.send_bytes(&buffer)?;
        Ok(buffer.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_that_says_nothing_is_told_from_a_connection_that_breaks() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("control.sock");
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let mut client = Client::connect(&path).unwrap();
        let silent = client.answer_within(Duration::from_millis(1)).unwrap_err();
        assert!(matches!(silent, ClientError::Silent), "{silent:?}");
        drop(listener.accept().unwrap());
        let closed = client.answer_within(DEADLINE).unwrap_err();
        assert!(matches!(closed, ClientError::Closed), "{closed:?}");
    }

    #[test]
    fn a_file_is_sent_by_the_kernel_and_by_a_buffer_as_far_as_was_said() {
        use std::io::{Seek as _, Write as _};

        let content: Vec<u8> = (0..3 * BUFFER_SIZE + 7).map(|byte| (byte % 251) as u8).collect();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&content).unwrap();
        let most = content.len() as u64 - 2;
        let by_kernel: fn(&mut Client, &File, u64) -> _ = Client::send_from;
        let by_buffer: fn(&mut Client, &File, u64) -> _ =
            |client, file, left| client.copy_from(file, left.min(BUFFER_SIZE as u64) as usize);
        for send in [by_kernel, by_buffer] {
            let (stream, mut daemon) = UnixStream::pair().unwrap();
            let mut client = Client { stream: BufReader::new(stream) };
            let received = std::thread::spawn(move || {
                let mut received = Vec::new();
                daemon.read_to_end(&mut received).map(|_| received)
            });
            file.rewind().unwrap();
            let mut left = most;
            while left > 0 {
                left -= send(&mut client, &file, left).unwrap() as u64;
            }
            assert_eq!(send(&mut client, &file, 9).unwrap(), 2);
            assert_eq!(send(&mut client, &file, 9).unwrap(), 0);
            drop(client);
            assert!(received.join().unwrap().unwrap() == content);
        }
    }
}
