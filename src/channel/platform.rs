//! The life of a channel whose platform is asked over the network: it polls, tells, fetches, and has
//! the daemon do the next thing. What is to be done the [`Job`] says; how a platform is spoken to,
//! the [`Platform`]; here is when.

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};

use crate::channel::fetch::{Fetch, Ledger, NotFetched};
use crate::channel::job::{Act, Job, Word};
use crate::channel::offer::{Action, Offer, OfferedFile, Telling, What};
use crate::channel::spread::{self, Chance};
use crate::handover::channel_client::{Conversation, Own, Watch};
use crate::handover::channels::OwnComponent;
use crate::handover::client::Trouble as Daemon;
use crate::model::{ChannelName, ChannelState, ChannelStatus, Failure, UpgradeId};
use crate::transfer::http::{Authorization, Client, Stop, Trouble};

/// How long it waits before it looks for a daemon that is away, or asks it again after a refusal,
/// with as much again by chance.
const PAUSE: Duration = Duration::from_millis(500);
/// The same where a download rests, or the daemon does not begin an upgrade now.
const REST: Duration = Duration::from_secs(30);
/// How soon a platform is asked again whose answer may have changed.
const SOON: Duration = Duration::from_secs(5);
/// Longest pause before a word is said again that a platform has not taken.
const LONGEST_RETRY: Duration = Duration::from_secs(15 * 60);
/// Longest time that a platform is left alone because it says so.
const LONGEST_REST: Duration = Duration::from_secs(24 * 60 * 60);
/// How long the daemon has to tell of what it was asked to do. It always does; if it ever does not,
/// it is asked again.
const PATIENCE: Duration = Duration::from_secs(10);

/// When a word is due that is not said at all: it is looked at again after a day.
pub(crate) const NEVER: Duration = Duration::from_secs(24 * 60 * 60);

/// A platform of the network, as it is spoken to. It blocks.
pub(crate) trait Platform: Send + 'static {
    /// The channel.
    const NAME: ChannelName;

    /// What it wants now.
    fn poll(&mut self, here: &Here, link: &Link) -> Result<Poll, Trouble>;

    /// Tells it something.
    fn tell(&mut self, telling: &Telling, link: &Link) -> Result<Taken, Trouble>;

    /// How long a word waits that is not the last one of its request.
    fn due(&self, telling: &Telling) -> Option<Duration>;

    /// Who asks for a file at this URL.
    fn authorization(&self, file: &OfferedFile) -> Option<Authorization>;

    /// Who counts how often this file comes, where its server counts too.
    fn ledger(&self, _file: &OfferedFile) -> Option<Box<dyn Ledger>> {
        None
    }
}

/// How it stands here.
#[derive(Debug, Clone)]
pub(crate) struct Here {
    /// What may be replaced.
    pub(crate) components: Vec<OwnComponent>,
    /// Why no upgrade may begin now, a sentence.
    pub(crate) not_now: Option<String>,
    /// The kernel's name of this boot, which this process may not read.
    pub(crate) boot: String,
}

/// How servers are reached.
#[derive(Clone)]
pub(crate) struct Link {
    /// The client of them all.
    pub(crate) client: Client,
    /// Ends what is being asked.
    pub(crate) stop: Stop,
}

/// What a platform wants.
#[derive(Debug)]
pub(crate) struct Poll {
    /// That.
    pub(crate) wanted: Wanted,
    /// A request that it takes back.
    pub(crate) taken_back: Option<Action>,
    /// When it wants to be asked again.
    pub(crate) next: Duration,
    /// What a person should know of it.
    pub(crate) status: Standing,
}

/// What a platform asks for.
#[derive(Debug)]
pub(crate) enum Wanted {
    /// This.
    Offer(Offer),
    /// Something that can't be done.
    InVain(Action, Failure),
    /// Nothing.
    Nothing,
    /// It did not say.
    Unsaid,
}

/// How a channel stands with its platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Standing {
    /// How.
    pub(crate) state: ChannelState,
    /// The same as a sentence.
    pub(crate) sentence: String,
}

/// What became of a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    /// The platform has it, or is finished with the request.
    Yes,
    /// It can't take it now; a minimum for the pause, where it says one.
    Later(Option<Duration>),
}

/// How a channel is run.
pub(crate) struct Settings {
    /// The daemon's socket.
    pub(crate) daemon: PathBuf,
    /// The largest file in bytes that may come.
    pub(crate) most: u64,
    /// Over how long the polls of many devices are spread that start, or whose server comes back.
    pub(crate) spread: Duration,
    /// What spreads them.
    pub(crate) chance: Chance,
}

/// A channel at work. [`Runner::run`] is its life.
pub(crate) struct Runner<P> {
    settings: Settings,
    link: Link,
    job: Job,
    /// The platform, while nothing is asked of it.
    platform: Option<P>,
    call: Option<JoinHandle<(P, Called)>>,
    next_poll: Instant,
    next_tell: Instant,
    tell_failures: u32,
    /// The last word that was taken and is not final.
    said: Option<Telling>,
    /// The last one that is final.
    ended: Option<Telling>,
    fetch: Option<Fetching>,
    /// When the daemon may be asked again that did not do something.
    rests_until: Option<Instant>,
    /// The same after it has done something, of which it will tell.
    done_until: Option<Instant>,
    standing: Option<Standing>,
    /// The same as this daemon was told it, with the errors.
    told_standing: Option<(Standing, u64)>,
    errors: u64,
}

/// A file on its way.
struct Fetching {
    upgrade: UpgradeId,
    stop: Stop,
    stage: Stage,
}

/// How far a file is.
enum Stage {
    /// It comes.
    Comes(JoinHandle<Result<(), NotFetched>>),
    /// It rests before the next try.
    Rests,
    /// The server does not have it, or not for us. Before it is given up the platform is asked
    /// whether it still wants it: it may be gone because its request was taken back.
    Gone(Failure),
    /// The daemon has it, or wants it no more, and will say so.
    Over,
}

/// A call.
enum Ask {
    Poll(Here),
    Tell(Word),
}

/// What came of a call.
enum Called {
    Polled(Result<Poll, Trouble>),
    Told(Word, Result<Taken, Trouble>),
}

/// What happened.
enum Event<P> {
    Own(Result<Own, Daemon>),
    Called(P, Called),
    Fetched(Result<(), NotFetched>),
    Time,
}

impl<P: Platform> Runner<P> {
    /// A channel to this platform.
    pub(crate) fn new(platform: P, client: Client, settings: Settings) -> Self {
        let now = Instant::now();
        // Devices that start together, after a power cut or an upgrade, do not ask together.
        let next_poll = now + spread::part(settings.spread, (settings.chance)());
        Self {
            settings,
            link: Link { client, stop: Stop::default() },
            job: Job::default(),
            platform: Some(platform),
            call: None,
            next_poll,
            next_tell: now,
            tell_failures: 0,
            said: None,
            ended: None,
            fetch: None,
            rests_until: None,
            done_until: None,
            standing: None,
            told_standing: None,
            errors: 0,
        }
    }

    /// Serves until the task is dropped.
    pub(crate) async fn run(mut self) {
        loop {
            if let Err(trouble) = self.follow().await {
                tracing::info!("the daemon is waited for: {trouble}");
            }
            self.job.own(None);
            sleep(PAUSE.mul_f64(1.0 + fastrand::f64())).await;
        }
    }

    /// Follows the daemon until it is away.
    async fn follow(&mut self) -> Result<(), Daemon> {
        let mut watch = Watch::open(&self.settings.daemon, P::NAME).await?;
        // One that was started anew may want a file again.
        if self.fetch.as_ref().is_some_and(|fetch| matches!(fetch.stage, Stage::Over)) {
            self.stop_fetching();
        }
        self.take_own(watch.next().await?);
        self.told_standing = None;
        self.tell_standing().await?;
        loop {
            self.act().await?;
            self.call().await?;
            match self.wait(&mut watch).await {
                Event::Own(own) => self.take_own(own?),
                Event::Called(platform, called) => {
                    self.platform = Some(platform);
                    let was_polled = matches!(called, Called::Polled(Ok(_)));
                    self.take_called(called);
                    self.tell_standing().await?;
                    if was_polled {
                        self.give_up_what_is_gone().await?;
                    }
                }
                Event::Fetched(ended) => self.take_fetched(ended).await?,
                Event::Time => self.take_time(),
            }
        }
    }

    async fn wait(&mut self, watch: &mut Watch) -> Event<P> {
        let time = self.next_time();
        let fetching = self.fetch.as_mut().and_then(|fetch| match &mut fetch.stage {
            Stage::Comes(thread) => Some(thread),
            Stage::Rests | Stage::Gone(_) | Stage::Over => None,
        });
        tokio::select! {
            own = watch.next() => Event::Own(own),
            called = joined(self.call.as_mut()) => {
                self.call = None;
                let (platform, called) = called;
                Event::Called(platform, called)
            }
            fetched = joined(fetching) => Event::Fetched(fetched),
            () = sleep_until(time) => Event::Time,
        }
    }

    /// When there is something to do, whatever happens.
    fn next_time(&self) -> Instant {
        let now = Instant::now();
        let mut next = self.rests_until.into_iter().chain(self.done_until).min();
        if self.call.is_none() {
            let tell = self.news().map(|word| self.when_to_tell(&word.telling, now));
            next = next.into_iter().chain(tell).chain([self.next_poll]).min();
        }
        next.unwrap_or_else(|| now + LONGEST_RETRY)
    }

    fn take_own(&mut self, own: Own) {
        let upgrade = own.upgrade.as_ref().map(|upgrade| &upgrade.id);
        if self.fetch.as_ref().is_some_and(|fetch| Some(&fetch.upgrade) != upgrade) {
            self.stop_fetching();
        }
        self.done_until = None;
        self.job.own(Some(own));
    }

    fn take_time(&mut self) {
        self.done_until = self.done_until.filter(|until| *until > Instant::now());
        if self.rests_until.is_some_and(|until| until <= Instant::now()) {
            self.rests_until = None;
            self.job.try_again();
            if self.fetch.as_ref().is_some_and(|fetch| matches!(fetch.stage, Stage::Rests)) {
                self.stop_fetching();
            }
        }
    }

    fn stop_fetching(&mut self) {
        if let Some(fetch) = self.fetch.take() {
            fetch.stop.set();
        }
        self.job.fetching(None);
    }

    /// Has the daemon do the next thing.
    async fn act(&mut self) -> Result<(), Daemon> {
        let Some(act) = self.job.wants().act else { return Ok(()) };
        let now = Instant::now();
        let rests = self.rests_until.is_some_and(|until| until > now);
        let is_done = self.done_until.is_some_and(|until| until > now);
        let begins = matches!(act, Act::Begin(_));
        let waits = match act {
            Act::Begin(_) | Act::Start(_) => rests || is_done,
            // Who asks for the file, only the platform can say.
            Act::Fetch(..) => self.platform.is_none(),
            Act::Abandon(..) | Act::Acknowledge => is_done,
        };
        if waits {
            return Ok(());
        }
        let fetches = matches!(act, Act::Fetch(..));
        match self.perform(act).await {
            Ok(()) if fetches => Ok(()),
            Ok(()) => {
                self.done_until = Some(now + PATIENCE);
                Ok(())
            }
            Err(Daemon::Refused(failure)) => {
                tracing::info!("the daemon refused: {failure}");
                self.rests_until = Some(now + REST.mul_f64(1.0 + fastrand::f64()));
                if begins {
                    self.job.refused(failure);
                }
                Ok(())
            }
            Err(away) => Err(away),
        }
    }

    async fn perform(&mut self, act: Act) -> Result<(), Daemon> {
        let mut engine = Conversation::open(&self.settings.daemon).await?;
        match act {
            Act::Begin(reference) => {
                let requester = P::NAME.to_string();
                engine.begin(P::NAME, requester, true, Some(reference)).await.map(drop)
            }
            Act::Fetch(upgrade, file) => {
                self.start_fetching(upgrade, *file);
                Ok(())
            }
            Act::Start(upgrade) => engine.start(upgrade).await,
            Act::Abandon(upgrade, failure) => {
                self.stop_fetching();
                engine.abandon(upgrade, failure).await
            }
            Act::Acknowledge => engine.acknowledge(P::NAME).await,
        }
    }

    fn start_fetching(&mut self, upgrade: UpgradeId, file: OfferedFile) {
        let authorization = self.platform.as_ref().and_then(|one| one.authorization(&file));
        let ledger = self.platform.as_ref().and_then(|one| one.ledger(&file));
        let most = self.settings.most;
        let fetch = Fetch { upgrade: upgrade.clone(), file, authorization, most, ledger };
        let (client, daemon) = (self.link.client.clone(), self.settings.daemon.clone());
        let stop = Stop::default();
        let stopped = stop.clone();
        let thread = tokio::task::spawn_blocking(move || fetch.run(&client, &daemon, &stopped));
        self.job.fetching(Some(upgrade.clone()));
        self.fetch = Some(Fetching { upgrade, stop, stage: Stage::Comes(thread) });
    }

    async fn take_fetched(&mut self, ended: Result<(), NotFetched>) -> Result<(), Daemon> {
        let Some(fetch) = &mut self.fetch else { return Ok(()) };
        fetch.stage = Stage::Over;
        match ended {
            Ok(()) | Err(NotFetched::Stopped) => Ok(()),
            Err(NotFetched::Away(error)) => {
                self.stop_fetching();
                Err(error.into())
            }
            Err(NotFetched::Rests(failure)) => {
                fetch.stage = Stage::Rests;
                self.errors += 1;
                tracing::warn!(UPLIFT_KIND = %failure.kind, "the download rests: {failure}");
                self.rests_until = Some(Instant::now() + REST.mul_f64(1.0 + fastrand::f64()));
                Ok(())
            }
            Err(NotFetched::Gone(failure)) => {
                fetch.stage = Stage::Gone(failure);
                self.next_poll = self.next_poll.min(Instant::now() + SOON);
                Ok(())
            }
            Err(NotFetched::Never(failure)) => {
                let upgrade = fetch.upgrade.clone();
                self.give_up(upgrade, failure).await
            }
        }
    }

    /// The platform was asked, and still wants what it does not have.
    async fn give_up_what_is_gone(&mut self) -> Result<(), Daemon> {
        let fetch = self.fetch.as_ref().map(|fetch| (&fetch.upgrade, &fetch.stage));
        let Some((upgrade, Stage::Gone(failure))) = fetch else { return Ok(()) };
        // It may be given up for another reason.
        if matches!(self.job.wants().act, Some(Act::Abandon(..))) {
            return Ok(());
        }
        let (upgrade, failure) = (upgrade.clone(), failure.clone());
        self.give_up(upgrade, failure).await
    }

    async fn give_up(&mut self, upgrade: UpgradeId, failure: Failure) -> Result<(), Daemon> {
        let given_up = self.perform(Act::Abandon(upgrade, failure)).await;
        // Refused, it is over already.
        given_up.or_else(|trouble| match trouble {
            Daemon::Refused(_) => Ok(()),
            away @ Daemon::Away(_) => Err(away),
        })
    }

    /// Asks or tells the platform, where it is time.
    async fn call(&mut self) -> Result<(), Daemon> {
        let now = Instant::now();
        let tell = self.news().filter(|word| self.when_to_tell(&word.telling, now) <= now);
        let polls = self.next_poll <= now;
        if self.platform.is_none() || (tell.is_none() && !polls) {
            return Ok(());
        }
        let ask = match tell {
            Some(word) => Ask::Tell(word),
            None => Ask::Poll(here::<P>(&self.settings.daemon).await?),
        };
        let Some(mut platform) = self.platform.take() else { return Ok(()) };
        let link = self.link.clone();
        self.call = Some(tokio::task::spawn_blocking(move || {
            let called = match ask {
                Ask::Tell(word) => {
                    let taken = platform.tell(&word.telling, &link);
                    Called::Told(word, taken)
                }
                Ask::Poll(here) => Called::Polled(platform.poll(&here, &link)),
            };
            (platform, called)
        }));
        Ok(())
    }

    /// What the platform should know, and was not told last.
    fn news(&self) -> Option<Word> {
        self.job.wants().tell.filter(|word| self.said.as_ref() != Some(&word.telling))
    }

    /// When a word may be said.
    fn when_to_tell(&self, telling: &Telling, now: Instant) -> Instant {
        let due = self.platform.as_ref().and_then(|platform| platform.due(telling));
        let paced = due.map(|due| now + due);
        paced.map_or(self.next_tell, |paced| paced.max(self.next_tell))
    }

    fn take_called(&mut self, called: Called) {
        match called {
            Called::Polled(Ok(poll)) => self.take_poll(poll),
            Called::Polled(Err(trouble)) => {
                self.errors += 1;
                self.standing = Some(Standing {
                    state: ChannelState::Waits,
                    sentence: format!("its server does not answer: {trouble}"),
                });
                self.next_poll =
                    Instant::now() + self.again(self.settings.spread, trouble.retry_after());
            }
            Called::Told(word, Ok(Taken::Yes)) => self.take_taken(word),
            Called::Told(_, Ok(Taken::Later(least))) => self.tell_later(least, spread::LEAST),
            Called::Told(_, Err(trouble)) => {
                self.errors += 1;
                tracing::info!("its server was not told: {trouble}");
                self.tell_later(trouble.retry_after(), self.settings.spread);
            }
        }
    }

    fn take_taken(&mut self, word: Word) {
        self.tell_failures = 0;
        self.job.told(&word);
        let Word { telling, .. } = word;
        if telling.what.is_final() {
            // Its answer may change what it wants. One that was told the same before, and offers
            // the same still, has its own pace.
            if self.ended.as_ref() != Some(&telling) {
                self.next_poll = self.next_poll.min(Instant::now() + SOON);
            }
            (self.said, self.ended) = (None, Some(telling));
        } else {
            // Each time that it takes something back it waits for the answer.
            self.said = Some(telling).filter(|telling| telling.what != What::TooLate);
        }
    }

    fn take_poll(&mut self, poll: Poll) {
        let Poll { wanted, taken_back, next, status } = poll;
        match wanted {
            Wanted::Offer(offer) => self.job.offered(offer),
            Wanted::InVain(action, failure) => self.job.offered_in_vain(action, failure),
            Wanted::Nothing => self.job.offered_nothing(),
            Wanted::Unsaid => {}
        }
        if let Some(action) = taken_back {
            self.job.taken_back(action);
        }
        self.next_poll = Instant::now() + next;
        self.standing = Some(status);
    }

    fn tell_later(&mut self, least: Option<Duration>, first: Duration) {
        // What was not taken several times is hardly taken soon.
        let first = first.max(spread::LEAST);
        let slower = first.saturating_mul(1 << self.tell_failures.min(16));
        let spread = slower.min(LONGEST_RETRY).max(first);
        self.tell_failures += 1;
        self.next_tell = Instant::now() + self.again(spread, least);
    }

    fn again(&self, spread: Duration, least: Option<Duration>) -> Duration {
        let least = least.map(|least| least.min(LONGEST_REST));
        spread::again(spread, least, (self.settings.chance)())
    }

    /// The daemon hears how the channel stands, when that has changed.
    async fn tell_standing(&mut self) -> Result<(), Daemon> {
        let Some(standing) = self.standing.clone() else { return Ok(()) };
        let (name, errors) = (P::NAME, self.errors);
        if self.told_standing.as_ref() == Some(&(standing.clone(), errors)) {
            return Ok(());
        }
        self.told_standing = Some((standing.clone(), errors));
        let Standing { state, sentence } = standing;
        let status = ChannelStatus { name, state, sentence, errors, unsealed: false };
        Conversation::open(&self.settings.daemon).await?.tell(status).await
    }
}

/// How it stands here, asked anew: whether an upgrade may begin changes with the time of day.
async fn here<P: Platform>(daemon: &Path) -> Result<Here, Daemon> {
    let own = Watch::open(daemon, P::NAME).await?.next().await?;
    Ok(Here { components: own.components, not_now: own.not_now, boot: own.boot })
}

/// What a thread has brought; never where there is none. One that died takes this task with it, so
/// that the process ends and is started anew.
async fn joined<T>(thread: Option<&mut JoinHandle<T>>) -> T {
    let Some(thread) = thread else { return std::future::pending().await };
    match thread.await {
        Ok(brought) => brought,
        Err(died) => match died.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime stops, and this task with it.
            Err(_) => std::future::pending().await,
        },
    }
}
