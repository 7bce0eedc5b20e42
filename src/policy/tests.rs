use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::config::Config;
use crate::disk::LocalDisk;

const MOMENTS: [Moment; 3] = [Moment::Begin, Moment::Install, Moment::Restart];

fn config(root: &Path, policy: &str) -> Config {
    let root = root.display();
    let text = format!(
        "[component.program]\npath = \"{root}/bin/p\"\nproduct = \"P\"\n[policy]\n{policy}\n\
         [paths]\nstate = \"{root}\"\nboot_id = \"{root}/boot_id\"\n"
    );
    Config::parse(&text, Path::new("uplift.toml")).unwrap()
}

/// The policy of these lines.
fn policy(lines: &str) -> Policy {
    config(Path::new("/nowhere"), lines).policy
}

fn held() -> HoldStatus {
    HoldStatus {
        by: "uid 7".into(),
        reason: Some("in the air".into()),
        began: "now".into(),
        seconds_left: Some(100),
    }
}

fn at(hour: u64) -> Option<Duration> {
    Some(Duration::from_secs(hour * 60 * 60))
}

fn later(answer: Answer) -> Later {
    match answer {
        Answer::Later(later) => later,
        answer => panic!("{answer:?}"),
    }
}

#[test]
fn without_a_policy_all_may_begin() {
    for moment in MOMENTS {
        assert_eq!(ask(&policy(""), moment, &Facts::default()), Answer::Now);
    }
}

#[test]
fn a_hold_keeps_all_from_their_next_step_but_who_insists() {
    for moment in MOMENTS {
        let facts = Facts { hold: Some(held()), ..Facts::default() };
        let told = later(ask(&policy(""), moment, &facts));
        assert_eq!(told.why, "upgrades are held by uid 7: in the air");
        assert_eq!(told.look_again, Duration::from_secs(101), "it has ended by then");
        let forced = Facts { forced: true, ..facts };
        assert_eq!(ask(&policy(""), moment, &forced), Answer::Now);
    }
    let failure = Failure::from(later(ask(
        &policy(""),
        Moment::Begin,
        &Facts { hold: Some(held()), ..Facts::default() },
    )));
    assert_eq!(failure.kind, FailureKind::NotNow);
    assert!(failure.hint().contains("uplift release"), "{failure:?}");
}

#[test]
fn a_window_keeps_from_beginning_and_from_installing_and_not_from_a_restart() {
    let policy = policy("window_utc = [\"02:00-05:00\", \"22:00-23:00\"]");
    let asked = |moment, time| ask(&policy, moment, &Facts { time, ..Facts::default() });
    for moment in [Moment::Begin, Moment::Install] {
        assert_eq!(asked(moment, at(4)), Answer::Now);
        assert_eq!(asked(moment, at(22)), Answer::Now);
        let told = later(asked(moment, at(5)));
        assert_eq!(told.why, "the window 02:00-05:00, 22:00-23:00 UTC is closed");
        assert_eq!(told.look_again, LOOK_AT_WINDOW, "somebody may set the clock");
        let soon = Some(Duration::from_secs(2 * 60 * 60 - 7));
        assert_eq!(later(asked(moment, soon)).look_again, Duration::from_secs(7));
    }
    assert_eq!(asked(Moment::Restart, at(5)), Answer::Now);
}

#[test]
fn a_clock_that_can_not_be_trusted_closes_the_window() {
    let policy = policy("window_utc = [\"00:00-23:59\"]");
    let told = later(ask(&policy, Moment::Begin, &Facts::default()));
    assert!(told.why.contains("the clock was not set since the boot"), "{told:?}");
    assert_eq!(ask(&policy, Moment::Restart, &Facts::default()), Answer::Now);
}

#[test]
fn a_payload_that_is_not_ready_is_left_alone_at_each_moment() {
    for moment in MOMENTS {
        let ready = |ready| Facts { ready: Some(ready), ..Facts::default() };
        assert_eq!(ask(&policy(""), moment, &ready(Ok(()))), Answer::Now);
        let told = later(ask(&policy(""), moment, &ready(Err("in flight".into()))));
        assert_eq!(told.why, "the payload is not ready: in flight");
    }
}

#[test]
fn too_little_space_is_no_matter_of_time_nor_of_insisting() {
    let policy = policy("min_free_space = 1000");
    for forced in [false, true] {
        for moment in [Moment::Begin, Moment::Install] {
            let facts = |free| Facts { forced, hold: None, free: Some(free), ..Facts::default() };
            assert_eq!(ask(&policy, moment, &facts(1000)), Answer::Now);
            let Answer::No(failure) = ask(&policy, moment, &facts(999)) else { panic!() };
            assert_eq!(failure.kind, FailureKind::NoSpace);
        }
    }
}

/// A payload's directory, with a boot of its own.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        place.boots("first");
        place
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn boots(&self, boot: &str) {
        self.write("boot_id", boot);
    }

    fn write(&self, name: &str, text: &str) {
        let mut file = std::fs::File::create(self.path().join(name)).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    fn gatekeeper(&self, lines: &str) -> Gatekeeper {
        let lines = lines.replace("ROOT", self.path().to_str().unwrap());
        Gatekeeper::open(Arc::new(LocalDisk), &config(self.path(), &lines))
    }
}

#[test]
fn a_hold_outlives_the_daemon_and_the_boot_and_ends_by_release() {
    let place = Place::new();
    let first = place.gatekeeper("");
    assert!(!first.is_to_be_asked());
    first.hold("uid 7".into(), Some("x".repeat(1000)), None).unwrap();
    place.boots("second");
    let second = place.gatekeeper("");
    let hold = second.status().hold.unwrap();
    assert_eq!((hold.by.as_str(), hold.seconds_left), ("uid 7", None));
    assert_eq!(hold.reason.unwrap().len(), 200);
    assert!(second.is_to_be_asked() && second.renew_in().is_none());
    assert!(matches!(second.ask(Moment::Begin, false), Answer::Later(_)));
    assert_eq!(second.release().unwrap().unwrap().by, "uid 7");
    assert_eq!(second.release().unwrap(), None);
    place.write("hold.json.new", "what a killed daemon had begun to write");
    let third = place.gatekeeper("");
    assert_eq!(third.ask(Moment::Begin, false), Answer::Now);
    third.tidy();
    assert!(!place.path().join("hold.json.new").exists());
}

#[test]
fn a_hold_for_a_time_ends_by_itself() {
    let place = Place::new();
    let gatekeeper = place.gatekeeper("");
    gatekeeper.hold("uid 7".into(), None, Some(Duration::from_secs(3600))).unwrap();
    assert!(!gatekeeper.renew().unwrap());
    assert!(gatekeeper.renew_in().unwrap() <= Gatekeeper::RENEWAL);
    let left = gatekeeper.status().hold.unwrap().seconds_left.unwrap();
    assert!((3500..=3600).contains(&left), "{left}");
    // Another boot goes on from there, and writes that down.
    place.boots("second");
    let second = place.gatekeeper("");
    let before = std::fs::read(place.path().join("hold.json")).unwrap();
    assert!(!second.renew().unwrap());
    assert_ne!(std::fs::read(place.path().join("hold.json")).unwrap(), before);
    // One that is over is none, even before anybody has looked.
    second.hold("uid 7".into(), None, Some(Duration::ZERO)).unwrap();
    assert!(second.status().hold.is_none() && !second.is_to_be_asked());
    assert!(second.renew().unwrap());
    assert!(!place.path().join("hold.json").exists());
}

#[test]
fn the_payload_says_why_it_is_not_ready() {
    let place = Place::new();
    let ready = |script: &str| {
        let lines = format!(
            "isolate_commands = \"never\"\nready_deadline = \"20s\"\nready_command = [\"/bin/sh\", \"-c\", {script:?}]"
        );
        place.gatekeeper(&lines).ask(Moment::Begin, false)
    };
    assert_eq!(ready("true"), Answer::Now);
    for (script, why) in [
        ("echo; echo in flight; echo more; exit 1", "the payload is not ready: \"in flight\""),
        ("exit 3", "the payload is not ready: `/bin/sh` ended with exit code 3"),
    ] {
        assert_eq!(later(ready(script)).why, why);
    }
    let forced = place.gatekeeper("ready_command = [\"/bin/false\"]").ask(Moment::Install, true);
    assert_eq!(forced, Answer::Now);
    let missing = place.gatekeeper("isolate_commands = \"never\"\nready_command = [\"/nowhere\"]");
    assert!(later(missing.ask(Moment::Begin, false)).why.contains("`/nowhere`: "));
}

#[test]
fn a_file_says_that_the_clock_was_set() {
    let place = Place::new();
    let lines = "window_utc = [\"00:00-12:00\", \"12:00-00:00\"]\nclock_file = \"ROOT/clock\"";
    let gatekeeper = place.gatekeeper(lines);
    let told = later(gatekeeper.ask(Moment::Begin, false));
    assert!(told.why.contains("clock was not set"), "{told:?}");
    let window = gatekeeper.status().window.unwrap();
    assert_eq!((window.open, window.clock_trusted), (false, false));
    assert!(window.to_string().ends_with("closed, because the clock can't be trusted"));
    place.write("clock", "");
    assert_eq!(gatekeeper.ask(Moment::Begin, false), Answer::Now);
    assert!(gatekeeper.status().window.unwrap().open);
    let trusted =
        place.gatekeeper(&format!("clock = \"trusted\"\n{}", lines.replace("clock\"", "none\"")));
    assert_eq!(trusted.ask(Moment::Begin, false), Answer::Now);
}

#[test]
fn space_is_looked_for_where_firmware_and_state_lie() {
    let place = Place::new();
    let huge = u64::MAX / 2;
    let Answer::No(failure) =
        place.gatekeeper(&format!("min_free_space = {huge}")).ask(Moment::Begin, true)
    else {
        panic!()
    };
    assert!(failure.sentence.contains(&format!("`min_free_space` wants {huge}")), "{failure}");
    assert_eq!(place.gatekeeper("min_free_space = 1").ask(Moment::Begin, false), Answer::Now);
}
