//! What becomes of the history where the disk or somebody else is against it.

use super::*;

#[test]
fn a_history_that_can_not_be_completed_is_told() {
    let directory = TempDir::new().unwrap();
    open(&directory)
        .0
        .conclude(&report("one", ChannelName::PSDK, Outcome::Failed, 1), false)
        .unwrap();
    std::fs::remove_file(directory.path().join(HISTORY_FILE)).unwrap();
    let (said, _guard) = Said::listen();
    Journal::open_on(Arc::new(FaultyDisk::sound().and_dying_at(0)), directory.path()).unwrap();
    assert!(said.text().contains("the history can't be written"), "{}", said.text());
}

/// What the disk refused stands in memory, and is written with the next report.
#[test]
fn a_report_that_the_disk_refused_is_told_and_written_with_the_next_one() {
    let directory = TempDir::new().unwrap();
    open(&directory)
        .0
        .conclude(&report("one", ChannelName::SHELL, Outcome::Failed, 1), true)
        .unwrap();
    let sound = open(&directory).0;
    let disk = Arc::new(FaultyDisk::sound().and_dying_at(0));
    let mut refused = Journal { disk, ..sound.clone() };
    refused
        .append_history(vec![report("two", ChannelName::SHELL, Outcome::Failed, 2)])
        .unwrap_err();
    let keys = |journal: &Journal| {
        journal.history().iter().map(|entry| entry.key().into_owned()).collect::<Vec<_>>()
    };
    assert_eq!(keys(&refused), ["one", "two"]);
    assert_eq!(refused.entry_after(Some("one")).unwrap().key(), "two");
    assert_eq!(refused.newest_report(|_| true).unwrap().id.0, "two");
    assert_eq!(keys(&open(&directory).0), ["one"]);
    let mut later = Journal { disk: sound.disk, ..refused };
    later.append_history(vec![report("three", ChannelName::SHELL, Outcome::Failed, 3)]).unwrap();
    for journal in [later, open(&directory).0] {
        assert_eq!(keys(&journal), ["one", "two", "three"]);
    }
}

/// Whatever a person does to the file while a daemon runs: no word of it gets a checksum that says
/// it was right.
#[test]
fn a_history_that_somebody_changed_under_a_daemon_is_set_aside() {
    let name = |directory: &TempDir| directory.path().join(HISTORY_FILE);
    let flip = |text: &str| text.replacen("shell", "rhell", 1);
    for (damage, aside) in [(true, 1), (false, 0)] {
        let directory = TempDir::new().unwrap();
        let (mut journal, _) = open(&directory);
        journal.conclude(&report("one", ChannelName::SHELL, Outcome::Failed, 1), true).unwrap();
        let text = std::fs::read_to_string(name(&directory)).unwrap();
        match damage {
            true => write_file(&directory, HISTORY_FILE, &flip(&text)),
            false => std::fs::remove_file(name(&directory)).unwrap(),
        }
        journal.conclude(&report("two", ChannelName::SHELL, Outcome::Failed, 2), true).unwrap();
        let (journal, damaged) = open(&directory);
        assert!(damaged.is_empty(), "{damaged:?}");
        assert_eq!((journal.history().len(), set_aside(&directory)), (1, aside));
    }
}
