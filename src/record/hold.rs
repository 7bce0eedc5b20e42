//! The hold's file: while it is there, no upgrade begins.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::disk::{self, Disk, Operation};
use crate::model::Countdown;
use crate::record::checksum::{self, FIRST_FORMAT, FORMAT};

/// The file's name, in the daemon's directory.
pub(crate) const HOLD_FILE: &str = "hold.json";
/// Largest file that is read; a reason is short.
const LARGEST_FILE: u64 = 64 << 10;

/// `hold.json`, beside `state.json`: somebody holds upgrades.
///
/// | field | meaning |
/// |---|---|
/// | `format` | as that of the state file |
/// | `by` | who, such as "uid 1000" |
/// | `reason` | why, or `null` |
/// | `began` | when, RFC 3339, by the wall clock; for people only |
/// | `ends` | the [`Countdown`] to its end, or `null`: it has none |
/// | `crc32` | the checksum |
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hold {
    pub(crate) format: u32,
    pub(crate) by: String,
    pub(crate) reason: Option<String>,
    pub(crate) began: String,
    pub(crate) ends: Option<Countdown>,
}

impl Hold {
    /// A hold by somebody.
    pub(crate) fn new(
        by: String,
        reason: Option<String>,
        began: String,
        ends: Option<Countdown>,
    ) -> Self {
        Self { format: FORMAT, by, reason, began, ends }
    }

    /// The hold in this directory. One that can't be read is one all the same: whoever wanted it
    /// would not have it end by a damage of the disk.
    pub(crate) fn read(directory: &Path) -> Option<Self> {
        let unreadable = |why: String| {
            let reason = format!("{HOLD_FILE} can't be read: {why}");
            Self::new("somebody".into(), Some(reason), "at an unknown time".into(), None)
        };
        let text = match disk::read_limited(&directory.join(HOLD_FILE), LARGEST_FILE) {
            Ok(text) => text?,
            Err(error) => return Some(unreadable(error.to_string())),
        };
        let hold = checksum::examine(&text)
            .map_err(|wrong| wrong.to_string())
            .and_then(|_| serde_json::from_slice::<Self>(&text).map_err(|error| error.to_string()));
        match hold {
            Ok(hold) if hold.format >= FIRST_FORMAT => Some(hold),
            Ok(hold) => Some(unreadable(format!("format {} is not known", hold.format))),
            Err(why) => Some(unreadable(why)),
        }
    }

    /// Writes it down, durably.
    pub(crate) fn write(&self, disk: &dyn Disk, directory: &Path) -> io::Result<()> {
        disk::write_atomic(disk, directory, HOLD_FILE, &checksum::to_text(self, FORMAT)?)
    }

    /// Removes whatever hold there is, durably.
    pub(crate) fn remove(disk: &dyn Disk, directory: &Path) -> io::Result<()> {
        disk::remove_if_present(disk, &directory.join(HOLD_FILE))?;
        disk.apply(Operation::SyncDirectory { path: directory })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::time::Duration;

    use super::*;
    use crate::disk::LocalDisk;
    use crate::model::Uptime;

    #[test]
    fn a_hold_is_there_until_it_is_removed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        assert_eq!(Hold::read(path), None);
        let now = Uptime { boot_id: "b".into(), since_boot: Duration::from_secs(5) };
        let ends = Countdown::begin(Duration::from_secs(60), &now);
        let hold = Hold::new("uid 0".into(), Some("a show".into()), "now".into(), Some(ends));
        hold.write(&LocalDisk, path).unwrap();
        assert_eq!(Hold::read(path), Some(hold));
        Hold::remove(&LocalDisk, path).unwrap();
        assert_eq!(Hold::read(path), None);
        Hold::remove(&LocalDisk, path).unwrap();
    }

    #[test]
    fn a_damaged_hold_holds() {
        let directory = tempfile::tempdir().unwrap();
        let hold = Hold::new("uid 0".into(), None, "now".into(), None);
        hold.write(&LocalDisk, directory.path()).unwrap();
        let file = directory.path().join(HOLD_FILE);
        let whole = std::fs::read(&file).unwrap();
        for damaged in [&b""[..], &whole[..whole.len() / 2], b"{}", b"null"] {
            std::fs::File::create(&file).unwrap().write_all(damaged).unwrap();
            let read = Hold::read(directory.path()).unwrap();
            assert!(read.reason.unwrap().contains("hold.json can't be read"), "{damaged:?}");
        }
        std::fs::remove_file(&file).unwrap();
        std::fs::create_dir(&file).unwrap();
        assert!(Hold::read(directory.path()).is_some(), "whatever lies there");
    }
}
