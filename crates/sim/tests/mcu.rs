//! The simulated chip, from outside: judged by two hosts that are not ours, and driven by one that is
//! written from docs/wire/stm32f4.md.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as expected")]

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tempfile::TempDir;
use uplift_boot::{Crc, FileInfo, Image, Map, Order, Record};
use uplift_sim::cloud::event::Events;
use uplift_sim::mcu::{self, Application, Bootloader, Event, Fault, Mcu, Options, Start, Tear};

const MAP: Map = Map::SEED;
const DEADLINE: Duration = Duration::from_secs(60);
const ACK: u8 = 0x79;
const NACK: u8 = 0x1F;

/// A program of so many bytes.
fn program(size: usize, seed: u64) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut bytes = vec![0; size];
    random.fill(&mut bytes);
    bytes[..4].copy_from_slice(&0x2001_0000_u32.to_le_bytes());
    bytes[4..8].copy_from_slice(&(MAP.application.address + 0x101).to_le_bytes());
    *bytes.last_mut().unwrap() = 0;
    bytes
}

fn crc(bytes: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.finish()
}

/// A chip with a program, and where its files are.
struct Bench {
    directory: TempDir,
    chip: Mcu,
    old: Vec<u8>,
}

impl Bench {
    fn new(options: Options) -> Self {
        let (directory, old) = (TempDir::new().unwrap(), program(20_000, 1));
        let content = vec![(MAP.application.address, old.clone())];
        let chip = Mcu::start(directory.path().join("tty"), Options { content, ..options });
        Self { directory, chip: chip.unwrap(), old }
    }

    fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.directory.path().join(name);
        File::create(&path).unwrap().write_all(content).unwrap();
        path
    }

    fn enter(&self) -> Host {
        self.chip.reset(true);
        Host::open(self.chip.link())
    }

    /// Those from now on.
    fn events(&self) -> Events<Event> {
        let mut events = self.chip.events();
        for _ in 0..events.so_far().len() {
            events.next(Duration::ZERO);
        }
        events
    }

    /// Resets, and says what comes of it.
    fn boot(&self) -> (Start, Option<u32>) {
        let mut events = self.events();
        self.chip.reset(false);
        let is_booted = |event: &Event| matches!(event, Event::Booted { .. } | Event::Cut { .. });
        let Some(Event::Booted { start, .. }) = events.wait_for(DEADLINE, is_booted) else {
            panic!("it did not come up: {:?}", self.chip.events().so_far());
        };
        if start != Start::Runs {
            return (start, None);
        }
        let Some(Event::Started { crc, .. }) = events.next(DEADLINE) else { panic!("not started") };
        (start, Some(crc))
    }
}

/// A host of the loader.
struct Host(File);

impl Host {
    fn open(port: &Path) -> Self {
        let file = OpenOptions::new().read(true).write(true).open(port).unwrap();
        let mut host = Self(file);
        host.0.write_all(&[0x7F]).unwrap();
        assert_eq!(host.hear(1), [ACK]);
        host
    }

    fn hear_within(&mut self, count: usize, time: Duration) -> Option<Vec<u8>> {
        let (deadline, mut heard) = (Instant::now() + time, Vec::new());
        while heard.len() < count {
            let left = deadline.saturating_duration_since(Instant::now());
            let left = Timespec::try_from(left).unwrap();
            if poll(&mut [PollFd::new(&self.0, PollFlags::IN)], Some(&left)).unwrap() == 0 {
                return None;
            }
            let mut bytes = vec![0; count - heard.len()];
            let read = self.0.read(&mut bytes).unwrap();
            heard.extend(&bytes[..read]);
        }
        Some(heard)
    }

    fn hear(&mut self, count: usize) -> Vec<u8> {
        self.hear_within(count, DEADLINE).unwrap()
    }

    /// Says these bytes and their sum; the one byte that is answered.
    fn say(&mut self, bytes: &[u8]) -> u8 {
        let sum = bytes.iter().fold(0, |sum, byte| sum ^ byte);
        self.0.write_all(&[bytes, &[sum]].concat()).unwrap();
        self.hear(1)[0]
    }

    fn command(&mut self, command: u8) -> u8 {
        self.0.write_all(&[command, !command]).unwrap();
        self.hear(1)[0]
    }

    fn write(&mut self, address: u32, bytes: &[u8]) -> bool {
        (address..).step_by(256).zip(bytes.chunks(256)).all(|(address, block)| {
            self.command(0x31) == ACK
                && self.say(&address.to_be_bytes()) == ACK
                && self.say(&[&[(block.len() - 1) as u8], block].concat()) == ACK
        })
    }

    fn erase(&mut self, sectors: &[u8]) -> bool {
        let mut told = vec![0, (sectors.len() - 1) as u8];
        told.extend(sectors.iter().flat_map(|number| [0, *number]));
        self.command(0x44) == ACK && self.say(&told) == ACK
    }

    fn read(&mut self, address: u32, size: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while bytes.len() < size {
            let count = (size - bytes.len()).min(256);
            assert_eq!(self.command(0x11), ACK);
            assert_eq!(self.say(&(address + bytes.len() as u32).to_be_bytes()), ACK);
            assert_eq!(self.command((count - 1) as u8), ACK);
            bytes.extend(self.hear(count));
        }
        bytes
    }

    /// ST-7.
    fn upgrade(&mut self, new: &[u8]) {
        let image = Image::check(new, &MAP).unwrap();
        let record = image.record();
        let info = FileInfo { size: record.size }.bytes(b"new.bin");
        assert!(self.erase(&[2, 3]));
        assert!(self.erase(&[8, 9, 10, 11]));
        assert!(self.write(MAP.store.address, new));
        assert!(self.write(MAP.file_info, &info));
        assert!(self.write(MAP.record.address + Record::BODY_OFFSET, &record.body()));
        assert!(self.write(MAP.record.address, &Record::key()));
    }

    fn order(&mut self) -> Order {
        let bytes = self.read(MAP.record.address, Record::WORDS * 4);
        Order::parse_bytes(bytes.first_chunk().unwrap(), &MAP)
    }
}

fn stm32flash(bench: &Bench, arguments: &[&str]) {
    bench.chip.reset(true);
    let output = Command::new("stm32flash")
        .args(["-m", "8n1", "-b", "115200"])
        .args(arguments)
        .arg(bench.chip.link())
        .output();
    let Ok(output) = output else {
        panic!("stm32flash can't be run; `tests/install-packages` installs it");
    };
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Judged by Debian's stm32flash: it writes store, file info and record, and reads the application
/// back. It erases the sectors that a file touches, and no others.
#[test]
fn stm32flash_writes_the_store_and_reads_the_application() {
    let bench = Bench::new(Options::default());
    let new = program(200_000, 2);
    let record = Image::check(&new, &MAP).unwrap().record();
    let words = [&Record::key()[..], &record.body()].concat();
    let info = FileInfo { size: record.size }.bytes(b"new.bin");
    for (name, content, address) in [
        ("new.bin", &new[..], "0x08080000"),
        ("info.bin", &info, "0x080FFC00"),
        ("record.bin", &words, "0x08008000"),
    ] {
        let file = bench.file(name, content);
        stm32flash(&bench, &["-w", file.to_str().unwrap(), "-v", "-S", address]);
    }
    assert_eq!(bench.boot(), (Start::Runs, Some(crc(&new))));
    let back = bench.directory.path().join("back.bin");
    stm32flash(&bench, &["-r", back.to_str().unwrap(), "-S", "0x08010000:200000"]);
    assert!(fs::read(back).unwrap() == new);
    let events = bench.chip.events().so_far();
    assert!(
        events.contains(&Event::Erased { sectors: vec![8, 9] }),
        "two sectors hold 200 000 bytes"
    );
    assert!(!events.contains(&Event::MassErase));
}

/// Judged by stm32loader of the Python package index; a pseudo-terminal has no parity and no modem
/// lines, so it is told so.
#[test]
fn stm32loader_reads_the_application() {
    let bench = Bench::new(Options::default());
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    let python = root.join("target/boot-tools/bin/python3");
    assert!(python.exists(), "stm32loader is not there; `tests/install-packages` installs it");
    let back = bench.directory.path().join("back.bin");
    bench.chip.reset(true);
    let output = Command::new(python)
        .arg(root.join("tests/boot/read-with-stm32loader.py"))
        .args(["-p", bench.chip.link().to_str().unwrap(), "-P", "none", "-f", "F4", "-r"])
        .args(["-a", "0x08010000", "-l", "20000", back.to_str().unwrap()])
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
    assert!(fs::read(back).unwrap() == bench.old);
}

#[test]
fn a_store_is_copied_proved_and_said() {
    let bench = Bench::new(Options::default());
    let new = program(100_000, 2);
    let record = Image::check(&new, &MAP).unwrap().record();
    let mut host = bench.enter();
    host.upgrade(&new);
    assert_eq!(host.order(), Order::Pending(record));
    assert_eq!(bench.boot(), (Start::Runs, Some(crc(&new))));
    let mut host = bench.enter();
    assert_eq!(host.order(), Order::Copied(record), "ST-11");
    assert!(host.read(MAP.application.address, new.len()) == new);
}

/// ST-18, ST-19: cuts and failures of the copy; what is in the flash outlives them.
#[test]
fn a_copy_that_is_cut_begins_again() {
    let bench = Bench::new(Options::default());
    let new = program(2000, 2);
    bench.enter().upgrade(&new);
    bench.chip.fail(100, Tear::Nothing);
    assert_eq!(bench.boot(), (Start::Failed, None));
    // The last is the word "copied": the program is proved then, and the next reset says it.
    for (after, tear) in [(0, Tear::Half), (2, Tear::Random), (300, Tear::All), (505, Tear::Half)] {
        bench.chip.cut(after, tear);
        let mut events = bench.events();
        bench.chip.reset(false);
        assert!(events.wait_for(DEADLINE, |event| matches!(event, Event::Cut { .. })).is_some());
    }
    let before = bench.chip.operations();
    assert_eq!(bench.boot(), (Start::Runs, Some(crc(&new))));
    assert_eq!(bench.chip.operations() - before, 1);
}

/// ST-7: the host's part is cut; the old program runs.
#[test]
fn a_transfer_that_is_cut_leaves_the_old_program() {
    let bench = Bench::new(Options::default());
    let new = program(2000, 2);
    let mut host = bench.enter();
    bench.chip.cut(700, Tear::Random);
    // What was wished is granted then.
    assert_eq!(bench.chip.flash().len(), 1 << 20);
    assert!(host.erase(&[2, 3]) && host.erase(&[8, 9, 10, 11]));
    host.0.write_all(&[0x31, 0xCE]).unwrap();
    assert_eq!(host.hear(1), [ACK]);
    assert_eq!(host.say(&MAP.store.address.to_be_bytes()), ACK);
    let mut events = bench.events();
    let mut blocks = (MAP.store.address..).step_by(256).zip(new.chunks(256));
    let (_, first) = blocks.next().unwrap();
    assert_eq!(host.say(&[&[(first.len() - 1) as u8], first].concat()), ACK);
    for (address, block) in blocks.take(1) {
        assert!(host.write(address, block));
    }
    let (address, block) = (MAP.store.address + 512, &new[512..768]);
    assert_eq!(host.command(0x31), ACK);
    assert_eq!(host.say(&address.to_be_bytes()), ACK);
    let sum = block.iter().fold(255, |sum, byte| sum ^ byte);
    host.0.write_all(&[&[255], block, &[sum]].concat()).unwrap();
    assert!(events.wait_for(DEADLINE, |event| matches!(event, Event::Cut { .. })).is_some());
    assert_eq!(bench.boot(), (Start::Runs, Some(crc(&bench.old))));
    bench.enter().upgrade(&new);
    assert_eq!(bench.boot(), (Start::Runs, Some(crc(&new))));
}

fn vendors() -> Options {
    let (bootloader, application) = (Bootloader::Vendor, Application::Clears);
    Options { bootloader, application, ..Options::default() }
}

#[test]
fn the_vendors_bootloader_copies_and_the_application_clears() {
    let bench = Bench::new(vendors());
    let new = program(2000, 2);
    bench.enter().upgrade(&new);
    assert_eq!(bench.boot(), (Start::Runs, Some(crc(&new))));
    assert_eq!(bench.enter().order(), Order::None);
    assert_eq!(bench.boot(), (Start::Runs, Some(crc(&new))));
}

/// V1: an operation that fails takes the order away, and what is half copied is started, now and at
/// each reset.
#[test]
fn v1_the_vendors_bootloader_starts_what_is_half_copied() {
    let bench = Bench::new(vendors());
    let new = program(2000, 2);
    bench.enter().upgrade(&new);
    bench.chip.fail(100, Tear::Nothing);
    let (start, mixed) = bench.boot();
    assert_eq!(start, Start::Runs);
    let good = [Some(crc(&new)), Some(crc(&bench.old))];
    assert!(!good.contains(&mixed));
    assert_eq!(bench.boot(), (Start::Runs, mixed));
}

/// V2: it does not look at what it copies.
#[test]
fn v2_the_vendors_bootloader_copies_a_wrong_store() {
    let bench = Bench::new(vendors());
    let new = program(2000, 2);
    let mut host = bench.enter();
    host.upgrade(&new);
    assert!(host.write(MAP.store.address + 1000, &[0; 16]));
    let (start, wrong) = bench.boot();
    assert_eq!(start, Start::Runs);
    assert!(wrong != Some(crc(&new)) && wrong != Some(crc(&bench.old)));
}

/// V3: a stack at the end of the memory is copied and never started; ours starts it.
#[test]
fn v3_the_vendors_bootloader_never_starts_what_it_copied() {
    let mut new = program(2000, 2);
    new[..4].copy_from_slice(&0x2002_0000_u32.to_le_bytes());
    for (options, wanted) in [(vendors(), Start::Empty), (Options::default(), Start::Runs)] {
        let bench = Bench::new(options);
        bench.enter().upgrade(&new);
        assert_eq!(bench.boot().0, wanted);
    }
}

/// V4: a program that does not come to its "application start" is copied at each reset.
#[test]
fn v4_the_vendors_bootloader_copies_at_each_reset() {
    let bench = Bench::new(Options { application: Application::Leaves, ..vendors() });
    bench.enter().upgrade(&program(2000, 2));
    for _ in 0..2 {
        let before = bench.chip.operations();
        bench.boot();
        assert_eq!(bench.chip.operations() - before, 504);
    }
    let ours = Bench::new(Options::default());
    ours.enter().upgrade(&program(2000, 2));
    ours.boot();
    let before = ours.chip.operations();
    ours.boot();
    assert_eq!(ours.chip.operations(), before);
}

/// V5: with the order still there, a store that is erased is copied.
#[test]
fn v5_the_vendors_bootloader_copies_a_blank_store() {
    for (options, wanted) in [(vendors(), Start::Empty), (Options::default(), Start::Runs)] {
        let bench = Bench::new(Options { application: Application::Leaves, ..options });
        let mut host = bench.enter();
        host.upgrade(&program(2000, 2));
        bench.boot();
        assert!(bench.enter().erase(&[8]));
        assert_eq!(bench.boot().0, wanted);
    }
}

/// ST-14: a reset in the middle of a command is the only way out of it.
#[test]
fn only_a_reset_ends_a_block_that_was_begun() {
    let bench = Bench::new(Options::default());
    let mut host = bench.enter();
    assert_eq!(host.command(0x31), ACK);
    assert_eq!(host.say(&MAP.store.address.to_be_bytes()), ACK);
    host.0.write_all(&[255, 1, 2, 3]).unwrap();
    drop(host);
    let mut host =
        OpenOptions::new().read(true).write(true).open(bench.chip.link()).map(Host).unwrap();
    host.0.write_all(&[0x7F]).unwrap();
    assert_eq!(host.hear_within(1, Duration::from_millis(200)), None);
    assert_eq!(bench.enter().read(MAP.application.address, 4), bench.old[..4]);
}

#[test]
fn a_reset_cuts_a_copy_that_takes_its_time() {
    let bench = Bench::new(Options { times: 1.0, ..Options::default() });
    let new = program(2000, 2);
    let mut host = bench.enter();
    // As a programmer would, in no time: the chip's flash takes its own.
    assert!(host.write(MAP.store.address, &new));
    let record = Image::check(&new, &MAP).unwrap().record();
    assert!(host.write(MAP.record.address + Record::BODY_OFFSET, &record.body()));
    assert!(host.write(MAP.record.address, &Record::key()));
    let mut events = bench.events();
    bench.chip.reset(false);
    bench.chip.reset(true);
    assert!(events.wait_for(DEADLINE, |event| matches!(event, Event::Cut { .. })).is_some());
    let mut host = Host::open(bench.chip.link());
    assert_eq!(host.order(), Order::Pending(record));
}

#[test]
fn a_deaf_loader_and_one_that_garbles() {
    let deaf = Bench::new(Options { faults: vec![Fault::Deaf], ..Options::default() });
    deaf.chip.reset(true);
    let port = OpenOptions::new().read(true).write(true).open(deaf.chip.link()).unwrap();
    let mut host = Host(port);
    host.0.write_all(&[0x7F; 3]).unwrap();
    assert_eq!(host.hear_within(1, Duration::from_millis(200)), None);

    // After 0x7F and the command's code.
    let bench = Bench::new(Options { faults: vec![Fault::Garbled(3)], ..Options::default() });
    let mut host = bench.enter();
    assert_eq!(host.command(0x11), NACK);
    assert_eq!(host.command(0x11), ACK);
}

/// The flash outlives the process in its file; the socket does what a person says.
#[test]
fn a_file_keeps_the_flash_and_a_socket_takes_commands() {
    let directory = TempDir::new().unwrap();
    let [file, socket, copy, tty] =
        ["flash.bin", "socket", "copy.bin", "tty"].map(|name| directory.path().join(name));
    let old = program(2000, 1);
    let options = Options {
        file: Some(file.clone()),
        control: Some(socket.clone()),
        content: vec![(MAP.application.address, old)],
        ..Options::default()
    };
    let chip = Mcu::start(&tty, options.clone()).unwrap();
    let say = |line: &str| mcu::tell(&socket, line).unwrap();
    assert_eq!(say("reset 1"), "ok");
    let mut host = Host::open(chip.link());
    host.upgrade(&program(2000, 2));
    assert_eq!(say("ops"), chip.operations().to_string());
    assert_eq!(say("cut 100 random"), "ok");
    let mut events = chip.events();
    assert_eq!(say("reset 0"), "ok");
    assert!(events.wait_for(DEADLINE, |event| matches!(event, Event::Cut { .. })).is_some());
    assert_eq!(say(&format!("save {}", copy.display())), "ok");
    assert!(say("dance").starts_with("not understood"));
    assert!(say("cut x").starts_with("a number"));
    let flash = chip.flash();
    drop(chip);
    assert!(!socket.exists() && !tty.exists());
    assert!(fs::read(&copy).unwrap() == flash && fs::read(&file).unwrap() == flash);

    let again = Mcu::start(&tty, options).unwrap();
    let started = again.events().wait_for(DEADLINE, |event| matches!(event, Event::Started { .. }));
    let Some(Event::Started { crc: found, .. }) = started else { panic!("not started") };
    assert_eq!(found, crc(&program(2000, 2)));
}

/// As a person has it: two programs.
#[test]
fn a_process_prints_what_starts_and_another_tells_it_what_to_do() {
    let directory = TempDir::new().unwrap();
    let [socket, tty, application] =
        ["socket", "tty", "old.bin"].map(|name| directory.path().join(name));
    let old = program(2000, 1);
    File::create(&application).unwrap().write_all(&old).unwrap();
    let mut chip = Command::new(env!("CARGO_BIN_EXE_uplift-sim"))
        .args(["mcu", "--json", "--times", "0", "--make-pty"])
        .arg(&tty)
        .arg("--control")
        .arg(&socket)
        .arg("--application")
        .arg(&application)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(chip.stdout.take().unwrap()).lines().map(Result::unwrap);
    let started = lines.find(|line| line.contains(r#""event":"started""#)).unwrap();
    assert!(started.contains(&format!(r#""crc":{}"#, crc(&old))), "{started}");
    let control = |words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_uplift-sim"));
        command.arg("mcu-control").arg(&socket).args(words).output().unwrap()
    };
    assert_eq!(control(&["reset", "1"]).stdout, b"ok\n");
    assert_eq!(Host::open(&tty).read(MAP.application.address, 64), old[..64]);
    assert_eq!(control(&["ops"]).stdout, b"0\n");
    assert_eq!(control(&["dance"]).status.code(), Some(1));
    kill(Pid::from_raw(chip.id() as i32), Signal::SIGTERM).unwrap();
    assert!(chip.wait().unwrap().success());
    assert!(!tty.is_symlink() && !socket.exists());
}
