//! What holds whatever a server answers, and whatever it is told.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::fuzz;
use super::*;
use crate::channel::offer::{Action, Telling, What};
use crate::model::{ComponentName, Failure, FailureKind};

/// Any JSON, with the members that servers use among others.
fn any_json() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        "\\PC{0,12}",
        Just("forced".to_owned()),
        Just("skip".to_owned()),
        Just("00:05:00".to_owned()),
        Just("P_V01.00.03.00.bin".to_owned()),
        Just("2bcd3c4de20c918e19fab5c36249c70d".to_owned()),
        Just("http://srv/T/controller/v1/D/deploymentBase/1".to_owned()),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        text.prop_map(Value::from),
    ];
    let key = prop_oneof![
        "[a-z]{1,4}",
        prop::sample::select(vec![
            "id",
            "deployment",
            "confirmation",
            "download",
            "update",
            "chunks",
            "part",
            "name",
            "version",
            "artifacts",
            "filename",
            "size",
            "hashes",
            "sha256",
            "sha1",
            "md5",
            "_links",
            "href",
            "download-http",
            "config",
            "polling",
            "sleep",
            "deploymentBase",
            "cancelAction",
            "stopId",
            "encrypted",
            "maintenanceWindow",
        ])
        .prop_map(String::from),
    ];
    leaf.prop_recursive(6, 60, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(key.clone(), inner, 0..6)
                .prop_map(|map| map.into_iter().collect::<Value>()),
        ]
    })
}

/// A deployment that is right but for one member, which is anything.
fn nearly_right() -> impl Strategy<Value = Value> {
    let places = [
        "/id",
        "/deployment",
        "/deployment/download",
        "/deployment/update",
        "/deployment/maintenanceWindow",
        "/deployment/chunks",
        "/deployment/chunks/0",
        "/deployment/chunks/0/part",
        "/deployment/chunks/0/name",
        "/deployment/chunks/0/version",
        "/deployment/chunks/0/encrypted",
        "/deployment/chunks/0/artifacts",
        "/deployment/chunks/0/artifacts/0",
        "/deployment/chunks/0/artifacts/0/filename",
        "/deployment/chunks/0/artifacts/0/size",
        "/deployment/chunks/0/artifacts/0/hashes",
        "/deployment/chunks/0/artifacts/0/hashes/md5",
        "/deployment/chunks/0/artifacts/0/_links",
        "/deployment/chunks/0/artifacts/0/_links/download",
        "/deployment/chunks/0/artifacts/0/_links/download/href",
    ];
    (prop::sample::select(places.to_vec()), any_json()).prop_map(|(place, value)| {
        let mut answer = json!({"id": "12", "deployment": {
            "download": "forced", "update": "forced", "maintenanceWindow": "available",
            "chunks": [{
                "part": "os", "name": "P", "version": "1", "encrypted": false,
                "artifacts": [{
                    "filename": "P_V01.00.00.00.bin", "size": 1,
                    "hashes": {"md5": "2bcd3c4de20c918e19fab5c36249c70d"},
                    "_links": {"download": {"href": "http://srv/f"}},
                }],
            }],
        }});
        if let Some(member) = answer.pointer_mut(place) {
            *member = value;
        }
        answer
    })
}

fn any_what() -> impl Strategy<Value = What> {
    let names = prop::collection::vec(
        prop::sample::select(vec!["program", "modem", "gimbal"])
            .prop_map(|name| name.parse::<ComponentName>().unwrap()),
        0..40,
    );
    let failure = (
        prop::sample::select(FailureKind::ALL.to_vec()),
        any::<String>(),
        prop::collection::vec(any::<String>(), 0..20),
        prop::option::of(any::<String>()),
    )
        .prop_map(|(kind, sentence, causes, hint)| Failure { kind, sentence, causes, hint });
    prop_oneof![
        Just(What::Accepted),
        any::<String>().prop_map(|why| What::NotNow { why }),
        (any::<u64>(), any::<u64>())
            .prop_map(|(received, size)| What::Downloading { received, size }),
        Just(What::Downloaded),
        Just(What::Installing),
        Just(What::OnTrial),
        "(?s).{0,600}".prop_map(|sentence| What::Succeeded { sentence }),
        (failure, names.clone(), names).prop_map(|(failure, replaced, kept)| What::Failed {
            failure,
            replaced,
            kept
        }),
        Just(What::Cancelled),
        Just(What::TooLate),
    ]
}

/// A hundred thousand levels of nothing.
#[test]
fn nesting_is_no_way_to_a_crash() {
    for (open, close) in [("[", "]"), ("{\"a\":", "}"), ("{\"deployment\":", "}")] {
        let deep = format!("{}null{}", open.repeat(60_000), close.repeat(60_000));
        fuzz(deep.as_bytes());
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(answer in prop::collection::vec(any::<u8>(), 0..400)) {
        fuzz(&answer);
    }

    #[test]
    fn any_json_is_read_or_refused(answer in any_json()) {
        fuzz(answer.to_string().as_bytes());
    }

    /// What names its action is an offer that has files, is none yet, or is refused: never nothing.
    #[test]
    fn a_named_action_always_has_an_answer(answer in nearly_right()) {
        let bytes = answer.to_string().into_bytes();
        fuzz(&bytes);
        let named = answer["id"] == "12";
        match Deployment::parse(&bytes, None, &Naming::default()) {
            Ok(Some(Deployment { asked: Asked::Offer(offer), .. })) => prop_assert!(!offer.files.is_empty()),
            Ok(found) => prop_assert!(found.is_some(), "{answer}"),
            Err(error) => prop_assert!(!named, "{answer}: {error}"),
        }
    }

    /// HB-7, HB-9: members and limits of any feedback.
    #[test]
    fn any_feedback_is_json_within_the_limits(
        what in any_what(), minimal: bool, timestamp_ms in prop::option::of(any::<u64>()),
    ) {
        let action = Action::try_from("12".to_owned()).unwrap();
        let style = FeedbackStyle { minimal, timestamp_ms, bare: false };
        let body = feedback(&Telling { action, what: what.clone() }, &style);
        prop_assert!(body.len() < 5000);
        let body: Value = serde_json::from_slice(&body).unwrap();
        prop_assert_eq!(&body["id"], "12");
        let status = &body["status"];
        prop_assert_eq!(what.is_final(), status["execution"] == "closed");
        prop_assert_eq!(status["execution"] == "rejected", what == What::TooLate);
        prop_assert!(["none", "success", "failure"].contains(&status["result"]["finished"].as_str().unwrap()));
        let details = status["details"].as_array().unwrap();
        prop_assert!(details.len() <= 10);
        prop_assert!(details.iter().all(|detail| plain::is_detail(detail.as_str().unwrap())), "{:?}", details);
        if let Some(progress) = status["result"].get("progress") {
            prop_assert!(progress["cnt"].as_u64().unwrap() <= 100 && progress["of"] == 100);
        }
        prop_assert_eq!(body.get("timestamp").is_some(), !minimal && timestamp_ms.is_some());
    }

    /// HB-12.
    #[test]
    fn any_denial_is_json_within_the_limits(why in any::<String>()) {
        let body: Value = serde_json::from_slice(&confirmation(&Answer::Denied { why })).unwrap();
        prop_assert_eq!(&body["confirmation"], "denied");
        let details = body["details"].as_array().unwrap();
        prop_assert!(details.iter().all(|detail| plain::is_detail(detail.as_str().unwrap())));
    }

    #[test]
    fn any_attributes_are_json_within_the_limits(
        configured in prop::collection::btree_map("(?s).{0,140}", "(?s).{0,140}", 0..120),
    ) {
        let configured: BTreeMap<String, String> = configured;
        let ConfigData { body, cut } = ConfigData::of(&configured, &[]);
        let body: Value = serde_json::from_slice(&body).unwrap();
        let data = body["data"].as_object().unwrap();
        let is_whole = data.len() == configured.len()
            && configured.iter().all(|(key, value)| data[key] == value.as_str());
        prop_assert_eq!(is_whole, cut.is_empty());
        prop_assert!(data.len() <= 100);
        for (key, value) in data {
            prop_assert!(key.encode_utf16().count() <= 128);
            prop_assert!(value.as_str().unwrap().encode_utf16().count() <= 128);
        }
    }

    /// HB-7: whatever comes in whatever order, two intermediate feedbacks are 10 s apart, and there
    /// are at most 200 of them; an end is told at once.
    #[test]
    fn a_pace_is_kept(steps in prop::collection::vec((any_what(), 0..30_u64), 1..60)) {
        let (mut pace, mut now) = (Pace::default(), Instant::now());
        let mut last: Option<Instant> = None;
        for (what, seconds) in steps {
            now += Duration::from_secs(seconds);
            let is_end = what.is_final() || what == What::TooLate;
            match pace.due(&what, now) {
                Due::Now if !is_end => {
                    prop_assert!(last.is_none_or(|last| now - last >= Duration::from_secs(10)));
                    pace.told(what, now);
                    last = Some(now);
                }
                due => prop_assert_eq!(due == Due::Now, is_end),
            }
            if let Due::At(then) = pace.due(&What::Installing, now) {
                prop_assert!(then > now);
            }
        }
    }

    #[test]
    fn any_status_means_something(status: u16) {
        let again = Heard::of(status, Question::Feedback { is_let_in: false });
        prop_assert_eq!(again == Heard::Taken, (200..300).contains(&status));
    }
}
