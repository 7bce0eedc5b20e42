//! The program itself, its unit, and the programs that an upgrade calls.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access};

use super::Findings;
use super::units::Systemd;
use crate::command::Reach;
use crate::config::{Config, Program, Restart};
use crate::host;
use crate::package::preflight;
use crate::stage::directory_beside;
use crate::target;
use crate::unit::Unit;

impl Findings {
    pub(super) fn program(&mut self, program: &Program) {
        let path = &program.path;
        let directory = path.parent().unwrap_or(Path::new("/"));
        if !directory.is_dir() {
            return self.error("program.path", format!("{} is no directory", directory.display()), "make it, or correct `path`");
        }
        self.writable("program.path", directory);
        match target::program::Program::new(path).examine() {
            Err(failure) => self.error("program.path", failure.to_string(), "the program's path must be a regular file, or free"),
            Ok(()) if !path.exists() => {
                let sentence = format!("no program is at {} yet", path.display());
                self.warning("program.path", sentence, "the first upgrade installs it, whatever its version is");
            }
            Ok(()) => {}
        }
    }

    pub(super) fn version(&mut self, config: &Config) {
        let program = &config.program;
        if !program.path.is_file() {
            return;
        }
        match &program.version_command {
            Some(arguments) => {
                if let Err(failure) = preflight::printed_version(&program.path, arguments, Reach::Files, program.isolate_commands) {
                    let hint = "every new program is asked the same way and refused without an answer; see what the program prints";
                    self.warning("program.version_command", failure.to_string(), hint);
                }
            }
            None if program.version.is_none() && !config.paths.state.join("state.json").exists() => self.warning(
                "program.version",
                "the version of the installed program is not known, so the first upgrade may be to a lower one",
                "give `version`, or `version_command` if the program can print it",
            ),
            None => {}
        }
    }

    pub(super) fn unit(&mut self, systemd: &Systemd, program: &Program) {
        let Some(name) = &program.unit else {
            return self.warning(
                "program.unit",
                "no unit is named, so reports rest on the boot id and the file at the path, not on the process that runs",
                "name the program's systemd unit",
            );
        };
        match systemd.unit(name) {
            Err(error) => {
                self.warning("program.unit", format!("systemd can't be asked about {name}: {error}"), "run this check where systemd runs");
            }
            Ok(unit) if unit.load_state == "not-found" => {
                self.error("program.unit", format!("systemd knows no unit {name}"), "correct the name, or install the unit");
            }
            Ok(unit) if unit.load_state != "loaded" => {
                let sentence = format!("the unit {name} is {}", unit.load_state);
                self.error("program.unit", sentence, format!("`systemctl status {name}` says more"));
            }
            Ok(Unit { main_pid: Some(process), .. }) => self.process(name, process, &program.path),
            Ok(_) => {}
        }
    }

    /// A trial looks at the main process. What is moved aside by a swap, and runs on, lies in the staging area.
    fn process(&mut self, unit: &str, process: u32, path: &Path) {
        let Ok(executable) = fs::read_link(host::executable(process)) else { return };
        let runs = |path: &Path| executable.starts_with(path) || executable.to_string_lossy() == format!("{} (deleted)", path.display());
        if runs(path) || runs(&directory_beside(path)) {
            return;
        }
        let sentence = format!("the main process of {unit} runs {}, not {}", executable.display(), path.display());
        self.error(
            "program.unit",
            sentence,
            "no trial would succeed: start the program itself in `ExecStart=` of the unit, or correct `path`",
        );
    }

    pub(super) fn restart(&mut self, restart: &Restart) {
        let program = match restart {
            Restart::Command(command) => command.first().map_or("", String::as_str),
            Restart::Reboot | Restart::Unit(_) => "systemctl",
        };
        self.command("program.restart", program);
    }

    pub(super) fn command(&mut self, field: &'static str, program: &str) {
        if find_program(program).is_none() {
            let hint = "give a command as a list: an executable file, then its arguments";
            self.error(field, format!("{program:?} is not a program that can be started"), hint);
        }
    }
}

/// The executable file of a command, found as `execvp` finds it.
fn find_program(name: &str) -> Option<PathBuf> {
    let executable = |path: &PathBuf| path.is_file() && access(path, AccessFlags::X_OK).is_ok();
    if name.contains('/') {
        return Some(PathBuf::from(name)).filter(executable);
    }
    env::split_paths(&env::var_os("PATH")?).map(|directory| directory.join(name)).find(executable)
}
