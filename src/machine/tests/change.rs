//! A change by another updater: each step with each event, and what a daemon does that starts anew.

use super::*;
use crate::model::{Change, ChangeTerms, Restart, Step};

const STEPS: [&str; 5] = ["installing", "restarting", "trial", "reverting", "restarting-back"];

fn origin(boot: &str) -> Origin {
    Origin { boot_id: boot.into(), invocation: None }
}

fn change(restart: bool, revert: bool) -> Change {
    Change {
        package: package(),
        origin: origin("boot-1"),
        terms: ChangeTerms {
            install: vec!["updater".into(), "{file}".into()],
            revert: revert.then(|| vec!["updater".into(), "back".into()]),
            unchanged_exit_codes: vec![3],
            command_deadline: Duration::from_secs(60),
            restart: restart.then_some(Restart::Reboot),
            restart_deadline: Duration::from_secs(60),
            version_command: None,
            health_command: None,
            deadline: Duration::from_secs(60),
            boots: 2,
            confirm: Confirm::Auto,
            begins_again: false,
            read_back: false,
        },
    }
}

fn failure() -> Failure {
    Failure::new(FailureKind::InstallFailed, "it failed")
}

fn step(name: &str) -> Step {
    let verdict = || failure().into();
    match name {
        "installing" => Step::Installing,
        "restarting" => Step::Restarting { requests: 1 },
        "trial" => Step::Trial { attempt: Attempt::first("boot-1"), confirmed_by: None },
        "reverting" => Step::Reverting { verdict: verdict() },
        _ => Step::RestartingBack { verdict: verdict(), requests: 1 },
    }
}

fn at(name: &str, restart: bool, revert: bool) -> State {
    let (upgrade, change) = (upgrade("0x2a", "one"), change(restart, revert));
    State::Changing { upgrade, change, step: step(name) }
}

/// Where it is, in a word: a step, or how it ended.
fn word(state: &State) -> String {
    match state {
        State::Changing { step, .. } => {
            let text = serde_json::to_value(step).unwrap();
            text["at"].as_str().unwrap().to_owned()
        }
        State::Concluded { conclusion, .. } => conclusion.outcome.to_string(),
        other => panic!("{other:?}"),
    }
}

fn events() -> Vec<(&'static str, Event)> {
    let evidence = || Evidence {
        restarted: true,
        digest_at_path: false,
        running: RunningEvidence::VersionTold,
        restarts: 0,
        boots: 0,
        health_command: None,
        bridge: None,
        confirmed_by: None,
    };
    vec![
        ("begin", Event::Begin(upgrade("0xed", "two"))),
        ("fail", Event::Fail(failure())),
        ("installed", Event::Swapped),
        ("nothing changed", Event::SwapFailed(failure())),
        ("unhealthy", Event::Unhealthy(failure().into())),
        ("restarted", Event::Restarted(origin("boot-2"))),
        ("restart failed", Event::RestartFailed(failure())),
        ("healthy", Event::Healthy(evidence())),
        ("confirm", Event::Confirm("uid 0".into())),
        ("roll back", Event::RollBack(failure())),
        ("reverted", Event::Reverted { restart_from: None }),
        ("reverted, restart", Event::Reverted { restart_from: Some(origin("boot-2")) }),
        ("revert failed", Event::RevertFailed(failure())),
        ("acknowledge", Event::Acknowledge),
    ]
}

/// Every transition that is allowed, as the rows of docs/design/machine.md: first of an updater
/// that needs a restart and has a way back, then what differs without one of the two.
fn table() -> String {
    let mut rows = String::from("| step | event | next | actions |\n|---|---|---|---|\n");
    for from in STEPS {
        for (name, event) in events() {
            let next = |restart, revert| at(from, restart, revert).step(event.clone()).ok();
            let usual = next(true, true);
            let others =
                [(", no restart", next(false, true)), (", no way back", next(true, false))];
            let differs = |(_, other): &(&str, Option<(State, Vec<Action>)>)| {
                other.as_ref().map(row_end) != usual.as_ref().map(row_end)
            };
            let others = others.into_iter().filter(differs);
            for (note, next) in [("", usual.clone())].into_iter().chain(others) {
                if let Some(next) = &next {
                    rows.push_str(&format!("| {from} | {name}{note} | {}\n", row_end(next)));
                }
            }
        }
    }
    rows
}

fn row_end((state, actions): &(State, Vec<Action>)) -> String {
    format!("{} | {} |", word(state), kebab(actions))
}

#[test]
fn the_documented_table_is_the_code() {
    let document = include_str!("../../../docs/design/machine.md");
    assert!(
        document.contains(&table()),
        "docs/design/machine.md does not have this table:\n{}",
        table()
    );
}

/// What goes on is written down before it is done; what ended is reported; what is not allowed
/// changes nothing.
#[test]
fn each_step_with_each_event() {
    for from in STEPS {
        for (name, event) in events() {
            match at(from, true, true).step(event) {
                Ok((state, actions)) => {
                    let ended = matches!(state, State::Concluded { .. });
                    let first = if ended { Action::EmptyStage } else { Action::Record };
                    assert_eq!(actions.first(), Some(&first), "{from}, {name}");
                    assert_eq!(actions.contains(&Action::Report), ended, "{from}, {name}");
                }
                Err(refused) => {
                    assert_eq!(refused.state, at(from, true, true), "{from}, {name}");
                }
            }
        }
    }
}

#[test]
fn without_a_restart_the_trial_follows_and_without_a_way_back_it_failed() {
    let (state, actions) = at("installing", false, true).step(Event::Swapped).unwrap();
    assert_eq!((word(&state).as_str(), actions), ("trial", vec![Action::Record, Action::Try]));
    for event in [Event::Unhealthy(failure().into()), Event::RollBack(failure())] {
        let (state, _) = at("trial", true, false).step(event).unwrap();
        let State::Concluded { conclusion, .. } = state else { panic!("it goes on") };
        assert_eq!(conclusion.outcome, Outcome::Failed);
        let text = conclusion.failure.unwrap().to_string();
        assert!(text.contains("what was installed may be there still"), "{text}");
    }
}

#[test]
fn only_a_confirmed_change_ends_well_where_that_is_asked_for() {
    let State::Changing { upgrade, mut change, step } = at("trial", true, true) else { panic!() };
    change.terms.confirm = Confirm::Explicit;
    let state = State::Changing { upgrade, change, step };
    let (_, healthy) = events().into_iter().find(|(name, _)| *name == "healthy").unwrap();
    let refused = state.step(healthy.clone()).unwrap_err();
    let (state, _) = refused.state.step(Event::Confirm("uid 0".into())).unwrap();
    let (state, _) = state.step(healthy).unwrap();
    let State::Concluded { conclusion, .. } = state else { panic!("{state:?}") };
    let evidence = conclusion.evidence.unwrap();
    assert_eq!((evidence.boots, evidence.confirmed_by.as_deref()), (1, Some("uid 0")));
}

#[test]
fn the_restart_back_is_proved_against_the_boot_that_went_back() {
    let event = Event::Reverted { restart_from: Some(origin("boot-2")) };
    let (state, _) = at("reverting", true, true).step(event).unwrap();
    let State::Changing { change, .. } = state else { panic!("{state:?}") };
    assert_eq!(change.origin, origin("boot-2"));
}

#[test]
fn a_daemon_that_starts_goes_on_where_the_last_one_stopped() {
    let found = |boot: &str| Found {
        origin: origin(boot),
        at_path: None,
        staged: false,
        part: false,
        ruling: None,
    };
    for (from, boot, to, action) in [
        ("installing", "boot-1", "installing", Action::Swap),
        ("installing", "boot-2", "installing", Action::Swap),
        ("restarting", "boot-1", "restarting", Action::Restart),
        ("restarting", "boot-2", "trial", Action::Try),
        ("trial", "boot-1", "trial", Action::Try),
        ("trial", "boot-2", "trial", Action::Try),
        ("reverting", "boot-2", "reverting", Action::SwapBack),
        ("restarting-back", "boot-1", "restarting-back", Action::Restart),
        ("restarting-back", "boot-2", "rolled back", Action::Report),
    ] {
        let (state, actions) = at(from, true, true).resume(&found(boot));
        assert_eq!(word(&state), to, "{from} in {boot}");
        assert_eq!(actions.last(), Some(&action), "{from} in {boot}");
    }
    // A restart that never comes ends, and so do boots.
    for (from, to) in [("restarting", "reverting"), ("restarting-back", "rolled back")] {
        let mut state = at(from, true, true);
        let mut asked = 0;
        while word(&state) == from {
            (state, _) = state.resume(&found("boot-1"));
            asked += 1;
        }
        assert_eq!((word(&state).as_str(), asked), (to, MOST_RESTART_REQUESTS), "{from}");
    }
    let (second, _) = at("trial", true, true).resume(&found("boot-2"));
    let (third, _) = second.resume(&found("boot-3"));
    assert_eq!(word(&third), "reverting");
}

#[test]
fn it_is_written_without_the_key_by_which_the_rescue_knows_a_trial() {
    for name in STEPS {
        let state = at(name, true, true);
        let value = serde_json::to_value(&state).unwrap();
        assert!(value.get("swap").is_none() && value.get("change").is_some(), "{value}");
        assert_eq!(serde_json::from_value::<State>(value).unwrap(), state);
        assert!(state.swap().is_none() && state.change().is_some());
        assert_eq!(state.package(), Some(&package()));
    }
}
