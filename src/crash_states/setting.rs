//! What is particular about a payload, and its configuration.

use std::path::Path;

use super::files::{PROGRAM, STATE, UPDATER};
use super::updater::Updater;
use crate::config::{self, Config};
use crate::model::{ChannelName, FailureKind};

/// What is particular about a payload.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setting {
    /// Who asks for the upgrade.
    pub(crate) channel: ChannelName,
    /// Operations that the file system does not have.
    pub(crate) lacks: &'static [&'static str],
    /// Whether the program lies on a file system of the vfat kind.
    pub(crate) fat: bool,
    /// Whether restarts come when they are asked for.
    pub(crate) restarts: bool,
    /// How many boots a trial may take.
    pub(crate) boots: u32,
    /// Why the story is one of a rollback, if it is.
    pub(crate) verdict: Option<FailureKind>,
    /// Reports that the history has when the story begins.
    pub(crate) reports: usize,
    /// Whether `uplift-rescue` runs before each daemon.
    pub(crate) rescue: bool,
    /// What becomes of the new program, where it is the daemon itself.
    pub(crate) own: Option<NewDaemon>,
    /// Whether the health command fails.
    pub(crate) ill: bool,
    /// Whether the program is a unit of its own, which the daemon restarts and outlives.
    pub(crate) unit: bool,
    /// What becomes of the upgrade once it was put off, where upgrades are held when it begins.
    pub(crate) held: Option<PutOff>,
    /// What is received of the file outlives restarts, and breaks off once in its middle.
    pub(crate) resumes: bool,
    /// What another updater does, where that installs the file.
    pub(crate) change: Option<ByUpdater>,
}

/// A change by another updater.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ByUpdater {
    /// Whether it needs a restart.
    pub(crate) restarts: bool,
    /// Whether the updater can go back.
    pub(crate) reverts: bool,
    /// Whether what it installs is there afterwards.
    pub(crate) works: bool,
    /// Whether it is begun again where it was cut off.
    pub(crate) begins_again: bool,
}

impl Setting {
    /// Whether systemd starts the program.
    pub(crate) fn has_unit(&self) -> bool {
        self.own.is_some() || self.unit
    }
}

/// What becomes of an upgrade that was put off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PutOff {
    /// The hold is released, and it goes on.
    Released,
    /// Somebody does not want it any more.
    Cancelled,
}

/// What a new daemon does with its own trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NewDaemon {
    Concludes,
    /// It never gives a verdict.
    Hangs,
    /// Nor this one, but first it writes the state in a format of its own.
    HangsInAnotherFormat,
}

pub(super) fn config(setting: Setting, root: &Path, boot_id: &Path) -> Config {
    let updater = setting.change.map(|change| updater_section(change, root));
    let (root, boot_id, boots) = (root.display(), boot_id.display(), setting.boots);
    let (restart, timer) = match setting.has_unit() {
        true => (r#""unit""#.to_owned() + "\nunit = \"uplift.service\"", config::RESCUE_TIMER),
        false => (r#"["reboot"]"#.to_owned(), ""),
    };
    // As short as it may be: nothing gets well by waiting.
    let health = match (setting.ill, setting.change) {
        (true, None) => "deadline = \"10ms\"\nhealth_command = [\"/bin/false\"]",
        // What is in vain is so at the first look.
        (true, Some(_)) => "deadline = \"10ms\"",
        (false, _) => "",
    };
    let program = format!(
        r#"[component.program]
product = "P"
path = "{root}/{PROGRAM}"
version = "V01.00.00.00"
restart = {restart}
"#
    );
    let (component, name, window) = match updater {
        Some(section) => (section, "modem", ""),
        None => (program, "program", r#"window = "0s""#),
    };
    let text = format!(
        r#"{component}
[package]
allow_unproven_end = true
[channel.psdk]
components = ["{name}"]
device = "/dev/null"
[paths]
state = "{root}/{STATE}"
boot_id = "{boot_id}"
rescue_timer = "{timer}"
[trial]
boots = {boots}
{window}
{health}
"#
    );
    let mut config = Config::parse(&text, Path::new("uplift.toml")).unwrap();
    if setting.change.is_some_and(|change| change.begins_again) {
        config.components.begin_again();
    }
    config
}

/// The component whose files another updater installs.
fn updater_section(change: ByUpdater, root: &Path) -> String {
    let installed = root.join(UPDATER).join(Updater::INSTALLED);
    let (restart, revert) = (r#"restart = ["reboot"]"#, r#"revert = ["revert", "V01.00.00.00"]"#);
    format!(
        r#"[component.modem]
kind = "command"
product = "P"
install = ["install", "{{file}}"]
version_command = ["/usr/bin/head", "-n1", "{}"]
isolate_commands = "never"
{}
{}
"#,
        installed.display(),
        if change.restarts { restart } else { "" },
        if change.reverts { revert } else { "" },
    )
}
