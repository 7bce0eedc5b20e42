//! apt-get, on the machine's own packages. What it installs here is purged at the end.

use std::fs;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard};

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use uplift::model::{FailureKind, Outcome, Phase};
use uplift_sim::sandbox::wait_for_file;

use crate::payload::{Payload, alone, assert_succeeded, words};
use crate::watched::Watched as _;

/// The lock of dpkg is waited for; that of the cache is not.
static ONE: Mutex<()> = Mutex::new(());

/// A payload with the package of V01.00.00.00, which is kept to go back to.
struct Story {
    payload: Payload,
    package: Installed,
    _one: MutexGuard<'static, ()>,
}

/// The name of a package that is this test's alone; dropped, it is purged.
struct Installed(String);

impl Drop for Installed {
    fn drop(&mut self) {
        let arguments = ["purge", "--yes", "-qq", "-o", "DPkg::Lock::Timeout=120", &self.0];
        let _ = apt_get(&arguments).output();
    }
}

fn apt_get(arguments: &[&str]) -> Command {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive").args(arguments);
    command
}

impl Story {
    fn new(more: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let one = alone(&ONE);
        let mut payload = Payload::of("apt");
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("uplift-test-payload-{}-{count}", std::process::id());
        payload.replace("payload-application", &name);
        let mut story = Self { payload, package: Installed(name), _one: one };
        story.build("kept.deb", "1.0.0.0", "true");
        let kept = story.payload.path("kept.deb");
        let arguments = ["install", "--yes", "-qq", "-o", "DPkg::Lock::Timeout=120"];
        let installed = apt_get(&arguments).arg(kept).output().unwrap();
        assert!(installed.status.success(), "{installed:?}");
        story.payload.start(more);
        assert_eq!(story.payload.told(), "V01.00.00.00");
        story
    }

    /// Makes a package with this `postinst`.
    fn build(&self, file: &str, version: &str, postinst: &str) {
        let name = &self.package.0;
        let content = self.payload.path("content");
        let own = content.join("usr/lib").join(name);
        for directory in [&content.join("DEBIAN"), &own] {
            fs::create_dir_all(directory).unwrap();
        }
        fs::write(own.join("version"), version).unwrap();
        let control = format!(
            "Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: Test <test@example.org>\nDescription: test\n"
        );
        fs::write(content.join("DEBIAN/control"), control).unwrap();
        let script = format!("#!/bin/sh\n{postinst}\n");
        let path = content.join("DEBIAN/postinst");
        uplift_fixtures::executable::write(&path, script.as_bytes()).unwrap();
        self.payload.run("dpkg-deb", &["--root-owner-group", "--build", "content", file]);
        fs::remove_dir_all(content).unwrap();
    }

    /// What dpkg says of the package.
    fn status(&self) -> String {
        let format = ["-W", "-f", "${db:Status-Status} ${Version}", &self.package.0];
        self.payload.run("dpkg-query", &format)
    }
}

#[test]
fn a_package_is_installed_and_one_of_the_same_version_under_a_higher_name_goes_back() {
    let story = Story::new("trial = { deadline = \"2s\" }");
    story.build("new.deb", "2.0.0.0", "true");
    assert_succeeded(&story.payload.upgrade("new.deb", "V02.00.00.00"));
    assert_eq!(story.payload.told(), "V02.00.00.00");
    assert_eq!(story.status(), "installed 2.0.0.0");
    // apt-get says that all is well, and has done nothing.
    let report = story.payload.upgrade("new.deb", "V03.00.00.00");
    assert_eq!(report.outcome, Outcome::RolledBack, "{report:?}");
    assert_eq!(report.failure.as_ref().unwrap().kind, FailureKind::Unhealthy);
    let words = words(&report);
    assert!(words.contains("V02.00.00.00 is told, not V03.00.00.00"), "{words}");
    assert_eq!(story.status(), "installed 1.0.0.0");
}

#[test]
fn a_package_that_can_not_be_configured_goes_back_to_the_one_that_was_kept() {
    let story = Story::new("");
    story.build("broken.deb", "2.0.0.0", "echo 'the modem does not answer'; exit 1");
    let report = story.payload.upgrade("broken.deb", "V02.00.00.00");
    assert_eq!(report.outcome, Outcome::RolledBack, "{report:?}");
    let words = words(&report);
    for part in ["exit code 100", "the modem does not answer", "returned an error code"] {
        assert!(words.contains(part), "{part}: {words}");
    }
    assert_eq!(story.payload.told(), "V01.00.00.00");
    assert_eq!(story.status(), "installed 1.0.0.0");
}

#[test]
fn a_package_that_restarts_the_daemon_in_the_middle_succeeds() {
    let mut story = Story::new("");
    let path = |name: &str| story.payload.path(name).to_str().unwrap().to_owned();
    let (go_on, killed) = (path("go-on"), path("killed"));
    mkfifo(&*go_on, Mode::from_bits_truncate(0o600)).unwrap();
    let daemon = story.payload.sandbox.daemon_pid().unwrap();
    let postinst = format!("kill -9 {daemon}; echo >{killed}; read x <{go_on}");
    story.build("new.deb", "2.0.0.0", &postinst);
    let client = story.payload.install("new.deb", "V02.00.00.00");
    wait_for_file(killed.as_ref()).unwrap();
    story.payload.sandbox.kill_daemon(); // the dead one is cleared away
    story.payload.sandbox.start_daemon().unwrap();
    assert_eq!(story.payload.sandbox.status().unwrap().phase, Phase::Installing);
    fs::write(go_on, "\n").unwrap();
    assert_succeeded(&story.payload.report(client));
    assert_eq!(story.status(), "installed 2.0.0.0");
}
