//! What the engine says of a host that fails or falls silent, seen by who watches and by who reads
//! the journal.

mod deferred;

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::config::Config;
use crate::log::said::Said;
use crate::model::{Phase, TransferKind};

async fn engine(directory: &Path) -> Engine {
    let root = directory.display();
    // A boot id of its own: where the directory is in memory, the restart of this machine is not
    // the one that is meant.
    std::fs::File::create(directory.join("boot_id"))
        .and_then(|mut file| file.write_all(b"first\n"))
        .unwrap();
    let more = "[component.camera]\nname = \"camera\"\nproduct = \"C\"\n";
    let text = format!(
        "{more}[component.program]\npath = \"{root}/program\"\nproduct = \"P\"\nrestart = \"reboot\"\nversion_command = []\n[channel.psdk]\n[paths]\nstate = \"{root}/state\"\nboot_id = \"{root}/boot_id\"\n"
    );
    let config = Config::parse(&text, Path::new("uplift.toml")).unwrap();
    let (actor, engine) = Actor::open(Arc::new(config)).await.unwrap();
    tokio::spawn(actor.run());
    engine.looked().await;
    engine
}

async fn receiving(engine: &Engine) -> UpgradeId {
    let request = Request::of_link("0x2a".into(), TransferKind::Dcftp);
    let id = engine.begin(request).await.unwrap();
    let announced =
        || Announced { with_md5: true, ..Announced::named("P_V02.00.00.00.bin", Some(4)) };
    engine.receive(&id, announced()).await.unwrap();
    id
}

#[tokio::test]
async fn a_host_that_fell_silent_is_not_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let (said, _guard) = Said::listen();
    let engine = engine(directory.path()).await;
    let id = receiving(&engine).await;
    engine.give_up(&id, Failure::new(FailureKind::Timeout, "the host fell silent")).await.unwrap();
    let status = engine.status_now();
    assert_eq!((status.phase, status.unacknowledged.len()), (Phase::Idle, 0));
    assert_eq!(
        status.last.and_then(|report| report.failure).map(|failure| failure.kind),
        Some(FailureKind::Timeout)
    );
    assert!(!said.text().contains("waits for its receiver"), "{}", said.text());
    // A report that somebody waits for is said to wait.
    let id = receiving(&engine).await;
    engine
        .abandon(&id, Failure::new(FailureKind::DigestMismatch, "the check failed"))
        .await
        .unwrap();
    assert_eq!(engine.status_now().unacknowledged.len(), 1);
    assert!(said.text().contains("waits for its receiver"), "{}", said.text());
}

#[tokio::test]
async fn a_failed_reception_is_known_at_once_and_can_begin_again() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine(directory.path()).await;
    let id = receiving(&engine).await;
    engine
        .reception_failed(&id, Failure::new(FailureKind::DigestMismatch, "another MD5"))
        .await
        .unwrap();
    let status = engine.status_now();
    let failure = status.upgrade.and_then(|upgrade| upgrade.failure).map(|failure| failure.kind);
    assert_eq!((status.phase, failure), (Phase::Preparing, Some(FailureKind::DigestMismatch)));
    let announced = Announced { with_md5: true, ..Announced::named("P_V02.00.00.00.bin", Some(5)) };
    engine.receive(&id, announced).await.unwrap();
    let status = engine.status_now();
    assert_eq!(
        (status.phase, status.upgrade.and_then(|upgrade| upgrade.failure)),
        (Phase::Receiving, None)
    );
    // Of an upgrade that is over nothing is told.
    engine.give_up(&id, Failure::new(FailureKind::Timeout, "silence")).await.unwrap();
    assert!(
        engine
            .reception_failed(&id, Failure::new(FailureKind::DigestMismatch, "late"))
            .await
            .is_err()
    );
    assert_eq!(engine.status_now().phase, Phase::Idle);
}

/// What a channel is not given, it can't replace, whatever it says; and it hears nothing of it.
#[tokio::test]
async fn a_host_replaces_only_what_its_channel_is_given() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine(directory.path()).await;
    let receive = async |request: Request, file_name: &str| {
        let id = engine.begin(request).await.unwrap();
        let announced = Announced { with_md5: true, ..Announced::named(file_name, Some(4)) };
        let received = engine.receive(&id, announced).await;
        let component = engine.status_now().upgrade.and_then(|upgrade| upgrade.component);
        let _ = engine.give_up(&id, Failure::new(FailureKind::Cancelled, "enough")).await;
        received.map(|_| component.unwrap().to_string()).map_err(|failure| failure.kind)
    };
    let host = || Request::of_link("0x2a".into(), TransferKind::Dcftp);
    let person = || Request::of_shell("uid 0".into());
    assert_eq!(receive(host(), "P_V02.00.00.00.bin").await.unwrap(), "program");
    for refused in ["C_V02.00.00.00.bin", "X_V02.00.00.00.bin"] {
        assert_eq!(receive(host(), refused).await, Err(FailureKind::WrongProduct), "{refused}");
        let report = engine.status_now().last.unwrap();
        let text = serde_json::to_string(&report).unwrap();
        assert!(!text.contains("camera"), "{text}");
    }
    // A person may replace each of them; the directory of this one is the machine's own.
    let stage = receive(person(), "X_V02.00.00.00.bin").await;
    assert_eq!(stage, Err(FailureKind::WrongProduct));
    assert_eq!(receive(person(), "P_V02.00.00.00.bin").await.unwrap(), "program");
    let other = "camera".parse().ok();
    let named = engine.forget_minimum("uid 0".into(), other).await;
    assert_eq!(named.unwrap(), None);
    let unnamed = engine.forget_minimum("uid 0".into(), None).await.unwrap_err();
    assert_eq!(unnamed.kind, FailureKind::WrongProduct);
    assert!(unnamed.hint().contains("camera (product C), program (product P)"), "{unnamed:?}");
}
