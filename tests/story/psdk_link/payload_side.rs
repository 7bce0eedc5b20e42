//! The payload's side: the real driver with an engine and an FTP side that do what the test says.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, oneshot, watch};
use uplift::channel::psdk::driver::Driver;
use uplift::channel::psdk::serial::Serial;
use uplift::channel::psdk::uploads::{Pull, Uploads};
use uplift::config::{Baud, Link, TransferChoice};
use uplift::engine::{Command, Engine};
use uplift::model::version::Version;
use uplift::model::*;
use uplift::model::{FileDigest, ProgramDigest};
use uplift::stage::{Announced, Stage, Staged};

use super::aircraft::PATIENCE;

/// What the engine shall do.
#[derive(Debug, Clone, Default)]
pub(crate) struct Script {
    /// The check fails with this.
    pub(crate) check_fails: Option<FailureKind>,
    /// The disk takes no more than this of a file.
    pub(crate) disk_takes: Option<u64>,
    /// The disk stands still at the first byte, until the test ends.
    pub(crate) disk_stalls: bool,
    /// The FTP server does not answer.
    pub(crate) no_ftp: bool,
    /// What the FTP server holds when the host says that the upload is complete.
    pub(crate) upload: Vec<u8>,
    /// A report that the daemon finds when it starts.
    pub(crate) report: Option<Outcome>,
}

pub(crate) struct PayloadSide {
    directory: TempDir,
    pub(crate) status: watch::Receiver<Status>,
    /// The bytes of the file that was checked last.
    pub(crate) checked: Arc<Mutex<Option<Vec<u8>>>>,
    /// What the engine was told, in its own words.
    pub(crate) told: Arc<Mutex<Vec<String>>>,
    /// A disk that stalls goes on when this can be locked.
    pub(crate) stalled: Arc<Mutex<()>>,
    /// How often the FTP server was woken.
    pub(crate) woken: Arc<AtomicUsize>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// A directory with a place for the device.
pub(crate) fn place() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("a directory");
    let device = directory.path().join("ttyUSB0");
    (directory, device)
}

impl PayloadSide {
    pub(crate) fn start(device: &Path, script: Script) -> Self {
        Self::start_with(device, script, Baud::Auto, TransferChoice::Auto)
    }

    pub(crate) fn start_with(
        device: &Path,
        script: Script,
        baud: Baud,
        transfer: TransferChoice,
    ) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let config = Link { device: device.to_owned(), baud, transfer, ..Link::default() };
        let (sender, status) = watch::channel(first_status(&script));
        let (commands, received) = mpsc::channel(16);
        let engine = Engine::new(commands, status.clone());
        let stage = Stage::beside(&directory.path().join("program"), 1 << 30);
        let checked: Arc<Mutex<Option<Vec<u8>>>> = Arc::default();
        let stalled: Arc<Mutex<()>> = Arc::default();
        let told: Arc<Mutex<Vec<String>>> = Arc::default();
        let fake = Fake {
            status: sender,
            stage: stage.clone(),
            script: script.clone(),
            checked: Arc::clone(&checked),
            told: Arc::clone(&told),
            stalled: Arc::clone(&stalled),
        };
        let woken: Arc<AtomicUsize> = Arc::default();
        let uploads = Arc::new(FakeUploads { stage, script, woken: Arc::clone(&woken) });
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            runtime().block_on(async move {
                let driver = Driver::new(Serial::new(&config), &config, engine, uploads);
                tokio::select! {
                    () = driver.run(oneshot::channel().0) => panic!("the driver ended by itself"),
                    () = fake.run(received) => panic!("the engine has no handle left"),
                    _ = stopped => {}
                }
            });
        });
        Self {
            directory,
            status,
            checked,
            told,
            stalled,
            woken,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// Waits until the status is as described.
    pub(crate) fn await_status(
        &mut self,
        what: &str,
        condition: impl FnMut(&Status) -> bool,
    ) -> Status {
        let waited = runtime().block_on(async {
            tokio::time::timeout(PATIENCE, self.status.wait_for(condition))
                .await
                .map(|it| it.map(|it| it.clone()))
        });
        match waited {
            Ok(Ok(status)) => status,
            _ => panic!("never {what}: {:?}", self.status.borrow().link),
        }
    }

    pub(crate) fn await_link(&mut self, state: LinkState) -> LinkStatus {
        self.await_status(&format!("{state:?}"), |status| status.link.state == state).link
    }

    pub(crate) fn was_told(&self, what: &str) -> bool {
        self.told.lock().expect("unpoisoned").iter().any(|told| told == what)
    }

    /// What lies in the staging area.
    pub(crate) fn staged_files(&self) -> usize {
        std::fs::read_dir(self.directory.path().join(".uplift")).map_or(0, |entries| {
            entries
                .filter(|entry| entry.as_ref().is_ok_and(|entry| entry.file_name() != "lock"))
                .count()
        })
    }
}

impl Drop for PayloadSide {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(Err(panicked)) = self.thread.take().map(JoinHandle::join)
            && !std::thread::panicking()
        {
            std::panic::resume_unwind(panicked);
        }
    }
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// An engine that does at once what it is asked, and writes down that it was.
struct Fake {
    status: watch::Sender<Status>,
    stage: Stage,
    script: Script,
    checked: Arc<Mutex<Option<Vec<u8>>>>,
    told: Arc<Mutex<Vec<String>>>,
    /// A disk that stalls goes on when this can be locked.
    stalled: Arc<Mutex<()>>,
}

impl Fake {
    async fn run(self, mut commands: mpsc::Receiver<Command>) {
        while let Some(command) = commands.recv().await {
            self.obey(command);
        }
    }

    fn note(&self, what: String) {
        self.told.lock().expect("unpoisoned").push(what);
    }

    fn obey(&self, command: Command) {
        match command {
            Command::Begin(request, answer) => {
                self.note(format!("begin {} {}", request.requester, request.transfer));
                self.status.send_modify(|status| {
                    status.unacknowledged.clear();
                    status.phase = Phase::Preparing;
                    let progress = Progress::default();
                    status.upgrade = Some(CurrentUpgrade {
                        id: upgrade(),
                        request,
                        component: None,
                        file_name: None,
                        progress,
                        failure: None,
                        package: None,
                        percent: None,
                        doing: None,
                        seconds_left: None,
                        waits_for: None,
                        deferred_because: None,
                    });
                });
                let _ = answer.send(Ok(upgrade()));
            }
            Command::Receive(_, announced, _, answer) => {
                let size = announced.size.unwrap_or_default();
                let name = announced.file_name.as_deref().unwrap_or_default();
                self.note(format!("receive {name} {size}"));
                self.enter(Phase::Receiving);
                let size = self.script.disk_takes.or(announced.size);
                let _ = answer
                    .send(self.stage.receive(Announced { size, ..announced }, self.observer()));
            }
            Command::Check(_, staged, answer) => {
                self.enter(Phase::Checking);
                let result = self.check(&staged);
                let _ = answer.send(result);
            }
            Command::Start(_, answer) => {
                self.note("start".into());
                self.enter(Phase::Installing);
                let _ = answer.send(Ok(()));
                self.status.send_modify(|status| {
                    status.phase = Phase::Restarting;
                    if let Some(upgrade) = &mut status.upgrade {
                        upgrade.seconds_left = Some(60);
                    }
                });
            }
            Command::ReceptionFailed(_, failure, answer) => {
                self.note(format!("reception failed {}", failure.kind));
                self.enter(Phase::Preparing);
                let _ = answer.send(Ok(()));
            }
            Command::Abandon(_, failure, answer) | Command::GiveUp(_, failure, answer) => {
                self.note(format!("abandon {}", failure.kind));
                self.conclude(failure);
                let _ = answer.send(Ok(()));
            }
            Command::Acknowledge(channel, answer) => {
                self.note(format!("acknowledge {channel}"));
                self.status.send_modify(|status| status.unacknowledged.clear());
                let _ = answer.send(Ok(()));
            }
            Command::UpdateChannel(_) => {}
            Command::UpdateLink(link) => self.status.send_modify(|status| status.link = link),
            #[allow(
                unreachable_patterns,
                reason = "an engine that learns more commands does not change this story"
            )]
            _ => {}
        }
    }

    /// Called by the thread that writes, with every chunk.
    fn observer(&self) -> Box<dyn FnMut(u64) + Send> {
        let stalled = Arc::clone(&self.stalled);
        let stalls = self.script.disk_stalls;
        Box::new(move |_| {
            if stalls {
                drop(stalled.lock());
            }
        })
    }

    fn enter(&self, phase: Phase) {
        self.status.send_modify(|status| status.phase = phase);
    }

    fn check(&self, staged: &Staged) -> Result<PackageSummary, Failure> {
        *self.checked.lock().expect("unpoisoned") =
            Some(std::fs::read(staged.path()).expect("the staged file"));
        if let Some(kind) = self.script.check_fails {
            let failure = Failure::new(kind, "the test says so");
            self.conclude(failure.clone());
            return Err(failure);
        }
        let (file_digest, program_digest) = (FileDigest([0; 32]), ProgramDigest([0; 32]));
        let (product, version) = ("P".into(), Version::new([1, 0, 0, 1]).expect("a version"));
        Ok(PackageSummary {
            file_name: staged.file_name.clone().unwrap(),
            product,
            version,
            size: staged.size,
            file_digest,
            program_size: None,
            program_digest,
            trusted_key: None,
        })
    }

    fn conclude(&self, failure: Failure) {
        self.status.send_modify(|status| {
            status.phase = Phase::Concluded;
            status.upgrade = None;
            status.unacknowledged = vec![report(Outcome::Failed, Some(failure))];
        });
    }
}

struct FakeUploads {
    stage: Stage,
    script: Script,
    woken: Arc<AtomicUsize>,
}

impl Uploads for FakeUploads {
    fn port(&self) -> u16 {
        2121
    }

    fn wake(&self) {
        self.woken.fetch_add(1, Ordering::Relaxed);
    }

    fn prepare(&self) -> oneshot::Receiver<Result<(), Failure>> {
        let (answer, answered) = oneshot::channel();
        if !self.script.no_ftp {
            let _ = answer.send(Ok(()));
        }
        answered
    }

    fn pull(&self, _: &UpgradeId) -> Pull {
        let (now, told) = oneshot::channel();
        let (result, staged) = oneshot::channel();
        let (stage, upload) = (self.stage.clone(), self.script.upload.clone());
        std::thread::spawn(move || {
            if told.blocking_recv().is_ok() {
                let announced = Announced::named("P_V01.00.00.01.bin", Some(upload.len() as u64));
                let mut receiving = stage.receive(announced, Box::new(|_| {})).expect("a stage");
                receiving.write(&upload).expect("a disk");
                let _ = result.send(receiving.finish(None));
            }
        });
        Pull { now, staged }
    }
}

fn upgrade() -> UpgradeId {
    UpgradeId("00000000-0000-4000-8000-000000000001".into())
}

fn report(outcome: Outcome, failure: Option<Failure>) -> Report {
    let request = Request::of_link("2A".into(), TransferKind::Dcftp);
    let (began, ended) = (String::new(), String::new());
    Report {
        id: upgrade(),
        request,
        component: None,
        from: None,
        file_name: None,
        package: None,
        outcome,
        failure,
        evidence: None,
        program_log: vec![],
        began,
        ended,
        phases: vec![],
    }
}

fn first_status(script: &Script) -> Status {
    Status {
        schema: SCHEMA,
        phase: Phase::Idle,
        components: vec![Installed {
            component: ComponentName::PROGRAM,
            product: "P".into(),
            path: Some("/program".into()),
            version: Version::new([1, 2, 3, 4]),
            digest: None,
            looking: false,
            known_bad: vec![],
            minimum_version: None,
            brought_by: None,
        }],
        upgrade: None,
        unacknowledged: script.report.map(|outcome| report(outcome, None)).into_iter().collect(),
        policy: Default::default(),
        last: None,
        link: LinkStatus::default(),
        channels: Vec::new(),
        notices: vec![],
    }
}

/// Tries until a condition holds that nobody tells of.
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let began = std::time::Instant::now();
    while !condition() {
        assert!(began.elapsed() < PATIENCE, "never {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}
