//! Two devices of one command, each with its file.

use std::path::PathBuf;

use uplift_fixtures::elf::{Architecture, Program};
use uplift_fixtures::executable;
use uplift_sim::cloud::content::Content;
use uplift_sim::cloud::dji::{Event, Options, Order};

use super::{SN, Site, TARGET, order};
use crate::world::payload::{NEW, OLD, Payload};

const CAMERA: &str = "CAMERA0001";

/// A payload with two programs.
fn site() -> Site {
    let setup = Payload::setup().sections(
        "[component.camera]\nproduct = \"CAMERA\"\npath = \"ROOT/bin/camera\"\nversion_command = [\"--version\"]\nisolate_commands = \"never\"\nRESTART\n",
    );
    let section = format!(
        "devices = {{ {CAMERA} = \"camera\", {SN} = \"program\" }}\nsub_devices = [{{ sn = \"{CAMERA}\", domain = \"1\", type = 20 }}]\n"
    );
    let mut site = Site::stopped(setup, Options::default(), &section);
    executable::write(&site.payload.root().join("bin/camera"), &program(OLD)).unwrap();
    // It asks for versions when it starts.
    site.payload.restart_daemon();
    site.payload.start_channels().unwrap();
    site.sees("the camera", |event| matches!(event, Event::State { sn, .. } if sn == CAMERA));
    site
}

fn program(version: &str) -> Vec<u8> {
    let version = version.parse::<uplift_sim::Version>().unwrap();
    Program::new(Architecture::host().unwrap(), version.0).bytes()
}

impl Site {
    fn camera(&self) -> PathBuf {
        let path = self.payload.root().join(format!("CAMERA_{NEW}.bin"));
        std::fs::write(&path, program(NEW)).unwrap();
        path
    }

    /// Both, the camera first; the platform calls files as it likes.
    fn both(&self, camera: &std::path::Path, firmware: &std::path::Path) -> Order {
        let of = |sn, file: &std::path::Path, name| {
            Order::of(sn, TARGET, Content::open(file).unwrap(), name)
        };
        let mut order = of(CAMERA, camera, "camera.zip");
        order.devices.extend(of(SN, firmware, "payload.zip").devices);
        order
    }

    fn versions(&self) -> [String; 2] {
        ["camera", "program"].map(|name| self.payload.version_of(name))
    }
}

#[test]
fn dj_4_two_devices_with_a_file_each_are_upgraded_one_after_the_other_with_one_stream_of_events() {
    let mut site = site();
    let (camera, firmware) = (site.camera(), site.sealed(NEW, 300_000));
    site.signer.seal_file(&camera).unwrap();
    let ids = site.ask(&site.both(&camera, &firmware));
    site.payload.restart_when_asked();
    site.payload.restart_when_asked();
    site.succeeds(&ids.bid);
    assert_eq!(site.versions(), [NEW, NEW]);
    assert_eq!(site.ends(&ids.bid), 1);
    site.sees("the camera's new version", |event| matches!(event, Event::State { sn, data } if sn == CAMERA && data["firmware_version"] == TARGET));
    assert_eq!(site.payload.history().len(), 2);
}

#[test]
fn where_the_second_file_fails_the_end_is_a_failure() {
    let mut site = site();
    let (camera, firmware) = (site.camera(), site.payload.new_firmware());
    site.signer.seal_file(&camera).unwrap();
    let ids = site.ask(&site.both(&camera, &firmware));
    site.payload.restart_when_asked();
    assert_eq!(site.end(&ids.bid), ("failed".to_owned(), 312_003), "{}", site.seen());
    site.payload.wait_for("the last report", || site.payload.history().len() == 2);
    assert_eq!(site.versions(), [NEW, OLD]);
    site.keeps_the_rules();
}

#[test]
fn one_of_two_devices_is_upgraded_alone() {
    let mut site = site();
    let ids = site.ask(&order(&site.sealed(NEW, 300_000)));
    site.payload.restart_when_asked();
    site.succeeds(&ids.bid);
    assert_eq!(site.versions(), [OLD, NEW]);
}
