//! Trials without a unit, on a paused clock: what the health command and a person have to do with
//! the verdict.

mod process;
mod unit;

use std::sync::{Arc, Mutex};

use tempfile::TempDir;

use tokio::time::sleep;

use super::*;
use crate::model::{Restart, Runs};

/// A trial of a program that is at its path, and what it said it waits for.
struct Story {
    directory: TempDir,
    terms: Terms,
    waits: Arc<Mutex<Vec<TrialWait>>>,
    confirmed: watch::Sender<bool>,
}

impl Story {
    fn new(confirm: Confirm, script: Option<&str>) -> Self {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("program");
        std::os::unix::fs::symlink("/bin/true", &path).unwrap();
        let script =
            script.map(|script| script.replace("HERE", directory.path().to_str().unwrap()));
        let terms = Terms {
            program: path,
            unit: None,
            restart: Restart::Reboot,
            restart_deadline: Duration::from_secs(60),
            window: Duration::from_secs(20),
            deadline: Duration::from_secs(120),
            boots: 3,
            confirm,
            health_command: script.map(|script| vec!["/bin/sh".into(), "-c".into(), script]),
            bridge: None,
            runs: Runs::Itself,
            form: Form::File,
            start_before: None,
        };
        Self { directory, terms, waits: Arc::default(), confirmed: watch::channel(false).0 }
    }

    async fn run(&self) -> Result<Evidence, Verdict> {
        // A user without rights would not find what belongs to this test.
        self.run_as(Isolation::Never).await
    }

    async fn run_as(&self, isolation: Isolation) -> Result<Evidence, Verdict> {
        self.trial().with_isolation(isolation).run().await
    }

    fn trial(&self) -> Trial {
        let program = Program::new(&self.terms.program);
        let expected = program.digest().unwrap().unwrap();
        let waits = Arc::clone(&self.waits);
        let observer = Box::new(move |wait| waits.lock().unwrap().push(wait));
        Trial::new(expected, program, self.terms.clone(), self.confirmed.subscribe(), observer)
    }

    /// How often the health command has said in `HERE/runs` that it ran.
    fn runs(&self) -> usize {
        let runs = std::fs::read_to_string(self.directory.path().join("runs"));
        runs.unwrap_or_default().lines().count()
    }

    fn last_wait(&self) -> Option<String> {
        self.waits.lock().unwrap().last().map(ToString::to_string)
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_unit_the_window_does_not_apply() {
    let story = Story::new(Confirm::Auto, None);
    let began = Instant::now();
    let evidence = story.run().await.unwrap();
    assert_eq!((evidence.running, evidence.restarts), (RunningEvidence::NoUnit, 0));
    assert!(began.elapsed() < story.terms.window);
}

#[tokio::test(start_paused = true)]
async fn another_program_at_the_path_is_not_the_one_on_trial() {
    let story = Story::new(Confirm::Auto, None);
    let other = ProgramDigest([9; 32]);
    let program = Program::new(&story.terms.program);
    let trial = Trial::new(
        other,
        program,
        story.terms.clone(),
        story.confirmed.subscribe(),
        Box::new(|_| {}),
    );
    let verdict = trial.run().await.unwrap_err();
    assert!(
        verdict.failure.sentence.contains("not the one that was installed"),
        "{}",
        verdict.failure
    );
}

#[tokio::test(start_paused = true)]
async fn a_health_command_that_fails_is_tried_again() {
    let story = Story::new(Confirm::Auto, Some("echo x >>HERE/runs; [ $(wc -l <HERE/runs) = 4 ]"));
    let evidence = story.run().await.unwrap();
    assert_eq!(evidence.health_command, story.terms.health_command);
    assert_eq!(story.runs(), 4, "once it succeeded it is not run again");
    assert_eq!(
        story.last_wait().unwrap(),
        "waits for the health command: it ended with exit code 1"
    );
}

#[tokio::test(start_paused = true)]
async fn a_health_command_that_never_succeeds_is_a_verdict_at_the_deadline() {
    let story = Story::new(Confirm::Auto, Some("echo the sensor is missing; exit 7"));
    let began = Instant::now();
    let verdict = story.run().await.unwrap_err();
    assert!(began.elapsed() >= story.terms.deadline);
    assert_eq!(verdict.failure.kind, FailureKind::Unhealthy);
    let text = verdict.failure.to_string();
    assert_eq!(
        text,
        "the health command did not succeed within 2m: it ended with exit code 7 (it printed \"the sensor is missing\")"
    );
}

#[tokio::test(start_paused = true)]
async fn a_health_command_that_fails_has_a_second_before_it_is_tried_again() {
    let mut story = Story::new(Confirm::Auto, Some("echo x >>HERE/runs; exit 1"));
    story.terms.deadline = Duration::from_secs(8);
    story.run().await.unwrap_err();
    assert!(story.runs() <= 8, "{}", story.runs());
}

#[tokio::test(start_paused = true)]
async fn a_last_run_that_could_not_end_does_not_hide_why_the_others_failed() {
    let script = "[ -e HERE/runs ] && sleep 60; echo x >>HERE/runs; echo no sensor; exit 7";
    let mut story = Story::new(Confirm::Auto, Some(script));
    story.terms.deadline = Duration::from_millis(1500);
    let verdict = story.run().await.unwrap_err();
    assert!(verdict.failure.to_string().contains("no sensor"), "{}", verdict.failure);
}

/// Where nobody can isolate it, it is not run.
#[tokio::test(start_paused = true)]
async fn a_health_command_that_is_to_be_isolated_never_has_the_rights_of_the_daemon() {
    let mut story = Story::new(Confirm::Auto, Some("echo x >>HERE/runs"));
    story.terms.deadline = Duration::from_secs(1);
    let verdict = story.run_as(Isolation::Always).await.unwrap_err();
    assert!(verdict.failure.sentence.contains("the health command"), "{}", verdict.failure);
    assert_eq!(story.runs(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_trial_waits_until_a_person_confirms() {
    let story = Story::new(Confirm::Explicit, Some("true"));
    let confirm = async {
        sleep(Duration::from_secs(60)).await;
        assert_eq!(story.last_wait().unwrap(), "waits for `uplift confirm`");
        story.confirmed.send_replace(true);
    };
    let (ended, ()) = tokio::join!(story.run(), confirm);
    assert!(ended.is_ok());
}

#[tokio::test(start_paused = true)]
async fn nobody_confirms() {
    let story = Story::new(Confirm::Explicit, None);
    let verdict = story.run().await.unwrap_err();
    assert_eq!(
        verdict.failure.to_string(),
        "nobody confirmed within 2m that the new program works"
    );
}

#[tokio::test(start_paused = true)]
async fn a_confirmation_does_not_replace_what_the_trial_sees() {
    let story = Story::new(Confirm::Explicit, Some("false"));
    story.confirmed.send_replace(true);
    let verdict = story.run().await.unwrap_err();
    assert!(verdict.failure.sentence.contains("the health command"), "{}", verdict.failure);
}
