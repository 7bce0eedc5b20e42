//! The bridge: the payload's own application keeps the link, and passes the callbacks of the
//! vendor's library on (docs/wire/bridge.md).
//!
//! One application has the link at a time, the last one that said HELLO. What it says are the words
//! of the link; that a callback has neither sender nor number is known here alone.

mod guests;
pub mod wire;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::net::UnixListener;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot, watch};

use super::door::{Door, News, Standing};
use super::words::{
    Answer, Asker, Command, DataResult, Offered, Question, Stage, StatusPush, Ticket,
};
use crate::config::{self, TransferChoice};
use crate::model::version::Version;
use crate::model::{Failure, LinkState, LinkStatus, Report, UpgradeId};
use crate::transfer::dcftp::Place;
use crate::trial::application::{Application, Farewell};
use guests::{Guest, Heard};
use wire::{Said, Told, Word};

/// What is heard and not yet dealt with: the window of a sender is less.
const WAITING: usize = 16;

/// The bridge's door.
#[derive(Debug)]
pub struct Bridge {
    path: PathBuf,
    /// Which transfer suits here, and the port for FTP.
    transfer: Offered,
    ftp_port: u16,
    heard: mpsc::Receiver<Heard>,
    farewells: (mpsc::Sender<Farewell>, mpsc::Receiver<Farewell>),
    applications: watch::Sender<Option<Application>>,
    client: Option<Client>,
    stage: Stage,
    version: Option<Version>,
    report: Option<(UpgradeId, Told)>,
    file: Incoming,
    /// An application went, or another one came.
    is_news: bool,
}

/// The application that has the link.
#[derive(Debug)]
struct Client {
    guest: Guest,
    name: String,
    /// The transfer that its library was told.
    told: Option<Offered>,
    core_up: bool,
    aircraft_seen: bool,
    /// Who waits for it to get ready for a restart.
    parting: Option<oneshot::Sender<()>>,
}

/// The file that comes, as far as the application hears of it.
#[derive(Debug, Default)]
struct Incoming {
    written: u32,
    /// Why it failed, as long as that is not told.
    failure: Option<String>,
    failure_told: bool,
}

/// What an answer that several words have is an answer to.
mod ticket {
    pub(super) const START: u8 = 1;
    pub(super) const FINISH: u8 = 2;
    pub(super) const OTHER: u8 = 0;
}

impl Bridge {
    /// The door at a socket, and the task that serves it. `applications` hears who is connected.
    pub fn open(
        listener: UnixListener,
        path: PathBuf,
        config: &config::Link,
        ftp_port: u16,
        applications: watch::Sender<Option<Application>>,
    ) -> (Self, impl Future<Output = ()> + Send + use<>) {
        let (door, heard) = mpsc::channel(WAITING);
        let transfer = match config.transfer {
            TransferChoice::Ftp => Offered::Ftp,
            TransferChoice::Auto | TransferChoice::Dcftp => Offered::Dcftp,
        };
        let bridge = Self {
            path,
            transfer,
            ftp_port,
            heard,
            farewells: mpsc::channel(1),
            applications,
            client: None,
            stage: Stage::Nothing,
            version: None,
            report: None,
            file: Incoming::default(),
            is_news: false,
        };
        (bridge, guests::serve(listener, door))
    }

    fn tell(&mut self, number: u8, told: &Told) {
        let Some(client) = &self.client else { return };
        match client.guest.outbox.try_send(told.encode(number)) {
            // It does not read. It may come again.
            Err(TrySendError::Full(_)) => self.leave(),
            // It is gone, and what it said before that is carried out first.
            Err(TrySendError::Closed(_)) | Ok(()) => {}
        }
    }

    fn leave(&mut self) {
        if self.client.take().is_some() {
            tracing::info!("the payload's application has left the bridge");
            self.applications.send_replace(None);
            self.is_news = true;
        }
    }

    fn welcome(&mut self, number: u8, guest: Guest, name: String) {
        let text = "another application has taken the link over".to_owned();
        self.tell(0, &Told::Gone(text));
        let (pid, uid) = (guest.peer.pid, guest.peer.uid);
        tracing::info!("{name} has the payload link over the bridge (process {pid}, uid {uid})");
        self.client = Some(Client {
            guest,
            name,
            told: None,
            core_up: false,
            aircraft_seen: false,
            parting: None,
        });
        self.is_news = true;
        self.publish();
        let (stage, version) = (self.stage, self.version);
        let (transfer, ftp_port) = (self.transfer, self.ftp_port);
        self.tell(number, &Told::Welcome { stage, version, transfer, ftp_port });
        self.tell_report();
    }

    fn tell_report(&mut self) {
        if let Some((_, report)) = self.report.clone() {
            self.tell(0, &report);
        }
    }

    /// Says who is connected.
    fn publish(&self) {
        let application = self.client.as_ref().map(|client| Application {
            peer: Arc::clone(&client.guest.peer),
            core_up: client.core_up,
            aircraft_seen: client.aircraft_seen,
            farewells: self.farewells.0.clone(),
        });
        self.applications.send_replace(application);
    }

    fn hear(&mut self, heard: Heard) -> Option<News> {
        match heard {
            Heard::Hello(number, guest, name) => {
                self.welcome(number, guest, name);
                None
            }
            Heard::Said(peer, said) => {
                let client = self.client.as_ref()?;
                Arc::ptr_eq(&client.guest.peer, &peer).then(|| self.take(said)).flatten()
            }
        }
    }

    fn take(&mut self, said: Said) -> Option<News> {
        let Said { number, word } = said;
        let client = self.client.as_mut()?;
        let (kind, command) = match word {
            Word::Hello { .. } => {
                self.leave(); // it comes once
                return None;
            }
            Word::State { core_up, aircraft_seen } => {
                (client.core_up, client.aircraft_seen) = (core_up, aircraft_seen);
                self.publish();
                return None;
            }
            Word::Ready => {
                client.parting = None;
                return None;
            }
            Word::Enter(transfer) => {
                client.told = Some(transfer);
                (ticket::OTHER, Command::Enter)
            }
            Word::Start(offer) => {
                self.file = Incoming::default();
                (ticket::START, Command::DcftpStart(offer))
            }
            Word::Data { offset, data } => {
                (ticket::OTHER, Command::DcftpData { place: Place::Offset(offset), data })
            }
            Word::Finish(md5) => (ticket::FINISH, Command::DcftpFinish(md5)),
            Word::Check => (ticket::OTHER, Command::Check),
            Word::End => (ticket::OTHER, Command::Finish),
        };
        let ticket = Ticket([number, kind, 0, 0, 0, 0, 0, 0]);
        Some(News::Command(Question { asker: Asker::APPLICATION, ticket }, command))
    }

    fn part(&mut self, farewell: Farewell) {
        let wait = u16::try_from(farewell.wait.as_millis()).unwrap_or(u16::MAX);
        self.tell(0, &Told::Restarting(wait));
        if let Some(client) = &mut self.client {
            client.parting = Some(farewell.done);
        }
    }

    /// A reception failed; said once, with the best reason that is known by then.
    fn fail(&mut self, why: String, is_better: bool) {
        if !self.file.failure_told && (is_better || self.file.failure.is_none()) {
            self.file.failure = Some(why);
        }
    }
}

impl Door for Bridge {
    /// Its thread does nothing else meanwhile, so the application does not wait, either.
    const PATIENCE: Duration = Duration::from_millis(150);
    const ANSWERS_AHEAD: bool = true;
    const IN_TURN: bool = true;
    const RESUMES: bool = true;

    async fn next(&mut self) -> News {
        // By now the best reason is known.
        if let Some(failure) = self.file.failure.take() {
            self.file.failure_told = true;
            self.tell(0, &Told::Failed(failure));
        }
        loop {
            if std::mem::take(&mut self.is_news) {
                return News::Status;
            }
            let outbox = self.client.as_ref().map(|client| client.guest.outbox.clone());
            let news = tokio::select! {
                biased;
                Some(heard) = self.heard.recv() => self.hear(heard),
                Some(farewell) = self.farewells.1.recv() => {
                    self.part(farewell);
                    None
                }
                () = closed(outbox) => {
                    self.leave();
                    None
                }
            };
            if let Some(news) = news {
                return news;
            }
        }
    }

    fn status(&self) -> LinkStatus {
        let (state, notice) = match &self.client {
            Some(_) => (LinkState::Linked, None),
            None => (LinkState::Waiting, Some("the payload's application is not connected".into())),
        };
        let device = self.path.display().to_string();
        LinkStatus { device, state, baud: None, aircraft_type: None, notice }
    }

    fn choice(&self) -> TransferChoice {
        match self.client.as_ref().and_then(|client| client.told).unwrap_or(self.transfer) {
            Offered::Ftp => TransferChoice::Ftp,
            Offered::Dcftp => TransferChoice::Dcftp,
        }
    }

    fn name_of(&self, _asker: Asker) -> String {
        "bridge".into()
    }

    fn caller(&self) -> Option<String> {
        let Client { guest, name, .. } = self.client.as_ref()?;
        Some(format!("{name}, process {}, uid {}", guest.peer.pid, guest.peer.uid))
    }

    fn answer(&mut self, question: Question, answer: Answer) {
        let Ticket([number, kind, ..]) = question.ticket;
        let told = match answer {
            Answer::Entered(_) => Told::Entered(Some(super::guess::ENTER_WAIT_SECONDS)),
            Answer::EnterRefused => Told::Entered(None),
            Answer::DcftpStarted(there) => {
                self.file.written = offset(there);
                Told::Started(Some(self.file.written))
            }
            Answer::DcftpData(taken) => match taken.result {
                DataResult::Taken => return,
                DataResult::NotTaken => Told::Written(self.file.written),
                DataResult::Failed => {
                    return self.fail("the file takes no more bytes".into(), false);
                }
            },
            Answer::NothingReceived => {
                return self.fail("no file is being received".into(), false);
            }
            Answer::Done => Told::Finished(true),
            Answer::Refused if kind == ticket::START => Told::Started(None),
            Answer::Refused if kind == ticket::FINISH => Told::Finished(false),
            Answer::Check(answer) => Told::Checked(answer),
            // Answered by the library.
            Answer::Refused | Answer::FtpPort(_) | Answer::Version(_) | Answer::ServiceInfo => {
                return;
            }
        };
        self.tell(number, &told);
    }

    fn push(&mut self, push: StatusPush) {
        self.tell(0, &Told::Push(push));
    }

    fn stand(&mut self, standing: &Standing<'_>) {
        self.stage = standing.stage;
        if standing.version != self.version {
            self.version = standing.version;
            if let Some(version) = standing.version {
                self.tell(0, &Told::Version(version));
            }
        }
        if standing.report.map(|report| &report.id) != self.report.as_ref().map(|(id, _)| id) {
            self.report = standing.report.map(|report| (report.id.clone(), told(report)));
            self.tell_report();
        }
    }

    fn written(&mut self, offset: u64) {
        self.file.written = self::offset(offset);
        self.tell(0, &Told::Written(self.file.written));
    }

    fn reception_failed(&mut self, failure: &Failure) {
        self.fail(failure.to_string(), true);
    }
}

/// Resolves when the application has gone.
async fn closed(outbox: Option<mpsc::Sender<Bytes>>) {
    match outbox {
        Some(outbox) => outbox.closed().await,
        None => std::future::pending().await,
    }
}

/// The link announces no file of more bytes.
fn offset(bytes: u64) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

fn told(report: &Report) -> Told {
    let wanted = report.package.as_ref().map(|package| package.version);
    let text = match (&report.failure, wanted) {
        (Some(failure), _) => failure.to_string(),
        (None, Some(version)) => format!("{version} runs"),
        (None, None) => String::new(),
    };
    Told::Report { outcome: report.outcome, before: report.from, wanted, text }
}
