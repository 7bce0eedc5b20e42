//! The swap on file systems that the machine must lend.

use super::*;
use crate::disk::mounted::Mounted;

#[test]
fn without_exchange_the_old_program_gets_a_second_name() {
    let original = tempfile::tempdir().unwrap();
    let Some(mounted) = Mounted::without_rename_flags(original.path()) else { return };
    let payload = Payload::at(mounted.path().to_owned(), Arc::new(LocalDisk));
    assert_eq!(payload.install(OLD).unwrap().means, Means::FirstInstallation);
    assert_eq!(payload.install(NEW).unwrap().means, Means::Link);
    assert_eq!(
        (payload.content().unwrap(), payload.beside(".previous").unwrap()),
        (NEW.into(), OLD.into())
    );
    assert_eq!(payload.program.revert(digest(NEW), Some(digest(OLD))).unwrap(), Reverted::PutBack);
    assert_eq!(
        (payload.content().unwrap(), payload.beside(".failed").unwrap()),
        (OLD.into(), NEW.into())
    );
    // FUSE gives a file that was removed while open such a name until it is closed, which it hears
    // of late.
    let hidden = |name: &String| name.starts_with(".fuse_hidden");
    assert_eq!(
        payload.area().into_iter().filter(|name| !hidden(name)).collect::<Vec<_>>(),
        ["demo.failed", "demo.previous", "lock"]
    );
    assert_eq!(
        payload.program.previous().unwrap(),
        None,
        "there was no program before the first one"
    );
}

#[test]
fn in_memory_the_names_are_exchanged() {
    let Some(mounted) = Mounted::memory(4096) else { return };
    let payload = Payload::at(mounted.path().to_owned(), Arc::new(LocalDisk));
    payload.put(OLD);
    assert_eq!(payload.install(NEW).unwrap().means, Means::Exchange);
    assert_eq!(payload.content().unwrap(), NEW);
}

#[test]
fn a_read_only_directory_is_install_failed_and_changes_nothing() {
    let payload = Payload::with_program(OLD);
    payload.install(NEW).unwrap();
    let Some(mounted) = Mounted::read_only(&payload.directory) else { return };
    let read_only = Payload::at(mounted.path().to_owned(), Arc::new(LocalDisk));
    let failure = read_only.program.install(payload.checked(OLD)).unwrap_err();
    assert_eq!(failure.kind, FailureKind::InstallFailed);
    assert!(failure.to_string().contains("Read-only file system"), "{failure}");
    read_only.program.hold(digest(NEW)).unwrap();
    assert_eq!(
        read_only.program.revert(digest(NEW), Some(digest(OLD))).unwrap_err().kind,
        FailureKind::InstallFailed
    );
    assert_eq!(payload.content().unwrap(), NEW);
}

#[test]
fn a_disk_that_is_full_at_the_copy_is_no_space_and_changes_nothing() {
    use crate::disk::faulty::FaultyDisk;
    use nix::errno::Errno;
    let Some(mounted) = Mounted::memory(2048) else { return };
    let only_renames =
        FaultyDisk::failing("Exchange", Errno::EINVAL).and_failing("Link", Errno::EPERM);
    let payload = Payload::at(mounted.path().to_owned(), Arc::new(only_renames));
    let old = vec![b'o'; 700 * 1024];
    payload.put(&old);
    let checked = payload.checked(&[b'n'; 200 * 1024]);
    let filler = File::create(mounted.path().join("filler")).unwrap();
    LocalDisk.apply(Operation::Allocate { file: &filler, size: 900 * 1024 }).unwrap();
    assert_eq!(payload.program.install(checked).unwrap_err().kind, FailureKind::NoSpace);
    assert!(payload.content().unwrap() == old);
    assert_eq!(payload.area(), ["lock"]);
}

/// Where a file that was moved needs a sync of its own, it has one before anything hangs on its
/// name.
#[test]
fn on_a_file_system_that_needs_it_what_was_moved_is_synced() {
    use crate::disk::faulty::FaultyDisk;
    let temporary = tempfile::tempdir().unwrap();
    let on_fat = |disk: FaultyDisk| {
        let disk = Arc::new(disk.of_fat_kind());
        (Payload::at(temporary_path(&temporary), disk.clone()), disk)
    };
    let (payload, disk) = on_fat(FaultyDisk::sound());
    payload.put(OLD);
    payload.install(NEW).unwrap();
    let naming = ["Rename", "SyncDirectory", "SyncMoved"];
    let swap = ["Exchange", "Rename", "SyncDirectory", "SyncDirectory", "SyncMoved", "SyncMoved"];
    assert!(
        disk.log().ends_with(
            &[&naming[..], &swap].concat().into_iter().map(String::from).collect::<Vec<_>>()
        ),
        "{:?}",
        disk.log()
    );
    let failing = FaultyDisk::sound().and_failing_once("SyncMoved", 1, nix::errno::Errno::EIO);
    let (payload, _) = on_fat(failing);
    assert_eq!(payload.install(b"another").unwrap_err().kind, FailureKind::InstallFailed);
    assert_eq!(payload.content().unwrap(), NEW, "it is undone");
    payload.put(OLD);
    payload.install(NEW).unwrap();
    let (payload, disk) = on_fat(FaultyDisk::sound());
    assert_eq!(payload.program.revert(digest(NEW), Some(digest(OLD))).unwrap(), Reverted::PutBack);
    let durable = [
        "Exchange",
        "SyncDirectory",
        "SyncDirectory",
        "SyncMoved",
        "SyncMoved",
        "Rename",
        "SyncDirectory",
        "SyncMoved",
    ];
    let older = ["Rename", "Remove", "SyncDirectory", "SyncMoved"];
    assert_eq!(disk.log(), [&durable[..], &older].concat());
    let without_names = FaultyDisk::failing("Exchange", nix::errno::Errno::EINVAL)
        .and_failing("Link", nix::errno::Errno::EPERM);
    let (payload, disk) = on_fat(without_names);
    payload.install(NEW).unwrap();
    let swap = [
        "Sync",
        "Rename",
        "Remove",
        "SyncDirectory",
        "SyncMoved",
        "Rename",
        "SyncDirectory",
        "SyncDirectory",
        "SyncMoved",
        "SyncMoved",
    ];
    assert!(disk.log().ends_with(&swap.map(String::from)), "{:?}", disk.log());
    let naming = ["Rename", "Rename", "SyncDirectory", "SyncMoved", "SyncMoved"];
    let is_there = disk.log().windows(naming.len()).any(|window| window == naming);
    assert!(is_there, "the new program and the one before the old: {:?}", disk.log());
}

#[test]
fn a_file_system_without_attributes_is_none_that_fails() {
    let original = tempfile::tempdir().unwrap();
    let Some(mounted) = Mounted::without_attributes(original.path()) else { return };
    let payload = Payload::at(mounted.path().to_owned(), Arc::new(LocalDisk));
    payload.install(OLD).unwrap();
    payload.install(NEW).unwrap();
    assert_eq!(payload.content().unwrap(), NEW);
}

#[test]
fn where_a_mode_is_not_kept_nothing_is_swapped() {
    let original = tempfile::tempdir().unwrap();
    let Some(mounted) = Mounted::without_modes(original.path()) else { return };
    let payload = Payload::at(mounted.path().to_owned(), Arc::new(LocalDisk));
    std::fs::File::create(original.path().join("demo"))
        .and_then(|mut file| file.write_all(OLD))
        .unwrap();
    fs::set_permissions(original.path().join("demo"), Permissions::from_mode(0o755)).unwrap();
    fs::create_dir(original.path().join(".uplift")).unwrap();
    fs::set_permissions(original.path().join(".uplift"), Permissions::from_mode(0o700)).unwrap();
    let failure = payload.install(NEW).unwrap_err();
    assert_eq!(failure.kind, FailureKind::InstallFailed);
    assert!(
        failure.to_string().contains("the file system kept") && failure.to_string().contains("755"),
        "{failure}"
    );
    assert_eq!(payload.content().unwrap(), OLD);
}
