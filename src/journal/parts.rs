//! The writer of the record of a part: how much of a file is there that is received over restarts.
//!
//! A file of its own beside the state: it is written while bytes come, on the thread that makes them
//! durable, and the state is not.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::disk::Disk;
use crate::model::{Countdown, UpgradeId};
use crate::record::part::Part;

/// Longest note in bytes.
pub(crate) const LONGEST_NOTE: usize = 8192;

/// The record; cheap to clone. What writes blocks.
#[derive(Debug, Clone)]
pub(crate) struct Parts {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    current: Arc<Mutex<Option<Part>>>,
}

impl Parts {
    /// The record in this directory, as an earlier process left it.
    pub(crate) fn open_on(disk: Arc<dyn Disk>, directory: &Path) -> Self {
        let current = Arc::new(Mutex::new(Part::read(directory)));
        Self { disk, directory: directory.to_owned(), current }
    }

    /// The part of an upgrade.
    pub(crate) fn of(&self, upgrade: &UpgradeId) -> Option<Part> {
        self.lock().clone().filter(|part| part.upgrade == *upgrade)
    }

    /// A reception begins; another one's part is forgotten. A note stays with its upgrade.
    pub(crate) fn begin(&self, part: Part) -> io::Result<()> {
        let mut current = self.lock();
        let before = current.take().filter(|before| before.upgrade == part.upgrade);
        let part = Part { note: before.and_then(|before| before.note), ..part };
        part.write(&*self.disk, &self.directory)?;
        *current = Some(part);
        Ok(())
    }

    /// So many bytes of the file of this name in the staging area are durable. One that is not
    /// received any more has nothing to say.
    pub(crate) fn advance(&self, staged: &str, offset: u64) -> io::Result<()> {
        self.change(|part| part.staged == staged, |part| part.offset = offset).map(drop)
    }

    /// What its channel keeps with it from now on; false where there is none of this upgrade.
    pub(crate) fn note(&self, upgrade: &UpgradeId, note: Option<String>) -> io::Result<bool> {
        self.change(|part| part.upgrade == *upgrade, |part| part.note = note)
    }

    /// When it is given up.
    pub(crate) fn set_end(&self, upgrade: &UpgradeId, ends: Countdown) -> io::Result<bool> {
        self.change(|part| part.upgrade == *upgrade, |part| part.ends = ends)
    }

    /// Nothing is received any more that could be gone on with.
    pub(crate) fn forget(&self) -> io::Result<()> {
        let mut current = self.lock();
        Part::remove(&*self.disk, &self.directory)?;
        *current = None;
        Ok(())
    }

    fn change(
        &self,
        is_meant: impl FnOnce(&Part) -> bool,
        change: impl FnOnce(&mut Part),
    ) -> io::Result<bool> {
        let mut current = self.lock();
        let Some(part) = current.as_mut().filter(|part| is_meant(part)) else { return Ok(false) };
        let mut next = part.clone();
        change(&mut next);
        next.write(&*self.disk, &self.directory)?;
        *part = next;
        Ok(true)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Part>> {
        // Each call leaves it whole.
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use nix::errno::Errno;

    use super::*;
    use crate::disk::LocalDisk;
    use crate::disk::faulty::FaultyDisk;
    use crate::model::{ComponentName, Uptime};

    fn part(upgrade: &str, staged: &str) -> Part {
        let now = Uptime { boot_id: "b".into(), since_boot: Duration::ZERO };
        let announced = (Some("DEMO_V02.00.00.00.bin".into()), Some(100));
        let ends = Countdown::begin(Duration::from_secs(60), &now);
        let (upgrade, component) = (UpgradeId(upgrade.into()), ComponentName::PROGRAM);
        Part::new(upgrade, component, staged.into(), announced, ends)
    }

    #[test]
    fn a_part_grows_and_the_next_process_finds_it() {
        let directory = tempfile::tempdir().unwrap();
        let parts = Parts::open_on(Arc::new(LocalDisk), directory.path());
        let id = UpgradeId("one".into());
        assert_eq!(parts.of(&id), None);
        parts.begin(part("one", "a")).unwrap();
        parts.advance("a", 40).unwrap();
        parts.advance("of another reception", 50).unwrap();
        assert!(parts.note(&id, Some("an ETag".into())).unwrap());
        assert!(!parts.note(&UpgradeId("two".into()), None).unwrap());
        let next = Parts::open_on(Arc::new(LocalDisk), directory.path());
        let found = next.of(&id).unwrap();
        assert_eq!((found.offset, found.note.as_deref()), (40, Some("an ETag")));
        assert_eq!(next.of(&UpgradeId("two".into())), None);
        // Begun anew it keeps its note, and another upgrade has none.
        next.begin(part("one", "b")).unwrap();
        let anew = next.of(&id).unwrap();
        assert_eq!((anew.offset, anew.note.as_deref()), (0, Some("an ETag")));
        next.begin(part("two", "c")).unwrap();
        assert_eq!(next.of(&UpgradeId("two".into())).unwrap().note, None);
        next.forget().unwrap();
        next.forget().unwrap();
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_can_not_be_written_down_does_not_count() {
        let directory = tempfile::tempdir().unwrap();
        Parts::open_on(Arc::new(LocalDisk), directory.path()).begin(part("one", "a")).unwrap();
        let parts =
            Parts::open_on(Arc::new(FaultyDisk::failing("Sync", Errno::EIO)), directory.path());
        assert!(parts.advance("a", 40).is_err());
        assert_eq!(parts.of(&UpgradeId("one".into())).unwrap().offset, 0);
    }
}
