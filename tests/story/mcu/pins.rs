//! What leads to BOOT0 and NRST beside a command: outputs of a GPIO chip, and RTS and DTR of the
//! port. This machine has neither, and a pseudo-terminal has no modem lines: a library in front of
//! the process, compiled with the kernel's own header, takes what is asked of them (`lines.c`).

use std::process::Command;

use uplift::model::{Board, BoardEntry, GpioLine, ModemLine, Pin, Scheme};

use super::*;

/// A chip whose pins are wired to outputs that a process believes in.
struct Wired {
    directory: tempfile::TempDir,
    chip: Mcu,
}

impl Wired {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::create_dir(at("state")).unwrap();
        let library = at("lines.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/story/mcu/lines.c");
        let mut cc = Command::new("cc");
        cc.args(["-Wall", "-Werror", "-shared", "-fPIC", "-o"])
            .arg(library)
            .arg(source)
            .arg("-ldl");
        assert!(cc.status().unwrap().success());
        let base = Map::SEED.application.address;
        let options = Options {
            content: vec![(base, program(base, OLD))],
            control: Some(at("chip")),
            ..Options::default()
        };
        let chip = Mcu::start(at("ttyMotor"), options).unwrap();
        Self { directory, chip }
    }

    /// Installs the new program as `uplift run-stm32` does it; what became of the outputs.
    fn install(&self, entry: BoardEntry, wires: &[(&str, &str)]) -> Vec<String> {
        let at = |name: &str| self.directory.path().join(name);
        let board = Board {
            port: at("ttyMotor"),
            baud: 115_200,
            device: 0x413,
            scheme: Scheme::Uplift,
            entry,
            copy_deadline: Duration::from_secs(1),
            kept: at("state/mcu/motor"),
        };
        let file = at("MOTOR.bin");
        fs::write(&file, program(Map::SEED.application.address, NEW)).unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_uplift"))
            .arg("run-stm32")
            .arg(serde_json::to_string(&board).unwrap())
            .arg(file)
            .env("LD_PRELOAD", at("lines.so"))
            .env("LINES_SOCKET", at("chip"))
            .env("LINES_LOG", at("log"))
            .envs(wires.iter().copied())
            .output()
            .unwrap();
        let log = fs::read_to_string(at("log")).unwrap_or_default();
        assert!(output.status.success(), "{output:?}\n{log}");
        runs(&self.chip, NEW);
        log.lines().map(str::to_owned).collect()
    }
}

/// In and out, and in again for the bootloader's word; a reset is let go with BOOT0 as it is to be.
const TWO_ENTRIES: [&str; 12] = [
    "boot0 1 reset 0",
    "boot0 1 reset 1",
    "boot0 1 reset 0",
    "boot0 0 reset 0",
    "boot0 0 reset 1",
    "boot0 0 reset 0",
    "boot0 1 reset 0",
    "boot0 1 reset 1",
    "boot0 1 reset 0",
    "boot0 0 reset 0",
    "boot0 0 reset 1",
    "boot0 0 reset 0",
];

/// ST-14.
#[test]
fn outputs_of_a_gpio_chip_set_boot0_and_pulse_nrst() {
    let wired = Wired::new();
    let entry = BoardEntry::Gpio {
        chip: "/dev/gpiochip7".into(),
        boot0: Pin { line: GpioLine(17), inverted: false },
        reset: Pin { line: GpioLine(4), inverted: true },
    };
    let log = wired.install(entry, &[("LINES_BOOT0", "17"), ("LINES_RESET", "4")]);
    // Both at once, idle from the first moment: an output, and nothing else of it.
    let first = log[0].as_str();
    let flags = format!("flags {:#x}", 1 << 3);
    assert!(
        first.starts_with("requested ") && first.contains("uplift") && first.ends_with(&flags),
        "{first}"
    );
    assert_eq!(log[1..], TWO_ENTRIES);
}

/// ST-14: the kernel raises both when the port is opened, and lowers both when it is closed.
#[test]
fn modem_lines_of_the_port_set_boot0_and_pulse_nrst() {
    let wired = Wired::new();
    let entry = BoardEntry::Modem {
        boot0: Pin { line: ModemLine::Dtr, inverted: false },
        reset: Pin { line: ModemLine::Rts, inverted: false },
    };
    let port = wired.chip.link().to_owned();
    let (dtr, rts) = (0x002.to_string(), 0x004.to_string());
    let wires =
        [("LINES_BOOT0", &*dtr), ("LINES_RESET", &*rts), ("LINES_PORT", port.to_str().unwrap())];
    let log = wired.install(entry, &wires);
    assert_eq!(log[0], "boot0 1 reset 1", "as the port is opened");
    assert_eq!(log[1..], TWO_ENTRIES[2..]);
}
