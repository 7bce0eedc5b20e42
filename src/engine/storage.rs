//! Whether the two places that an upgrade is written to, the program's and the state's, keep what
//! they are given.
//!
//! Looks, and changes nothing. What the file systems themselves can do is known to [`crate::disk`].

use std::path::{Path, PathBuf};

use crate::config::{self, Paths};
use crate::disk::file_system::{self, FileSystem, Standing};
use crate::disk::mounts::{Lasting, Mounts, existing};
use crate::model::{Failure, FailureKind, Restart};
use crate::stage::directory_beside;

/// One of the places.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// The field of the configuration that names it.
    pub(crate) field: String,
    /// What to change, for a hint.
    pub(crate) remedy: String,
    /// The directory, or the one above it that is there.
    pub(crate) directory: PathBuf,
    pub(crate) file_system: Option<FileSystem>,
    pub(crate) lasting: Lasting,
    /// What is immutable in it.
    pub(crate) immutable: Option<PathBuf>,
}

/// The places of the program and of the state, as they are now.
pub(crate) fn places(component: &config::Program, paths: &Paths) -> [Place; 2] {
    let (program, state) = (&component.path, &paths.state);
    let directory = program.parent().unwrap_or(Path::new("/"));
    [
        Place::new(
            component.common.field("path"),
            format!("`path` in the [component.{}] section", component.common.name),
            directory,
            &[program, directory, &directory_beside(program)],
        ),
        Place::new("paths.state".into(), "`state` in the [paths] section".into(), state, &[state]),
    ]
}

/// Refuses an upgrade that this storage would lose, before anything is received.
pub(crate) fn examine(component: &config::Program, paths: &Paths) -> Result<(), Failure> {
    judge(&places(component, paths), reboots(component, paths))
}

/// Whether the restart takes with it what is in memory. Where another file stands for the kernel's
/// boot id, another machine than this one restarts.
pub(crate) fn reboots(component: &config::Program, paths: &Paths) -> bool {
    component.restart == Restart::Reboot && paths.boot_id == Paths::default().boot_id
}

fn judge(places: &[Place; 2], reboots: bool) -> Result<(), Failure> {
    let refused = places.iter().find_map(|place| place.refused().or_else(|| place.unchangeable()));
    match refused.or_else(|| lost(places).filter(|_| reboots)) {
        Some((sentence, hint)) => {
            Err(Failure::new(FailureKind::InstallFailed, sentence).with_hint(hint))
        }
        None => Ok(()),
    }
}

/// The sentence and the hint, where nothing of an upgrade would be left after a restart of the
/// machine.
pub(crate) fn lost([program, state]: &[Place; 2]) -> Option<(String, String)> {
    let (Lasting::No(first), Lasting::No(second)) = (&program.lasting, &state.lasting) else {
        return None;
    };
    let why = if first == second { first.clone() } else { format!("{first}, and {second}") };
    let sentence =
        format!("neither the program nor the state outlives the restart of the machine: {why}");
    Some((
        sentence,
        format!(
            "leave the read-only mode of the machine, or set {} to a directory on a disk",
            program.remedy
        ),
    ))
}

impl Place {
    fn new(field: String, remedy: String, directory: &Path, changed: &[&Path]) -> Self {
        let directory = existing(directory);
        let lasting = match Mounts::read() {
            Ok(mounts) => mounts.lasting(directory),
            Err(error) => Lasting::Unclear(format!("the list of mounts can't be read: {error}")),
        };
        Self {
            field,
            remedy,
            directory: directory.to_owned(),
            file_system: file_system::of(directory).ok(),
            lasting,
            immutable: changed
                .iter()
                .find(|path| file_system::is_immutable(path))
                .map(PathBuf::from),
        }
    }

    /// The sentence and the hint, where the file system lacks what an upgrade needs.
    pub(crate) fn refused(&self) -> Option<(String, String)> {
        let FileSystem { name, .. } =
            self.file_system.filter(|found| found.standing == Standing::Refused)?;
        let directory = self.directory.display();
        let sentence = format!(
            "{directory} is on {name}: a power cut can undo a finished upgrade there, and programs have no owner and no mode"
        );
        Some((
            sentence,
            format!(
                "set {} to a directory on ext4, or on another file system of Linux",
                self.remedy
            ),
        ))
    }

    /// The same, where something is not to be changed.
    pub(crate) fn unchangeable(&self) -> Option<(String, String)> {
        let path = self.immutable.as_ref()?.display();
        Some((
            format!("{path} is immutable, so that nobody can replace it or change it"),
            format!("`lsattr -d {path}` shows it; `chattr -i -a {path}` lifts it"),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(number: u32, lasting: Lasting) -> Place {
        let file_system = Some(file_system::of_number(number));
        Place {
            field: "f".into(),
            remedy: "`path`".into(),
            directory: "/boot".into(),
            file_system,
            lasting,
            immutable: None,
        }
    }

    const EXT4: u32 = 0xef53;
    const VFAT: u32 = 0x4d44;

    #[test]
    fn vfat_is_refused_for_the_program_and_for_the_state() {
        let (good, bad) = (place(EXT4, Lasting::Yes), place(VFAT, Lasting::Yes));
        assert_eq!(judge(&[good.clone(), good.clone()], true), Ok(()));
        for places in [[bad.clone(), good.clone()], [good, bad]] {
            let failure = judge(&places, false).unwrap_err();
            assert_eq!(failure.kind, FailureKind::InstallFailed);
            assert!(
                failure.sentence.contains("/boot is on vfat") && failure.hint().contains("ext4"),
                "{failure}"
            );
        }
    }

    #[test]
    fn a_restart_of_the_machine_must_leave_something() {
        let gone = |why: &str| place(EXT4, Lasting::No(why.into()));
        let (lasts, unclear) =
            (place(EXT4, Lasting::Yes), place(EXT4, Lasting::Unclear("hidden".into())));
        let failure = judge(&[gone("a is in memory"), gone("b is in memory")], true).unwrap_err();
        assert!(
            failure
                .sentence
                .ends_with("restart of the machine: a is in memory, and b is in memory"),
            "{failure}"
        );
        let failure = judge(&[gone("a is in memory"), gone("a is in memory")], true).unwrap_err();
        assert!(failure.sentence.ends_with("restart of the machine: a is in memory"), "{failure}");
        for places in [[gone("a"), lasts.clone()], [lasts, gone("b")], [gone("a"), unclear]] {
            assert_eq!(judge(&places, true), Ok(()));
        }
        assert_eq!(judge(&[gone("a"), gone("b")], false), Ok(()));
    }
}
