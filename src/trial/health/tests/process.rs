//! What the process of a unit runs, by a process that is there; systemd is not asked.

use std::process::{Child, Command};

use super::*;
use crate::host::unit::Started;

/// What systemd says of the unit before and after the swap.
const BEFORE: &str = "before";
const AFTER: &str = "after";

/// A process, and the unit that it is the main process of: systemd has started it from the
/// program's path after the swap.
struct Running {
    child: Child,
    unit: Unit,
}

impl Running {
    fn from(executable: &Path, story: &Story) -> Self {
        let until = std::time::Instant::now() + Duration::from_secs(10);
        let child = host::command::spawn(Command::new(executable).arg("60"), until).unwrap();
        let started = Started { path: story.terms.program.clone(), pid: child.id() };
        let unit = Unit {
            active_state: "active".into(),
            main_pid: Some(child.id()),
            invocation: Some(AFTER.into()),
            started: Some(started),
            ..Unit::default()
        };
        Self { child, unit }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn story() -> Story {
    let mut story = Story::new(Confirm::Auto, None);
    story.terms.start_before = Some(BEFORE.into());
    story
}

/// The trial of another program than this file, which it has hashed already.
fn trial_beside(executable: &Path, story: &Story) -> Trial {
    let mut trial = story.trial();
    trial.hashed =
        Some((stamp(&executable.metadata().unwrap()), program_digest(&b"other"[..]).unwrap()));
    trial
}

async fn look(trial: &mut Trial, unit: &Unit) -> String {
    match trial.check_process("demo.service", unit).await {
        Ok(()) => "it runs".into(),
        Err(NotRunning::Yet(why)) => why,
        Err(NotRunning::Ever(failure)) => format!("never: {failure}"),
    }
}

#[tokio::test]
async fn what_a_unit_without_a_process_does_is_told() {
    let mut trial = story().trial();
    for (active_state, main_pid, told) in [
        ("activating", None, "it is activating"),
        ("deactivating", Some(1), "it is deactivating"),
        ("active", None, "it is active without a main process"),
    ] {
        let unit = Unit { active_state: active_state.into(), main_pid, ..Unit::default() };
        assert_eq!(look(&mut trial, &unit).await, told);
    }
}

#[tokio::test]
async fn a_program_that_became_another_one_is_given_up_at_the_second_look() {
    let (story, sleep) = (story(), Path::new("/bin/sleep"));
    let mut trial = trial_beside(sleep, &story);
    let running = Running::from(sleep, &story);
    let first = look(&mut trial, &running.unit).await;
    assert!(first.contains("runs another program"), "{first}");
    let second = look(&mut trial, &running.unit).await;
    assert!(second.starts_with("never: ") && second.contains("became that program"), "{second}");
}

/// Whoever starts it otherwise may still start the program itself.
#[tokio::test]
async fn a_process_that_systemd_did_not_start_from_the_path_since_the_swap_became_nothing() {
    let (story, sleep) = (story(), Path::new("/bin/sleep"));
    let running = Running::from(sleep, &story);
    let unit = || running.unit.clone();
    let started = |path: &str, pid| Some(Started { path: path.into(), pid });
    let pid = running.child.id();
    let program = story.terms.program.to_str().unwrap();
    for unit in [
        Unit { invocation: Some(BEFORE.into()), ..unit() },
        Unit { invocation: None, ..unit() },
        Unit { started: None, ..unit() },
        Unit { started: started(program, pid + 1), ..unit() },
        Unit { started: started("/bin/sh", pid), ..unit() },
        Unit { started: started("/nothing", pid), ..unit() },
    ] {
        let mut trial = trial_beside(sleep, &story);
        for _ in 0..3 {
            let told = look(&mut trial, &unit).await;
            assert!(told.contains("runs another program"), "{unit:?}: {told}");
        }
    }
}

/// Between fork and exec.
#[tokio::test]
async fn a_process_that_still_is_systemd_became_nothing() {
    let story = story();
    for name in ["systemd", "systemd-executor"] {
        let executable = story.directory.path().join(name);
        #[allow(clippy::disallowed_methods, reason = "files of a test need not survive anything")]
        std::fs::copy("/bin/sleep", &executable).unwrap();
        let mut trial = trial_beside(&executable, &story);
        let running = Running::from(&executable, &story);
        for _ in 0..3 {
            let told = look(&mut trial, &running.unit).await;
            assert!(told.contains("runs another program"), "{told}");
        }
    }
}

/// A large one takes seconds to read.
#[test]
fn a_file_is_hashed_once_and_another_one_is_not_taken_for_it() {
    let (story, sleep) = (story(), Path::new("/bin/sleep"));
    let mut trial = trial_beside(sleep, &story);
    let stamp_of = |path: &str| stamp(&Path::new(path).metadata().unwrap());
    assert_eq!(trial.hashed_as(stamp_of("/bin/sleep")), trial.hashed.map(|(_, digest)| digest));
    assert_eq!(trial.hashed_as(stamp_of("/bin/true")), None);
    trial.hashed = None;
    assert_eq!(trial.hashed_as(stamp_of("/bin/sleep")), None);
}
