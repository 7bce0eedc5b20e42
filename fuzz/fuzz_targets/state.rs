//! Any bytes as state file and history: damage is set aside byte for byte and never stops the
//! journal, what is read is found again after it was written, and a daemon that starts knows what
//! to do about it.
//!
//! `state.json`, and behind a zero byte `history.json`.
#![no_main]

use std::fs;
use std::path::Path;

use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;
use uplift::journal::Journal;
use uplift::machine::{Found, State};
use uplift::model::{ChannelName, ComponentName, Origin};
use uplift::record::HISTORY_LENGTH;

const PROGRAM: ComponentName = ComponentName::PROGRAM;

fuzz_target!(|bytes: &[u8]| {
    let directory = TempDir::new().expect("a directory can be made");
    let mut parts = bytes.splitn(2, |&byte| byte == 0);
    for name in ["state.json", "history.json"] {
        if let Some(text) = parts.next() {
            fs::write(directory.path().join(name), text).expect("a file can be written");
        }
    }
    let (mut journal, damaged) = open(directory.path());
    let set_aside = fs::read_dir(directory.path()).expect("it is there").flatten();
    let set_aside: Vec<Vec<u8>> = set_aside
        .filter(|entry| entry.file_name().to_string_lossy().contains(".damaged"))
        .map(|entry| fs::read(entry.path()).expect("it is there"))
        .collect();
    assert_eq!(set_aside.len(), damaged);
    assert!(set_aside.iter().all(
        |text| bytes.split(|&byte| byte == 0).any(|part| part == text) || bytes.ends_with(text)
    ));
    // Read again, nothing is damaged, and nothing was lost.
    assert_eq!(told(&journal), told(&open(directory.path()).0));
    assert_eq!(open(directory.path()).1, 0);
    resume(journal.upgrade());
    // A change is found again, and so is all that it did not touch.
    let before = journal.history();
    let upgrade = journal.upgrade().cloned().unwrap_or(State::Idle);
    journal.record(&upgrade).expect("the disk is sound");
    journal.acknowledge(ChannelName::PSDK).expect("the disk is sound");
    let (again, damaged) = open(directory.path());
    assert_eq!((damaged, told(&again)), (0, told(&journal)));
    assert_eq!(again.history(), before);
    assert!(
        again.unacknowledged().iter().all(|report| report.request.channel != ChannelName::PSDK)
    );
    assert!(
        again.unacknowledged().iter().all(|report| again.reports().any(|other| other == *report))
            || again.history().len() >= HISTORY_LENGTH
    );
});

fn open(directory: &Path) -> (Journal, usize) {
    let (journal, damaged) = Journal::open(directory).expect("no content stops the journal");
    (journal, damaged.len())
}

/// Everything that a journal tells.
fn told(journal: &Journal) -> String {
    format!(
        "{:?}",
        (
            journal.upgrade(),
            journal.unacknowledged(),
            journal.history(),
            journal.installed(PROGRAM),
            journal.known_bad(PROGRAM),
            journal.minimum_version(PROGRAM)
        )
    )
}

/// Every combination of what a daemon may find has an answer.
fn resume(state: Option<&State>) {
    let Some(state) = state else { return };
    let swap = match state {
        State::Installing { swap, .. }
        | State::Restarting { swap, .. }
        | State::Trial { swap, .. }
        | State::Reverting { swap, .. }
        | State::RestartingBack { swap, .. } => Some(swap),
        _ => None,
    };
    let programs =
        swap.map_or(vec![None], |swap| vec![None, swap.old, Some(swap.package.program_digest)]);
    let boots = swap
        .map_or(vec!["other".to_owned()], |swap| vec![swap.origin.boot_id.clone(), "other".into()]);
    for at_path in &programs {
        for boot_id in &boots {
            for (staged, part) in [(false, false), (true, false), (false, true)] {
                let origin = Origin { boot_id: boot_id.clone(), invocation: None };
                let found = Found { origin, at_path: *at_path, staged, part, ruling: None };
                let (next, actions) = state.clone().resume(&found);
                assert!(!actions.is_empty(), "{next:?} and nothing to do");
            }
        }
    }
}
