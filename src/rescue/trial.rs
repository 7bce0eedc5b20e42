//! What `state.json` says of a trial, by a reader of the rescue's own: it takes the few fields that it needs and passes over
//! the rest, so that a state file of another version of the daemon, be it the one on trial, still serves.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::config::Restart;
use crate::disk;
use crate::journal::STATE_FILE;
use crate::machine::Origin;
use crate::model::{PackageSummary, Request, UpgradeId};
use crate::package::digest::ProgramDigest;
use crate::package::version::Version;

/// Largest state file that is read. The daemon's own limit.
const LARGEST_FILE: u64 = 4 << 20;

/// What `state.json` tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Known {
    /// A new program was swapped in, or is about to be, and no conclusion stands.
    Trial(Box<Trial>),
    /// No upgrade is beyond its swap.
    NoTrial,
    /// There is no state file.
    Absent,
    /// The state file can't be read; why.
    Damaged(String),
}

/// A trial that is under way. These fields of `state.json` are a contract between all versions of the daemon and the rescue:
/// they keep name, place, meaning and form, whatever else the file's `format` changes.
///
/// | field of `state.json` | meaning |
/// |---|---|
/// | `upgrade` | `null`, or an object; where that has `swap`, a trial is under way |
/// | `upgrade.upgrade.id` | the upgrade's name |
/// | `upgrade.swap.package.program_digest` | SHA-256 of the program on trial |
/// | `upgrade.swap.old` | SHA-256 of the program before, or `null` |
/// | `upgrade.swap.origin` | `boot_id` and `invocation` in which the swap took place |
/// | `upgrade.swap.terms.program` | the program's path |
/// | `upgrade.swap.terms.unit` | its unit, or `null` |
/// | `upgrade.swap.terms.restart` | `"reboot"`, `{"unit": name}` or `{"command": [program, argument, …]}` |
/// | `upgrade.swap.terms.restart_deadline`, `.deadline` | milliseconds that restart and trial may take |
/// | `upgrade.swap.terms.boots` | boots that the trial may take |
///
/// Taken along for the report, where they can be read: `upgrade.upgrade.request`, `.from`, `.began`, `upgrade.swap.package`,
/// `upgrade.swap.terms.start_before`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Trial {
    /// Its upgrade.
    pub(crate) upgrade: UpgradeId,
    /// The program that must leave.
    pub(crate) on_trial: ProgramDigest,
    /// The one that must come back; nothing at a first installation.
    pub(crate) old: Option<ProgramDigest>,
    /// Where the swap took place.
    pub(crate) origin: Origin,
    /// What was agreed.
    pub(crate) terms: Terms,
    /// Who asked.
    #[serde(default, deserialize_with = "if_readable")]
    pub(crate) request: Option<Request>,
    /// The version before.
    #[serde(default, deserialize_with = "if_readable")]
    pub(crate) from: Option<Version>,
    /// When it began, for people.
    #[serde(default, deserialize_with = "if_readable")]
    pub(crate) began: Option<String>,
    /// The new program's package.
    #[serde(default, deserialize_with = "if_readable")]
    pub(crate) package: Option<PackageSummary>,
}

/// The part of [`crate::machine::Terms`] that the rescue needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Terms {
    pub(crate) program: PathBuf,
    pub(crate) unit: Option<String>,
    pub(crate) restart: Restart,
    /// Milliseconds.
    restart_deadline: u64,
    /// Milliseconds.
    deadline: u64,
    pub(crate) boots: u32,
    /// The invocation of the unit before the swap: what was logged up to then was another program's.
    #[serde(default, deserialize_with = "if_readable", skip_serializing_if = "Option::is_none")]
    pub(crate) start_before: Option<String>,
}

impl Terms {
    pub(crate) fn restart_deadline(&self) -> Duration {
        Duration::from_millis(self.restart_deadline)
    }

    /// What restart and trial may take together in one boot.
    pub(crate) fn both_deadlines(&self) -> Duration {
        Duration::from_millis(self.restart_deadline.saturating_add(self.deadline))
    }
}

impl Trial {
    /// Whether the program on trial is at the path, and another one was there before.
    pub(super) fn can_be_rolled_back(&self, at_path: Option<ProgramDigest>) -> bool {
        at_path == Some(self.on_trial) && self.old != at_path
    }
}

#[derive(Deserialize)]
struct UpgradeFields {
    upgrade: NameFields,
    swap: SwapFields,
}

#[derive(Deserialize)]
struct NameFields {
    id: UpgradeId,
    #[serde(default, deserialize_with = "if_readable")]
    request: Option<Request>,
    #[serde(default, deserialize_with = "if_readable")]
    from: Option<Version>,
    #[serde(default, deserialize_with = "if_readable")]
    began: Option<String>,
}

#[derive(Deserialize)]
struct SwapFields {
    package: Value,
    old: Option<ProgramDigest>,
    origin: OriginFields,
    terms: Terms,
}

#[derive(Deserialize)]
struct OriginFields {
    boot_id: String,
    invocation: Option<String>,
}

#[derive(Deserialize)]
struct PackageFields {
    program_digest: ProgramDigest,
}

/// What the state file in `directory` tells.
pub(super) fn read(directory: &Path) -> Known {
    match disk::read_limited(&directory.join(STATE_FILE), LARGEST_FILE) {
        Ok(None) => Known::Absent,
        Ok(Some(text)) => parse(&text).unwrap_or_else(|error| Known::Damaged(error.to_string())),
        Err(error) => Known::Damaged(error.to_string()),
    }
}

fn parse(text: &[u8]) -> serde_json::Result<Known> {
    #[derive(Deserialize)]
    struct File {
        upgrade: Value,
    }
    let File { upgrade } = serde_json::from_slice(text)?;
    if upgrade.is_null() || upgrade.as_object().is_some_and(|fields| !fields.contains_key("swap")) {
        return Ok(Known::NoTrial);
    }
    let UpgradeFields { upgrade: name, swap } = serde_json::from_value(upgrade)?;
    let PackageFields { program_digest } = PackageFields::deserialize(&swap.package)?;
    Ok(Known::Trial(Box::new(Trial {
        upgrade: name.id,
        on_trial: program_digest,
        old: swap.old,
        origin: Origin { boot_id: swap.origin.boot_id, invocation: swap.origin.invocation },
        terms: swap.terms,
        request: name.request,
        from: name.from,
        began: name.began,
        package: serde_json::from_value(swap.package).ok(),
    })))
}

/// A field that another version may have changed, and that nothing hangs on.
fn if_readable<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<Option<T>, D::Error> {
    Ok(serde_json::from_value(Value::deserialize(deserializer)?).ok())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) const OLD: u8 = 1;
    pub(crate) const NEW: u8 = 2;

    pub(crate) fn digest(byte: u8) -> ProgramDigest {
        ProgramDigest([byte; 32])
    }

    /// A trial of three boots and three minutes each, swapped in during `boot-1`.
    pub(crate) fn trial(restart: Restart) -> Trial {
        let terms = Terms {
            program: "/usr/local/bin/p".into(),
            unit: Some("u".into()),
            restart,
            restart_deadline: 60_000,
            deadline: 120_000,
            boots: 3,
            start_before: None,
        };
        Trial {
            upgrade: UpgradeId("one".into()),
            on_trial: digest(NEW),
            old: Some(digest(OLD)),
            origin: Origin { boot_id: "boot-1".into(), invocation: Some("start-1".into()) },
            terms,
            request: None,
            from: None,
            began: None,
            package: None,
        }
    }

    /// The contract, as a daemon of another version may write it: fields of its own everywhere, and others in new forms.
    fn foreign() -> Value {
        serde_json::json!({
            "format": 7, "of_its_own": [1, 2],
            "upgrade": {
                "phase": "a-new-one", "of_its_own": {},
                "upgrade": { "id": "one", "request": "in a new form", "from": "V01.00.00.00", "phases": 3 },
                "swap": {
                    "package": { "program_digest": digest(NEW), "seal": "new" },
                    "old": digest(OLD),
                    "origin": { "boot_id": "boot-1", "invocation": "start-1", "machine_id": "new" },
                    "terms": { "program": "/usr/local/bin/p", "unit": "u", "restart": { "unit": "u" }, "restart_deadline": 60_000,
                               "deadline": 120_000, "boots": 3, "confirm": "by-three-people" },
                },
            },
        })
    }

    fn parsed(value: &Value) -> Known {
        parse(value.to_string().as_bytes()).unwrap_or_else(|error| Known::Damaged(error.to_string()))
    }

    #[test]
    fn a_state_file_of_another_version_serves() {
        let expected = Trial { from: "V01.00.00.00".parse().ok(), ..trial(Restart::Unit("u".into())) };
        assert_eq!(parsed(&foreign()), Known::Trial(Box::new(expected)));
    }

    #[test]
    fn each_field_of_the_contract_is_needed() {
        for field in [
            "/upgrade/upgrade/id",
            "/upgrade/swap/package/program_digest",
            "/upgrade/swap/origin/boot_id",
            "/upgrade/swap/terms/program",
            "/upgrade/swap/terms/restart",
            "/upgrade/swap/terms/restart_deadline",
            "/upgrade/swap/terms/deadline",
            "/upgrade/swap/terms/boots",
        ] {
            let mut file = foreign();
            *file.pointer_mut(field).unwrap() = Value::Array(vec![]);
            assert!(matches!(parsed(&file), Known::Damaged(_)), "{field}");
        }
    }

    #[test]
    fn an_upgrade_without_a_swap_is_no_trial() {
        for upgrade in ["null", "{\"phase\":\"checking\",\"upgrade\":{}}"] {
            assert_eq!(parse(format!("{{\"upgrade\":{upgrade}}}").as_bytes()).unwrap(), Known::NoTrial);
        }
    }

    #[test]
    fn what_is_no_state_file_is_damaged_and_none_is_absent() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(read(directory.path()), Known::Absent);
        for text in ["", "{", "[]", "{}", "{\"upgrade\":7}", "{\"upgrade\":{\"swap\":null}}"] {
            #[allow(clippy::disallowed_methods, reason = "files of a test need not survive anything")]
            std::fs::write(directory.path().join(STATE_FILE), text).unwrap();
            assert!(matches!(read(directory.path()), Known::Damaged(_)), "{text}");
        }
        let file = std::fs::File::create(directory.path().join(STATE_FILE)).unwrap();
        file.set_len(LARGEST_FILE + 1).unwrap();
        assert_eq!(read(directory.path()), Known::Damaged("the file is too large".into()));
    }
}
