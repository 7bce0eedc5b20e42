//! The proof of the bootloader's core: cuts of the power, failing flash, wrong stores and records, on
//! small chips; and mutants, which it must find. Rules by their names: docs/wire/stm32f4.md.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as expected")]

mod candidate;
mod host;
mod nor;
mod parts;
mod scenario;
mod world;

use candidate::{Candidate, core, mutants};
use host::Order;
use scenario::{ALL, Tally, Trial, power_cuts};
use world::World;

fn try_all(candidate: Candidate, order: Order, worlds: &[World]) -> Vec<(&'static str, Tally)> {
    let mut tallies = Vec::new();
    for (name, scenario) in ALL {
        let mut tally = Tally::default();
        for world in worlds {
            scenario(&mut Trial { candidate, world, order, tally: &mut tally });
        }
        tallies.push((*name, tally));
    }
    tallies
}

/// The first scenario that finds something.
fn first_flaw(candidate: Candidate, order: Order) -> Option<(&'static str, String)> {
    let worlds = World::all();
    for (name, scenario) in ALL {
        let mut tally = Tally::default();
        for world in &worlds {
            scenario(&mut Trial { candidate, world, order, tally: &mut tally });
            if let Some(flaw) = tally.flaw {
                return Some((*name, flaw));
            }
        }
    }
    None
}

#[test]
fn old_or_new_and_never_none() {
    let tallies = try_all(core(), Order::Right, &World::all());
    let mut runs = 0;
    println!("{:>40} {:>9} {:>9} {:>9} {:>7}", "", "runs", "old", "new", "waits");
    for (name, tally) in &tallies {
        println!(
            "{name:>40} {:>9} {:>9} {:>9} {:>7}",
            tally.runs, tally.old, tally.new, tally.waits
        );
        runs += tally.runs;
    }
    println!("{:>40} {runs:>9}", "together");
    for (name, tally) in tallies {
        assert_eq!(tally.flaw, None, "{name}");
        assert!(tally.runs > 0, "{name}");
    }
    assert!(runs >= 200_000, "{runs} runs are no proof");
}

#[test]
fn every_mutant_is_found() {
    let mutants = mutants();
    assert_eq!(mutants.len(), uplift_boot_mutants::COUNT, "one is not tried");
    let mut missed = Vec::new();
    for mutant in mutants {
        match first_flaw(mutant, Order::Right) {
            Some((scenario, flaw)) => println!("{}: {scenario}: {flaw}", mutant.name),
            None => missed.push(mutant.name),
        }
    }
    assert!(missed.is_empty(), "not found: {missed:?}");
}

/// ST-22: the order of the host's operations and the proof of the store: either alone is enough
/// against cuts, and with neither there are chips that never come back.
#[test]
fn the_order_of_the_host_and_the_proof_of_the_store_are_each_enough_against_cuts() {
    let careless = |name| mutants().into_iter().find(|mutant| mutant.name == name).unwrap();
    let cuts = |candidate, order| {
        let mut tally = Tally::default();
        for world in &World::all() {
            power_cuts(&mut Trial { candidate, world, order, tally: &mut tally });
        }
        tally.flaw
    };
    for order in [Order::Right, Order::RecordFirst, Order::RecordStays, Order::KeyFirst] {
        assert_eq!(cuts(core(), order), None, "{order:?}");
    }
    assert_eq!(cuts(careless("no_crc"), Order::Right), None);
    for (name, order) in
        [("no_crc", Order::RecordFirst), ("neither_end_mark_nor_crc", Order::KeyFirst)]
    {
        let flaw = cuts(careless(name), order);
        println!("{name}, {order:?}: {flaw:?}");
        assert!(flaw.is_some(), "{name}, {order:?}");
    }
}
