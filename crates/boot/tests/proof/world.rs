//! Small chips, programs for them, and what is right.

use uplift_boot::{Area, Image, Map};

use super::candidate::{Booted, Candidate};
use super::nor::{Fault, Nor};

const BASE: u32 = 0x0800_0000;

/// A chip: where its sectors lie, and what they are for.
#[derive(Debug, Clone)]
pub(crate) struct Chip {
    pub(crate) name: &'static str,
    pub(crate) map: Map,
    /// Words of each sector.
    pub(crate) sectors: &'static [usize],
}

impl Chip {
    pub(crate) fn all() -> Vec<Self> {
        vec![
            // Sectors as those of an F405, small ones before large ones.
            Self::new("seed", &[8, 8, 8, 8, 16, 32, 32, 32, 32, 32, 32, 32], [2, 2, 4, 4]),
            Self::new("one sector each", &[8, 8, 48, 56], [1, 1, 1, 1]),
            Self::new("equal sectors", &[8; 16], [1, 1, 6, 8]),
            Self::new("a large sector first", &[8, 16, 64, 8, 8, 8, 64, 32, 16], [1, 1, 4, 3]),
        ]
    }

    /// How many sectors bootloader, record, application and store have.
    fn new(name: &'static str, sectors: &'static [usize], counts: [usize; 4]) -> Self {
        let area = |before: usize, count: usize| {
            let words = |sectors: &[usize]| sectors.iter().sum::<usize>() as u32 * 4;
            Area {
                address: BASE + words(&sectors[..before]),
                size: words(&sectors[before..before + count]),
                first_sector: before as u8,
                sectors: count as u8,
            }
        };
        let [boot, record, application, store] = counts;
        let (record_area, first) = (area(boot, record), boot + record);
        let (application_area, store_area) =
            (area(first, application), area(first + application, store));
        let map = Map {
            record: record_area,
            application: application_area,
            store: store_area,
            file_info: store_area.address + store_area.size - 16,
            ..Map::SEED
        };
        Self { name, map, sectors }
    }

    /// Words of the application area.
    pub(crate) fn room(&self) -> usize {
        self.map.application.size as usize / 4
    }

    pub(crate) fn erased(&self) -> Nor {
        Nor::new(BASE, self.sectors, 0)
    }

    /// A program of so many words, some of them blank.
    pub(crate) fn program(&self, words: usize, seed: u64) -> Vec<u8> {
        let mut random = fastrand::Rng::with_seed(seed);
        let stack = 0x2000_0000 + 4 * random.u32(1..=0x8000);
        let entry = self.map.application.address + 4 * random.u32(0..words as u32) + 1;
        let mut program = vec![stack, entry];
        let word = |_| if random.u8(..) < 32 { u32::MAX } else { random.u32(..) };
        program.extend((2..words).map(word));
        program.into_iter().flat_map(u32::to_le_bytes).collect()
    }
}

/// An upgrade of a chip, from one program to another.
#[derive(Debug, Clone)]
pub(crate) struct World {
    pub(crate) chip: Chip,
    pub(crate) old: Vec<u8>,
    pub(crate) new: Vec<u8>,
}

/// What a chip runs in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Old,
    New,
    /// It waits for the host.
    None,
    /// It runs what is neither: the worst.
    Mixed,
}

impl Outcome {
    pub(crate) fn is_good(self) -> bool {
        matches!(self, Self::Old | Self::New)
    }
}

impl World {
    /// Programs that fill the area, or nearly nothing of it; larger ones after smaller ones; the
    /// same one again; for each chip.
    pub(crate) fn all() -> Vec<Self> {
        let mut worlds = Vec::new();
        for chip in Chip::all() {
            let room = chip.room();
            for (seed, (old, new)) in
                [(room, room), (2, room / 3), (room / 2, 2), (room, 5)].into_iter().enumerate()
            {
                let seed = seed as u64;
                let (old, new) = (chip.program(old, seed), chip.program(new, seed + 100));
                worlds.push(Self { chip: chip.clone(), old, new });
            }
            let same = chip.program(room / 2, 7);
            worlds.push(Self { chip, old: same.clone(), new: same });
        }
        worlds
    }

    /// A chip that a programmer wrote the old program to.
    pub(crate) fn fresh(&self) -> Nor {
        let mut nor = self.chip.erased();
        self.place(&mut nor, self.chip.map.application.address, &self.old);
        nor
    }

    pub(crate) fn place(&self, nor: &mut Nor, address: u32, bytes: &[u8]) {
        for (offset, word) in (0..).step_by(4).zip(bytes.as_chunks::<4>().0) {
            let index = nor.index(address + offset).ok().unwrap();
            nor.words[index] &= u32::from_le_bytes(*word);
        }
    }

    pub(crate) fn image<'a>(&self, bytes: &'a [u8]) -> Image<'a> {
        Image::check(bytes, &self.chip.map).unwrap()
    }

    /// Resets the chip, with this fault; where the power fails, nothing comes of it.
    pub(crate) fn boot(
        &self,
        candidate: Candidate,
        nor: &mut Nor,
        fault: Option<(usize, Fault)>,
        seed: u64,
    ) -> Outcome {
        nor.start(fault, seed);
        let booted = (candidate.boot)(&self.chip.map, nor);
        match booted {
            Booted::Waits => Outcome::None,
            Booted::Runs if self.holds(nor, &self.new, 0) => Outcome::New,
            Booted::Runs if self.holds(nor, &self.old, 0) => Outcome::Old,
            Booted::Runs => Outcome::Mixed,
        }
    }

    pub(crate) fn is_old_but_for_its_stack(&self, nor: &Nor) -> bool {
        self.holds(nor, &self.old, 1)
    }

    /// Whether the application is this program, from one of its words on.
    fn holds(&self, nor: &Nor, program: &[u8], from: usize) -> bool {
        let area = nor.words_at(self.chip.map.application.address).iter().copied();
        let words = program.as_chunks::<4>().0.iter().map(|word| u32::from_le_bytes(*word));
        area.zip(words).skip(from).all(|(found, wanted)| found == wanted)
    }
}
