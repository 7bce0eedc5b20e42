//! The demonstration's other story: a microcontroller beside the payload's computer, a simulated
//! chip on a pseudo-terminal, which Assistant 2 upgrades through the same link.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context as _, bail, ensure};

use super::{BAUD, Demonstration, Event, free_address, say};
use crate::aircraft::{Options as Flight, Verdict, Via};
use crate::mcu::{self, Mcu, Tear};
use crate::sandbox::write_file;
use crate::version::Version;

/// What the file names say.
const PRODUCT: &str = "MOTOR";
/// Bytes of a program.
const SIZE: usize = 24 << 10;
/// Of the line to the chip: faster than its loader, so that nobody waits for minutes.
const CHIP_BAUD: u32 = 921_600;
/// Of what the flash takes.
const TIMES: f64 = 0.1;
/// Where a program is linked for, and what it says of its stack.
const BASE: u32 = 0x0801_0000;
const STACK: u32 = 0x2001_FFFC;
/// Operations of the flash before the power fails: behind the store, in the middle of the copy.
const IN_THE_COPY: u64 = SIZE as u64 + SIZE as u64 / 8;

/// One upgrade.
struct Round {
    version: [u8; 4],
    what: &'static str,
    /// Where it is linked for.
    base: u32,
    is_cut: bool,
    succeeds: bool,
}

const ROUNDS: [Round; 3] = [
    Round {
        version: [2, 0, 0, 0],
        what: "as it should be",
        base: BASE,
        is_cut: false,
        succeeds: true,
    },
    Round {
        version: [3, 0, 0, 0],
        what: "and the chip's power fails while its bootloader copies",
        base: BASE,
        is_cut: true,
        succeeds: true,
    },
    Round {
        version: [4, 0, 0, 0],
        what: "linked for another address, where it would never start",
        base: 0x0800_0000,
        is_cut: false,
        succeeds: false,
    },
];

impl Demonstration {
    /// Shows it, and removes the sandbox.
    pub(super) fn show_motor(mut self) -> anyhow::Result<()> {
        let began = Instant::now();
        say(format_args!("A payload in {}:", self.sandbox.root().display()))?;
        say(
            "its computer, and a motor's STM32F4 on a second serial line, with uplift's bootloader.",
        )?;
        let chip = self.set_up_motor()?;
        for round in &ROUNDS {
            self.upgrade_motor(&chip, round)?;
        }
        self.end(began)
    }

    fn set_up_motor(&mut self) -> anyhow::Result<Mcu> {
        let (root, sim) = (self.sandbox.root(), std::env::current_exe()?);
        let (line, control) = (root.join("run/ttyMotor"), root.join("run/chip"));
        let script = "[ $2 = loader ]; exec \"$0\" mcu-control \"$1\" reset $((1 - $?))";
        let link = self.sandbox.link_sections(&BAUD, free_address()?).replace(
            "[channel.psdk]",
            "[channel.psdk]\ncomponents = [\"motor\"]\nversion_of = \"motor\"",
        );
        let sections = format!(
            "[component.motor]\nkind = \"stm32\"\nproduct = \"{PRODUCT}\"\nport = {line:?}\n\
             copy_deadline = \"2s\"\nentry = {{ command = [\"/bin/sh\", \"-c\", {script:?}, {sim:?}, {control:?}] }}\n\
             [package]\nseal = \"required\"\n{}{link}",
            self.signer.trusted_section(),
        );
        let options = mcu::Options {
            content: vec![(BASE, program([1, 0, 0, 0], BASE))],
            control: Some(control),
            baud: Some(CHIP_BAUD),
            times: TIMES,
            ..mcu::Options::default()
        };
        let chip = Mcu::start(line, options).context("no simulated chip can be made")?;
        self.sandbox.install_by_hand(Version([1, 0, 0, 0]))?;
        self.sandbox.configure(&self.sandbox.restart_line(), &sections)?;
        self.sandbox.start_daemon()?;
        Ok(chip)
    }

    fn upgrade_motor(&self, chip: &Mcu, round: &Round) -> anyhow::Result<()> {
        let version = Version(round.version);
        say(format_args!("\nUpgrade of the motor to {version} by DCFTP, {}", round.what))?;
        let before = chip.operations();
        if round.is_cut {
            chip.cut(IN_THE_COPY, Tear::Half);
        }
        self.fly(Flight { via: Via::Dcftp, ..Flight::new(self.motor_file(round)?) })?;
        let verdict = self.verdict()?;
        ensure!(
            verdict.is_success() == round.succeeds,
            "the upgrade to {version} ended otherwise: {}",
            verdict.message
        );
        let operations = chip.operations() - before;
        let cut = if round.is_cut { "; one was cut off" } else { "" };
        say(format_args!("  the chip's flash: {operations} operations{cut}"))?;
        if round.succeeds {
            let flash = chip.flash();
            let (at, program) = ((BASE - 0x0800_0000) as usize, program(round.version, BASE));
            ensure!(flash.get(at..at + SIZE) == Some(&program), "{version} is not in the chip");
            say(format_args!("  the chip runs {version} now"))?;
        }
        Ok(())
    }

    /// The end of the upgrade that was begun.
    fn verdict(&self) -> anyhow::Result<Verdict> {
        loop {
            match self.events.recv().context("nothing more can happen")? {
                Event::Judged(verdict) => return verdict.context("the simulated aircraft crashed"),
                Event::Interrupted => bail!("interrupted"),
                Event::RestartRequested(_) => {}
            }
        }
    }

    /// A sealed file.
    fn motor_file(&self, round: &Round) -> anyhow::Result<PathBuf> {
        let name = format!("{PRODUCT}_{}.bin", Version(round.version));
        let path = self.sandbox.root().join(name);
        write_file(&path, &program(round.version, round.base))?;
        self.signer.seal_before(&path)?;
        Ok(path)
    }
}

/// A program that is told apart by its version.
fn program(version: [u8; 4], base: u32) -> Vec<u8> {
    let text = Version(version).to_string();
    let mut bytes: Vec<u8> = text.bytes().cycle().take(SIZE).collect();
    let vectors = [STACK.to_le_bytes(), (base + 0x101).to_le_bytes()].concat();
    for (to, byte) in bytes.iter_mut().zip(vectors) {
        *to = byte;
    }
    bytes
}
