//! The record of a part: how much has come of a file that is received over restarts.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::disk::{self, Disk, Operation};
use crate::model::{ComponentName, Countdown, UpgradeId};
use crate::record::checksum::{self, FORMAT};

/// The file's name, in the daemon's directory.
pub(crate) const PART_FILE: &str = "part.json";
/// Largest file that is read: the note, each byte of it as an escape of six, and room for the rest.
const LARGEST_FILE: u64 = 64 << 10;

/// `part.json`, beside `state.json`: a file that is being received, and whose bytes outlive
/// restarts. Mode 0600: the note may hold secrets.
///
/// | field | meaning |
/// |---|---|
/// | `format` | as that of the state file |
/// | `upgrade` | whose |
/// | `component` | what the file is for |
/// | `staged` | its name in the staging area |
/// | `file_name` | its name as it was announced; absent where its seal is to say it |
/// | `size` | bytes that were announced; absent where nobody knew |
/// | `offset` | bytes that are there, durably |
/// | `ends` | the [`Countdown`] until it is given up |
/// | `note` | what its channel keeps with it, such as an ETag and a URL, or `null`. It is in no status, report or log |
/// | `crc32` | the checksum |
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Part {
    pub(crate) format: u32,
    pub(crate) upgrade: UpgradeId,
    pub(crate) component: ComponentName,
    pub(crate) staged: String,
    pub(crate) file_name: Option<String>,
    pub(crate) size: Option<u64>,
    pub(crate) offset: u64,
    pub(crate) ends: Countdown,
    pub(crate) note: Option<String>,
}

impl Part {
    /// Nothing of a file is there yet.
    pub(crate) fn new(
        upgrade: UpgradeId,
        component: ComponentName,
        staged: String,
        (file_name, size): (Option<String>, Option<u64>),
        ends: Countdown,
    ) -> Self {
        let (format, offset, note) = (FORMAT, 0, None);
        Self { format, upgrade, component, staged, file_name, size, offset, ends, note }
    }

    /// The part in this directory. A damaged record is none: the file is received from its beginning
    /// then.
    pub(crate) fn read(directory: &Path) -> Option<Self> {
        let text = disk::read_limited(&directory.join(PART_FILE), LARGEST_FILE).ok()??;
        checksum::examine(&text).ok()?;
        let part: Self = serde_json::from_slice(&text).ok()?;
        (part.format == FORMAT && part.size.is_none_or(|size| part.offset <= size)).then_some(part)
    }

    /// Writes it down, durably.
    pub(crate) fn write(&self, disk: &dyn Disk, directory: &Path) -> io::Result<()> {
        let text = checksum::to_text(self, FORMAT)?;
        disk::write_atomic_private(disk, directory, PART_FILE, &text)
    }

    /// Removes whatever record there is, durably.
    pub(crate) fn remove(disk: &dyn Disk, directory: &Path) -> io::Result<()> {
        if !directory.join(PART_FILE).exists() {
            return Ok(());
        }
        disk::remove_if_present(disk, &directory.join(PART_FILE))?;
        disk.apply(Operation::SyncDirectory { path: directory })
    }
}

/// Without the note.
impl std::fmt::Debug for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Part")
            .field("upgrade", &self.upgrade)
            .field("staged", &self.staged)
            .field("offset", &self.offset)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::unix::fs::PermissionsExt as _;
    use std::time::Duration;

    use super::*;
    use crate::disk::LocalDisk;
    use crate::model::Uptime;

    fn part() -> Part {
        let now = Uptime { boot_id: "b".into(), since_boot: Duration::from_secs(5) };
        let part = Part::new(
            UpgradeId("an id".into()),
            ComponentName::PROGRAM,
            "incoming-1-1".into(),
            (Some("DEMO_V02.00.00.00.bin".into()), Some(100)),
            Countdown::begin(Duration::from_secs(60), &now),
        );
        Part { offset: 40, note: Some("https://user:secret@example.org/".into()), ..part }
    }

    #[test]
    fn a_record_is_there_until_it_is_removed_and_nobody_else_s_to_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        assert_eq!(Part::read(path), None);
        Part::remove(&LocalDisk, path).unwrap();
        part().write(&LocalDisk, path).unwrap();
        let mode = path.join(PART_FILE).metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!((Part::read(path), mode), (Some(part()), 0o600));
        Part::remove(&LocalDisk, path).unwrap();
        assert_eq!(Part::read(path), None);
    }

    #[test]
    fn a_damaged_record_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let beyond = Part { offset: 101, ..part() };
        beyond.write(&LocalDisk, path).unwrap();
        assert_eq!(Part::read(path), None, "more than was announced");
        part().write(&LocalDisk, path).unwrap();
        let file = path.join(PART_FILE);
        let whole = std::fs::read(&file).unwrap();
        let mut other = whole.clone();
        let digit = other.windows(3).position(|three| three == b" 40").unwrap();
        other[digit + 1] = b'5';
        for damaged in [&b""[..], &whole[..whole.len() / 2], b"{}", &other] {
            std::fs::File::create(&file).unwrap().write_all(damaged).unwrap();
            assert_eq!(Part::read(path), None);
        }
    }

    #[test]
    fn a_note_never_shows_itself() {
        assert!(!format!("{:?}", part()).contains("secret"));
    }
}
