//! What runs when BOOT0 is 0. Ours is the core that is built for the chip; the vendor's is what its
//! sample was read to do, operation by operation (docs/wire/stm32f4.md). Knows no line and no time.

use uplift_boot::{Boot, Failed, Flash, Map, Reason, Vectors, boot};

use super::event::Start;
use super::options::Bootloader;

const MAP: Map = Map::SEED;
const KEY: u32 = 0x1122_3344;
const READY: u8 = 1;
const UNKNOWN_ERROR: u32 = 2;

/// Where the program is that a chip with this bootloader starts.
pub(super) const fn entry(bootloader: Bootloader) -> u32 {
    match bootloader {
        Bootloader::Uplift | Bootloader::Vendor => MAP.application.address,
        Bootloader::None => super::nor::BASE,
    }
}

/// Does what the bootloader does; what it starts is what is there then.
pub(super) fn run(bootloader: Bootloader, flash: &mut impl Flash) -> Start {
    match bootloader {
        Bootloader::Uplift => match boot(&MAP, flash) {
            Boot::Run(_) => Start::Runs,
            Boot::Wait(Reason::Empty) => Start::Empty,
            Boot::Wait(Reason::Failed) => Start::Failed,
            Boot::Wait(Reason::Wrong) => Start::Wrong,
        },
        Bootloader::Vendor => vendors(flash),
        Bootloader::None => match flash.read(super::nor::BASE) {
            Ok(u32::MAX) => Start::Empty,
            Ok(_) => Start::Runs,
            Err(Failed) => Start::Failed,
        },
    }
}

/// What the application does when it starts, if it is one of the vendor's kind. That this fails is
/// only logged there.
pub(super) fn clear(flash: &mut impl Flash) {
    for sector in MAP.record.sectors() {
        let _ = flash.erase(sector);
    }
}

fn vendors(flash: &mut impl Flash) -> Start {
    if is_ordered(flash) && replace(flash).is_err() {
        // V1: the order is gone, and whatever was copied so far is started below.
        let _ = give_up(flash);
    }
    let vectors = (flash.read(MAP.application.address), flash.read(MAP.application.address + 4));
    let (Ok(stack), Ok(entry)) = vectors else { return Start::Failed };
    // V3: a stack at the very end of the memory is none.
    if (Vectors { stack, entry }).starts_in_vendors() { Start::Runs } else { Start::Empty }
}

fn is_ordered(flash: &mut impl Flash) -> bool {
    let record = MAP.record.address;
    let (key, state) = (flash.read(record), flash.read(record + 4));
    // The state is an enumeration of one byte, and the three behind it are whatever they are.
    key == Ok(KEY) && state.is_ok_and(|word| word as u8 == READY)
}

/// V2: nothing looks at what is in the store.
fn replace(flash: &mut impl Flash) -> Result<(), Failed> {
    let size = flash.read(MAP.file_info)?;
    if size > MAP.application.size {
        return Err(Failed);
    }
    for sector in MAP.application.sectors() {
        flash.erase(sector)?;
    }
    for offset in (0..size).step_by(4) {
        let word = flash.read(MAP.store.address + offset)?;
        flash.program(MAP.application.address + offset, word)?;
        if flash.read(MAP.application.address + offset)? != word {
            return Err(Failed);
        }
    }
    Ok(())
}

fn give_up(flash: &mut impl Flash) -> Result<(), Failed> {
    for sector in MAP.record.sectors() {
        flash.erase(sector)?;
    }
    flash.program(MAP.record.address, KEY)?;
    flash.program(MAP.record.address + 4, UNKNOWN_ERROR)
}

#[cfg(test)]
mod tests {
    use uplift_boot::{FileInfo, Image, Record};

    use super::super::nor::{self, Nor};
    use super::super::options::Tear;
    use super::*;

    struct Plain(Nor);

    impl Flash for Plain {
        fn read(&mut self, address: u32) -> Result<u32, Failed> {
            self.0.word(address).filter(|_| self.0.is_on()).ok_or(Failed)
        }

        fn program(&mut self, address: u32, word: u32) -> Result<(), Failed> {
            self.0.program(address, &word.to_le_bytes(), 4).map_err(|_| Failed)
        }

        fn erase(&mut self, sector: u8) -> Result<(), Failed> {
            self.0.erase(sector).map_err(|_| Failed)
        }
    }

    #[derive(Debug, Default, PartialEq, Eq)]
    struct Outcomes {
        new: u32,
        waits: u32,
        mixed: u32,
    }

    const SIZE: usize = 1024;
    const TEARS: [Tear; 4] = [Tear::Nothing, Tear::All, Tear::Half, Tear::Random];

    fn program(fill: u32) -> Vec<u8> {
        let mut words: Vec<u32> = (0..SIZE as u32 / 4).map(|at| (at * 0x0101) ^ fill).collect();
        (words[0], words[1]) = (0x2001_0000, MAP.application.address + 9);
        words.into_iter().flat_map(u32::to_le_bytes).collect()
    }

    /// The old program runs, and the order stands to copy the new one.
    fn ordered() -> Plain {
        let (old, new) = (program(0x1234_5678), program(0x8765_4321));
        let record = Image::check(&new, &MAP).unwrap().record();
        let info = FileInfo { size: record.size }.bytes(b"new.bin").to_vec();
        let content = [
            (MAP.application.address, old),
            (MAP.store.address, new),
            (MAP.file_info, info),
            (MAP.record.address, Record::key().to_vec()),
            (MAP.record.address + Record::BODY_OFFSET, record.body().to_vec()),
        ];
        Plain(Nor::open(None, &content, std::sync::Arc::default()).unwrap())
    }

    /// What a reset brings, after one in which the operation went wrong.
    fn after(bootloader: Bootloader, at: u64, tear: Tear, is_cut: bool) -> Outcomes {
        let mut flash = ordered();
        flash.0.set_trap(at, tear, is_cut);
        run(bootloader, &mut flash);
        flash.0.set_power(true);
        let start = run(bootloader, &mut flash);
        let area = nor::range(MAP.application.address, SIZE).unwrap();
        let is_new = flash.0.bytes()[area] == program(0x8765_4321);
        match (start, is_new) {
            (Start::Runs, true) => Outcomes { new: 1, ..Outcomes::default() },
            (Start::Runs, false) => Outcomes { mixed: 1, ..Outcomes::default() },
            _ => Outcomes { waits: 1, ..Outcomes::default() },
        }
    }

    fn all(bootloader: Bootloader, tears: &[Tear], is_cut: bool) -> Outcomes {
        let mut flash = ordered();
        run(bootloader, &mut flash);
        let mut sum = Outcomes::default();
        for at in 0..flash.0.operations() {
            for tear in tears {
                let one = after(bootloader, at, *tear, is_cut);
                sum.new += one.new;
                sum.waits += one.waits;
                sum.mixed += one.mixed;
            }
        }
        println!("{bootloader:?}, cut: {is_cut}: {sum:?}");
        sum
    }

    /// ST-22, and what is known of the vendor's: the order outlives the cut.
    #[test]
    fn each_bootloader_survives_a_cut_of_each_operation() {
        let new = |new| Outcomes { new, ..Outcomes::default() };
        assert_eq!(all(Bootloader::Uplift, &TEARS, true), new(262 * 4));
        assert_eq!(all(Bootloader::Vendor, &TEARS, true), new(260 * 4));
    }

    /// ST-19 and V1.
    #[test]
    fn ours_alone_survives_an_operation_that_fails() {
        assert_eq!(
            all(Bootloader::Uplift, &[Tear::Nothing], false),
            Outcomes { new: 262, ..Outcomes::default() }
        );
        assert_eq!(
            all(Bootloader::Vendor, &[Tear::Nothing], false),
            Outcomes { new: 0, waits: 4, mixed: 256 }
        );
    }
}
