mod kept;

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::sync::{Arc, Mutex};

use nix::errno::Errno;
use tempfile::TempDir;

use super::*;
use crate::digest::{Beside, Hasher};
use crate::disk::faulty::FaultyDisk;
use crate::disk::mounted::Mounted;
use crate::model::{FileDigest, Md5Digest};

const MIB: u64 = 1024 * 1024;

fn announced(size: u64) -> Announced {
    Announced { with_md5: true, ..Announced::named("PSDK_APPALIAS_V01.00.00.00.bin", Some(size)) }
}

fn silent() -> Observer {
    Box::new(|_| {})
}

/// A directory, and a stage beside a program in it.
fn stage() -> (TempDir, Stage) {
    stage_on(Arc::new(LocalDisk))
}

fn stage_on(disk: Arc<dyn Disk>) -> (TempDir, Stage) {
    let directory = tempfile::tempdir().unwrap();
    let stage = Stage::on(disk, &directory.path().join("demo"), 64 * MIB);
    (directory, stage)
}

fn bytes(size: u64) -> Vec<u8> {
    (0..size).map(|i| (i % 251) as u8).collect()
}

fn names_in(directory: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn digest_of(content: &[u8]) -> (FileDigest, Md5Digest) {
    let mut hasher = Hasher::new(Beside { md5: true, ..Beside::default() });
    hasher.update(content);
    let digests = hasher.finish();
    (digests.file, digests.md5.unwrap())
}

#[test]
fn bytes_in_any_pieces_arrive_whole_and_hashed() {
    let content = bytes(9 * MIB + 17);
    let (file_digest, md5) = digest_of(&content);
    for piece_size in [content.len(), 256 * 1024, 256 * 1024 + 1, 1000] {
        let (_directory, stage) = stage();
        let seen = Arc::new(Mutex::new(0));
        let observed = Arc::clone(&seen);
        let observer = Box::new(move |received| *observed.lock().unwrap() = received);
        let mut receiving = stage.receive(announced(content.len() as u64), observer).unwrap();
        content.chunks(piece_size).for_each(|piece| receiving.write(piece).unwrap());
        assert_eq!(*seen.lock().unwrap(), content.len() as u64);
        let staged = receiving.finish(Some(md5)).unwrap();
        assert_eq!(staged.digests.file, file_digest);
        assert!(fs::read(staged.path()).unwrap() == content, "pieces of {piece_size}");
    }
}

#[test]
fn bytes_that_are_appended_by_the_caller_arrive_among_others() {
    let content = bytes(3 * MIB + 17);
    let (_directory, stage) = stage();
    let mut receiving = stage.receive(announced(content.len() as u64), silent()).unwrap();
    let mut left = &content[..];
    for most in [1000, usize::MAX].into_iter().cycle() {
        let taken = receiving.write_by(|buffer, room| {
            let count = left.len().min(room).min(most);
            buffer.extend_from_slice(&left[..count]);
            Ok(count)
        });
        left = &left[taken.unwrap()..];
        let Some((first, rest)) = left.split_first() else { break };
        receiving.write(&[*first]).unwrap();
        left = rest;
    }
    let more = receiving.write_by(|buffer, _| {
        buffer.extend_from_slice(b"more");
        Ok(4)
    });
    assert_eq!(more.unwrap_err().kind, FailureKind::TransferFailed);
    let staged = receiving.finish(None).unwrap();
    assert!(fs::read(staged.path()).unwrap() == content);
    assert_eq!(staged.digests.file, digest_of(&content).0);
}

#[test]
fn the_staged_file_is_private_in_a_directory_that_all_may_pass() {
    let (directory, stage) = stage();
    let staged = stage.receive(announced(0), silent()).unwrap().finish(None).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(staged.path()), 0o600);
    assert_eq!(mode(&directory.path().join(".uplift")), 0o700);
}

#[test]
fn one_byte_more_than_announced_is_refused_and_not_written() {
    let (_directory, stage) = stage();
    let mut receiving = stage.receive(announced(1000), silent()).unwrap();
    receiving.write(&bytes(999)).unwrap();
    assert_eq!(receiving.write(&[0; 2]).unwrap_err().kind, FailureKind::TransferFailed);
    assert_eq!(receiving.received(), 999);
    receiving.write(&[0]).unwrap();
    assert_eq!(receiving.finish(None).unwrap().size, 1000);
}

#[test]
fn one_byte_less_than_announced_is_truncated_and_leaves_nothing() {
    let (directory, stage) = stage();
    let mut receiving = stage.receive(announced(1000), silent()).unwrap();
    receiving.write(&bytes(999)).unwrap();
    assert_eq!(receiving.finish(None).unwrap_err().kind, FailureKind::Truncated);
    assert!(names_in(&directory.path().join(".uplift")).is_empty());
}

#[test]
fn a_wrong_md5_is_a_digest_mismatch_and_leaves_nothing() {
    let (directory, stage) = stage();
    let mut receiving = stage.receive(announced(1000), silent()).unwrap();
    receiving.write(&bytes(1000)).unwrap();
    let failure = receiving.finish(Some(Md5Digest([0; 16]))).unwrap_err();
    assert_eq!(failure.kind, FailureKind::DigestMismatch);
    assert!(failure.sentence.contains("00000000000000000000000000000000"), "{failure}");
    assert!(names_in(&directory.path().join(".uplift")).is_empty());
}

#[test]
fn a_file_above_the_limit_is_refused_before_anything_is_made() {
    let (directory, stage) = stage();
    assert_eq!(
        stage.receive(announced(64 * MIB + 1), silent()).unwrap_err().kind,
        FailureKind::TooLarge
    );
    assert!(names_in(directory.path()).is_empty());
}

#[test]
fn what_is_dropped_leaves_nothing_behind() {
    let (directory, stage) = stage();
    let area = directory.path().join(".uplift");
    let mut receiving = stage.receive(announced(10), silent()).unwrap();
    receiving.write(&bytes(10)).unwrap();
    drop(receiving);
    assert!(names_in(&area).is_empty());
    let staged = stage.receive(announced(0), silent()).unwrap().finish(None).unwrap();
    assert_eq!(names_in(&area).len(), 1);
    drop(staged);
    assert!(names_in(&area).is_empty());
}

#[test]
fn an_old_reception_dropped_late_does_not_touch_a_newer_one() {
    let (_directory, stage) = stage();
    let old = stage.receive(announced(10), silent()).unwrap();
    stage.clean().unwrap();
    let mut new = stage.receive(announced(10), silent()).unwrap();
    drop(old);
    new.write(&bytes(10)).unwrap();
    assert_eq!(fs::read(new.finish(None).unwrap().path()).unwrap(), bytes(10));
}

#[test]
fn a_reception_whose_file_was_cleaned_away_does_not_end_well() {
    let (_directory, stage) = stage();
    let mut receiving = stage.receive(announced(10), silent()).unwrap();
    receiving.write(&bytes(10)).unwrap();
    stage.clean().unwrap();
    assert_eq!(receiving.finish(None).unwrap_err().kind, FailureKind::Interrupted);
}

#[test]
fn cleaning_removes_receptions_and_nothing_else() {
    let (directory, stage) = stage();
    stage.clean().unwrap(); // no directory yet
    drop(stage.receive(announced(0), silent()).unwrap());
    let area = directory.path().join(".uplift");
    for name in
        ["demo.previous", "demo.failed", "demo.next", "lock", "incoming-1-1", "incoming-77-0"]
    {
        File::create(area.join(name)).unwrap();
    }
    stage.clean().unwrap();
    assert_eq!(names_in(&area), ["demo.failed", "demo.next", "demo.previous", "lock"]);
}

#[test]
fn receptions_that_are_dropped_leave_a_file_that_is_whole_to_who_holds_it() {
    let (directory, stage) = stage();
    let mut receiving = stage.receive(announced(10), silent()).unwrap();
    receiving.write(&bytes(10)).unwrap();
    let staged = receiving.finish(None).unwrap();
    let running = stage.receive(announced(0), silent()).unwrap();
    stage.drop_receptions(None).unwrap();
    assert!(is_at(&staged, staged.path()));
    assert_eq!(running.finish(None).unwrap_err().kind, FailureKind::Interrupted);
    drop(staged);
    assert!(names_in(&directory.path().join(".uplift")).is_empty());
    // Nobody holds what another process left.
    File::create(directory.path().join(".uplift/incoming-1-1")).unwrap();
    stage.drop_receptions(None).unwrap();
    assert!(names_in(&directory.path().join(".uplift")).is_empty());
}

fn of_unknown_size() -> Announced {
    Announced { size: None, with_md5: false, ..announced(0) }
}

#[test]
fn a_file_whose_size_nobody_tells_is_taken_to_its_end_and_to_the_limit() {
    let disk = Arc::new(FaultyDisk::sound());
    let (directory, stage) = stage_on(Arc::clone(&disk) as Arc<dyn Disk>);
    let content = bytes(3 * MIB + 5);
    let mut receiving = stage.receive(of_unknown_size(), silent()).unwrap();
    content.chunks(70_000).for_each(|piece| receiving.write(piece).unwrap());
    let staged = receiving.finish(None).unwrap();
    assert_eq!((staged.size, staged.digests.file), (content.len() as u64, digest_of(&content).0));
    assert!(!disk.log().contains(&"Allocate".to_owned()), "nothing to allocate");
    drop(staged);
    let mut receiving = stage.receive(of_unknown_size(), silent()).unwrap();
    for _ in 0..64 {
        receiving.write(&bytes(MIB)).unwrap();
    }
    assert_eq!(receiving.write(&[0]).unwrap_err().kind, FailureKind::TooLarge);
    drop(receiving);
    assert!(names_in(&directory.path().join(".uplift")).is_empty());
}

#[test]
fn a_reception_goes_back_to_its_first_bytes_and_on_from_there() {
    let (_directory, stage) = stage();
    let content = bytes(3 * MIB + 5);
    for kept in [0, 1, MIB, 2 * MIB + 7, 3 * MIB] {
        for announced in [of_unknown_size(), announced(content.len() as u64)] {
            let with_md5 = announced.with_md5;
            let told = Arc::new(Mutex::new(0));
            let observed = Arc::clone(&told);
            let observer = Box::new(move |received| *observed.lock().unwrap() = received);
            let mut receiving = stage.receive(announced, observer).unwrap();
            let (before, after) = content.split_at(usize::try_from(kept).unwrap());
            receiving.write(before).unwrap();
            receiving.write(&vec![0xee; after.len() / 2]).unwrap();
            let mut receiving = receiving.cut(kept).unwrap();
            assert_eq!((receiving.received(), *told.lock().unwrap()), (kept, kept));
            receiving.write(after).unwrap();
            let staged = receiving.finish(with_md5.then(|| digest_of(&content).1)).unwrap();
            assert_eq!(staged.digests.file, digest_of(&content).0, "{kept}");
            assert!(fs::read(staged.path()).unwrap() == content, "{kept}");
        }
    }
}

#[test]
fn a_reception_that_is_cut_keeps_nothing_behind() {
    let (_directory, stage) = stage();
    let mut receiving = stage.receive(of_unknown_size(), silent()).unwrap();
    receiving.write(&bytes(MIB)).unwrap();
    let receiving = receiving.cut(MIB).unwrap();
    let receiving = receiving.cut(3).unwrap();
    let staged = receiving.finish(None).unwrap();
    assert_eq!(fs::read(staged.path()).unwrap(), bytes(3));
    drop(staged);
    let receiving = stage.receive(of_unknown_size(), silent()).unwrap();
    assert_eq!(receiving.cut(1).unwrap_err().kind, FailureKind::TransferFailed);
}

#[test]
fn a_name_that_an_earlier_process_left_is_passed_over() {
    let (directory, stage) = stage();
    let first = stage.receive(announced(0), silent()).unwrap().finish(None).unwrap();
    let number: u64 = first.path().to_str().unwrap().rsplit('-').next().unwrap().parse().unwrap();
    for number in number + 1..number + 200 {
        let _ = File::create_new(
            directory.path().join(format!(".uplift/incoming-{}-{number}", std::process::id())),
        );
    }
    stage.receive(announced(0), silent()).unwrap();
}

#[test]
fn an_area_that_others_could_change_is_put_right_or_refused() {
    let (directory, stage) = stage();
    let area = directory.path().join(".uplift");
    fs::create_dir(&area).unwrap();
    fs::set_permissions(&area, fs::Permissions::from_mode(0o777)).unwrap();
    stage.receive(announced(0), silent()).unwrap();
    assert_eq!(fs::metadata(&area).unwrap().permissions().mode() & 0o7777, 0o700);
    fs::remove_dir(&area).unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    symlink(elsewhere.path(), &area).unwrap();
    assert_eq!(stage.receive(announced(0), silent()).unwrap_err().kind, FailureKind::InstallFailed);
    assert!(names_in(elsewhere.path()).is_empty());
}

/// Whoever owns the directory could change what lies in it, whatever its mode.
#[test]
fn an_area_of_another_user_is_refused() {
    if !nix::unistd::geteuid().is_root() {
        uplift_fixtures::untested::say("only root may give a directory away");
        return;
    }
    let (directory, stage) = stage();
    let area = directory.path().join(".uplift");
    fs::create_dir(&area).unwrap();
    fs::set_permissions(&area, fs::Permissions::from_mode(0o700)).unwrap();
    std::os::unix::fs::chown(&area, Some(12345), None).unwrap();
    let failure = stage.receive(announced(0), silent()).unwrap_err();
    assert_eq!(failure.kind, FailureKind::InstallFailed);
    assert!(failure.to_string().contains("belongs to user 12345"), "{failure}");
    assert!(names_in(&area).is_empty());
    std::os::unix::fs::chown(&area, Some(0), Some(12345)).unwrap();
    stage.receive(announced(0), silent()).unwrap(); // a group has no access by this mode
}

#[test]
fn a_missing_program_directory_is_an_error_that_names_it() {
    let stage = Stage::beside(Path::new("/nonexistent/bin/demo"), MIB);
    let failure = stage.receive(announced(1), silent()).unwrap_err();
    assert_eq!(failure.kind, FailureKind::InstallFailed);
    assert!(failure.sentence.contains("/nonexistent/bin/.uplift"), "{failure}");
}

#[test]
fn a_file_system_that_cannot_allocate_is_used_all_the_same() {
    for errno in [Errno::EOPNOTSUPP, Errno::ENOSYS] {
        let (_directory, stage) = stage_on(Arc::new(FaultyDisk::failing("Allocate", errno)));
        let mut receiving = stage.receive(announced(10), silent()).unwrap();
        receiving.write(&bytes(10)).unwrap();
        receiving.finish(None).unwrap();
    }
}

/// Every operation of a reception, its first and its last occurrence, failing alone.
#[test]
fn an_error_at_any_step_is_told_and_leaves_nothing() {
    let content = bytes(9 * MIB);
    let receive = |disk: FaultyDisk| {
        let disk = Arc::new(disk);
        let (directory, stage) = stage_on(disk.clone());
        let mut receiving = stage.receive(announced(9 * MIB), silent());
        let staged = receiving
            .as_mut()
            .map_err(|failure| failure.clone())
            .and_then(|receiving| receiving.write(&content));
        let staged = staged.and_then(|()| receiving.and_then(|receiving| receiving.finish(None)));
        let kind = staged.as_ref().err().map(|failure| failure.kind);
        drop(staged);
        let left = fs::read_dir(directory.path().join(".uplift")).map_or(0, Iterator::count);
        (kind, left, disk.log())
    };
    let (kind, left, log) = receive(FaultyDisk::sound());
    assert_eq!((kind, left), (None, 0));
    for step in
        ["MakeDirectory", "SyncDirectory", "create", "Allocate", "Write", "SyncData", "Sync"]
    {
        let occurrences = log.iter().filter(|name| *name == step).count();
        assert!(occurrences > 0, "{step} is not among {log:?}");
        for (errno, expected) in
            [(Errno::EIO, FailureKind::InstallFailed), (Errno::ENOSPC, FailureKind::NoSpace)]
        {
            for occurrence in [0, occurrences - 1] {
                let (kind, left, _) =
                    receive(FaultyDisk::sound().and_failing_once(step, occurrence, errno));
                assert_eq!((kind, left), (Some(expected), 0), "{step} {occurrence} {errno}");
            }
        }
    }
}

#[test]
fn a_full_disk_shows_before_the_first_byte() {
    let Some(disk) = Mounted::memory(2048) else { return };
    let stage = Stage::beside(&disk.path().join("demo"), 64 * MIB);
    let failure = stage.receive(announced(3 * MIB), silent()).unwrap_err();
    assert_eq!(failure.kind, FailureKind::NoSpace);
    assert!(names_in(&disk.path().join(".uplift")).is_empty());
    stage.receive(announced(MIB / 2), silent()).unwrap();
}

/// Room for the state file and the swap stays, to the last byte.
#[test]
fn the_reserved_space_is_not_given_away() {
    let Some(disk) = Mounted::memory(4096) else { return };
    let stage = Stage::beside(&disk.path().join("demo"), 64 * MIB);
    drop(stage.receive(announced(1), silent()).unwrap());
    let free = disk::free_bytes(&rustix::fs::statvfs(disk.path()).unwrap());
    let failure = stage.receive(announced(free - RESERVED_SPACE + 1), silent()).unwrap_err();
    assert_eq!(failure.kind, FailureKind::NoSpace);
    assert!(failure.sentence.contains("1048576 are reserved"), "{failure}");
    stage.receive(announced(free - RESERVED_SPACE), silent()).unwrap();
}

#[test]
fn a_disk_that_fills_while_bytes_arrive_is_no_space_too() {
    let Some(mounted) = Mounted::memory(2048) else { return };
    let disk = Arc::new(FaultyDisk::failing("Allocate", Errno::EOPNOTSUPP));
    let stage = Stage::on(disk, &mounted.path().join("demo"), 64 * MIB);
    let mut receiving = stage.receive(announced(MIB), silent()).unwrap();
    let other = File::create(mounted.path().join("other")).unwrap();
    LocalDisk.apply(Operation::Allocate { file: &other, size: 2 * MIB - 64 * 1024 }).unwrap();
    assert_eq!(receiving.write(&bytes(MIB)).unwrap_err().kind, FailureKind::NoSpace);
    drop(receiving);
    assert!(names_in(&mounted.path().join(".uplift")).is_empty());
}

#[test]
fn a_read_only_directory_is_install_failed_and_says_which() {
    let original = tempfile::tempdir().unwrap();
    let Some(read_only) = Mounted::read_only(original.path()) else { return };
    let stage = Stage::beside(&read_only.path().join("demo"), MIB);
    let failure = stage.receive(announced(1), silent()).unwrap_err();
    assert_eq!(failure.kind, FailureKind::InstallFailed);
    assert!(
        failure.to_string().contains(".uplift can't be written: Read-only file system"),
        "{failure}"
    );
}

/// Whole buffers go to the disk as they come, and each part of 2 MiB is synced.
#[test]
fn a_large_file_is_written_as_it_comes_and_synced_in_parts() {
    for (mib, parts) in [(1, 0), (2, 1), (5, 2), (6, 3)] {
        let disk = Arc::new(FaultyDisk::sound());
        let (_directory, stage) = stage_on(Arc::clone(&disk) as Arc<dyn Disk>);
        let count = |name| disk.log().iter().filter(|operation| *operation == name).count();
        let mut receiving = stage.receive(announced(mib * MIB), silent()).unwrap();
        bytes(mib * MIB).chunks(100_000).for_each(|piece| receiving.write(piece).unwrap());
        assert_eq!(count("Write") as u64, mib * 4, "{mib} MiB");
        receiving.finish(None).unwrap();
        assert_eq!(count("SyncData"), parts, "{mib} MiB");
    }
}

/// A disk on which nothing of a part is durable before it is let.
#[derive(Debug)]
struct Gated(Mutex<std::sync::mpsc::Receiver<()>>);

impl Disk for Gated {
    fn create(&self, path: &Path, mode: u32) -> io::Result<File> {
        LocalDisk.create(path, mode)
    }

    fn apply(&self, operation: Operation<'_>) -> io::Result<()> {
        if matches!(operation, Operation::SyncData { .. }) {
            self.0.lock().unwrap().recv().map_err(io::Error::other)?;
        }
        LocalDisk.apply(operation)
    }
}

#[test]
fn bytes_arrive_while_a_part_is_synced() {
    let (open, gate) = std::sync::mpsc::channel();
    let (_directory, stage) = stage_on(Arc::new(Gated(Mutex::new(gate))));
    let mut receiving = stage.receive(announced(3 * MIB), silent()).unwrap();
    receiving.write(&bytes(2 * MIB + MIB / 2)).unwrap();
    assert_eq!(receiving.received(), 2 * MIB + MIB / 2);
    open.send(()).unwrap();
    receiving.write(&bytes(MIB / 2)).unwrap();
    receiving.finish(None).unwrap();
}

#[test]
fn a_staging_area_that_can_not_be_looked_into_is_an_error_and_none_at_all_is_clean() {
    let (directory, stage) = stage();
    stage.clean().unwrap();
    File::create(directory.path().join(".uplift")).unwrap();
    assert_eq!(stage.clean().unwrap_err().kind, FailureKind::InstallFailed);
}

#[test]
fn a_staging_area_that_became_something_else_is_no_interruption() {
    let (directory, stage) = stage();
    let receiving = stage.receive(announced(0), silent()).unwrap();
    let area = directory.path().join(".uplift");
    fs::remove_dir_all(&area).unwrap();
    File::create(&area).unwrap();
    assert_eq!(receiving.finish(None).unwrap_err().kind, FailureKind::InstallFailed);
}

/// Whether this path names the very file that was received.
fn is_at(staged: &Staged, path: &Path) -> bool {
    names(path, staged.file()).unwrap()
}

#[test]
fn a_staged_file_knows_its_own_name() {
    let (directory, stage) = stage();
    let receiving = stage.receive(announced(0), silent()).unwrap();
    assert!(format!("{receiving:?}").contains("PSDK_APPALIAS_V01.00.00.00.bin"));
    let staged = receiving.finish(None).unwrap();
    assert!(is_at(&staged, staged.path()) && !is_at(&staged, directory.path()));
    assert!(!is_at(&staged, &directory.path().join("missing")));
}

#[test]
fn an_area_that_others_may_write_to_is_closed_to_them() {
    let (directory, stage) = stage();
    let area = directory.path().join(".uplift");
    fs::create_dir(&area).unwrap();
    for mode in [0o1777, 0o0777, 0o0000] {
        fs::set_permissions(&area, fs::Permissions::from_mode(mode)).unwrap();
        stage.receive(announced(0), silent()).unwrap();
        assert_eq!(fs::metadata(&area).unwrap().permissions().mode() & 0o7777, DIRECTORY_MODE);
    }
    let disk = Arc::new(FaultyDisk::sound());
    let stage = Stage::on(Arc::clone(&disk) as Arc<dyn Disk>, &directory.path().join("demo"), MIB);
    stage.receive(announced(0), silent()).unwrap();
    assert!(!disk.log().contains(&"SetMode".to_owned()), "what is right stays: {:?}", disk.log());
}

/// All that stands behind a byte is a staged file of its own.
#[test]
fn what_stands_behind_a_byte_becomes_the_staged_file() {
    let (directory, stage) = stage();
    let area = directory.path().join(DIRECTORY_NAME);
    let content = bytes(MIB + 7);
    for start in [1, 4096, MIB, MIB + 6] {
        let mut receiving = stage.receive(announced(MIB + 7), silent()).unwrap();
        receiving.write(&content).unwrap();
        let whole = receiving.finish(None).unwrap();
        let (first, name) = (whole.path().to_owned(), whole.file_name.clone());
        let behind = whole.behind(start).unwrap();
        assert!(is_at(&whole, &first));
        drop(whole);
        let rest = &content[usize::try_from(start).unwrap()..];
        assert_eq!(fs::read(behind.path()).unwrap(), rest);
        assert_eq!(behind.digests.file, digest_of(rest).0);
        assert_eq!((behind.size, &behind.file_name), (rest.len() as u64, &name));
        assert_eq!(behind.path().metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert!(is_at(&behind, behind.path()) && !first.exists());
        assert_eq!(names_in(&area).len(), 1);
    }
    assert!(names_in(&area).is_empty());
}

#[test]
fn an_error_at_any_step_of_that_leaves_nothing() {
    let behind = |disk: FaultyDisk| {
        let (directory, stage) = stage_on(Arc::new(disk));
        let mut receiving = stage.receive(announced(MIB), silent()).unwrap();
        receiving.write(&bytes(MIB)).unwrap();
        let done = receiving.finish(None).unwrap().behind(100).map(drop);
        let done = done.map_err(|failure| (failure.kind, failure.sentence.contains("room twice")));
        (done, names_in(&directory.path().join(DIRECTORY_NAME)))
    };
    assert_eq!(behind(FaultyDisk::sound()), (Ok(()), Vec::new()));
    for (step, occurrence) in [("Allocate", 1), ("Write", 5), ("Sync", 1)] {
        for (errno, kind) in
            [(Errno::ENOSPC, FailureKind::NoSpace), (Errno::EIO, FailureKind::InstallFailed)]
        {
            let disk = FaultyDisk::sound().and_failing_once(step, occurrence, errno);
            // Why, where the file itself had room.
            let twice = (step, errno) == ("Allocate", Errno::ENOSPC);
            assert_eq!(behind(disk), (Err((kind, twice)), Vec::new()), "{step}");
        }
    }
}
