//! What goes wrong on the line and in the module while a file is read (QT-2, QT-8, QT-13).

use uplift::model::{ChannelState, FailureKind, Outcome, Phase};
use uplift_sim::module::quectel::{Event, Options, Stage};

use super::{RUNS, Site, TARGET, is_command, is_failed};
use crate::world::payload::Payload;

const SIZE: u64 = 300_000;
const TWICE: u64 = 80 << 10;

#[test]
fn qt_13_a_plan_that_fails_by_itself_keeps_what_came_for_the_same_file() {
    let options = Options { fails_after_reads: Some(100), ..Options::default() };
    let mut site = Site::new(options);
    site.waits_for(is_failed);
    site.module.push();
    site.succeeds();
    let read = site.read();
    assert!((SIZE..SIZE + TWICE).contains(&read), "{read} bytes were read");
    assert_eq!(site.payload.history().len(), 1, "one upgrade");
    assert_eq!(site.announced(), [RUNS, TARGET]);
}

#[test]
fn qt_13_another_file_under_the_same_version_is_read_from_its_beginning() {
    let options = Options { fails_after_reads: Some(100), tries: 1, ..Options::default() };
    let mut site = Site::stopped(Payload::setup(), "", options);
    site.plan(&site.payload.new_firmware(), TARGET);
    site.payload.start_channels().unwrap();
    site.waits_for(is_failed);
    // This one is sealed.
    site.plan_new_version();
    site.module.push();
    site.succeeds();
    assert_eq!(site.count(|event| matches!(event, Event::Read { start: 0, .. })), 2);
}

#[test]
fn qt_13_what_nobody_plans_again_is_given_up() {
    let options = Options { fails_after_reads: Some(10), tries: 1, ..Options::default() };
    let site = Site::with(Payload::setup(), "keep_part = \"1s\"", options);
    site.waits_for(is_failed);
    let report = site.reported();
    let failure = report.failure.unwrap();
    assert_eq!((report.outcome, failure.kind), (Outcome::Failed, FailureKind::TransferFailed));
    assert!(failure.sentence.contains("the module has given the file up"), "{failure}");
}

/// Each answer in turn, of those that a whole upgrade has at least.
#[test]
fn qt_2_an_answer_that_is_lost_is_asked_for_again() {
    for lost in [1, 3, 6, 8, 9, 10, 12, 60] {
        let options = Options { lost_answers: vec![lost], piece: 200_000, ..Options::default() };
        let mut site = Site::new(options);
        site.succeeds();
        assert_eq!(site.count(is_failed), 0, "answer {lost} was lost");
        assert!(site.count(|event| is_command(event, "AT")) >= 3, "AT until OK");
    }
}

#[test]
fn qt_2_an_adapter_that_is_pulled_out_goes_on_where_it_was() {
    let mut site = Site::new(Options { baud: Some(921_600), ..Options::default() });
    site.waits_for(|event| matches!(event, Event::Read { start, .. } if *start > SIZE / 3));
    site.module.unplug();
    site.says(ChannelState::Waits, "ttyQuectel");
    site.module.plug().unwrap();
    site.succeeds();
    assert_eq!(site.count(is_failed), 0);
    assert!(site.read() < SIZE + TWICE);
}

#[test]
fn qt_2_a_module_that_starts_anew_in_any_state_is_found_again() {
    let stages = [
        Stage::PlanReceived,
        Stage::Submitted,
        Stage::Downloading,
        Stage::Readable,
        Stage::Updating,
    ];
    for stage in stages {
        let options = Options {
            reset_in: Some(stage),
            timers: 0.1,
            piece: 200_000,
            push: std::time::Duration::from_secs(1),
            ..Options::default()
        };
        let mut site = Site::new(options);
        site.waits_for(|event| *event == Event::Reset);
        site.succeeds();
        let failed = usize::from(!matches!(stage, Stage::PlanReceived | Stage::Updating));
        assert_eq!(site.count(is_failed), failed, "{stage:?}: {:#?}", site.so_far());
        assert_eq!(site.count(|event| *event == Event::Updating), 1, "{stage:?}");
    }
}

#[test]
fn qt_8_a_read_that_is_refused_is_tried_again() {
    let mut site = Site::new(Options { failing_reads: vec![5, 50, 51], ..Options::default() });
    site.succeeds();
    assert_eq!(site.count(is_failed), 0);
}

/// After three refusals the plan is ended, so that the platform makes another.
#[test]
fn qt_12_a_read_that_is_refused_again_and_again_ends_the_plan_at_once() {
    let mut site = Site::new(Options { failing_reads: vec![5, 6, 7], ..Options::default() });
    let failed = site.waits_for(is_failed);
    assert_eq!(failed, Event::Failed { to: TARGET.into(), why: format!("{RUNS} was announced") });
    site.says(ChannelState::Works, "could not go on: the module refuses");
    site.payload.wait_for_phase(Phase::Receiving);
    site.module.push();
    site.succeeds();
}

/// Nothing that a module says makes the channel grow, or stops it.
#[test]
fn qt_1_a_module_that_says_nonsense_is_heard_when_it_says_something_else() {
    let mut site = Site::stopped(Payload::setup(), "", Options::default());
    site.payload.start_channels().unwrap();
    site.waits_for(|event| is_command(event, "AT+QIOTOTAREQ=1"));
    let before = memory(&site);
    for nonsense in [
        vec![b'x'; 4 << 20],
        b"\r\n+QIOTOTARD: 0,4294967295\r\n".to_vec(),
        b"\r\n+QIOTEVT: 5,10200,99999999\r\n".to_vec(),
        b"\r\n+QIOTEVT: 7,10703,\"PAYLOAD\",1,0,1\r\n+QIOTEVT: 7,10705\r\n+QIOTEVT: 7,10706\r\n"
            .to_vec(),
        b"\r\n+QIOTEVT: 7,10701,\"PAYLOAD\",4096,\"2bcd3c4de20c918e19fab5c36249c70d\",1\r\n"
            .to_vec(),
        b"\r\nOK\r\nERROR\r\nOK\r\n\xff\xfe\r\n\0\0\0\r\n".to_vec(),
    ] {
        site.module.say(nonsense);
    }
    site.module.say(b"\r\n".to_vec());
    site.plan_new_version();
    site.module.push();
    site.succeeds();
    let after = memory(&site);
    assert!(after < before + 2048, "from {before} to {after} kB");
}

/// Memory of the channels' own in kB.
fn memory(site: &Site) -> u64 {
    let status = format!("/proc/{}/status", site.payload.channels_pid().unwrap());
    let text = std::fs::read_to_string(status).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
