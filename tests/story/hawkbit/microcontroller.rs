//! A software module for a microcontroller beside the computer.

use uplift_sim::cloud::hawkbit::Options;
use uplift_sim::mcu;

use super::site::Site;
use crate::mcu as motor;
use crate::world::payload::{NEW, OLD, Payload};

#[test]
fn an_action_brings_a_program_into_a_microcontroller_and_one_for_another_chip_is_refused() {
    let setup = Payload::setup().sections(&motor::section(""));
    let mut site = Site::with(setup, Options::default(), "components = [\"motor\"]");
    let chip = motor::chip(&site.payload, mcu::Options::default());
    let elsewhere = site.payload.root().join(format!("MOTOR_{NEW}.bin"));
    std::fs::write(&elsewhere, motor::program(0x0800_0000, NEW)).unwrap();
    site.signer.seal_before(&elsewhere).unwrap();
    let action = site.offer(&[&elsewhere]);
    site.fails(action, "wrong-machine");
    motor::runs(&chip, OLD);
    assert_eq!(chip.operations(), 0);
    let right = motor::file(&site.payload, NEW);
    site.signer.seal_before(&right).unwrap();
    let action = site.offer(&[&right]);
    let details = site.succeeds(action);
    assert!(details.contains(&format!("MOTOR {NEW} runs")), "{details}");
    motor::runs(&chip, NEW);
}
