//! A conversation over a local socket: one JSON object a line, in both directions, and bytes where
//! both sides know of them. Knows nothing of what is said.

use std::io;
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
    /// Away while a thread has it, and for good when that died.
    stream: Option<BufReader<UnixStream>>,
    longest: usize,
    /// As much of the next line as has come.
    line: Vec<u8>,
}

impl Lines {
    /// A conversation whose client's lines have at most so many bytes.
    pub(crate) fn new(stream: UnixStream, longest: usize) -> Self {
        Self { stream: Some(BufReader::new(stream)), longest, line: Vec::new() }
    }

    fn stream(&mut self) -> io::Result<&mut BufReader<UnixStream>> {
        self.stream.as_mut().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// The client's next line; nothing where it has closed.
    pub(crate) async fn read(&mut self) -> anyhow::Result<Option<Vec<u8>>> {
        timeout(CLIENT_DEADLINE, self.wait()).await.context("the client is silent")?
    }

    /// The other side's next line, however long that takes; nothing where it has closed. Dropped
    /// and called again, it loses nothing.
    pub(crate) async fn wait(&mut self) -> anyhow::Result<Option<Vec<u8>>> {
        let left = self.longest.saturating_sub(self.line.len());
        let stream = self.stream.as_mut().context("the connection is gone")?;
        let mut limited = stream.take(left as u64);
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
        timeout(CLIENT_DEADLINE, self.stream()?.get_mut().write_all(bytes))
            .await
            .context("the client does not read")??;
        Ok(())
    }

    /// Resolves when the client closes, or says something that it should not.
    pub(crate) async fn closed(&mut self) -> anyhow::Result<()> {
        let said = self.stream()?.fill_buf().await?;
        anyhow::ensure!(said.is_empty(), "the client speaks while it should listen");
        Ok(())
    }

    /// The client's user.
    pub(crate) fn uid(&self) -> io::Result<u32> {
        let stream = self.stream.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        Ok(stream.get_ref().peer_cred()?.uid())
    }

    /// Takes the client's bytes on a thread of their own, where each read has a deadline.
    pub(crate) async fn on_thread<T: Send + 'static>(
        &mut self,
        deadline: Duration,
        take: impl FnOnce(&StdStream) -> T + Send + 'static,
    ) -> io::Result<T> {
        if !self.stream()?.buffer().is_empty() {
            return Err(io::Error::other("the client sent bytes before it was asked to"));
        }
        let stream = self.stream.take().ok_or(io::ErrorKind::NotConnected)?;
        // Out of the runtime, which would be woken for each piece that comes.
        let stream = stream.into_inner().into_std()?;
        let taken = tokio::task::spawn_blocking(move || {
            stream.set_nonblocking(false)?;
            stream.set_read_timeout(Some(deadline))?;
            let taken = take(&stream);
            stream.set_nonblocking(true)?;
            io::Result::Ok((stream, taken))
        });
        let (stream, taken) = taken.await.map_err(io::Error::other)??;
        self.stream = Some(BufReader::new(UnixStream::from_std(stream)?));
        Ok(taken)
    }
}
