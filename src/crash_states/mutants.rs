//! The stories again, with a step left out or two exchanged: the proof must fail, or it proves
//! nothing.
//!
//! A mutant that passes is in the list of equivalents with the reason why it may, and a test holds
//! the list exact: nothing that passes is missing in it, and nothing that fails is in it.

mod equivalents;

use std::collections::{BTreeMap, HashSet};
use std::io::Write as _;
use std::sync::Mutex;

use super::recording::{Case, Recording};
use super::stories::{Proved as _, Story, all_of, stories};
use crate::disk::recording::Change;

use equivalents::{EQUIVALENTS, matches};

/// A story that did not take place like this.
#[derive(Debug)]
struct Mutant {
    name: String,
    cases: Vec<Case>,
}

/// Every sync left out, and every two neighbours exchanged that can be.
fn mutants(recording: &Recording) -> Vec<Mutant> {
    let proved: HashSet<Case> =
        recording.crash_states().unwrap().into_iter().map(|(_, case)| case).collect();
    let steps = &recording.steps;
    let is_sync = |change: &Change| {
        matches!(
            change,
            Change::Sync { .. } | Change::SyncData { .. } | Change::SyncDirectory { .. }
        )
    };
    let without = (0..steps.len()).filter(|&i| is_sync(&steps[i].change));
    let without = without.map(|i| (format!("without {}", steps[i].label), recording.without(i)));
    let exchanged = (1..steps.len()).map(|i| {
        (format!("{} before {}", steps[i].label, steps[i - 1].label), recording.exchanged(i - 1))
    });
    let possible = |(name, mutant): (String, Recording)| {
        let mut seen = proved.clone();
        let cases = mutant.crash_states().ok()?.into_iter().map(|(_, case)| case);
        Some(Mutant { name, cases: cases.filter(|case| seen.insert(case.clone())).collect() })
    };
    without.chain(exchanged).filter_map(possible).collect()
}

/// The mutants of a story, and whether each passes.
fn judge(story: &Story) -> BTreeMap<String, bool> {
    let judged = Mutex::new(BTreeMap::new());
    all_of(&mutants(&story.record()), |mutant| {
        let passes = mutant.cases.iter().all(|case| story.prove(case).is_ok());
        judged.lock().unwrap().insert(mutant.name.clone(), passes);
        Ok(())
    });
    let judged = judged.into_inner().unwrap();
    let caught = judged.values().filter(|&&passes| !passes).count();
    writeln!(
        std::io::stdout(),
        "crash states: {:<35} {:>5} mutants {caught:>5} caught, the others are listed",
        story.name,
        judged.len()
    )
    .unwrap();
    judged
}

#[test]
fn every_mutant_is_caught_or_listed() {
    let judged: Vec<(Story, BTreeMap<String, bool>)> = stories()
        .into_iter()
        .map(|story| {
            let judged = judge(&story);
            (story, judged)
        })
        .collect();
    let mut wrong = Vec::new();
    for (story, mutants) in &judged {
        let listed: Vec<&str> = EQUIVALENTS
            .iter()
            .filter(|listed| listed.is_in(story.name))
            .flat_map(|listed| listed.mutants)
            .copied()
            .collect();
        for (name, &passes) in mutants {
            match (passes, listed.iter().any(|pattern| matches(pattern, name))) {
                (true, false) => {
                    wrong.push(format!("passes, and is not listed: {}: {name}", story.name));
                }
                (false, true) => {
                    wrong.push(format!("is listed, and is caught: {}: {name}", story.name));
                }
                _ => {}
            }
        }
    }
    for listed in EQUIVALENTS {
        for pattern in listed.mutants {
            let of_its_stories = judged.iter().filter(|(story, _)| listed.is_in(story.name));
            if !of_its_stories
                .flat_map(|(_, mutants)| mutants.keys())
                .any(|name| matches(pattern, name))
            {
                wrong.push(format!("is listed, and there is none such: {pattern}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
