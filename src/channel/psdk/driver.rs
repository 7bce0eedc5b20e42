//! The driver: glues link, session, engine and transfers together on the runtime's one thread.
//!
//! It performs what the session wants, one operation at a time, and never waits for one: operations
//! run beside the link, and what they bring goes back into the session. It decides nothing.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep_until};

use super::door::{Door, News, Standing};
use super::session::{Effect, Event, Rejection, Session, Told, View};
use super::uploads::{Pull, Uploads, choose, clear};
use super::words::{Asker, Command, FileOffer, Offered};
use crate::config::{self, TransferChoice};
use crate::engine::Engine;
use crate::log::message as message_id;
use crate::model::{
    ChannelName, Failure, FailureKind, LinkState, Md5Digest, Report, Request, Status, UpgradeId,
};
use crate::stage::{Announced, Staged};
use crate::transfer::dcftp::{Handover, Reception};

/// The payload link at work. [`Driver::run`] is its life.
pub struct Driver<D> {
    door: D,
    session: Session,
    engine: Engine,
    status: watch::Receiver<Status>,
    told: Told,
    uploads: Arc<dyn Uploads>,
    /// The one operation that the session waits for; a new one takes the place of one that nobody
    /// waits for any more.
    operation: Option<Operation>,
    file: Option<File>,
    tell_link_status: bool,
    linked: bool,
    /// Whose requests were refused last, and in whose favour.
    stranger: Option<(Asker, Asker)>,
}

/// The file of the upgrade at hand, as far as it is there. Dropped, it leaves nothing behind.
#[derive(Debug)]
enum File {
    /// On its way from the FTP server.
    Pulled(Pull),
    /// On its way over this link.
    Arriving(Reception),
    /// Received over this link.
    Here(Staged),
}

type Operation = Pin<Box<dyn Future<Output = Done> + Send>>;

/// What an operation brings: what the session hears of it, and the file.
struct Done {
    event: Option<Event>,
    file: Option<File>,
}

impl<D> std::fmt::Debug for Driver<D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Driver").field("session", &self.session).finish_non_exhaustive()
    }
}

impl<D: Door> Driver<D> {
    /// The payload link at this door, for the engine; FTP uploads come through `uploads`.
    pub fn new(door: D, config: &config::Link, engine: Engine, uploads: Arc<dyn Uploads>) -> Self {
        let mut status = engine.status();
        let told = Told::new(config);
        let view = View::of(&status.borrow_and_update(), &told);
        let session = Session::new(view, uploads.port(), D::PATIENCE, Instant::now().into_std())
            .answered_ahead(D::ANSWERS_AHEAD);
        Self {
            door,
            session,
            engine,
            status,
            told,
            uploads,
            operation: None,
            file: None,
            tell_link_status: true,
            linked: false,
            stranger: None,
        }
    }

    /// Serves the link until the engine is gone; says `running` once the engine knows how the link is.
    pub async fn run(mut self, running: oneshot::Sender<()>) {
        let mut running = Some(running);
        self.stand();
        while let Some(effects) = self.step().await {
            self.stand();
            self.perform(effects);
            if !self.tell_link_status
                && let Some(running) = running.take()
            {
                let _ = running.send(()); // nobody is there to hear it only if the daemon stops
            }
        }
    }

    /// Tells the door how things stand.
    fn stand(&mut self) {
        let status = self.status.borrow();
        let ours = |report: &&Report| report.request.channel == ChannelName::PSDK;
        self.door.stand(&Standing {
            stage: self.session.stage(),
            version: self.session.version(),
            report: status.last.as_ref().filter(ours),
        });
    }

    /// Waits for the next thing to happen. What is due comes before what has arrived, so that a
    /// busy line delays no push.
    async fn step(&mut self) -> Option<Vec<Effect>> {
        let deadline = self.session.deadline().map(Instant::from_std);
        let link_status = self.tell_link_status.then(|| self.door.status());
        tokio::select! {
            biased;
            () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => Some(self.session.tick(now())),
            () = tell(&self.engine, link_status.clone()), if link_status.is_some() => {
                self.tell_link_status = false;
                Some(Vec::new())
            }
            done = finished(&mut self.operation) => Some(self.finish(done)),
            changed = self.status.changed() => changed.is_ok().then(|| self.look_at_status()),
            written = written(&mut self.file) => {
                self.door.written(written);
                Some(Vec::new())
            }
            news = self.door.next(), if !(D::IN_TURN && self.session.is_at_work()) => Some(match news {
                News::Command(question, command) => {
                    self.tell_stranger(question.asker, &command);
                    self.session.command(question, command, now())
                }
                News::Malformed(question, malformed) => {
                    self.session.malformed(question, malformed, now())
                }
                News::Status => {
                    self.tell_link_status = true;
                    self.look_at_link();
                    Vec::new()
                }
            }),
        }
    }

    fn look_at_link(&mut self) {
        let linked = self.door.status().state == LinkState::Linked;
        if linked && !self.linked && self.door.choice() != TransferChoice::Dcftp {
            self.uploads.wake();
        }
        self.linked = linked;
    }

    fn look_at_status(&mut self) -> Vec<Effect> {
        let view = View::of(&self.status.borrow_and_update(), &self.told);
        self.session.event(Event::Status(view), now())
    }

    /// A result is judged by the status of its time: the engine publishes first and answers then.
    fn finish(&mut self, done: Done) -> Vec<Effect> {
        self.operation = None;
        if done.file.is_some() {
            self.file = done.file;
        }
        let mut effects = self.look_at_status();
        if let Some(event) = done.event {
            effects.extend(self.session.event(event, now()));
        }
        effects
    }

    /// Says once of each stranger in a row why its requests are refused.
    fn tell_stranger(&mut self, asker: Asker, command: &Command) {
        let Some(owner) = self.session.is_disturbed_by(asker, command) else { return };
        if self.stranger.replace((owner, asker)) == Some((owner, asker)) {
            tracing::debug!("refused {command} from {asker}");
            return;
        }
        tracing::warn!(
            MESSAGE_ID = message_id::REFUSED, UPLIFT_KIND = %FailureKind::Busy, UPLIFT_CHANNEL = %ChannelName::PSDK,
            "{command} from {asker} was refused: {owner} has entered the upgrade mode, and only its requests count; hint: where both are one host, \
             set ONLY_WHO_ENTERED in src/channel/psdk/guess.rs to false"
        );
    }

    fn perform(&mut self, effects: Vec<Effect>) {
        let mut effects = VecDeque::from(effects);
        while let Some(effect) = effects.pop_front() {
            match effect {
                Effect::Answer(question, answer) => self.door.answer(question, answer),
                Effect::Push(push) => self.door.push(push),
                Effect::Store(chunk) => effects.extend(self.store(chunk)),
                Effect::Discard => self.file = None,
                operation => self.begin(operation),
            }
        }
    }

    /// Hands a chunk to the disk's thread. Mostly that has room, and the answer goes out at once.
    fn store(&mut self, chunk: Bytes) -> Vec<Effect> {
        let Some(File::Arriving(reception)) = &mut self.file else {
            return self.session.event(Event::Stored(Err(lost())), now());
        };
        match reception.try_take(chunk) {
            Handover::Taken => self.session.event(Event::Stored(Ok(())), now()),
            Handover::Failed(failure) => self.session.event(Event::Stored(Err(failure)), now()),
            Handover::Full(chunk) => {
                if let Some(File::Arriving(reception)) = self.file.take() {
                    self.operation = Some(Box::pin(store_when_there_is_room(reception, chunk)));
                }
                Vec::new()
            }
        }
    }

    fn begin(&mut self, effect: Effect) {
        // Whatever ran is over, and so is the file, unless the new operation goes on with it.
        self.operation = None;
        let file = self.file.take();
        let engine = self.engine.clone();
        self.operation = Some(match effect {
            Effect::Enter { asker } => {
                let (uploads, choice) = (Arc::clone(&self.uploads), self.door.choice());
                let request = Request {
                    resumes: D::RESUMES,
                    caller: self.door.caller(),
                    ..Request::of_link(self.door.name_of(asker), Offered::Dcftp.into())
                };
                Box::pin(enter(engine, uploads, choice, request))
            }
            Effect::Receive(id, offer) => Box::pin(open(engine, id, offer)),
            Effect::FinishReception(md5) => Box::pin(finish_reception(file, md5)),
            Effect::CheckAndStart(id) => {
                Box::pin(check_and_start(engine, id, file, Arc::clone(&self.uploads)))
            }
            Effect::Reject(id, failure) => Box::pin(reject(engine, id, failure)),
            Effect::ReceptionFailed(id, failure) => {
                self.door.reception_failed(&failure);
                Box::pin(reception_failed(engine, id, failure))
            }
            Effect::GiveUp(id, failure) => Box::pin(give_up(engine, id, failure)),
            Effect::Acknowledge => Box::pin(acknowledge(engine)),
            Effect::Answer(..) | Effect::Push(_) | Effect::Store(_) | Effect::Discard => return,
        });
    }
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}

fn lost() -> Failure {
    Failure::new(FailureKind::Internal, "the reception was lost")
}

async fn tell(engine: &Engine, link: Option<crate::model::LinkStatus>) {
    if let Some(link) = link {
        engine.update_link(link).await;
    }
}

async fn finished(operation: &mut Option<Operation>) -> Done {
    match operation {
        Some(operation) => operation.await,
        None => std::future::pending().await,
    }
}

async fn enter(
    engine: Engine,
    uploads: Arc<dyn Uploads>,
    choice: TransferChoice,
    request: Request,
) -> Done {
    let entered = async {
        let offered = choose(choice, &*uploads).await.inspect_err(|failure| {
            // What the engine refuses, it tells itself.
            tracing::warn!(
                MESSAGE_ID = message_id::REFUSED, UPLIFT_KIND = %failure.kind, UPLIFT_CHANNEL = %ChannelName::PSDK,
                "the request of {} was refused: {failure}", request.requester
            );
        })?;
        let request = Request { transfer: offered.into(), ..request };
        let id = engine.begin(request).await?;
        Ok((id, offered))
    };
    let entered: Result<(UpgradeId, Offered), Failure> = entered.await;
    let file = match &entered {
        Ok((id, Offered::Ftp)) => Some(File::Pulled(uploads.pull(id))),
        _ => None,
    };
    Done { event: Some(Event::Entered(entered)), file }
}

async fn open(engine: Engine, id: UpgradeId, offer: FileOffer) -> Done {
    match receive(engine, id, offer).await {
        Ok((reception, there)) => {
            Done { event: Some(Event::Opened(Ok(there))), file: Some(File::Arriving(reception)) }
        }
        Err(failure) => Done { event: Some(Event::Opened(Err(failure))), file: None },
    }
}

/// A reception of the file, behind so many bytes of it.
async fn receive(
    engine: Engine,
    id: UpgradeId,
    offer: FileOffer,
) -> Result<(Reception, u64), Failure> {
    let FileOffer { size, from, name } = offer;
    let announced = Announced { with_md5: true, ..Announced::named(name, Some(u64::from(size))) };
    let mut receiving = engine.receive(&id, announced).await?;
    if from == 0 {
        // The host begins the file; what was there of it may have been of another one.
        receiving = receiving.cut(0)?;
    }
    let there = receiving.received();
    if there < u64::from(from) {
        let sentence =
            format!("{there} bytes of the file are there, and its sender goes on behind {from}");
        return Err(Failure::new(FailureKind::TransferFailed, sentence));
    }
    let reception = Reception::start(receiving).map_err(|error| {
        let sentence = "the thread that writes the file can't be started";
        Failure::from_io(FailureKind::Internal, sentence, error)
    })?;
    Ok((reception, there))
}

/// Resolves when more of the file that comes is written.
async fn written(file: &mut Option<File>) -> u64 {
    match file {
        Some(File::Arriving(reception)) => reception.written().await,
        _ => std::future::pending().await,
    }
}

async fn store_when_there_is_room(mut reception: Reception, chunk: Bytes) -> Done {
    let stored = reception.take(chunk).await;
    Done { event: Some(Event::Stored(stored)), file: Some(File::Arriving(reception)) }
}

async fn finish_reception(file: Option<File>, md5: Md5Digest) -> Done {
    let finished = match file {
        Some(File::Arriving(reception)) => reception.finish(md5).await,
        _ => Err(lost()),
    };
    match finished {
        Ok(staged) => Done { event: Some(Event::Finished(Ok(()))), file: Some(File::Here(staged)) },
        Err(failure) => Done { event: Some(Event::Finished(Err(failure))), file: None },
    }
}

async fn check_and_start(
    engine: Engine,
    id: UpgradeId,
    file: Option<File>,
    uploads: Arc<dyn Uploads>,
) -> Done {
    let is_upload = matches!(file, Some(File::Pulled(_)));
    let decided = match fetch(file).await {
        Err(failure) => Err(Rejection::CheckFailed(failure)),
        Ok(staged) => decide(&engine, &id, staged, is_upload.then_some(&*uploads)).await,
    };
    if let Err(Rejection::CheckFailed(failure) | Rejection::StartFailed(failure)) = &decided {
        // Without effect where the engine has ended the upgrade itself.
        let _ = engine.abandon(&id, failure.clone()).await;
    }
    Done { event: Some(Event::Decided(decided)), file: None }
}

async fn reject(engine: Engine, id: UpgradeId, failure: Failure) -> Done {
    // It fails only where the engine has ended the upgrade itself.
    let _ = engine.abandon(&id, failure.clone()).await;
    let decided = Err(Rejection::CheckFailed(failure));
    Done { event: Some(Event::Decided(decided)), file: None }
}

async fn fetch(file: Option<File>) -> Result<Staged, Failure> {
    match file {
        Some(File::Here(staged)) => Ok(staged),
        Some(File::Pulled(pull)) => pull.complete().await,
        Some(File::Arriving(_)) => Err(lost()),
        // Of an upgrade that the daemon before this one began.
        None => Err(Failure::new(
            FailureKind::Interrupted,
            "the file was lost when the daemon was restarted",
        )),
    }
}

/// A file that is proved is in the stage, and not needed in the upload area any more. It goes
/// before the start: a restart may come at once.
async fn decide(
    engine: &Engine,
    id: &UpgradeId,
    staged: Staged,
    uploads: Option<&dyn Uploads>,
) -> Result<(), Rejection> {
    engine.check(id, staged).await.map_err(Rejection::CheckFailed)?;
    if let Some(uploads) = uploads {
        clear(uploads).await;
    }
    engine.start(id).await.map_err(Rejection::StartFailed)
}

async fn give_up(engine: Engine, id: UpgradeId, failure: Failure) -> Done {
    tracing::warn!(UPLIFT_KIND = %failure.kind, "{failure}");
    // It fails only where there is nothing left to give up; a report may be left even then.
    let _ = engine.give_up(&id, failure).await;
    acknowledge(engine).await
}

async fn reception_failed(engine: Engine, id: UpgradeId, failure: Failure) -> Done {
    // It fails only where the engine has ended the upgrade itself.
    let _ = engine.reception_failed(&id, failure).await;
    Done { event: None, file: None }
}

async fn acknowledge(engine: Engine) -> Done {
    if let Err(failure) = engine.acknowledge(ChannelName::PSDK).await {
        tracing::warn!(UPLIFT_KIND = %failure.kind, "{failure}");
    }
    Done { event: None, file: None }
}
