//! The module of the mobile network, through which a platform upgrades this payload.

use std::time::Duration;

use super::units::Systemd;
use super::{Findings, restart_deadline};
use crate::config::{Config, Quectel};

/// How long a module waits for the new version after the word to install (docs/use/quectel.md).
const MODULE_WAITS: Duration = Duration::from_secs(20 * 60);

impl Findings {
    pub(super) fn quectel(&mut self, systemd: &Systemd, config: &Config, quectel: &Quectel) {
        const DEVICE: &str = "channel.quectel.device";
        self.serial_port(DEVICE, &quectel.device);
        let hint = "give the port a rule of udev with `ENV{ID_MM_PORT_IGNORE}=\"1\"`, or `systemctl mask ModemManager`";
        self.modem_manager(systemd, DEVICE, &quectel.device, hint);
        if config.link.as_ref().is_some_and(|link| link.device == quectel.device) {
            let sentence = "the payload link has the same device";
            self.error(DEVICE, sentence, "name the module's port for AT commands");
        }
        if let Some(file) = &quectel.battery_file
            && !file.exists()
        {
            let sentence = format!("{} is not there", file.display());
            let hint = "each plan is refused until it holds the charge in percent; without the field the payload counts as fed by wire";
            self.warning("channel.quectel.battery_file", sentence, hint);
        }
        self.times(config, quectel);
    }

    /// What takes longer succeeds here, and has failed for the platform.
    fn times(&mut self, config: &Config, quectel: &Quectel) {
        let replaced = |name| quectel.components.values().any(|one| *one == name);
        for program in config.components.programs().filter(|one| replaced(one.common.name)) {
            let trial = &program.common.trial;
            let longest = restart_deadline(program) + trial.deadline * trial.boots;
            if longest > MODULE_WAITS {
                let sentence = format!(
                    "restart and trial may take {} min, and the module counts an upgrade as failed after 20 min",
                    longest.as_secs() / 60
                );
                let hint = "shorten `deadline` and lessen `boots` of the [trial] section; the platform is told the version that runs all the same";
                self.warning("channel.quectel", sentence, hint);
            }
        }
    }
}
