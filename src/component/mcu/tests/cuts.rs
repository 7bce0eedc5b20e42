//! Every cut: of the power of the chip in each operation of its flash, and of the computer after
//! each byte that it sends and each change of its disk. What starts afterwards without a host is the old or the new program
//! (ST-7), and a host that comes back leads to the one that it wants (ST-9).

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::chip::{Chip, Life, TEARS};
use super::{Bench, Scheme, program};
use crate::crash_states::enumerate::crash_states;
use crate::crash_states::model::Model;
use crate::crash_states::tree::{Content, Entry, Tree};
use crate::disk::recording::Recorded;

const SMALL: usize = 64;

/// A bench whose computer knows what is in the chip, and the bytes of the new program.
fn bench(scheme: Scheme) -> (Bench, Vec<u8>) {
    let (old, new) = (program(scheme, SMALL, 0xA5), program(scheme, SMALL + 8, 0x3C));
    let chip = Chip::new(scheme);
    let base = chip.application();
    let bench = Bench::with_chip(chip.with(base, &old));
    bench.kept().conclude(&old).unwrap();
    (bench, new)
}

fn old(scheme: Scheme) -> Vec<u8> {
    program(scheme, SMALL, 0xA5)
}

#[derive(Debug, Default)]
struct Count {
    runs: u32,
    old: u32,
    new: u32,
}

/// What runs after a cut, and where two hosts lead that come afterwards.
fn prove(bench: &mut Bench, new: &[u8], count: &mut Count, is_cut_off: bool, cut: &str) {
    let scheme = bench.board.scheme;
    count.runs += 1;
    bench.chip.power_on();
    if scheme != Scheme::Direct {
        match (bench.has(&old(scheme)), bench.has(new)) {
            (true, _) => count.old += 1,
            (_, true) => count.new += 1,
            _ => panic!("{cut}: nothing runs"),
        }
    }
    // The daemon has one go back that was cut off, or says that it may have changed something; one
    // that leaves no program is begun again instead (ST-8).
    let goes_back =
        if is_cut_off { scheme != Scheme::Direct } else { bench.kept().is_unfinished() };
    if goes_back {
        bench.revert(new).unwrap_or_else(|failure| panic!("{cut}: {failure}"));
        bench.chip.power_on();
        assert!(bench.has(&old(scheme)), "{cut}: the way back leads elsewhere");
    }
    bench.install(new).unwrap_or_else(|failure| panic!("{cut}: {failure}"));
    bench.chip.power_on();
    assert!(bench.has(new), "{cut}: the next upgrade leads elsewhere");
    bench.revert(new).unwrap_or_else(|failure| panic!("{cut}: {failure}"));
    assert!(bench.has(&old(scheme)), "{cut}: what was kept is something else");
}

/// ST-7, ST-8, ST-22.
#[test]
fn the_power_of_the_chip_may_fail_in_each_operation() {
    for scheme in [Scheme::Uplift, Scheme::Vendor, Scheme::Direct] {
        let (mut whole, new) = bench(scheme);
        whole.install(&new).unwrap();
        let operations = whole.chip.operations;
        let mut count = Count::default();
        for at in 1..=operations {
            for tear in TEARS {
                let (mut bench, new) = bench(scheme);
                bench.chip.cut = Some((at, tear));
                // A cut of the last operation is seen by nobody.
                let _ = bench.install(&new);
                let cut = format!("{scheme:?}, operation {at} of {operations}, {tear:?}");
                prove(&mut bench, &new, &mut count, false, &cut);
            }
        }
        assert_eq!(count.runs, operations * 4);
        if scheme != Scheme::Direct {
            assert!(count.old > 0 && count.new > 0, "{count:?}");
        }
        println!("{scheme:?}, the chip's power: {count:?}");
    }
}

/// The computer alone is killed: its kept programs are as they were at that moment.
#[test]
fn the_computer_may_be_gone_after_each_byte_and_each_change_of_its_disk() {
    for scheme in [Scheme::Uplift, Scheme::Vendor, Scheme::Direct] {
        let (mut whole, new) = bench(scheme);
        whole.install(&new).unwrap();
        let before = bench(scheme).0.chip.host.steps();
        let steps = whole.chip.host.steps() - before;
        let mut count = Count::default();
        for after in 0..steps {
            let (mut bench, new) = bench(scheme);
            bench.chip.host.ends_after(after);
            bench.install(&new).unwrap_err();
            let cut = format!("{scheme:?}, step {after} of {steps}");
            prove(&mut bench, &new, &mut count, true, &cut);
        }
        assert_eq!(count.runs, steps);
        println!("{scheme:?}, the computer: {count:?}");
    }
}

/// The power of the computer fails at each change of its disk: every state of that which is left
/// leads to either program, whatever the chip has by then.
#[test]
fn what_a_power_cut_leaves_of_the_kept_programs_leads_to_either() {
    let mut states = 0;
    for (scheme, is_known) in [
        (Scheme::Uplift, true),
        (Scheme::Uplift, false),
        (Scheme::Vendor, true),
        (Scheme::Direct, true),
    ] {
        let begun = || {
            let (mut bench, new) = bench(scheme);
            if !is_known {
                std::fs::remove_dir_all(bench.directory.path().join("state/mcu")).unwrap();
            }
            let steps = bench.chip.host.steps();
            bench.chip.host.record(bench.directory.path());
            (bench, new, steps)
        };
        let (mut whole, new, before) = begun();
        whole.install(&new).unwrap();
        let changed_at = whole.chip.host.changed_at();
        // Between two changes of the disk nothing of it is pending.
        for after in changed_at.into_iter().filter(|at| *at > before).map(|at| at - before) {
            let (mut bench, new, _) = begun();
            let tree = tree_of(bench.directory.path());
            bench.chip.host.ends_after(after);
            // After the last change it is told by nobody that it has succeeded.
            let _ = bench.install(&new);
            let changes = bench.chip.host.changes();
            let cut = format!("{scheme:?}, known: {is_known}, step {after}");
            states += prove_states(&bench, &tree, &changes, &new, &cut);
        }
    }
    assert!(states > 100, "{states}");
    println!("what is left of the kept programs: {states} states");
}

/// What is there before.
fn tree_of(root: &Path) -> Tree {
    let mut tree = Tree(BTreeMap::new());
    for path in ["state", "state/mcu", "state/mcu/motor"] {
        if root.join(path).is_dir() {
            tree.0.insert(path.into(), Entry::Directory);
        }
    }
    let installed = "state/mcu/motor/installed.bin";
    if let Some(content) = Content::read(&root.join(installed)) {
        tree.0.insert(installed.into(), Entry::File(Arc::new(content)));
    }
    tree
}

/// Proves every state that a cut leaves after these changes; how many there are.
fn prove_states(
    bench: &Bench,
    before: &Tree,
    changes: &[Recorded],
    new: &[u8],
    cut: &str,
) -> usize {
    let mut model = Model::of(before);
    for recorded in changes {
        model.apply(&recorded.change).unwrap();
    }
    let trees = crash_states(&model);
    for tree in &trees {
        let mut chip = bench.chip.clone();
        chip.host = Life::default();
        let mut after = Bench::with_chip(chip);
        std::fs::remove_dir(after.directory.path().join("state")).unwrap();
        tree.write(after.directory.path());
        prove(&mut after, new, &mut Count::default(), true, cut);
    }
    trees.len()
}

/// The way back is cut as well.
#[test]
fn the_way_back_may_be_cut_in_each_operation() {
    for scheme in [Scheme::Uplift, Scheme::Vendor, Scheme::Direct] {
        let installed = || {
            let (mut bench, new) = bench(scheme);
            bench.install(&new).unwrap();
            bench.chip.operations = 0;
            (bench, new)
        };
        let (mut whole, new) = installed();
        whole.revert(&new).unwrap();
        let operations = whole.chip.operations;
        for at in 1..=operations {
            for tear in TEARS {
                let (mut bench, new) = installed();
                bench.chip.cut = Some((at, tear));
                let _ = bench.revert(&new);
                let cut = format!("{scheme:?} back, operation {at} of {operations}, {tear:?}");
                bench.chip.power_on();
                let runs = bench.has(&old(scheme)) || bench.has(&new);
                assert!(runs || scheme == Scheme::Direct, "{cut}: nothing runs");
                bench.revert(&new).unwrap_or_else(|failure| panic!("{cut}: {failure}"));
                bench.chip.power_on();
                assert!(bench.has(&old(scheme)), "{cut}");
            }
        }
    }
}

/// ST-24: the chip was cut in its copy, and a host comes before it has gone on with that. If that
/// host is cut off as well, something runs still.
#[test]
fn a_host_that_comes_into_a_copy_and_is_cut_off_leaves_a_program() {
    let third = program(Scheme::Uplift, SMALL + 16, 0x77);
    let in_the_copy = || {
        let (mut bench, new) = bench(Scheme::Uplift);
        bench.install(&new).unwrap();
        let operations = bench.chip.operations;
        let (mut bench, new) = self::bench(Scheme::Uplift);
        bench.chip.cut = Some((operations - 10, super::chip::Tear::Half));
        bench.install(&new).unwrap_err();
        bench.chip.power_on_in_loader();
        assert!(!bench.has(&old(Scheme::Uplift)) && !bench.has(&new), "it is no copy's middle");
        (bench, new)
    };
    let (mut whole, _) = in_the_copy();
    let before = whole.chip.host.steps();
    whole.install(&third).unwrap();
    assert!(whole.has(&third));
    let steps = whole.chip.host.steps() - before;
    for after in 0..steps {
        let (mut bench, new) = in_the_copy();
        bench.chip.host.ends_after(after);
        bench.install(&third).unwrap_err();
        bench.chip.power_on();
        assert!(bench.has(&new) || bench.has(&third), "step {after} of {steps}: nothing runs");
    }
    println!("a host in the copy: {steps} cuts");
}
