//! What happens after a reset: decide, copy, prove, and say what is to run. Whatever it was doing
//! when the power failed, it does again from the beginning.

use super::flash::{Failed, Flash};
use super::image::Vectors;
use super::map::{Area, Map, WORD};
use super::record::{Order, Record};

/// What is to be done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Boot {
    /// Start the application.
    Run(Vectors),
    /// Start nothing; the host can put another program in, and the next reset tries again.
    Wait(Reason),
}

/// Why nothing is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// There is no program, and no order to copy one.
    Empty,
    /// A flash operation failed; the order still stands (ST-19).
    Failed,
    /// The program is not the one that was copied (ST-20).
    Wrong,
}

/// Carries out what the record orders, and says what is to run.
pub fn boot(map: &Map, flash: &mut impl Flash) -> Boot {
    decide(map, flash).unwrap_or(Boot::Wait(Reason::Failed))
}

fn decide(map: &Map, flash: &mut impl Flash) -> Result<Boot, Failed> {
    match order(map, flash)? {
        Order::None => run(map, flash),
        Order::Copied(record) => run_proved(map, flash, record),
        Order::Pending(record) => {
            if proved(map, flash, map.application, record)?.is_none() {
                if proved(map, flash, map.store, record)?.is_none() {
                    return run(map, flash);
                }
                copy(map, flash, record.size)?;
            }
            finish(map, flash, record)
        }
    }
}

fn order(map: &Map, flash: &mut impl Flash) -> Result<Order, Failed> {
    let mut words = [0; Record::WORDS];
    let mut address = map.record.address;
    for word in &mut words {
        *word = flash.read(address)?;
        address = address.wrapping_add(WORD);
    }
    Ok(Order::parse(words, map))
}

/// The order is erased nowhere here: where an operation fails, it stands, and is begun again.
fn copy(map: &Map, flash: &mut impl Flash, size: u32) -> Result<(), Failed> {
    // While its first word is no stack, nothing takes for a program what is half erased or half
    // written, even if the order should be lost. So that goes first and comes last.
    flash.program(map.application.address, 0)?;
    for sector in map.application.sectors() {
        flash.erase(sector)?;
    }
    let mut offset = WORD;
    while offset < size {
        copy_word(map, flash, offset)?;
        offset = offset.wrapping_add(WORD);
    }
    copy_word(map, flash, 0)
}

fn copy_word(map: &Map, flash: &mut impl Flash, offset: u32) -> Result<(), Failed> {
    let word = flash.read(map.store.address.wrapping_add(offset))?;
    let to = map.application.address.wrapping_add(offset);
    if word != u32::MAX {
        flash.program(to, word)?;
    }
    if flash.read(to)? == word { Ok(()) } else { Err(Failed) }
}

/// Proves the application before it says "copied", and so never says it of anything else.
fn finish(map: &Map, flash: &mut impl Flash, record: Record) -> Result<Boot, Failed> {
    let found = run_proved(map, flash, record)?;
    if let Boot::Run(_) = found {
        // Where that fails, the program is proved none the less, and the next reset says it.
        let _ = flash.program(map.record.address.wrapping_add(Record::COPIED_OFFSET), 0);
    }
    Ok(found)
}

/// A program that nothing is known of runs if it can (ST-17).
fn run(map: &Map, flash: &mut impl Flash) -> Result<Boot, Failed> {
    let found = vectors(map, flash, map.application, map.application.size)?;
    Ok(found.map_or(Boot::Wait(Reason::Empty), Boot::Run))
}

/// A program that is known runs only as it is known (ST-20).
fn run_proved(map: &Map, flash: &mut impl Flash, record: Record) -> Result<Boot, Failed> {
    let found = proved(map, flash, map.application, record)?;
    Ok(found.map_or(Boot::Wait(Reason::Wrong), Boot::Run))
}

fn proved(
    map: &Map,
    flash: &mut impl Flash,
    area: Area,
    record: Record,
) -> Result<Option<Vectors>, Failed> {
    let Some(vectors) = vectors(map, flash, area, record.size)? else {
        return Ok(None);
    };
    let is_right = flash.crc(area.address, record.size)? == record.crc;
    Ok(is_right.then_some(vectors))
}

fn vectors(
    map: &Map,
    flash: &mut impl Flash,
    area: Area,
    size: u32,
) -> Result<Option<Vectors>, Failed> {
    let stack = flash.read(area.address)?;
    let entry = flash.read(area.address.wrapping_add(WORD))?;
    Ok(Vectors::check(stack, entry, size, map).ok())
}
