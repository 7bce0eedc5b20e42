//! The program before the last success, which an upgrade that comes to nothing must not cost its
//! place.

use nix::errno::Errno;

use super::faults::{FileSystem, single_faults};
use super::*;
use crate::disk::faulty::FaultyDisk;

const OLDEST: &[u8] = b"the program before the old one";

/// Two upgrades that succeeded, and a disk for the third.
fn upgraded_on(disk: FaultyDisk) -> (Payload, Arc<FaultyDisk>) {
    let sound = Payload::with_program(OLDEST);
    sound.install(OLD).unwrap();
    sound.program.forget_older().unwrap();
    let disk = Arc::new(disk);
    (Payload { _temporary: sound._temporary, ..Payload::at(sound.directory, disk.clone()) }, disk)
}

/// The same payload after whatever happened, with a disk that works.
fn again(payload: &Payload, file_system: FileSystem) -> Payload {
    let again = Payload::at(payload.directory.clone(), Arc::new(file_system.disk()));
    again.stage.clean().unwrap();
    again
}

fn package() -> PackageSummary {
    let sound = Payload::new();
    summary(&sound.staged(NEW))
}

/// What was there before the last success is there still, and nothing else that a swap leaves.
fn is_as_before(payload: &Payload, failed: bool, case: &str) {
    assert_eq!(payload.content().unwrap(), OLD, "{case}");
    assert_eq!(
        payload.beside(".previous").as_deref(),
        Some(OLDEST),
        "{case}: {:?}",
        payload.area()
    );
    let expected: &[&str] =
        if failed { &["demo.failed", "demo.previous", "lock"] } else { &["demo.previous", "lock"] };
    assert_eq!(payload.area(), expected, "{case}");
}

#[test]
fn a_success_drops_it_and_a_rollback_brings_it_back() {
    for file_system in FileSystem::ALL {
        let (payload, _) = upgraded_on(file_system.disk());
        payload.install(NEW).unwrap();
        assert_eq!(
            (payload.beside(".older").unwrap(), payload.beside(".previous").unwrap()),
            (OLDEST.into(), OLD.into())
        );
        payload.program.revert(digest(NEW), Some(digest(OLD))).unwrap();
        is_as_before(&payload, true, &format!("{file_system:?}"));
        payload.install(NEW).unwrap();
        payload.program.forget_older().unwrap();
        assert_eq!(payload.area(), ["demo.failed", "demo.previous", "lock"]);
        assert_eq!(payload.beside(".previous").unwrap(), OLD);
    }
}

#[test]
fn an_upgrade_that_fails_at_any_step_of_its_swap_leaves_it_where_it_was() {
    for file_system in FileSystem::ALL {
        let (payload, disk) = upgraded_on(file_system.disk());
        payload.install(NEW).unwrap();
        for (name, occurrence) in single_faults(&disk.log()) {
            let case = format!("{file_system:?} {name} {occurrence}");
            let (payload, _) =
                upgraded_on(file_system.disk().and_failing_once(name, occurrence, Errno::EIO));
            payload.install(NEW).expect_err(&case);
            let again = again(&payload, file_system);
            again.program.finish(&package(), false).unwrap();
            is_as_before(&again, false, &case);
        }
    }
}

#[test]
fn whoever_dies_in_a_swap_leaves_a_way_back_to_it() {
    for file_system in FileSystem::ALL {
        let (payload, disk) = upgraded_on(file_system.disk());
        payload.install(NEW).unwrap();
        for death in 0..=disk.log().len() {
            let case = format!("{file_system:?} dies at {death}");
            let (payload, _) = upgraded_on(file_system.disk().and_dying_at(death));
            let _ = payload.install(NEW);
            let again = again(&payload, file_system);
            let swapped = again.content().unwrap() == NEW;
            if swapped {
                again.program.revert(digest(NEW), Some(digest(OLD))).unwrap();
            }
            again.program.finish(&package(), swapped).unwrap();
            is_as_before(&again, swapped, &case);
        }
    }
}

#[test]
fn whoever_dies_in_a_rollback_leaves_a_way_back_to_it() {
    for file_system in FileSystem::ALL {
        let rollback = |disk: FaultyDisk| {
            let (payload, _) = upgraded_on(file_system.disk());
            payload.install(NEW).unwrap();
            let disk = Arc::new(disk);
            let payload = Payload {
                _temporary: payload._temporary,
                ..Payload::at(payload.directory, disk.clone())
            };
            let _ = payload.program.revert(digest(NEW), Some(digest(OLD)));
            (payload, disk.log().len())
        };
        let (_, operations) = rollback(file_system.disk());
        for death in 0..=operations {
            let (payload, _) = rollback(file_system.disk().and_dying_at(death));
            // The rescue does it again, or the daemon, which finds the old program at the path,
            // only ends it.
            let by_rescue = again(&payload, file_system);
            if death % 2 == 0 || by_rescue.content().unwrap() == NEW {
                by_rescue.program.revert(digest(NEW), Some(digest(OLD))).unwrap();
            }
            by_rescue.program.finish(&package(), true).unwrap();
            is_as_before(
                &by_rescue,
                true,
                &format!("{file_system:?} dies at {death} of {operations}"),
            );
        }
    }
}

#[test]
fn where_nothing_is_under_way_it_is_put_in_order() {
    for (previous, expected) in [(Some(OLD), OLD), (None, OLDEST)] {
        let payload = Payload::with_program(NEW);
        fs::create_dir(payload.directory.join(".uplift")).unwrap();
        for (suffix, content) in [(".older", Some(OLDEST)), (".previous", previous)] {
            if let Some(content) = content {
                File::create(payload.program.beside(suffix)).unwrap().write_all(content).unwrap();
            }
        }
        payload.program.settle().unwrap();
        assert_eq!(
            (payload.beside(".previous").as_deref(), payload.beside(".older")),
            (Some(expected), None)
        );
        payload.program.settle().unwrap();
        assert_eq!(payload.area(), ["demo.previous"]);
    }
}

/// A rollback that was cut off after its exchange, where nothing but the program that failed tells.
#[test]
fn what_failed_is_set_aside_where_there_is_no_older_one() {
    let payload = Payload::with_program(OLD);
    payload.install(NEW).unwrap();
    let (one, other) = (payload.program.beside(".previous"), payload.program.path());
    LocalDisk.apply(Operation::Exchange { one: &one, other }).unwrap();
    payload.program.finish(&package(), true).unwrap();
    assert_eq!(payload.content().unwrap(), OLD);
    assert_eq!(payload.area(), ["demo.failed", "lock"]);
}

/// A read-only disk, say, is no reason to fail once more.
#[test]
fn where_nothing_is_left_nothing_is_touched() {
    let payload = Payload::with_program(OLD);
    let package = package();
    payload.program.finish(&package, true).unwrap();
    assert!(!payload.directory.join(".uplift").exists());
}

#[test]
fn a_program_that_is_at_the_path_is_none_that_came_to_nothing() {
    let payload = Payload::with_program(NEW);
    payload.install(NEW).unwrap();
    payload.program.finish(&package(), true).unwrap();
    assert_eq!(
        (payload.content().unwrap(), payload.beside(".previous")),
        (NEW.into(), Some(NEW.into()))
    );
}

/// A copy of the program that failed must not need more room than there was when it came.
#[test]
fn a_rollback_by_copy_gives_up_the_program_that_failed_before() {
    let (payload, disk) = upgraded_on(FileSystem::OnlyRenames.disk());
    payload.install(NEW).unwrap();
    payload.program.revert(digest(NEW), Some(digest(OLD))).unwrap();
    payload.install(NEW).unwrap();
    let before = disk.log().len();
    payload.program.revert(digest(NEW), Some(digest(OLD))).unwrap();
    let log = disk.log().split_off(before);
    let place = |name: &str| log.iter().position(|other| other == name).unwrap();
    assert!(place("Remove") < place("create"), "{log:?}");
}

/// There is no room for it at all: the old program comes back, and what failed is not kept.
#[test]
fn a_rollback_by_copy_needs_no_room() {
    let (payload, _) = upgraded_on(FileSystem::OnlyRenames.disk());
    payload.install(NEW).unwrap();
    let full = FileSystem::OnlyRenames.disk().and_failing("Write", Errno::ENOSPC);
    let payload = Payload {
        _temporary: payload._temporary,
        ..Payload::at(payload.directory, Arc::new(full))
    };
    assert_eq!(payload.program.revert(digest(NEW), Some(digest(OLD))).unwrap(), Reverted::PutBack);
    is_as_before(&payload, false, "full");
}
