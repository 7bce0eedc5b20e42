//! Errors at every single step, and a process that dies there.

use nix::errno::Errno;

use super::*;
use crate::disk::faulty::FaultyDisk;

/// What a file system can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FileSystem {
    Exchanges,
    Links,
    OnlyRenames,
}

impl FileSystem {
    pub(super) const ALL: [Self; 3] = [Self::Exchanges, Self::Links, Self::OnlyRenames];

    pub(super) fn disk(self) -> FaultyDisk {
        let no_exchange = || {
            FaultyDisk::failing("Exchange", Errno::EINVAL)
                .and_failing("RenameToFree", Errno::EINVAL)
        };
        match self {
            Self::Exchanges => FaultyDisk::sound(),
            Self::Links => no_exchange(),
            Self::OnlyRenames => no_exchange().and_failing("Link", Errno::EPERM),
        }
    }

    fn means(self) -> Means {
        match self {
            Self::Exchanges => Means::Exchange,
            Self::Links => Means::Link,
            Self::OnlyRenames => Means::Copy,
        }
    }
}

/// A payload whose program room works on the given disk; the reception and the program by hand do
/// not.
fn payload_on(disk: FaultyDisk) -> (TempDir, Payload, Arc<FaultyDisk>) {
    let temporary = tempfile::tempdir().unwrap();
    let disk = Arc::new(disk);
    let payload = Payload::at(temporary_path(&temporary), disk.clone());
    (temporary, payload, disk)
}

fn operations_of(file_system: FileSystem, act: impl Fn(&Payload)) -> Vec<String> {
    let (_temporary, payload, disk) = payload_on(file_system.disk());
    act(&payload);
    disk.log()
}

/// The faults to try: each operation of an undisturbed run, by its name and how often that name
/// came before.
pub(super) fn single_faults(log: &[String]) -> impl Iterator<Item = (&str, usize)> {
    log.iter().enumerate().map(|(i, name)| {
        (name.as_str(), log[..i].iter().filter(|earlier| *earlier == name).count())
    })
}

#[test]
fn every_errno_of_a_missing_exchange_leads_to_the_fall_back() {
    for errno in [Errno::EINVAL, Errno::ENOSYS, Errno::EOPNOTSUPP] {
        let (_temporary, payload, _) = payload_on(FaultyDisk::failing("Exchange", errno));
        payload.put(OLD);
        assert_eq!(payload.install(NEW).unwrap().means, Means::Link);
    }
    for errno in [Errno::EPERM, Errno::EOPNOTSUPP, Errno::ENOSYS, Errno::EMLINK] {
        let disk = FaultyDisk::failing("Exchange", Errno::EINVAL).and_failing("Link", errno);
        let (_temporary, payload, _) = payload_on(disk);
        payload.put(OLD);
        assert_eq!(payload.install(NEW).unwrap().means, Means::Copy);
    }
}

#[test]
fn each_fall_back_swaps_and_rolls_back_like_the_exchange() {
    for file_system in FileSystem::ALL {
        let (_temporary, payload, _) = payload_on(file_system.disk());
        payload.put(OLD);
        set_origin(payload.program.path());
        assert_eq!(payload.install(NEW).unwrap().means, file_system.means());
        assert_eq!(
            (payload.content().unwrap(), payload.beside(".previous").unwrap()),
            (NEW.into(), OLD.into())
        );
        assert_eq!(payload.area(), ["demo.previous", "lock"]);
        assert_eq!(
            payload.program.revert(digest(NEW), Some(digest(OLD))).unwrap(),
            Reverted::PutBack
        );
        assert_eq!(
            (payload.content().unwrap(), payload.beside(".failed").unwrap()),
            (OLD.into(), NEW.into())
        );
        assert_eq!(payload.area(), ["demo.failed", "lock"]);
        assert_eq!(payload.metadata().mode() & 0o7777, 0o750);
        assert_eq!(xattr::get(payload.program.path(), "user.origin").unwrap().unwrap(), b"factory");
    }
}

/// A rename of one name of a file over another name of it does nothing, and both stay.
#[test]
fn a_fall_back_cleans_up_after_one_that_was_cut_off_with_the_old_program_kept() {
    let (_temporary, payload, _) = payload_on(FileSystem::Links.disk());
    payload.put(OLD);
    payload.install(NEW).unwrap();
    fs::remove_file(payload.program.beside(".previous")).unwrap();
    fs::hard_link(payload.program.path(), payload.program.beside(".previous")).unwrap();
    payload.install(OLD).unwrap();
    payload.program.forget_older().unwrap();
    assert_eq!(
        (payload.content().unwrap(), payload.beside(".previous").unwrap()),
        (OLD.into(), NEW.into())
    );
    assert_eq!(payload.area(), ["demo.previous", "lock"]);
}

/// Otherwise a power cut could undo the exchange and keep what came after it: the program to be put
/// back, or the word that there was none, would have no name at all.
#[test]
fn a_rollback_is_durable_before_it_gives_up_what_leads_back() {
    let log = |first| rollback_on(FileSystem::Exchanges.disk(), first).1;
    assert_eq!(
        log(false),
        ["Exchange", "SyncDirectory", "SyncDirectory", "Rename", "SyncDirectory"]
    );
    assert_eq!(log(true), ["Rename", "SyncDirectory", "SyncDirectory", "Remove", "SyncDirectory"]);
}

#[test]
fn each_fall_back_makes_a_first_installation() {
    for file_system in FileSystem::ALL {
        let (_temporary, payload, _) = payload_on(file_system.disk());
        assert_eq!(payload.install(NEW).unwrap().means, Means::FirstInstallation);
        assert_eq!(payload.area(), ["demo.previous", "lock"]);
        assert_eq!(payload.program.revert(digest(NEW), None).unwrap(), Reverted::Removed);
        assert_eq!(payload.content(), None);
    }
}

#[test]
fn after_an_error_at_any_step_of_a_swap_the_old_program_is_at_the_path() {
    for file_system in FileSystem::ALL {
        let log = operations_of(file_system, |payload| {
            payload.put(OLD);
            payload.install(NEW).unwrap();
        });
        for (name, occurrence) in single_faults(&log) {
            for (errno, kind) in
                [(Errno::EIO, FailureKind::InstallFailed), (Errno::ENOSPC, FailureKind::NoSpace)]
            {
                let case = format!("{file_system:?} {name} {occurrence} {errno}");
                let (_temporary, payload, _) =
                    payload_on(file_system.disk().and_failing_once(name, occurrence, errno));
                payload.put(OLD);
                let failure = payload.install(NEW).expect_err(&case);
                assert_eq!(failure.kind, kind, "{case}");
                assert!(
                    failure.sentence.starts_with("the program was not replaced"),
                    "{case}: {failure}"
                );
                assert_eq!(payload.content().unwrap(), OLD, "{case}");
                assert_eq!(payload.metadata().mode() & 0o7777, 0o750, "{case}");
                assert!(
                    !payload.area().iter().any(|name| name.starts_with("demo.next")),
                    "{case}: {:?}",
                    payload.area()
                );
            }
        }
    }
}

#[test]
fn after_an_error_at_any_step_of_a_first_installation_nothing_is_at_the_path() {
    for file_system in FileSystem::ALL {
        let log = operations_of(file_system, |payload| drop(payload.install(NEW).unwrap()));
        for (name, occurrence) in single_faults(&log) {
            let case = format!("{file_system:?} {name} {occurrence}");
            let (_temporary, payload, _) =
                payload_on(file_system.disk().and_failing_once(name, occurrence, Errno::EIO));
            match payload.install(NEW) {
                // Of a second name, which harms nobody.
                Ok(_) => assert_eq!(
                    (name, payload.content().as_deref()),
                    ("Remove", Some(NEW)),
                    "{case}"
                ),
                Err(_) => assert_eq!(payload.content(), None, "{case}"),
            }
        }
    }
}

/// The process dies before any one operation of a swap, and starts again.
#[test]
fn whoever_dies_in_a_swap_leaves_old_or_new_and_a_way_back() {
    for file_system in FileSystem::ALL {
        let log = operations_of(file_system, |payload| {
            payload.put(OLD);
            payload.install(NEW).unwrap();
        });
        for death in 0..=log.len() {
            let case = format!("{file_system:?} dies at {death} of {log:?}");
            let (_temporary, payload, _) = payload_on(file_system.disk().and_dying_at(death));
            payload.put(OLD);
            let _ = payload.install(NEW);
            let content = payload.content().unwrap();
            assert!(content == OLD || content == NEW, "{case}");
            let again = Payload::at(payload.directory.clone(), Arc::new(file_system.disk()));
            again.stage.clean().unwrap();
            let reverted = again.program.revert(digest(NEW), Some(digest(OLD))).unwrap();
            assert_eq!(reverted == Reverted::PutBack, content == NEW, "{case}");
            assert_eq!(again.content().unwrap(), OLD, "{case}");
            again.install(NEW).unwrap_or_else(|failure| panic!("{case}: {failure}"));
            assert_eq!(
                (again.content().unwrap(), again.beside(".previous").unwrap()),
                (NEW.into(), OLD.into()),
                "{case}"
            );
        }
    }
}

/// The process dies before any one operation of a rollback, and does it again.
#[test]
fn whoever_dies_in_a_rollback_can_do_it_again() {
    for file_system in FileSystem::ALL {
        for first in [true, false] {
            let log = rollback_on(file_system.disk(), first).1;
            for death in 0..=log.len() {
                let case = format!(
                    "{file_system:?}, first installation {first}, dies at {death} of {log:?}"
                );
                let (payload, _, _) = rollback_on(file_system.disk().and_dying_at(death), first);
                can_be_rolled_back_again(&payload, file_system, first, &case);
            }
        }
    }
}

#[test]
fn after_an_error_at_any_step_of_a_rollback_it_can_be_done_again() {
    for file_system in FileSystem::ALL {
        for first in [true, false] {
            let log = rollback_on(file_system.disk(), first).1;
            for (name, occurrence) in single_faults(&log) {
                for (errno, kind) in [
                    (Errno::EIO, FailureKind::InstallFailed),
                    (Errno::ENOSPC, FailureKind::NoSpace),
                ] {
                    let case = format!(
                        "{file_system:?}, first installation {first}, {name} {occurrence} {errno}"
                    );
                    let disk = file_system.disk().and_failing_once(name, occurrence, errno);
                    let (payload, _, reverted) = rollback_on(disk, first);
                    let is_back = reverted.is_ok();
                    assert!(
                        is_back || reverted.is_err_and(|failure| failure.kind == kind),
                        "{case}"
                    );
                    // A copy of the program that failed must not keep the old one from its path.
                    let is_given_up = is_back && payload.beside(".failed").is_none();
                    assert!(
                        !is_given_up
                            || (file_system, errno) == (FileSystem::OnlyRenames, Errno::ENOSPC),
                        "{case}"
                    );
                    if !is_given_up {
                        can_be_rolled_back_again(&payload, file_system, first, &case);
                    }
                }
            }
        }
    }
}

/// A rollback that was cut off left a whole program at the path, and the next one completes it.
fn can_be_rolled_back_again(payload: &Payload, file_system: FileSystem, first: bool, case: &str) {
    let content = payload.content();
    let before = (!first).then(|| OLD.to_vec());
    assert!(content == before || content.as_deref() == Some(NEW), "{case}");
    let again = Payload::at(payload.directory.clone(), Arc::new(file_system.disk()));
    again.program.revert(digest(NEW), before.as_deref().map(digest)).unwrap();
    assert_eq!(again.content(), before, "{case}");
    assert_eq!(again.beside(".failed").unwrap(), NEW, "{case}");
    assert_ne!(again.beside(".previous").as_deref(), Some(NEW), "{case}");
}

fn rollback_on(disk: FaultyDisk, first: bool) -> (Payload, Vec<String>, Result<Reverted, Failure>) {
    let sound = Payload::new();
    if !first {
        sound.put(OLD);
    }
    sound.install(NEW).unwrap();
    let disk = Arc::new(disk);
    let payload =
        Payload { _temporary: sound._temporary, ..Payload::at(sound.directory, disk.clone()) };
    let reverted = payload.program.revert(digest(NEW), (!first).then(|| digest(OLD)));
    (payload, disk.log(), reverted)
}

#[test]
fn a_swap_that_can_not_be_undone_keeps_the_old_program_and_says_so() {
    let disk = FaultyDisk::sound().and_dying_at(6); // all from the rename after the exchange on
    let (_temporary, payload, _) = payload_on(disk);
    payload.put(OLD);
    let failure = payload.install(NEW).unwrap_err();
    assert!(
        failure.sentence.starts_with("the swap is done but not known to be durable"),
        "{failure}"
    );
    assert_eq!(
        (payload.content().unwrap(), fs::read(payload.program.next(digest(NEW))).unwrap()),
        (NEW.into(), OLD.into())
    );
    let again = Payload::at(payload.directory, Arc::new(FaultyDisk::sound()));
    assert_eq!(again.program.revert(digest(NEW), Some(digest(OLD))).unwrap(), Reverted::PutBack);
    assert_eq!(
        (again.content().unwrap(), again.beside(".failed").unwrap()),
        (OLD.into(), NEW.into())
    );
}

/// The rename that follows the exchange fails, and so does the exchange back: what lies where the
/// new program came from is the only old one.
#[test]
fn an_old_program_that_has_the_name_of_the_new_one_is_not_thrown_away() {
    let disk = FaultyDisk::sound().and_failing_once("Rename", 1, Errno::EIO).and_failing_once(
        "Exchange",
        1,
        Errno::EIO,
    );
    let (_temporary, payload, _) = payload_on(disk);
    payload.put(OLD);
    payload.install(NEW).unwrap_err();
    assert_eq!(
        (payload.content().unwrap(), fs::read(payload.program.next(digest(NEW))).unwrap()),
        (NEW.into(), OLD.into())
    );
    assert_eq!(payload.program.revert(digest(NEW), Some(digest(OLD))).unwrap(), Reverted::PutBack);
    assert_eq!(payload.content().unwrap(), OLD);
}

/// Otherwise a power cut after the failure could bring the new program back, which nobody expects
/// any more.
#[test]
fn a_swap_that_is_undone_is_undone_durably() {
    for file_system in FileSystem::ALL {
        let log = operations_of(file_system, |payload| {
            payload.put(OLD);
            payload.install(NEW).unwrap();
        });
        let last_sync = log.iter().filter(|name| *name == "SyncDirectory").count() - 1;
        let (_temporary, payload, disk) =
            payload_on(file_system.disk().and_failing_once("SyncDirectory", last_sync, Errno::EIO));
        payload.put(OLD);
        payload.install(NEW).unwrap_err();
        assert_eq!(payload.content().unwrap(), OLD);
        let log = disk.log();
        let undone = log.iter().rposition(|name| name == "Rename").unwrap();
        let syncs = log[undone..].iter().filter(|name| *name == "SyncDirectory").count();
        assert!(
            syncs >= 2,
            "{file_system:?}: of the program's directory and of the staging area: {log:?}"
        );
    }
}
