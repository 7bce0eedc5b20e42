//! Another updater that a component is handed to: what it is called with, and what can be seen of
//! its work.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use nix::fcntl::OFlag;

use super::Findings;
use crate::config::{Component, Door, Link};
use crate::model::{Board, BoardEntry, Restart, Scheme, without_number};

impl Findings {
    pub(super) fn updater(&mut self, component: &Component, link: Option<&Link>) {
        let Component::Command(command) = component else { return };
        if let Some(board) = &command.board {
            return self.board(component, board, link);
        }
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

    /// A microcontroller: its port, and what sets its pins.
    fn board(&mut self, component: &Component, board: &Board, link: Option<&Link>) {
        let port = board.port.display();
        let of_link = link.filter(|link| link.door == Door::Serial).map(|link| &link.device);
        if of_link.is_some_and(|device| are_one(device, &board.port)) {
            self.error(
                component.field("port"),
                format!("{port} is the port of the payload link by another name"),
                "each of them needs a port of its own: compare `device` of [channel.psdk]",
            );
        }
        self.terminal(component.field("port"), &board.port);
        let is_terminal = open(&board.port).map(|port| port.is_terminal());
        match is_terminal {
            Ok(true) => {}
            Ok(false) => self.error(
                component.field("port"),
                format!("{port} is no serial port"),
                "name the port of the microcontroller's UART, such as /dev/ttyS1",
            ),
            Err(error) => self.warning(
                component.field("port"),
                format!("{port} can't be opened now: {}", without_number(&error.to_string())),
                "see that the device is there, and run this check as root, as the daemon runs",
            ),
        }
        match &board.entry {
            BoardEntry::Command(words) => {
                if let Some(program) = words.first() {
                    self.command(component.field("entry"), program);
                }
            }
            BoardEntry::Gpio { chip, .. } => self.gpio(component.field("entry"), chip),
            BoardEntry::Modem { .. } => {}
        }
        if let Some(command) = &component.common().version_command
            && let Some(program) = command.first()
        {
            self.command(component.field("version_command"), program);
        }
        if board.scheme == Scheme::Direct {
            self.warning(
                component.field("mode"),
                "while a program is written, and after a cut until it is written again, the microcontroller has none",
                "give it a bootloader and `mode = \"store\"`, which a cut never leaves without a program",
            );
        }
    }

    fn gpio(&mut self, field: String, chip: &Path) {
        if let Err(error) = gpiocdev::chip::Chip::from_path(chip) {
            self.warning(
                field,
                format!("{} is no chip with outputs now: {error}", chip.display()),
                "see that the chip is there (`gpiodetect`), and run this check as root, as the daemon runs",
            );
        }
    }
}

/// Whether two names are those of one device.
fn are_one(one: &Path, other: &Path) -> bool {
    let number = |path: &Path| {
        let found = path.metadata().ok()?;
        found.file_type().is_char_device().then(|| found.rdev())
    };
    one == other || number(one).is_some_and(|one| number(other) == Some(one))
}

/// A port whose modem is silent is not waited for.
fn open(port: &Path) -> io::Result<File> {
    let flags = OFlag::O_NOCTTY | OFlag::O_NONBLOCK;
    OpenOptions::new().read(true).custom_flags(flags.bits()).open(port)
}
