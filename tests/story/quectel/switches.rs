//! Modules that differ, and say the same.

use std::fs;

use uplift_sim::module::quectel::{Event, Module, Options, Plan};

use super::{RUNS, Site, TARGET, is_command, is_failed, signer};
use crate::world::payload::{NEW, Payload};

/// An upgrade by a module that differs; it is as good as any.
#[track_caller]
fn succeeds(options: Options) -> Site {
    let mut site = Site::new(options);
    site.succeeds();
    assert_eq!(site.count(is_failed), 0);
    assert_eq!(site.announced()[..2], [RUNS, TARGET]);
    site
}

#[test]
fn qt_1_events_come_between_commands_and_their_answers_and_around_data() {
    succeeds(Options { chatter: true, ..Options::default() });
}

#[test]
fn qt_3_a_module_that_repeats_nothing() {
    succeeds(Options { echo: false, ..Options::default() });
}

#[test]
fn qt_9_one_piece_two_and_seven() {
    for (pieces, size) in [(1, u64::MAX), (2, 200_000), (7, 45_000)] {
        let site = succeeds(Options { piece: size, ..Options::default() });
        assert_eq!(site.count(|event| matches!(event, Event::Readable { .. })), pieces);
    }
}

#[test]
fn qt_8_a_module_that_gives_less_than_was_asked_for() {
    let site = succeeds(Options { short_reads: Some(1000), piece: 70_001, ..Options::default() });
    let asked = site.count(|event| is_command(event, "AT+QIOTOTARD=1000,1024"));
    assert_eq!(asked, 1);
}

#[test]
fn qt_8_no_more_is_asked_for_than_the_module_lets() {
    let site = succeeds(Options { most: 512, ..Options::default() });
    assert_eq!(site.count(|event| is_command(event, "AT+QIOTOTARD=0,512")), 1);
}

#[test]
fn qt_5_a_module_that_knows_no_sha_256() {
    let site = succeeds(Options { knows_sha256: false, ..Options::default() });
    assert!(site.count(|event| is_command(event, "AT+QIOTOTAREQ")) >= 1);
}

#[test]
fn qt_7_a_platform_that_tells_no_sha_256() {
    succeeds(Options { sha256: false, ..Options::default() });
}

#[test]
fn qt_7_events_of_the_module_s_own_upgrade_are_nobody_s() {
    succeeds(Options { own_upgrade: true, ..Options::default() });
}

#[test]
fn qt_15_a_module_that_says_too_early_that_it_is_installed() {
    let site = succeeds(Options { early: true, ..Options::default() });
    let refused = |event: &Event| matches!(event, Event::Command { text, ok: false } if text == "AT+QIOTUPDATE=3");
    assert_eq!(site.count(refused), 1);
}

#[test]
fn a_module_without_a_signal_s_strength_is_followed() {
    succeeds(Options { strength: 99, ..Options::default() });
}

#[test]
fn qt_4_a_module_that_is_not_configured_is_told_its_product_and_server() {
    let mut site = Site::stopped(
        Payload::setup(),
        "product_file = \"ROOT/product\"\nserver = \"iot.example.org:1883\"",
        Options { product: Some(("p1".into(), "s3cr3t".into())), ..Options::default() },
    );
    fs::write(site.payload.root().join("product"), "p1 s3cr3t\n").unwrap();
    site.plan_new_version();
    site.payload.start_channels().unwrap();
    site.succeeds();
    let log = fs::read_to_string(site.payload.log("channels")).unwrap();
    assert!(!log.contains("s3cr3t"), "{log}");
    let told = |text: &str| site.count(|event| is_command(event, text));
    assert_eq!(told("AT+QIOTCFG=\"server\",1,\"iot.example.org:1883\""), 1);
    assert_eq!(told("AT+QIOTREG=2"), 1, "what is connected is not connected again");
}

#[test]
fn qt_4_a_wrong_secret_is_told_to_a_person() {
    let mut site = Site::stopped(
        Payload::setup(),
        "product_file = \"ROOT/product\"",
        Options { product: Some(("p1".into(), "other".into())), ..Options::default() },
    );
    fs::write(site.payload.root().join("product"), "p1 s3cr3t\n").unwrap();
    site.payload.start_channels().unwrap();
    site.says(uplift::model::ChannelState::Fails, "event 1,10422");
}

/// Data that look like words of the wire, in a file that is none: it is read to its last byte.
#[test]
fn qt_1_a_file_of_nothing_but_words_of_the_wire_is_read_to_its_end() {
    let words = b"\r\nOK\r\nERROR\r\n+QIOTEVT: 7,10706\r\n+QIOTOTARD: 0,1024\r\nRDY\r\n";
    let content: Vec<u8> = words.iter().copied().cycle().take(100_003).collect();
    let mut site =
        Site::stopped(Payload::setup(), "", Options { piece: 33_333, ..Options::default() });
    site.module.plan(Plan::new("PAYLOAD", TARGET, content));
    site.payload.start_channels().unwrap();
    let report = site.reported();
    // It came whole, with its digest, and is no firmware.
    assert_eq!(report.failure.unwrap().kind, uplift::model::FailureKind::WrongMachine);
    assert_eq!(site.read(), 100_003);
}

#[test]
fn qt_6_two_components_are_upgraded_one_after_the_other() {
    let signer = signer();
    let sections = format!(
        "[component.lamp]\nkind = \"program\"\nproduct = \"LAMP\"\npath = \"ROOT/bin/lamp\"\nversion_command = [\"--version\"]\n\
         isolate_commands = \"never\"\nRESTART\n[package]\n{}\n[channel.quectel]\ndevice = \"ROOT/run/ttyQuectel\"\n\
         components = {{ PAYLOAD = \"program\", LAMP = \"lamp\" }}\n",
        signer.trusted_section()
    );
    let payload = Payload::setup().sections(&sections).stopped();
    fs::copy(payload.program(), payload.root().join("bin/lamp")).unwrap();
    let module = Module::start(payload.root().join("run/ttyQuectel"), Options::default()).unwrap();
    let mut site = Site { payload, module, signer };
    site.payload.start_daemon().unwrap();
    site.plan_new_version();
    let lamp = site.payload.root().join(format!("LAMP_{NEW}.bin"));
    fs::copy(site.payload.firmware_of(NEW, 300_000), &lamp).unwrap();
    site.signer.seal_file(&lamp).unwrap();
    site.module.plan(Plan::new("LAMP", TARGET, fs::read(&lamp).unwrap()));
    site.payload.start_channels().unwrap();
    for _ in 0..2 {
        site.payload.restart_when_asked();
    }
    site.payload
        .wait_for("both", || site.count(|event| matches!(event, Event::Succeeded { .. })) == 2);
    assert_eq!(site.count(is_failed), 0);
    assert_eq!(site.payload.history().len(), 2);
}
