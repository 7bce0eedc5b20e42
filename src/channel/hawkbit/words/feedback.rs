//! What a server is told of its actions: the table of docs/use/hawkbit.md.

use serde::Deserialize;
use serde_json::{Value, json};

use super::plain;
use crate::channel::offer::{Telling, What};
use crate::model::{ComponentName, Failure};

/// Causes of a failure that are told, so that what follows them has a place.
const MOST_CAUSES: usize = 4;

/// In which form a server wants feedback.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct FeedbackStyle {
    /// No member that a server could do without.
    pub(crate) minimal: bool,
    /// When it is made, in milliseconds since 1970, where the server is to know.
    pub(crate) timestamp_ms: Option<u64>,
    /// Nothing but what each server asks for.
    pub(crate) bare: bool,
}

/// The body of a feedback; [`Address::feedback`](super::Address::feedback) is where it goes.
pub(crate) fn feedback(telling: &Telling, style: &FeedbackStyle) -> Vec<u8> {
    let Telling { action, what } = telling;
    let (execution, finished) = words(what);
    let mut result = json!({"finished": finished});
    if let Some(percent) = percent(what).filter(|_| !style.minimal) {
        // Of a hundred, because the server has no room for bytes; and never one without the other:
        // gooseBit refuses that.
        result["progress"] = json!({"cnt": percent, "of": 100});
    }
    if style.bare {
        let result = json!({"finished": finished});
        let status = json!({"execution": execution, "result": result});
        return bytes(&json!({"id": action.as_str(), "status": status}));
    }
    let mut body = json!({
        "id": action.as_str(),
        "status": {"execution": execution, "result": result, "details": plain::details(details(what))},
    });
    if let Some(timestamp) = style.timestamp_ms.filter(|_| !style.minimal) {
        body["timestamp"] = json!(timestamp);
    }
    bytes(&body)
}

/// `execution` and `finished`. A refusal is no `rejected`: that leaves the action open for ever
/// (HB-9), except where it answers a cancellation (HB-11).
fn words(what: &What) -> (&'static str, &'static str) {
    match what {
        What::Accepted | What::Installing | What::OnTrial => ("proceeding", "none"),
        What::NotNow { .. } => ("scheduled", "none"),
        What::Downloading { .. } => ("download", "none"),
        What::Downloaded => ("downloaded", "none"),
        What::Succeeded { .. } | What::Cancelled => ("closed", "success"),
        What::Failed { .. } => ("closed", "failure"),
        What::TooLate => ("rejected", "none"),
    }
}

fn details(what: &What) -> Vec<String> {
    let one = |text: &str| vec![text.to_owned()];
    match what {
        What::Accepted => one("The upgrade has begun"),
        What::NotNow { why } => vec![format!("It waits: {why}")],
        What::Downloading { received, .. } => vec![match percent(what) {
            // gooseBit reads its progress from this very text.
            Some(percent) => format!("Downloaded {percent}%"),
            None => format!("Downloaded {} KiB", received >> 10),
        }],
        What::Downloaded => one("All is downloaded and proved"),
        What::Installing => one("It is being installed"),
        What::OnTrial => one("The new program runs and is being watched"),
        What::Succeeded { sentence } => one(sentence),
        What::Failed { failure, replaced, kept } => of_failure(failure, replaced, kept),
        What::Cancelled => one("Taken back; nothing of it was installed"),
        What::TooLate => one("Too late: it is being installed"),
    }
}

fn of_failure(
    failure: &Failure,
    replaced: &[ComponentName],
    kept: &[ComponentName],
) -> Vec<String> {
    let list = |what: &str, names: &[ComponentName]| {
        let names: Vec<&str> = names.iter().map(ComponentName::as_str).collect();
        (!names.is_empty()).then(|| format!("{what}: {}", names.join(", ")))
    };
    let mut details = vec![failure.sentence.clone()];
    details.extend(failure.causes.iter().take(MOST_CAUSES).cloned());
    details.extend(list("Replaced, and running", replaced));
    details.extend(list("As it was", kept));
    details.push(format!("Failure: {}", failure.kind));
    details.push(format!("What to do: {}", failure.hint()));
    details
}

/// How much is there, of 100; none where nobody knows how much it will be.
pub(super) fn percent(what: &What) -> Option<u8> {
    match *what {
        What::Downloading { received, size } if size > 0 => {
            let percent = u128::from(received) * 100 / u128::from(size);
            Some(u8::try_from(percent).unwrap_or(100).min(100))
        }
        _ => None,
    }
}

/// What a server is answered that asks whether an action may begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It may.
    Confirmed,
    /// It may not. Told once of an action: it is offered again at every poll (HB-12).
    Denied {
        /// Why, a sentence.
        why: String,
    },
}

/// The body of the answer to a confirmation.
pub(crate) fn confirmation(answer: &Answer) -> Vec<u8> {
    let (word, detail) = match answer {
        Answer::Confirmed => ("confirmed", "The device agrees".to_owned()),
        Answer::Denied { why } => ("denied", format!("{DENIED}{why}")),
    };
    bytes(&json!({"confirmation": word, "details": plain::details([detail])}))
}

/// What a denial begins with, by which it is known in the server's history.
const DENIED: &str = "Denied: ";
/// Messages of its history that are asked for: denials may follow what others have said.
const HISTORY: usize = 10;

#[derive(Deserialize)]
struct Told {
    #[serde(rename = "actionHistory")]
    history: Option<History>,
}

#[derive(Deserialize)]
struct History {
    messages: Option<Vec<String>>,
}

/// The link of a confirmation, so that the answer has the history of its action.
pub(crate) fn with_history(href: &str) -> String {
    let sign = if href.contains('?') { '&' } else { '?' };
    format!("{href}{sign}actionHistory={HISTORY}")
}

/// Whether the history in such an answer has a denial of this device. Servers that tell none are
/// denied once more.
pub(crate) fn was_denied(answer: &[u8]) -> bool {
    let told: Option<Told> = super::read(answer).ok();
    let messages = told.and_then(|told| told.history?.messages).unwrap_or_default();
    messages.iter().any(|message| message.starts_with(DENIED))
}

pub(super) fn bytes(body: &Value) -> Vec<u8> {
    body.to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::offer::Action;
    use crate::model::FailureKind;

    const FULL: FeedbackStyle = FeedbackStyle { minimal: false, timestamp_ms: None, bare: false };

    fn told(what: What, style: FeedbackStyle) -> Value {
        let action = Action::try_from("12".to_owned()).unwrap();
        serde_json::from_slice(&feedback(&Telling { action, what }, &style)).unwrap()
    }

    fn failed() -> What {
        let failure = Failure::new(FailureKind::WrongProduct, "the file is for product \"X\"")
            .because(anyhow::anyhow!("it says <X>"));
        let names = |names: &[&str]| names.iter().map(|name| name.parse().unwrap()).collect();
        What::Failed { failure, replaced: names(&["modem"]), kept: names(&["program", "gimbal"]) }
    }

    /// HB-9, HB-10, HB-11, and the table.
    #[test]
    fn each_state_has_its_words() {
        for (what, execution, finished, detail) in [
            (What::Accepted, "proceeding", "none", "The upgrade has begun"),
            (
                What::NotNow { why: "held: \"flight\"".into() },
                "scheduled",
                "none",
                "It waits: held: flight",
            ),
            (
                What::Downloading { received: 1638, size: 4096 },
                "download",
                "none",
                "Downloaded 39%",
            ),
            (What::Downloading { received: 5000, size: 0 }, "download", "none", "Downloaded 4 KiB"),
            (What::Downloaded, "downloaded", "none", "All is downloaded and proved"),
            (What::Installing, "proceeding", "none", "It is being installed"),
            (What::OnTrial, "proceeding", "none", "The new program runs and is being watched"),
            (
                What::Succeeded { sentence: "V01.00.03.00 runs".into() },
                "closed",
                "success",
                "V01.00.03.00 runs",
            ),
            (failed(), "closed", "failure", "the file is for product X"),
            (What::Cancelled, "closed", "success", "Taken back; nothing of it was installed"),
            (What::TooLate, "rejected", "none", "Too late: it is being installed"),
        ] {
            let body = told(what.clone(), FULL);
            assert_eq!(body["id"], "12");
            assert_eq!(body["status"]["execution"], execution, "{what:?}");
            assert_eq!(body["status"]["result"]["finished"], finished, "{what:?}");
            assert_eq!(body["status"]["details"][0], detail, "{what:?}");
            let closes = execution == "closed";
            assert_eq!(
                what.is_final(),
                closes,
                "what is final closes the action, and nothing else"
            );
        }
    }

    #[test]
    fn a_failure_says_what_was_replaced_what_stays_and_what_to_do() {
        let hint = FailureKind::WrongProduct.hint();
        assert_eq!(
            told(failed(), FULL)["status"]["details"],
            json!([
                "the file is for product X",
                "it says _X_",
                "Replaced, and running: modem",
                "As it was: program, gimbal",
                "Failure: wrong-product",
                format!("What to do: {}", plain::detail(hint)),
            ])
        );
    }

    #[test]
    fn many_causes_crowd_nothing_out() {
        let failure = Failure {
            causes: (0..50).map(|n| format!("cause {n}")).collect(),
            ..Failure::new(FailureKind::Internal, "x".repeat(5000))
        };
        let program = vec![ComponentName::PROGRAM];
        let what = What::Failed { failure, replaced: program.clone(), kept: program };
        let body = told(what, FULL);
        let details = body["status"]["details"].as_array().unwrap();
        assert_eq!((details.len(), &details[7]), (9, &json!("Failure: internal")));
        assert!(details.iter().all(|detail| plain::is_detail(detail.as_str().unwrap())));
    }

    #[test]
    fn progress_has_both_numbers_or_is_absent() {
        let result = |received, size| {
            told(What::Downloading { received, size }, FULL)["status"]["result"].clone()
        };
        for (received, size, percent) in [
            (0, 4096, 0),
            (4096, 4096, 100),
            (9000, 4096, 100),
            (u64::MAX, u64::MAX, 100),
            (u64::MAX, 1, 100),
        ] {
            assert_eq!(result(received, size)["progress"], json!({"cnt": percent, "of": 100}));
        }
        for absent in [result(7, 0), told(What::Installing, FULL)["status"]["result"].clone()] {
            assert_eq!(absent, json!({"finished": "none"}));
        }
    }

    /// What hawkbit_mock compares member by member.
    #[test]
    fn minimal_feedback_has_what_is_required_and_details() {
        let style = FeedbackStyle { minimal: true, timestamp_ms: Some(7), bare: false };
        assert_eq!(
            told(What::Downloading { received: 4, size: 10 }, style),
            json!({"id": "12", "status": {
                "execution": "download", "result": {"finished": "none"}, "details": ["Downloaded 40%"],
            }})
        );
        let style = FeedbackStyle { timestamp_ms: Some(1_767_225_600_000), ..FULL };
        assert_eq!(told(What::Accepted, style)["timestamp"], 1_767_225_600_000_u64);
        assert_eq!(told(What::Accepted, FULL).get("timestamp"), None);
    }

    /// HB-12.
    #[test]
    fn a_confirmation_is_given_or_denied() {
        let denied = Answer::Denied { why: "upgrades are \"held\"".into() };
        for (answer, body) in [
            (
                Answer::Confirmed,
                json!({"confirmation": "confirmed", "details": ["The device agrees"]}),
            ),
            (denied, json!({"confirmation": "denied", "details": ["Denied: upgrades are held"]})),
        ] {
            let told: Value = serde_json::from_slice(&confirmation(&answer)).unwrap();
            assert_eq!(told, body);
        }
    }

    /// HB-12: what another process has denied stands in the history.
    #[test]
    fn a_denial_is_known_in_the_history() {
        let told = confirmation(&Answer::Denied { why: "upgrades are held".into() });
        let told: Value = serde_json::from_slice(&told).unwrap();
        let with = |history: Value| json!({"id": "12", "actionHistory": history}).to_string();
        let messages = json!(["somebody else", told["details"][0]]);
        assert!(was_denied(with(json!({"status": "X", "messages": messages})).as_bytes()));
        for other in [
            json!(null),
            json!({}),
            json!({"messages": null}),
            json!({"messages": []}),
            json!({"messages": ["The device agrees"]}),
            json!({"messages": [7]}),
            json!("Denied: x"),
        ] {
            assert!(!was_denied(with(other.clone()).as_bytes()), "{other}");
        }
        assert!(!was_denied(b"") && !was_denied(b"{\"id\":\"12\"}"));
        for (href, asked) in
            [("h/1?c=2", "h/1?c=2&actionHistory=10"), ("h/1", "h/1?actionHistory=10")]
        {
            assert_eq!(with_history(href), asked);
        }
    }

    /// HB-8: what a server asks for, and nothing that it could stumble over.
    #[test]
    fn bare_feedback_has_what_each_server_asks_for() {
        let style = FeedbackStyle { bare: true, timestamp_ms: Some(7), ..FULL };
        let status = json!({"execution": "closed", "result": {"finished": "failure"}});
        assert_eq!(told(failed(), style), json!({"id": "12", "status": status}));
    }
}
