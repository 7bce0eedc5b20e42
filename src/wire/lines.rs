//! A conversation over a local socket: one JSON object a line, in both directions, and bytes where
//! both sides know of them. Knows nothing of what is said.

use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream as StdStream;
use std::time::Duration;

use anyhow::Context as _;
use serde::Serialize;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::time::timeout;

/// A client that neither asks nor sends nor reads for this long is left.
pub(crate) const CLIENT_DEADLINE: Duration = Duration::from_secs(60);

/// One side of it; the other one is called the client.
pub(crate) struct Lines {
    stream: BufReader<UnixStream>,
    longest: usize,
    /// As much of the next line as has come.
    line: Vec<u8>,
}

impl Lines {
    /// A conversation whose client's lines have at most so many bytes.
    pub(crate) fn new(stream: UnixStream, longest: usize) -> Self {
        Self { stream: BufReader::new(stream), longest, line: Vec::new() }
    }

    /// The client's next line; nothing where it has closed.
    pub(crate) async fn read(&mut self) -> anyhow::Result<Option<Vec<u8>>> {
        timeout(CLIENT_DEADLINE, self.wait()).await.context("the client is silent")?
    }

    /// The other side's next line, however long that takes; nothing where it has closed. Dropped
    /// and called again, it loses nothing.
    pub(crate) async fn wait(&mut self) -> anyhow::Result<Option<Vec<u8>>> {
        let left = self.longest.saturating_sub(self.line.len());
        let mut limited = (&mut self.stream).take(left as u64);
        limited.read_until(b'\n', &mut self.line).await?;
        let line = std::mem::take(&mut self.line);
        if line.is_empty() {
            return Ok(None);
        }
        anyhow::ensure!(line.ends_with(b"\n"), "a line is cut off or too long");
        Ok(Some(line))
    }

    /// Says a line.
    pub(crate) async fn send(&mut self, answer: &impl Serialize) -> anyhow::Result<()> {
        let mut line = serde_json::to_vec(answer)?;
        line.push(b'\n');
        self.write(&line).await
    }

    /// Says bytes.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        timeout(CLIENT_DEADLINE, self.stream.get_mut().write_all(bytes))
            .await
            .context("the client does not read")??;
        Ok(())
    }

    /// Resolves when the client closes, or says something that it should not.
    pub(crate) async fn closed(&mut self) -> anyhow::Result<()> {
        let said = self.stream.fill_buf().await?;
        anyhow::ensure!(said.is_empty(), "the client speaks while it should listen");
        Ok(())
    }

    /// The client's user.
    pub(crate) fn uid(&self) -> io::Result<u32> {
        Ok(self.stream.get_ref().peer_cred()?.uid())
    }

    /// Takes the client's bytes on a thread of their own, where each read has a deadline.
    pub(crate) async fn on_thread<T: Send + 'static>(
        &mut self,
        deadline: Duration,
        take: impl FnOnce(&StdStream) -> T + Send + 'static,
    ) -> io::Result<T> {
        if !self.stream.buffer().is_empty() {
            return Err(io::Error::other("the client sent bytes before it was asked to"));
        }
        let stream = StdStream::from(self.stream.get_ref().as_fd().try_clone_to_owned()?);
        let taken = tokio::task::spawn_blocking(move || {
            stream.set_nonblocking(false)?;
            stream.set_read_timeout(Some(deadline))?;
            let taken = take(&stream);
            // The runtime has the other descriptor of the same socket, and must never block on it.
            stream.set_nonblocking(true)?;
            Ok(taken)
        });
        taken.await.unwrap_or_else(|died| Err(io::Error::other(died)))
    }
}
