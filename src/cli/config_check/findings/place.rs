//! Where the program lies: its mounts, its room, and what an earlier upgrade left beside it.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::Findings;
use crate::component::program::Program;
use crate::config::Config;
use crate::disk::{self, mounts::Mounts};
use crate::record::STATE_FILE;
use crate::stage::directory_beside;

impl Findings {
    pub(super) fn place(&mut self, config: &Config) {
        let path = &config.program.path;
        let directory = path.parent().unwrap_or(Path::new("/"));
        self.mounts(path);
        self.space(path, directory);
        self.previous(config);
    }

    /// A swap is a rename, which goes neither over a mount nor onto one.
    fn mounts(&mut self, path: &Path) {
        let stage = directory_beside(path);
        let Ok(mounts) = Mounts::read() else { return };
        for mount in [path, &stage].into_iter().filter(|place| mounts.is_mount(place)) {
            let sentence = format!(
                "{} is a mount of its own, so no program can be swapped in",
                mount.display()
            );
            self.error(
                "program.path",
                sentence,
                "unmount it: program and staging area must be on one mount",
            );
        }
    }

    /// A new program needs about the room of the one that is there.
    fn space(&mut self, path: &Path, directory: &Path) {
        let (Ok(program), Ok(space)) = (path.metadata(), rustix::fs::statvfs(directory)) else {
            return;
        };
        let free = disk::free_bytes(&space);
        if free < program.len() {
            let sentence = format!(
                "{} has {free} bytes free, less than the program's {}",
                directory.display(),
                program.len()
            );
            self.warning(
                "program.path",
                sentence,
                "free space on its file system, or uploads will be refused (no-space)",
            );
        }
    }

    /// What the last upgrade replaced, if uplift had installed that too, is what `uplift rollback`
    /// goes back to.
    fn previous(&mut self, config: &Config) {
        let state = fs::read(config.paths.state.join(STATE_FILE))
            .ok()
            .and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
        let expected =
            state.is_some_and(|state| state.get("previous").is_some_and(Value::is_object));
        if expected
            && Program::new(&config.program.path)
                .previous()
                .is_ok_and(|previous| previous.is_none())
        {
            let sentence = "the program before the last upgrade is missing from the staging area";
            self.warning(
                "program.path",
                sentence,
                "`uplift rollback` can't go back now; after the next upgrade it can",
            );
        }
    }
}
