//! The core and its mutants, as what the proof runs.

use uplift_boot::Map;

use super::nor::{Failed, Nor};

/// What is done after a reset, in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Booted {
    Runs,
    Waits,
}

/// One that is put to the proof.
#[derive(Clone, Copy)]
pub(crate) struct Candidate {
    pub(crate) name: &'static str,
    pub(crate) boot: fn(&Map, &mut Nor) -> Booted,
}

macro_rules! candidate {
    ($name:ident, $($core:tt)+) => {{
        struct Adapter<'a>(&'a mut Nor);
        impl $($core)+::Flash for Adapter<'_> {
            fn read(&mut self, address: u32) -> Result<u32, $($core)+::Failed> {
                self.0.read(address).map_err(|Failed| $($core)+::Failed)
            }
            fn program(&mut self, address: u32, word: u32) -> Result<(), $($core)+::Failed> {
                self.0.program(address, word).map_err(|Failed| $($core)+::Failed)
            }
            fn erase(&mut self, sector: u8) -> Result<(), $($core)+::Failed> {
                self.0.erase(sector).map_err(|Failed| $($core)+::Failed)
            }
        }
        fn boot(map: &Map, nor: &mut Nor) -> Booted {
            let area = |area: uplift_boot::Area| $($core)+::Area {
                address: area.address,
                size: area.size,
                first_sector: area.first_sector,
                sectors: area.sectors,
            };
            let map = $($core)+::Map {
                record: area(map.record),
                application: area(map.application),
                store: area(map.store),
                file_info: map.file_info,
                ram: map.ram.map(|ram| $($core)+::Ram { address: ram.address, size: ram.size }),
            };
            match $($core)+::boot(&map, &mut Adapter(nor)) {
                $($core)+::Boot::Run(_) => Booted::Runs,
                $($core)+::Boot::Wait(_) => Booted::Waits,
            }
        }
        Candidate { name: stringify!($name), boot }
    }};
}

/// What is shipped.
pub(crate) fn core() -> Candidate {
    candidate!(core, ::uplift_boot)
}

macro_rules! mutants {
    ($($name:ident)+) => { vec![$(candidate!($name, ::uplift_boot_mutants::$name)),+] };
}

/// The core with one mistake each.
pub(crate) fn mutants() -> Vec<Candidate> {
    mutants!(
        copied_before_the_copy copied_is_never_said no_crc the_store_is_not_looked_at
        a_wrong_store_stops_it what_is_there_is_taken_for_the_copy no_erase
        a_sector_is_not_erased nothing_is_read_back a_failure_clears_the_order
        a_failure_starts_what_is_there the_first_word_comes_first the_first_word_stays
        a_known_program_is_not_proved an_end_mark_that_counts_nothing no_end_mark
        neither_end_mark_nor_crc no_key any_size
    )
}
