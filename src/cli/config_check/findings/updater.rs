//! Another updater that a component is handed to: what it is called with, and what can be seen of
//! its work.

use super::Findings;
use crate::config::Component;
use crate::model::Restart;

impl Findings {
    pub(super) fn updater(&mut self, component: &Component) {
        let Component::Command(command) = component else { return };
        let restart = match &command.restart {
            Some(Restart::Command(command)) => Some(command),
            _ => None,
        };
        for (field, words) in [
            ("install", Some(&command.install)),
            ("revert", command.revert.as_ref()),
            ("version_command", command.common.version_command.as_ref()),
            ("restart", restart),
        ] {
            if let Some(program) = words.and_then(|words| words.first()) {
                self.command(component.field(field), program);
            }
        }
        if command.common.version_command.is_none() {
            self.warning(
                component.field("version_command"),
                "nobody is asked for the version that is installed, so a report of success rests on what the updater says of itself",
                "give a command that prints it",
            );
        }
        if command.revert.is_none() {
            self.warning(
                component.field("revert"),
                "there is no way back: where the trial of a new version fails, it stays installed and the report says so",
                "give the updater's command for going back, where it has one",
            );
        }
    }
}
