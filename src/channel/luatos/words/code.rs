//! An answer in JSON, `{"code":27,"msg":"…"}`, and what its number means (LU-5).

use serde::Deserialize;
use serde_json::Value;

use super::heard::Heard;
use crate::config::Codes;

/// Longest text of a server's in characters that goes into a log.
const LONGEST_MESSAGE: usize = 160;

/// What every answer in JSON has.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Word {
    pub(super) code: i64,
    /// The server's words, with its escapes undone; anything else than text counts as none.
    #[serde(default)]
    msg: Value,
}

impl Word {
    /// The word that these bytes are as a whole. Blank space around it does not count: no firmware
    /// file begins or ends so either.
    pub(super) fn of(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.trim_ascii();
        let is_object = bytes.starts_with(b"{") && bytes.ends_with(b"}");
        is_object.then(|| serde_json::from_slice(bytes).ok()).flatten()
    }

    /// What it comes to.
    pub(super) fn heard(&self, codes: Codes) -> Heard {
        let says = |meaning: &str| self.sentence(meaning);
        let wrong =
            |meaning: &str, is_slow| Heard::WrongSetting { sentence: says(meaning), is_slow };
        match (self.code, codes) {
            (0, _) => Heard::Nothing { why: says("the server says that all is well") },
            (3, _) => wrong(
                "the server does not know this payload: is the key in `identity` the right one of imei, mac and uid?",
                true,
            ),
            (17, _) => wrong(
                "payload, firmware and project are not in the same account of the platform",
                false,
            ),
            (21, _) => {
                Heard::Nothing { why: says("the platform forbids upgrades of this payload") }
            }
            (25, Codes::Library) => {
                wrong("the platform does not know the project: is its key right?", false)
            }
            (25, Codes::Requirement) => wrong("the project belongs to another account", false),
            (26, Codes::Library) => {
                wrong("the project has no firmware of this name: is `firmware_name` right?", false)
            }
            (26, Codes::Requirement) => {
                wrong("the platform does not know the project: is its key right?", false)
            }
            (27, Codes::Library) => Heard::Nothing {
                why: says("nothing newer, not for this payload, or switched off on the platform"),
            },
            (27, Codes::Requirement) => {
                wrong("the project has no firmware of this name: is `firmware_name` right?", false)
            }
            (40, _) => Heard::Blocked {
                sentence: says(
                    "the platform has blocked this payload, because it asked for the same firmware too often: allow it again there",
                ),
            },
            (43, _) => Heard::NotYet { why: says("the platform is still making the file") },
            (44, _) => wrong("the platform does not have this `core`", false),
            _ => {
                Heard::Nothing { why: says("the server has nothing, for a reason not known here") }
            }
        }
    }

    /// A meaning with the number and the server's own words.
    pub(super) fn sentence(&self, meaning: &str) -> String {
        let said: String = self
            .msg
            .as_str()
            .unwrap_or_default()
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .take(LONGEST_MESSAGE)
            .collect();
        match said.trim() {
            "" => format!("{meaning} (code {})", self.code),
            said => format!("{meaning} (code {}: {said})", self.code),
        }
    }
}
