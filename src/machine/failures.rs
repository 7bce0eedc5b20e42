//! Why an upgrade goes back, in the words of swaps and of changes alike.

use super::MOST_RESTART_REQUESTS;
use crate::model::{Failure, FailureKind};

/// A restart that nobody has seen, however often it was asked for.
pub(super) fn restart_never_came() -> Failure {
    Failure::new(
        FailureKind::RestartFailed,
        format!("the restart was asked for {MOST_RESTART_REQUESTS} times and never came"),
    )
}

/// Why a trial ends that used up its boots.
pub(crate) fn boots_used_up(boots: u32) -> Failure {
    let boots = if boots == 1 { "1 boot was".to_owned() } else { format!("{boots} boots were") };
    Failure::new(FailureKind::Unhealthy, format!("{boots} used up without a verdict"))
}
