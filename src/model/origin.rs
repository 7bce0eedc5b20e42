//! In which boot, and in which start of the unit, something took place.

use serde::{Deserialize, Serialize};

use super::Restart;

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

    /// The same where nobody has asked for one: then nothing is doubtful that nobody has seen.
    pub(crate) fn was_left_alone(before: &Self, now: &Self) -> bool {
        now.is_in_boot_of(before) && !now.restarted_since(before)
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
