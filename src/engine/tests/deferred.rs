//! An upgrade that may wait: put off, looked at again, installed, given up, replaced.

use std::time::Duration;

use nix::errno::Errno;
use tokio::task::JoinHandle;
use uplift_fixtures::elf::{Architecture, Program};

use super::*;
use crate::disk::faulty::FaultyDisk;
use crate::disk::{Disk, LocalDisk};
use crate::model::{ChannelName, Outcome, Phase, Receipt, Status};
use crate::package::check::tests::signer::Signer;
use crate::seal::Place;

/// A payload whose program is at version 1, with a daemon that can be stopped and started.
struct Payload {
    directory: tempfile::TempDir,
    policy: String,
    package: String,
    daemon: Option<JoinHandle<()>>,
}

impl Payload {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let payload = Self {
            directory,
            policy: String::new(),
            package: "allow_unproven_end = true".into(),
            daemon: None,
        };
        payload.write("boot_id", b"first\n");
        payload.write("program", &program("V01.00.00.00"));
        payload
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        let mut file = std::fs::File::create(self.directory.path().join(name)).unwrap();
        file.write_all(bytes).unwrap();
    }

    fn program(&self) -> Vec<u8> {
        std::fs::read(self.directory.path().join("program")).unwrap()
    }

    fn stage(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.directory.path().join(".uplift")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.starts_with("incoming-")).collect()
    }

    async fn start(&mut self) -> Engine {
        self.start_on(Arc::new(LocalDisk)).await
    }

    /// A restart is a command that brings another boot.
    async fn start_on(&mut self, disk: Arc<dyn Disk>) -> Engine {
        let (root, policy, package) =
            (self.directory.path().display(), &self.policy, &self.package);
        let text = format!(
            "[component.program]\npath = \"{root}/program\"\nproduct = \"P\"\nversion = \"V01.00.00.00\"\n\
             restart = [\"/bin/sh\", \"-c\", \"echo $$ >{root}/boot_id\"]\n\
             [package]\n{package}\n[policy]\n{policy}\n[channel.psdk]\n\
             [channel.loopback]\nsocket = \"{root}/offers\"\nunsealed = \"lab\"\n[trial]\nwindow = \"0s\"\n\
             [paths]\nstate = \"{root}/state\"\nboot_id = \"{root}/boot_id\"\nrescue_timer = \"\"\n"
        );
        let config = Config::parse(&text, Path::new("uplift.toml")).unwrap();
        let (actor, engine) = Actor::open_on(disk, Arc::new(config)).await.unwrap();
        self.daemon = Some(tokio::spawn(actor.run()));
        engine.looked().await;
        engine
    }

    async fn stop(&mut self, engine: Engine) {
        drop(engine);
        self.daemon.take().unwrap().await.unwrap();
    }

    /// With an upgrade that was put off.
    async fn holding(&mut self) -> (Engine, UpgradeId) {
        let engine = self.start().await;
        engine.hold("uid 7".into(), Some("a show".into()), None).await.unwrap();
        let id = send(&engine, waiting(), &program("V02.00.00.00")).await.unwrap();
        (engine, id)
    }
}

fn program(version: &str) -> Vec<u8> {
    let version: Version = version.parse().unwrap();
    Program::new(Architecture::host().unwrap(), version.numbers()).filled_to(10_000).bytes()
}

/// As requests of hawkBit do.
fn waiting() -> Request {
    let link = Request::of_link("0xed".into(), TransferKind::Local);
    Request { waits: true, receipt: Receipt::History, rejoins: false, ..link }
}

/// The file of version 2, with a seal.
fn sealed(signer: &Signer, place: Place) -> Vec<u8> {
    let program = program("V02.00.00.00");
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&program).unwrap();
    let mut manifest = signer.manifest("P_V02.00.00.00.bin".parse().unwrap(), &file).unwrap();
    manifest.place = place;
    let seal = signer.seal(&manifest).unwrap();
    match place {
        Place::Before => [seal, program].concat(),
        Place::Behind => [program, seal].concat(),
    }
}

async fn send(engine: &Engine, request: Request, bytes: &[u8]) -> Result<UpgradeId, Failure> {
    send_named(engine, request, "V02.00.00.00", bytes).await
}

async fn send_as(engine: &Engine, request: Request, version: &str) -> Result<UpgradeId, Failure> {
    send_named(engine, request, version, &program(version)).await
}

async fn send_named(
    engine: &Engine,
    request: Request,
    version: &str,
    bytes: &[u8],
) -> Result<UpgradeId, Failure> {
    let id = engine.begin(request).await?;
    let file_name = format!("P_{version}.bin");
    let announced = Announced::named(file_name, Some(bytes.len() as u64));
    let mut receiving = engine.receive(&id, announced).await?;
    receiving.write(bytes)?;
    engine.check(&id, receiving.finish(None)?).await?;
    engine.start(&id).await?;
    Ok(id)
}

async fn until(engine: &Engine, is_it: impl FnMut(&Status) -> bool) -> Status {
    let mut status = engine.status();
    let patience = Duration::from_secs(60);
    tokio::time::timeout(patience, status.wait_for(is_it)).await.unwrap().unwrap().clone()
}

async fn ends(engine: &Engine, id: &UpgradeId) -> (Outcome, Option<FailureKind>) {
    until(engine, |status| status.last.as_ref().is_some_and(|last| last.id == *id)).await;
    let report = engine.report(id).await.unwrap().unwrap();
    (report.outcome, report.failure.map(|failure| failure.kind))
}

#[tokio::test]
async fn what_waits_is_received_under_a_hold_and_installed_when_it_is_released() {
    let mut payload = Payload::new();
    let (engine, id) = payload.holding().await;
    let status = engine.status_now();
    assert_eq!(status.phase, Phase::Deferred);
    let upgrade = status.upgrade.unwrap();
    assert_eq!(upgrade.deferred_because.as_deref(), Some("upgrades are held by uid 7: a show"));
    assert_eq!(upgrade.package.unwrap().version.to_string(), "V02.00.00.00");
    assert_eq!(payload.program(), program("V01.00.00.00"));
    engine.release("uid 7".into()).await.unwrap();
    assert_eq!(ends(&engine, &id).await, (Outcome::Succeeded, None));
    assert_eq!(payload.program(), program("V02.00.00.00"));
    assert!(payload.stage().is_empty());
    let phases = engine.report(&id).await.unwrap().unwrap().phases;
    assert!(phases.iter().any(|one| one.phase == Phase::Deferred), "{phases:?}");
}

#[tokio::test]
async fn what_waits_outlives_the_daemon_and_is_looked_at_when_the_next_one_starts() {
    let mut payload = Payload::new();
    let (engine, id) = payload.holding().await;
    payload.stop(engine).await;
    let name = payload.stage().pop().unwrap();
    payload.write(".uplift/incoming-0-0", b"of an unfinished reception");
    let engine = payload.start().await;
    assert_eq!(engine.status_now().upgrade.unwrap().id, id);
    assert_eq!((engine.status_now().phase, payload.stage()), (Phase::Deferred, vec![name]));
    payload.stop(engine).await;
    // Released without a daemon, and in another boot.
    std::fs::remove_file(payload.directory.path().join("state/hold.json")).unwrap();
    payload.write("boot_id", b"between\n");
    let engine = payload.start().await;
    assert_eq!(ends(&engine, &id).await, (Outcome::Succeeded, None));
    assert_eq!(payload.program(), program("V02.00.00.00"));
}

#[tokio::test]
async fn without_its_file_it_is_interrupted_and_with_another_one_refused() {
    let mut payload = Payload::new();
    let (engine, id) = payload.holding().await;
    payload.stop(engine).await;
    let name = payload.stage().pop().unwrap();
    std::fs::remove_file(payload.directory.path().join(".uplift").join(&name)).unwrap();
    let engine = payload.start().await;
    assert_eq!(ends(&engine, &id).await, (Outcome::Failed, Some(FailureKind::Interrupted)));
    // Another content of the same size is seen when it is read.
    let id = send(&engine, waiting(), &program("V02.00.00.00")).await.unwrap();
    payload.stop(engine).await;
    let name = format!(".uplift/{}", payload.stage().pop().unwrap());
    payload.write(&name, &program("V03.00.00.00"));
    let engine = payload.start().await;
    assert_eq!(engine.status_now().phase, Phase::Deferred);
    engine.release("uid 7".into()).await.unwrap();
    assert_eq!(ends(&engine, &id).await, (Outcome::Failed, Some(FailureKind::DigestMismatch)));
    assert!(payload.stage().is_empty());
}

/// Keys may be others by the time at which it is installed.
#[tokio::test]
async fn a_file_is_checked_once_more_before_it_is_installed() {
    let signer = Signer::new().unwrap();
    for place in [Place::Before, Place::Behind] {
        let sealed = sealed(&signer, place);
        let mut payload = Payload::new();
        payload.package = signer.trusted_section();
        let engine = payload.start().await;
        engine.hold("uid 7".into(), None, None).await.unwrap();
        let id = send(&engine, waiting(), &sealed).await.unwrap();
        payload.stop(engine).await;
        assert_eq!(payload.stage().len(), 1, "the file as it was received, and no other");
        // The next daemon trusts somebody else.
        payload.package = Signer::new().unwrap().trusted_section();
        let engine = payload.start().await;
        engine.release("uid 7".into()).await.unwrap();
        assert_eq!(ends(&engine, &id).await, (Outcome::Failed, Some(FailureKind::SealInvalid)));
        assert!(payload.stage().is_empty());
        // With the right key it is installed, and nothing of it is left.
        payload.stop(engine).await;
        payload.package = signer.trusted_section();
        let engine = payload.start().await;
        engine.hold("uid 7".into(), None, None).await.unwrap();
        let id = send(&engine, waiting(), &sealed).await.unwrap();
        engine.release("uid 7".into()).await.unwrap();
        assert_eq!(ends(&engine, &id).await, (Outcome::Succeeded, None), "{place:?}");
        assert!(payload.stage().is_empty());
    }
}

#[tokio::test]
async fn who_can_not_wait_takes_the_place_of_what_waits() {
    let mut payload = Payload::new();
    let (engine, deferred) = payload.holding().await;
    // Not before they may begin themselves.
    let person = || Request::of_shell("uid 0".into());
    assert_eq!(engine.begin(person()).await.unwrap_err().kind, FailureKind::NotNow);
    assert_eq!(engine.status_now().phase, Phase::Deferred);
    // Nor does another one that waits.
    let other = Request { requester: "0x2a".into(), ..waiting() };
    assert_eq!(engine.begin(other).await.unwrap_err().kind, FailureKind::Busy);
    let insisting = Request { forced: true, ..person() };
    let id = send(&engine, insisting, &program("V02.00.00.00")).await.unwrap();
    let report = engine.report(&deferred).await.unwrap().unwrap();
    let failure = report.failure.unwrap();
    assert_eq!((report.outcome, failure.kind), (Outcome::Failed, FailureKind::Cancelled));
    assert!(failure.sentence.contains("another one took its place (shell, uid 0)"), "{failure}");
    assert_eq!(ends(&engine, &id).await, (Outcome::Succeeded, None));
    // The way back does not wait either.
    let again =
        send(&engine, Request { forced: false, ..waiting() }, &program("V02.00.00.00")).await;
    let deferred = engine.status_now().last.unwrap().id;
    assert_eq!(again.unwrap_err().kind, FailureKind::SameVersion);
    assert_ne!(deferred, id);
}

/// An upgrade of this request that has come as far as this phase.
async fn reach(engine: &Engine, request: Request, phase: Phase) -> UpgradeId {
    let id = engine.begin(request).await.unwrap();
    if phase != Phase::Preparing {
        let program = program("V02.00.00.00");
        let announced = Announced::named("P_V02.00.00.00.bin", Some(program.len() as u64));
        let mut receiving = engine.receive(&id, announced).await.unwrap();
        if phase == Phase::Ready {
            receiving.write(&program).unwrap();
            engine.check(&id, receiving.finish(None).unwrap()).await.unwrap();
        }
    }
    assert_eq!(engine.status_now().phase, phase);
    id
}

/// I4: who asks while another upgrade is not being installed yet.
#[tokio::test]
async fn a_person_comes_before_the_link_and_both_before_the_network() {
    let person = || Request::of_shell("uid 0".into());
    let link = || Request {
        receipt: Receipt::History,
        ..Request::of_link("0xed".into(), TransferKind::Local)
    };
    let network = |requester: &str| Request {
        channel: ChannelName::LOOPBACK,
        requester: requester.into(),
        transfer: TransferKind::HandOver,
        ..link()
    };
    let (before, received) = ([Phase::Preparing], [Phase::Receiving, Phase::Ready]);
    let all = [before.as_slice(), &received].concat();
    let none: &[Phase] = &[];
    let mut payload = Payload::new();
    let engine = payload.start().await;
    for (holder, asker, makes_room) in [
        (network("one"), person(), &*all),
        (network("one"), link(), &all),
        (link(), person(), &before),
        (network("one"), network("another"), none),
        (Request { waits: true, ..network("one") }, network("another"), none),
        (person(), link(), none),
        (person(), network("one"), none),
        (link(), network("one"), none),
    ] {
        for phase in &all {
            let told = format!("{} {phase} {}", holder.channel, asker.channel);
            let held = reach(&engine, holder.clone(), *phase).await;
            let asked = engine.begin(asker.clone()).await;
            let last = if makes_room.contains(phase) {
                let report = engine.report(&held).await.unwrap().unwrap();
                assert_eq!(report.failure.unwrap().kind, FailureKind::Cancelled, "{told}");
                asked.expect(&told)
            } else {
                assert_eq!(asked.expect_err(&told).kind, FailureKind::Busy, "{told}");
                assert_eq!(engine.status_now().phase, *phase, "{told}");
                held
            };
            engine.cancel(&last, "the test".into()).await.unwrap();
        }
    }
    assert!(payload.stage().is_empty());
}

#[tokio::test]
async fn what_waits_keeps_nobody_from_the_way_back() {
    let mut payload = Payload::new();
    let engine = payload.start().await;
    let id = send(&engine, waiting(), &program("V02.00.00.00")).await.unwrap();
    assert_eq!(ends(&engine, &id).await, (Outcome::Succeeded, None));
    engine.hold("uid 7".into(), None, None).await.unwrap();
    let deferred = send_as(&engine, waiting(), "V03.00.00.00").await.unwrap();
    let back = engine.roll_back(Request::of_shell("uid 0".into()), None).await.unwrap();
    let report = engine.report(&deferred).await.unwrap().unwrap();
    assert_eq!(report.failure.unwrap().kind, FailureKind::Cancelled);
    assert_eq!(ends(&engine, &back).await.0, Outcome::RolledBack);
    assert_eq!(payload.program(), program("V01.00.00.00"));
}

#[tokio::test]
async fn a_hold_that_ends_by_itself_lets_it_go_on() {
    let mut payload = Payload::new();
    let engine = payload.start().await;
    engine.hold("uid 7".into(), None, Some(Duration::from_secs(1))).await.unwrap();
    let id = send(&engine, waiting(), &program("V02.00.00.00")).await.unwrap();
    assert_eq!(ends(&engine, &id).await, (Outcome::Succeeded, None));
    until(&engine, |status| status.policy.hold.is_none()).await;
    assert!(!payload.directory.path().join("state/hold.json").exists());
}

/// A word too many starts nothing that was not checked once more.
#[tokio::test]
async fn what_was_put_off_is_not_started_by_its_channel() {
    let mut payload = Payload::new();
    let (engine, id) = payload.holding().await;
    engine.start(&id).await.unwrap();
    assert_eq!(engine.status_now().phase, Phase::Deferred);
    assert_eq!(payload.program(), program("V01.00.00.00"));
    engine.release("uid 7".into()).await.unwrap();
    assert_eq!(ends(&engine, &id).await, (Outcome::Succeeded, None));
}

/// Nobody would know after a restart that it waits.
#[tokio::test]
async fn what_can_not_be_written_down_is_not_put_off() {
    // The hold, the file, the state that checks it, and then the one that waits.
    let disk = FaultyDisk::sound().and_failing_once("Write", 3, Errno::ENOSPC);
    let mut payload = Payload::new();
    let engine = payload.start_on(Arc::new(disk)).await;
    engine.hold("uid 7".into(), None, None).await.unwrap();
    let failure = send(&engine, waiting(), &program("V02.00.00.00")).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::NoSpace);
    let status = engine.status_now();
    assert_eq!(status.phase, Phase::Idle);
    assert_eq!(status.last.unwrap().failure.unwrap().kind, FailureKind::NoSpace);
    assert!(payload.stage().is_empty());
    payload.stop(engine).await;
    assert_eq!(payload.start().await.status_now().phase, Phase::Idle);
}

#[tokio::test]
async fn it_can_be_cancelled_until_it_is_installed() {
    let mut payload = Payload::new();
    let (engine, id) = payload.holding().await;
    engine.cancel(&id, "the platform".into()).await.unwrap();
    let report = engine.report(&id).await.unwrap().unwrap();
    let failure = report.failure.unwrap();
    assert_eq!(failure.kind, FailureKind::Cancelled);
    assert_eq!(failure.sentence, "cancelled by the platform");
    assert!(payload.stage().is_empty());
    let late = engine.cancel(&id, "the platform".into()).await.unwrap_err();
    assert_eq!(late.kind, FailureKind::Cancelled);
    assert_eq!(engine.status_now().phase, Phase::Idle);
}

#[tokio::test]
async fn it_waits_for_the_payload_and_not_for_ever() {
    let mut payload = Payload::new();
    payload.policy =
        "isolate_commands = \"never\"\nready_deadline = \"20s\"\nlongest_wait = \"1s\"\n\
                      ready_command = [\"/bin/sh\", \"-c\", \"echo flying; exit 1\"]"
            .into();
    let engine = payload.start().await;
    let id = send(&engine, waiting(), &program("V02.00.00.00")).await.unwrap();
    let status = engine.status_now();
    let why = status.upgrade.unwrap().deferred_because.unwrap();
    assert_eq!(why, "the payload is not ready: \"flying\"");
    assert_eq!(ends(&engine, &id).await, (Outcome::Failed, Some(FailureKind::NotNow)));
    let report = engine.report(&id).await.unwrap().unwrap();
    assert!(report.failure.unwrap().sentence.contains("waited as long as it may"));
    assert!(payload.stage().is_empty());
}
