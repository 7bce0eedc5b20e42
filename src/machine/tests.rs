use std::time::Duration;

use super::*;
use crate::config::{Restart, Runs};
use crate::model::{Channel, RunningEvidence, TransferKind};
use crate::package::digest::FileDigest;

fn upgrade(requester: &str, id: &str) -> Upgrade {
    Upgrade {
        id: UpgradeId(id.into()),
        request: Request { channel: Channel::Psdk, requester: requester.into(), transfer: TransferKind::Ftp, forced: false },
        from: Version::new([1, 0, 0, 0]),
        file_name: None,
        began: "2026-01-01T00:00:00Z".into(),
        phases: Vec::new(),
    }
}

fn package() -> PackageSummary {
    PackageSummary {
        file_name: "P_V02.00.00.00.bin".into(),
        product: "P".into(),
        version: Version::new([2, 0, 0, 0]).unwrap(),
        size: 1,
        file_digest: FileDigest([2; 32]),
        program_digest: NEW,
        trusted_key: None,
    }
}

const OLD: ProgramDigest = ProgramDigest([1; 32]);
const NEW: ProgramDigest = ProgramDigest([2; 32]);

fn origin(boot: &str) -> Origin {
    Origin { boot_id: boot.into(), invocation: None }
}

fn terms() -> Terms {
    Terms {
        program: "/program".into(),
        unit: Some("payload.service".into()),
        restart: Restart::Unit("payload.service".into()),
        restart_deadline: Duration::from_secs(60),
        window: Duration::from_secs(20),
        deadline: Duration::from_millis(120_500),
        boots: 3,
        confirm: Confirm::Auto,
        health_command: Some(vec!["/bin/true".into()]),
        runs: Runs::Itself,
        start_before: None,
    }
}

fn swap() -> Swap {
    Swap { package: package(), old: Some(OLD), origin: origin("before"), terms: terms() }
}

fn failure() -> Failure {
    Failure::new(FailureKind::Unhealthy, "it failed")
}

fn verdict() -> Verdict {
    Verdict { failure: failure(), program_log: vec!["its last words".into()] }
}

fn evidence() -> Evidence {
    Evidence {
        restarted: true,
        digest_at_path: true,
        running: RunningEvidence::NoUnit,
        restarts: 0,
        boots: 0,
        health_command: None,
        confirmed_by: None,
    }
}

fn trial(upgrade: Upgrade, swap: Swap) -> State {
    State::Trial { upgrade, swap, attempt: Attempt::first("after"), confirmed_by: None }
}

fn states() -> Vec<(&'static str, State)> {
    let (upgrade, swap, verdict) = (upgrade("0xed", "first"), swap(), verdict());
    let conclusion = Conclusion {
        package: Some(package()),
        outcome: Outcome::Succeeded,
        failure: None,
        evidence: Some(evidence()),
        program_log: Vec::new(),
    };
    vec![
        ("idle", State::Idle),
        ("preparing", State::Preparing { upgrade: upgrade.clone() }),
        ("receiving", State::Receiving { upgrade: upgrade.clone() }),
        ("checking", State::Checking { upgrade: upgrade.clone() }),
        ("ready", State::Ready { upgrade: upgrade.clone(), package: package() }),
        ("installing", State::Installing { upgrade: upgrade.clone(), swap: swap.clone() }),
        ("restarting", State::Restarting { upgrade: upgrade.clone(), swap: swap.clone(), requests: 1 }),
        ("trial", trial(upgrade.clone(), swap.clone())),
        ("reverting", State::Reverting { upgrade: upgrade.clone(), swap: swap.clone(), verdict: verdict.clone() }),
        ("restarting-back", State::RestartingBack { upgrade: upgrade.clone(), swap, verdict, requests: 1 }),
        ("concluded", State::Concluded { upgrade, conclusion }),
    ]
}

fn events() -> Vec<(&'static str, Event)> {
    vec![
        ("begin", Event::Begin(upgrade("0xed", "second"))),
        ("begin (other requester)", Event::Begin(upgrade("0x2a", "second"))),
        ("receive", Event::Receive { file_name: "P_V02.00.00.00.bin".into() }),
        ("reception failed", Event::ReceptionFailed),
        ("received", Event::Received),
        ("check passed", Event::CheckPassed(package())),
        ("fail", Event::Fail(failure())),
        ("start", Event::Start { old: Some(OLD), origin: origin("before"), terms: terms() }),
        ("swapped", Event::Swapped),
        ("swap failed", Event::SwapFailed(failure())),
        ("restarted", Event::Restarted(origin("after"))),
        ("restart failed", Event::RestartFailed(failure())),
        ("healthy", Event::Healthy(evidence())),
        ("unhealthy", Event::Unhealthy(verdict())),
        ("confirm", Event::Confirm("uid 1000".into())),
        ("roll back", Event::RollBack(failure())),
        ("go back", Event::GoBack { upgrade: upgrade("uid 1000", "second"), swap: Box::new(swap()), failure: failure() }),
        ("reverted", Event::Reverted { restart_from: None }),
        ("reverted, restart needed", Event::Reverted { restart_from: Some(origin("after")) }),
        ("revert failed", Event::RevertFailed(failure())),
        ("acknowledge", Event::Acknowledge),
    ]
}

fn name_of(state: &State) -> &'static str {
    let same = |other: &State| std::mem::discriminant(other) == std::mem::discriminant(state);
    states().into_iter().find(|(_, other)| same(other)).map(|(name, _)| name).unwrap()
}

fn outcome_of(state: &State) -> String {
    match state {
        State::Concluded { conclusion, .. } => format!("concluded ({})", conclusion.outcome),
        state => name_of(state).to_owned(),
    }
}

fn kebab(actions: &[Action]) -> String {
    let names = actions.iter().map(|action| match action {
        Action::EmptyStage => "empty stage",
        Action::Record => "record",
        Action::Check => "check",
        Action::Swap => "swap",
        Action::Restart => "restart",
        Action::Try => "try",
        Action::SwapBack => "swap back",
        Action::Report => "report",
        Action::Forget => "forget",
    });
    names.collect::<Vec<_>>().join(", ")
}

/// Every transition that is allowed, as the rows of docs/machine.md.
fn table() -> String {
    let mut rows = String::from("| state | event | next | actions |\n|---|---|---|---|\n");
    for (from, state) in states() {
        for (name, event) in events() {
            if let Ok((next, actions)) = state.clone().step(event) {
                rows.push_str(&format!("| {from} | {name} | {} | {} |\n", outcome_of(&next), kebab(&actions)));
            }
        }
    }
    rows
}

#[test]
fn the_documented_table_is_the_code() {
    let document = include_str!("../../docs/machine.md");
    assert!(document.contains(&table()), "docs/machine.md does not have this table:\n{}", table());
}

#[test]
fn a_state_tells_of_its_upgrade_and_of_what_it_installs() {
    for (name, mut state) in states() {
        let duration = PhaseDuration { phase: Phase::Trial, milliseconds: 7 };
        state.add_duration(duration.clone());
        assert_eq!(state.upgrade().map(|upgrade| upgrade.phases.clone()), (name != "idle").then(|| vec![duration]), "{name}");
        let nothing_known = ["idle", "preparing", "receiving", "checking"].contains(&name);
        assert_eq!(state.package().cloned(), (!nothing_known).then(package), "{name}");
    }
}

#[test]
fn a_step_keeps_what_its_event_tells() {
    let (upgrade, swap, verdict) = (upgrade("0xed", "first"), swap(), verdict());
    let (received, _) = State::Preparing { upgrade: upgrade.clone() }.step(Event::Receive { file_name: "name".into() }).unwrap();
    assert_eq!(received.upgrade().unwrap().file_name.as_deref(), Some("name"));
    let reverting = State::Reverting { upgrade, swap, verdict };
    let (back, _) = reverting.step(Event::Reverted { restart_from: Some(origin("later")) }).unwrap();
    assert_eq!(back.swap().unwrap().origin, origin("later"), "the restart is proved against it");
}

#[test]
fn an_event_that_is_not_allowed_leaves_the_state_as_it_was() {
    for (from, state) in states() {
        for (name, event) in events() {
            if let Err(refused) = state.clone().step(event.clone()) {
                assert_eq!(refused.state, state, "{from} × {name}");
                let expected = match event {
                    Event::Begin(_) | Event::GoBack { .. } => FailureKind::Busy,
                    Event::Receive { .. } | Event::ReceptionFailed | Event::Received | Event::Start { .. } | Event::Fail(_) => {
                        FailureKind::Cancelled
                    }
                    _ => FailureKind::Internal,
                };
                assert_eq!(refused.failure.kind, expected, "{from} × {name}");
            }
        }
    }
}

#[test]
fn an_upgrade_keeps_its_name_until_it_is_started_over() {
    for (from, state) in states() {
        let before = state.upgrade().map(|upgrade| upgrade.id.clone());
        for (name, event) in events() {
            let begins = matches!(event, Event::Begin(_) | Event::GoBack { .. });
            let Ok((next, _)) = state.clone().step(event) else { continue };
            let after = next.upgrade().map(|upgrade| upgrade.id.clone());
            if !begins && next != State::Idle {
                assert_eq!(after, before, "{from} × {name}");
            }
            if begins {
                let expected = if from == "preparing" { "first" } else { "second" };
                assert_eq!(after, Some(UpgradeId(expected.into())), "{from} × {name}");
            }
        }
    }
}

#[test]
fn nothing_is_swapped_or_restarted_before_it_is_recorded() {
    for (_, state) in states() {
        for (_, event) in events() {
            let Ok((_, actions)) = state.clone().step(event) else { continue };
            for dangerous in [Action::Swap, Action::SwapBack, Action::Restart, Action::Try] {
                if let Some(place) = actions.iter().position(|action| *action == dangerous) {
                    assert!(actions[..place].contains(&Action::Record), "{actions:?}");
                }
            }
        }
    }
}

/// The table of `State::resume`, each row with both ways a restart can be seen.
#[test]
fn a_fresh_daemon_knows_what_to_do_with_whatever_it_finds() {
    let foreign = Some(ProgramDigest([9; 32]));
    let rows = [
        ("idle", foreign, false, "idle"),
        ("preparing", Some(OLD), false, "concluded (failed)"),
        ("receiving", Some(OLD), true, "concluded (failed)"),
        ("checking", Some(OLD), false, "concluded (failed)"),
        ("ready", Some(OLD), true, "concluded (failed)"),
        ("installing", Some(OLD), false, "concluded (failed)"),
        ("installing", Some(OLD), true, "concluded (failed)"),
        ("installing", Some(NEW), false, "restarting"),
        ("installing", Some(NEW), true, "trial"),
        ("installing", foreign, true, "concluded (failed)"),
        ("installing", None, true, "concluded (failed)"),
        ("restarting", Some(NEW), false, "restarting"),
        ("restarting", Some(NEW), true, "trial"),
        ("restarting", Some(OLD), false, "restarting-back"),
        ("restarting", Some(OLD), true, "restarting-back"),
        ("restarting", foreign, true, "concluded (failed)"),
        ("trial", Some(NEW), false, "trial"),
        ("trial", Some(NEW), true, "trial"),
        ("trial", Some(OLD), false, "restarting-back"),
        ("trial", Some(OLD), true, "restarting-back"),
        ("trial", foreign, true, "concluded (failed)"),
        ("reverting", Some(NEW), true, "reverting"),
        ("reverting", Some(OLD), true, "restarting-back"),
        ("reverting", foreign, false, "concluded (failed)"),
        ("restarting-back", Some(NEW), true, "reverting"),
        ("restarting-back", Some(OLD), false, "restarting-back"),
        ("restarting-back", Some(OLD), true, "concluded (rolled back)"),
        ("restarting-back", foreign, true, "concluded (failed)"),
        ("concluded", Some(NEW), true, "concluded (succeeded)"),
    ];
    for (name, at_path, restarted, expected) in rows {
        let state = states().into_iter().find(|(other, _)| *other == name).unwrap().1;
        let now = origin(if restarted { "after" } else { "before" });
        let (next, actions) = state.resume(&Found { origin: now, at_path, ruling: None });
        assert_eq!(outcome_of(&next), expected, "{name}, {at_path:?}, restarted: {restarted}");
        let reports = matches!(next, State::Concluded { .. }) && name != "concluded";
        assert_eq!(actions.contains(&Action::Report), reports, "{name}: {actions:?}");
    }
}

#[test]
fn a_first_installation_that_was_not_swapped_finds_no_program() {
    let state = State::Installing { upgrade: upgrade("0xed", "first"), swap: Swap { old: None, ..swap() } };
    let (next, _) = state.resume(&Found { origin: origin("after"), at_path: None, ruling: None });
    let State::Concluded { conclusion, .. } = next else { panic!("{next:?}") };
    assert_eq!(conclusion.failure.unwrap().kind, FailureKind::Interrupted);
}

/// Nothing at the path tells on which side of the way back it is; asking again at each start would restart the machine for ever.
#[test]
fn a_program_installed_over_itself_is_restarted_back_once() {
    let rows = [
        ("installing", false, "restarting"),
        ("restarting", true, "trial"),
        ("trial", true, "trial"),
        ("reverting", true, "restarting-back"),
        ("restarting-back", false, "restarting-back"),
        ("restarting-back", true, "concluded (failed)"),
    ];
    for (name, restarted, expected) in rows {
        let mut state = states().into_iter().find(|(other, _)| *other == name).unwrap().1;
        let (State::Installing { swap, .. }
        | State::Restarting { swap, .. }
        | State::Trial { swap, .. }
        | State::Reverting { swap, .. }
        | State::RestartingBack { swap, .. }) = &mut state
        else {
            panic!("{name} has no swap")
        };
        swap.old = Some(NEW);
        let now = origin(if restarted { "after" } else { "before" });
        let (next, _) = state.resume(&Found { origin: now, at_path: Some(NEW), ruling: None });
        assert_eq!(outcome_of(&next), expected, "{name}, restarted: {restarted}");
    }
}

#[test]
fn the_same_requester_may_come_back_over_another_transfer() {
    let mut again = upgrade("0xed", "second");
    again.request.transfer = TransferKind::Dcftp;
    for (name, state) in states().into_iter().filter(|(name, _)| ["preparing", "receiving", "ready"].contains(name)) {
        let (next, _) = state.step(Event::Begin(again.clone())).unwrap_or_else(|refused| panic!("{name}: {}", refused.failure));
        assert_eq!(next.upgrade().unwrap().request, again.request, "{name}");
    }
}

#[test]
fn a_new_invocation_is_a_restart_and_none_is_not() {
    let with = |invocation: Option<&str>| Origin { boot_id: "b".into(), invocation: invocation.map(String::from) };
    assert!(with(Some("2")).restarted_since(&with(Some("1"))));
    assert!(with(Some("1")).restarted_since(&with(None)));
    assert!(!with(None).restarted_since(&with(Some("1"))));
    assert!(!with(Some("1")).restarted_since(&with(Some("1"))));
}

/// A version that knew nothing of containers wrote the kernel's id alone, and must not make a restart of that.
#[test]
fn a_start_of_the_container_is_a_restart_and_an_id_without_one_may_be_of_any() {
    let rows = [("a", "a", false), ("a", "b", true), ("a+1", "a+1", false), ("a+1", "a+2", true), ("a+1", "b+1", true)];
    let mixed = [("a", "a+1", false), ("a+1", "a", false), ("a", "b+1", true), ("a+1", "b", true), ("a", "a+", true)];
    for (before, now, restarted) in rows.into_iter().chain(mixed) {
        assert_eq!(origin(now).restarted_since(&origin(before)), restarted, "{before}, {now}");
        assert_eq!(Origin::was_never_restarted(&origin(before), &origin(now), &Restart::Reboot), !restarted, "{before}, {now}");
    }
}

#[test]
fn each_state_survives_the_journal() {
    for (name, state) in states() {
        let text = serde_json::to_string(&state).unwrap();
        assert_eq!(serde_json::from_str::<State>(&text).unwrap(), state, "{name}");
    }
}

/// Rows of `State::resume` with a verdict of the rescue.
#[test]
fn what_the_rescue_decided_counts_until_something_else_is_decided() {
    let rows = [
        ("ready", NEW, "concluded (failed)"),
        ("installing", OLD, "concluded (rolled back)"),
        ("installing", NEW, "reverting"),
        ("restarting", OLD, "concluded (rolled back)"),
        ("restarting", NEW, "reverting"),
        ("trial", OLD, "concluded (rolled back)"),
        ("trial", NEW, "reverting"),
        ("trial", ProgramDigest([9; 32]), "concluded (failed)"),
        ("reverting", OLD, "concluded (rolled back)"),
        ("reverting", NEW, "reverting"),
        ("restarting-back", OLD, "concluded (rolled back)"),
        ("concluded", OLD, "concluded (succeeded)"),
    ];
    let rescued = Verdict { failure: Failure::new(FailureKind::Unhealthy, "the rescue says so"), program_log: vec!["panicked".into()] };
    for (name, at_path, expected) in rows {
        let state = states().into_iter().find(|(other, _)| *other == name).unwrap().1;
        let decided = !["installing", "restarting", "trial"].contains(&name);
        let ruling = Some(Ruled { verdict: rescued.clone(), put_back: true, restart_from: None });
        let found = Found { origin: origin("after"), at_path: Some(at_path), ruling };
        let (next, _) = state.resume(&found);
        assert_eq!(outcome_of(&next), expected, "{name}, {at_path}");
        let told = match next {
            State::Concluded { conclusion: Conclusion { failure: Some(failure), program_log, .. }, .. } => Verdict { failure, program_log },
            State::Reverting { verdict, .. } | State::RestartingBack { verdict, .. } => verdict,
            _ => continue,
        };
        assert_eq!(told == rescued, !decided && at_path != ProgramDigest([9; 32]), "{name}, {at_path}: {told:?}");
    }
}

/// The rescue was cut off before the restart of the old program, or its request was refused: the failed program runs on.
#[test]
fn a_restart_that_the_rescue_owes_is_carried_out_by_the_daemon() {
    let start = |boot: &str, start: Option<&str>| Origin { boot_id: boot.into(), invocation: start.map(String::from) };
    let from = start("boot", Some("1"));
    let rows = [
        (true, Some(&from), start("boot", Some("1")), "restarting-back"),
        (true, Some(&from), start("boot", None), "restarting-back"),
        (true, Some(&from), start("boot", Some("2")), "concluded (rolled back)"),
        (true, Some(&from), start("next", Some("1")), "concluded (rolled back)"),
        (true, None, start("boot", Some("1")), "concluded (rolled back)"),
        // It may have been started anew before the old program was back at its path.
        (false, Some(&from), start("boot", Some("2")), "restarting-back"),
        (false, Some(&from), start("next", None), "concluded (rolled back)"),
        (false, None, start("boot", Some("1")), "concluded (rolled back)"),
        // systemd could not tell of the unit then.
        (true, Some(&start("boot", None)), start("boot", Some("1")), "restarting-back"),
    ];
    for (put_back, restart_from, now, expected) in rows {
        for name in ["installing", "restarting", "trial"] {
            let state = states().into_iter().find(|(other, _)| *other == name).unwrap().1;
            let ruling = Some(Ruled { verdict: verdict(), put_back, restart_from: restart_from.cloned() });
            let (next, actions) = state.resume(&Found { origin: now.clone(), at_path: Some(OLD), ruling });
            assert_eq!(outcome_of(&next), expected, "{name}: {restart_from:?}, put back: {put_back}, now {now:?}");
            if let State::RestartingBack { swap, verdict: told, requests, .. } = next {
                assert_eq!((swap.origin, told, requests), (now.clone(), verdict(), 1));
                assert_eq!(actions, [Action::Record, Action::Restart]);
            }
        }
    }
}

#[test]
fn whoever_put_the_old_program_back_without_a_word_left_a_restart_to_be_done_but_where_none_ever_was() {
    let start = |start: Option<&str>| Origin { boot_id: "before".into(), invocation: start.map(String::from) };
    let rows = [
        (Restart::Unit("u".into()), Some("1"), "concluded (rolled back)"),
        (Restart::Unit("u".into()), Some("2"), "restarting-back"),
        (Restart::Unit("u".into()), None, "restarting-back"),
        (Restart::Reboot, None, "concluded (rolled back)"),
        (Restart::Command(vec!["true".into()]), None, "restarting-back"),
    ];
    for (restart, now, expected) in rows {
        let swap = Swap { origin: start(Some("1")), terms: Terms { restart: restart.clone(), ..terms() }, ..swap() };
        let state = State::Restarting { upgrade: upgrade("0xed", "first"), swap, requests: 1 };
        let (next, _) = state.resume(&Found { origin: start(now), at_path: Some(OLD), ruling: None });
        assert_eq!(outcome_of(&next), expected, "{restart:?}, {now:?}");
    }
}

#[test]
fn a_trial_has_a_number_of_boots() {
    let mut state = trial(upgrade("0xed", "first"), swap());
    let resume = |state: State, boot: &str| state.resume(&Found { origin: origin(boot), at_path: Some(NEW), ruling: None }).0;
    for (boot, number) in [("after", 1), ("after", 1), ("second", 2), ("second", 2), ("third", 3)] {
        state = resume(state, boot);
        let State::Trial { attempt, .. } = &state else { panic!("{boot}: {state:?}") };
        assert_eq!(*attempt, Attempt { boot_id: boot.into(), number });
    }
    let State::Reverting { verdict, .. } = resume(state, "fourth") else { panic!("a fourth boot") };
    assert_eq!(verdict.failure, Failure::new(FailureKind::Unhealthy, "3 boots were used up without a verdict"));
}

/// Where the boot id never changes, a daemon that starts again would ask for ever.
#[test]
fn a_restart_is_asked_for_so_often_and_not_again() {
    let resume = |state: State, at_path| state.resume(&Found { origin: origin("before"), at_path: Some(at_path), ruling: None });
    let mut state = State::Installing { upgrade: upgrade("0xed", "first"), swap: swap() };
    for asked in 1..=MOST_RESTART_REQUESTS {
        let (next, actions) = resume(state, NEW);
        assert!(matches!(next, State::Restarting { requests, .. } if requests == asked), "{next:?}");
        assert_eq!(actions, [Action::Record, Action::Restart]);
        state = next;
    }
    let (mut state, _) = resume(state, NEW);
    assert!(matches!(&state, State::Reverting { verdict, .. } if verdict.failure.kind == FailureKind::RestartFailed), "{state:?}");
    for asked in 1..=MOST_RESTART_REQUESTS {
        state = resume(state, OLD).0;
        assert!(matches!(state, State::RestartingBack { requests, .. } if requests == asked), "{state:?}");
    }
    let (state, actions) = resume(state, OLD);
    assert_eq!(outcome_of(&state), "concluded (rolled back)");
    assert_eq!(actions, [Action::EmptyStage, Action::Report]);
}

#[test]
fn only_a_confirmed_trial_ends_well_where_that_is_asked_for() {
    let explicit = Swap { terms: Terms { confirm: Confirm::Explicit, ..terms() }, ..swap() };
    let state = trial(upgrade("0xed", "first"), explicit);
    let refused = state.step(Event::Healthy(evidence())).unwrap_err();
    let (state, actions) = refused.state.step(Event::Confirm("uid 1000".into())).unwrap();
    assert_eq!(actions, [Action::Record], "a daemon that starts again knows it");
    let (state, _) = state.step(Event::Healthy(evidence())).unwrap();
    let State::Concluded { conclusion, .. } = state else { panic!("{state:?}") };
    let evidence = conclusion.evidence.unwrap();
    assert_eq!((evidence.boots, evidence.confirmed_by.as_deref()), (1, Some("uid 1000")));
}
