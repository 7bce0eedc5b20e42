//! The daemon's side of the control socket.

use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::{ControlAnswer, ControlRequest, LONGEST_LINE};
use crate::engine::Engine;
use crate::model::{Channel, Failure, FailureKind, Report, Request, Status, TransferKind, UpgradeId};
use crate::package::digest::BUFFER_SIZE;
use crate::stage::{Announced, Receiving, Staged};

/// Connections at a time; more wait in the listener's queue.
const MOST_CONNECTIONS: usize = 16;
/// A client that neither asks nor sends for this long is left.
const CLIENT_DEADLINE: Duration = Duration::from_secs(60);
/// Owner and group may ask, nobody else.
const SOCKET_MODE: u32 = 0o660;
/// Shortest time between two status lines: more than a person can see helps nobody.
const STATUS_INTERVAL: Duration = Duration::from_millis(100);

/// Binds the control socket; one that a dead daemon left is removed.
pub(crate) fn bind(path: &Path) -> anyhow::Result<UnixListener> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory).with_context(|| format!("the directory {} can't be made", directory.display()))?;
    }
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        anyhow::bail!("another daemon listens on {}; only one may run", path.display());
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error).context("an old control socket can't be removed"),
        _ => {}
    }
    let listener = UnixListener::bind(path).with_context(|| format!("the control socket {} can't be made", path.display()))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(SOCKET_MODE))?;
    let group = nix::unistd::Group::from_name("uplift").ok().flatten().map(|group| group.gid);
    if group.is_some() {
        // A daemon without the right to give the socket away still serves its own user.
        let _ = nix::unistd::chown(path, None, group);
    }
    Ok(listener)
}

/// Answers clients until the task is dropped.
pub async fn serve(listener: UnixListener, engine: Engine) {
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!("a client of the control socket could not be accepted: {error}");
                // Out of descriptors: the error would come back at once, again and again.
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            }
        };
        let engine = engine.clone();
        tokio::spawn(async move {
            if let Err(error) = converse(stream, &engine).await {
                tracing::debug!("a client of the control socket left: {error:#}");
            }
            drop(place);
        });
    }
}

async fn converse(stream: UnixStream, engine: &Engine) -> anyhow::Result<()> {
    let mut connection = Connection(BufReader::new(stream));
    while let Some(line) = connection.read_line().await? {
        let request = match serde_json::from_slice(&line) {
            Ok(request) => request,
            Err(error) => {
                let failure = Failure::new(FailureKind::Internal, "the request is not one of the control protocol").because(error);
                return connection.send(&ControlAnswer::Failure { failure }).await;
            }
        };
        match request {
            ControlRequest::Status {} => {
                let status = engine.status().borrow().clone();
                connection.send(&ControlAnswer::Status { status }).await?;
            }
            ControlRequest::History {} => {
                let answer = match engine.history().await {
                    Ok(reports) => ControlAnswer::History { reports },
                    Err(failure) => ControlAnswer::Failure { failure },
                };
                connection.send(&answer).await?;
            }
            ControlRequest::Watch {} => return connection.watch(engine).await,
            ControlRequest::Install { file_name, size } => return install(connection, engine, file_name, size).await,
        }
    }
    Ok(())
}

async fn install(mut connection: Connection, engine: &Engine, file_name: String, size: u64) -> anyhow::Result<()> {
    let requester = connection.requester()?;
    let request = Request { channel: Channel::Shell, requester, transfer: TransferKind::Local };
    let id = match engine.begin(request).await {
        Ok(id) => id,
        Err(failure) => return connection.send(&ControlAnswer::Failure { failure }).await,
    };
    let announced = Announced { file_name, size, with_md5: false };
    let (mut connection, staged) = match receive(connection, engine, &id, announced).await {
        Ok(received) => received,
        Err(gone) => {
            // Nobody else would ever end it.
            let failure = Failure::new(FailureKind::TransferFailed, "the client left before the file's end").because(gone);
            return Ok(engine.abandon(&id, failure).await?);
        }
    };
    let verdict = match staged {
        Ok(staged) => match engine.check(&id, staged).await {
            Ok(_) => engine.start(&id).await,
            Err(failure) => Err(failure),
        },
        Err(failure) => {
            // The engine ended it by itself where it refused the file; the first report stands.
            let _ = engine.abandon(&id, failure.clone()).await;
            Err(failure)
        }
    };
    if let Err(failure) = verdict {
        return connection.send(&ControlAnswer::Failure { failure }).await;
    }
    let report = connection.follow(engine, &id).await?;
    connection.send(&ControlAnswer::Report { report }).await
}

/// Tells the client to send, and takes the file. An error is a client that is gone.
async fn receive(
    mut connection: Connection,
    engine: &Engine,
    id: &UpgradeId,
    announced: Announced,
) -> anyhow::Result<(Connection, Result<Staged, Failure>)> {
    let receiving = match engine.receive(id, announced).await {
        Ok(receiving) => receiving,
        Err(failure) => return Ok((connection, Err(failure))),
    };
    connection.send(&ControlAnswer::Send).await?;
    let (stream, staged) = connection.receive(receiving).await?;
    Ok((Connection(BufReader::new(UnixStream::from_std(stream)?)), staged))
}

struct Connection(BufReader<UnixStream>);

impl Connection {
    async fn read_line(&mut self) -> anyhow::Result<Option<Vec<u8>>> {
        let mut line = Vec::new();
        let mut limited = (&mut self.0).take(LONGEST_LINE as u64);
        timeout(CLIENT_DEADLINE, limited.read_until(b'\n', &mut line)).await.context("the client is silent")??;
        if line.is_empty() {
            return Ok(None);
        }
        anyhow::ensure!(line.ends_with(b"\n"), "the client's line is cut off or too long");
        Ok(Some(line))
    }

    async fn send(&mut self, answer: &ControlAnswer) -> anyhow::Result<()> {
        let mut line = serde_json::to_vec(answer)?;
        line.push(b'\n');
        timeout(CLIENT_DEADLINE, self.0.get_mut().write_all(&line)).await.context("the client does not read")??;
        Ok(())
    }

    fn requester(&self) -> anyhow::Result<String> {
        Ok(format!("uid {}", self.0.get_ref().peer_cred()?.uid()))
    }

    async fn watch(mut self, engine: &Engine) -> anyhow::Result<()> {
        let mut watcher = engine.status();
        loop {
            let status = watcher.borrow_and_update().clone();
            self.send(&ControlAnswer::Status { status }).await?;
            tokio::select! {
                changed = watcher.changed() => changed?,
                closed = self.closed() => return closed,
            }
            tokio::time::sleep(STATUS_INTERVAL).await;
        }
    }

    /// Resolves when the client closes, or says something that it should not.
    async fn closed(&mut self) -> anyhow::Result<()> {
        let said = self.0.fill_buf().await?;
        anyhow::ensure!(said.is_empty(), "the client speaks while it should listen");
        Ok(())
    }

    /// Sends each change of the status until the upgrade's report is there.
    async fn follow(&mut self, engine: &Engine, id: &UpgradeId) -> anyhow::Result<Report> {
        let mut watcher = engine.status();
        loop {
            let status: Status = watcher.borrow_and_update().clone();
            if let Some(report) = status.last.as_ref().filter(|report| report.id == *id) {
                return Ok(report.clone());
            }
            self.send(&ControlAnswer::Status { status }).await?;
            watcher.changed().await?;
        }
    }

    /// Takes the file's bytes on the transfer's own thread, and gives the stream back.
    async fn receive(self, receiving: Receiving) -> anyhow::Result<(std::os::unix::net::UnixStream, Result<Staged, Failure>)> {
        anyhow::ensure!(self.0.buffer().is_empty(), "the client sent bytes before it was asked to");
        let stream = self.0.into_inner().into_std()?;
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(CLIENT_DEADLINE))?;
        let (stream, staged) = tokio::task::spawn_blocking(move || {
            let staged = take_bytes(&stream, receiving);
            (stream, staged)
        })
        .await?;
        stream.set_nonblocking(true)?;
        Ok((stream, staged))
    }
}

fn take_bytes(mut stream: &std::os::unix::net::UnixStream, mut receiving: Receiving) -> Result<Staged, Failure> {
    let mut buffer = vec![0; BUFFER_SIZE];
    let mut left = receiving.announced().size;
    while left > 0 {
        let most = usize::try_from(left).map_or(BUFFER_SIZE, |left| left.min(BUFFER_SIZE));
        match stream.read(&mut buffer[..most]) {
            Ok(0) => return Err(Failure::new(FailureKind::TransferFailed, format!("the client left {left} bytes before the file's end"))),
            Ok(n) => {
                receiving.write(&buffer[..n])?;
                left -= n as u64;
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                return Err(Failure::new(FailureKind::Timeout, "the client stopped sending"));
            }
            Err(error) => return Err(Failure::new(FailureKind::TransferFailed, "the client's connection broke").because(error)),
        }
    }
    receiving.finish(None)
}
