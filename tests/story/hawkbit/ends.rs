//! How an action ends that does not go well.

use std::fs;

use uplift::model::Outcome;
use uplift_sim::cloud::hawkbit::{Deployment, Options};

use super::site::{DEVICE, Site, chunk};
use crate::world::clock;
use crate::world::payload::{NEW, OLD, Payload};

/// HB-9.
#[test]
fn hb_9_a_refused_file_closes_its_action_as_failed_with_the_reason() {
    let mut site = Site::new();
    let sealed = fs::read(site.firmware()).unwrap();
    let unsealed = fs::read(site.payload.firmware_of("V03.00.00.00", 10_000)).unwrap();
    let stranger = {
        let signer =
            uplift_sim::signer::Signer::new(std::path::Path::new(env!("CARGO_BIN_EXE_uplift")));
        let firmware = site.payload.firmware_of("V04.00.00.00", 10_000);
        signer.unwrap().seal_file(&firmware).unwrap();
        fs::read(firmware).unwrap()
    };
    let lower = fs::read(site.sealed("V00.09.00.00", 10_000)).unwrap();
    for (name, bytes, kind) in [
        ("OTHER_V02.00.00.00.bin", &sealed, "wrong-product"),
        ("PSDK_APPALIAS_V00.09.00.00.bin", &lower, "downgrade"),
        ("PSDK_APPALIAS_V03.00.00.00.bin", &unsealed, "seal-missing"),
        ("PSDK_APPALIAS_V04.00.00.00.bin", &stranger, "seal-invalid"),
        ("PSDK_APPALIAS_V05.00.00.00.bin", &sealed, "wrong-version"),
        ("readme.txt", &sealed, "name-invalid"),
    ] {
        let action = site.server.assign(DEVICE, Deployment::of(chunk(name, bytes)));
        site.polls();
        let details = site.fails(action, kind);
        assert!(details.contains("What to do: "), "{details}");
    }
    // And after all of them what is right is installed.
    let action = site.offer_new();
    site.payload.restart_when_asked();
    site.succeeds(action);
}

#[test]
fn hb_10_a_program_that_is_not_healthy_is_rolled_back_and_its_action_fails() {
    let setup = Payload::setup().trial(
        "window = \"0s\"\ndeadline = \"2s\"\nhealth_command = [\"test\", \"-e\", \"ROOT/healthy\"]",
    );
    let mut site = Site::with(setup, Options::default(), "");
    let action = site.offer_new();
    site.payload.restart_when_asked();
    site.payload.restart_when_asked();
    site.fails(action, "unhealthy");
    assert_eq!(site.report().outcome, Outcome::RolledBack);
    // The same again is refused before anything is fetched twice for it.
    let again = site.offer_new();
    site.fails(again, "known-bad");
    assert_eq!(site.payload.reported_version().unwrap(), OLD);
}

/// As on a machine without a battery for its clock, at each start.
#[test]
fn a_payload_whose_clock_stands_in_1970_is_upgraded_and_says_when_that_was() {
    let mut site = Site::of(Options::default(), "timestamps = true");
    clock::in_1970(&mut site.payload);
    site.payload.restart_daemon();
    let action = site.offer_new();
    site.payload.restart_when_asked();
    site.succeeds(action);
    assert_eq!(site.payload.reported_version().unwrap(), NEW);
    let report = site.report();
    assert!(report.began.starts_with("1970-01-01T00:0"), "{}", report.began);
    assert!(report.ended.starts_with("1970-01-01T00:0"), "{}", report.ended);
}

/// What the server believes of a device that has it already.
#[test]
fn what_runs_already_is_told_and_not_fetched() {
    let mut site = Site::new();
    let firmware = site.sealed(OLD, 10_000);
    let action = site.offer(&[&firmware]);
    let details = site.succeeds(action);
    assert!(details.contains("runs here already"), "{details}");
    assert_eq!(site.downloads(), []);
    assert_ne!(site.payload.reported_version().unwrap(), NEW);
}
