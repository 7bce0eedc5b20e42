//! What becomes of what is told: a line of the log, and in the turnkey protocol the result of a
//! request. The wire has no progress, and success is heard by the version of the next request.

use super::Settings;
use super::turnkey::{self, Post};
use crate::channel::offer::{Telling, What};

/// What becomes of a telling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Told {
    /// For the log, a sentence.
    pub(crate) line: String,
    /// For the server. It is repeated until the server has taken it ([`super::is_taken`]): the
    /// report is acknowledged to the daemon only then (LU-8).
    pub(crate) post: Option<Post>,
}

/// What becomes of a telling.
pub(crate) fn told(settings: &Settings, telling: &Telling) -> Told {
    let action = telling.action.as_str();
    let code = match &telling.what {
        What::Succeeded { .. } => Some(turnkey::SUCCESS),
        what if what.is_final() => Some(turnkey::FAILURE),
        _ => None,
    };
    let post = code.and_then(|code| turnkey::result(settings, action, code));
    Told { line: format!("the firmware {action} {}", fares(&telling.what)), post }
}

fn fares(what: &What) -> String {
    match what {
        What::Accepted => "is fetched".into(),
        What::NotNow { why } => format!("is put off: {why}"),
        What::Downloading { received, size: 0 } => format!("comes: {received} bytes"),
        What::Downloading { received, size } => format!("comes: {received} of {size} bytes"),
        What::Downloaded => "is there and proved".into(),
        What::Installing => "is being installed".into(),
        What::OnTrial => "runs, and is being watched".into(),
        What::Succeeded { sentence } => format!("is installed: {sentence}"),
        What::Failed { failure, .. } => format!("is not installed: {failure}"),
        What::Cancelled => "was given up".into(),
        What::TooLate => "was taken back too late: it is being installed".into(),
    }
}
