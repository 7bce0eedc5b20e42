//! A device of the payload that is a microcontroller, and its program in a container.

use uplift_sim::cloud::content::Content;
use uplift_sim::cloud::dji::{Event, Options, Order};
use uplift_sim::mcu;

use super::{Site, TARGET};
use crate::mcu as motor;
use crate::world::payload::{NEW, Payload};

const MOTOR: &str = "MOTOR0001";

#[test]
fn a_compressed_program_comes_into_the_microcontroller_that_the_device_is() {
    let setup = Payload::setup().sections(&motor::section("version = \"V01.00.00.00\""));
    let section = format!(
        "devices = {{ {MOTOR} = \"motor\" }}\nsub_devices = [{{ sn = \"{MOTOR}\", domain = \"1\", type = 20 }}]\n"
    );
    let mut site = Site::stopped(setup, Options::default(), &section);
    let chip = motor::chip(&site.payload, mcu::Options::default());
    site.payload.start_channels().unwrap();
    site.sees("the motor", |event| matches!(event, Event::State { sn, .. } if sn == MOTOR));
    let file = motor::file(&site.payload, NEW);
    let size = std::fs::metadata(&file).unwrap().len();
    site.signer.compress(&file).unwrap();
    assert!(std::fs::metadata(&file).unwrap().len() < size, "it is no container");
    let order = Order::of(MOTOR, TARGET, Content::open(&file).unwrap(), "motor.zip");
    let ids = site.ask(&order);
    assert_eq!(site.end(&ids.bid), ("ok".to_owned(), 0), "{}", site.seen());
    motor::runs(&chip, NEW);
    site.sees("the new version", |event| matches!(event, Event::State { sn, data } if sn == MOTOR && data["firmware_version"] == TARGET));
    site.keeps_the_rules();
}
