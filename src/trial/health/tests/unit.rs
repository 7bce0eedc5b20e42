//! Trials with a unit, on a model machine and a paused clock: what systemd says of it has to do with
//! the verdict.

use super::*;
use crate::trial::systemctl::{Answer, EXECUTABLE, on};

/// A trial of what every process of the model machine runs.
fn story(health_script: Option<&str>) -> Story {
    let mut story = Story::new(Confirm::Auto, health_script);
    story.terms.unit = Some("p.service".into());
    story
}

/// How it ends, and after how many seconds, where systemd says this of the unit at each look; its
/// number is the look's.
fn ends(
    story: &Story,
    says: impl Fn(usize) -> String + Send + Sync + 'static,
) -> (Result<Evidence, String>, u64) {
    let answer = move |line: &str, before: usize| -> Answer {
        Some(if line.contains(" show ") { Ok(says(before)) } else { Ok(String::new()) })
    };
    let run = async {
        let began = Instant::now();
        let ended = story.run().await.map_err(|verdict| verdict.failure.to_string());
        (ended, began.elapsed().as_secs())
    };
    on(answer, run).0
}

fn runs(invocation: usize, restarts: usize) -> String {
    format!("ActiveState=active\nMainPID=7\nInvocationID={invocation}\nNRestarts={restarts}\n")
}

/// A look is a quarter of a second after the one before it.
const LOOKS_A_SECOND: usize = 4;

#[test]
fn a_program_that_runs_for_the_window_is_verified() {
    assert_eq!(
        Path::new(EXECUTABLE).canonicalize().unwrap(),
        story(None).terms.program.canonicalize().unwrap()
    );
    let (ended, seconds) = ends(&story(None), |_| runs(1, 0));
    let evidence = ended.unwrap();
    assert_eq!((evidence.running, evidence.restarts), (RunningEvidence::Verified, 0));
    assert!((20..30).contains(&seconds), "{seconds}");
}

#[test]
fn each_start_has_a_window_and_a_health_check_of_its_own() {
    let story = story(Some("echo x >>HERE/runs"));
    let restarted_at = 10 * LOOKS_A_SECOND;
    let (ended, seconds) =
        ends(&story, move |look| if look < restarted_at { runs(1, 0) } else { runs(2, 1) });
    assert_eq!(ended.unwrap().restarts, 1);
    assert!((29..40).contains(&seconds), "{seconds}");
    assert_eq!(story.runs(), 1, "in a start that is not stable yet it is not run");
    let (ended, _) = ends(&story, |_| runs(2, 1));
    assert!(ended.is_ok());
}

#[test]
fn what_does_not_run_for_the_window_is_a_verdict_that_tells_of_the_restarts() {
    let restarts_every_five_seconds = |look: usize| {
        let restarts = look / (5 * LOOKS_A_SECOND);
        runs(restarts, restarts)
    };
    let (ended, seconds) = ends(&story(None), restarts_every_five_seconds);
    let told = ended.unwrap_err();
    assert!(
        told.starts_with("p.service was not stable for 20s within 2m, after 2")
            && told.ends_with(" restarts"),
        "{told}"
    );
    assert!(seconds >= 120, "{seconds}");
}

#[test]
fn a_unit_that_systemd_gave_up_is_a_verdict_at_once() {
    let failed = |restarts| format!("ActiveState=failed\nMainPID=0\nNRestarts={restarts}\n");
    for (after, told) in [
        (0, "p.service has failed"),
        (1, "p.service has failed, after 1 restart"),
        (5, "p.service has failed, after 5 restarts"),
    ] {
        let says =
            move |look| if look == 0 { "ActiveState=activating\n".into() } else { failed(after) };
        let (ended, seconds) = ends(&story(None), says);
        assert_eq!((ended.unwrap_err().as_str(), seconds), (told, 0));
    }
}

#[test]
fn the_journal_is_asked_for_the_units_own_name_that_the_last_look_told() {
    let story = story(None);
    let (ended, asked) =
        on(|_, _| Some(Ok("Id=own.service\nActiveState=failed\nMainPID=0\n".into())), story.run());
    assert!(ended.is_err());
    let [look, journal] = &asked[..] else { panic!("{asked:?}") };
    assert!(look.starts_with("systemctl show ") && look.ends_with(" -- p.service"), "{look}");
    assert!(journal.ends_with(" --unit=own.service"), "{journal}");
}

#[test]
fn another_program_in_the_unit_is_a_verdict_that_tells_of_it() {
    let story = story(None);
    let answer = |_: &str, _| -> Answer { Some(Ok(runs(1, 0))) };
    let trial = async {
        let mut trial = story.trial();
        trial.expected = ProgramDigest([9; 32]);
        look(&mut trial).await
    };
    let told = on(answer, trial).0;
    assert!(told.contains("process 7 runs another program"), "{told}");
}

async fn look(trial: &mut Trial) -> String {
    match trial.look().await {
        Ok(None) => "nothing".into(),
        Ok(Some(wait)) => wait.to_string(),
        Err(failure) => failure.to_string(),
    }
}
