//! Restarts of a model machine, on a paused clock.

use std::path::Path;

use super::*;
use crate::config::Config;
use crate::trial::systemctl::{Answer, on};

const DEADLINE: Duration = Duration::from_secs(60);

/// Of a machine that has done all that it was asked for.
fn says(invocation: &str) -> Answer {
    Some(Ok(format!("ActiveState=active\nMainPID=7\nInvocationID={invocation}\n")))
}

const RESTART: &str = "systemctl --no-block restart -- p.service";

fn is_restart(line: &str) -> bool {
    line == RESTART
}

fn by(how: Restart, unit: Option<&str>) -> Restarter {
    Restarter::by(how, unit.map(String::from), DEADLINE, crate::config::Paths::default().boot_id)
}

fn of_unit() -> Restarter {
    by(Restart::Unit("p.service".into()), Some("p.service"))
}

fn before(restarter: &Restarter) -> Origin {
    Origin { boot_id: restarter.boot().unwrap(), invocation: Some("before".into()) }
}

#[test]
fn terms_are_what_the_unit_may_take_and_no_start_of_a_unit_is_agreed_to_unseen() {
    let agreed = |fields: &str, answer: Answer| {
        let text = format!(
            "[component.program]\nname = \"p\"\nproduct = \"P\"\nunit = \"p.service\"\n{fields}"
        );
        let config = Config::parse(&text, Path::new("test.toml")).unwrap();
        let program = config.components.programs().next().unwrap();
        on(move |_, _| answer.clone(), agree(program)).0
    };
    let told = "InvocationID=before\nTimeoutStopUSec=2min\nTimeoutStartUSec=1min\n";
    let terms = agreed("restart = \"unit\"", Some(Ok(told.into()))).unwrap();
    assert_eq!(terms.start_before.as_deref(), Some("before"));
    assert_eq!(terms.restart_deadline, Duration::from_secs(190));
    let failure = agreed("restart = \"unit\"", Some(Err("no bus"))).unwrap_err();
    assert_eq!(failure.kind, FailureKind::RestartFailed);
    assert!(failure.to_string().contains("no bus"), "{failure}");
    let terms = agreed("restart = \"reboot\"", Some(Err("no bus"))).unwrap();
    assert_eq!((terms.start_before, terms.restart), (None, Restart::Reboot));
}

#[test]
fn what_evidence_there_is_hangs_on_what_is_restarted() {
    let unit = || Restart::Unit("p.service".into());
    let command = || Restart::Command(vec!["restart".into()]);
    for (how, of_a_unit, leaves_evidence, invocation) in [
        (Restart::Reboot, None, true, None),
        (Restart::Reboot, Some("p.service"), true, None),
        (unit(), Some("p.service"), true, Some("now")),
        (command(), Some("p.service"), true, Some("now")),
        (command(), None, false, None),
    ] {
        let case = format!("{how:?} {of_a_unit:?}");
        let restarter = by(how, of_a_unit);
        assert_eq!(restarter.leaves_evidence(), leaves_evidence, "{case}");
        let (origin, asked) = on(|_, _| says("now"), restarter.origin());
        let origin = origin.unwrap();
        assert_eq!(origin.invocation.as_deref(), invocation, "{case}");
        assert_eq!(origin.boot_id, restarter.boot().unwrap(), "{case}");
        let of_the_unit = asked.iter().all(|line| line.ends_with(" -- p.service"));
        assert!(of_the_unit && asked.len() == usize::from(invocation.is_some()), "{asked:?}");
        let (origin, _) = on(|_, _| Some(Err("no bus")), restarter.origin());
        assert_eq!(origin.is_err(), invocation.is_some(), "{case}");
        let (found, _) = on(|_, _| Some(Err("no bus")), restarter.found());
        assert_eq!(found.unwrap().invocation, None, "{case}");
    }
}

#[test]
fn a_boot_that_can_not_be_told_is_a_failure() {
    let nowhere = "/nothing/is/here".into();
    let failure = Restarter::by(Restart::Reboot, None, DEADLINE, nowhere).boot().unwrap_err();
    assert_eq!(failure.kind, FailureKind::Internal);
    let named = "/proc/sys/kernel/ostype".into();
    let id = Restarter::by(Restart::Reboot, None, DEADLINE, named).boot();
    assert_eq!(id.unwrap(), "Linux");
}

#[test]
fn a_program_is_known_to_run_where_the_main_process_runs_it() {
    let digest = program_digest(std::fs::File::open("/bin/true").unwrap()).unwrap();
    let runs = |restarter: &Restarter, answer: Answer, digest| {
        on(move |_, _| answer.clone(), restarter.runs(digest)).0
    };
    assert!(runs(&of_unit(), says("now"), digest));
    assert!(!runs(&of_unit(), says("now"), ProgramDigest([9; 32])));
    assert!(!runs(&of_unit(), Some(Ok("ActiveState=inactive\nMainPID=0\n".into())), digest));
    assert!(!runs(&of_unit(), Some(Err("no bus")), digest));
    assert!(!runs(&by(Restart::Reboot, None), says("now"), digest));
}

#[test]
fn a_restart_is_asked_for_once_and_not_where_a_start_limit_forbids_it() {
    for (restarter, expected) in [
        (of_unit(), &["systemctl reset-failed -- p.service", RESTART][..]),
        (by(Restart::Reboot, Some("p.service")), &["systemctl --no-block reboot"]),
        (by(Restart::Command(vec!["again".into(), "now".into()]), None), &["again now"]),
    ] {
        let (done, asked) = on(|_, _| says(""), restarter.ask());
        done.unwrap();
        assert_eq!(asked, expected);
    }
    let (done, _) = on(
        |line, _| if is_restart(line) { Some(Err("not now")) } else { says("") },
        of_unit().ask(),
    );
    let failure = done.unwrap_err();
    assert_eq!(failure.kind, FailureKind::RestartFailed);
    assert!(failure.sentence.ends_with(": not now"), "{failure}");
}

/// It has the time of the whole restart.
#[test]
fn who_does_not_answer_is_waited_for_and_not_for_ever() {
    let silent = |line: &str, _| if is_restart(line) { None } else { says("before") };
    let restarter = of_unit();
    let before = before(&restarter);
    let waited = async {
        let mut waited = Vec::new();
        for time in 0..3 {
            let began = Instant::now();
            let failed = match time {
                0 => restarter.ask().await.is_err(),
                1 => restarter.restart(&before).await.is_err(),
                _ => restarter.restart_back(&before).await.is_err(),
            };
            waited.push((failed, began.elapsed() >= DEADLINE));
        }
        waited
    };
    assert_eq!(on(silent, waited).0, [(true, true); 3]);
}

#[test]
fn the_evidence_of_a_restart_is_waited_for() {
    // The third look sees it.
    let after = |line: &str, before: usize| {
        if line.contains(" show ") && before < 2 { says("before") } else { says("after") }
    };
    let restarter = of_unit();
    let before = before(&restarter);
    let (found, _) = on(after, restarter.restart(&before));
    assert_eq!(found.unwrap().invocation.as_deref(), Some("after"));
    let (found, _) = on(after, restarter.restart_back(&before));
    assert_eq!(found.unwrap().invocation.as_deref(), Some("after"));
    let never = async {
        let began = Instant::now();
        (restarter.restart(&before).await.unwrap_err(), began.elapsed() >= DEADLINE)
    };
    let ((failure, waited), _) = on(|_, _| says("before"), never);
    assert!(waited && failure.sentence.contains("did not come within 60 s"), "{failure}");
    assert!(failure.hint().contains("TimeoutStopSec"), "{failure:?}");
}

#[test]
fn a_restart_back_that_is_refused_is_asked_for_again_but_not_for_ever() {
    let refused = |times: usize| {
        move |line: &str, before: usize| {
            if is_restart(line) && before < times { Some(Err("not now")) } else { says("after") }
        }
    };
    let restarter = of_unit();
    let before = before(&restarter);
    let requests = |asked: Vec<String>| asked.iter().filter(|line| is_restart(line)).count();
    let (done, asked) = on(refused(2), restarter.restart_back(&before));
    assert!(done.is_ok());
    assert_eq!(requests(asked), 3);
    let (done, asked) = on(refused(usize::MAX), restarter.restart_back(&before));
    assert!(done.unwrap_err().sentence.ends_with(": not now"));
    assert_eq!(requests(asked), 3);
    // Nor where there is no time for one more.
    let hasty = Restarter { deadline: Duration::from_millis(1500), ..of_unit() };
    let (done, asked) = on(refused(usize::MAX), hasty.restart_back(&before));
    assert!(done.is_err());
    assert_eq!(requests(asked), 2);
}
