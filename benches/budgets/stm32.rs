//! 448 KiB for an STM32F4 over a line of 115200 baud with its pace, into a chip whose flash takes the
//! typical times: by `uplift run-stm32`, until the order for the bootloader is written, and by
//! `stm32flash -w -v`, which reads everything back.
//!
//! With uplift's bootloader nothing is read back: that proves the program by its CRC. With the
//! vendor's, who proves nothing, all of the store is. What is kept as the way back is kept before.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use tempfile::TempDir;
use uplift_sim::mcu::{Bootloader, Mcu, Options};

use super::payload::shipped;
use super::process::Ended;
use super::table::Row;

const SIZE: usize = 448 << 10;
const STORE: &str = "0x08080000";
const BASE: u32 = 0x0801_0000;
const BAUD: u32 = 115_200;
/// Of stm32flash's time.
const WITH_OURS: f64 = 0.6;
const WITH_VENDORS: f64 = 1.02;
/// The typical copy takes 5.4 s.
const COPY: Duration = Duration::from_secs(8);
/// Sets the pins, at the simulated chip's control socket.
const RESET: &str = "import socket, sys
chip = socket.socket(socket.AF_UNIX)
chip.connect(sys.argv[1])
chip.sendall(b'reset %d\\n' % (sys.argv[2] == 'loader'))
chip.recv(9)";
/// What begins once the order is written.
const ORDERED: &str = "phase the bootloader copies the program";

pub(crate) fn measure() -> Result<Vec<Row>> {
    // All at once, each at a chip of its own: what else the machine does is the same for all, and
    // they wait for their lines most of the time.
    let (theirs, ours, vendors) = thread::scope(|scope| {
        let theirs = scope.spawn(stm32flash);
        let [ours, vendors] = [Bootloader::Uplift, Bootloader::Vendor]
            .map(|bootloader| scope.spawn(move || Upgrade::run(bootloader)));
        (theirs.join(), ours.join(), vendors.join())
    });
    let died = |_| anyhow!("a measurement died");
    let (theirs, ours, vendors) =
        (theirs.map_err(died)??, ours.map_err(died)??, vendors.map_err(died)??);
    let what = "448 KiB to a microcontroller";
    Ok(vec![
        Row::note(format!("{what}, stm32flash -w -v"), theirs, "s"),
        Row::note(format!("{what}, uplift's bootloader, until the order"), ours.ordered, "s"),
        Row::at_most("  of stm32flash's time", ours.ordered / theirs, WITH_OURS, ""),
        Row::note(format!("{what}, the vendor's, until the order"), vendors.ordered, "s"),
        Row::at_most("  of stm32flash's time", vendors.ordered / theirs, WITH_VENDORS, ""),
        Row::note("  and then its copy, read back", vendors.whole - vendors.ordered, "s"),
    ])
}

/// A chip in this directory.
fn chip(directory: &Path, bootloader: Bootloader) -> Result<Mcu> {
    let options = Options {
        content: vec![(BASE, program(1)[..4096].to_vec())],
        control: Some(directory.join("chip")),
        bootloader,
        baud: Some(BAUD),
        times: 1.0,
        ..Options::default()
    };
    Mcu::start(directory.join("ttyMotor"), options).context("no simulated chip can be made")
}

/// A program without a blank block.
fn program(seed: u64) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut bytes: Vec<u8> = (0..SIZE).map(|_| random.u8(..)).collect();
    bytes[..4].copy_from_slice(&0x2001_FFFC_u32.to_le_bytes());
    bytes[4..8].copy_from_slice(&(BASE + 0x101).to_le_bytes());
    bytes
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    Ok(File::create(path)?.write_all(bytes)?)
}

fn stm32flash() -> Result<f64> {
    let directory = TempDir::new()?;
    let chip = chip(directory.path(), Bootloader::Uplift)?;
    let file = directory.path().join("new.bin");
    write(&file, &program(2))?;
    chip.reset(true);
    let began = Instant::now();
    let output = Command::new("stm32flash")
        .args(["-m", "8n1", "-b", &BAUD.to_string(), "-v", "-S", STORE, "-w"])
        .arg(&file)
        .arg(chip.link())
        .output()
        .context("stm32flash can't be run; hint: tests/install-packages")?;
    let seconds = began.elapsed().as_secs_f64();
    ensure!(output.status.success(), "{output:?}");
    ensure!(chip.flash()[0x8_0000..][..SIZE] == program(2), "the store is another one");
    Ok(seconds)
}

/// What one upgrade took, in seconds.
struct Upgrade {
    ordered: f64,
    whole: f64,
}

impl Upgrade {
    fn run(bootloader: Bootloader) -> Result<Self> {
        let directory = TempDir::new()?;
        let at = |name: &str| directory.path().join(name);
        let chip = chip(directory.path(), bootloader)?;
        std::fs::create_dir_all(at("mcu/motor"))?;
        write(&at("mcu/motor/installed.bin"), &program(1)[..4096])?;
        write(&at("MOTOR.bin"), &program(2))?;
        let scheme = if bootloader == Bootloader::Uplift { "uplift" } else { "vendor" };
        let board = serde_json::json!({
            "port": at("ttyMotor"), "baud": BAUD, "scheme": scheme, "kept": at("mcu/motor"),
            "copy_deadline": COPY.as_millis(),
            "entry": { "command": ["/usr/bin/python3", "-c", RESET, at("chip")] },
        });
        let mut command = Command::new(shipped()?);
        command.arg("run-stm32").arg(board.to_string()).arg(at("MOTOR.bin"));
        let began = Instant::now();
        let mut process = command.stdout(Stdio::piped()).spawn()?;
        let lines = BufReader::new(process.stdout.take().context("it has a standard output")?);
        let process = Ended::from(process);
        let (mut ordered, mut told) = (None, Vec::new());
        for line in lines.lines() {
            let line = line?;
            if line == ORDERED {
                ordered.get_or_insert(began.elapsed().as_secs_f64());
            }
            if std::env::var_os("UPLIFT_PHASES").is_some() && line.starts_with("phase") {
                eprintln!("{:8.3} {line}", began.elapsed().as_secs_f64());
            }
            told.push(line);
        }
        let whole = began.elapsed().as_secs_f64();
        drop(process);
        ensure!(chip.flash()[0x1_0000..][..SIZE] == program(2), "{told:?}");
        let Some(ordered) = ordered else { bail!("nothing was ordered: {told:?}") };
        Ok(Self { ordered, whole })
    }
}
