use super::*;
use crate::disk::mounted::Mounted;

fn area(home: &Path, max_size: u64) -> Arc<Area> {
    Arc::new(Area::open(home, Limits { max_size, keep_free: 0 }).unwrap())
}

fn path(text: &str) -> PathText {
    text.as_bytes().into()
}

/// An upload of what is at a path.
fn begin(
    area: &Arc<Area>,
    path: &PathText,
    announced: Option<u64>,
    who: &Who,
) -> Result<Upload, AreaError> {
    let claim = area.claim(&area.file_name(path)?, who, None)?;
    area.begin(claim, announced)
}

fn names(home: &Path) -> Vec<String> {
    std::fs::read_dir(home)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

#[test]
fn a_dropped_upload_is_gone_and_a_published_one_stays() {
    let home = tempfile::tempdir().unwrap();
    let area = area(home.path(), 10);
    let mut upload = begin(&area, &path("a"), None, &Who::Machine).unwrap();
    upload.write(b"12345").unwrap();
    assert_eq!(upload.written(), 5);
    assert!(names(home.path())[0].starts_with(UNFINISHED_PREFIX));
    drop(upload);
    assert!(names(home.path()).is_empty());
    let mut upload = begin(&area, &path("a"), None, &Who::Machine).unwrap();
    upload.write(b"1234567890").unwrap();
    assert!(matches!(upload.write(b"1"), Err(AreaError::TooLarge { largest: 10 })));
    upload.publish().unwrap();
    assert_eq!(area.entry(&path("/a"), &Who::Machine).unwrap().size, 10);
}

#[test]
fn what_is_announced_fits_up_to_the_largest_size() {
    let home = tempfile::tempdir().unwrap();
    let area = area(home.path(), 10);
    for size in [0, 9, 10] {
        area.fits(size).unwrap();
    }
    for size in [11, u64::MAX] {
        assert!(matches!(area.fits(size), Err(AreaError::TooLarge { largest: 10 })), "{size}");
    }
}

#[test]
fn an_upload_whose_hidden_name_was_taken_away_is_not_published() {
    let home = tempfile::tempdir().unwrap();
    let area = area(home.path(), 10);
    let upload = begin(&area, &path("a"), None, &Who::Machine).unwrap();
    std::fs::remove_file(home.path().join(&names(home.path())[0])).unwrap();
    assert!(matches!(upload.publish(), Err(AreaError::NotFound)));
    assert!(names(home.path()).is_empty());
}

#[test]
fn a_home_that_is_no_directory_is_refused_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let pipe = directory.path().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRUSR).unwrap();
    assert!(Area::open(&pipe, Limits { max_size: 10, keep_free: 0 }).is_err());
}

#[test]
fn what_came_in_the_place_of_a_file_is_not_opened() {
    let home = tempfile::tempdir().unwrap();
    let at = |name: &str| home.path().join(name);
    File::create(at("file")).unwrap();
    std::os::unix::fs::symlink(at("file"), at("link")).unwrap();
    nix::unistd::mkfifo(&at("pipe"), nix::sys::stat::Mode::S_IRUSR).unwrap();
    std::fs::create_dir(at("directory")).unwrap();
    let area = area(home.path(), 10);
    let open = |name: &str| area.open_regular(&FileName::parse(name.as_bytes()).unwrap());
    for name in ["link", "pipe", "directory"] {
        assert!(matches!(open(name), Err(AreaError::NotAFile)), "{name}");
    }
    assert!(open("file").is_ok());
}

/// Whoever else may write to the directory can guess it.
#[test]
fn nothing_is_written_to_what_has_a_hidden_name_already() {
    let (home, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let outside = elsewhere.path().join("outside");
    File::create(&outside).unwrap();
    let area = area(home.path(), 10);
    let hidden = |number| home.path().join(format!("{UNFINISHED_PREFIX}{number}"));
    std::os::unix::fs::symlink(&outside, hidden(0)).unwrap();
    File::create(hidden(1)).unwrap();
    for _ in 0..2 {
        assert!(matches!(begin(&area, &path("a"), None, &Who::Machine), Err(AreaError::Io(_))));
    }
    begin(&area, &path("a"), None, &Who::Machine).unwrap();
}

#[test]
fn a_file_is_for_its_owner_and_group_and_for_no_program_that_is_started() {
    use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
    let home = tempfile::tempdir().unwrap();
    let area = area(home.path(), 10);
    let upload = begin(&area, &path("a"), None, &Who::Machine).unwrap();
    let mut like = std::fs::OpenOptions::new();
    let like = like.create_new(true).write(true).mode(0o640).open(home.path().join("like"));
    let mode = |file: &File| file.metadata().unwrap().permissions().mode();
    assert_eq!(mode(&upload.file), mode(&like.unwrap()), "as far as the umask lets it");
    let inherited = |fd: BorrowedFd<'_>| {
        !rustix::io::fcntl_getfd(fd).unwrap().contains(rustix::io::FdFlags::CLOEXEC)
    };
    assert!(!inherited(area.fd()) && !inherited(upload.file.as_fd()));
    upload.publish().unwrap();
    let (file, _) = area.read(&path("a"), 0, &Who::Machine).unwrap();
    assert!(!inherited(file.as_fd()));
}

#[test]
fn a_disk_that_is_full_after_all_has_the_reply_of_a_full_disk() {
    for (kind, code) in [
        (io::ErrorKind::StorageFull, 452),
        (io::ErrorKind::QuotaExceeded, 452),
        (io::ErrorKind::ReadOnlyFilesystem, 451),
    ] {
        assert_eq!(AreaError::from_write(kind.into()).reply().code(), code, "{kind}");
    }
}

#[test]
fn names_that_clients_can_t_say_are_not_listed() {
    use std::os::unix::ffi::OsStrExt;
    let home = tempfile::tempdir().unwrap();
    for name in [&b"plain"[..], b"\xFF\xFE", b"line\nend", b".hidden"] {
        File::create(home.path().join(std::ffi::OsStr::from_bytes(name))).unwrap();
    }
    let listed = area(home.path(), 10).list(None).unwrap();
    assert_eq!(
        listed.iter().map(|entry| entry.name.as_bytes()).collect::<Vec<_>>(),
        [&b"plain"[..], b"\xFF\xFE"]
    );
}

#[test]
fn uploads_side_by_side_leave_what_has_to_stay_free() {
    const KEEP_FREE: u64 = 32 << 20;
    let Some(disk) = Mounted::memory(64 << 10) else { return };
    let area = Arc::new(
        Area::open(disk.path(), Limits { max_size: 1 << 30, keep_free: KEEP_FREE }).unwrap(),
    );
    let mut uploads: Vec<Upload> = (0..8)
        .map(|number| begin(&area, &path(&number.to_string()), None, &Who::Machine).unwrap())
        .collect();
    let chunk = vec![7; 64 << 10];
    let writes = |upload: &mut Upload| match upload.write(&chunk) {
        Ok(()) => true,
        Err(error) => {
            assert!(matches!(error, AreaError::NoSpace), "{error}");
            false
        }
    };
    while uploads.iter_mut().filter_map(|upload| writes(upload).then_some(())).count() > 0 {}
    let free = disk::free_bytes(&fstatvfs(area.fd()).unwrap());
    assert!((KEEP_FREE..KEEP_FREE + (1 << 20)).contains(&free), "{free}");
    // What they held is there for the next one, as is what they wrote.
    drop(uploads);
    // A process that another test starts holds copies of their descriptors until it becomes another
    // program.
    let until = Instant::now() + Duration::from_secs(30);
    while area.fits(30 << 20).is_err() && Instant::now() < until {
        std::thread::yield_now();
    }
    assert!(area.fits(30 << 20).is_ok());
}

#[test]
fn no_two_uploads_have_the_same_time() {
    let home = tempfile::tempdir().unwrap();
    let area = area(home.path(), 10);
    let modified = || {
        begin(&area, &path("a"), None, &Who::Machine).unwrap().publish().unwrap();
        std::fs::metadata(home.path().join("a")).unwrap().modified().unwrap()
    };
    let times: Vec<SystemTime> = (0..100).map(|_| modified()).collect();
    assert!(times.is_sorted_by(|one, next| one < next));
    // As if the clock had been set back.
    let ahead = times[99] + Duration::from_secs(3600);
    *area.published.lock().unwrap() = ahead;
    for number in 1..=3 {
        assert_eq!(modified(), ahead + Duration::from_nanos(number));
    }
}

fn host(last: u8) -> Who {
    Who::Address([192, 0, 2, last].into())
}

fn store(area: &Arc<Area>, name: &str, who: &Who) -> Result<(), AreaError> {
    let mut upload = begin(area, &path(name), None, who)?;
    upload.write(b"content")?;
    upload.publish()
}

#[test]
fn another_can_do_nothing_with_a_file_and_its_owner_and_this_machine_all() {
    let home = tempfile::tempdir().unwrap();
    let area = area(home.path(), 1 << 20);
    let running = begin(&area, &path("a"), None, &host(1)).unwrap();
    assert!(matches!(begin(&area, &path("a"), None, &host(2)), Err(AreaError::Anothers)));
    running.publish().unwrap();
    let (a, b) = (path("a"), path("b"));
    store(&area, "b", &host(2)).unwrap();
    let other = host(2);
    assert!(matches!(store(&area, "a", &other), Err(AreaError::Anothers)));
    assert!(matches!(area.delete(&a, &other), Err(AreaError::Anothers)));
    assert!(matches!(area.read(&a, 0, &other), Err(AreaError::Anothers)));
    assert!(matches!(area.may_rename(&a, &other), Err(AreaError::Anothers)));
    let own = area.may_rename(&b, &other).unwrap();
    assert!(matches!(area.rename(&own, &a, &other), Err(AreaError::Anothers)));
    for who in [host(1), Who::Machine] {
        assert!(area.read(&a, 0, &who).is_ok());
        let name = area.may_rename(&a, &who).unwrap();
        area.rename(&name, &path("c"), &who).unwrap();
        let name = area.may_rename(&path("c"), &who).unwrap();
        area.rename(&name, &a, &who).unwrap();
    }
    area.delete(&a, &Who::Machine).unwrap();
    store(&area, "a", &other).unwrap();
}

#[test]
fn the_name_of_a_deleted_file_is_free_for_others() {
    let home = tempfile::tempdir().unwrap();
    let area = area(home.path(), 1 << 20);
    store(&area, "a", &host(1)).unwrap();
    store(&area, "part", &host(2)).unwrap();
    area.delete(&path("a"), &host(1)).unwrap();
    let part = area.may_rename(&path("part"), &host(2)).unwrap();
    area.rename(&part, &path("a"), &host(2)).unwrap();
}

#[test]
fn one_that_this_machine_stored_meanwhile_is_not_replaced() {
    let home = tempfile::tempdir().unwrap();
    let area = area(home.path(), 1 << 20);
    let upload = begin(&area, &path("a"), None, &host(1)).unwrap();
    store(&area, "a", &Who::Machine).unwrap();
    assert!(matches!(upload.publish(), Err(AreaError::Anothers)));
    assert_eq!(std::fs::read(home.path().join("a")).unwrap(), b"content");
}

#[test]
fn no_one_peer_takes_all_files() {
    let home = tempfile::tempdir().unwrap();
    let area = area(home.path(), 1 << 20);
    let names: Vec<String> = (0..MOST_FILES_OF_ONE).map(|number| number.to_string()).collect();
    names.iter().for_each(|name| store(&area, name, &host(1)).unwrap());
    assert!(matches!(store(&area, "more", &host(1)), Err(AreaError::TooManyFilesOfOne)));
    store(&area, "0", &host(1)).unwrap();
    store(&area, "more", &host(2)).unwrap();
    // What somebody else took away counts no more.
    std::fs::remove_file(home.path().join("1")).unwrap();
    store(&area, "one more", &host(1)).unwrap();
}

#[test]
fn what_nobody_owns_makes_room_and_what_somebody_owns_does_not() {
    let Some(disk) = Mounted::memory(8 << 10) else { return };
    let fill = |name: &str| {
        File::create(disk.path().join(name)).unwrap().write_all(&vec![7; 3 << 20]).unwrap();
    };
    fill("old");
    let area =
        Arc::new(Area::open(disk.path(), Limits { max_size: 1 << 30, keep_free: 0 }).unwrap());
    let upload = |name: &str, who: &Who| {
        let mut upload = begin(&area, &path(name), None, who)?;
        (0..48).try_for_each(|_| upload.write(&[7; 64 << 10]))?;
        upload.publish()
    };
    upload("one", &host(1)).unwrap();
    assert_eq!(names(disk.path()).len(), 2);
    upload("other", &host(2)).unwrap();
    assert!(!disk.path().join("old").exists());
    assert!(matches!(upload("more", &host(1)), Err(AreaError::NoSpace)));
    assert!(disk.path().join("one").exists() && disk.path().join("other").exists());
}
