//! A runner between a daemon that is written from docs/wire/hand-over.md and a platform that
//! counts.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};

use tokio::net::UnixListener;
use tokio::sync::watch;

use super::*;
use crate::channel::offer::{Action, FirmwareName, Install, Offer};
use crate::config::Http;
use crate::handover::channels::{ChannelAnswer, ChannelRequest, OwnUpgrade};
use crate::model::{AnnouncedDigests, ChannelName, ChannelState, FailureKind, Phase, Progress};
use crate::transfer::http::Authorization;
use crate::wire::lines::Lines;

const LONGEST_LINE: usize = 1 << 16;
const HOUR: Duration = Duration::from_secs(3600);

/// What a platform is asked, and how it answers.
#[derive(Default)]
struct Script {
    log: Mutex<Vec<&'static str>>,
    /// A word on its way waits for this.
    gate: Mutex<Option<mpsc::Receiver<()>>>,
    news: Arc<Notify>,
}

struct Fake<Poll> {
    script: Arc<Script>,
    poll: Poll,
}

impl<Answer> Platform for Fake<Answer>
where
    Answer: FnMut() -> Result<Poll, Trouble> + Send + 'static,
{
    const NAME: ChannelName = ChannelName::HAWKBIT;

    fn news(&self) -> Option<Arc<Notify>> {
        Some(Arc::clone(&self.script.news))
    }

    fn poll(&mut self, _: &Here, _: &Link) -> Result<Poll, Trouble> {
        self.script.note("poll");
        (self.poll)()
    }

    fn tell(&mut self, _: &Telling, _: &Link) -> Result<Taken, Trouble> {
        self.script.note("tell");
        if let Some(gate) = self.script.gate.lock().unwrap().take() {
            gate.recv().unwrap();
        }
        Ok(Taken::Yes)
    }

    fn due(&self, _: &Telling) -> Option<Duration> {
        None
    }

    fn authorization(&self, _: &OfferedFile) -> Option<Authorization> {
        self.script.note("authorization");
        None
    }
}

impl Script {
    fn note(&self, what: &'static str) {
        self.log.lock().unwrap().push(what);
    }

    fn count(&self, what: &str) -> usize {
        self.log.lock().unwrap().iter().filter(|one| **one == what).count()
    }
}

/// A daemon that does what it is asked and tells of nothing but what a test says.
struct FakeDaemon {
    _directory: tempfile::TempDir,
    socket: PathBuf,
    own: watch::Sender<ChannelAnswer>,
    asked: Arc<Mutex<Vec<ChannelRequest>>>,
    /// Whether it hangs up on who wants to begin.
    hangs_up: Arc<AtomicBool>,
}

impl FakeDaemon {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("channels.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let (own, asked) = (watch::Sender::new(own(None, false)), Arc::default());
        let (seen, log) = (own.subscribe(), Arc::clone(&asked));
        let hangs_up = Arc::<AtomicBool>::default();
        let hangs = Arc::clone(&hangs_up);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let lines = Lines::new(stream, LONGEST_LINE);
                let (log, hangs) = (Arc::clone(&log), Arc::clone(&hangs));
                tokio::spawn(converse(lines, seen.clone(), log, hangs));
            }
        });
        Self { _directory: directory, socket, own, asked, hangs_up }
    }

    fn count(&self, is_meant: impl Fn(&ChannelRequest) -> bool) -> usize {
        self.asked.lock().unwrap().iter().filter(|request| is_meant(request)).count()
    }
}

async fn converse(
    mut lines: Lines,
    mut own: watch::Receiver<ChannelAnswer>,
    log: Arc<Mutex<Vec<ChannelRequest>>>,
    hangs_up: Arc<AtomicBool>,
) {
    while let Ok(Some(line)) = lines.wait().await {
        let request: ChannelRequest = serde_json::from_slice(&line).unwrap();
        let answer = match &request {
            ChannelRequest::Watch { .. } => loop {
                let now = own.borrow_and_update().clone();
                if lines.send(&now).await.is_err() || own.changed().await.is_err() {
                    return;
                }
            },
            ChannelRequest::Begin { .. } if hangs_up.load(Ordering::Relaxed) => {
                log.lock().unwrap().push(request);
                return;
            }
            ChannelRequest::Begin { .. } => ChannelAnswer::Begun { upgrade: UpgradeId("u".into()) },
            ChannelRequest::Part { .. }
            | ChannelRequest::Start { .. }
            | ChannelRequest::Abandon { .. } => {
                ChannelAnswer::Failure { failure: Failure::new(FailureKind::Cancelled, "over") }
            }
            _ => ChannelAnswer::Done,
        };
        log.lock().unwrap().push(request);
        if lines.send(&answer).await.is_err() {
            return;
        }
    }
}

fn own(upgrade: Option<OwnUpgrade>, busy: bool) -> ChannelAnswer {
    let (reports, components) = (Vec::new(), Vec::new());
    ChannelAnswer::Own { upgrade, busy, reports, components, not_now: None, boot: String::new() }
}

fn offer() -> Offer {
    let file = OfferedFile {
        name: FirmwareName::Known("P_V01.00.00.00.bin".parse().unwrap()),
        url: "http://127.0.0.1:9/file".into(),
        size: Some(8),
        digests: AnnouncedDigests::default(),
    };
    let action = Action::try_from("1".to_owned()).unwrap();
    Offer { action, files: vec![file], install: Install::Now }
}

fn upgrade(phase: Phase) -> OwnUpgrade {
    let reference = crate::channel::job::reference_of(&offer());
    let (id, progress) = (UpgradeId("u".into()), Progress::default());
    OwnUpgrade { id, phase, reference, progress, failure: None }
}

fn polled(wanted: Wanted, next: Duration) -> Result<Poll, Trouble> {
    let status = Standing { state: ChannelState::Works, sentence: "it polls".into() };
    Ok(Poll { wanted, taken_back: None, next, status })
}

fn start<Answer>(daemon: &FakeDaemon, poll: Answer) -> (Arc<Script>, JoinHandle<()>)
where
    Answer: FnMut() -> Result<Poll, Trouble> + Send + 'static,
{
    let script = Arc::<Script>::default();
    let platform = Fake { script: Arc::clone(&script), poll };
    let (daemon, spread) = (daemon.socket.clone(), Duration::ZERO);
    let settings = Settings { daemon, most: 1 << 20, spread, chance: fastrand::f64 };
    let client = Client::new(&Http::default()).unwrap();
    (script, tokio::spawn(Runner::new(platform, client, settings).run()))
}

/// Until something holds that threads and sockets bring about. No time passes here meanwhile.
async fn until(holds: impl Fn() -> bool) {
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(std::time::Instant::now() < deadline, "it never comes");
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_platform_that_offers_still_what_has_ended_is_asked_at_its_own_pace() {
    let daemon = FakeDaemon::start();
    let (script, _) = start(&daemon, || {
        let failure = Failure::new(FailureKind::NameInvalid, "no such file can be");
        polled(Wanted::InVain(offer().action, failure), HOUR)
    });
    sleep(10 * HOUR).await;
    let (polls, words) = (script.count("poll"), script.count("tell"));
    assert!((10..=12).contains(&polls) && (10..=12).contains(&words), "{polls} {words}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_wants_to_be_left_alone_for_ever_is_asked_after_a_day() {
    let daemon = FakeDaemon::start();
    let ever = Some(Duration::from_secs(u64::MAX));
    let (script, _) = start(&daemon, move || Err(Trouble::Later { status: 503, after: ever }));
    sleep(30 * HOUR).await;
    assert_eq!(script.count("poll"), 2);
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_tells_of_nothing_is_asked_again_and_the_platform_meanwhile() {
    let daemon = FakeDaemon::start();
    let (script, _) = start(&daemon, || polled(Wanted::Offer(offer()), HOUR / 60));
    sleep(HOUR).await;
    let begun = daemon.count(|request| matches!(request, ChannelRequest::Begin { .. }));
    assert!((100..=400).contains(&begun), "{begun}");
    assert!((55..=62).contains(&script.count("poll")), "{}", script.count("poll"));
}

/// What a platform has to say while it is being asked is heard behind that.
#[tokio::test(start_paused = true)]
async fn news_that_come_during_a_poll_are_heard_after_it() {
    let daemon = FakeDaemon::start();
    let (open, gate) = mpsc::channel();
    let (script, _) = start(&daemon, move || {
        let _ = gate.recv();
        polled(Wanted::Nothing, 24 * HOUR)
    });
    until(|| script.count("poll") == 1).await;
    script.news.notify_one();
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    open.send(()).unwrap();
    until(|| script.count("poll") == 2).await;
    open.send(()).unwrap();
    script.news.notify_one();
    until(|| script.count("poll") == 3).await;
}

/// The server's token comes of the platform, which may be at work with something else.
#[tokio::test(start_paused = true)]
async fn a_file_is_fetched_when_the_platform_can_say_by_whom() {
    let daemon = FakeDaemon::start();
    daemon.own.send_replace(own(None, true));
    let (open, gate) = mpsc::channel();
    let (script, _) = start(&daemon, || polled(Wanted::Offer(offer()), HOUR));
    *script.gate.lock().unwrap() = Some(gate);
    until(|| script.count("tell") == 1).await;
    daemon.own.send_replace(own(Some(upgrade(Phase::Receiving)), false));
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    let parts = || daemon.count(|request| matches!(request, ChannelRequest::Part { .. }));
    assert_eq!((script.count("authorization"), parts()), (0, 0));
    open.send(()).unwrap();
    until(|| parts() == 1).await;
    assert_eq!(script.count("authorization"), 1);
}

/// A platform that gives up soon must not see later what it gave up.
#[tokio::test(start_paused = true)]
async fn behind_a_daemon_that_was_away_the_platform_is_asked_before_anything_begins() {
    let daemon = FakeDaemon::start();
    daemon.hangs_up.store(true, Ordering::Relaxed);
    let mut wanted = vec![Wanted::Nothing, Wanted::Offer(offer())];
    let (script, _) =
        start(&daemon, move || polled(wanted.pop().unwrap_or(Wanted::Nothing), 24 * HOUR));
    sleep(HOUR).await;
    let begun = daemon.count(|request| matches!(request, ChannelRequest::Begin { .. }));
    assert_eq!((begun, script.count("poll")), (1, 2));
}

/// The daemon may have ended an upgrade a moment before something is asked of it.
#[tokio::test(start_paused = true)]
async fn a_word_of_an_upgrade_that_is_over_does_not_hold_up_the_next_one() {
    let failure = Some(Failure::new(FailureKind::DigestMismatch, "another file came"));
    let given_up = OwnUpgrade { failure, ..upgrade(Phase::Preparing) };
    for over in [upgrade(Phase::Ready), given_up] {
        let daemon = FakeDaemon::start();
        daemon.own.send_replace(own(Some(over), false));
        let (script, _) = start(&daemon, || polled(Wanted::Offer(offer()), HOUR));
        let is_word = |request: &ChannelRequest| {
            matches!(request, ChannelRequest::Start { .. } | ChannelRequest::Abandon { .. })
        };
        until(|| daemon.count(is_word) == 1).await;
        daemon.own.send_replace(own(None, false));
        let before = Instant::now();
        while daemon.count(|request| matches!(request, ChannelRequest::Begin { .. })) == 0 {
            sleep(Duration::from_millis(10)).await;
        }
        assert!(before.elapsed() < Duration::from_secs(5), "{:?}", before.elapsed());
        assert_eq!((daemon.count(is_word), script.count("poll")), (1, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn a_thread_that_dies_takes_the_channel_with_it() {
    let daemon = FakeDaemon::start();
    let (_, channel) = start(&daemon, || panic!("a mistake"));
    assert!(channel.await.unwrap_err().is_panic());
}
