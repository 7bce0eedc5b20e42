//! Files that are not installed, and one that is not healthy (LU-7).

use std::fs;

use uplift::model::{ChannelState, FailureKind, Outcome};
use uplift_sim::cloud::luatos::Options;

use super::{PLATFORM, Site, asks_anew, reported, says, signer};
use crate::world::payload::{OLD, Payload};

/// What is put on the platform, and how it is refused.
#[track_caller]
fn is_refused(expected: FailureKind, upload: impl Fn(&Site)) {
    let mut site = Site::stopped(Payload::setup(), PLATFORM, Options::default());
    upload(&site);
    site.payload.start_channels().unwrap();
    let report = reported(&site.payload);
    let failure = report.failure.unwrap();
    assert_eq!((report.outcome, failure.kind), (Outcome::Failed, expected), "{failure}");
    assert_eq!(site.payload.reported_version().unwrap(), OLD);
    // The same file, again: it is known.
    says(&site.payload, ChannelState::Works, "its server offers the file that failed here before");
    asks_anew(&mut site.payload);
    says(&site.payload, ChannelState::Works, "its server offers the file that failed here before");
    assert_eq!(site.payload.history().len(), 1, "it was fetched once");
    assert!(site.served().len() <= 4);
}

#[test]
fn lu_7_a_file_without_a_seal_is_refused_and_not_fetched_again() {
    is_refused(FailureKind::SealMissing, |site| site.upload(&site.payload.new_firmware()));
}

#[test]
fn lu_7_a_file_that_a_stranger_has_sealed_is_refused() {
    is_refused(FailureKind::SealInvalid, |site| {
        let firmware = site.payload.new_firmware();
        signer().seal_file(&firmware).unwrap();
        site.upload(&firmware);
    });
}

#[test]
fn lu_7_a_file_of_another_product_is_refused() {
    is_refused(FailureKind::WrongProduct, |site| {
        let firmware = site.payload.root().join("OTHER_V02.00.00.00.bin");
        fs::copy(site.payload.new_firmware(), &firmware).unwrap();
        site.signer.seal_file(&firmware).unwrap();
        site.upload(&firmware);
    });
}

#[test]
fn lu_7_a_file_of_a_lower_version_is_refused() {
    is_refused(FailureKind::Downgrade, |site| {
        let firmware = site.payload.firmware_of("V00.09.00.00", 300_000);
        site.signer.seal_file(&firmware).unwrap();
        site.upload(&firmware);
    });
}

#[test]
fn lu_3_a_file_that_does_not_prove_itself_is_rolled_back_and_not_fetched_again() {
    let setup = Payload::setup()
        .trial("window = \"0s\"\ndeadline = \"1s\"\nhealth_command = [\"/bin/false\"]");
    let mut site = Site::with(setup, PLATFORM, Options::default());
    site.payload.restart_when_asked();
    site.payload.restart_when_asked();
    let report = reported(&site.payload);
    let ending = (report.outcome, report.failure.unwrap().kind);
    assert_eq!(ending, (Outcome::RolledBack, FailureKind::Unhealthy));
    assert_eq!(site.payload.reported_version().unwrap(), OLD);
    says(&site.payload, ChannelState::Works, "its server offers the file that failed here before");
    asks_anew(&mut site.payload);
    says(&site.payload, ChannelState::Works, "its server offers the file that failed here before");
    assert_eq!(site.payload.history().len(), 1);
}
