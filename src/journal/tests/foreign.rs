//! What another version has written: of a channel that this one does not have, or in a form that it
//! can't read.

use serde_json::{Value, json};

use super::rescued::rescued;
use super::*;

/// Reports of a channel that this version does not have, and in a form that it can't read.
fn newer_reports() -> [Value; 2] {
    let report = report("new channel", ChannelName::PSDK, Outcome::Failed, 5);
    let mut channel = serde_json::to_value(&report).unwrap();
    channel["request"]["channel"] = "hawkbit".into();
    let mut form = serde_json::to_value(&report).unwrap();
    form["id"] = "new form".into();
    form["request"]["transfer"] = json!({ "http": "resumed" });
    [channel, form]
}

fn file(directory: &TempDir, name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(directory.path().join(name)).unwrap()).unwrap()
}

#[test]
fn a_history_keeps_the_entries_of_another_version() {
    let (directory, [channel, form]) = (TempDir::new().unwrap(), newer_reports());
    for number in 1..=3 {
        let report = report(&number.to_string(), ChannelName::SHELL, Outcome::Failed, 1);
        open(&directory).0.conclude(&report, true).unwrap();
        if number == 1 {
            let mut history = file(&directory, HISTORY_FILE);
            let reports = history["reports"].as_array_mut().unwrap();
            reports.extend([channel.clone(), form.clone(), json!("of no form at all")]);
            write_file(&directory, HISTORY_FILE, &sealed(&history));
        }
    }
    let (journal, damaged) = open(&directory);
    assert!(damaged.is_empty(), "{damaged:?}");
    let history = journal.history();
    let keys: Vec<_> = history.iter().map(Entry::key).collect();
    assert_eq!(keys, ["1", "new channel", "new form", "\"of no form at all\"", "2", "3"]);
    let known: Vec<_> =
        journal.reports().map(|report| report.request.channel.to_string()).collect();
    assert_eq!(known, ["shell", "hawkbit", "shell", "shell"]);
    let reports = &file(&directory, HISTORY_FILE)["reports"];
    assert_eq!((&reports[1], &reports[2]), (&channel, &form), "word by word");
}

#[test]
fn the_history_has_a_length_whoever_wrote_it() {
    let directory = TempDir::new().unwrap();
    let foreign = |number| json!({ "id": format!("foreign {number}") });
    let reports: Vec<_> = (0..HISTORY_LENGTH).map(foreign).collect();
    write_file(&directory, HISTORY_FILE, &sealed(&json!({ "format": 2, "reports": reports })));
    let (mut journal, _) = open(&directory);
    journal.conclude(&report("one", ChannelName::SHELL, Outcome::Failed, 1), true).unwrap();
    let (journal, _) = open(&directory);
    assert_eq!(
        (journal.history().len(), journal.history()[0].key().into_owned()),
        (HISTORY_LENGTH, "foreign 1".into())
    );
}

#[test]
fn reports_for_another_version_wait_for_it() {
    let (directory, [channel, form]) = (TempDir::new().unwrap(), newer_reports());
    open(&directory)
        .0
        .conclude(&report("ours", ChannelName::PSDK, Outcome::Failed, 1), false)
        .unwrap();
    let mut state = file(&directory, STATE_FILE);
    let waiting = state["unacknowledged"].as_array_mut().unwrap();
    waiting.extend([channel.clone(), form.clone()]);
    write_file(&directory, STATE_FILE, &sealed(&state));
    let (mut journal, damaged) = open(&directory);
    assert!(damaged.is_empty(), "{damaged:?}");
    journal.acknowledge(ChannelName::PSDK).unwrap();
    journal.conclude(&report("later", ChannelName::SHELL, Outcome::Succeeded, 2), true).unwrap();
    let (mut journal, _) = open(&directory);
    assert_eq!(file(&directory, STATE_FILE)["unacknowledged"], json!([form, channel]));
    journal.acknowledge("hawkbit".to_owned().try_into().unwrap()).unwrap();
    assert_eq!(file(&directory, STATE_FILE)["unacknowledged"], json!([form]));
}

/// The state is lost: what a report of another version's form says of programs is passed over.
#[test]
fn what_can_not_be_read_is_not_remembered() {
    let (directory, [_, form]) = (TempDir::new().unwrap(), newer_reports());
    open(&directory)
        .0
        .conclude(&report("one", ChannelName::SHELL, Outcome::Succeeded, 1), true)
        .unwrap();
    let mut history = file(&directory, HISTORY_FILE);
    history["reports"].as_array_mut().unwrap().push(form);
    write_file(&directory, HISTORY_FILE, &sealed(&history));
    std::fs::remove_file(directory.path().join(STATE_FILE)).unwrap();
    let (journal, _) = open(&directory);
    assert_eq!(journal.installed(ComponentName::PROGRAM).unwrap().digest, ProgramDigest([1; 32]));
    assert!(journal.known_bad(ComponentName::PROGRAM).is_empty());
}

/// The newer daemon told, in a form of its own, what the rescue's file still says.
#[test]
fn what_another_version_has_told_of_a_roll_back_is_not_told_again() {
    let (directory, [_, mut form]) = (TempDir::new().unwrap(), newer_reports());
    form["id"] = "lost".into();
    let later = report("later", ChannelName::SHELL, Outcome::Failed, 1);
    let history = json!({ "format": 2, "reports": [form, later] });
    write_file(&directory, HISTORY_FILE, &sealed(&history));
    rescued(&directory, &Value::Null, true);
    let (journal, _) = open(&directory);
    assert!(journal.unacknowledged().is_empty(), "{:?}", journal.unacknowledged());
    assert_eq!(journal.history()[0], Entry::Foreign(form));
    assert_eq!(journal.history().len(), 2);
}
