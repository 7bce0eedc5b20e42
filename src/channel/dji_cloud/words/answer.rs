//! The platform's answers to what this device has said.

use serde_json::Value;

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    /// To which message.
    pub(crate) tid: String,
    /// The code: 0 is well.
    pub(crate) result: i64,
}

/// Takes a message of `status_reply` or `events_reply` apart; nothing where it is none.
pub(crate) fn answer(bytes: &[u8]) -> Option<Answer> {
    let message: Value = serde_json::from_slice(bytes).ok()?;
    let tid = message.get("tid")?.as_str()?.to_owned();
    let result = message.get("data")?.get("result")?.as_i64()?;
    Some(Answer { tid, result })
}
