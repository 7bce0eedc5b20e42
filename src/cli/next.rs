//! What a person can do next, from a status. Pure; nothing where there is nothing to do.

use crate::cli::paint::plain;
use crate::model::{CurrentUpgrade, Phase, Report, Status, TrialWait};

const RELEASE: &str = "`uplift release` ends the hold";

/// The steps, the most urgent one first, each a line.
pub(super) fn steps(status: &Status) -> Vec<String> {
    let mut steps = match &status.upgrade {
        Some(upgrade) => during(status, upgrade),
        None => between(status),
    };
    if status.channels.iter().any(|channel| channel.unsealed) {
        steps.push(
            "before you ship: add a trusted key to [[package.keys]], and take `unsealed` out"
                .to_owned(),
        );
    }
    steps
}

/// While an upgrade is under way.
fn during(status: &Status, upgrade: &CurrentUpgrade) -> Vec<String> {
    if let Some(TrialWait::Confirmation {}) = upgrade.waits_for {
        let choice = "`uplift confirm` if the new program works, `uplift rollback` if it does not";
        return vec![choice.to_owned()];
    }
    if status.phase == Phase::Deferred {
        return put_off(status);
    }
    upgrade.failure.iter().map(|failure| plain(failure.hint())).collect()
}

/// Where only the payload itself is not ready there is nothing to do but wait.
fn put_off(status: &Status) -> Vec<String> {
    let policy = &status.policy;
    let is_closed = policy.window.as_ref().is_some_and(|window| !window.open);
    let held = policy.hold.as_ref().map(|_| RELEASE);
    let closed = is_closed
        .then_some("wait for the window, or insist with `uplift install --force` and the file");
    [held, closed].into_iter().flatten().map(str::to_owned).collect()
}

/// While nothing is under way.
fn between(status: &Status) -> Vec<String> {
    let mut steps = Vec::new();
    if status.policy.hold.is_some() {
        steps.push(RELEASE.to_owned());
    }
    let is_missing = status
        .components
        .iter()
        .any(|one| one.path.is_some() && one.digest.is_none() && !one.looking);
    if is_missing {
        steps.push("`uplift install` with a firmware file installs the first program".to_owned());
    }
    // Whoever took the program back knows what he wanted.
    let failed = status.last.as_ref().filter(|report| !report.is_taken_back());
    steps.extend(failed.and_then(of_failure));
    steps
}

fn of_failure(report: &Report) -> Option<String> {
    report.failure.as_ref().map(|failure| plain(failure.hint()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// A status with these fields instead of those of a payload where all is well.
    fn of(different: Value) -> Vec<String> {
        let mut status = json!({
            "schema": 1,
            "phase": "idle",
            "components": [{
                "component": "program", "product": "P", "path": "/p", "version": "V01.00.00.00",
                "digest": "0".repeat(64),
            }],
            "upgrade": null, "unacknowledged": [], "last": null, "notices": [],
            "link": {
                "device": "", "state": "disabled", "baud": null, "aircraft_type": null, "notice": null,
            },
        });
        let Value::Object(different) = different else { panic!("not an object") };
        status.as_object_mut().unwrap().extend(different);
        steps(&serde_json::from_value(status).unwrap())
    }

    fn upgrade(different: Value) -> Value {
        let mut upgrade = json!({
            "id": "1", "progress": {"done": 0, "total": 0}, "package": null, "seconds_left": null,
            "request": {"channel": "hawkbit", "requester": "x", "transfer": "hand-over"},
        });
        let Value::Object(different) = different else { panic!("not an object") };
        upgrade.as_object_mut().unwrap().extend(different);
        upgrade
    }

    fn report(outcome: &str, kind: &str) -> Value {
        json!({
            "id": "1", "from": null, "package": null, "outcome": outcome, "evidence": null,
            "failure": {"kind": kind, "sentence": "no"}, "began": "", "ended": "", "phases": [],
            "request": {"channel": "shell", "requester": "uid 0", "transfer": "local"},
        })
    }

    #[test]
    fn where_all_is_well_there_is_nothing_to_do() {
        assert!(of(json!({})).is_empty());
        assert!(of(json!({"phase": "receiving", "upgrade": upgrade(json!({}))})).is_empty());
        assert!(of(json!({"last": report("rolled-back", "cancelled")})).is_empty());
    }

    #[test]
    fn after_a_failure_it_is_the_hint() {
        let hint = crate::model::FailureKind::Unhealthy.hint();
        assert_eq!(of(json!({"last": report("rolled-back", "unhealthy")})), [hint]);
        let again = upgrade(json!({"failure": {"kind": "wrong-product", "sentence": "no"}}));
        let said = of(json!({"phase": "preparing", "upgrade": again}));
        assert_eq!(said, [crate::model::FailureKind::WrongProduct.hint()]);
    }

    #[test]
    fn what_waits_for_a_person_says_for_what() {
        let confirm = upgrade(json!({"waits_for": {"what": "confirmation"}}));
        let said = of(json!({"phase": "trial", "upgrade": confirm}));
        assert!(said[0].starts_with("`uplift confirm`"), "{said:?}");
        let hold = json!({"by": "uid 0", "began": ""});
        let window = json!({"utc": ["02:00-05:00"], "open": false, "clock_trusted": true});
        let held = json!({"policy": {"hold": hold, "window": window}});
        assert_eq!(of(held.clone()), [RELEASE]);
        let mut deferred = json!({"phase": "deferred", "upgrade": upgrade(json!({}))});
        deferred["policy"] = held["policy"].clone();
        let said = of(deferred);
        assert!(said.len() == 2 && said[1].starts_with("wait for the window"), "{said:?}");
    }

    #[test]
    fn what_a_lab_does_not_need_is_needed_in_the_field() {
        let channel =
            json!({"name": "hawkbit", "state": "works", "sentence": "", "unsealed": true});
        let said = of(json!({"channels": [channel]}));
        assert!(said.len() == 1 && said[0].starts_with("before you ship"), "{said:?}");
    }

    #[test]
    fn without_a_program_one_is_installed() {
        let component = json!({"component": "program", "product": "P", "path": "/p", "version": null, "digest": null});
        assert!(of(json!({"components": [component]}))[0].starts_with("`uplift install`"));
    }
}
