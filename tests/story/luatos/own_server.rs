//! A file on a web server of one's own: Debian's nginx and Python's. What was installed, or failed,
//! is not fetched again, whatever restarts.

use std::fs;
use std::path::PathBuf;

use uplift::model::{ChannelState, FailureKind, Outcome};

use super::{asks_anew, payload, reported, says, sections, signer};
use crate::world::payload::{NEW, OLD, Payload};
use crate::world::web::nginx::{Nginx, Way};
use crate::world::web::python::Python;
use uplift_sim::signer::Signer;

const FILE: &str = "payload.bin";

/// A web server that writes down what it was asked.
struct Web<'a> {
    url: String,
    files: PathBuf,
    log: &'a dyn Fn() -> String,
}

impl Web<'_> {
    /// Answers with the file, and answers that there is nothing new.
    fn answers(&self) -> (usize, usize) {
        let log = (self.log)();
        let count = |status: &str| log.matches(&format!("\" {status} ")).count();
        (count("200"), count("304"))
    }

    fn payload(&self, signer: &Signer) -> Payload {
        let mode = format!("mode = \"verbatim\"\nurl = \"SERVER/{FILE}\"\n");
        payload(Payload::setup(), &sections(&mode, &self.url, signer))
    }

    /// Whatever restarts, the file is not sent again: the server hears what is known, and says 304.
    /// Whatever the machine of the test has been through, its payload's was started an hour ago: what was
    /// refused is settled for a week of that clock.
    fn payload_of_an_hour(&self, signer: &Signer) -> Payload {
        let mut payload = self.payload(signer);
        let uptime = fs::read_to_string("/proc/uptime").unwrap();
        let seconds: i64 = uptime.split('.').next().unwrap().parse().unwrap();
        let offset = (3600 - seconds).to_string();
        payload.wrap_channels(&[
            "unshare",
            "--time",
            "--fork",
            "--kill-child",
            "--boottime",
            &offset,
        ]);
        payload
    }

    #[track_caller]
    fn sends_no_more(&self, payload: &mut Payload) {
        let (sent, not_sent) = self.answers();
        let mut asked = not_sent;
        let restarts: [fn(&mut Payload); 2] = [asks_anew, Payload::reboot];
        for restart in restarts {
            restart(payload);
            payload.wait_for("304", || self.answers().1 > asked);
            asked = self.answers().1;
        }
        says(payload, ChannelState::Works, "no other file than the last one");
        assert_eq!(self.answers().0, sent, "{}", (self.log)());
        assert_eq!(payload.history().len(), 1);
    }
}

/// The same for each server.
fn with_each(story: impl Fn(&Web<'_>)) {
    let nginx = Nginx::start(None);
    let log = || nginx.log();
    let url = format!("http://{}", nginx.address(Way::Plain));
    story(&Web { url, files: nginx.files(), log: &log });
    let python = Python::start();
    let log = || python.log();
    let url = format!("http://{}", python.address);
    story(&Web { url, files: python.files(), log: &log });
}

#[test]
fn lu_3_a_file_that_was_installed_is_never_fetched_again() {
    with_each(|web| {
        let signer = signer();
        let mut payload = web.payload(&signer);
        let firmware = payload.new_firmware();
        signer.seal_file(&firmware).unwrap();
        fs::copy(firmware, web.files.join(FILE)).unwrap();
        payload.start_channels().unwrap();
        payload.restart_when_asked();
        assert_eq!(reported(&payload).outcome, Outcome::Succeeded);
        assert_eq!(payload.reported_version().unwrap(), NEW);
        payload.wait_for("304", || web.answers().1 > 0);
        // It was found and fetched, and may be found again before the verdict on it.
        assert!((2..=3).contains(&web.answers().0), "{}", (web.log)());
        web.sends_no_more(&mut payload);
    });
}

#[test]
fn lu_3_a_file_that_failed_is_not_fetched_again_until_it_is_another_one() {
    with_each(|web| {
        let signer = signer();
        let mut payload = web.payload_of_an_hour(&signer);
        let firmware = payload.new_firmware();
        fs::copy(&firmware, web.files.join(FILE)).unwrap();
        payload.start_channels().unwrap();
        assert_eq!(reported(&payload).failure.unwrap().kind, FailureKind::SealMissing);
        payload.wait_for("304", || web.answers().1 > 0);
        assert_eq!(web.answers().0, 2, "{}", (web.log)());
        web.sends_no_more(&mut payload);
        assert_eq!(payload.reported_version().unwrap(), OLD);
        // Sealed, it is another one.
        signer.seal_file(&firmware).unwrap();
        fs::copy(&firmware, web.files.join("new")).unwrap();
        fs::rename(web.files.join("new"), web.files.join(FILE)).unwrap();
        asks_anew(&mut payload);
        payload.restart_when_asked();
        assert_eq!(reported(&payload).outcome, Outcome::Succeeded);
    });
}

#[test]
fn lu_5_no_file_is_nothing_to_install() {
    with_each(|web| {
        let mut payload = web.payload(&signer());
        payload.start_channels().unwrap();
        says(&payload, ChannelState::Works, "the server has no file (HTTP 404)");
    });
}
