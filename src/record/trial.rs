//! What `state.json` says of a trial, by a reader of the rescue's own: it takes the few fields that
//! it needs and passes over the rest, so that a state file of another version of the daemon, be it
//! the one on trial, still serves.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::disk;
use crate::model::version::Version;
use crate::model::{
    self, ComponentName, Confirm, Failure, FailureKind, Form, Origin, PackageSummary,
    ProgramDigest, Request, Restart, Runs, UpgradeId, Verdict,
};
use crate::record::{LARGEST_FILE, STATE_FILE, checksum};

/// What `state.json` tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Known {
    /// A new program was swapped in, or is about to be, and no conclusion stands.
    Trial(Box<Trial>),
    /// The daemon has decided itself that the old program comes back, and is at it, or was cut off.
    WayBack(Box<Trial>, Box<WayBack>),
    /// No upgrade is beyond its swap.
    NoTrial,
    /// There is no state file.
    Absent,
    /// The state file can't be read; why.
    Damaged(String),
}

impl Known {
    /// The trial that no conclusion ended.
    pub(crate) fn trial(&self) -> Option<&Trial> {
        match self {
            Self::Trial(trial) | Self::WayBack(trial, _) => Some(trial),
            Self::NoTrial | Self::Absent | Self::Damaged(_) => None,
        }
    }
}

/// The end of a trial by the daemon's word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WayBack {
    /// Why the old program comes back.
    pub(crate) verdict: Verdict,
    /// Where the new program may still have run once the old one was back at its path; nothing
    /// while it is being put there.
    pub(crate) restart_from: Option<Origin>,
}

impl WayBack {
    fn of(phase: Option<&str>, verdict: Option<Verdict>, origin: &Origin) -> Option<Box<Self>> {
        let restart_from = match phase? {
            "reverting" => None,
            "restarting-back" => Some(origin.clone()),
            _ => return None,
        };
        let unknown = || {
            Failure::new(
                FailureKind::Interrupted,
                "the daemon took the new program back, and why can't be read",
            )
            .into()
        };
        Some(Box::new(Self { verdict: verdict.unwrap_or_else(unknown), restart_from }))
    }
}

/// A trial that is under way. These fields of `state.json` are a contract between all versions of
/// the daemon and the rescue: they keep name, place, meaning and form, whatever else the file's
/// `format` changes.
///
/// | field of `state.json` | meaning |
/// |---|---|
/// | `upgrade` | `null`, or an object; where that has `swap`, a trial is under way |
/// | `upgrade.phase` | `"reverting"` while the daemon puts the old program back, `"restarting-back"` while it restarts that; any other word is none of these |
/// | `upgrade.upgrade.id` | the upgrade's name |
/// | `upgrade.swap.package.program_digest` | SHA-256 of the program on trial |
/// | `upgrade.swap.old` | SHA-256 of the program before, or `null` |
/// | `upgrade.swap.origin` | `boot_id` and `invocation` in which the swap took place; while restarting back, in which the old program came back |
/// | `upgrade.swap.terms.program` | the program's path |
/// | `upgrade.swap.terms.unit` | its unit, or `null` |
/// | `upgrade.swap.terms.restart` | `"reboot"`, `{"unit": name}` or `{"command": [program, argument, …]}` |
/// | `upgrade.swap.terms.restart_deadline`, `.deadline` | milliseconds that restart and trial may take |
/// | `upgrade.swap.terms.boots` | boots that the trial may take |
/// | `upgrade.swap.terms.form` | absent or `"file"`: what was said above; `"tree"`: the path is that of a directory, and both digests are those of manifests (docs/wire/tree.md); any other word: nothing is touched |
///
/// Taken along for the report, where they can be read: `upgrade.upgrade.request`, `.component`,
/// `.from`, `.began`, `upgrade.swap.package`, `upgrade.swap.terms.start_before`, `upgrade.verdict`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Trial {
    /// Format of the state file in which it was seen.
    #[serde(skip)]
    pub(crate) format: u32,
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
    /// What is replaced.
    #[serde(default, deserialize_with = "if_readable", skip_serializing_if = "Option::is_none")]
    pub(crate) component: Option<ComponentName>,
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

/// The part of [`crate::model::Terms`] that the rescue needs.
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
    /// What lies at the path. A form that is not known here is nothing to touch.
    #[serde(default, skip_serializing_if = "Form::is_file")]
    pub(crate) form: Form,
    /// The invocation of the unit before the swap: what was logged up to then was another
    /// program's.
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

    /// With what a trial needs besides left open: there will be none.
    pub(crate) fn to_put_back(&self) -> model::Terms {
        model::Terms {
            program: self.program.clone(),
            unit: self.unit.clone(),
            restart: self.restart.clone(),
            restart_deadline: self.restart_deadline(),
            window: Duration::ZERO,
            deadline: Duration::from_millis(self.deadline),
            boots: self.boots,
            confirm: Confirm::Auto,
            health_command: None,
            bridge: None,
            runs: Runs::Itself,
            form: self.form,
            start_before: self.start_before.clone(),
        }
    }
}

impl Trial {
    /// The fields of `state.json` that are agreed between all versions.
    pub(crate) fn contract(&self) -> Value {
        serde_json::json!({
            "upgrade": { "id": self.upgrade, "request": self.request, "component": self.component, "from": self.from, "began": self.began },
            "swap": {
                "package": { "program_digest": self.on_trial },
                "old": self.old,
                "origin": self.origin,
                "terms": self.terms,
            },
        })
    }

    /// Whether the program on trial is at the path, and another one was there before.
    pub(crate) fn can_be_rolled_back(&self, at_path: Option<ProgramDigest>) -> bool {
        at_path == Some(self.on_trial) && self.old != at_path
    }
}

#[derive(Deserialize)]
struct UpgradeFields {
    #[serde(default, deserialize_with = "if_readable")]
    phase: Option<String>,
    #[serde(default, deserialize_with = "if_readable")]
    verdict: Option<Verdict>,
    upgrade: NameFields,
    swap: SwapFields,
}

#[derive(Deserialize)]
struct NameFields {
    id: UpgradeId,
    #[serde(default, deserialize_with = "if_readable")]
    request: Option<Request>,
    #[serde(default, deserialize_with = "if_readable")]
    component: Option<ComponentName>,
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
pub(crate) fn read(directory: &Path) -> Known {
    match disk::read_limited(&directory.join(STATE_FILE), LARGEST_FILE) {
        Ok(None) => Known::Absent,
        Ok(Some(text)) => parse(&text).unwrap_or_else(|error| Known::Damaged(error.to_string())),
        Err(error) => Known::Damaged(error.to_string()),
    }
}

fn parse(text: &[u8]) -> Result<Known, checksum::Wrong> {
    #[derive(Deserialize)]
    struct File {
        upgrade: Value,
    }
    let format = checksum::examine(text)?;
    let File { upgrade } = serde_json::from_slice(text)?;
    if upgrade.is_null() || upgrade.as_object().is_some_and(|fields| !fields.contains_key("swap")) {
        return Ok(Known::NoTrial);
    }
    let UpgradeFields { phase, verdict, upgrade: name, swap } = serde_json::from_value(upgrade)?;
    let PackageFields { program_digest } = PackageFields::deserialize(&swap.package)?;
    let trial = Box::new(Trial {
        format: format.min(checksum::FORMAT),
        upgrade: name.id,
        on_trial: program_digest,
        old: swap.old,
        origin: Origin { boot_id: swap.origin.boot_id, invocation: swap.origin.invocation },
        terms: swap.terms,
        request: name.request,
        component: name.component,
        from: name.from,
        began: name.began,
        package: serde_json::from_value(swap.package).ok(),
    });
    Ok(match WayBack::of(phase.as_deref(), verdict, &trial.origin) {
        Some(way_back) => Known::WayBack(trial, way_back),
        None => Known::Trial(trial),
    })
}

/// A field that another version may have changed, and that nothing hangs on.
fn if_readable<'de, D: Deserializer<'de>, T: DeserializeOwned>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    Ok(serde_json::from_value(Value::deserialize(deserializer)?).ok())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::record::checksum::tests::sealed;

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
            form: Form::File,
            start_before: None,
        };
        Trial {
            format: 1,
            upgrade: UpgradeId("one".into()),
            on_trial: digest(NEW),
            old: Some(digest(OLD)),
            origin: Origin { boot_id: "boot-1".into(), invocation: Some("start-1".into()) },
            terms,
            request: None,
            component: None,
            from: None,
            began: None,
            package: None,
        }
    }

    /// The contract, as a daemon of another version may write it: fields of its own everywhere, and
    /// others in new forms.
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
        parse(sealed(value).as_bytes()).unwrap_or_else(|error| Known::Damaged(error.to_string()))
    }

    #[test]
    fn a_state_file_of_another_version_serves() {
        let expected = Trial {
            format: 2,
            from: "V01.00.00.00".parse().ok(),
            ..trial(Restart::Unit("u".into()))
        };
        assert_eq!(parsed(&foreign()), Known::Trial(Box::new(expected)));
    }

    #[test]
    fn the_way_back_of_the_daemon_is_told_from_a_trial() {
        let verdict = serde_json::json!({ "failure": { "kind": "unhealthy", "sentence": "why" }, "program_log": ["its last words"] });
        let from = Origin { boot_id: "boot-1".into(), invocation: Some("start-1".into()) };
        for (phase, restart_from) in [("reverting", None), ("restarting-back", Some(from))] {
            let mut file = foreign();
            file["upgrade"]["phase"] = phase.into();
            file["upgrade"]["verdict"] = verdict.clone();
            let Known::WayBack(_, way_back) = parsed(&file) else { panic!("{phase}") };
            assert_eq!(way_back.restart_from, restart_from);
            assert_eq!(way_back.verdict, serde_json::from_value(verdict.clone()).unwrap());
            file["upgrade"]["verdict"] = "in a form of its own".into();
            let Known::WayBack(_, way_back) = parsed(&file) else { panic!("{phase}") };
            assert_eq!(way_back.verdict.failure.kind, FailureKind::Interrupted);
        }
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
    fn a_tree_is_told_by_its_form_and_what_is_of_another_form_is_not_touched() {
        let mut file = foreign();
        for (form, expected) in [("file", Form::File), ("tree", Form::Tree)] {
            file["upgrade"]["swap"]["terms"]["form"] = form.into();
            let Known::Trial(trial) = parsed(&file) else { panic!("{form}") };
            assert_eq!((trial.terms.form, trial.terms.to_put_back().form), (expected, expected));
            // The second copy of the trial says it, too.
            let copy = trial.contract();
            assert_eq!(copy["swap"]["terms"].get("form").is_some(), form == "tree");
        }
        file["upgrade"]["swap"]["terms"]["form"] = "volume".into();
        assert!(matches!(parsed(&file), Known::Damaged(_)));
    }

    #[test]
    fn an_upgrade_without_a_swap_is_no_trial() {
        for upgrade in ["null", "{\"phase\":\"checking\",\"upgrade\":{}}"] {
            assert_eq!(
                parse(format!("{{\"format\":1,\"upgrade\":{upgrade}}}").as_bytes()).unwrap(),
                Known::NoTrial
            );
        }
    }

    #[test]
    fn a_file_that_is_not_as_it_was_written_is_damaged() {
        let right = sealed(&foreign());
        for (from, to) in [
            ("boot-1", "boot-0"),
            ("crc32", "crc33"),
            ("\"format\": 7", "\"format\": 6"),
            ("crc32\": \"", "crc32\": \"0"),
        ] {
            let changed = right.replace(from, to);
            assert!(changed != right && parse(changed.as_bytes()).is_err(), "{from}");
        }
    }

    #[test]
    fn what_is_no_state_file_is_damaged_and_none_is_absent() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(read(directory.path()), Known::Absent);
        for text in ["", "{", "[]", "{}", "{\"upgrade\":7}", "{\"upgrade\":{\"swap\":null}}"] {
            #[allow(
                clippy::disallowed_methods,
                reason = "files of a test need not survive anything"
            )]
            std::fs::write(directory.path().join(STATE_FILE), text).unwrap();
            assert!(matches!(read(directory.path()), Known::Damaged(_)), "{text}");
        }
        let file = std::fs::File::create(directory.path().join(STATE_FILE)).unwrap();
        file.set_len(LARGEST_FILE + 1).unwrap();
        assert_eq!(read(directory.path()), Known::Damaged("the file is too large".into()));
    }
}
