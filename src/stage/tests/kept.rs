//! What stays over restarts: a part of a file, and a file that was put off.

use super::*;

/// What a keeper was told last.
fn told() -> (Arc<Mutex<u64>>, Keeper) {
    let told = Arc::new(Mutex::new(0));
    let keeps = Arc::clone(&told);
    let durable = move |size| {
        *keeps.lock().unwrap() = size;
        Ok(())
    };
    (told, Keeper { durable: Arc::new(durable), written: Arc::new(|_| Ok(())) })
}

#[test]
fn a_part_that_is_kept_is_gone_on_with_by_another_process() {
    let content = bytes(3 * MIB + 5);
    for cut in [1, MIB, 2 * MIB + 9, 3 * MIB + 5] {
        let (directory, stage) = stage();
        let size = content.len() as u64;
        let (told, keeper) = told();
        let mut name = String::new();
        let keep = |staged: String| {
            name.clone_from(&staged);
            Ok(keeper)
        };
        let mut receiving = stage.receive_kept(announced(size), silent(), keep).unwrap();
        let (before, after) = content.split_at(usize::try_from(cut).unwrap());
        receiving.write(before).unwrap();
        receiving.put_down().unwrap();
        let kept = *told.lock().unwrap();
        assert_eq!(kept, cut / 4096 * 4096, "what is durable in whole blocks is written down");
        let next = Stage::on(Arc::new(LocalDisk), &directory.path().join("demo"), 64 * MIB);
        assert!(next.has_part(&name, cut) && !next.has_part("../demo", 0));
        let (told, keeper) = self::told();
        let resumed = next.resume(&name, announced(size), kept, silent(), keeper);
        let mut resumed = resumed.unwrap();
        assert_eq!(resumed.received(), kept);
        resumed.write(&before[usize::try_from(kept).unwrap()..]).unwrap();
        resumed.write(after).unwrap();
        let staged = resumed.finish(Some(digest_of(&content).1)).unwrap();
        assert_eq!((staged.digests.file, *told.lock().unwrap()), (digest_of(&content).0, size));
        assert!(fs::read(staged.path()).unwrap() == content);
        drop(staged);
        assert_eq!(names_in(&directory.path().join(".uplift")), [name], "until it is cleaned away");
        next.clean().unwrap();
        assert!(names_in(&directory.path().join(".uplift")).is_empty());
    }
}

#[test]
fn who_went_on_with_a_part_before_writes_nothing_into_it_any_more() {
    let (_directory, stage) = stage();
    let mut name = String::new();
    let (told, keeper) = told();
    let again = keeper.clone();
    let keep = |staged: String| {
        name.clone_from(&staged);
        Ok(keeper)
    };
    let mut old = stage.receive_kept(announced(2 * MIB), silent(), keep).unwrap();
    old.write(&bytes(MIB)).unwrap();
    let mut new = stage.resume(&name, announced(2 * MIB), 0, silent(), again).unwrap();
    new.write(&vec![7; 2 << 20]).unwrap();
    assert!(old.write(&bytes(MIB)).is_err());
    assert!(old.put_down().is_err() && *told.lock().unwrap() == 0, "nor does it count");
    let staged = new.finish(None).unwrap();
    assert_eq!(fs::read(staged.path()).unwrap(), vec![7; 2 << 20]);
}

#[test]
fn a_part_that_is_not_there_or_is_no_file_is_not_gone_on_with() {
    let (directory, stage) = stage();
    drop(stage.receive(announced(0), silent()).unwrap());
    let area = directory.path().join(".uplift");
    symlink("/etc/passwd", area.join("incoming-1-1")).unwrap();
    fs::create_dir(area.join("incoming-1-2")).unwrap();
    fs::File::create(area.join("incoming-1-3")).unwrap();
    for name in ["incoming-1-0", "incoming-1-1", "incoming-1-2", "incoming-1-3", "lock"] {
        let resumed = stage.resume(name, announced(9), 5, silent(), told().1);
        assert_eq!(resumed.unwrap_err().kind, FailureKind::InstallFailed, "{name}");
        assert!(!stage.has_part(name, 5), "{name}");
    }
}

/// As over a restart of the daemon, which drops all that it has in its hands.
#[test]
fn a_file_that_is_kept_stays_until_it_is_let_go() {
    let (directory, stage) = stage();
    let area = directory.path().join(DIRECTORY_NAME);
    let received = || {
        let mut receiving = stage.receive(announced(MIB), silent()).unwrap();
        receiving.write(&bytes(MIB)).unwrap();
        receiving.finish(None).unwrap()
    };
    let first = received();
    let digests = first.digests;
    let name = first.keep().unwrap();
    assert!(stage.has_kept(&name, MIB) && !stage.has_kept(&name, MIB - 1));
    let other = received();
    stage.clean_but(Some(&name)).unwrap();
    assert_eq!(names_in(&area), std::slice::from_ref(&name), "what is not kept goes");
    drop(other);
    let reopened = stage.reopen(&name, "P_V02.00.00.00.bin".into()).unwrap();
    assert_eq!((reopened.size, reopened.digests.file), (MIB, digests.file));
    assert_eq!(reopened.file_name.as_deref(), Some("P_V02.00.00.00.bin"));
    drop(reopened);
    assert!(stage.has_kept(&name, MIB), "looked at, it stays");
    let mut again = stage.reopen(&name, "P_V02.00.00.00.bin".into()).unwrap();
    again.let_go();
    drop(again);
    assert!(names_in(&area).is_empty());
    let missing = stage.reopen(&name, "P_V02.00.00.00.bin".into()).unwrap_err();
    assert_eq!(missing.kind, FailureKind::Interrupted);
}

#[test]
fn what_is_no_received_file_is_not_reopened() {
    let (directory, stage) = stage();
    let area = directory.path().join(DIRECTORY_NAME);
    fs::create_dir(&area).unwrap();
    fs::File::create(area.join("demo.previous")).unwrap();
    fs::create_dir(area.join("incoming-1-1")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", area.join("incoming-1-2")).unwrap();
    for name in ["demo.previous", "incoming-1-1", "incoming-1-2", "incoming-/../demo.previous"] {
        let failure = stage.reopen(name, "P_V02.00.00.00.bin".into()).unwrap_err();
        assert_eq!(failure.kind, FailureKind::Interrupted, "{name}");
        assert!(!stage.has_kept(name, 0), "{name}");
    }
}
