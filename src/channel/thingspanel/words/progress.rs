//! Progress of a task: steps, and the codes of a failure, in one table.

use serde::{Deserialize, Serialize};

use crate::channel::offer::What;
use crate::model::FailureKind;

/// Longest description in characters (TP-12).
const LONGEST_DESC: usize = 127;
/// Steps of a task: the file comes between the first two.
const ACCEPTED: u8 = 1;
const RECEIVED: u8 = 80;
const PROVED: u8 = 85;
const INSTALLING: u8 = 90;
const ON_TRIAL: u8 = 95;
const DONE: u8 = 100;

/// How far a task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(in crate::channel::thingspanel) enum Step {
    /// 1 to 99.
    Running(u8),
    /// It has succeeded.
    Done,
    /// It has failed.
    Failed(Code),
}

/// Why a task has failed, as the platform knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(in crate::channel::thingspanel) enum Code {
    /// -1: for another reason than the following.
    Failed,
    /// -2: the file did not come.
    Download,
    /// -3: it is not what it should be.
    Verify,
    /// -4: it could not be written.
    Write,
}

/// What the platform hears of a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::channel::thingspanel) struct Progress {
    pub(in crate::channel::thingspanel) step: Step,
    /// For a person.
    pub(in crate::channel::thingspanel) desc: String,
    /// As it came, where one came (TP-13).
    pub(in crate::channel::thingspanel) module: Option<String>,
}

impl Progress {
    /// The word for this, if the platform has one.
    pub(in crate::channel::thingspanel) fn of(what: &What, module: Option<&str>) -> Option<Self> {
        let (step, desc) = match what {
            What::Accepted => (Step::Running(ACCEPTED), "accepted".to_owned()),
            // 1.1: it waits without a message.
            What::NotNow { .. } | What::TooLate => return None,
            What::Downloading { received, size } => {
                (Step::Running(received_of(*received, *size)), "downloading".to_owned())
            }
            What::Downloaded => (Step::Running(PROVED), "downloaded and checked".to_owned()),
            What::Installing => (Step::Running(INSTALLING), "installing".to_owned()),
            What::OnTrial => (Step::Running(ON_TRIAL), "it runs, and is being watched".to_owned()),
            What::Succeeded { sentence } => (Step::Done, sentence.clone()),
            What::Failed { failure, .. } => {
                (Step::Failed(code_of(failure.kind)), failure.sentence.clone())
            }
            What::Cancelled => (Step::Failed(Code::Failed), "it was given up".to_owned()),
        };
        Some(Self { step, desc: cut(&desc), module: module.map(str::to_owned) })
    }

    /// Of a task that has failed.
    pub(in crate::channel::thingspanel) fn failed(
        code: Code,
        why: &str,
        module: Option<&str>,
    ) -> Self {
        Self { step: Step::Failed(code), desc: cut(why), module: module.map(str::to_owned) }
    }

    /// Of a task that needs nothing any more.
    pub(in crate::channel::thingspanel) fn done(why: &str, module: Option<&str>) -> Self {
        Self { step: Step::Done, desc: cut(why), module: module.map(str::to_owned) }
    }

    /// The message's bytes.
    pub(in crate::channel::thingspanel) fn to_bytes(&self) -> Vec<u8> {
        #[derive(Serialize)]
        struct Message<'a> {
            step: String,
            desc: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            module: Option<&'a str>,
        }
        let (step, desc) = (self.step.to_string(), &*self.desc);
        let message = Message { step, desc, module: self.module.as_deref() };
        serde_json::to_vec(&message).unwrap_or_default()
    }
}

/// TP-11: a decimal number, never 0.
impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let number = match self {
            Self::Running(step) => i16::from((*step).clamp(ACCEPTED, DONE - 1)),
            Self::Done => i16::from(DONE),
            Self::Failed(Code::Failed) => -1,
            Self::Failed(Code::Download) => -2,
            Self::Failed(Code::Verify) => -3,
            Self::Failed(Code::Write) => -4,
        };
        write!(f, "{number}")
    }
}

/// The one table of our kinds and the platform's codes.
pub(in crate::channel::thingspanel) const fn code_of(kind: FailureKind) -> Code {
    use FailureKind as Kind;
    match kind {
        Kind::TransferFailed | Kind::TooLarge => Code::Download,
        Kind::NameInvalid
        | Kind::WrongProduct
        | Kind::WrongVersion
        | Kind::Truncated
        | Kind::WrongMachine
        | Kind::WrongBase
        | Kind::DigestMismatch
        | Kind::SealMissing
        | Kind::SealInvalid
        | Kind::PreflightFailed => Code::Verify,
        Kind::NoSpace | Kind::InstallFailed => Code::Write,
        // Refused by rule, or the old program runs again.
        Kind::Busy
        | Kind::Interrupted
        | Kind::Cancelled
        | Kind::Timeout
        | Kind::Downgrade
        | Kind::SameVersion
        | Kind::KnownBad
        | Kind::RestartFailed
        | Kind::Unhealthy
        | Kind::NotNow
        | Kind::Internal => Code::Failed,
    }
}

fn received_of(received: u64, size: u64) -> u8 {
    let span = u128::from(RECEIVED - ACCEPTED);
    let part = (u128::from(received.min(size)) * span).checked_div(u128::from(size));
    ACCEPTED + part.and_then(|part| u8::try_from(part).ok()).unwrap_or_default()
}

/// TP-12.
fn cut(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST_DESC).collect()
}
