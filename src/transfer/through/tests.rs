use std::sync::mpsc::{Receiver, channel};

use nix::errno::Errno;
use tempfile::TempDir;

use super::*;
use crate::disk::faulty::FaultyDisk;
use crate::disk::{Disk, LocalDisk, Operation};
use crate::stage::Stage;

const NAME: &str = "DEMO_V02.00.00.00.bin";
const OTHER: &str = "DEMO_V03.00.00.00.bin";

/// A place, the stage behind it, and what the upgrade has heard.
struct Place {
    through: Through,
    open: Option<Open>,
    heard: Receiver<Failure>,
    directory: TempDir,
}

impl Place {
    fn new() -> Self {
        Self::on(Arc::new(LocalDisk))
    }

    fn on(disk: Arc<dyn Disk>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let stage = Stage::on(disk, &directory.path().join("demo"), 1000);
        let (hears, heard) = channel();
        let through = Through::default();
        let open = through.open(Wishes {
            component_of: Box::new(|product| match product {
                "DEMO" | "DEMO_2" => Some(ComponentName::PROGRAM),
                "CAMERA" => "camera".parse().ok(),
                _ => None,
            }),
            receive: Arc::new(move |announced| stage.receive(announced, Box::new(|_| {}))),
            failed: Arc::new(move |failure| hears.send(failure).unwrap()),
        });
        Self { through, open: Some(open), heard, directory }
    }

    fn upload(&self, name: &str, bytes: &[u8]) -> Result<u64, Failure> {
        let mut arriving = self.through.begin(name, "host", 0).unwrap();
        arriving.write(bytes)?;
        arriving.finish()
    }

    fn files(&self) -> usize {
        self.directory.path().join(".uplift").read_dir().map_or(0, Iterator::count)
    }

    fn seen(&self) -> Option<(String, u64, Standing)> {
        self.through.look().map(|seen| (seen.name, seen.size, seen.standing))
    }
}

fn is_elsewhere(begun: &Result<Arriving, Declined>) -> bool {
    matches!(begun, Err(Declined::Elsewhere(_)))
}

#[test]
fn an_upload_is_seen_as_it_comes_and_taken_when_it_is_whole() {
    let place = Place::new();
    assert_eq!(place.seen(), None);
    let mut arriving = place.through.begin(NAME, "host", 0).unwrap();
    arriving.write(b"12").unwrap();
    assert_eq!(place.seen(), Some((NAME.into(), 2, Standing::Arriving)));
    assert!(place.through.take_whole().is_none());
    assert_eq!(arriving.finish().unwrap(), 2);
    assert_eq!(place.seen(), Some((NAME.into(), 2, Standing::Whole)));
    place.through.settle();
    let staged = place.through.take_whole().unwrap();
    assert_eq!((staged.file_name.as_deref(), staged.size), (Some(NAME), 2));
    assert!(is_elsewhere(&place.through.begin(NAME, "host", 0)), "it waits for nothing any more");
    drop(staged);
    assert!(place.files() == 0 && place.heard.try_recv().is_err());
}

#[test]
fn nobody_else_and_no_other_name_has_the_place_meanwhile() {
    let place = Place::new();
    let running = place.through.begin(NAME, "host", 0).unwrap();
    assert!(is_elsewhere(&place.through.begin(NAME, "host", 0)), "it runs");
    drop(running);
    for (name, owner) in [(NAME, "stranger"), (OTHER, "host")] {
        assert!(is_elsewhere(&place.through.begin(name, owner, 0)), "{name} of {owner}");
    }
    assert!(place.through.begin(NAME, "host", 0).is_ok());
}

#[test]
fn a_name_that_is_none_or_of_nothing_here_has_no_place() {
    let place = Place::new();
    for name in ["demo.bin", "OTHER_V02.00.00.00.bin", "DEMO_V02.00.00.bin"] {
        assert!(is_elsewhere(&place.through.begin(name, "host", 0)), "{name}");
    }
    assert!(place.seen().is_none() && place.files() == 0);
}

#[test]
fn at_the_word_and_at_the_end_of_the_upgrade_what_is_not_whole_is_gone() {
    for ends in [true, false] {
        let mut place = Place::new();
        let mut arriving = place.through.begin(NAME, "host", 0).unwrap();
        arriving.write(b"12").unwrap();
        if ends {
            place.open = None;
        } else {
            place.through.settle();
        }
        assert_eq!(place.seen(), None);
        assert_eq!(arriving.finish().unwrap_err().kind, FailureKind::Cancelled);
        assert!(place.files() == 0 && place.heard.try_recv().is_err());
    }
}

#[test]
fn an_older_upgrade_that_ends_late_does_not_close_the_place_of_the_next() {
    let place = Place::new();
    let next = Place::new();
    let older = place.open;
    let open = place.through.open(Wishes {
        component_of: Box::new(|_| Some(ComponentName::PROGRAM)),
        receive: Arc::new(|_| Err(over())),
        failed: Arc::new(|_| {}),
    });
    drop(older);
    assert!(place.through.lock().is_some());
    drop(open);
    assert!(place.through.lock().is_none());
    drop(next);
}

#[test]
fn a_file_is_whole_when_it_is_durable_and_not_before() {
    let disk = Arc::new(FaultyDisk::failing("Sync", Errno::EIO));
    let place = Place::on(disk);
    let failure = place.upload(NAME, b"12").unwrap_err();
    assert_eq!(failure.kind, FailureKind::InstallFailed);
    assert_eq!(place.heard.try_recv().unwrap(), failure, "the upgrade hears of it");
    assert!(place.seen().is_none() && place.files() == 0);
}

#[test]
fn what_can_not_be_written_leaves_nothing_and_the_upgrade_hears_why() {
    for (errno, kind) in
        [(Errno::ENOSPC, FailureKind::NoSpace), (Errno::EIO, FailureKind::InstallFailed)]
    {
        let place = Place::on(Arc::new(FaultyDisk::failing("Write", errno)));
        assert_eq!(place.upload(NAME, b"12").unwrap_err().kind, kind);
        assert_eq!(place.heard.try_recv().unwrap().kind, kind);
        assert!(place.seen().is_none() && place.files() == 0);
    }
    let place = Place::new();
    assert_eq!(place.upload(NAME, &[0; 1001]).unwrap_err().kind, FailureKind::TooLarge);
    assert_eq!(place.heard.try_recv().unwrap().kind, FailureKind::TooLarge);
}

#[test]
fn a_file_that_can_not_be_received_is_elsewhere_and_the_place_is_free() {
    let place = Place::on(Arc::new(FaultyDisk::failing("create", Errno::EIO)));
    assert!(is_elsewhere(&place.through.begin(NAME, "host", 0)));
    assert!(place.seen().is_none() && place.heard.try_recv().is_err());
}

#[test]
fn its_owner_goes_on_behind_what_came() {
    for whole in [true, false] {
        for offset in 0..=5 {
            let place = Place::new();
            let mut arriving = place.through.begin(NAME, "host", 0).unwrap();
            arriving.write(b"12345").unwrap();
            if whole {
                assert!(arriving.finish().is_ok());
            } else {
                drop(arriving);
            }
            assert!(matches!(place.through.begin(NAME, "host", 6), Err(Declined::NothingToGoOn)));
            let mut arriving = place.through.begin(NAME, "host", offset).unwrap();
            assert_eq!(arriving.received(), offset);
            arriving.write(b"abc").unwrap();
            assert_eq!(arriving.finish().unwrap(), offset + 3);
            let staged = place.through.take_whole().unwrap();
            let expected = [&b"12345"[..usize::try_from(offset).unwrap()], b"abc"].concat();
            assert_eq!(std::fs::read(staged.path()).unwrap(), expected, "{whole} {offset}");
            assert_eq!(staged.digests.file, digest(&expected));
            assert_eq!(place.files(), 1);
        }
    }
    let place = Place::new();
    assert!(matches!(place.through.begin(NAME, "host", 1), Err(Declined::NothingToGoOn)));
}

fn digest(bytes: &[u8]) -> crate::model::FileDigest {
    let mut hasher = crate::digest::Hasher::new(crate::digest::Beside::default());
    hasher.update(bytes);
    hasher.finish().file
}

#[test]
fn a_rename_is_for_the_same_component_alone_and_renames_what_is_staged() {
    let place = Place::new();
    assert_eq!(place.through.rename(NAME, OTHER).unwrap_err().kind, FailureKind::TransferFailed);
    let arriving = place.through.begin(NAME, "host", 0).unwrap();
    assert_eq!(place.through.rename(NAME, OTHER).unwrap_err().kind, FailureKind::Busy);
    drop(arriving);
    for (to, kind) in [
        ("CAMERA_V02.00.00.00.bin", FailureKind::WrongProduct),
        ("OTHER_V02.00.00.00.bin", FailureKind::WrongProduct),
        ("demo", FailureKind::NameInvalid),
    ] {
        assert_eq!(place.through.rename(NAME, to).unwrap_err().kind, kind, "{to}");
    }
    assert_eq!(place.through.rename(OTHER, NAME).unwrap_err().kind, FailureKind::TransferFailed);
    // A part, and what is whole.
    place.through.rename(NAME, OTHER).unwrap();
    assert_eq!(place.seen(), Some((OTHER.into(), 0, Standing::Part)));
    place.through.begin(OTHER, "host", 0).unwrap().finish().unwrap();
    place.through.rename(OTHER, "DEMO_2_V09.00.00.00.bin").unwrap();
    let staged = place.through.take_whole().unwrap();
    assert_eq!(staged.file_name.as_deref(), Some("DEMO_2_V09.00.00.00.bin"));
}

#[test]
fn what_is_removed_is_gone_and_what_arrives_is_not_removed() {
    let place = Place::new();
    assert!(!place.through.remove(NAME));
    let arriving = place.through.begin(NAME, "host", 0).unwrap();
    assert!(!place.through.remove(NAME));
    arriving.finish().unwrap();
    assert!(!place.through.remove(OTHER) && place.files() == 1);
    assert!(place.through.remove(NAME));
    assert!(place.seen().is_none() && place.files() == 0);
    assert!(place.heard.try_recv().unwrap().sentence.contains("deleted"));
}

#[test]
fn only_what_is_whole_is_judged() {
    let place = Place::new();
    assert!(!place.through.is_whole_and(|_, _| true));
    let mut arriving = place.through.begin(NAME, "host", 0).unwrap();
    assert!(!place.through.is_whole_and(|_, _| true));
    arriving.write(b"12").unwrap();
    arriving.finish().unwrap();
    assert!(!place.through.is_whole_and(|_, _| false));
    assert!(place.through.is_whole_and(|file, size| {
        let mut content = String::new();
        (&mut &*file).read_to_string(&mut content).unwrap();
        content == "12" && size == 2
    }));
}

/// A disk that tells of each sync and waits until it is let.
#[derive(Debug)]
struct Gated(std::sync::Mutex<Receiver<()>>);

impl Disk for Gated {
    fn create(&self, path: &std::path::Path, mode: u32) -> io::Result<File> {
        LocalDisk.create(path, mode)
    }

    fn apply(&self, operation: Operation<'_>) -> io::Result<()> {
        if matches!(operation, Operation::Sync { .. }) {
            self.0.lock().unwrap().recv().map_err(io::Error::other)?;
        }
        LocalDisk.apply(operation)
    }
}

#[test]
fn nobody_is_told_that_it_is_whole_while_it_is_synced() {
    let (open, gate) = channel();
    let place = Place::on(Arc::new(Gated(std::sync::Mutex::new(gate))));
    let mut arriving = place.through.begin(NAME, "host", 0).unwrap();
    arriving.write(b"12").unwrap();
    let finishing = std::thread::spawn(move || arriving.finish());
    assert_eq!(place.seen(), Some((NAME.into(), 2, Standing::Arriving)));
    open.send(()).unwrap();
    assert_eq!(finishing.join().unwrap().unwrap(), 2);
    assert_eq!(place.seen(), Some((NAME.into(), 2, Standing::Whole)));
}
