//! Commands that are refused, each with its code, and upgrades that fail.

use serde_json::{Value, json};
use uplift::model::{FailureKind, Outcome};
use uplift_sim::cloud::content::Content;
use uplift_sim::cloud::delivery::Delivery;
use uplift_sim::cloud::dji::{Device, Md5, Options, Order};
use uplift_sim::signer::Signer;

use super::{LONG, SN, Site, TARGET, order};
use crate::world::payload::{OLD, Payload};

/// A device of a command whose file would never be fetched.
fn device(field: &str, value: Value) -> Value {
    let mut device = json!({
        "sn": SN, "product_version": TARGET, "file_url": "http://127.0.0.1:1/f",
        "md5": "2bcd3c4de20c918e19fab5c36249c70d", "file_size": 4096, "file_name": "f",
        "firmware_upgrade_type": 4,
    });
    device[field] = value;
    device
}

fn devices(devices: &[Value]) -> Value {
    json!({ "devices": devices })
}

#[test]
fn dj_5_to_7_a_command_that_is_wrong_is_refused_with_its_code_and_the_next_is_obeyed() {
    let mut site = Site::new();
    let good = || device("new", json!(1));
    for (method, data, code) in [
        ("ota_create", devices(&[]), 312_010),
        ("ota_create", devices(&[good(), good(), good()]), 312_010),
        ("ota_create", json!(""), 312_010),
        ("cover_open", json!({}), 312_010),
        ("ota_create", devices(&[device("firmware_upgrade_type", json!(9))]), 312_012),
        ("ota_create", devices(&[device("sn", json!("AIRCRAFT0001"))]), 312_012),
        ("ota_create", devices(&[device("file_url", json!(null))]), 312_012),
        ("ota_create", devices(&[device("md5", json!("2bcd"))]), 312_012),
        ("ota_create", devices(&[device("file_size", json!(-1))]), 312_012),
    ] {
        let ids = site.platform.command(SN, method, &data).unwrap();
        assert_eq!(site.answer(&ids), (code, "rejected".to_owned()), "{method} {data}");
    }
    assert!(site.payload.history().is_empty());
    let ids = site.ask(&site.order());
    site.payload.restart_when_asked();
    site.succeeds(&ids.bid);
}

#[test]
fn dj_8_what_the_policy_forbids_is_refused_at_once() {
    let site = Site::new();
    site.payload.uplift(&["hold"]);
    assert_eq!(site.asked(&site.order()), (312_015, "rejected".to_owned()));
    site.payload.uplift(&["release"]);
    assert_eq!(site.asked(&site.order()), (0, "in_progress".to_owned()));
    site.keeps_the_rules();
}

/// I4: one at a time, over all channels.
#[test]
fn dj_9_while_another_channel_upgrades_it_is_busy_and_only_the_asker_hears_of_it() {
    let mut site = Site::new();
    let firmware = site.sealed("V01.05.00.00", 300_000);
    let client = site.payload.install_file(&firmware);
    site.payload.wait_for_restart_request().unwrap();
    assert_eq!(site.asked(&site.order()), (312_014, "rejected".to_owned()));
    site.payload.reboot();
    drop(client.wait_with_output());
    site.tells_version("01.05.0000", 0);
    let events = site.platform.events().so_far();
    let told = events.iter().any(|event| event.to_string().contains("in_progress"));
    assert!(!told, "{}", site.seen());
    site.keeps_the_rules();
}

/// What is asked for, and the code of its end.
#[track_caller]
fn fails(site: &Site, order: &Order, code: i64, kind: FailureKind) {
    let ids = site.ask(order);
    assert_eq!(site.end(&ids.bid), ("failed".to_owned(), code), "{}", site.seen());
    let report = site.reported();
    assert_eq!(report.failure.map(|failure| failure.kind), Some(kind));
    assert_eq!(site.payload.reported_version().unwrap(), OLD);
    assert_eq!(site.ends(&ids.bid), 1);
    site.keeps_the_rules();
}

#[test]
fn dl_3_and_5_a_file_that_is_not_as_announced_fails() {
    let site = Site::new();
    let said = |md5, size_error| {
        let mut order = site.order();
        let file = order.devices[0].file.as_mut().unwrap();
        (file.md5, file.size_error) = (md5, size_error);
        order
    };
    fails(&site, &said(Md5::Wrong, 0), 312_003, FailureKind::DigestMismatch);
    let short = site.ask(&said(Md5::Right, 1));
    let (word, code) = site.end(&short.bid);
    assert!(word == "failed" && [312_003, 312_012, 312_016].contains(&code), "{word} {code}");
    let long = site.ask(&said(Md5::Right, -1));
    let (word, code) = site.end(&long.bid);
    assert!(word == "failed" && [312_003, 312_012, 312_016].contains(&code), "{word} {code}");
    assert_eq!(site.payload.reported_version().unwrap(), OLD);
    site.keeps_the_rules();
}

#[test]
fn dl_3_capitals_in_an_md5_and_none_at_all_are_well() {
    for md5 in [Md5::Upper, Md5::None] {
        let mut site = Site::new();
        let mut order = site.order();
        order.devices[0].file.as_mut().unwrap().md5 = md5;
        let ids = site.ask(&order);
        site.payload.restart_when_asked();
        site.succeeds(&ids.bid);
    }
}

#[test]
fn dl_4_what_no_trusted_key_has_sealed_fails_whatever_its_md5_says() {
    let site = Site::new();
    let bare = order(&site.payload.new_firmware());
    fails(&site, &bare, 312_003, FailureKind::SealMissing);
    let firmware = site.payload.new_firmware();
    let stranger = Signer::new(std::path::Path::new(env!("CARGO_BIN_EXE_uplift"))).unwrap();
    stranger.seal_file(&firmware).unwrap();
    fails(&site, &order(&firmware), 312_003, FailureKind::SealInvalid);
}

#[test]
fn a_file_of_another_product_or_of_a_lower_version_fails() {
    let site = Site::new();
    let other = site.payload.root().join("OTHER_V02.00.00.00.bin");
    std::fs::copy(site.payload.new_firmware(), &other).unwrap();
    site.signer.seal_file(&other).unwrap();
    fails(&site, &order(&other), 312_017, FailureKind::WrongProduct);
    let lower = site.sealed("V00.09.00.00", 300_000);
    fails(&site, &order(&lower), 312_017, FailureKind::Downgrade);
}

/// Its name is the platform's; its seal says what it is.
#[test]
fn a_file_with_any_name_is_what_its_seal_says() {
    let mut site = Site::new();
    let firmware = site.payload.new_firmware();
    site.signer.seal_file(&firmware).unwrap();
    let order = Order::of(SN, TARGET, Content::open(&firmware).unwrap(), "pl_v02.zip");
    let ids = site.ask(&order);
    site.payload.restart_when_asked();
    site.succeeds(&ids.bid);
}

/// Scenario 4: a signed URL that has expired is not valid again.
#[test]
fn a_url_that_expires_halfway_ends_the_upgrade_and_a_new_one_goes_through() {
    let delivery = Delivery { cut_after: Some(150_000), ..Delivery::default() };
    let mut site = Site::of(Options { delivery, expires: true, ..Options::default() }, "");
    fails(&site, &site.order(), 312_016, FailureKind::TransferFailed);
    site.platform.change(|options| {
        (options.expires, options.delivery) = (false, Delivery::default());
    });
    let ids = site.ask(&site.order());
    site.payload.restart_when_asked();
    site.succeeds(&ids.bid);
}

#[test]
fn dj_14_a_program_that_does_not_prove_itself_is_rolled_back_and_told_as_failed() {
    let setup = Payload::setup()
        .trial("window = \"0s\"\ndeadline = \"1s\"\nhealth_command = [\"/bin/false\"]");
    let mut site = Site::with(setup, Options::default(), "");
    let ids = site.ask(&site.order());
    site.payload.restart_when_asked();
    site.payload.restart_when_asked();
    assert_eq!(site.end(&ids.bid), ("failed".to_owned(), 312_028), "{}", site.seen());
    let report = site.reported();
    let ending = (report.outcome, report.failure.unwrap().kind);
    assert_eq!(ending, (Outcome::RolledBack, FailureKind::Unhealthy));
    assert_eq!(site.payload.reported_version().unwrap(), OLD);
    site.tells_version("01.00.0000", 0);
    // DJ-15: the version that did not prove itself was never told.
    assert!(!site.seen().contains("\"firmware_version\":\"02.00.0000\""), "{}", site.seen());
    // What has failed on trial is not let in again.
    let again = site.ask(&site.order());
    assert_eq!(site.end(&again.bid), ("failed".to_owned(), 312_003));
    site.keeps_the_rules();
}

#[test]
fn a_person_comes_first_and_the_platform_hears_that_it_is_canceled() {
    let mut site = Site::of(super::slow(), "");
    let ids = site.ask(&site.order());
    site.has_received(50_000);
    // Nothing more comes of its file for now.
    site.payload.kill_channels();
    let person = site.payload.install_file(&site.sealed("V01.05.00.00", 200_000));
    site.payload.wait_for_restart_request().unwrap();
    site.payload.start_channels().unwrap();
    assert_eq!(site.end(&ids.bid), ("canceled".to_owned(), -1));
    site.payload.reboot();
    assert!(person.wait_with_output().unwrap().status.success());
    site.tells_version("01.05.0000", 0);
    // The power may have gone before its answer was known here: it is said again then, and alike.
    assert!((1..=2).contains(&site.ends(&ids.bid)), "{}", site.seen());
    site.keeps_the_rules();
}

/// DJ-4: the vendor's example has a second device without a file; 2 and 3 are as good as 4.
#[test]
fn dj_4_a_second_entry_without_a_file_is_passed_over_whatever_its_type() {
    for kind in [2, 3] {
        let mut site = Site::new();
        let mut order = site.order();
        order.devices[0].kind = kind;
        order.devices.push(Device {
            sn: "AIRCRAFT0001".to_owned(),
            product_version: "1.00.223".to_owned(),
            kind,
            file: None,
        });
        let answered = site.platform.ask_until_answered(SN, &order).unwrap();
        assert_eq!(answered, Some(0));
        site.payload.wait_for_restart_request_within(LONG).unwrap();
        site.payload.reboot();
        site.tells_version(TARGET, 0);
        site.keeps_the_rules();
    }
}
