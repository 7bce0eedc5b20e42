use std::collections::BTreeMap;
use std::path::Path;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::service::Senseless;
use super::*;
use crate::channel::offer::{FirmwareName, What};
use crate::config::{Config, DjiCloud, Password, Serial};
use crate::model::{Failure, FailureKind};

pub(in crate::channel::dji_cloud) fn config(fields: &str) -> DjiCloud {
    let text = format!(
        "[component.program]\nname = \"demo\"\nproduct = \"P\"\n\
         [component.modem]\nkind = \"command\"\nproduct = \"M\"\ninstall = [\"true\", \"{{file}}\"]\n\
         [broker.cloud]\nurl = \"mqtt://b\"\nclient_id = \"c\"\n\
         [channel.dji-cloud]\nunsealed = \"lab\"\nbroker = \"cloud\"\ngateway_sn = \"PAYLOAD0001\"\n{fields}"
    );
    Config::parse(&text, Path::new("uplift.toml")).unwrap().dji_cloud.unwrap()
}

fn voice(fields: &str) -> Voice {
    Voice::new(&config(fields), BTreeMap::new(), None)
}

fn ids() -> Ids {
    Ids { tid: "t".into(), bid: "b".into(), timestamp: 7 }
}

fn content(said: &Said) -> Value {
    serde_json::from_slice(&said.payload).unwrap()
}

/// A device of a command, as the platform's example has it.
pub(in crate::channel::dji_cloud) fn device() -> Value {
    json!({
        "sn": "PAYLOAD0001", "product_version": "01.02.0003",
        "file_url": "http://127.0.0.1:8090/fw/pl_v01.02.0003.zip?sign=secret",
        "md5": "2bcd3c4de20c918e19fab5c36249c70d", "file_size": 4096,
        "file_name": "pl_v01.02.0003.zip", "firmware_upgrade_type": 4,
    })
}

pub(in crate::channel::dji_cloud) fn command(devices: &Value) -> Value {
    json!({
        "tid": "6a7bfe89", "bid": "42a19f36", "timestamp": 1_767_225_600_000_u64,
        "method": "ota_create", "data": { "devices": devices },
    })
}

fn heard(message: &Value) -> Service {
    service(message.to_string().as_bytes(), |sn| sn == "PAYLOAD0001" || sn == "MODEM1").unwrap()
}

/// How a command is refused with this device.
fn refused(device: &Value) -> i64 {
    heard(&command(&json!([device]))).asked.unwrap_err().code.0
}

fn with(field: &str, value: Value) -> Value {
    let mut device = device();
    device[field] = value;
    device
}

#[test]
fn the_example_of_the_documents_is_understood_and_what_it_does_not_know_is_passed_over() {
    let mut message = command(&json!([with("new", json!({ "a": [1, 2] }))]));
    message["gateway"] = json!("X");
    let Service { call, asked } = heard(&message);
    assert_eq!((call.tid.as_str(), call.bid.as_str()), ("6a7bfe89", "42a19f36"));
    assert_eq!(call.timestamp, Some(1_767_225_600_000));
    let entries = asked.unwrap();
    let file = entries[0].file(None);
    assert_eq!((file.size, &file.name), (Some(4096), &FirmwareName::BySeal));
    assert_eq!(file.digests.md5.unwrap().to_string(), "2bcd3c4de20c918e19fab5c36249c70d");
    assert!(!format!("{entries:?}").contains("secret"));
}

#[test]
fn dj_5_kinds_of_an_upgrade_are_2_3_and_4() {
    for kind in 2..=4 {
        assert!(
            heard(&command(&json!([with("firmware_upgrade_type", json!(kind))]))).asked.is_ok()
        );
    }
    for kind in
        [json!(0), json!(1), json!(5), json!(9), json!(-4), json!("4"), json!(4.5), json!(null)]
    {
        assert_eq!(refused(&with("firmware_upgrade_type", kind)), 312_012);
    }
}

#[test]
fn dj_6_devices_that_are_not_ours_are_passed_over_and_without_one_of_ours_it_is_refused() {
    let other = with("sn", json!("OTHER"));
    assert_eq!(refused(&other), 312_012);
    assert_eq!(refused(&json!(7)), 312_012);
    // Whatever is wrong with another's.
    let mut wrong = other;
    wrong["firmware_upgrade_type"] = json!(9);
    let both = heard(&command(&json!([wrong, device()]))).asked.unwrap();
    assert_eq!(both.len(), 1);
}

#[test]
fn dj_7_a_command_is_for_one_device_or_two() {
    for devices in [json!([]), json!([device(), device(), device()]), json!({}), json!("x")] {
        assert_eq!(heard(&command(&devices)).asked.unwrap_err().code.0, 312_010);
    }
    for data in [json!(""), json!(null), json!([]), json!({ "devices": null })] {
        let mut message = command(&json!([]));
        message["data"] = data;
        assert_eq!(heard(&message).asked.unwrap_err().code.0, 312_010);
    }
    let two = json!([device(), with("sn", json!("MODEM1"))]);
    assert_eq!(heard(&command(&two)).asked.unwrap().len(), 2);
    // Which of two files of one device should win, nobody says.
    assert_eq!(heard(&command(&json!([device(), device()]))).asked.unwrap_err().code.0, 312_012);
}

#[test]
fn dj_4_a_device_without_a_file_is_passed_over_and_not_by_its_kind() {
    let bare = json!({ "sn": "MODEM1", "product_version": "x", "firmware_upgrade_type": 2 });
    assert_eq!(heard(&command(&json!([device(), bare]))).asked.unwrap().len(), 1);
    assert_eq!(refused(&bare), 312_012);
    for field in ["file_url", "md5", "file_size", "file_name"] {
        let mut nothing = bare.clone();
        nothing[field] = json!("");
        assert_eq!(heard(&command(&json!([device(), nothing]))).asked.unwrap().len(), 1);
    }
    // What is said of a file that lies nowhere, is a mistake.
    assert_eq!(refused(&with("file_url", json!(null))), 312_012);
}

#[test]
fn a_parameter_that_is_wrong_is_refused_as_that() {
    for (field, value) in [
        ("product_version", json!(null)),
        ("product_version", json!(7)),
        ("product_version", json!("x".repeat(10_241))),
        ("file_url", json!("ftp://a/b")),
        ("file_url", json!("file:///etc/passwd")),
        ("file_url", json!(["http://a"])),
        ("file_url", json!(format!("http://a/{}", "x".repeat(8 << 10)))),
        ("md5", json!("2bcd")),
        ("md5", json!("zbcd3c4de20c918e19fab5c36249c70d")),
        ("md5", json!(7)),
        ("file_size", json!(-1)),
        ("file_size", json!(1.5)),
        ("file_size", json!("many")),
        ("file_size", json!([])),
        ("file_name", json!({})),
    ] {
        assert_eq!(refused(&with(field, value.clone())), 312_012, "{field} {value}");
    }
}

#[test]
fn dl_3_and_5_digests_and_sizes_are_taken_as_servers_write_them() {
    let file = |field: &str, value: Value| {
        heard(&command(&json!([with(field, value)]))).asked.unwrap()[0].file(None)
    };
    assert!(file("md5", json!("2BCD3C4DE20C918E19FAB5C36249C70D")).digests.md5.is_some());
    assert!(file("md5", json!(null)).digests.md5.is_none());
    assert_eq!(file("file_size", json!("4096")).size, Some(4096));
    for unknown in [json!(0), json!("0"), json!(""), json!(null)] {
        assert_eq!(file("file_size", unknown).size, None);
    }
    let named = file("file_name", json!("P_V01.02.03.04.bin"));
    assert!(matches!(named.name, FirmwareName::Known(name) if name.product() == "P"));
}

#[test]
fn of_several_products_a_file_is_called_by_its_device_and_version_where_its_name_says_nothing() {
    let name = |version: &str, file: &str| {
        let mut device = with("product_version", json!(version));
        device["file_name"] = json!(file);
        match heard(&command(&json!([device]))).asked.unwrap()[0].file(Some("M")).name {
            FirmwareName::Known(name) => Some(name.to_string()),
            FirmwareName::BySeal => None,
        }
    };
    for version in ["01.02.0304", "01.02.03.04", "V01.02.03.04"] {
        assert_eq!(name(version, "f.zip").as_deref(), Some("M_V01.02.03.04.bin"), "{version}");
        assert_eq!(name(version, "P_V09.00.00.00.bin").as_deref(), Some("P_V09.00.00.00.bin"));
    }
    for version in ["1.00.223", "01.02.030", "01.02.é30", "latest", "01.02.0304.05", ""] {
        let version = if version.is_empty() { "." } else { version };
        assert_eq!(name(version, "f.zip"), None, "{version}");
    }
}

#[test]
fn a_command_that_is_not_known_is_refused_and_what_has_no_name_can_t_be_answered() {
    let mut message = command(&json!([device()]));
    message["method"] = json!("cover_open");
    assert_eq!(heard(&message).asked.unwrap_err().code.0, 312_010);
    let service = |bytes: &[u8]| service(bytes, |_| true).unwrap_err();
    for bytes in [&b""[..], b"{", b"\xff", b"[]", b"7", b"\"x\"", b"null"] {
        assert_eq!(service(bytes), Senseless::NoObject);
    }
    for field in ["tid", "bid", "method"] {
        for value in [json!(null), json!(7), json!(""), json!("x".repeat(257))] {
            let mut message = command(&json!([device()]));
            message[field] = value;
            assert_eq!(service(message.to_string().as_bytes()), Senseless::NoIds);
        }
    }
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(service(deep.as_bytes()), Senseless::NoObject);
}

#[test]
fn dj_1_an_answer_repeats_what_it_is_to() {
    let Service { call, .. } = heard(&command(&json!([device()])));
    let said = voice("").reply(&call, Code::BUSY, Some(Status::Rejected), 9);
    assert_eq!(said.topic, "thing/product/PAYLOAD0001/services_reply");
    let right = json!({
        "tid": "6a7bfe89", "bid": "42a19f36", "timestamp": 9, "gateway": "PAYLOAD0001",
        "method": "ota_create", "data": { "result": 312_014, "output": { "status": "rejected" } },
    });
    assert_eq!(content(&said), right);
}

#[test]
fn dj_2_10_and_11_an_event_has_its_gateway_a_status_and_a_step_in_the_configured_form() {
    let fares = Fares { step: Step::UpgradeFirmware, percent: 80, ..Fares::BEGUN };
    for (form, step) in [
        ("step_key_string", json!({ "step_key": "upgrade_firmware" })),
        ("current_step_string", json!({ "current_step": "upgrade_firmware" })),
        ("current_step_int", json!({ "current_step": 2 })),
        (
            "both_strings",
            json!({ "step_key": "upgrade_firmware", "current_step": "upgrade_firmware" }),
        ),
    ] {
        let said = voice(&format!("step = \"{form}\"\n")).progress(fares, Code::OK, &ids());
        assert_eq!(said.topic, "thing/product/PAYLOAD0001/events");
        let mut progress = step;
        progress["percent"] = json!(80);
        let right = json!({
            "tid": "t", "bid": "b", "timestamp": 7, "gateway": "PAYLOAD0001", "need_reply": 1,
            "method": "ota_progress",
            "data": { "result": 0, "output": { "status": "in_progress", "progress": progress } },
        });
        assert_eq!(content(&said), right);
    }
    let silent = voice("need_reply = false\n").progress(fares, Code::OK, &ids());
    assert_eq!(content(&silent)["need_reply"], Value::Null);
}

#[test]
fn the_topology_is_as_configured_and_an_aircraft_upgrades_in_its_own_mode() {
    let fields = "domain = \"1\"\ntype = 5\nsub_type = 2\nthing_version = \"1.2\"\nnonce = \"n\"\n\
        sub_devices = [{ sn = \"AIRCRAFT1\", domain = \"0\", type = 67 }]\n\
        devices = { AIRCRAFT1 = \"modem\" }\n";
    let secret: Password = serde_json::from_str("\"hush\"").unwrap();
    let voice = Voice::new(&config(fields), BTreeMap::new(), Some(secret));
    let said = voice.update_topo(&ids());
    assert_eq!(said.topic, "sys/product/PAYLOAD0001/status");
    let right = json!({
        "tid": "t", "bid": "b", "timestamp": 7, "method": "update_topo",
        "data": {
            "domain": "1", "type": 5, "sub_type": 2, "thing_version": "1.2",
            "device_secret": "hush", "nonce": "n",
            "sub_devices": [{ "sn": "AIRCRAFT1", "domain": "0", "type": 67, "sub_type": 0,
                "index": "A", "thing_version": "1.2", "device_secret": "hush", "nonce": "n" }],
        },
    });
    assert_eq!(content(&said), right);
    let present: Vec<Serial> = voice.present();
    let osd = voice.osd(&present[1], Some("V01.02.03.04".parse().unwrap()), true, &ids());
    assert_eq!(osd.topic, "thing/product/AIRCRAFT1/osd");
    assert_eq!(content(&osd)["data"], json!({ "mode_code": 13, "firmware_version": "01.02.0304" }));
    assert_eq!(
        content(&voice.osd(&present[0], None, true, &ids()))["data"],
        json!({ "mode_code": 3 })
    );
}

#[test]
fn dj_15_and_16_state_and_properties_say_version_and_whether_it_upgrades() {
    let voice = voice("version_form = \"dotted\"\n");
    let (gateway, version) = (voice.present().remove(0), "V01.02.03.04".parse().unwrap());
    let state = voice.state(&gateway, version, true, &ids());
    assert_eq!(state.topic, "thing/product/PAYLOAD0001/state");
    let data = json!({
        "firmware_version": "01.02.03.04", "compatible_status": 0, "firmware_upgrade_status": 1,
    });
    assert_eq!(
        (&content(&state)["data"], &content(&state)["gateway"]),
        (&data, &json!("PAYLOAD0001"))
    );
    let osd = voice.osd(&gateway, None, false, &ids());
    assert_eq!(content(&osd)["data"], json!({ "mode_code": 0, "emergency_stop_state": 0 }));
}

#[test]
fn answers_are_understood_or_passed_over() {
    let reply = br#"{"tid":"t","bid":"b","method":"ota_progress","data":{"result":0}}"#;
    assert_eq!(answer(reply).map(|answer| (answer.tid, answer.result)), Some(("t".into(), 0)));
    for wrong in [
        &b"{"[..],
        b"[]",
        b"{}",
        b"{\"tid\":1,\"data\":{\"result\":0}}",
        b"{\"tid\":\"t\",\"data\":\"\"}",
    ] {
        assert_eq!(answer(wrong), None);
    }
}

fn anything() -> impl Strategy<Value = What> {
    let failed = |kind| What::Failed {
        failure: Failure::new(kind, "x"),
        replaced: Vec::new(),
        kept: Vec::new(),
    };
    prop_oneof![
        Just(What::Accepted),
        Just(What::NotNow { why: String::new() }),
        (any::<u64>(), any::<u64>())
            .prop_map(|(received, size)| What::Downloading { received, size }),
        Just(What::Downloaded),
        Just(What::Installing),
        Just(What::OnTrial),
        Just(What::Succeeded { sentence: String::new() }),
        Just(failed(FailureKind::Timeout)),
        Just(failed(FailureKind::Cancelled)),
        Just(failed(FailureKind::Unhealthy)),
        Just(What::Cancelled),
    ]
}

proptest! {
    #[test]
    fn a_percentage_never_decreases_and_100_is_the_end(
        told in proptest::collection::vec((anything(), 0_usize..3), 1..20),
        files in 1_usize..3,
    ) {
        let mut fares = Fares::BEGUN;
        for (what, file) in told {
            let file = file.min(files - 1);
            let next = fares.after(&what, file, files);
            prop_assert!(next.percent >= fares.percent && next.percent <= 100);
            if next.status == Status::Ok {
                prop_assert!(next.percent == 100 && file + 1 == files);
            }
            if next.percent == 100 && fares.percent < 100 {
                prop_assert_eq!(next.status, Status::Ok);
            }
            fares = next;
        }
    }
}

#[test]
fn the_words_of_an_end_say_why() {
    let ended = |what: What| Fares::BEGUN.after(&what, 0, 1).status;
    let failed = |kind| What::Failed {
        failure: Failure::new(kind, "x"),
        replaced: Vec::new(),
        kept: Vec::new(),
    };
    assert_eq!(ended(failed(FailureKind::Timeout)), Status::Timeout);
    assert_eq!(ended(failed(FailureKind::Cancelled)), Status::Canceled);
    assert_eq!(ended(failed(FailureKind::Unhealthy)), Status::Failed);
    assert_eq!(ended(What::Cancelled), Status::Canceled);
}
