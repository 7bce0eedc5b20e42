//! What can be found on this machine before the daemon starts: looks at what the configuration
//! names, and changes nothing: the one file that it makes, to see whether files get a mode, and the two
//! directories, to see whether these can be exchanged, it removes at once.

mod advice;
mod bridge;
mod link;
mod place;
mod policy;
mod program;
mod quectel;
mod storage;
mod terminal;
mod tls;
pub(in crate::cli) mod units;
mod updater;

use std::io;
use std::path::Path;
use std::time::Duration;

use nix::unistd::{AccessFlags, Group, access, geteuid};

use crate::config::{Config, Door, Program};
use crate::disk::mounts::existing;
use crate::trial::restart;
use units::Systemd;

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    /// No upgrade can succeed.
    Error,
    /// Something is worse than it could be, or not there yet.
    Warning,
    /// Nothing is wrong, and something would be safer.
    Advice,
}

/// One thing that a person should know.
#[derive(Debug)]
pub(super) struct Finding {
    pub(super) level: Level,
    pub(super) field: String,
    pub(super) sentence: String,
    pub(super) hint: String,
}

/// Everything that is found, in the order of the configuration.
pub(super) fn find(config: &Config) -> anyhow::Result<Vec<Finding>> {
    let mut findings = Findings::default();
    let systemd = Systemd::new()?;
    for program in config.components.programs() {
        findings.program(program);
        findings.place(program, &config.paths);
        findings.storage(program, &config.paths);
        findings.version(program, &config.paths);
        findings.isolation(program);
        findings.unit(&systemd, program);
        findings.restart(program);
        findings.advice(&systemd, program);
    }
    for component in &config.components {
        findings.updater(component, config.link.as_ref());
        let health_command = component.common().trial.health_command.as_ref();
        if let Some(command) = health_command.and_then(|command| command.first()) {
            findings.command("trial.health_command".into(), command);
        }
    }
    findings.policy(config);
    if let Some(link) = &config.link {
        match link.door {
            Door::Serial => {
                findings.device(link);
                findings.terminal("channel.psdk.device", &link.device);
                findings.braille(&systemd, link);
                findings.adapter(&systemd, link);
            }
            Door::Bridge => findings.bridge(&systemd, config),
        }
        findings.ftp(&systemd, config, link.transfer);
    }
    if let Some(quectel) = &config.quectel {
        findings.quectel(&systemd, config, quectel);
    }
    findings.needless_port(&systemd, config);
    findings.password_files(config);
    findings.certificates(config);
    findings.empty_password(config);
    findings.paths(config);
    findings.rescue(&systemd, config.paths.rescue_timer.as_deref());
    findings.sandbox(&systemd, config);
    Ok(findings.0)
}

/// How long a restart may take to begin, with the unit as it is now.
pub(super) fn restart_deadline(program: &Program) -> Duration {
    let asked = program
        .unit
        .as_ref()
        .zip(Systemd::new().ok())
        .and_then(|(name, systemd)| systemd.unit(name).ok());
    let unit = asked.unwrap_or_default();
    program.restart_within(
        unit.stop_timeout.unwrap_or_default(),
        unit.start_timeout.unwrap_or_default(),
    )
}

#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn add(
        &mut self,
        level: Level,
        field: impl Into<String>,
        sentence: impl Into<String>,
        hint: impl Into<String>,
    ) {
        let (field, sentence) = (field.into(), sentence.into());
        // What two components share is found twice.
        if !self.0.iter().any(|known| known.field == field && known.sentence == sentence) {
            self.0.push(Finding { level, field, sentence, hint: hint.into() });
        }
    }

    fn error(
        &mut self,
        field: impl Into<String>,
        sentence: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.add(Level::Error, field, sentence, hint);
    }

    fn warning(
        &mut self,
        field: impl Into<String>,
        sentence: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.add(Level::Warning, field, sentence, hint);
    }

    /// Root writes everywhere but on a read-only file system; anybody else can't judge for the
    /// daemon.
    fn writable(&mut self, field: impl Into<String>, directory: &Path) {
        let Err(errno) = access(directory, AccessFlags::W_OK) else { return };
        let sentence =
            format!("{} can't be written: {}", directory.display(), io::Error::from(errno));
        if geteuid().is_root() {
            self.error(
                field,
                sentence,
                "mount its file system read-write, or choose another directory",
            );
        } else {
            self.warning(field, sentence, "run this check as root, as the daemon runs");
        }
    }

    fn paths(&mut self, config: &Config) {
        let paths = &config.paths;
        self.writable("paths.state", existing(&paths.state));
        self.writable("paths.control", existing(paths.control.parent().unwrap_or(&paths.control)));
        if let Err(error) = restart::boot_id(&paths.boot_id) {
            let sentence = format!("{} can't be read: {error}", paths.boot_id.display());
            self.error(
                "paths.boot_id",
                sentence,
                "leave the field out: the kernel's own file is the default",
            );
        }
        if !matches!(Group::from_name("uplift"), Ok(Some(_))) {
            let hint = "`systemd-sysusers` makes it from uplift.sysusers; members may use `uplift status` and `uplift install`";
            self.warning(
                "paths.control",
                "there is no group `uplift`, so only root may use the daemon",
                hint,
            );
        }
    }
}
