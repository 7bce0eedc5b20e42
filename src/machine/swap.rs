//! What is swapped for what, where that took place, and what was agreed about the trial.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::{self, Confirm, Restart, Runs};
use crate::model::{Failure, FailureKind, PackageSummary};
use crate::package::digest::ProgramDigest;

/// In the name of a boot, between the kernel's id and the start of the container, where there is
/// one.
pub(crate) const CONTAINER_START: char = '+';

/// Where the swap took place: what a restart changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The kernel's boot id; in a container with the container's start.
    pub boot_id: String,
    /// The invocation id of the program's unit, where one is named and ran.
    pub invocation: Option<String>,
}

impl Origin {
    /// Whether a restart lies between `before` and this.
    pub fn restarted_since(&self, before: &Self) -> bool {
        !self.is_in_boot_of(before)
            || (self.invocation.is_some() && self.invocation != before.invocation)
    }

    /// Whether no boot lies between the two.
    pub(crate) fn is_in_boot_of(&self, other: &Self) -> bool {
        is_same_boot(&self.boot_id, &other.boot_id)
    }

    /// Whether both name a start of the unit, and not the same one. Where systemd could not tell
    /// one of them, nothing is proved.
    pub(crate) fn is_another_start_than(&self, before: &Self) -> bool {
        self.invocation.is_some()
            && before.invocation.is_some()
            && self.invocation != before.invocation
    }

    /// Whether what ran `before` a restart that was asked for still runs `now`, for certain. Doubt
    /// means no: a restart too many harms less than a program that runs on while it is not at its
    /// path any more.
    pub(crate) fn was_never_restarted(before: &Self, now: &Self, restart: &Restart) -> bool {
        let same_start = now.invocation.is_some() && now.invocation == before.invocation;
        now.is_in_boot_of(before) && (*restart == Restart::Reboot || same_start)
    }
}

/// Whether these are names of one boot. A version that knew nothing of containers wrote the
/// kernel's id alone.
fn is_same_boot(one: &str, other: &str) -> bool {
    let ((one, start), (other, other_start)) = (parts(one), parts(other));
    one == other && (start == other_start || start.is_none() || other_start.is_none())
}

/// The kernel's id, and the start of the container, a number.
fn parts(boot_id: &str) -> (&str, Option<u64>) {
    let parts = boot_id
        .rsplit_once(CONTAINER_START)
        .and_then(|(kernel, start)| Some((kernel, Some(start.parse().ok()?))));
    parts.unwrap_or((boot_id, None))
}

/// What restart and trial were agreed to be at the word to install. A configuration that changes or
/// breaks meanwhile can't change them, and `uplift-rescue` needs no other source.
///
/// | field | meaning |
/// |---|---|
/// | `program` | path of the program |
/// | `unit` | its unit, or `null` |
/// | `restart` | `"reboot"`, `{"unit": name}`, or `{"command": [program, argument, …]}` |
/// | `restart_deadline` | milliseconds until a restart that did not come counts as failed |
/// | `window` | milliseconds that the unit must run without a restart |
/// | `deadline` | milliseconds from the restart to the verdict, at most, in each boot |
/// | `boots` | how many boots the trial may take |
/// | `confirm` | `"auto"` or `"explicit"` |
/// | `health_command` | program and arguments, or `null` |
/// | `runs` | `"itself"`, or `"another"` where the program becomes another one; absent is `"itself"` |
/// | `start_before` | invocation id of the unit's last start before the swap, where it is known: what it logged up to then is not the new program's |
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the table above")]
pub struct Terms {
    pub program: PathBuf,
    pub unit: Option<String>,
    pub restart: Restart,
    #[serde(with = "milliseconds")]
    pub restart_deadline: Duration,
    #[serde(with = "milliseconds")]
    pub window: Duration,
    #[serde(with = "milliseconds")]
    pub deadline: Duration,
    pub boots: u32,
    pub confirm: Confirm,
    pub health_command: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Runs::is_itself")]
    pub runs: Runs,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_before: Option<String>,
}

impl Terms {
    /// The terms of a configuration, as far as they don't follow from the program's unit.
    pub fn new(program: &config::Program, trial: &config::Trial) -> Self {
        Self {
            program: program.path.clone(),
            unit: program.unit.clone(),
            restart: program.restart.clone(),
            restart_deadline: program.restart_deadline.unwrap_or(config::SHORTEST_DEFAULT),
            window: trial.window,
            deadline: trial.deadline,
            boots: trial.boots,
            confirm: trial.confirm,
            health_command: trial.health_command.clone(),
            runs: program.runs,
            start_before: None,
        }
    }
}

/// Why a trial ends that used up its boots.
pub(crate) fn boots_used_up(boots: u32) -> Failure {
    let boots = if boots == 1 { "1 boot was".to_owned() } else { format!("{boots} boots were") };
    Failure::new(FailureKind::Unhealthy, format!("{boots} used up without a verdict"))
}

/// What is swapped for what, and where that took place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Swap {
    /// The new program's package.
    pub package: PackageSummary,
    /// Digest of the program that was at the path before; absent at the first installation.
    pub old: Option<ProgramDigest>,
    /// Boot and invocation in which the swap took place.
    pub origin: Origin,
    /// What restart and trial are.
    pub terms: Terms,
}

impl Swap {
    /// Whether the program was at the path before, too: there is no other to put back.
    pub(crate) fn is_over_itself(&self) -> bool {
        self.old == Some(self.package.program_digest)
    }

    pub(super) fn side(&self, at_path: Option<ProgramDigest>) -> Side {
        if at_path == Some(self.package.program_digest) {
            if self.is_over_itself() { Side::Both } else { Side::New }
        } else if at_path == self.old {
            Side::Old
        } else {
            Side::Foreign
        }
    }
}

/// Whose program is at the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Old,
    New,
    /// A program was installed over itself.
    Both,
    Foreign,
}

/// Which boot of the trial it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// The kernel's boot id.
    pub boot_id: String,
    /// Boots in which the trial ran, this one included.
    pub number: u32,
}

impl Attempt {
    /// The first boot of a trial.
    pub fn first(boot_id: &str) -> Self {
        Self { boot_id: boot_id.to_owned(), number: 1 }
    }

    /// The attempt that a daemon makes in this boot, which may be the same one.
    #[must_use]
    pub fn resumed(self, boot_id: &str) -> Self {
        if self.boot_id == boot_id {
            self
        } else {
            Self { boot_id: boot_id.to_owned(), number: self.number.saturating_add(1) }
        }
    }
}

mod milliseconds {
    use std::time::Duration;

    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(
        duration: &Duration,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_millis)
    }
}
