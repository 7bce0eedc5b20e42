//! Trials of what another updater installed, on a paused clock: what the commands and a person have
//! to do with the verdict.

use std::sync::{Arc, Mutex};

use tempfile::TempDir;

use super::*;
use crate::model::Restart;

/// A trial of V02.00.00.00, and what it said it waits for.
struct Story {
    directory: TempDir,
    terms: ChangeTerms,
    waits: Arc<Mutex<Vec<String>>>,
    confirmed: watch::Sender<bool>,
}

impl Story {
    fn new() -> Self {
        let terms = ChangeTerms {
            install: Vec::new(),
            revert: None,
            unchanged_exit_codes: Vec::new(),
            command_deadline: Duration::from_secs(60),
            restart: None,
            restart_deadline: Duration::from_secs(60),
            version_command: None,
            health_command: None,
            deadline: Duration::from_secs(120),
            boots: 3,
            confirm: Confirm::Auto,
            begins_again: false,
            read_back: false,
        };
        let directory = TempDir::new().unwrap();
        Self { directory, terms, waits: Arc::default(), confirmed: watch::channel(false).0 }
    }

    /// A shell script as a command; `HERE` is a directory of its own, and `N` how often it ran.
    fn script(&self, script: &str) -> Option<Vec<String>> {
        let count = "echo x >>HERE/runs; N=$(wc -l <HERE/runs)";
        let script = format!("{count}; {script}");
        let script = script.replace("HERE", self.directory.path().to_str().unwrap());
        Some(vec!["/bin/sh".into(), "-c".into(), script])
    }

    /// How it ends, and whether the deadline was over by then.
    async fn run(&self) -> (Result<Evidence, String>, bool) {
        let waits = Arc::clone(&self.waits);
        let observer =
            Box::new(move |wait: TrialWait| waits.lock().unwrap().push(wait.to_string()));
        let way = Way { isolation: Isolation::Never, version_deadline: Duration::from_secs(10) };
        let version = "V02.00.00.00".parse().unwrap();
        let confirmed = self.confirmed.subscribe();
        let began = Instant::now();
        let ended = Trial::new(version, self.terms.clone(), way, confirmed, observer).run().await;
        let is_late = began.elapsed() >= self.terms.deadline;
        (ended.map_err(|verdict| verdict.failure.to_string()), is_late)
    }
}

#[tokio::test(start_paused = true)]
async fn the_updater_s_word_is_all_that_there_is_where_nothing_tells_the_version() {
    let (ended, _) = Story::new().run().await;
    let evidence = ended.unwrap();
    assert_eq!(evidence.running, RunningEvidence::UpdaterSays);
    assert!(!evidence.restarted && !evidence.digest_at_path);
}

#[tokio::test(start_paused = true)]
async fn the_version_that_is_told_in_the_end_is_evidence() {
    let mut story = Story::new();
    story.terms.restart = Some(Restart::Reboot);
    story.terms.version_command =
        story.script("[ $N = 3 ] && echo V02.00.00.00 || echo V01.00.00.00");
    let (ended, _) = story.run().await;
    let evidence = ended.unwrap();
    assert_eq!(evidence.running, RunningEvidence::VersionTold);
    assert!(evidence.restarted);
    let waits = story.waits.lock().unwrap();
    assert_eq!(waits.len(), 2, "{waits:?}");
    assert!(waits[0].contains("V01.00.00.00 is told, not V02.00.00.00"), "{waits:?}");
}

#[tokio::test(start_paused = true)]
async fn another_version_is_a_verdict_at_the_deadline() {
    for (script, why) in [
        ("echo V01.00.00.00", "V01.00.00.00 is told, not V02.00.00.00"),
        ("echo no version", "no version"),
        ("exit 3", "exit code 3"),
    ] {
        let mut story = Story::new();
        story.terms.deadline = Duration::from_secs(5);
        story.terms.version_command = story.script(script);
        let (ended, is_late) = story.run().await;
        let told = ended.unwrap_err();
        assert!(told.starts_with("V02.00.00.00 was not told within 5s: "), "{told}");
        assert!(is_late && told.contains(why), "{told}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_health_command_that_fails_is_tried_again_until_the_deadline() {
    let mut story = Story::new();
    story.terms.deadline = Duration::from_secs(5);
    story.terms.health_command = story.script("[ $N = 3 ] || { echo no modem; exit 7; }");
    assert!(story.run().await.0.is_ok());
    let (ended, is_late) = story.run().await;
    assert_eq!(
        ended.unwrap_err(),
        "the health command did not succeed within 5s: it ended with exit code 7 (it printed \"no modem\")"
    );
    assert!(is_late);
}

#[tokio::test(start_paused = true)]
async fn a_person_confirms_or_does_not() {
    let mut story = Story::new();
    story.terms.confirm = Confirm::Explicit;
    let (ended, is_late) = story.run().await;
    let told = ended.unwrap_err();
    assert_eq!(told, "nobody confirmed within 2m that V02.00.00.00 works");
    assert!(is_late);
    story.confirmed.send_replace(true);
    let (ended, is_late) = story.run().await;
    assert!(ended.is_ok() && !is_late);
}
