//! A directory in the place of a program: exchanged as a whole, and back.

use std::os::unix::fs::symlink;

use nix::errno::Errno;

use super::*;
use crate::disk::faulty::FaultyDisk;
use crate::model::FailureKind;
use crate::tree::{Owners, Scan};

/// A directory that is replaced, `sensor`, and what is on the way to it.
struct Payload {
    temporary: TempDir,
    program: Program,
}

impl Payload {
    /// With a tree of this word in its place, or nothing.
    fn new(disk: FaultyDisk, word: Option<&str>) -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path().join("sensor");
        if let Some(word) = word {
            make(&path, word);
        }
        let program = Program::on(Arc::new(disk), path).in_form(Form::Tree);
        Self { temporary, program }
    }

    /// The same, as another process sees it.
    fn afterwards(&self) -> Program {
        Program::new(self.program.path()).in_form(Form::Tree)
    }

    fn checked(&self, word: &str) -> Checked {
        let made = self.temporary.path().join("made");
        make(&made, word);
        let mut archive = Vec::new();
        Scan::of(&made, Owners::Theirs).unwrap().write_archive(&mut archive).unwrap();
        fs::remove_dir_all(&made).unwrap();
        let stage = Stage::beside(self.program.path(), 1 << 30);
        let announced = Announced::named("DEMO_V01.00.00.00.bin", Some(archive.len() as u64));
        let mut receiving = stage.receive(announced, Box::new(|_| {})).unwrap();
        receiving.write(&archive).unwrap();
        let staged = receiving.finish(None).unwrap();
        let summary = summary(&staged);
        Checked::for_test(staged, summary)
    }

    fn word(&self) -> Option<String> {
        let run = fs::read_to_string(self.program.path().join("bin/run")).ok()?;
        assert_eq!(fs::read_link(self.program.path().join("run")).unwrap(), Path::new("bin/run"));
        Some(run)
    }

    fn beside(&self, suffix: &str) -> Option<String> {
        fs::read_to_string(self.program.beside(suffix).join("bin/run")).ok()
    }

    fn area(&self) -> Vec<String> {
        let entries = fs::read_dir(self.temporary.path().join(".uplift")).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn make(path: &Path, word: &str) {
    fs::create_dir(path).unwrap();
    fs::create_dir(path.join("bin")).unwrap();
    File::create(path.join("bin/run")).unwrap().write_all(word.as_bytes()).unwrap();
    File::create(path.join("model")).unwrap().write_all(&word.repeat(1000).into_bytes()).unwrap();
    symlink("bin/run", path.join("run")).unwrap();
}

/// What a tree of this word is known by.
fn known_by(word: &str) -> ProgramDigest {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("sensor");
    make(&path, word);
    Scan::of(&path, Owners::Theirs).unwrap().manifest().digest().unwrap()
}

#[test]
fn a_tree_is_exchanged_and_the_one_before_it_is_kept() {
    let payload = Payload::new(FaultyDisk::sound(), Some("one"));
    let swapped = payload.program.install(payload.checked("two")).unwrap();
    assert_eq!(swapped.means, Means::Exchange);
    assert_eq!(swapped.summary.program_digest, known_by("two"));
    assert_eq!(payload.program.digest().unwrap(), Some(known_by("two")));
    assert_eq!(payload.program.known_digest().unwrap(), Some(known_by("two")));
    assert_eq!(
        (payload.word().as_deref(), payload.beside(".previous").as_deref()),
        (Some("two"), Some("one"))
    );
    assert_eq!(payload.area(), ["lock", "sensor.previous"]);
    payload.program.forget_older().unwrap();
    payload.program.install(payload.checked("three")).unwrap();
    assert_eq!(payload.beside(".older").as_deref(), Some("one"));
    let (three, two) = (known_by("three"), Some(known_by("two")));
    assert_eq!(payload.program.revert(three, two).unwrap(), Reverted::PutBack);
    assert_eq!(payload.word().as_deref(), Some("two"));
    assert_eq!(payload.beside(".failed").as_deref(), Some("three"));
    assert_eq!(payload.beside(".previous").as_deref(), Some("one"));
    assert_eq!(payload.program.revert(three, two).unwrap(), Reverted::NotOnTrial);
    // What failed last is kept, and what failed before it goes.
    payload.program.install(payload.checked("four")).unwrap();
    payload.program.revert(known_by("four"), two).unwrap();
    assert_eq!(payload.beside(".failed").as_deref(), Some("four"));
    assert_eq!(payload.area(), ["lock", "sensor.failed", "sensor.previous"]);
}

#[test]
fn the_first_tree_goes_again_where_it_fails() {
    let payload = Payload::new(FaultyDisk::sound(), None);
    let swapped = payload.program.install(payload.checked("one")).unwrap();
    assert_eq!(swapped.means, Means::FirstInstallation);
    assert_eq!(payload.word().as_deref(), Some("one"));
    assert_eq!(payload.program.revert(known_by("one"), None).unwrap(), Reverted::Removed);
    assert!(!payload.program.path().exists());
    assert_eq!(payload.beside(".failed").as_deref(), Some("one"));
    payload.program.install(payload.checked("two")).unwrap();
    assert_eq!(payload.word().as_deref(), Some("two"));
}

#[test]
fn something_else_at_the_path_is_not_replaced() {
    let payload = Payload::new(FaultyDisk::sound(), None);
    File::create(payload.program.path()).unwrap();
    assert!(payload.program.examine().unwrap_err().sentence.ends_with("is not a directory"));
    assert!(payload.program.install(payload.checked("one")).is_err());
    fs::remove_file(payload.program.path()).unwrap();
    symlink(".", payload.program.path()).unwrap();
    assert!(payload.program.examine().unwrap_err().sentence.contains("is a symbolic link"));
}

/// The kind is for file systems that exchange: anywhere else a power cut would find no tree at the
/// path.
#[test]
fn where_nothing_is_exchanged_no_tree_is_replaced() {
    for errno in [Errno::EINVAL, Errno::ENOSYS, Errno::EOPNOTSUPP] {
        let payload = Payload::new(FaultyDisk::failing("Exchange", errno), Some("one"));
        for failure in [
            payload.program.install(payload.checked("two")).unwrap_err(),
            payload.program.must_exchange().unwrap_err(),
        ] {
            assert_eq!(failure.kind, FailureKind::InstallFailed);
            assert!(failure.sentence.contains("can't exchange two directories"), "{failure}");
            assert!(failure.hint().contains("ext4"));
        }
        assert_eq!(payload.word().as_deref(), Some("one"));
    }
}

/// The process may die at each operation: the path names one of the two, whole, and what comes next
/// puts all else in order.
#[test]
fn a_swap_that_is_cut_off_anywhere_leaves_a_whole_tree() {
    let (one, two) = (known_by("one"), known_by("two"));
    let mut seen = Vec::new();
    for death in 0.. {
        let payload = Payload::new(FaultyDisk::sound().and_dying_at(death), Some("one"));
        let checked = payload.checked("two");
        let package = checked.summary().clone();
        let is_over = payload.program.install(checked).is_ok();
        let program = payload.afterwards();
        let at_path = program.digest().unwrap().unwrap();
        assert!([one, two].contains(&at_path), "death {death}: {:?}", payload.area());
        seen.push(at_path);
        if at_path == two {
            assert_eq!(program.previous().unwrap(), Some(one), "death {death}");
            assert_eq!(program.revert(two, Some(one)).unwrap(), Reverted::PutBack);
        } else {
            program.finish(&package, false).unwrap();
        }
        assert_eq!(program.digest().unwrap(), Some(one), "death {death}");
        // And from there the next one can be installed.
        program.install(payload.checked("three")).unwrap();
        assert_eq!(payload.word().as_deref(), Some("three"));
        let left = payload.area();
        let known = ["lock", "sensor.failed", "sensor.previous"];
        let stray: Vec<_> = left
            .iter()
            .filter(|name| !known.contains(&name.as_str()) && !name.starts_with("incoming-"))
            .collect();
        assert!(stray.is_empty(), "death {death}: {left:?}");
        if is_over {
            break;
        }
    }
    assert!(seen.contains(&one) && seen.contains(&two) && seen.len() > 15, "{}", seen.len());
}

#[test]
fn a_way_back_that_is_cut_off_anywhere_is_completed() {
    let (one, two) = (known_by("one"), known_by("two"));
    for is_first in [false, true] {
        for death in 0.. {
            let payload = Payload::new(FaultyDisk::sound(), (!is_first).then_some("one"));
            payload.program.install(payload.checked("two")).unwrap();
            let disk = Arc::new(FaultyDisk::sound().and_dying_at(death));
            let dying = Program::on(disk, payload.program.path()).in_form(Form::Tree);
            let old = (!is_first).then_some(one);
            let is_over = dying.revert(two, old).is_ok();
            let program = payload.afterwards();
            let at_path = program.digest().unwrap();
            assert!(at_path == Some(two) || at_path == old, "death {death}");
            program.revert(two, old).unwrap();
            assert_eq!(program.digest().unwrap(), old, "death {death}");
            assert_eq!(payload.beside(".failed").as_deref(), Some("two"), "death {death}");
            if is_over {
                break;
            }
        }
    }
}

/// What runs in a tree may write into it: that must not keep it there.
#[test]
fn a_tree_that_was_written_into_goes_back_all_the_same() {
    let (one, two) = (known_by("one"), known_by("two"));
    for old in [Some("one"), None] {
        let payload = Payload::new(FaultyDisk::sound(), old);
        payload.program.install(payload.checked("two")).unwrap();
        let write = || drop(File::create(payload.program.path().join("bin/cache")).unwrap());
        write();
        let (program, old) = (&payload.program, old.map(|_| one));
        let found = program.digest().unwrap();
        assert!(found != Some(two) && found != old);
        assert_eq!(program.counts_as(found, two, old), Some(two));
        let expected = if old.is_some() { Reverted::PutBack } else { Reverted::Removed };
        assert_eq!(program.revert(two, old).unwrap(), expected);
        assert_eq!(program.digest().unwrap(), old);
        assert!(program.beside(".failed").join("bin/cache").exists());
    }
    // The old one that is back writes into itself, too.
    let payload = Payload::new(FaultyDisk::sound(), Some("one"));
    payload.program.install(payload.checked("two")).unwrap();
    payload.program.revert(two, Some(one)).unwrap();
    File::create(payload.program.path().join("bin/cache")).unwrap();
    let found = payload.program.digest().unwrap();
    assert_eq!(payload.program.counts_as(found, two, Some(one)), Some(one));
    assert_eq!(payload.program.revert(two, Some(one)).unwrap(), Reverted::NotOnTrial);
    assert!(payload.program.path().join("bin/cache").exists());
    // And a directory that somebody has made is nobody's.
    let payload = Payload::new(FaultyDisk::sound(), Some("by hand"));
    let found = payload.program.digest().unwrap();
    assert_eq!(payload.program.counts_as(found, two, Some(one)), found);
    assert_eq!(payload.program.revert(two, Some(one)).unwrap(), Reverted::NotOnTrial);
}

/// A tree is complete and durable before it has any name that counts.
#[test]
fn everything_is_synced_before_the_exchange() {
    let disk = Arc::new(FaultyDisk::sound());
    let payload = Payload::new(FaultyDisk::sound(), Some("one"));
    let program =
        Program::on(Arc::clone(&disk) as Arc<dyn Disk>, payload.program.path()).in_form(Form::Tree);
    let checked = payload.checked("two");
    program.install(checked).unwrap();
    let log = disk.log();
    let swap = log.iter().rposition(|one| one == "Exchange").unwrap();
    let count = |name: &str| log[..swap].iter().filter(|one| *one == name).count();
    assert_eq!(count("create"), 2);
    assert!(count("Sync") >= 2, "{log:?}");
    // The tree, `bin` in it, and the staging area behind the name that it has there.
    assert!(count("SyncDirectory") >= 3, "{log:?}");
    assert_eq!(log[swap - 1], "SyncDirectory", "{log:?}");
    let behind = &log[swap + 1..];
    assert_eq!(behind[..3], ["Rename", "SyncDirectory", "SyncDirectory"], "{behind:?}");
}
