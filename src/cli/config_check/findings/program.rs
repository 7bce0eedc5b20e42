//! The program itself, its unit, and the programs that an upgrade calls.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::unistd::{AccessFlags, access, geteuid};

use super::Findings;
use super::units::Systemd;
use crate::component;
use crate::config::{Paths, Program, RESTART_ROOM};
use crate::host;
use crate::host::command;
use crate::host::command::Isolation;
use crate::host::unit::Unit;
use crate::model::{Form, Restart, Runs};
use crate::package::preflight;
use crate::stage::directory_beside;

impl Findings {
    pub(super) fn program(&mut self, program: &Program) {
        let path = &program.path;
        let directory = path.parent().unwrap_or(Path::new("/"));
        if !directory.is_dir() {
            return self.error(
                program.common.field("path"),
                format!("{} is no directory", directory.display()),
                "make it, or correct `path`",
            );
        }
        self.writable(program.common.field("path"), directory);
        let at_path = component::program::Program::new(path).in_form(program.form);
        match at_path.examine() {
            Err(failure) => self.error(
                program.common.field("path"),
                failure.to_string(),
                match program.form {
                    Form::File => "the program's path must be a regular file, or free",
                    Form::Tree => "the tree's path must be a directory, or free",
                },
            ),
            Ok(()) if !path.exists() => {
                let sentence = format!("no program is at {} yet", path.display());
                self.warning(
                    program.common.field("path"),
                    sentence,
                    "the first upgrade installs it, whatever its version is",
                );
            }
            Ok(()) => {}
        }
        // Anybody else can't judge for the daemon.
        if geteuid().is_root()
            && let Err(failure) = at_path.must_exchange()
        {
            let hint = failure.hint().to_owned();
            self.error(program.common.field("path"), failure.to_string(), hint);
        }
    }

    pub(super) fn version(&mut self, program: &Program, paths: &Paths) {
        if !program.path.exists() {
            return;
        }
        match preflight::installed_version(program) {
            Some(Err(failure)) => {
                let hint = "every new program is asked the same way and refused without an answer; see what the program prints";
                self.warning(program.common.field("version_command"), failure.to_string(), hint);
            }
            None if program.common.version.is_none() && !paths.state.join("state.json").exists() => self.warning(
                program.common.field("version"),
                "the version of the installed program is not known, so the first upgrade may be to a lower one",
                "give `version`, or `version_command` if the program can print it",
            ),
            _ => {}
        }
    }

    /// A program that was not proved yet runs for its version.
    pub(super) fn isolation(&mut self, program: &Program) {
        let runs_commands = program.common.version_command.is_some()
            || program.common.trial.health_command.is_some();
        if !runs_commands || !command::lacks_bus() {
            return;
        }
        const HINT: &str = "install the package `dbus` and restart the machine";
        let field = program.common.field("isolate_commands");
        let cause = "systemd runs here without its bus";
        match program.common.isolate_commands {
            Isolation::Never => {}
            Isolation::Auto => {
                let sentence = format!(
                    "{cause}, so `version_command` and `health_command` run with the rights of the daemon, inside its sandbox"
                );
                self.warning(field, sentence, HINT);
            }
            Isolation::Always => self.error(
                field,
                format!("{cause}, so `version_command` and `health_command` fail"),
                HINT,
            ),
        }
    }

    pub(super) fn unit(&mut self, systemd: &Systemd, program: &Program) {
        let Some(name) = &program.unit else {
            return self.warning(
                program.common.field("unit"),
                "no unit is named, so reports rest on the boot id and the file at the path, not on the process that runs",
                "name the program's systemd unit",
            );
        };
        match systemd.unit(name) {
            Err(error) => {
                self.warning(
                    program.common.field("unit"),
                    format!("systemd can't be asked about {name}: {error}"),
                    "run this check where systemd runs",
                );
            }
            Ok(unit) if unit.load_state == "not-found" => {
                self.error(
                    program.common.field("unit"),
                    format!("systemd knows no unit {name}"),
                    "correct the name, or install the unit",
                );
            }
            Ok(unit) if unit.load_state != "loaded" => {
                let sentence = format!("the unit {name} is {}", unit.load_state);
                self.error(
                    program.common.field("unit"),
                    sentence,
                    format!("`systemctl status {name}` says more"),
                );
            }
            Ok(unit) => {
                self.process(name, &unit, program);
                self.restart_deadline(name, &unit, program);
            }
        }
    }

    /// systemd kills a program that does not end when it is told to, after its unit's time. A
    /// restart that has less is given up.
    fn restart_deadline(&mut self, name: &str, unit: &Unit, program: &Program) {
        let Some(stop) = unit.stop_timeout else { return };
        let deadline = program.restart_within(stop, unit.start_timeout.unwrap_or_default());
        if deadline >= stop.saturating_add(RESTART_ROOM) {
            return;
        }
        let takes = if stop == Duration::MAX {
            "for ever".to_owned()
        } else {
            humantime::format_duration(stop).to_string()
        };
        let sentence = format!(
            "{name} may take {takes} to stop, and a restart must begin within {}: where the old program hangs, an upgrade would end as \
             restart-failed",
            humantime::format_duration(deadline)
        );
        let hint = match program.restart_deadline {
            Some(_) => {
                "leave `restart_deadline` out, or raise it, or shorten `TimeoutStopSec=` of the unit"
            }
            None => {
                "shorten `TimeoutStopSec=` of the unit, or `deadline` of [trial], which the payload link announces together with it"
            }
        };
        self.warning(program.common.field("restart_deadline"), sentence, hint);
    }

    /// A trial looks at the main process. What is moved aside by a swap, and runs on, lies in the
    /// staging area.
    fn process(&mut self, name: &str, unit: &Unit, program: &Program) {
        if program.form == Form::Tree {
            return; // of that its start is all that is looked at
        }
        let path = program.path.as_path();
        let runs = match program.runs {
            Runs::Itself => {
                unit.main_pid.and_then(|process| fs::read_link(host::executable(process)).ok())
            }
            Runs::Another => unit.started.as_ref().map(|started| {
                started.path.canonicalize().unwrap_or_else(|_| started.path.clone())
            }),
        };
        let Some(executable) = runs else { return };
        let is = |path: &Path| {
            executable.starts_with(path)
                || executable.to_string_lossy() == format!("{} (deleted)", path.display())
        };
        if is(path)
            || is(&directory_beside(path))
            || path.canonicalize().is_ok_and(|path| is(&path))
        {
            return;
        }
        let (executable, path) = (executable.display(), path.display());
        let (sentence, hint) = match program.runs {
            Runs::Itself => (
                format!("the main process of {name} runs {executable}, not {path}"),
                "no trial would succeed: start the program itself in `ExecStart=` of the unit, or correct `path`; for a program that \
                 becomes another one, such as an AppImage, give `runs = \"another\"`",
            ),
            Runs::Another => (
                format!("systemd started {executable} for {name}, not {path}"),
                "no trial would succeed: name the program in `ExecStart=` of the unit, or correct `path`",
            ),
        };
        self.error(program.common.field("unit"), sentence, hint);
    }

    pub(super) fn restart(&mut self, program: &Program) {
        let command = match &program.restart {
            Restart::Command(command) => command.first().map_or("", String::as_str),
            Restart::Reboot | Restart::Unit(_) => "systemctl",
        };
        self.command(program.common.field("restart"), command);
    }

    pub(super) fn command(&mut self, field: String, program: &str) {
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
