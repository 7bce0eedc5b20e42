//! Every combination of what the rescue can find, and what it does.

use super::*;
use crate::record::trial::tests::{NEW, OLD, digest, trial};

const PATIENCE: u64 = 180 + GRACE;

fn on(boot: &str, invocation: Option<&str>) -> Origin {
    Origin { boot_id: boot.into(), invocation: invocation.map(String::from) }
}

/// At a moment of the boot in which the swap took place, the unit started anew since.
fn now(call: Call, uptime: u64) -> Now {
    Now { call, origin: on("boot-1", Some("start-2")), uptime, at_path: Some(digest(NEW)) }
}

fn at_boot(number: u32) -> Now {
    Now { origin: on(&format!("boot-{number}"), None), ..now(Call::Boot, 9) }
}

fn known(trial: &Trial) -> Known {
    Known::Trial(Box::new(trial.clone()))
}

/// A trial that was first seen 100 s after the machine's start.
fn seen(trial: &Trial) -> RescueFile {
    RescueFile::begin(trial.clone(), "boot-1".into(), 100, 1)
}

fn ruled(trial: &Trial, restart_from: Option<Origin>, requests: u32) -> RescueFile {
    let verdict = Failure::new(FailureKind::Unhealthy, "why").into();
    RescueFile {
        ruling: Some(Ruling { verdict, rolled_back: true, restart_from, requests }),
        ..seen(trial)
    }
}

fn ruling(decision: Decision) -> Ruling {
    match decision {
        Decision::RollBack(file) | Decision::Restart(file) => file.ruling.unwrap(),
        other => panic!("{other:?}"),
    }
}

fn waits(decision: Decision) -> RescueFile {
    match decision {
        Decision::Wait(file) => *file,
        other => panic!("{other:?}"),
    }
}

#[test]
fn without_a_trial_nothing_is_done() {
    let trial = trial(Restart::Reboot);
    for call in [Call::Boot, Call::Deadline] {
        for known in [Known::NoTrial, Known::Absent, Known::Damaged("why".into())] {
            assert_eq!(judge(&known, None, &now(call, 9999)), Decision::StandDown, "{known:?}");
        }
        for file in [seen(&trial), ruled(&trial, Some(on("boot-1", None)), 0)] {
            assert_eq!(
                judge(&Known::NoTrial, Some(&file), &now(call, 9999)),
                Decision::StandDown,
                "the daemon has concluded"
            );
        }
    }
    assert!(is_concluded(&Known::NoTrial, Some(&seen(&trial))));
    assert!(
        !is_concluded(&Known::NoTrial, Some(&ruled(&trial, None, 0))),
        "the verdict stays to be read"
    );
    assert!(
        !is_concluded(&Known::NoTrial, None) && !is_concluded(&Known::Absent, Some(&seen(&trial)))
    );
}

#[test]
fn another_program_than_the_one_on_trial_is_never_touched() {
    let trial = trial(Restart::Reboot);
    for at_path in [None, Some(digest(OLD)), Some(digest(9))] {
        for call in [Call::Boot, Call::Deadline] {
            let now = Now { at_path, ..now(call, 9999) };
            assert_eq!(
                judge(&known(&trial), Some(&seen(&trial)), &now),
                Decision::StandDown,
                "{at_path:?}"
            );
            assert_eq!(judge(&known(&trial), None, &now), Decision::StandDown, "{at_path:?}");
        }
    }
    let over_itself = Trial { old: Some(digest(NEW)), ..trial };
    assert_eq!(
        judge(&known(&over_itself), Some(&seen(&over_itself)), &now(Call::Deadline, 9999)),
        Decision::StandDown
    );
}

#[test]
fn a_first_installation_is_taken_away() {
    let first = Trial { old: None, ..trial(Restart::Unit("u".into())) };
    assert!(matches!(
        judge(&known(&first), Some(&seen(&first)), &now(Call::Deadline, 9999)),
        Decision::RollBack(_)
    ));
}

#[test]
fn boots_are_counted_once_each_and_the_one_of_the_swap_only_where_the_trial_runs_in_it() {
    for (restart, first) in [
        (Restart::Reboot, 0),
        (Restart::Unit("u".into()), 1),
        (Restart::Command(vec!["true".into()]), 1),
    ] {
        let trial = trial(restart.clone());
        let file = waits(judge(&known(&trial), None, &now(Call::Deadline, 100)));
        assert_eq!((file.boots, file.since), (first, 100), "{restart:?}");
        let again = waits(judge(&known(&trial), Some(&file), &now(Call::Deadline, 130)));
        assert_eq!(again, file, "nothing new to write");
        let next = waits(judge(&known(&trial), Some(&file), &at_boot(2)));
        assert_eq!((next.boots, next.since, next.boot_id.as_str()), (first + 1, 9, "boot-2"));
        let timer = Now { call: Call::Deadline, uptime: 39, ..at_boot(2) };
        assert_eq!(waits(judge(&known(&trial), Some(&next), &timer)), next);
    }
    let trial = trial(Restart::Reboot);
    assert_eq!(
        waits(judge(&known(&trial), None, &at_boot(2))).boots,
        1,
        "the timer was never armed before"
    );
}

#[test]
fn what_the_daemon_has_copied_counts_from_the_first_look_on() {
    for (restart, first) in [
        (Restart::Reboot, 0),
        (Restart::Unit("u".into()), 1),
        (Restart::Command(vec!["true".into()]), 0),
    ] {
        let trial = trial(restart.clone());
        let copy = RescueFile::not_looked_at(trial.clone());
        let looked = waits(judge(&known(&trial), Some(&copy), &now(Call::Deadline, 9999)));
        assert_eq!(
            (looked.boots, looked.since, looked.boot_id.as_str()),
            (first, 9999, "boot-1"),
            "{restart:?}"
        );
        let by_copy_alone =
            waits(judge(&Known::Damaged("why".into()), Some(&copy), &now(Call::Deadline, 9999)));
        assert_eq!(by_copy_alone, looked);
        let next = waits(judge(&known(&trial), Some(&copy), &at_boot(2)));
        assert_eq!(
            (next.boots, next.since),
            (first + 1, 9),
            "{restart:?}: nobody looked in the boot of the swap"
        );
    }
}

#[test]
fn boots_used_up_roll_back_before_the_program_starts() {
    let trial = trial(Restart::Reboot);
    let mut file = seen(&trial);
    for boot in [2, 3] {
        file = waits(judge(&known(&trial), Some(&file), &at_boot(boot)));
    }
    assert_eq!(file.boots, 3);
    let ruling = ruling(judge(&known(&trial), Some(&file), &at_boot(4)));
    assert_eq!(ruling.verdict.failure.to_string(), "3 boots were used up without a verdict");
    assert_eq!(ruling.verdict.failure.kind, FailureKind::Unhealthy);
    assert_eq!(
        (ruling.rolled_back, ruling.restart_from, ruling.requests),
        (false, None, 0),
        "the old program starts in this boot"
    );
    // Where the call at the boot is missing the timer's first one counts, and the program runs by
    // then.
    let timer = Now { call: Call::Deadline, ..at_boot(4) };
    let ruling = self::ruling(judge(&known(&trial), Some(&file), &timer));
    assert_eq!(ruling.restart_from, Some(timer.origin));
}

#[test]
fn the_deadline_is_that_of_restart_and_trial_with_a_grace() {
    let trial = trial(Restart::Unit("u".into()));
    let file = seen(&trial);
    assert_eq!(
        waits(judge(&known(&trial), Some(&file), &now(Call::Deadline, 100 + PATIENCE - 1))),
        file
    );
    let at_end = now(Call::Deadline, 100 + PATIENCE);
    let ruling = ruling(judge(&known(&trial), Some(&file), &at_end));
    assert_eq!(
        ruling.verdict.failure.to_string(),
        "no verdict on the new program came within 210 s"
    );
    assert_eq!(ruling.restart_from, Some(at_end.origin.clone()));
    assert_eq!(
        waits(judge(&known(&trial), Some(&file), &Now { call: Call::Boot, ..at_end })),
        file,
        "a boot is no deadline"
    );
}

#[test]
fn a_restart_that_never_came_blames_nobody_and_needs_none_back() {
    let reboot = trial(Restart::Reboot);
    let same_boot = now(Call::Deadline, 9999);
    let unit = trial(Restart::Unit("u".into()));
    let same_start = Now { origin: unit.origin.clone(), ..same_boot };
    for (trial, now) in [(&reboot, &same_boot), (&unit, &same_start)] {
        let ruling = ruling(judge(&known(trial), Some(&seen(trial)), now));
        assert_eq!(
            (ruling.verdict.failure.kind, ruling.restart_from),
            (FailureKind::RestartFailed, None)
        );
    }
    // systemd does not tell of the unit: the new program may run.
    let unknown = Now { origin: on("boot-1", None), ..same_boot };
    let ruling = ruling(judge(&known(&unit), Some(&seen(&unit)), &unknown));
    assert_eq!(
        (ruling.verdict.failure.kind, ruling.restart_from),
        (FailureKind::Unhealthy, Some(unknown.origin))
    );
}

#[test]
fn a_time_that_can_not_be_begins_anew() {
    let trial = trial(Restart::Unit("u".into()));
    let file = RescueFile { since: u64::MAX, ..seen(&trial) };
    assert_eq!(waits(judge(&known(&trial), Some(&file), &now(Call::Deadline, 100))).since, 100);
}

#[test]
fn a_state_that_is_lost_ends_no_trial() {
    let trial = trial(Restart::Unit("u".into()));
    for lost in [Known::Absent, Known::Damaged("why".into())] {
        assert_eq!(
            waits(judge(&lost, Some(&seen(&trial)), &now(Call::Deadline, 130))),
            seen(&trial)
        );
        assert!(matches!(
            judge(&lost, Some(&seen(&trial)), &now(Call::Deadline, 9999)),
            Decision::RollBack(_)
        ));
    }
}

#[test]
fn the_terms_are_those_that_were_seen_first_and_a_new_trial_has_its_own() {
    let first = trial(Restart::Unit("u".into()));
    let mut rewritten = first.clone();
    rewritten.terms.boots = 1000;
    assert_eq!(trial_of(&known(&rewritten), Some(&seen(&first))).unwrap().terms.boots, 3);
    let next = Trial { upgrade: crate::model::UpgradeId("next".into()), ..first.clone() };
    for file in [seen(&first), ruled(&first, None, 0)] {
        let begun = waits(judge(&known(&next), Some(&file), &now(Call::Deadline, 500)));
        assert_eq!(begun, RescueFile::begin(next.clone(), "boot-1".into(), 500, 1));
    }
}

#[test]
fn a_verdict_that_was_not_carried_out_is_completed() {
    let trial = trial(Restart::Reboot);
    let old = ruled(&trial, None, MOST_REQUESTS);
    for call in [Call::Boot, Call::Deadline] {
        let now = now(call, 130);
        let mut decision = judge(&known(&trial), Some(&old), &now);
        assert!(decision.new_verdict(Some(&old)).is_none(), "it keeps the log that it has");
        let ruling = ruling(decision);
        assert_eq!(ruling.verdict.failure.sentence, "why");
        assert!(!ruling.rolled_back);
        assert_eq!(ruling.requests, 0, "the restarts that were asked for brought nothing back");
        assert_eq!(
            ruling.restart_from.is_some(),
            call == Call::Deadline,
            "at a boot nothing runs yet"
        );
    }
}

#[test]
fn only_a_verdict_that_is_new_takes_the_last_words() {
    let trial = trial(Restart::Reboot);
    let mut decision = Decision::RollBack(Box::new(ruled(&trial, None, 0)));
    assert!(decision.new_verdict(None).is_some());
    assert!(decision.new_verdict(Some(&seen(&trial))).is_some());
    assert!(decision.new_verdict(Some(&ruled(&trial, None, 0))).is_none());
    let other = Trial { upgrade: crate::model::UpgradeId("two".into()), ..trial };
    assert!(decision.new_verdict(Some(&ruled(&other, None, 0))).is_some());
}

#[test]
fn a_roll_back_that_was_cut_off_behind_its_exchange_is_completed() {
    let trial = trial(Restart::Reboot);
    let from = on("boot-1", None);
    let mut cut_off = ruled(&trial, Some(from.clone()), 0);
    cut_off.ruling.as_mut().unwrap().rolled_back = false;
    for (call, restart_from) in [(Call::Boot, None), (Call::Deadline, Some(from))] {
        let back = Now { at_path: Some(digest(OLD)), ..now(call, 130) };
        assert_eq!(ruling(judge(&known(&trial), Some(&cut_off), &back)).restart_from, restart_from);
        let foreign = Now { at_path: Some(digest(9)), ..now(call, 130) };
        assert_eq!(
            judge(&known(&trial), Some(&cut_off), &foreign),
            Decision::StandDown,
            "replaced by hand"
        );
    }
}

fn way_back(trial: &Trial, restart_from: Option<Origin>) -> Known {
    let verdict = Failure::new(FailureKind::Cancelled, "the daemon's word").into();
    Known::WayBack(Box::new(trial.clone()), Box::new(WayBack { verdict, restart_from }))
}

/// The daemon that puts the old program back may be at it: it has the time of a restart.
#[test]
fn what_the_daemon_did_not_finish_is_finished() {
    let trial = trial(Restart::Unit("u".into()));
    let from = on("boot-1", Some("start-2"));
    for (restart_from, at_path) in
        [(None, NEW), (None, OLD), (Some(from.clone()), OLD), (Some(from.clone()), NEW)]
    {
        let known = way_back(&trial, restart_from.clone());
        let at = |uptime| Now { at_path: Some(digest(at_path)), ..now(Call::Deadline, uptime) };
        let mut file = waits(judge(&known, Some(&seen(&trial)), &at(9_000)));
        let first = file.ruling.clone().unwrap();
        assert_eq!(first.verdict.failure.kind, FailureKind::Cancelled, "the daemon's word counts");
        assert_eq!((first.restart_from, first.requests), (Some(from.clone()), 0));
        assert_eq!(first.rolled_back, restart_from.is_some() && at_path == OLD);
        file = waits(judge(&known, Some(&file), &at(9_000 + 60 + GRACE - 1)));
        let after = judge(&known, Some(&file), &at(9_000 + 60 + GRACE));
        assert_eq!(
            matches!(after, Decision::Restart(_)),
            restart_from.is_some() && at_path == OLD,
            "{after:?}"
        );
        assert_eq!(ruling(after).restart_from, Some(from.clone()));
        let foreign = Now { at_path: Some(digest(9)), ..at(9_999) };
        assert_eq!(judge(&known, Some(&file), &foreign), Decision::StandDown, "replaced by hand");
        assert_eq!(judge(&known, None, &foreign), Decision::StandDown, "replaced by hand");
        let restarted = Now { origin: on("boot-1", Some("start-3")), ..at(9_999) };
        let done = restart_from.is_some() && at_path == OLD;
        assert_eq!(
            judge(&known, Some(&file), &restarted) == Decision::StandDown,
            done,
            "{restart_from:?}"
        );
    }
}

#[test]
fn at_a_boot_what_the_daemon_decided_is_done_before_anything_starts() {
    let trial = trial(Restart::Reboot);
    let at_boot = |at_path| Now { at_path: Some(digest(at_path)), ..at_boot(2) };
    let reverting = way_back(&trial, None);
    for at_path in [NEW, OLD] {
        let ruling = ruling(judge(&reverting, Some(&seen(&trial)), &at_boot(at_path)));
        assert_eq!((ruling.rolled_back, ruling.restart_from), (false, None), "nothing runs yet");
    }
    let restarting = way_back(&trial, Some(on("boot-1", None)));
    assert_eq!(
        judge(&restarting, Some(&seen(&trial)), &at_boot(OLD)),
        Decision::StandDown,
        "that was the restart"
    );
    assert!(matches!(
        judge(&restarting, Some(&seen(&trial)), &at_boot(NEW)),
        Decision::RollBack(_)
    ));
}

/// A daemon that finds the old program back may conclude before the restart came.
#[test]
fn a_daemon_that_has_concluded_ends_no_restart_that_is_owed() {
    let trial = trial(Restart::Unit("u".into()));
    let back = Now { at_path: Some(digest(OLD)), ..now(Call::Deadline, 9999) };
    let owed = ruled(&trial, Some(back.origin.clone()), 1);
    assert_eq!(ruling(judge(&Known::NoTrial, Some(&owed), &back)).requests, 2);
    for now in [
        Now { at_path: Some(digest(NEW)), ..back.clone() },
        Now { at_path: Some(digest(9)), ..back.clone() },
        Now { call: Call::Boot, ..back.clone() },
        Now { origin: on("boot-1", Some("start-3")), ..back },
        Now { origin: on("boot-2", None), ..back },
    ] {
        assert_eq!(judge(&Known::NoTrial, Some(&owed), &now), Decision::StandDown, "{now:?}");
    }
    let often = ruled(&trial, Some(back.origin.clone()), MOST_REQUESTS);
    assert_eq!(judge(&Known::NoTrial, Some(&often), &back), Decision::StandDown);
    let mut blind = ruled(&trial, Some(back.origin.clone()), 1);
    (blind.trial.terms.restart, blind.trial.terms.unit) =
        (Restart::Command(vec!["true".into()]), None);
    assert_eq!(
        judge(&Known::NoTrial, Some(&blind), &back),
        Decision::StandDown,
        "nobody would ever know that it came"
    );
}

#[test]
fn a_start_that_systemd_could_not_tell_of_proves_no_restart() {
    let trial = trial(Restart::Unit("u".into()));
    let back = Now { at_path: Some(digest(OLD)), ..now(Call::Deadline, 9999) };
    let ruling =
        ruling(judge(&known(&trial), Some(&ruled(&trial, Some(on("boot-1", None)), 1)), &back));
    assert_eq!(ruling.restart_from, Some(back.origin), "the next start is compared with this one");
}

#[test]
fn what_ran_is_looked_at_once_the_old_program_is_back() {
    let trial = trial(Restart::Unit("u".into()));
    let of = |restart_from: Option<&Origin>, kind| {
        let verdict = Failure::new(kind, "why").into();
        Ruling { verdict, rolled_back: false, restart_from: restart_from.cloned(), requests: 0 }
    };
    let (before, after) = (on("boot-1", Some("start-2")), on("boot-1", Some("start-3")));
    let unhealthy = of(Some(&before), FailureKind::Unhealthy);
    assert_eq!(
        restart_from(&trial, &unhealthy, Some(after.clone()), false),
        Some(after.clone()),
        "it crashed meanwhile"
    );
    assert_eq!(
        restart_from(&trial, &unhealthy, Some(on("boot-1", None)), false),
        Some(before.clone())
    );
    assert_eq!(restart_from(&trial, &unhealthy, None, false), Some(before));
    let never_came = of(None, FailureKind::RestartFailed);
    assert_eq!(
        restart_from(&trial, &never_came, Some(trial.origin.clone()), false),
        None,
        "the old one runs still"
    );
    assert_eq!(
        restart_from(&trial, &never_came, Some(after.clone()), false),
        Some(after),
        "somebody started the new one"
    );
    let mut reboot = trial;
    reboot.terms.restart = Restart::Reboot;
    let same_boot = on("boot-1", None);
    assert_eq!(restart_from(&reboot, &never_came, Some(same_boot.clone()), false), None);
    assert_eq!(
        restart_from(&reboot, &never_came, Some(same_boot.clone()), true),
        Some(same_boot),
        "its unit was started anew"
    );
    assert_eq!(
        restart_from(&reboot, &of(None, FailureKind::Unhealthy), Some(on("boot-2", None)), false),
        None,
        "at a boot"
    );
    for (verdict, now) in [
        (never_came, on("boot-2", None)),
        (of(None, FailureKind::Unhealthy), on("boot-1", Some("start-3"))),
    ] {
        assert_eq!(restart_from(&reboot, &verdict, Some(now.clone()), true), None, "{now:?}");
    }
}

#[test]
fn a_restart_that_was_asked_for_in_vain_is_asked_for_again_some_times() {
    let trial = trial(Restart::Reboot);
    let old_at_path = |call| Now { at_path: Some(digest(OLD)), ..now(call, 9999) };
    let from = Some(old_at_path(Call::Deadline).origin);
    for requests in 0..MOST_REQUESTS {
        let file = ruled(&trial, from.clone(), requests);
        assert_eq!(
            ruling(judge(&known(&trial), Some(&file), &old_at_path(Call::Deadline))).requests,
            requests + 1
        );
        assert_eq!(
            judge(&known(&trial), Some(&file), &old_at_path(Call::Boot)),
            Decision::StandDown
        );
    }
    let file = ruled(&trial, from.clone(), MOST_REQUESTS);
    assert_eq!(
        judge(&known(&trial), Some(&file), &old_at_path(Call::Deadline)),
        Decision::StandDown
    );
    let file = ruled(&trial, from, 1);
    let rebooted = Now { call: Call::Deadline, at_path: Some(digest(OLD)), ..at_boot(2) };
    assert_eq!(judge(&known(&trial), Some(&file), &rebooted), Decision::StandDown);
    assert_eq!(
        judge(&known(&trial), Some(&ruled(&trial, None, 0)), &old_at_path(Call::Deadline)),
        Decision::StandDown,
        "none is needed"
    );
}
