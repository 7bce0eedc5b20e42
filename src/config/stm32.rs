//! A component of the kind "stm32": a microcontroller on a serial port, which uplift itself works
//! on, in the place of another updater.

use std::path::Path;
use std::time::Duration;

use super::command::{AWAY, Command, DEFAULT_DEADLINE, FILE};
use super::common::Common;
use super::component::Components;
use super::error::Mistake;
use super::fields::{Bootloader, Fields, Mode};
use super::link::{Door, Link};
use super::package::Format;
use super::program::SHORTEST_RESTART;
use super::values::{NO_PROGRAM, names_a_program};
use crate::model::{BOARD_DEVICE, BOARD_UNCHANGED, Board, BoardEntry, ComponentName, Scheme};

/// The subcommand of `uplift` that works on a microcontroller, by whatever runs it: another uplift
/// may lie at the path by then.
const OWN: [&str; 2] = ["/proc/self/exe", "run-stm32"];
/// The directory below that of the state with the programs that are kept.
const DIRECTORY: &str = "mcu";
const DEFAULT_RATE: u32 = 115_200;
/// The longest copy, 18.6 s, and a margin (ST-12).
const DEFAULT_COPY_DEADLINE: Duration = Duration::from_secs(25);

impl Fields {
    /// What starts the program.
    pub(super) fn scheme(&self, name: ComponentName) -> Result<Scheme, Mistake> {
        match (self.mode.unwrap_or_default(), self.bootloader) {
            (Mode::Store, None | Some(Bootloader::Uplift)) => Ok(Scheme::Uplift),
            (Mode::Store, Some(Bootloader::Vendor)) => Ok(Scheme::Vendor),
            (Mode::Direct, None) => Ok(Scheme::Direct),
            (Mode::Direct, Some(_)) => {
                let right =
                    "`mode = \"direct\"` is for a chip without a bootloader: take one of both away";
                Err(Mistake::new(&[format!("component.{name}.bootloader")], right))
            }
        }
    }

    /// What only a microcontroller has.
    pub(super) fn check_no_board(&self, common: &Common) -> Result<(), Mistake> {
        let foreign = [
            ("port", self.port.is_some()),
            ("baud", self.baud.is_some()),
            ("device_id", self.device_id.is_some()),
            ("mode", self.mode.is_some()),
            ("bootloader", self.bootloader.is_some()),
            ("entry", self.entry.is_some()),
            ("version_at", self.version_at.is_some()),
            ("copy_deadline", self.copy_deadline.is_some()),
        ];
        belongs_to(common, &foreign, "this belongs to a component of the kind \"stm32\"")
    }
}

impl Command {
    /// uplift in the place of an updater; `state` is the directory of the state.
    pub(super) fn of_board(fields: Fields, common: Common, state: &Path) -> Result<Self, Mistake> {
        check_foreign(&fields, &common)?;
        let scheme = fields.scheme(common.name)?;
        let missing = |field: &str, right: &str| {
            Mistake::new(
                &[format!("component.{}", common.name)],
                format!("give `{field}`: {right}"),
            )
        };
        let port = fields.port.ok_or_else(|| {
            missing("port", "the serial port of the chip's UART, such as \"/dev/ttyS1\"")
        })?;
        let entry = fields.entry.ok_or_else(|| {
            let right = "what sets BOOT0 and NRST, such as { command = [\"/usr/local/sbin/mcu-boot\"] } or { gpio = { chip = \"/dev/gpiochip0\", boot0 = \"17\", reset = \"!27\" } }";
            missing("entry", right)
        })?;
        check_entry(&entry, &common)?;
        let board = Board {
            port,
            baud: fields.baud.unwrap_or(DEFAULT_RATE),
            device: fields.device_id.unwrap_or(BOARD_DEVICE),
            scheme,
            entry,
            copy_deadline: fields.copy_deadline.unwrap_or(DEFAULT_COPY_DEADLINE),
            kept: state.join(DIRECTORY).join(common.name.as_str()),
        };
        let json = serde_json::to_string(&board).map_err(|error| {
            Mistake::new(&[common.field("port")], format!("this is no name of a device: {error}"))
        })?;
        let call = |what: &[&str]| {
            let words = OWN.into_iter().chain([json.as_str()]).chain(what.iter().copied());
            words.map(str::to_owned).collect::<Vec<_>>()
        };
        Ok(Self {
            install: call(&[FILE]),
            revert: Some(call(&["--away", AWAY])),
            suffix: ".bin".to_owned(),
            unchanged_exit_codes: vec![BOARD_UNCHANGED],
            command_deadline: fields.command_deadline.unwrap_or(DEFAULT_DEADLINE),
            restart: None,
            restart_deadline: SHORTEST_RESTART,
            // From the first erasure on there is no program (ST-8).
            begins_again: scheme == Scheme::Direct,
            board: Some(board),
            common,
        })
    }
}

fn check_foreign(fields: &Fields, common: &Common) -> Result<(), Mistake> {
    let of_others = [
        ("name", fields.name.is_some()),
        ("path", fields.path.is_some()),
        ("unit", fields.unit.is_some()),
        ("trial.window", fields.trial.has_window()),
        ("install", fields.install.is_some()),
        ("revert", fields.revert.is_some()),
        ("suffix", fields.suffix.is_some()),
        ("restart", fields.restart.is_some()),
        ("restart_deadline", fields.restart_deadline.is_some()),
        ("unchanged_exit_codes", !fields.unchanged_exit_codes.is_empty()),
        ("format", !matches!(common.format, Format::Stm32(_))),
    ];
    belongs_to(common, &of_others, "a component of the kind \"stm32\" has no such field")
}

fn belongs_to(common: &Common, given: &[(&str, bool)], why: &str) -> Result<(), Mistake> {
    match given.iter().find(|(_, given)| *given) {
        Some((field, _)) => Err(Mistake::new(&[common.field(field)], why)),
        None => Ok(()),
    }
}

fn check_entry(entry: &BoardEntry, common: &Common) -> Result<(), Mistake> {
    let explanation = match entry {
        BoardEntry::Command(words) if !names_a_program(words) => NO_PROGRAM,
        BoardEntry::Command(words)
            if words.iter().any(|word| word.contains(FILE) || word.contains(AWAY)) =>
        {
            "the command of `entry` is handed no file"
        }
        BoardEntry::Modem { boot0, reset } if boot0.line == reset.line => {
            "BOOT0 and NRST need an output each"
        }
        BoardEntry::Gpio { boot0, reset, .. } if boot0.line == reset.line => {
            "BOOT0 and NRST need an output each"
        }
        BoardEntry::Gpio { chip, .. } if !chip.is_absolute() => {
            "the chip is named by its path, such as \"/dev/gpiochip0\""
        }
        BoardEntry::Command(_) | BoardEntry::Modem { .. } | BoardEntry::Gpio { .. } => {
            return Ok(());
        }
    };
    Err(Mistake::new(&[common.field("entry")], explanation))
}

/// A port has one owner (ST-15).
pub(super) fn check_ports(components: &Components, link: Option<&Link>) -> Result<(), Mistake> {
    let of_link = link.filter(|link| link.door == Door::Serial).map(|link| &link.device);
    let mut seen = Vec::new();
    for component in components {
        let Some(board) = component.board() else { continue };
        let field = component.field("port");
        let path = board.port.display();
        if of_link == Some(&board.port) {
            let explanation =
                format!("{path} is the port of the payload link, `device` of [channel.psdk], too");
            return Err(Mistake::new(&[field], explanation));
        }
        if seen.contains(&&board.port) {
            let explanation = format!("{path} is the port of another component, too");
            return Err(Mistake::new(&[field], explanation));
        }
        seen.push(&board.port);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::Config;
    use super::*;
    use crate::model::{GpioLine, ModemLine, Pin};

    const ENTRY: &str = "entry = { command = [\"/bin/mcu\"] }";

    fn parse(lines: &str, more: &str) -> Result<Config, String> {
        let text =
            format!("[component.motor]\nkind = \"stm32\"\nproduct = \"MOTOR\"\n{lines}\n{more}");
        Config::parse(&text, Path::new("uplift.toml")).map_err(|error| error.to_string())
    }

    fn board(lines: &str) -> Result<Board, String> {
        let config = parse(&format!("port = \"/dev/ttyS1\"\n{lines}"), "")?;
        let component = config.components.iter().next().unwrap();
        let Format::Stm32(format) = component.common().format else { panic!("another format") };
        let board = component.board().unwrap();
        assert_eq!(board.scheme, format.scheme);
        Ok(board.clone())
    }

    #[test]
    fn a_board_has_the_documented_defaults_and_is_told_whole_to_its_updater() {
        let config = parse(&format!("port = \"/dev/ttyS1\"\n{ENTRY}"), "").unwrap();
        let Some(super::super::Component::Command(command)) = config.components.iter().next()
        else {
            panic!("no updater")
        };
        let board = command.board.clone().unwrap();
        let expected = Board {
            port: "/dev/ttyS1".into(),
            baud: 115_200,
            device: 0x413,
            scheme: Scheme::Uplift,
            entry: BoardEntry::Command(vec!["/bin/mcu".into()]),
            copy_deadline: Duration::from_secs(25),
            kept: "/var/lib/uplift/mcu/motor".into(),
        };
        assert_eq!(board, expected);
        let terms = command.terms();
        assert_eq!(serde_json::from_str::<Board>(&terms.install[2]).unwrap(), expected);
        assert_eq!(
            (&terms.install[..2], terms.install[3].as_str()),
            (&OWN.map(String::from)[..], FILE)
        );
        assert_eq!(terms.revert.unwrap()[2..], [terms.install[2].as_str(), "--away", AWAY]);
        assert_eq!(terms.unchanged_exit_codes, [BOARD_UNCHANGED]);
        assert!(terms.read_back && terms.restart.is_none() && !terms.begins_again);
    }

    #[test]
    fn each_field_of_a_board() {
        let scheme = |lines: &str| board(&format!("{lines}\n{ENTRY}")).map(|board| board.scheme);
        assert_eq!(scheme("bootloader = \"vendor\"\nmode = \"store\""), Ok(Scheme::Vendor));
        assert_eq!(scheme("mode = \"direct\""), Ok(Scheme::Direct));
        let device = board(&format!("device_id = 0x463\n{ENTRY}")).map(|board| board.device);
        assert_eq!(device, Ok(0x463));
        let entry = |text: &str| board(&format!("entry = {text}")).map(|board| board.entry);
        assert_eq!(
            entry("{ modem = { boot0 = \"dtr\", reset = \"!rts\" } }"),
            Ok(BoardEntry::Modem {
                boot0: Pin { line: ModemLine::Dtr, inverted: false },
                reset: Pin { line: ModemLine::Rts, inverted: true },
            })
        );
        let gpio =
            entry("{ gpio = { chip = \"/dev/gpiochip0\", boot0 = \"17\", reset = \"!27\" } }");
        let expected = BoardEntry::Gpio {
            chip: "/dev/gpiochip0".into(),
            boot0: Pin { line: GpioLine(17), inverted: false },
            reset: Pin { line: GpioLine(27), inverted: true },
        };
        assert_eq!(gpio.as_ref(), Ok(&expected));
        let told = serde_json::to_string(&expected).unwrap();
        assert_eq!(serde_json::from_str::<BoardEntry>(&told).unwrap(), expected);
    }

    /// ST-15 among them.
    #[test]
    fn what_can_not_work_is_an_error_with_what_would_be_right() {
        let with_entry = format!("port = \"/dev/ttyS1\"\n{ENTRY}");
        let link = "[channel.psdk]\ndevice = \"/dev/ttyS1\"\ncomponents = [\"motor\"]";
        let other =
            format!("[component.gimbal]\nkind = \"stm32\"\nproduct = \"GIMBAL\"\n{with_entry}");
        let program = "[component.program]\nname = \"p\"\nproduct = \"P\"\nbaud = 9600";
        for (lines, more, said) in [
            (ENTRY, "", "give `port`"),
            ("port = \"/dev/ttyS1\"", "", "give `entry`"),
            (&*with_entry, link, "the port of the payload link"),
            (&*with_entry, &*other, "the port of another component"),
            (&*with_entry, program, "of the kind \"stm32\""),
            (&format!("{with_entry}\nbaud = 921600"), "", "1200 to 115200 baud"),
            (
                &format!("{with_entry}\nmode = \"direct\"\nbootloader = \"vendor\""),
                "",
                "without a bootloader",
            ),
            (&format!("{with_entry}\nformat = \"any\""), "", "no such field"),
            (&format!("{with_entry}\nrestart = \"reboot\""), "", "no such field"),
            ("port = \"/dev/ttyS1\"\nentry = { command = [] }", "", "program"),
            ("port = \"/dev/ttyS1\"\nentry = { command = [\"/m\", \"{file}\"] }", "", "no file"),
            (
                "port = \"/dev/ttyS1\"\nentry = { modem = { boot0 = \"rts\", reset = \"!rts\" } }",
                "",
                "an output each",
            ),
            (
                "port = \"/dev/ttyS1\"\nentry = { modem = { boot0 = \"cts\", reset = \"rts\" } }",
                "",
                "\"dtr\"",
            ),
            (
                "port = \"/dev/ttyS1\"\nentry = { gpio = { chip = \"gpiochip0\", boot0 = \"1\", reset = \"2\" } }",
                "",
                "by its path",
            ),
            (
                "port = \"/dev/ttyS1\"\nentry = { gpio = { chip = \"/dev/gpiochip0\", boot0 = \"x\", reset = \"2\" } }",
                "",
                "number",
            ),
        ] {
            let error = parse(lines, more).expect_err(said);
            assert!(error.contains(said), "{said}: {error}");
        }
    }
}
