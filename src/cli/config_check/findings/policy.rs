//! The section `[policy]`: what would keep an upgrade from beginning now.

use std::sync::Arc;

use super::Findings;
use crate::config::Config;
use crate::disk::LocalDisk;
use crate::host::command::{self, Isolation};
use crate::policy::Gatekeeper;

impl Findings {
    pub(super) fn policy(&mut self, config: &Config) {
        let policy = &config.policy;
        if let Some(program) = policy.ready_command.as_ref().and_then(|command| command.first()) {
            self.command("policy.ready_command".into(), program);
            if policy.isolate_commands != Isolation::Never && command::lacks_bus() {
                self.warning(
                    "policy.isolate_commands",
                    "systemd runs here without its bus, so `ready_command` runs with the rights of the daemon, or not at all",
                    "install the package `dbus` and restart the machine",
                );
            }
        }
        let gatekeeper = Gatekeeper::open(Arc::new(LocalDisk), config);
        gatekeeper.look_at_clock();
        if gatekeeper.status().window.is_some_and(|window| !window.clock_trusted) {
            self.warning(
                "policy.window_utc",
                "the clock was not set since the boot, as far as can be seen, so the window counts as closed",
                "have NTP set it, name the file of another program that does in `clock_file`, or say `clock = \"trusted\"`",
            );
        }
        if let Some(free) = gatekeeper.free() {
            let wanted = policy.min_free_space.0;
            self.error(
                "policy.min_free_space",
                format!("{free} bytes are free, and {wanted} are wanted, so no upgrade can begin"),
                "free space on the file systems of the firmware and of the state, or want less",
            );
        }
    }
}
