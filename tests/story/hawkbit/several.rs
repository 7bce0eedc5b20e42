//! Several software modules of one action, to several components.

use std::path::PathBuf;

use uplift::model::{Phase, Status};
use uplift_fixtures::elf::{Architecture, Program};
use uplift_fixtures::executable;
use uplift_sim::cloud::hawkbit::{Options, State};

use super::site::{DEVICE, Site};
use crate::world::payload::{NEW, OLD, Payload};
use crate::world::watched::Watched as _;

/// A payload with two programs.
fn site(options: Options) -> Site {
    in_order("\"camera\", \"program\"", options)
}

/// The same, which are replaced in this order.
fn in_order(components: &str, options: Options) -> Site {
    let setup = Payload::setup().sections(
        "[component.camera]\nproduct = \"CAMERA\"\npath = \"ROOT/bin/camera\"\nversion_command = [\"--version\"]\nisolate_commands = \"never\"\nRESTART\n",
    );
    let site = Site::with(setup, options, &format!("components = [{components}]"));
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

    /// Sealed files for both components, in one action.
    fn offer_both(&mut self) -> u64 {
        let (camera, firmware) = (self.camera(NEW), self.firmware());
        self.signer.seal_file(&camera).unwrap();
        self.offer(&[&firmware, &camera])
    }

    fn versions(&self) -> [String; 2] {
        ["camera", "program"].map(|name| self.payload.version_of(name))
    }
}

#[test]
fn an_action_of_two_components_is_closed_when_both_have_proved_themselves() {
    let mut site = site(Options::default());
    let action = site.offer_both();
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
    let (camera, firmware) = (site.camera(NEW), site.payload.new_firmware());
    site.signer.seal_file(&camera).unwrap();
    // By the order of the configuration, because hawkBit's own is none.
    let action = site.offer(&[&firmware, &camera]);
    site.payload.restart_when_asked();
    let said = site.over(action);
    site.acknowledged();
    assert_eq!(site.server.state(DEVICE, action), Some(State::Error));
    let details = said.last().unwrap().details.join("\n");
    for part in ["Replaced, and running: camera", "As it was: program", "Failure: seal-missing"] {
        assert!(details.contains(part), "{part}: {details}");
    }
    assert_eq!(site.versions(), [NEW, OLD]);
}

/// The other way round than by their names.
#[test]
fn the_configuration_says_which_component_comes_first() {
    let mut site = in_order("\"program\", \"camera\"", Options::default());
    let (camera, firmware) = (site.camera(NEW), site.firmware());
    let action = site.offer(&[&camera, &firmware]);
    site.payload.restart_when_asked();
    let said = site.over(action);
    let details = said.last().unwrap().details.join("\n");
    for part in ["Replaced, and running: program", "As it was: camera", "Failure: seal-missing"] {
        assert!(details.contains(part), "{part}: {details}");
    }
    site.acknowledged();
    assert_eq!(site.versions(), [OLD, NEW]);
}

/// The process ends between the two, and what it knew of the first goes with it.
#[test]
fn the_second_one_follows_when_the_channels_are_killed_between_the_two() {
    let mut site = site(Options::default());
    let action = site.offer_both();
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

/// A process that was started anew knows of the first one by the daemon alone.
#[test]
fn taken_back_between_the_two_it_says_what_was_replaced_also_when_started_anew() {
    let mut site = site(Options::default());
    let action = site.offer_both();
    site.payload.wait_for_restart_request().unwrap();
    site.payload.uplift(&["hold"]);
    site.payload.kill_channels();
    site.payload.reboot();
    let first = |status: &Status| status.last.is_some() && status.unacknowledged.len() == 1;
    site.payload.wait_for_status(first).unwrap();
    site.polls();
    site.payload.wait_for_phase(Phase::Deferred);
    site.payload.kill_channels();
    assert!(site.server.cancel(DEVICE, action));
    site.polls();
    let said = site.over(action);
    let details = said.last().unwrap().details.join("\n");
    assert!(details.contains("Replaced, and running: camera"), "{details}");
    assert_eq!(site.server.state(DEVICE, action), Some(State::Error), "{said:?}");
    assert_eq!(site.versions(), [NEW, OLD]);
}
