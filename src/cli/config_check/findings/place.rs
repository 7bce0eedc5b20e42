//! Where the program lies: its mounts, its room, and what an earlier upgrade left beside it.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::Findings;
use crate::component::program::Program;
use crate::config::{self, Paths};
use crate::disk::{self, mounts::Mounts};
use crate::record::STATE_FILE;
use crate::stage::directory_beside;

impl Findings {
    pub(super) fn place(&mut self, program: &config::Program, paths: &Paths) {
        let path = &program.path;
        let directory = path.parent().unwrap_or(Path::new("/"));
        self.mounts(program);
        self.space(program, directory);
        self.previous(program, paths);
    }

    /// A swap is a rename, which goes neither over a mount nor onto one.
    fn mounts(&mut self, program: &config::Program) {
        let path = program.path.as_path();
        let stage = directory_beside(path);
        let Ok(mounts) = Mounts::read() else { return };
        for mount in [path, &stage].into_iter().filter(|place| mounts.is_mount(place)) {
            let sentence = format!(
                "{} is a mount of its own, so no program can be swapped in",
                mount.display()
            );
            self.error(
                program.common.field("path"),
                sentence,
                "unmount it: program and staging area must be on one mount",
            );
        }
    }

    /// A new program needs about the room of the one that is there.
    fn space(&mut self, program: &config::Program, directory: &Path) {
        let (Ok(present), Ok(space)) = (program.path.metadata(), rustix::fs::statvfs(directory))
        else {
            return;
        };
        let free = disk::free_bytes(&space);
        if free < present.len() {
            let sentence = format!(
                "{} has {free} bytes free, less than the program's {}",
                directory.display(),
                present.len()
            );
            self.warning(
                program.common.field("path"),
                sentence,
                "free space on its file system, or uploads will be refused (no-space)",
            );
        }
    }

    /// What the last upgrade replaced, if uplift had installed that too, is what `uplift rollback`
    /// goes back to.
    fn previous(&mut self, program: &config::Program, paths: &Paths) {
        let state = fs::read(paths.state.join(STATE_FILE))
            .ok()
            .and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
        let expected =
            state.is_some_and(|state| state.get("previous").is_some_and(Value::is_object));
        if expected
            && Program::new(&program.path)
                .in_form(program.form)
                .previous()
                .is_ok_and(|previous| previous.is_none())
        {
            let sentence = "the program before the last upgrade is missing from the staging area";
            self.warning(
                program.common.field("path"),
                sentence,
                "`uplift rollback` can't go back now; after the next upgrade it can",
            );
        }
    }
}
