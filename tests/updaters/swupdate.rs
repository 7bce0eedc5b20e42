//! SWUpdate, which unpacks a signed archive, and puts a file of it in its place.

use std::fs;
use std::sync::{Mutex, MutexGuard};

use sha2::{Digest as _, Sha256};
use uplift::model::Outcome;

use crate::payload::{Payload, alone, assert_succeeded, words};

/// There is one name for the socket of all its processes on a machine.
static ONE: Mutex<()> = Mutex::new(());

/// A payload with V01.00.00.00, and an archive `archive` that `signer` has signed.
fn payload(signer: &str) -> (Payload, MutexGuard<'static, ()>) {
    let one = alone(&ONE);
    let mut payload = Payload::of("SWUpdate");
    for name in ["cert", "other"] {
        payload.certify(name);
    }
    let content = format!("V02.00.00.00\n{}", "x".repeat(5000));
    let digest: String =
        Sha256::digest(&content).iter().map(|byte| format!("{byte:02x}")).collect();
    payload.replace("SHA256", &digest);
    fs::write(payload.path("sw-description"), payload.shown("libconfig")).unwrap();
    fs::write(payload.path("application.bin"), content).unwrap();
    let sign = format!(
        "openssl cms -sign -in sw-description -out sw-description.sig -signer {signer}.pem -inkey {signer}.key \
         -outform DER -nosmimecap -binary && \
         printf '%s\\n' sw-description sw-description.sig application.bin | cpio -o -H crc --quiet >archive"
    );
    payload.run("sh", &["-c", &sign]);
    // What it unpacks there is not what the vendor has left.
    for name in ["sw-description", "sw-description.sig"] {
        fs::remove_file(payload.path(name)).unwrap();
    }
    fs::write(payload.path("application.bin"), "V01.00.00.00\n").unwrap();
    (payload, one)
}

#[test]
fn a_file_of_an_archive_is_put_in_its_place() {
    let (mut payload, _one) = payload("cert");
    payload.start("isolate_commands = \"never\"");
    assert_eq!(payload.told(), "V01.00.00.00");
    let report = payload.upgrade("archive", "V02.00.00.00");
    // Now and then it says that it was successful, and ends with 1 all the same. Then the report
    // must say so: the exit code decides.
    if report.outcome == Outcome::Succeeded {
        assert_succeeded(&report);
    } else {
        let words = words(&report);
        for part in ["exit code 1", "SWUPDATE successful !", "there is no `revert` command"] {
            assert!(words.contains(part), "{part}: {words}");
        }
    }
    assert_eq!(payload.told(), "V02.00.00.00");
    assert_eq!(fs::metadata(payload.path("application.bin")).unwrap().len(), 5013);
}

#[test]
fn an_archive_of_a_key_that_swupdate_does_not_trust_fails_in_its_own_words() {
    let (mut payload, _one) = payload("other");
    payload.start("isolate_commands = \"never\"");
    let report = payload.upgrade("archive", "V02.00.00.00");
    assert_eq!(report.outcome, Outcome::Failed, "{report:?}");
    let words = words(&report);
    for part in ["exit code 1", "Authentication of all signatures failed"] {
        assert!(words.contains(part), "{part}: {words}");
    }
    assert_eq!(payload.told(), "V01.00.00.00");
}
