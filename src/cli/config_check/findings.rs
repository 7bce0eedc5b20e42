//! What can be found on this machine before the daemon starts: looks at what the configuration names, and changes nothing.

use std::env;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use nix::unistd::{AccessFlags, Group, access, geteuid};

use crate::config::{Config, Link, Program, Restart, TransferChoice};
use crate::package::preflight;
use crate::restart;
use crate::target;
use crate::transfer::ftp_client::FtpClient;
use crate::unit::{self, Unit};

/// Where systemd lays a unit's credentials; what is there exists only while the unit runs.
const CREDENTIALS: &str = "/run/credentials";

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    /// No upgrade can succeed.
    Error,
    /// Something is worse than it could be, or not there yet.
    Warning,
}

/// One thing that a person should know.
#[derive(Debug)]
pub(super) struct Finding {
    pub(super) level: Level,
    pub(super) field: &'static str,
    pub(super) sentence: String,
    pub(super) hint: String,
}

/// Everything that is found, in the order of the configuration.
pub(super) fn find(config: &Config) -> anyhow::Result<Vec<Finding>> {
    let mut findings = Findings::default();
    findings.program(&config.program);
    findings.version(config);
    findings.unit(&config.program)?;
    findings.restart(&config.program.restart);
    if let Some(program) = config.trial.health_command.as_ref().and_then(|command| command.first()) {
        findings.command("trial.health_command", program);
    }
    if let Some(link) = &config.link {
        findings.device(link);
        findings.ftp(config, link.transfer);
    }
    findings.password_files(config);
    findings.paths(config);
    findings.rescue_timer(config.paths.rescue_timer.as_deref())?;
    Ok(findings.0)
}

#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn error(&mut self, field: &'static str, sentence: impl Into<String>, hint: impl Into<String>) {
        self.0.push(Finding { level: Level::Error, field, sentence: sentence.into(), hint: hint.into() });
    }

    fn warning(&mut self, field: &'static str, sentence: impl Into<String>, hint: impl Into<String>) {
        self.0.push(Finding { level: Level::Warning, field, sentence: sentence.into(), hint: hint.into() });
    }

    fn program(&mut self, program: &Program) {
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

    /// Root writes everywhere but on a read-only file system; anybody else can't judge for the daemon.
    fn writable(&mut self, field: &'static str, directory: &Path) {
        let Err(errno) = access(directory, AccessFlags::W_OK) else { return };
        let sentence = format!("{} can't be written: {}", directory.display(), io::Error::from(errno));
        if geteuid().is_root() {
            self.error(field, sentence, "mount its file system read-write, or choose another directory");
        } else {
            self.warning(field, sentence, "run this check as root: the daemon does");
        }
    }

    fn version(&mut self, config: &Config) {
        let program = &config.program;
        if !program.path.is_file() {
            return;
        }
        match &program.version_command {
            Some(arguments) => {
                if let Err(failure) = preflight::printed_version(&program.path, arguments) {
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

    fn unit(&mut self, program: &Program) -> anyhow::Result<()> {
        let Some(name) = &program.unit else {
            self.warning(
                "program.unit",
                "no unit is named, so reports rest on the boot id and the file at the path, not on the process that runs",
                "name the program's systemd unit",
            );
            return Ok(());
        };
        match show(name)? {
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
            Ok(_) => {}
        }
        Ok(())
    }

    /// An upgrade goes on without it, so nothing here is an error.
    fn rescue_timer(&mut self, timer: Option<&str>) -> anyhow::Result<()> {
        let Some(timer) = timer else { return Ok(()) };
        let why = match show(timer)? {
            Err(error) => format!("systemd can't be asked about {timer}: {error}"),
            Ok(unit) if unit.load_state != "loaded" => format!("{timer} is {}", unit.load_state),
            Ok(_) => return Ok(()),
        };
        let hint = "install the units `uplift-rescue*`; where there is no systemd, give `rescue_timer = \"\"`";
        self.warning("paths.rescue_timer", format!("no trial has a second deadline: {why}"), hint);
        Ok(())
    }

    fn restart(&mut self, restart: &Restart) {
        let program = match restart {
            Restart::Command(command) => command.first().map_or("", String::as_str),
            Restart::Reboot | Restart::Unit(_) => "systemctl",
        };
        self.command("program.restart", program);
    }

    fn command(&mut self, field: &'static str, program: &str) {
        if find_program(program).is_none() {
            let hint = "give a command as a list: an executable file, then its arguments";
            self.error(field, format!("{program:?} is not a program that can be started"), hint);
        }
    }

    fn device(&mut self, link: &Link) {
        let device = link.device.display();
        match fs::metadata(&link.device) {
            Ok(metadata) if metadata.file_type().is_char_device() => {}
            Ok(_) => self.error("link.device", format!("{device} is not a device"), "name the serial port"),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.warning(
                    "link.device",
                    format!("{device} is not there"),
                    "the daemon waits for it; plug the adapter in, or correct the name",
                );
            }
            Err(error) => self.error("link.device", format!("{device} can't be looked at: {error}"), "correct the name"),
        }
    }

    fn ftp(&mut self, config: &Config, transfer: TransferChoice) {
        if transfer == TransferChoice::Dcftp || unreadable(config.ftp.password_file.as_deref()).is_some() {
            return; // not used, or told already
        }
        let Err(failure) = FtpClient::new(config.ftp.clone()).examine() else { return };
        let sentence = format!("{}: {failure}", config.ftp.address);
        match transfer {
            TransferChoice::Auto => {
                let hint = "start the FTP server (`systemctl start uplift-ftp.socket`); until it answers, DCFTP is offered, which is slow";
                self.warning("ftp", sentence, hint);
            }
            _ => self.error("ftp", sentence, "start the FTP server (`systemctl start uplift-ftp.socket`), or correct the [ftp] section"),
        }
        if config.ftp.address.ip().is_loopback() && !config.ftp_server.home.is_dir() {
            let sentence = format!("{} is no directory", config.ftp_server.home.display());
            self.warning("ftp_server.home", sentence, "make it for the user of `uplift ftp-server`; another FTP server does not need it");
        }
    }

    fn password_files(&mut self, config: &Config) {
        let files = [("ftp.password_file", &config.ftp.password_file), ("ftp_server.password_file", &config.ftp_server.password_file)];
        for (field, file) in files {
            let Some((file, error)) = unreadable(file.as_deref()) else { continue };
            let sentence = format!("{} can't be read: {error}", file.display());
            if file.starts_with(CREDENTIALS) {
                self.warning(field, sentence, "a credential is there only while its unit runs; `LoadCredential=` in the unit makes it");
            } else {
                self.error(field, sentence, "correct the name, or let the service's user read it");
            }
        }
    }

    fn paths(&mut self, config: &Config) {
        let paths = &config.paths;
        self.writable("paths.state", existing(&paths.state));
        self.writable("paths.control", existing(paths.control.parent().unwrap_or(&paths.control)));
        if let Err(error) = restart::boot_id(&paths.boot_id) {
            let sentence = format!("{} can't be read: {error}", paths.boot_id.display());
            self.error("paths.boot_id", sentence, "leave the field out: the kernel's own file is the default");
        }
        if !matches!(Group::from_name("uplift"), Ok(Some(_))) {
            let hint = "`systemd-sysusers` makes it from uplift.sysusers; members may use `uplift status` and `uplift install`";
            self.warning("paths.control", "there is no group `uplift`, so only root may talk to the daemon", hint);
        }
    }
}

fn show(unit: &str) -> anyhow::Result<io::Result<Unit>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("the runtime can't be started")?;
    Ok(runtime.block_on(unit::show(unit)))
}

fn unreadable(file: Option<&Path>) -> Option<(&Path, io::Error)> {
    let file = file?;
    File::open(file).err().map(|error| (file, error))
}

/// The directory itself, or the one above it that is there; the daemon makes the rest.
fn existing(directory: &Path) -> &Path {
    directory.ancestors().find(|directory| directory.exists()).unwrap_or(directory)
}

/// The executable file of a command, found as `execvp` finds it.
fn find_program(name: &str) -> Option<PathBuf> {
    let executable = |path: &PathBuf| path.is_file() && access(path, AccessFlags::X_OK).is_ok();
    if name.contains('/') {
        return Some(PathBuf::from(name)).filter(executable);
    }
    env::split_paths(&env::var_os("PATH")?).map(|directory| directory.join(name)).find(executable)
}
