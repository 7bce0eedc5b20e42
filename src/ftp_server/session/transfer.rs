//! The transfers of a session: what is said before and after, and the right order when a client
//! breaks one off.

use std::io;
use std::net::TcpStream;
use std::time::Duration;

use tokio::time::timeout;

use super::super::command::{PathText, Representation};
use super::super::control::Gone;
use super::super::data::{Completed, Transfer, TransferError, Way, Work};
use super::super::files::Upload;
use super::super::listing::{Style, listing};
use super::super::reply::Reply;
use super::Session;
use crate::wire::places::Standing;

/// How long a finished upload waits for news that its client did not mean it. The two ends of a
/// killed client's connections are microseconds apart when they are sent; what comes later than
/// this is left to the daemon's proofs.
const LAST_WORD: Duration = Duration::from_millis(5);

/// How waiting for something ended.
enum Waited<T> {
    /// It came.
    For(T),
    /// The client said `ABOR` first.
    Aborted,
}

impl Session {
    pub(super) async fn list(&mut self, path: Option<PathText>, style: Style) -> Result<(), Gone> {
        self.restart = 0;
        match self.ask_files(move |files, _| files.list(path.as_ref())).await {
            Ok(entries) => {
                self.transfer(
                    Work::SendText(listing(&entries, style)),
                    "Here comes the listing".into(),
                )
                .await
            }
            Err(refusal) => self.control.reply(&refusal).await,
        }
    }

    pub(super) async fn download(&mut self, path: PathText) -> Result<(), Gone> {
        let offset = std::mem::take(&mut self.restart);
        if self.representation == Some(Representation::Ascii) {
            return self.refuse_text().await;
        }
        let name = path.clone();
        match self.ask_files(move |files, who| files.read(&path, offset, who)).await {
            Ok((file, bytes)) => {
                tracing::info!(peer = %self.peer, file = ?name, "{} downloads {name:?}", self.peer);
                self.transfer(Work::SendFile(file), format!("Here comes the file ({bytes} bytes)"))
                    .await
            }
            Err(refusal) => self.refuse("download a file", &refusal).await,
        }
    }

    pub(super) async fn upload(&mut self, path: PathText) -> Result<(), Gone> {
        let (offset, announced) = (std::mem::take(&mut self.restart), self.announced.take());
        if self.representation == Some(Representation::Ascii) {
            return self.refuse_text().await;
        }
        match self.ask_files(move |files, who| files.upload(&path, announced, offset, who)).await {
            Ok(upload) => {
                tracing::info!(peer = %self.peer, file = ?upload.name(), "{} uploads {:?} {}", self.peer, upload.name(), upload.destination());
                self.transfer(Work::Receive(upload), "Send the file".into()).await
            }
            Err(refusal) => self.refuse("upload a file", &refusal).await,
        }
    }

    /// Firmware is bytes: line ends that change on the way would destroy it, so this is refused
    /// before it happens.
    async fn refuse_text(&mut self) -> Result<(), Gone> {
        self.say(550, "Files go as bytes only: send TYPE I first").await
    }

    /// Performs a transfer over the data port that the client asked for.
    async fn transfer(&mut self, work: Work, greeting: String) -> Result<(), Gone> {
        self.place.stand(Standing::Busy);
        let transferred = self.transfer_in_place(work, greeting).await;
        self.place.stand(Standing::Idle);
        transferred
    }

    async fn transfer_in_place(&mut self, work: Work, greeting: String) -> Result<(), Gone> {
        let Some(way) = self.way.take() else {
            return self.say(425, "Say first where the data goes, with EPSV, PASV or PORT").await;
        };
        let stream = match self.connected(way).await? {
            Waited::For(Ok(stream)) => stream,
            Waited::For(Err(error)) => {
                tracing::warn!(peer = %self.peer, "no data connection with {}: {error}", self.peer);
                return self.say(425, "The data connection did not come").await;
            }
            Waited::Aborted => return self.acknowledge_abort().await,
        };
        let mut transfer =
            match Transfer::start(stream, self.shared.stall_timeout, work, self.place.clone()) {
                Ok(transfer) => transfer,
                Err(error) => {
                    return self.say(425, format!("The data connection broke: {error}")).await;
                }
            };
        self.say(150, greeting).await?;
        let finished = tokio::select! {
            finished = transfer.finished() => Waited::For(finished),
            aborted = self.control.aborted() => {
                aborted?;
                Waited::Aborted
            }
        };
        match finished {
            Waited::For(Ok(Completed::Received(upload))) => self.conclude_upload(upload).await,
            Waited::For(Ok(Completed::Sent)) => self.say(226, "Sent").await,
            Waited::For(Err(error)) => self.refuse_transfer(&error).await,
            Waited::Aborted => {
                transfer.abort();
                // What was received before the word came is dropped with the result.
                drop(transfer.finished().await);
                self.acknowledge_abort().await
            }
        }
    }

    async fn connected(&mut self, way: Way) -> Result<Waited<io::Result<TcpStream>>, Gone> {
        tokio::select! {
            accepted = timeout(self.shared.stall_timeout, way.connect()) => {
                Ok(Waited::For(accepted.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))))
            }
            aborted = self.control.aborted() => aborted.map(|()| Waited::Aborted),
        }
    }

    /// RFC 959, section 4.1.3: first the transfer's own answer, then that of `ABOR`.
    async fn acknowledge_abort(&mut self) -> Result<(), Gone> {
        tracing::info!(peer = %self.peer, "{} aborted its transfer", self.peer);
        self.say(426, "Transfer aborted").await?;
        self.say(226, "Aborted").await
    }

    async fn refuse_transfer(&mut self, error: &TransferError) -> Result<(), Gone> {
        tracing::warn!(peer = %self.peer, "the transfer of {} failed: {error}", self.peer);
        let reply = match error {
            TransferError::Area(error) => error.reply(),
            TransferError::Thread(_) => Reply::new(451, "The server failed at this transfer"),
            other => Reply::new(426, format!("Transfer failed: {other}")),
        };
        self.control.reply(&reply).await
    }

    /// Gives the upload its name and says so; unless the client took it back in the meantime.
    async fn conclude_upload(&mut self, upload: Upload) -> Result<(), Gone> {
        let (name, bytes) = (upload.name().clone(), upload.written());
        match self.word_that_came().await {
            Ok(Waited::For(())) => {}
            Ok(Waited::Aborted) => {
                self.discard(upload).await;
                return self.acknowledge_abort().await;
            }
            Err(gone) => {
                self.discard(upload).await;
                return Err(gone);
            }
        }
        match self.ask_files(move |files, _| files.publish(upload)).await {
            Ok(()) => {
                tracing::info!(peer = %self.peer, file = ?name, bytes, "{} has uploaded {name:?}, {bytes} bytes", self.peer);
                self.say(226, format!("Received {bytes} bytes")).await
            }
            Err(refusal) => self.control.reply(&refusal).await,
        }
    }

    /// Looks for an `ABOR` or the end of the control connection that belongs to the end of the
    /// data.
    ///
    /// A client that is killed, or aborts by closing the data connection, ends the data in the same
    /// way as one that is done; only the control connection tells, and the kernel of a killed
    /// client closes it last.
    async fn word_that_came(&mut self) -> Result<Waited<()>, Gone> {
        match timeout(LAST_WORD, self.control.aborted()).await {
            Ok(aborted) => aborted.map(|()| Waited::Aborted),
            Err(_) => Ok(Waited::For(())),
        }
    }

    /// Removes an upload on a blocking thread: freeing a large file takes its time.
    async fn discard(&self, upload: Upload) {
        let _ = self
            .ask_files(move |_, _| {
                drop(upload);
                Ok(())
            })
            .await;
    }
}
