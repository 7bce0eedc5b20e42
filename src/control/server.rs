//! The daemon's side of the control socket.

use std::io::{self, Read as _};
use std::os::unix::net::UnixStream as StdStream;
use std::time::Duration;

use anyhow::Context as _;
use rustix::buffer::spare_capacity;
use tokio::net::{UnixListener, UnixStream};

use super::{ControlAnswer, ControlRequest, Forgettable};
use crate::engine::Engine;
use crate::model::{ComponentName, Failure, FailureKind, Report, Request, UpgradeId};
use crate::stage::{Announced, Receiving, Staged};
use crate::wire::guests::{self, Conversation, Seats};
use crate::wire::lines::{CLIENT_DEADLINE, Lines};
use crate::wire::places::Place;

/// Longest request: the longest name that Linux takes, each byte as an escape of six, and room for
/// the rest.
const LONGEST_REQUEST: usize = 4096;
/// Shortest time between two status lines: more than a person can see helps nobody.
const STATUS_INTERVAL: Duration = Duration::from_millis(100);

/// No member of the group can keep root out.
const SEATS: Seats = Seats { socket: "control socket", most: 16, kept_for_root: 2 };

/// Answers clients until the task is dropped.
pub async fn serve(listener: UnixListener, engine: Engine) {
    let serve_one = |stream, place| -> Conversation {
        let engine = engine.clone();
        Box::pin(async move { converse(stream, &place, &engine).await })
    };
    guests::serve(listener, SEATS, serve_one).await;
}

async fn converse(stream: UnixStream, place: &Place<u32>, engine: &Engine) -> anyhow::Result<()> {
    let mut connection = Connection(Lines::new(stream, LONGEST_REQUEST));
    loop {
        let Some(line) = connection.0.read().await? else { return Ok(()) };
        let request = match serde_json::from_slice(&line) {
            Ok(request) => request,
            Err(error) => {
                let failure = Failure::new(
                    FailureKind::Internal,
                    "the request is not one of the control protocol",
                )
                .because(error);
                let failure =
                    failure.with_hint("uplift-protocol(7) has the requests of this version");
                return connection.send(&ControlAnswer::Failure { failure }).await;
            }
        };
        match request {
            ControlRequest::Status {} => {
                engine.looked_or_late().await;
                let status = engine.status_with_clock().await;
                connection.send(&ControlAnswer::Status { status }).await?;
            }
            ControlRequest::History {} => connection.send_history(engine).await?,
            ControlRequest::Watch {} => return connection.watch(engine).await,
            ControlRequest::Confirm {} => {
                let answer = match engine.confirm(connection.requester()?).await {
                    Ok(()) => ControlAnswer::Confirmed,
                    Err(failure) => ControlAnswer::Failure { failure },
                };
                connection.send(&answer).await?;
            }
            ControlRequest::Forget { what: Forgettable::MinimumVersion, component } => {
                let forgotten = engine.forget_minimum(connection.requester()?, component).await;
                let answer = match forgotten {
                    Ok(minimum_version) => ControlAnswer::Forgotten { minimum_version },
                    Err(failure) => ControlAnswer::Failure { failure },
                };
                connection.send(&answer).await?;
            }
            ControlRequest::Hold { reason, seconds } => {
                let (by, time) = (connection.requester()?, seconds.map(Duration::from_secs));
                let held = engine.hold(by, reason, time).await;
                let answer = held.map(|hold| ControlAnswer::Held { hold });
                connection.send(&answer.unwrap_or_else(failed)).await?;
            }
            ControlRequest::Release {} => {
                let released = engine.release(connection.requester()?).await;
                let answer = released.map(|hold| ControlAnswer::Released { hold });
                connection.send(&answer.unwrap_or_else(failed)).await?;
            }
            ControlRequest::Rollback { component } => {
                guests::stay(place)?;
                return roll_back(connection, engine, component).await;
            }
            ControlRequest::Install { file_name, size, force } => {
                guests::stay(place)?;
                return install(connection, engine, Announced::named(file_name, Some(size)), force)
                    .await;
            }
        }
    }
}

fn failed(failure: Failure) -> ControlAnswer {
    ControlAnswer::Failure { failure }
}

/// Whatever happens to the client, the upgrade that it began is started or over when this returns.
async fn install(
    mut connection: Connection,
    engine: &Engine,
    announced: Announced,
    forced: bool,
) -> anyhow::Result<()> {
    let request = Request { forced, ..connection.request()? };
    let id = match engine.begin(request).await {
        Ok(id) => id,
        Err(failure) => return connection.send(&ControlAnswer::Failure { failure }).await,
    };
    match start(&mut connection, engine, &id, announced).await {
        Ok(()) => {
            let report = connection.follow(engine, &id).await?;
            connection.send(&ControlAnswer::Report { report }).await
        }
        Err(failure) => {
            // Without effect where the engine has ended the upgrade itself; its report says so.
            let _ = engine.abandon(&id, failure.clone()).await;
            connection.send(&ControlAnswer::Failure { failure }).await
        }
    }
}

/// Whatever happens to the client, the way back goes on.
async fn roll_back(
    mut connection: Connection,
    engine: &Engine,
    component: Option<ComponentName>,
) -> anyhow::Result<()> {
    let answer = match engine.roll_back(connection.request()?, component).await {
        Ok(id) => ControlAnswer::Report { report: connection.follow(engine, &id).await? },
        Err(failure) => ControlAnswer::Failure { failure },
    };
    connection.send(&answer).await
}

async fn start(
    connection: &mut Connection,
    engine: &Engine,
    id: &UpgradeId,
    announced: Announced,
) -> Result<(), Failure> {
    let size = announced.size.unwrap_or_default();
    let receiving = engine.receive(id, announced).await?;
    let broken = |error: anyhow::Error| {
        Failure::new(FailureKind::TransferFailed, "the client's connection broke").because(error)
    };
    connection.send(&ControlAnswer::Send).await.map_err(broken)?;
    let staged = connection.receive(receiving, size).await?;
    engine.check(id, staged).await?;
    engine.start(id).await
}

struct Connection(Lines);

impl Connection {
    async fn send(&mut self, answer: &ControlAnswer) -> anyhow::Result<()> {
        self.0.send(answer).await
    }

    /// The answer to `history`, of which there is never more than one report here: a client may
    /// read slowly, or never.
    async fn send_history(&mut self, engine: &Engine) -> anyhow::Result<()> {
        let mut piece = br#"{"answer":"history","reports":["#.to_vec();
        let mut before = None;
        while let Some(entry) = engine.entry_after(before.clone()).await? {
            if before.is_some() {
                piece.push(b',');
            }
            serde_json::to_writer(&mut piece, &entry)?;
            self.0.write(&piece).await?;
            piece.clear();
            before = Some(entry.key().into_owned());
        }
        piece.extend_from_slice(b"]}\n");
        self.0.write(&piece).await
    }

    fn request(&self) -> anyhow::Result<Request> {
        Ok(Request::of_shell(self.requester()?))
    }

    fn requester(&self) -> anyhow::Result<String> {
        Ok(format!("uid {}", self.0.uid()?))
    }

    async fn watch(mut self, engine: &Engine) -> anyhow::Result<()> {
        engine.looked_or_late().await;
        let mut watcher = engine.status();
        loop {
            watcher.mark_unchanged();
            self.send(&ControlAnswer::Status { status: engine.status_now() }).await?;
            tokio::select! {
                changed = watcher.changed() => changed?,
                closed = self.0.closed() => return closed,
            }
            tokio::time::sleep(STATUS_INTERVAL).await;
        }
    }

    /// Sends each change of the status until the upgrade's report is there.
    async fn follow(&mut self, engine: &Engine, id: &UpgradeId) -> anyhow::Result<Report> {
        let mut watcher = engine.status();
        loop {
            watcher.mark_unchanged();
            let status = engine.status_now();
            if status.upgrade.as_ref().is_none_or(|upgrade| upgrade.id != *id) {
                // The history, not the last report: a client that reads slowly may come late to its
                // own.
                return engine.report(id).await?.context("the upgrade ended without a report");
            }
            self.send(&ControlAnswer::Status { status }).await?;
            watcher.changed().await?;
        }
    }

    /// Takes the file's bytes on the transfer's own thread.
    async fn receive(&mut self, receiving: Receiving, size: u64) -> Result<Staged, Failure> {
        let take = move |stream: &StdStream| take_bytes(stream, receiving, size);
        let taken = self.0.on_thread(CLIENT_DEADLINE, take).await;
        taken.unwrap_or_else(|error| {
            let sentence = "the client's bytes can't be taken";
            Err(Failure::new(FailureKind::TransferFailed, sentence).because(error))
        })
    }
}

fn take_bytes(stream: &StdStream, mut receiving: Receiving, size: u64) -> Result<Staged, Failure> {
    let mut left = size;
    while left > 0 {
        match receiving.write_by(|buffer, room| append(stream, buffer, room as u64, left))? {
            0 => {
                return Err(Failure::new(
                    FailureKind::TransferFailed,
                    format!("the client left {left} bytes before the file's end"),
                ));
            }
            n => left -= n as u64,
        }
    }
    receiving.finish(None)
}

/// Appends what comes next, of the `left` bytes that are to come, to a buffer that has this room.
fn append(
    stream: &StdStream,
    buffer: &mut Vec<u8>,
    room: u64,
    left: u64,
) -> Result<usize, Failure> {
    loop {
        let read = if left < room {
            stream.take(left).read_to_end(buffer)
        } else {
            rustix::io::read(stream, spare_capacity(buffer)).map_err(io::Error::from)
        };
        match read {
            Ok(n) => return Ok(n),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(Failure::new(FailureKind::Timeout, "the client stopped sending"));
            }
            Err(error) => {
                return Err(Failure::new(
                    FailureKind::TransferFailed,
                    "the client's connection broke",
                )
                .because(error));
            }
        }
    }
}
