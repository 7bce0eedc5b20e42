//! Upgrades of a simulated chip: the order of what is done, what is refused, and every cut.

mod chip;
mod cuts;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use chip::{Chip, Faults};
use sha2::{Digest as _, Sha256};

use super::kept::Kept;
use super::loader::Wires;
use super::upgrade::{Told, Upgrade};
use crate::model::{Board, BoardEntry, Failure, FailureKind, ProgramDigest, Scheme};

const STACK: u32 = 0x2001_FFFC;

/// A program of `size` bytes for where the scheme runs it; `filling` makes it another one.
fn program(scheme: Scheme, size: usize, filling: u8) -> Vec<u8> {
    let base = if scheme == Scheme::Direct { 0x0800_0000_u32 } else { 0x0801_0000 };
    let mut bytes = vec![filling; size];
    bytes[..4].copy_from_slice(&STACK.to_le_bytes());
    bytes[4..8].copy_from_slice(&(base + 9).to_le_bytes());
    bytes
}

/// A chip with a program, and the computer beside it.
struct Bench {
    chip: Chip,
    board: Board,
    directory: tempfile::TempDir,
    told: Vec<Told>,
}

impl Bench {
    fn new(scheme: Scheme) -> Self {
        let old = program(scheme, 1000, 0xA5);
        let chip = Chip::new(scheme);
        let base = chip.application();
        Self::with_chip(chip.with(base, &old))
    }

    fn with_chip(chip: Chip) -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("state")).unwrap();
        let board = Board {
            port: "/dev/null".into(),
            baud: 115_200,
            device: 0x413,
            scheme: chip.scheme,
            entry: BoardEntry::Command(vec!["/bin/true".into()]),
            copy_deadline: Duration::from_secs(25),
            kept: directory.path().join("state/mcu/motor"),
        };
        Self { chip, board, directory, told: Vec::new() }
    }

    fn faulty(scheme: Scheme, faults: Faults) -> Self {
        let mut bench = Self::new(scheme);
        bench.chip.faults = faults;
        bench
    }

    fn kept(&self) -> Kept {
        Kept::at(Arc::new(self.chip.host.clone()), &self.board.kept)
    }

    fn work(
        &mut self,
        work: impl FnOnce(&mut Upgrade<'_, Chip>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let (kept, told) = (self.kept(), &mut self.told);
        let mut tell = |news| told.push(news);
        let wires = &mut self.chip;
        work(&mut Upgrade { board: &self.board, wires, kept, tell: &mut tell })
    }

    fn install(&mut self, image: &[u8]) -> Result<(), Failure> {
        self.work(|upgrade| upgrade.install(image, "MOTOR_V02.00.00.00.bin"))
    }

    /// What the daemon asks for where this image failed, or is not wanted any more.
    fn revert(&mut self, away: &[u8]) -> Result<(), Failure> {
        let away = ProgramDigest(Sha256::digest(away).into());
        self.work(|upgrade| upgrade.revert(&away))
    }

    fn old(&self) -> Vec<u8> {
        program(self.board.scheme, 1000, 0xA5)
    }

    fn new_program(&self) -> Vec<u8> {
        program(self.board.scheme, 1300, 0x3C)
    }

    fn has(&self, program: &[u8]) -> bool {
        self.chip.bytes(self.chip.application(), program.len()) == program
    }

    /// Whether the computer left everything as it was, and the chip with its program.
    #[track_caller]
    fn is_untouched(&self) {
        assert!(self.has(&self.old()), "the old program is not there");
        assert!(!self.kept().is_unfinished(), "it is said to have changed");
        assert!(!self.chip.in_loader, "it was left in its loader");
    }
}

const SCHEMES: [Scheme; 3] = [Scheme::Uplift, Scheme::Vendor, Scheme::Direct];

/// ST-7, ST-8, ST-10, ST-11, ST-14.
#[test]
fn an_upgrade_and_the_way_back() {
    for scheme in SCHEMES {
        let mut bench = Bench::new(scheme);
        let (old, new) = (bench.old(), bench.new_program());
        bench.install(&new).unwrap();
        assert!(bench.has(&new), "{scheme:?}");
        assert!(!bench.chip.in_loader && !bench.kept().is_unfinished());
        bench.revert(&new).unwrap();
        assert!(bench.has(&old), "{scheme:?}");
        assert!(!bench.chip.in_loader && !bench.kept().is_unfinished());
        // Once more, and nothing is to be done.
        let blocks = bench.chip.blocks;
        bench.revert(&old).unwrap();
        assert!(bench.has(&old) && bench.chip.blocks == blocks, "{scheme:?}");
    }
}

/// ST-10: what is kept is what the way back leads to, also after an upgrade that came to nothing.
#[test]
fn a_failed_transfer_leaves_the_way_back_as_it_was() {
    for scheme in [Scheme::Uplift, Scheme::Vendor] {
        let mut bench = Bench::new(scheme);
        let (old, new) = (bench.old(), bench.new_program());
        bench.install(&new).unwrap();
        bench.chip.faults.nacks = 3;
        let failure = bench.install(&program(scheme, 900, 1)).unwrap_err();
        assert_eq!(failure.kind, FailureKind::InstallFailed, "{failure}");
        assert!(bench.has(&new) && !bench.kept().is_unfinished());
        bench.revert(&new).unwrap();
        assert!(bench.has(&old), "{scheme:?}");
    }
}

/// The same where the computer was cut off in the transfer: the one before is not what is meant.
#[test]
fn a_transfer_that_was_cut_off_is_followed_by_the_program_that_runs() {
    for scheme in [Scheme::Uplift, Scheme::Vendor] {
        let mut bench = Bench::new(scheme);
        let (old, new) = (bench.old(), bench.new_program());
        bench.install(&new).unwrap();
        bench.chip.host.ends_after(1000);
        let third = program(scheme, 900, 1);
        bench.install(&third).unwrap_err();
        bench.chip.host.revive();
        bench.revert(&third).unwrap();
        assert!(bench.has(&new) && !bench.chip.in_loader, "{scheme:?}");
        bench.revert(&new).unwrap();
        assert!(bench.has(&old), "{scheme:?}");
    }
}

#[test]
fn a_chip_without_a_program_gets_one_and_has_nothing_to_go_back_to() {
    let mut bench = Bench::with_chip(Chip::new(Scheme::Uplift));
    let new = bench.new_program();
    bench.install(&new).unwrap();
    assert!(bench.has(&new));
    let failure = bench.revert(&new).unwrap_err();
    assert!(failure.sentence.contains("nothing to go back to"), "{failure}");
    assert!(bench.has(&new) && !bench.chip.in_loader);
}

/// ST-1, ST-3, ST-4: refused before anything is erased or written, with what a person can do.
#[test]
fn a_chip_that_is_not_the_one_that_is_meant_is_left_alone() {
    let cases: [(Faults, FailureKind, &str, &str); 5] = [
        (
            Faults { deaf: true, ..Faults::default() },
            FailureKind::Timeout,
            "did not answer in 3 tries",
            "BOOT0",
        ),
        (
            Faults { id: Some(0x419), ..Faults::default() },
            FailureKind::WrongMachine,
            "device id 0x419",
            "F405",
        ),
        (
            Faults { small: true, ..Faults::default() },
            FailureKind::WrongMachine,
            "512 KiB",
            "1 MiB",
        ),
        (
            Faults { without_erase: true, ..Faults::default() },
            FailureKind::WrongMachine,
            "lacks the command 0x44",
            "F405",
        ),
        (
            Faults { protected: true, ..Faults::default() },
            FailureKind::InstallFailed,
            "read-out protection is on",
            "never removes",
        ),
    ];
    for scheme in SCHEMES {
        for (faults, kind, sentence, hint) in &cases {
            let mut bench = Bench::faulty(scheme, faults.clone());
            let new = bench.new_program();
            let failure = bench.install(&new).unwrap_err();
            assert_eq!(failure.kind, *kind, "{failure}");
            assert!(failure.to_string().contains(sentence), "{failure}");
            assert!(failure.hint().contains(hint), "{}", failure.hint());
            assert_eq!(bench.chip.operations, 0, "{failure}");
            bench.is_untouched();
        }
    }
    let mut deaf = Bench::faulty(Scheme::Uplift, Faults { deaf: true, ..Faults::default() });
    let new = deaf.new_program();
    deaf.install(&new).unwrap_err();
    // Three tries and the way out, each with a reset, and never a byte more (ST-1).
    assert_eq!((deaf.chip.resets, deaf.chip.heard.as_slice()), (4, &[0x7F; 3][..]));
}

/// ST-4: of the codes that are sent, none could lock or erase the whole chip.
#[test]
fn nothing_dangerous_is_ever_sent() {
    for scheme in SCHEMES {
        let mut bench = Bench::new(scheme);
        let new = bench.new_program();
        bench.install(&new).unwrap();
        bench.revert(&new).unwrap();
        let known = [0x00, 0x02, 0x11, 0x31, 0x44];
        assert!(bench.chip.commands.iter().all(|code| known.contains(code)), "{scheme:?}");
        let lowest = if scheme == Scheme::Direct { 0 } else { 2 };
        assert!(bench.chip.erased.iter().all(|sector| *sector >= lowest), "{scheme:?}");
    }
}

/// ST-12: a block that is refused is sent again, twice; what is lost is not made up for.
#[test]
fn a_block_may_be_refused_twice_and_nothing_else_is_forgiven() {
    for nacks in 1..=3 {
        let mut bench = Bench::faulty(Scheme::Uplift, Faults { nacks, ..Faults::default() });
        let new = bench.new_program();
        let outcome = bench.install(&new);
        assert_eq!(outcome.is_ok(), nacks < 3, "{nacks}: {outcome:?}");
        assert_eq!(bench.has(&new), nacks < 3);
    }
    for (faults, kind) in [
        (Faults { silent_from_block: Some(3), ..Faults::default() }, FailureKind::Timeout),
        (Faults { garbled: Some(0x42), ..Faults::default() }, FailureKind::TransferFailed),
    ] {
        let mut bench = Bench::faulty(Scheme::Uplift, faults);
        let new = bench.new_program();
        assert_eq!(bench.install(&new).unwrap_err().kind, kind);
        bench.is_untouched();
    }
    let mut busy = Bench::faulty(Scheme::Uplift, Faults { busy: 20, ..Faults::default() });
    let new = busy.new_program();
    busy.install(&new).unwrap();
}

/// ST-12: 5 s for a sector, 1 s for anything else, and the time of the bytes on the wire.
#[test]
fn nothing_is_waited_for_longer_than_the_rules_say() {
    for scheme in SCHEMES {
        let mut bench = Bench::new(scheme);
        let image = program(scheme, 60_000, 0x3C);
        bench.install(&image).unwrap();
        let [erasure, answer] = bench.chip.patience;
        let of_the_wire = Duration::from_millis(260 * 11 * 1000 / 115_200);
        for (waited, rule) in [(erasure, 5), (answer, 1)] {
            let rule = Duration::from_secs(rule);
            assert!((rule..=rule + of_the_wire).contains(&waited), "{scheme:?}: {waited:?}");
        }
    }
}

/// A protected sector acknowledges everything and keeps nothing: only reading back shows it.
#[test]
fn what_a_protected_sector_has_not_kept_is_seen() {
    for (scheme, sector) in [
        (Scheme::Vendor, 8),
        (Scheme::Uplift, 8),
        (Scheme::Uplift, 11),
        (Scheme::Uplift, 2),
        (Scheme::Uplift, 5),
        (Scheme::Vendor, 4),
    ] {
        let faults = Faults { write_protected: vec![sector], ..Faults::default() };
        let mut bench = Bench::faulty(scheme, faults);
        let new = program(scheme, 100_000, 0x3C);
        let outcome = bench.install(&new);
        let failure = outcome.expect_err("nothing was noticed");
        assert!(!failure.hint().is_empty());
        if sector == 8 && scheme == Scheme::Vendor || sector == 2 || sector == 11 {
            bench.is_untouched();
        } else {
            // The order was given: the chip is not what it was, as far as is known.
            assert!(bench.kept().is_unfinished(), "{scheme:?} {sector}");
        }
    }
}

/// ST-11: the bootloader's word, or where the program has erased that, the program itself.
#[test]
fn success_is_what_the_chip_shows_after_a_reset() {
    for scheme in [Scheme::Uplift, Scheme::Vendor] {
        let mut absent = Bench::faulty(scheme, Faults { no_boot: true, ..Faults::default() });
        let new = absent.new_program();
        let failure = absent.install(&new).unwrap_err();
        assert!(absent.kept().is_unfinished(), "{failure}");
        // And the way back finds the old program where it was, with no order to replace it.
        absent.revert(&new).unwrap();
        absent.is_untouched();
        absent.chip.faults.no_boot = false;
        absent.chip.power_on();
        absent.is_untouched();
        let mut erases = Bench::faulty(scheme, Faults { clears_record: true, ..Faults::default() });
        erases.install(&new).unwrap();
        assert!(erases.has(&new));
    }
    let mut uplift = Bench::new(Scheme::Uplift);
    let new = uplift.new_program();
    uplift.install(&new).unwrap();
    let read_back = Told::Phase("reading the program back");
    assert!(!uplift.told.contains(&read_back), "the bootloader has proved it");
}

/// ST-13.
#[test]
fn progress_is_what_was_taken_and_never_goes_back() {
    for scheme in SCHEMES {
        let mut bench = Bench::new(scheme);
        let image = program(scheme, 60_000, 0x3C);
        bench.install(&image).unwrap();
        let percents: Vec<u8> = bench
            .told
            .iter()
            .filter_map(
                |told| if let Told::Percent(percent) = told { Some(*percent) } else { None },
            )
            .collect();
        assert!(percents.is_sorted() && percents.len() > 50, "{percents:?}");
        assert_eq!(percents.last(), Some(&100));
    }
}

#[test]
fn what_is_erased_anyhow_is_not_sent() {
    let mut bench = Bench::new(Scheme::Uplift);
    let mut image = program(Scheme::Uplift, 100_000, 0xFF);
    image[90_000] = 0;
    bench.install(&image).unwrap();
    // Two blocks of the program, two of the file's name, and two of the record.
    assert_eq!(bench.chip.blocks, 6);
    assert!(bench.has(&image));
}

/// A program that differs in one sector costs that sector.
#[test]
fn without_a_bootloader_only_what_differs_is_written() {
    let mut bench = Bench::new(Scheme::Direct);
    let mut image = program(Scheme::Direct, 200_000, 0x3C);
    bench.install(&image).unwrap();
    bench.chip.erased.clear();
    let before = bench.chip.blocks;
    image[150_000] = 0;
    bench.install(&image).unwrap();
    assert_eq!(bench.chip.erased, [5]);
    // What of it lies in that sector, from 128 KiB on.
    assert_eq!(bench.chip.blocks - before, (200_000 - (128_u32 << 10)).div_ceil(256));
    assert!(bench.has(&image));
    bench.revert(&image).unwrap();
    image[150_000] = 0x3C;
    assert!(bench.has(&image));
}

/// ST-6, and V3: asked once more where nobody stands behind it.
#[test]
fn a_program_that_would_never_start_is_not_sent() {
    let mut ends_high = program(Scheme::Vendor, 1000, 1);
    ends_high[..4].copy_from_slice(&0x2002_0000_u32.to_le_bytes());
    for (scheme, image, sentence) in [
        (Scheme::Vendor, ends_high.clone(), "never start it"),
        (Scheme::Uplift, vec![0xFF; 1000], "no program for the microcontroller"),
        (Scheme::Uplift, program(Scheme::Direct, 1000, 1), "reset vector"),
        (Scheme::Uplift, b"\x7fELF....".to_vec(), "stack"),
        (Scheme::Uplift, vec![0; 7], "smaller"),
        (Scheme::Uplift, program(Scheme::Uplift, (448 << 10) + 1, 1), "larger"),
    ] {
        let mut bench = Bench::new(scheme);
        let failure = bench.install(&image).unwrap_err();
        assert_eq!(failure.kind, FailureKind::WrongMachine);
        assert!(failure.sentence.contains(sentence), "{failure}");
        assert!(bench.chip.heard.is_empty());
        bench.is_untouched();
    }
    Bench::new(Scheme::Uplift).install(&ends_high).unwrap();
}

/// A line on which anything may come, as from a program that was not stopped.
struct Babble {
    random: fastrand::Rng,
    answers: u32,
    sent: Vec<u8>,
}

impl Wires for Babble {
    fn enter(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn leave(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn discard(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.sent.extend(bytes);
        Ok(())
    }

    fn receive(&mut self, buffer: &mut [u8], _: Duration) -> io::Result<()> {
        self.answers += 1;
        for byte in buffer {
            *byte = match self.random.u8(..8) {
                0 => self.random.u8(..),
                1 => 0x76,
                2 => 0x1F,
                _ => 0x79,
            };
        }
        Ok(())
    }

    fn pause(&mut self, _: Duration) {}
}

#[test]
fn whatever_is_answered_the_work_ends_and_touches_nothing_of_a_bootloader() {
    let bench = Bench::new(Scheme::Uplift);
    let new = bench.new_program();
    for seed in 0..500 {
        let random = fastrand::Rng::with_seed(seed);
        let mut babble = Babble { random, answers: 0, sent: Vec::new() };
        let mut tell = |_| {};
        let (board, kept) = (&bench.board, bench.kept());
        let mut upgrade = Upgrade { board, wires: &mut babble, kept, tell: &mut tell };
        upgrade.install(&new, "MOTOR_V02.00.00.00.bin").unwrap_err();
        assert!(babble.answers < 5000, "{seed}");
        let dangerous = [[0x63, 0x9C], [0x73, 0x8C], [0x82, 0x7D], [0x92, 0x6D]];
        assert!(!babble.sent.windows(2).any(|two| dangerous.contains(&[two[0], two[1]])), "{seed}");
    }
}

/// What can't be kept is not replaced.
#[test]
fn without_room_for_the_old_program_nothing_is_changed() {
    for scheme in SCHEMES {
        let mut bench = Bench::new(scheme);
        std::fs::File::create(bench.directory.path().join("state/mcu")).unwrap();
        let new = bench.new_program();
        let failure = bench.install(&new).unwrap_err();
        assert!(failure.sentence.contains("are kept in"), "{failure}");
        assert!(bench.has(&bench.old()) && !bench.chip.in_loader);
    }
}
