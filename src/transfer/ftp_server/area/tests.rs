use super::*;
use crate::disk::mounted::Mounted;

fn area(home: &Path, max_size: u64) -> Arc<Area> {
    Arc::new(Area::open(home, Limits { max_size, keep_free: 0 }).unwrap())
}

fn names(home: &Path) -> Vec<String> {
    std::fs::read_dir(home).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn a_dropped_upload_is_gone_and_a_published_one_stays() {
    let home = tempfile::tempdir().unwrap();
    let area = area(home.path(), 10);
    let mut upload = area.upload("a", None).unwrap();
    upload.write(b"12345").unwrap();
    assert!(names(home.path())[0].starts_with(UNFINISHED_PREFIX));
    drop(upload);
    assert!(names(home.path()).is_empty());
    let mut upload = area.upload("a", None).unwrap();
    upload.write(b"1234567890").unwrap();
    assert!(matches!(upload.write(b"1"), Err(AreaError::TooLarge { largest: 10 })));
    upload.publish().unwrap();
    assert_eq!(area.entry("/a").unwrap().size, 10);
}

#[test]
fn an_upload_whose_hidden_name_was_taken_away_is_not_published() {
    let home = tempfile::tempdir().unwrap();
    let area = area(home.path(), 10);
    let upload = area.upload("a", None).unwrap();
    std::fs::remove_file(home.path().join(&names(home.path())[0])).unwrap();
    assert!(matches!(upload.publish(), Err(AreaError::NotFound)));
    assert!(names(home.path()).is_empty());
}

#[test]
fn names_that_clients_can_t_say_are_not_listed() {
    use std::os::unix::ffi::OsStrExt;
    let home = tempfile::tempdir().unwrap();
    for name in [&b"plain"[..], b"\xFF\xFE", b"line\nend", b".hidden"] {
        File::create(home.path().join(std::ffi::OsStr::from_bytes(name))).unwrap();
    }
    let listed = area(home.path(), 10).list(None).unwrap();
    assert_eq!(listed.iter().map(|entry| entry.name.as_str()).collect::<Vec<_>>(), ["plain"]);
}

#[test]
fn uploads_side_by_side_leave_what_has_to_stay_free() {
    const KEEP_FREE: u64 = 32 << 20;
    let Some(disk) = Mounted::memory(64 << 10) else { return };
    let area = Arc::new(Area::open(disk.path(), Limits { max_size: 1 << 30, keep_free: KEEP_FREE }).unwrap());
    let mut uploads: Vec<Upload> = (0..8).map(|number| area.upload(&number.to_string(), None).unwrap()).collect();
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
    assert!(area.fits(30 << 20).is_ok());
}

#[test]
fn no_two_uploads_have_the_same_time() {
    let home = tempfile::tempdir().unwrap();
    let area = area(home.path(), 10);
    let modified = || {
        area.upload("a", None).unwrap().publish().unwrap();
        std::fs::metadata(home.path().join("a")).unwrap().modified().unwrap()
    };
    let times: Vec<SystemTime> = (0..100).map(|_| modified()).collect();
    assert!(times.is_sorted_by(|one, next| one < next));
    // As if the clock had been set back.
    let ahead = times[99] + Duration::from_secs(3600);
    *area.published.lock().unwrap() = ahead;
    assert_eq!(modified(), ahead + Duration::from_nanos(1));
}
