//! What a fresh daemon does with the state that it finds.

use super::*;

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
        let (next, actions) =
            state.resume(&Found { origin: now, at_path, staged: false, part: false, ruling: None });
        assert_eq!(outcome_of(&next), expected, "{name}, {at_path:?}, restarted: {restarted}");
        let reports = matches!(next, State::Concluded { .. }) && name != "concluded";
        assert_eq!(actions.contains(&Action::Report), reports, "{name}: {actions:?}");
    }
}

#[test]
fn what_was_put_off_stays_so_with_its_file_and_is_over_without() {
    let deferred = states().into_iter().find(|(name, _)| *name == "deferred").unwrap().1;
    for boot in ["before", "after"] {
        let resumed = |staged| {
            let found = Found {
                origin: origin(boot),
                at_path: Some(OLD),
                staged,
                part: false,
                ruling: None,
            };
            deferred.clone().resume(&found)
        };
        assert_eq!(resumed(true), (deferred.clone(), vec![Action::EmptyStage]));
        let (over, actions) = resumed(false);
        assert_eq!(actions, [Action::EmptyStage, Action::Report]);
        let State::Concluded { conclusion, .. } = over else { panic!("{over:?}") };
        assert_eq!(conclusion.failure.unwrap().kind, FailureKind::Interrupted);
    }
}

#[test]
fn a_first_installation_that_was_not_swapped_finds_no_program() {
    let state =
        State::Installing { upgrade: upgrade("0xed", "first"), swap: Swap { old: None, ..swap() } };
    let (next, _) = state.resume(&Found {
        origin: origin("after"),
        at_path: None,
        staged: false,
        part: false,
        ruling: None,
    });
    let State::Concluded { conclusion, .. } = next else { panic!("{next:?}") };
    assert_eq!(conclusion.failure.unwrap().kind, FailureKind::Interrupted);
}

/// Nothing at the path tells on which side of the way back it is; asking again at each start would
/// restart the machine for ever.
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
        let (next, _) = state.resume(&Found {
            origin: now,
            at_path: Some(NEW),
            staged: false,
            part: false,
            ruling: None,
        });
        assert_eq!(outcome_of(&next), expected, "{name}, restarted: {restarted}");
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
    let rescued = Verdict {
        failure: Failure::new(FailureKind::Unhealthy, "the rescue says so"),
        program_log: vec!["panicked".into()],
    };
    for (name, at_path, expected) in rows {
        let state = states().into_iter().find(|(other, _)| *other == name).unwrap().1;
        let decided = !["installing", "restarting", "trial"].contains(&name);
        let ruling = Some(Ruled { verdict: rescued.clone(), put_back: true, restart_from: None });
        let found = Found {
            origin: origin("after"),
            at_path: Some(at_path),
            staged: false,
            part: false,
            ruling,
        };
        let (next, _) = state.resume(&found);
        assert_eq!(outcome_of(&next), expected, "{name}, {at_path}");
        let told = match next {
            State::Concluded {
                conclusion: Conclusion { failure: Some(failure), program_log, .. },
                ..
            } => Verdict { failure, program_log },
            State::Reverting { verdict, .. } | State::RestartingBack { verdict, .. } => verdict,
            _ => continue,
        };
        assert_eq!(
            told == rescued,
            !decided && at_path != ProgramDigest([9; 32]),
            "{name}, {at_path}: {told:?}"
        );
    }
}

/// Nobody knows who put the old program back, and whether it runs: not the daemon, and not the
/// rescue, which had only decided to.
#[test]
fn a_way_back_that_nobody_owns_up_to_is_restarted_and_proved_from_then_on() {
    let ruling = Ruled { verdict: verdict(), put_back: false, restart_from: None };
    for ruling in [None, Some(ruling)] {
        let (upgrade, swap) = (upgrade("0xed", "first"), swap());
        let state = State::Reverting { upgrade, swap, verdict: verdict() };
        let found = Found {
            origin: origin("after"),
            at_path: Some(OLD),
            staged: false,
            part: false,
            ruling,
        };
        let (next, actions) = state.resume(&found);
        let State::RestartingBack { swap, .. } = next else { panic!("{next:?}") };
        assert_eq!((swap.origin, actions), (found.origin, vec![Action::Record, Action::Restart]));
    }
}

/// The rescue was cut off before the restart of the old program, or its request was refused: the
/// failed program runs on.
#[test]
fn a_restart_that_the_rescue_owes_is_carried_out_by_the_daemon() {
    let start = |boot: &str, start: Option<&str>| Origin {
        boot_id: boot.into(),
        invocation: start.map(String::from),
    };
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
            let ruling =
                Some(Ruled { verdict: verdict(), put_back, restart_from: restart_from.cloned() });
            let (next, actions) = state.resume(&Found {
                origin: now.clone(),
                at_path: Some(OLD),
                staged: false,
                part: false,
                ruling,
            });
            assert_eq!(
                outcome_of(&next),
                expected,
                "{name}: {restart_from:?}, put back: {put_back}, now {now:?}"
            );
            if let State::RestartingBack { swap, verdict: told, requests, .. } = next {
                assert_eq!((swap.origin, told, requests), (now.clone(), verdict(), 1));
                assert_eq!(actions, [Action::Record, Action::Restart]);
            }
        }
    }
}

#[test]
fn whoever_put_the_old_program_back_without_a_word_left_a_restart_to_be_done_but_where_none_ever_was()
 {
    let start = |start: Option<&str>| Origin {
        boot_id: "before".into(),
        invocation: start.map(String::from),
    };
    let rows = [
        (Restart::Unit("u".into()), Some("1"), "concluded (rolled back)"),
        (Restart::Unit("u".into()), Some("2"), "restarting-back"),
        (Restart::Unit("u".into()), None, "restarting-back"),
        (Restart::Reboot, None, "concluded (rolled back)"),
        (Restart::Command(vec!["true".into()]), None, "restarting-back"),
    ];
    for (restart, now, expected) in rows {
        let swap = Swap {
            origin: start(Some("1")),
            terms: Terms { restart: restart.clone(), ..terms() },
            ..swap()
        };
        let state = State::Restarting { upgrade: upgrade("0xed", "first"), swap, requests: 1 };
        let (next, _) = state.resume(&Found {
            origin: start(now),
            at_path: Some(OLD),
            staged: false,
            part: false,
            ruling: None,
        });
        assert_eq!(outcome_of(&next), expected, "{restart:?}, {now:?}");
    }
}

#[test]
fn a_trial_has_a_number_of_boots() {
    let mut state = trial(upgrade("0xed", "first"), swap());
    let resume = |state: State, boot: &str| {
        state
            .resume(&Found {
                origin: origin(boot),
                at_path: Some(NEW),
                staged: false,
                part: false,
                ruling: None,
            })
            .0
    };
    for (boot, number) in [("after", 1), ("after", 1), ("second", 2), ("second", 2), ("third", 3)] {
        state = resume(state, boot);
        let State::Trial { attempt, .. } = &state else { panic!("{boot}: {state:?}") };
        assert_eq!(*attempt, Attempt { boot_id: boot.into(), number });
    }
    let State::Reverting { verdict, .. } = resume(state, "fourth") else { panic!("a fourth boot") };
    assert_eq!(
        verdict.failure,
        Failure::new(FailureKind::Unhealthy, "3 boots were used up without a verdict")
    );
}

/// Where the boot id never changes, a daemon that starts again would ask for ever.
#[test]
fn a_restart_is_asked_for_so_often_and_not_again() {
    let resume = |state: State, at_path| {
        state.resume(&Found {
            origin: origin("before"),
            at_path: Some(at_path),
            staged: false,
            part: false,
            ruling: None,
        })
    };
    let mut state = State::Installing { upgrade: upgrade("0xed", "first"), swap: swap() };
    for asked in 1..=MOST_RESTART_REQUESTS {
        let (next, actions) = resume(state, NEW);
        assert!(
            matches!(next, State::Restarting { requests, .. } if requests == asked),
            "{next:?}"
        );
        assert_eq!(actions, [Action::Record, Action::Restart]);
        state = next;
    }
    let (mut state, _) = resume(state, NEW);
    assert!(
        matches!(&state, State::Reverting { verdict, .. } if verdict.failure.kind == FailureKind::RestartFailed),
        "{state:?}"
    );
    for asked in 1..=MOST_RESTART_REQUESTS {
        state = resume(state, OLD).0;
        assert!(
            matches!(state, State::RestartingBack { requests, .. } if requests == asked),
            "{state:?}"
        );
    }
    let (state, actions) = resume(state, OLD);
    assert_eq!(outcome_of(&state), "concluded (rolled back)");
    assert_eq!(actions, [Action::EmptyStage, Action::Report]);
}
