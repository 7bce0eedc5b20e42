//! Whether what an upgrade writes stays: file systems that lose it, lie in memory, or know no
//! modes.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use nix::unistd::geteuid;

use super::{Findings, Level};
use crate::config::{Paths, Program};
use crate::disk::mounts::{Lasting, Mounts};
use crate::disk::{Disk as _, LocalDisk, PRIVATE_MODE};
use crate::engine::storage::{self, Place};

/// A mode that no umask and no file system gives by itself.
const UNUSUAL_MODE: u32 = 0o641;

impl Findings {
    pub(super) fn storage(&mut self, program: &Program, paths: &Paths) {
        let places = storage::places(program, paths);
        let reboots = storage::reboots(program, paths);
        let lost = storage::lost(&places).filter(|_| reboots);
        for place in &places {
            for (sentence, hint) in [place.refused(), place.unchangeable()].into_iter().flatten() {
                self.error(&place.field, sentence, hint);
            }
            self.careless(place);
            if lost.is_none() {
                self.lasting(place, reboots);
            }
        }
        if let Some((sentence, hint)) = lost {
            self.error(program.common.field("path"), sentence, hint);
        }
        let [place, _] = &places;
        if place.refused().is_none() && place.immutable.is_none() {
            self.modes(place);
        }
    }

    /// Where the restart of the machine is what brings the new program, nothing that is lost with
    /// it can end well.
    fn lasting(&mut self, place: &Place, reboots: bool) {
        let directory = place.directory.display();
        match &place.lasting {
            Lasting::Yes => {}
            Lasting::No(reason) => {
                let level = if reboots { Level::Error } else { Level::Warning };
                let sentence = format!(
                    "what is written to {directory} does not outlive a restart of the machine: {reason}"
                );
                let hint = format!(
                    "leave the read-only mode of the machine, or set {} to a directory on a disk",
                    place.remedy
                );
                self.add(level, &place.field, sentence, hint);
            }
            Lasting::Unclear(reason) => {
                let sentence = format!(
                    "this check can't tell whether what is written to {directory} outlives a restart of the machine: {reason}"
                );
                self.warning(&place.field, sentence, "write a file there, restart the machine, and see whether the file is there still");
            }
        }
    }

    /// The proof rests on syncs, which an option of a mount can make mean nothing.
    fn careless(&mut self, place: &Place) {
        let Ok(mounts) = Mounts::read() else { return };
        if let Ok(mount) = mounts.of(&place.directory)
            && let Some(option) = mount.careless_option()
        {
            let sentence = format!(
                "{} is mounted with `{option}`, so that a power cut can undo a finished upgrade",
                mount.point.display()
            );
            self.warning(&place.field, sentence, "mount it without this option");
        }
    }

    /// Nobody but root can judge for the daemon.
    fn modes(&mut self, place: &Place) {
        if geteuid().is_root() && keeps_modes(&place.directory) == Some(false) {
            let sentence = format!(
                "files in {} can't be given a mode, so that no program can be made executable there",
                place.directory.display()
            );
            self.error(
                &place.field,
                sentence,
                format!(
                    "set {} to a directory on ext4, or on another file system of Linux",
                    place.remedy
                ),
            );
        }
    }
}

/// Whether a file in this directory gets the mode that it is given, tried with one that is removed
/// at once; nothing where no file can be made.
fn keeps_modes(directory: &Path) -> Option<bool> {
    let path = directory.join(format!(".uplift-check-{}", std::process::id()));
    let file = LocalDisk.create(&path, PRIVATE_MODE).ok()?;
    let set =
        file.set_permissions(Permissions::from_mode(UNUSUAL_MODE)).and_then(|()| path.metadata());
    let kept = set.is_ok_and(|metadata| metadata.permissions().mode() & 0o7777 == UNUSUAL_MODE);
    let _ = fs::remove_file(&path); // an empty file that stays harms nobody
    Some(kept)
}
