//! The host's part of an upgrade, as docs/wire/stm32f4.md orders it (ST-7): a list of flash
//! operations. The daemon has its own; this one is written from the document.

use uplift_boot::{FileInfo, Record};

use super::nor::{Fault, Nor};
use super::world::World;

/// An operation of the loader in the chip's ROM.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Operation {
    Erase(u8),
    Program(u32, u32),
}

/// How a host goes about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// ST-7: no order stands; the store; what it is; the order, its key last.
    Right,
    /// The key before the rest of the record.
    KeyFirst,
    /// The record before the program is whole.
    RecordFirst,
    /// The order of the last upgrade is not taken back first.
    RecordStays,
}

/// All that the host does to bring `new` into the chip.
pub(crate) fn operations(world: &World, new: &[u8], order: Order) -> Vec<Operation> {
    let map = &world.chip.map;
    let image = world.image(new);
    let record = image.record();
    let no_order: Vec<_> = map.record.sectors().map(Operation::Erase).collect();
    let mut store: Vec<_> = map.store.sectors().map(Operation::Erase).collect();
    store.extend(programs(map.store.address, new));
    store.extend(programs(map.file_info, &FileInfo { size: record.size }.bytes(b"new.bin")[..12]));
    let body = programs(map.record.address + Record::BODY_OFFSET, &record.body());
    let key = programs(map.record.address, &Record::key());
    match order {
        Order::Right => [no_order, store, body, key],
        Order::KeyFirst => [no_order, store, key, body],
        Order::RecordFirst => [no_order, body, key, store],
        Order::RecordStays => [store, no_order, body, key],
    }
    .concat()
}

fn programs(address: u32, bytes: &[u8]) -> Vec<Operation> {
    let words = bytes.as_chunks::<4>().0.iter().map(|word| u32::from_le_bytes(*word));
    (address..).step_by(4).zip(words).map(|(at, word)| Operation::Program(at, word)).collect()
}

/// The host works, until the power fails.
pub(crate) fn work(
    nor: &mut Nor,
    operations: &[Operation],
    fault: Option<(usize, Fault)>,
    seed: u64,
) {
    nor.start(fault, seed);
    for operation in operations {
        let done = match *operation {
            Operation::Erase(sector) => nor.erase(sector),
            Operation::Program(address, word) => nor.program(address, word),
        };
        if done.is_err() {
            return;
        }
    }
}
