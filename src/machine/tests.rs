mod change;
mod resume;

use std::time::Duration;

use super::*;
use crate::model::version::Version;
use crate::model::{
    Countdown, FileDigest, Form, Request, Restart, RunningEvidence, Runs, TransferKind, UpgradeId,
    Uptime,
};

fn upgrade(requester: &str, id: &str) -> Upgrade {
    Upgrade {
        id: UpgradeId(id.into()),
        request: Request::of_link(requester.into(), TransferKind::Ftp),
        component: None,
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
        program_size: None,
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
        bridge: None,
        runs: Runs::Itself,
        form: Form::File,
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
        bridge: None,
        confirmed_by: None,
    }
}

fn deferral(why: &str, seconds: u64) -> Deferral {
    let now = Uptime { boot_id: "before".into(), since_boot: Duration::ZERO };
    let ends = Countdown::begin(Duration::from_secs(seconds), &now);
    Deferral { why: why.into(), staged: "incoming-1-0".into(), ends }
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
        (
            "deferred",
            State::Deferred {
                upgrade: upgrade.clone(),
                package: package(),
                deferral: deferral("held", 100),
            },
        ),
        ("installing", State::Installing { upgrade: upgrade.clone(), swap: swap.clone() }),
        (
            "restarting",
            State::Restarting { upgrade: upgrade.clone(), swap: swap.clone(), requests: 1 },
        ),
        ("trial", trial(upgrade.clone(), swap.clone())),
        (
            "reverting",
            State::Reverting {
                upgrade: upgrade.clone(),
                swap: swap.clone(),
                verdict: verdict.clone(),
            },
        ),
        (
            "restarting-back",
            State::RestartingBack { upgrade: upgrade.clone(), swap, verdict, requests: 1 },
        ),
        ("concluded", State::Concluded { upgrade, conclusion }),
    ]
}

fn events() -> Vec<(&'static str, Event)> {
    vec![
        ("begin", Event::Begin(upgrade("0xed", "second"))),
        ("begin (other requester)", Event::Begin(upgrade("0x2a", "second"))),
        (
            "receive",
            Event::Receive {
                file_name: Some("P_V02.00.00.00.bin".into()),
                component: None,
                from: None,
            },
        ),
        ("kept", Event::Kept),
        ("reception failed", Event::ReceptionFailed),
        ("received", Event::Received { file_name: Some("P_V02.00.00.00.bin".into()) }),
        ("check passed", Event::CheckPassed(package())),
        ("fail", Event::Fail(failure())),
        ("later", Event::Later(deferral("not ready", 50))),
        ("cancel", Event::Cancel(failure())),
        ("start", Event::Start { old: Some(OLD), origin: origin("before"), terms: terms() }),
        ("swapped", Event::Swapped),
        ("swap failed", Event::SwapFailed(failure())),
        ("restarted", Event::Restarted(origin("after"))),
        ("restart failed", Event::RestartFailed(failure())),
        ("healthy", Event::Healthy(evidence())),
        ("unhealthy", Event::Unhealthy(verdict())),
        ("confirm", Event::Confirm("uid 1000".into())),
        ("roll back", Event::RollBack(failure())),
        (
            "go back",
            Event::GoBack {
                upgrade: upgrade("uid 1000", "second"),
                swap: Box::new(swap()),
                failure: failure(),
            },
        ),
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
        Action::DropReceptions => "drop receptions",
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

/// Every transition that is allowed, as the rows of docs/design/machine.md.
fn table() -> String {
    let mut rows = String::from("| state | event | next | actions |\n|---|---|---|---|\n");
    for (from, state) in states() {
        for (name, event) in events() {
            if let Ok((next, actions)) = state.clone().step(event) {
                rows.push_str(&format!(
                    "| {from} | {name} | {} | {} |\n",
                    outcome_of(&next),
                    kebab(&actions)
                ));
            }
        }
    }
    rows
}

#[test]
fn the_documented_table_is_the_code() {
    let document = include_str!("../../docs/design/machine.md");
    assert!(
        document.contains(&table()),
        "docs/design/machine.md does not have this table:\n{}",
        table()
    );
}

#[test]
fn a_state_tells_of_its_upgrade_and_of_what_it_installs() {
    for (name, mut state) in states() {
        let duration = PhaseDuration { phase: Phase::Trial, milliseconds: 7 };
        state.add_duration(duration);
        assert_eq!(
            state.upgrade().map(|upgrade| upgrade.phases.clone()),
            (name != "idle").then(|| vec![duration]),
            "{name}"
        );
        let nothing_known = ["idle", "preparing", "receiving", "checking"].contains(&name);
        assert_eq!(state.package().cloned(), (!nothing_known).then(package), "{name}");
    }
}

#[test]
fn a_step_keeps_what_its_event_tells() {
    let (upgrade, swap, verdict) = (upgrade("0xed", "first"), swap(), verdict());
    let (received, _) = State::Preparing { upgrade: upgrade.clone() }
        .step(Event::Receive {
            file_name: Some("name".into()),
            component: "camera".parse().ok(),
            from: "V01.50.00.00".parse().ok(),
        })
        .unwrap();
    let received = received.upgrade().unwrap();
    assert_eq!(received.file_name.as_deref(), Some("name"));
    assert_eq!(received.component.unwrap().to_string(), "camera");
    assert_eq!(received.from.unwrap().to_string(), "V01.50.00.00");
    let renamed = State::Receiving { upgrade: upgrade.clone() };
    let (renamed, _) = renamed.step(Event::Received { file_name: Some("renamed".into()) }).unwrap();
    assert_eq!(renamed.upgrade().unwrap().file_name.as_deref(), Some("renamed"));
    let reverting = State::Reverting { upgrade, swap, verdict };
    let (back, _) =
        reverting.step(Event::Reverted { restart_from: Some(origin("later")) }).unwrap();
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
                    Event::Receive { .. }
                    | Event::Kept
                    | Event::ReceptionFailed
                    | Event::Received { .. }
                    | Event::Later(_)
                    | Event::Cancel(_)
                    | Event::Start { .. }
                    | Event::Fail(_) => FailureKind::Cancelled,
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

#[test]
fn the_same_requester_may_come_back_over_another_transfer() {
    let mut again = upgrade("0xed", "second");
    again.request.transfer = TransferKind::Dcftp;
    for (name, state) in
        states().into_iter().filter(|(name, _)| ["preparing", "receiving", "ready"].contains(name))
    {
        let (next, _) = state
            .step(Event::Begin(again.clone()))
            .unwrap_or_else(|refused| panic!("{name}: {}", refused.failure));
        assert_eq!(next.upgrade().unwrap().request, again.request, "{name}");
    }
}

#[test]
fn a_new_invocation_is_a_restart_and_none_is_not() {
    let with = |invocation: Option<&str>| Origin {
        boot_id: "b".into(),
        invocation: invocation.map(String::from),
    };
    assert!(with(Some("2")).restarted_since(&with(Some("1"))));
    assert!(with(Some("1")).restarted_since(&with(None)));
    assert!(!with(None).restarted_since(&with(Some("1"))));
    assert!(!with(Some("1")).restarted_since(&with(Some("1"))));
}

/// A version that knew nothing of containers wrote the kernel's id alone, and must not make a
/// restart of that.
#[test]
fn a_start_of_the_container_is_a_restart_and_an_id_without_one_may_be_of_any() {
    let rows = [
        ("a", "a", false),
        ("a", "b", true),
        ("a+1", "a+1", false),
        ("a+1", "a+2", true),
        ("a+1", "b+1", true),
    ];
    let mixed = [
        ("a", "a+1", false),
        ("a+1", "a", false),
        ("a", "b+1", true),
        ("a+1", "b", true),
        ("a", "a+", true),
    ];
    for (before, now, restarted) in rows.into_iter().chain(mixed) {
        assert_eq!(origin(now).restarted_since(&origin(before)), restarted, "{before}, {now}");
        assert_eq!(
            Origin::was_never_restarted(&origin(before), &origin(now), &Restart::Reboot),
            !restarted,
            "{before}, {now}"
        );
    }
}

#[test]
fn each_state_survives_the_journal() {
    for (name, state) in states() {
        let text = serde_json::to_string(&state).unwrap();
        assert_eq!(serde_json::from_str::<State>(&text).unwrap(), state, "{name}");
    }
}

#[test]
fn what_is_put_off_again_lies_where_it_lay_and_waits_no_longer() {
    let ready = State::Ready { upgrade: upgrade("0xed", "first"), package: package() };
    let (deferred, _) = ready.step(Event::Later(deferral("held", 100))).unwrap();
    let again = Deferral { staged: "another".into(), ..deferral("in flight", 1_000) };
    let (again, _) = deferred.step(Event::Later(again)).unwrap();
    assert_eq!(again.deferral(), Some(&deferral("in flight", 100)));
    // What is installed is what was checked last.
    let newer = PackageSummary { trusted_key: "0000000000000007".parse().ok(), ..package() };
    let (again, _) = again.step(Event::CheckPassed(newer.clone())).unwrap();
    let start = Event::Start { old: Some(OLD), origin: origin("before"), terms: terms() };
    assert_eq!(again.step(start).unwrap().0.swap().unwrap().package, newer);
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
