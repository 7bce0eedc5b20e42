//! RAUC, with a service and a bus of its own: it writes a slot, which is a file here.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use uplift::model::Outcome;

use crate::payload::{Payload, assert_succeeded, words};
use crate::watched::Watched as _;

/// The directory of the state as a file system of its own; dropped, it is unmounted. RAUC looks for
/// the device of the file system that its bundle lies on, and a container shows it no other.
struct Disk(PathBuf);

impl Disk {
    fn of(payload: &Payload) -> Self {
        let (image, state) = (payload.path("disk"), payload.sandbox.state());
        fs::File::create(&image).unwrap().set_len(32 << 20).unwrap();
        let state_name = state.to_str().unwrap();
        payload.run("mkfs.ext4", &["-q", "-m", "0", image.to_str().unwrap()]);
        payload.run("mount", &["-o", "loop", image.to_str().unwrap(), state_name]);
        Self(state)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

/// A payload with V01.00.00.00 in its slot, and a bundle `bundle` that `signer` has signed.
fn payload(signer: &str) -> (Payload, Disk) {
    let payload = Payload::of("RAUC");
    for name in ["cert", "other"] {
        payload.certify(name);
    }
    fs::write(payload.path("install"), payload.shown("sh")).unwrap();
    fs::write(payload.path("system.conf"), payload.shown("ini")).unwrap();
    fs::create_dir(payload.path("mnt")).unwrap();
    let mut slot = b"V01.00.00.00\n".to_vec();
    slot.resize(1 << 20, 0);
    fs::write(payload.path("application"), slot).unwrap();
    fs::create_dir(payload.path("content")).unwrap();
    let image = format!("V02.00.00.00\n{}", "x".repeat(5000));
    fs::write(payload.path("content/application.img"), image).unwrap();
    let manifest = "[update]\ncompatible=payload\nversion=2.0\n[image.application]\nfilename=application.img\n";
    fs::write(payload.path("content/manifest.raucm"), manifest).unwrap();
    let (certificate, key) = (format!("{signer}.pem"), format!("{signer}.key"));
    let arguments = ["--cert", &certificate, "--key", &key, "bundle", "content", "bundle"];
    payload.run("rauc", &arguments);
    let disk = Disk::of(&payload);
    (payload, disk)
}

/// RAUC has verified the bundle, and waits for a handler before it writes: the status shows how far
/// it has come.
#[test]
fn a_bundle_is_written_to_its_slot_and_raucs_progress_is_seen() {
    let (mut payload, _disk) = payload("cert");
    let (handler, go_on) = (payload.path("handler"), payload.path("go-on"));
    mkfifo(&go_on, Mode::from_bits_truncate(0o600)).unwrap();
    let script = format!("#!/bin/sh\nread x <{}\n", go_on.display());
    uplift_fixtures::executable::write(&handler, script.as_bytes()).unwrap();
    let handlers =
        format!("{}[handlers]\npre-install={}\n", payload.shown("ini"), handler.display());
    fs::write(payload.path("system.conf"), handlers).unwrap();
    payload.start("");
    assert_eq!(payload.told(), "V01.00.00.00");
    let client = payload.install("bundle", "V02.00.00.00");
    let is_under_way = |percent| (1..100).contains(&percent);
    payload
        .sandbox
        .wait_for_status(|status| {
            status.upgrade.as_ref().is_some_and(|upgrade| upgrade.percent.is_some_and(is_under_way))
        })
        .unwrap();
    fs::write(go_on, "\n").unwrap();
    assert_succeeded(&payload.report(client));
    assert_eq!(payload.told(), "V02.00.00.00");
    let slot = fs::read(payload.path("application")).unwrap();
    assert_eq!((&slot[..13], slot.len()), (&b"V02.00.00.00\n"[..], 1 << 20));
}

#[test]
fn a_bundle_of_a_key_that_rauc_does_not_trust_fails_in_its_own_words() {
    let (mut payload, _disk) = payload("other");
    payload.start("");
    let report = payload.upgrade("bundle", "V02.00.00.00");
    assert_eq!(report.outcome, Outcome::Failed, "{report:?}");
    let words = words(&report);
    for part in
        ["exit code 1", "100% Installing failed.", "LastError: signature verification failed"]
    {
        assert!(words.contains(part), "{part}: {words}");
    }
    assert_eq!(payload.told(), "V01.00.00.00");
}
