use super::*;
use crate::channel::thingspanel::words::Step;
use crate::model::AnnouncedDigests;

const PUSHED: Came = Came { is_retained: false, hears_ends_again: true };
const RETAINED: Came = Came { is_retained: true, hears_ends_again: true };
/// A push of a server of 1.x.
const OF_V1: Came = Came { is_retained: false, hears_ends_again: false };

fn task(id: &str, version: &str, module: Option<&str>) -> Task {
    Task {
        id: id.to_owned(),
        version: version.to_owned(),
        url: format!("http://h/{version}?token=secret"),
        size: None,
        digests: AnnouncedDigests::default(),
        module: module.map(str::to_owned),
    }
}

fn done() -> Progress {
    Progress::done("it runs", None)
}

fn with(tasks: &[Task]) -> Record {
    let mut record = Record::default();
    for task in tasks {
        assert_eq!(record.known(&task.id, Some(task), PUSHED), Push::New);
        record.begin(task.clone());
    }
    record
}

#[test]
fn tp_9_the_same_name_or_the_same_file_again_is_the_task_that_runs() {
    let mut record = with(&[task("1", "v2", None)]);
    assert_eq!(record.known("1", Some(&task("1", "v3", None)), PUSHED), Push::Again);
    assert_eq!(record.known("2", Some(&task("2", "v2", None)), PUSHED), Push::Again);
    assert_eq!(record.at_work(), Some(&task("1", "v2", None)));
    // Ended under one name it has ended under all.
    record.end("1", done());
    for id in ["1", "2"] {
        assert_eq!(record.known(id, None, OF_V1), Push::Stale, "{id}");
    }
    assert_eq!(record.known("3", Some(&task("3", "v2", None)), PUSHED), Push::New);
}

/// MQ-7.
#[test]
fn mq_7_what_the_broker_keeps_is_never_a_second_task() {
    let mut record = with(&[task("1", "v2", None)]);
    assert_eq!(record.known("1", Some(&task("1", "v2", None)), RETAINED), Push::Again);
    record.end("1", done());
    for _ in 0..100 {
        assert_eq!(record.known("1", Some(&task("1", "v2", None)), RETAINED), Push::Stale);
        let other = task(&fastrand::u64(..).to_string(), "v7", None);
        record.begin(other.clone());
        record.end(&other.id, done());
    }
    assert_eq!(
        record.known("new name", Some(&task("new name", "v2", None)), RETAINED),
        Push::Stale
    );
    assert!(record.owed().is_none(), "nobody waits for an answer");
    assert_eq!(record.known("2", Some(&task("2", "v9", None)), RETAINED), Push::New);
}

#[test]
fn tp_18_the_end_is_told_again_to_who_pushes_again_and_never_to_1_x() {
    let mut record = with(&[task("1", "v2", None)]);
    record.end("1", done());
    assert_eq!(record.known("1", None, OF_V1), Push::Stale);
    assert!(record.owed().is_none());
    assert_eq!(record.known("1", None, PUSHED), Push::Ended);
    assert_eq!(record.owed().map(|end| end.word.step), Some(Step::Done));
    // While it is owed, it is not owed twice.
    assert_eq!(record.known("1", None, PUSHED), Push::Ended);
    record.paid();
    assert!(record.owed().is_none());
}

#[test]
fn the_newest_task_of_a_module_counts_and_those_of_others_wait() {
    let mut record =
        with(&[task("1", "v2", None), task("2", "v1", Some("MCU")), task("3", "v3", None)]);
    assert_eq!(record.at_work().map(|task| task.id.as_str()), Some("3"));
    assert!(
        record.open("1").is_none() && record.owed().is_none(),
        "its end would be taken for that of 3"
    );
    assert_eq!(record.known("1", None, PUSHED), Push::Ended);
    record.end("3", done());
    assert_eq!(record.at_work().map(|task| task.id.as_str()), Some("2"));
}

#[test]
fn what_waits_and_what_is_remembered_has_limits() {
    let mut record = Record::default();
    for number in 0..100 {
        record.begin(task(&number.to_string(), "v2", Some(&number.to_string())));
    }
    assert_eq!((record.open.len(), record.owed.len()), (MOST_OPEN, MOST_ENDS));
    assert!(record.ended.len() <= MOST_ENDS);
    for _ in 0..100 {
        record.paid();
    }
    assert_eq!((record.owed.len(), record.ended.len()), (0, MOST_ENDS));
    for number in 0..100 {
        let id = format!("again {number}");
        assert_eq!(record.known(&id, Some(&task(&id, "v2", Some("0"))), PUSHED), Push::Again);
    }
    assert!(record.open[0].also.len() <= MOST_IDS);
}

#[test]
fn tp_15_a_version_is_told_once_a_boot_and_once_when_it_changes() {
    let mut record = Record::default();
    for (boot, version, is_told) in [
        ("a", "v1", false),
        ("a", "v1", true),
        ("a", "v2", false),
        ("a", "v2", true),
        ("b", "v2", false),
    ] {
        assert_eq!(record.is_told("default", boot, version), is_told, "{boot} {version}");
        record.tell("default", boot, version);
    }
    assert!(!record.is_told("MCU", "b", "v2"));
}

#[test]
fn the_platform_s_text_of_a_version_is_remembered_while_that_runs() {
    let component = ComponentName::PROGRAM;
    let [one, two] = [[1, 0, 0, 0], [2, 0, 0, 0]].map(|numbers| Version::new(numbers).unwrap());
    let runs = |version| {
        [OwnComponent { component, product: "P".into(), version: Some(version), brought_by: None }]
    };
    let mut record = Record::default();
    record.call(component, "spring", None);
    assert_eq!(record.text(component, two), None);
    record.see(&runs(two));
    assert_eq!(record.text(component, two), Some("spring"));
    record.see(&runs(one));
    assert_eq!((record.text(component, one), record.text(component, two)), (None, Some("spring")));
}

#[test]
fn it_is_read_as_it_was_written_and_has_no_secret_of_what_has_ended() {
    let mut record = with(&[task("1", "v2", None), task("2", "v1", Some("MCU"))]);
    record.end("1", done());
    record.tell("default", "a", "v1");
    let written = serde_json::to_string(&record).unwrap();
    assert_eq!(serde_json::from_str::<Record>(&written).unwrap(), record);
    assert_eq!(written.matches("secret").count(), 1, "of the one that is open");
    assert_eq!(serde_json::from_str::<Record>("{}").unwrap(), Record::default());
}
