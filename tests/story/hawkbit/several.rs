//! Several software modules of one action, to several components.

use std::path::PathBuf;

use uplift_fixtures::elf::{Architecture, Program};
use uplift_fixtures::executable;
use uplift_sim::cloud::hawkbit::{Options, State};

use super::site::{DEVICE, Site};
use crate::world::payload::{NEW, OLD, Payload};
use crate::world::watched::Watched as _;

/// A payload with two programs.
fn site(options: Options) -> Site {
    let setup = Payload::setup().sections(
        "[component.camera]\nproduct = \"CAMERA\"\npath = \"ROOT/bin/camera\"\nversion_command = [\"--version\"]\nisolate_commands = \"never\"\nRESTART\n",
    );
    let site = Site::with(setup, options, "components = [\"camera\", \"program\"]");
    executable::write(&site.payload.root().join("bin/camera"), &program(OLD)).unwrap();
    site
}

fn program(version: &str) -> Vec<u8> {
    let version = version.parse::<uplift_sim::Version>().unwrap();
    Program::new(Architecture::host().unwrap(), version.0).bytes()
}

impl Site {
    fn camera(&self, version: &str) -> PathBuf {
        let path = self.payload.root().join(format!("CAMERA_{version}.bin"));
        std::fs::write(&path, program(version)).unwrap();
        path
    }

    fn versions(&self) -> Vec<String> {
        let status = self.payload.status().unwrap();
        ["camera", "program"]
            .map(|name| {
                status.component(name.parse().unwrap()).unwrap().version.unwrap().to_string()
            })
            .to_vec()
    }
}

#[test]
fn an_action_of_two_components_is_closed_when_both_have_proved_themselves() {
    let mut site = site(Options::default());
    let (camera, firmware) = (site.camera(NEW), site.firmware());
    site.signer.seal_file(&camera).unwrap();
    let action = site.offer(&[&firmware, &camera]);
    site.payload.restart_when_asked();
    site.payload.restart_when_asked();
    site.succeeds(action);
    assert_eq!(site.versions(), [NEW, NEW]);
    let words = site.words(action);
    assert_eq!(words.iter().filter(|word| word.starts_with("closed")).count(), 1, "{words:?}");
}

#[test]
fn where_the_second_one_fails_the_server_hears_what_was_replaced_and_what_stays() {
    let mut site = site(Options::default());
    let (camera, firmware) = (site.camera(NEW), site.firmware());
    let action = site.offer(&[&firmware, &camera]);
    site.payload.restart_when_asked();
    let said = site.over(action);
    site.acknowledged();
    assert_eq!(site.server.state(DEVICE, action), Some(State::Error));
    let details = said.last().unwrap().details.join("\n");
    for part in ["Replaced, and running: program", "As it was: camera", "Failure: seal-missing"] {
        assert!(details.contains(part), "{part}: {details}");
    }
    assert_eq!(site.versions(), [OLD, NEW]);
}

/// The process ends between the two, and what it knew of the first goes with it.
#[test]
fn the_second_one_follows_when_the_channels_are_killed_between_the_two() {
    let mut site = site(Options::default());
    let (camera, firmware) = (site.camera(NEW), site.firmware());
    site.signer.seal_file(&camera).unwrap();
    let action = site.offer(&[&firmware, &camera]);
    site.payload.wait_for_restart_request().unwrap();
    site.payload.kill_channels();
    site.payload.reboot();
    site.payload.wait_for_status(|status| status.last.is_some()).unwrap();
    assert_eq!(site.words(action).iter().filter(|word| word.starts_with("closed")).count(), 0);
    site.polls();
    site.payload.restart_when_asked();
    site.succeeds(action);
    assert_eq!(site.versions(), [NEW, NEW]);
}
