//! What must hold of any answer of a server, and of anything that it is told.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;

use super::words::{
    Address, Answer, Asked, Base, ConfigData, Deployment, FeedbackStyle, Names, Naming, cancelled,
    confirmation, feedback, was_denied,
};
use crate::channel::offer::{Offer, Telling, What};
use crate::config::HawkbitLink;
use crate::model::{ComponentName, Failure};

/// For the fuzzer: takes bytes as each answer of a server, and tells it what follows from them.
/// Panics where a promise is broken.
#[doc(hidden)]
pub fn fuzz(answer: &[u8]) {
    let address = Address::new("https://example.org", "DEFAULT", "PAYLOAD0001");
    if let Ok(base) = Base::parse(answer) {
        let pause = base.pause(Duration::from_secs(300)).as_secs();
        assert!((5..=86_400).contains(&pause), "a pause of {pause} s");
        let links = [base.deployment, base.cancel, base.confirmation, base.config_data];
        for link in links.iter().flatten() {
            let _ = address.is_foreign(link);
            if let Some(action) = link.action() {
                is_url(&address.confirmation(action));
            }
        }
    }
    if let Ok(action) = cancelled(answer) {
        for what in [What::Cancelled, What::TooLate] {
            tell(&address, &Telling { action: action.clone(), what });
        }
    }
    for naming in namings() {
        if let Ok(Some(deployment)) = Deployment::parse(answer, None, &naming) {
            judge(&address, deployment);
        }
    }
    let _ = was_denied(answer);
    attributes(answer);
}

fn namings() -> [Naming; 2] {
    let products = [("payload-fw", "P"), ("os", "Q")];
    let products = products.map(|(of, product)| (of.to_owned(), product.to_owned())).into();
    let parts = BTreeSet::from(["os".to_owned()]);
    let by_chunk = Naming {
        names: Names::Chunk { products },
        parts,
        link: HawkbitLink::DownloadHttp,
        ..Naming::default()
    };
    [Naming::default(), by_chunk]
}

fn judge(address: &Address, deployment: Deployment) {
    let Deployment { action, asked, passed_over: _ } = deployment;
    let what = match asked {
        Asked::Offer(offer) => {
            assert_eq!(offer.action, action);
            is_whole(&offer);
            What::Accepted
        }
        Asked::NotYet => What::NotNow { why: "it may not be fetched yet".to_owned() },
        Asked::Refused(failure) => refusal(failure),
    };
    tell(address, &Telling { action, what });
}

fn is_whole(offer: &Offer) {
    assert!(!offer.files.is_empty(), "an offer without files");
    for file in &offer.files {
        assert!(!file.url.is_empty(), "a file without a URL");
        assert_ne!(file.size, Some(0), "a size of 0 is one that nobody knows");
    }
}

fn refusal(failure: Failure) -> What {
    assert!(!failure.sentence.contains(char::is_control), "{failure:?}");
    let denied = Answer::Denied { why: failure.to_string() };
    let told: Value = serde_json::from_slice(&confirmation(&denied)).unwrap_or_default();
    assert_eq!(told["confirmation"], "denied");
    are_plain(&told["details"]);
    What::Failed { failure, replaced: Vec::new(), kept: vec![ComponentName::PROGRAM] }
}

/// Any feedback is JSON with the members that servers ask for, within their limits.
fn tell(address: &Address, telling: &Telling) {
    is_url(&address.feedback(telling));
    for minimal in [false, true] {
        let style = FeedbackStyle { minimal, timestamp_ms: Some(u64::MAX), bare: false };
        let body: Value = serde_json::from_slice(&feedback(telling, &style)).unwrap_or_default();
        assert_eq!(body["id"], telling.action.as_str());
        let status = &body["status"];
        let (execution, finished) = (&status["execution"], &status["result"]["finished"]);
        assert_eq!(telling.what.is_final(), execution == "closed", "{body}");
        assert_eq!(execution == "closed", finished != "none", "{body}");
        assert!(telling.what == What::TooLate || execution != "rejected", "{body}");
        are_plain(&status["details"]);
        if let Some(progress) = status["result"].get("progress") {
            assert!(!minimal && progress["cnt"].as_u64() <= progress["of"].as_u64(), "{body}");
        }
        assert_eq!(body.get("timestamp").is_some(), !minimal);
    }
}

fn are_plain(details: &Value) {
    let details = details.as_array().map_or(&[][..], Vec::as_slice);
    assert!((1..=10).contains(&details.len()), "{details:?}");
    for detail in details {
        let text = detail.as_str().unwrap_or_default();
        assert!((1..=400).contains(&text.len()), "{text:?}");
        let is_plain = |c: char| c.is_ascii_alphanumeric() || " .,:;%_/()=+-".contains(c);
        assert!(text.chars().all(is_plain), "{text:?}");
    }
}

fn is_url(url: &str) {
    assert!(url.starts_with("https://example.org/DEFAULT/controller/v1/PAYLOAD0001/"), "{url}");
    let is_right = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%/:".contains(&byte);
    assert!(url.bytes().all(is_right), "{url}");
}

/// Any text as keys and values of attributes.
fn attributes(answer: &[u8]) {
    let text = String::from_utf8_lossy(answer);
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    let configured = pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    let ConfigData { body, cut } = ConfigData::of(&configured, &[]);
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let data = body["data"].as_object().cloned().unwrap_or_default();
    assert!(data.len() <= 100 && (data.len() == configured.len() || !cut.is_empty()));
    for (key, value) in &data {
        let value = value.as_str().unwrap_or_default();
        assert!(key.encode_utf16().count() <= 128 && value.encode_utf16().count() <= 128);
    }
}
