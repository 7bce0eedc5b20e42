//! The life of a channel of the network: it polls, tells, fetches, and has the daemon do the next
//! thing. What is to be done the [`Job`] says; how a platform is spoken to, the [`Platform`]; here is
//! when.

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};

use crate::channel::fetch::{Fetch, NotFetched};
use crate::channel::job::{Act, Job, Word};
use crate::channel::offer::{OfferedFile, Telling, What};
use crate::channel::platform::{Here, Link, Platform, Poll, Standing, Taken, Wanted};
use crate::handover::channel_client::{Conversation, Own, Watch};
use crate::handover::client::Trouble as Daemon;
use crate::model::{ChannelStatus, Failure, UpgradeId};
use crate::transfer::http::{Client, Stop, Trouble};
use crate::wire::spread::{self, Chance};

/// How long it waits before it looks for a daemon that is away, or asks it again after a refusal,
/// with as much again by chance.
pub(super) const PAUSE: Duration = Duration::from_millis(500);
/// The same where a download rests, or the daemon does not begin an upgrade now.
pub(super) const REST: Duration = Duration::from_secs(30);
/// How soon a platform is asked again whose answer may have changed.
const SOON: Duration = Duration::from_secs(5);
/// Longest pause before a word is said again that a platform has not taken.
const LONGEST_RETRY: Duration = Duration::from_secs(15 * 60);
/// Longest time that a platform is left alone because it says so.
const LONGEST_REST: Duration = Duration::from_secs(24 * 60 * 60);
/// How long the daemon has to tell of what it was asked to do. It always does; if it ever does not,
/// it is asked again.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

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
    /// Where it says that there is something new.
    news: Option<Arc<Notify>>,
    /// Whether it has said so since it was polled last: also while it was being asked something.
    has_news: bool,
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
    rest: Option<Rest>,
    /// The same after it has done something, of which it will tell.
    done_until: Option<Instant>,
    standing: Option<Standing>,
    /// The same as this daemon was told it, with the errors.
    told_standing: Option<(Standing, u64)>,
    errors: u64,
}

/// A while in which nothing is asked of the daemon again.
struct Rest {
    until: Instant,
    /// The upgrade that waits, and without which nothing does; none for one that did not begin.
    upgrade: Option<UpgradeId>,
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
    News,
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
            job: Job::new(P::WAITS),
            news: platform.news(),
            has_news: false,
            platform: Some(platform),
            call: None,
            next_poll,
            next_tell: now,
            tell_failures: 0,
            said: None,
            ended: None,
            fetch: None,
            rest: None,
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
            // Nobody may wait any more for what it wanted before. A server is asked at its pace.
            self.has_news = self.news.is_some();
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
                Event::News => self.has_news = true,
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
            () = told(self.news.as_deref()) => Event::News,
            () = sleep_until(time) => Event::Time,
        }
    }

    /// When there is something to do, whatever happens.
    fn next_time(&self) -> Instant {
        let now = Instant::now();
        let rest = self.rest.as_ref().map(|rest| rest.until);
        let mut next = rest.into_iter().chain(self.done_until).min();
        if self.call.is_none() {
            let tell = self.news().map(|word| self.when_to_tell(&word.telling, now));
            let poll = if self.has_news { now } else { self.next_poll };
            next = next.into_iter().chain(tell).chain([poll]).min();
        }
        next.unwrap_or_else(|| now + LONGEST_RETRY)
    }

    fn take_own(&mut self, own: Own) {
        let upgrade = own.upgrade.as_ref().map(|upgrade| &upgrade.id);
        if self.fetch.as_ref().is_some_and(|fetch| Some(&fetch.upgrade) != upgrade) {
            self.stop_fetching();
        }
        // What waited for an upgrade that is over must not hold up the next one.
        self.rest.take_if(|rest| rest.upgrade.is_some() && rest.upgrade.as_ref() != upgrade);
        self.done_until = None;
        self.job.own(Some(own));
    }

    fn take_time(&mut self) {
        self.done_until = self.done_until.filter(|until| *until > Instant::now());
        if self.rest.take_if(|rest| rest.until <= Instant::now()).is_some() {
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
        let rests = self.rest.as_ref().is_some_and(|rest| rest.until > now);
        let is_done = self.done_until.is_some_and(|until| until > now);
        let waits = match &act {
            // What the platform says now may be something else.
            Act::Begin(_) => rests || is_done || self.has_news || self.platform.is_none(),
            Act::Start(_) => rests || is_done,
            // Who asks for the file, only the platform can say.
            Act::Fetch(..) => self.platform.is_none(),
            Act::Abandon(..) | Act::Acknowledge => is_done,
        };
        if waits {
            return Ok(());
        }
        match self.perform(act.clone()).await {
            Ok(()) if matches!(act, Act::Fetch(..)) => {}
            Ok(()) => self.done_until = Some(now + PATIENCE),
            Err(Daemon::Refused(failure)) => self.take_refusal(act, failure),
            Err(away) => return Err(away),
        }
        Ok(())
    }

    fn take_refusal(&mut self, act: Act, failure: Failure) {
        tracing::info!("the daemon refused: {failure}");
        let now = Instant::now();
        let until = now + REST.mul_f64(1.0 + fastrand::f64());
        match act {
            Act::Begin(_) => {
                // A platform that can't wait hears it at once, and may ask for something else.
                if P::WAITS {
                    self.rest = Some(Rest { until, upgrade: None });
                }
                self.job.refused(failure);
            }
            Act::Start(upgrade) => self.rest = Some(Rest { until, upgrade: Some(upgrade) }),
            Act::Fetch(..) | Act::Abandon(..) | Act::Acknowledge => {
                self.done_until = Some(now + PATIENCE);
            }
        }
    }

    async fn perform(&mut self, act: Act) -> Result<(), Daemon> {
        let mut engine = Conversation::open(&self.settings.daemon).await?;
        match act {
            Act::Begin(reference) => {
                let requester = P::NAME.to_string();
                engine.begin(P::NAME, requester, P::WAITS, Some(reference)).await.map(drop)
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
        let pieces = self.platform.as_ref().map(P::pieces).unwrap_or_default();
        let most = self.settings.most;
        let upgrade_of = upgrade.clone();
        let fetch = Fetch { upgrade: upgrade_of, file, authorization, most, pieces, ledger };
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
            Err(NotFetched::Rests(failure, least)) => {
                fetch.stage = Stage::Rests;
                self.errors += 1;
                tracing::warn!(UPLIFT_KIND = %failure.kind, "the download rests: {failure}");
                self.standing = Some(Standing::resting(&failure));
                let rest = least.min(LONGEST_REST) + REST.mul_f64(1.0 + fastrand::f64());
                let until = Instant::now() + rest;
                self.rest = Some(Rest { until, upgrade: Some(fetch.upgrade.clone()) });
                self.tell_standing().await
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
        let polls = self.has_news || self.next_poll <= now;
        if self.platform.is_none() || (tell.is_none() && !polls) {
            return Ok(());
        }
        let ask = match tell {
            Some(word) => Ask::Tell(word),
            None => {
                let here = here::<P>(&self.settings.daemon).await?;
                self.has_news = false;
                Ask::Poll(here)
            }
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
                self.standing = Some(Standing::unreached(&trouble));
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
    let is_upgrading = own.busy || own.upgrade.is_some();
    let Own { components, not_now, boot, .. } = own;
    Ok(Here { components, not_now, is_upgrading, boot })
}

/// Until there is something new at the platform; never where it does not speak by itself.
async fn told(news: Option<&Notify>) {
    match news {
        Some(news) => news.notified().await,
        None => std::future::pending().await,
    }
}

/// What a thread has brought; never where there is none. One that died takes this task with it, so
/// that the process ends and is started anew.
pub(super) async fn joined<T>(thread: Option<&mut JoinHandle<T>>) -> T {
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
